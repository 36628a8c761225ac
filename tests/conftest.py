"""What tests share: free ports, and a real audio server with a null sink."""

import json
import os
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve on a busy machine; before torch comes

import numpy as np
import pytest
import soundfile
from hypothesis import settings

from vjserver.cli import main
from vjserver.generators import store
from vjserver.generators.pattern.generator import PatternGenerator, PatternOptions
from vjserver.outputs import uyvy
from vjserver.recognisers.weights import weights_of
from vjserver.sources.song import demo_song
from vjserver.types.errors import DeviceError

settings.register_profile("vjserver", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("vjserver")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what, seconds: float = 10.0, step: float = 0.02):
    """Call ``what`` until it returns something true; return that, or fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(step)
    pytest.fail(f"nothing within {seconds} s")


@contextmanager
def running(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """Run a program while the block runs; one that is still there afterwards, because a test failed, is killed."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.fixture(autouse=True)
def _plain_scheduling() -> None:
    """Have each test begin at normal priority: JACK leaves its callers real-time, and torch's threads would spin."""
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture(scope="session", autouse=True)
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give all tests, and what they start, a home of their own: what is the user's is neither read nor written."""
    home = tmp_path_factory.mktemp("home")
    names = {
        "HOME": home, "USERPROFILE": home, "VJSERVER_DATA": home / "vjserver", "XDG_DATA_HOME": home / "data",
        "XDG_CONFIG_HOME": home / "config", "XDG_CACHE_HOME": home / "cache", "XDG_STATE_HOME": home / "state",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in names.items():
            patch.setenv(name, str(folder))
        yield home


@pytest.fixture(scope="session")
def kernels() -> None:
    """Compile what is compiled once, on a clean checkout: it takes longer than a test may wait.

    Only tests that draw, or start a server, need it; ``pytest_collection_modifyitems`` gives it to them.
    """
    uyvy.kernel()
    generator = PatternGenerator(PatternOptions(threads=1))
    generator.open()
    generator.warm_up(64, 36)
    generator.close()


DRAWING = ("app", "controls/test_web", "generators", "outputs", "stages/test_generation", "stages/test_pictures",
           "stages/test_listening", "touchdesigner", "stages/test_composing", "stages/test_delivery")  # fmt: skip
"""Folders and files of tests that need compiled kernels."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Compile kernels for the tests that use them, and for no others: those begin at once."""
    here = Path(__file__).parent
    for item in items:
        where = item.path.relative_to(here).as_posix()
        if where.startswith(DRAWING):
            item.fixturenames.insert(0, "kernels")  # type: ignore[attr-defined]


@dataclass
class Pulse:
    """A PulseAudio server of our own with a null sink ``vj``; ALSA's default device hears its monitor."""

    home: Path
    process: subprocess.Popen | None = None

    @property
    def env(self) -> dict[str, str]:
        """The environment in which programs meet this server."""
        return {
            **os.environ,
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "PULSE_SERVER": f"unix:{self.home}/native",
            "PULSE_RUNTIME_PATH": str(self.home),
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.process = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=no", "--realtime=no",
             "--high-priority=no", "--use-pid-file=no",
             "-L", f"module-native-protocol-unix socket={self.home}/native auth-anonymous=1",
             "-L", "module-null-sink sink_name=vj rate=48000 channels=2"],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(lambda: subprocess.run(["pactl", "info"], env=self.env, capture_output=True).returncode == 0)

    def stop(self) -> None:
        """Kill the server: the device vanishes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def play(self, samples: np.ndarray, rate_hz: int = 48000) -> subprocess.Popen:
        """Play float32 samples (frames, channels) into the sink; return the player."""
        raw = self.home / f"{time.monotonic_ns()}.f32"
        raw.write_bytes(np.ascontiguousarray(samples, np.float32).tobytes())
        return subprocess.Popen(
            ["pacat", "--playback", "-d", "vj", "--format=float32le", f"--rate={rate_hz}",
             f"--channels={samples.shape[1]}", "--latency-msec=100", str(raw)],
            env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    """A running audio server."""
    for program in ("pulseaudio", "pacat", "pactl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (make test installs it on Debian and Ubuntu)")
    home = tmp_path / "pulse"
    home.mkdir(mode=0o700)
    (home / ".asoundrc").write_text('pcm.!default { type pulse device "vj.monitor" }\nctl.!default { type pulse }\n')
    server = Pulse(home)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of each layout by name, and ``taesd``: tiny random weights, laid out as the real ones."""
    pytest.importorskip("torch", reason="the diffusion generator needs torch: pip install 'vjserver[diffusion]'")
    from bench.random_models import LAYOUTS, make_model, make_taesd

    home = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folders = {name: make_model(home / name, name) for name in LAYOUTS}
        make_taesd().save_pretrained(home / "taesd")
    return folders | {"taesd": home / "taesd"}


@pytest.fixture
def empty_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model store with nothing in it, and use it."""
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    return store.store_folder()


@pytest.fixture(scope="session")
def filled_store(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a store into which every tiny model was taken as ``models add`` does."""
    data = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VJSERVER_DATA", str(data))
        for name, folder in models.items():
            store.add(folder, name)
    return data


@pytest.fixture
def stocked(filled_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the store with all tiny models."""
    monkeypatch.setenv("VJSERVER_DATA", str(filled_store))
    return filled_store / "models"


@pytest.fixture(scope="session")
def song(tmp_path_factory) -> Path:
    """Twelve seconds of the demo's song, from the beat on."""
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, demo_song()[20 * 48000 : 32 * 48000], 48000, subtype="PCM_16")
    return path


@pytest.fixture
def vj(capsys):
    """Run a command; return its last line as JSON, and what it said."""

    def run(*args):
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        out = capsys.readouterr()
        rows = out.out.strip().splitlines()
        return code, json.loads(rows[-1]) if code == 0 and rows and rows[-1][:1] in "[{" else None, out.err + out.out

    return run


@pytest.fixture
def shell_of(tmp_path, monkeypatch, capsys):
    """Return what runs the actions of a command in an empty data folder: exit code, and all that it said."""
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))

    def of(command):
        def run(*line):
            code = main([command, *map(str, line)])
            out = capsys.readouterr()
            return code, out.out + out.err

        return run

    return of


def need_speech() -> None:
    """Skip a test where Whisper's weights, or somebody to speak, are not here."""
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'vjserver[speech]'")
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed (make test installs it on Debian and Ubuntu)")
    try:
        weights_of("base")
    except DeviceError as error:
        pytest.skip(f"the speech model is not here: {error}")
