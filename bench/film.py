"""``python -m bench.film [--json FILE] [--quick]``: films, beside a bare loop of the same generator and encoder.

Everything is made from the demo's song in one run; ratios count, since machines are noisy. Render is pinned to one core
and its encoder's thread to another where the system can pin.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import soundfile

from bench.report import commit, machine
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state
from vjserver.films.codecs import CODECS, writer
from vjserver.ports import open_door
from vjserver.rendering.generator_pool import WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer, RenderMemory
from vjserver.runtime.clock import ManualClock
from vjserver.runtime.installed import installed
from vjserver.show.desk import Desk
from vjserver.show.looks import enter
from vjserver.sources.song import demo_song
from vjserver.stages.offline.performance import heard, moments

RATE = Fraction(30)
SIZE = (1280, 720)
Row = dict[str, Any]


def bare(sound: Any, seconds: float, size: tuple[int, int], target: Path | None = None) -> tuple[float, int]:
    """Draw the same pictures in a plain loop; return seconds, and frames.

    With a ``target`` a second thread encodes them with x264 meanwhile, and nothing else is done to them.
    """
    registry, bank = installed(), load_bank()
    state = enter(first_state(Show()), *bank.find(1), registry)
    desk = Desk(bank, state, seed=1, registry=registry)
    hearing = heard(sound[: round(seconds * 48000)], 48000)
    pool = WaitingPool(lambda part: open_door("generators", {"kind": part.kind, "threads": 1}))
    renderer, memory = Renderer(registry, pool, ImageSource({}, (), ManualClock(), _quiet), _quiet), RenderMemory()
    frames = 0
    waiting: queue.Queue[Any] = queue.Queue(4)

    def encode(target: Path) -> None:
        out = writer(CODECS["h264"], target, size, RATE)
        while (pixels := waiting.get()) is not None:
            out.send(pixels)
        out.close()

    thread = threading.Thread(target=encode, args=(target,)) if target is not None else None
    if thread is not None:
        thread.start()
    began = time.perf_counter()
    for moment in moments(desk, hearing, RATE, size):
        rendered, memory = renderer.render(moment, memory)
        if frames == 0:
            began = time.perf_counter()  # kernels are compiled by now
        frames += 1
        assert rendered is not None
        if thread is not None:
            waiting.put(rendered.frame.pixels.copy())
    if thread is not None:
        waiting.put(None)
        thread.join()
    return time.perf_counter() - began, frames - 1


def encoding(seconds: float, size: tuple[int, int]) -> float:
    """Return CPU seconds that x264 takes for a second of film, of moving pictures."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (size[1] // 16, size[0] // 16, 4), np.uint8).repeat(16, 0).repeat(16, 1)
    with tempfile.TemporaryDirectory() as folder:
        out = writer(CODECS["h264"], Path(folder) / "x.mp4", size, RATE)
        began = time.process_time()
        count = round(seconds * RATE)
        for i in range(count):
            out.send(np.roll(base, 4 * i, axis=1))
        out.close()
        return (time.process_time() - began) / seconds


def _quiet(*_: object) -> None:
    """Say nothing."""


def vj(*args: object, cores: list[int] | None = None, env: dict[str, str] | None = None) -> tuple[Row, float, float]:
    """Run ``vjserver render`` in a process of its own; return its summary, wall seconds, and its peak memory in MiB."""
    command = [sys.executable, "-m", "vjserver", "render", *map(str, args), "--json"]
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **(env or {})}
    ) as process:
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, cores)
        peak = 0
        while process.poll() is None:  # ru_maxrss would count what we ourselves had when it was forked
            with contextlib.suppress(psutil.Error):
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            time.sleep(0.05)
        said = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    wall = time.perf_counter() - began
    return json.loads(said.splitlines()[-1]), wall, peak / 2**20


def song_of(folder: Path, seconds: float) -> Path:
    """Write the demo's song, over and over, so long."""
    sound = demo_song()
    path = folder / f"song-{seconds:g}.flac"
    with soundfile.SoundFile(path, "w", 48000, 2, "PCM_16") as file:
        left = round(seconds * 48000)
        while left > 0:
            file.write(sound[:left])
            left -= len(sound)
    return path


def time_of_render(folder: Path, seconds: float) -> Row:
    """The wall time of render over the bare loop: with x264 on a second core, and without."""
    sound = demo_song()
    song = song_of(folder, seconds)
    vj(song, "-o", folder / "warm.mp4", "--size", "160x96", "--to", "2")  # the song is heard, kernels are compiled
    rows = []
    for i in range(3):
        alone_s, count = bare(sound, seconds, SIZE)
        bare_s, _ = bare(sound, seconds, SIZE, folder / f"bare{i}.mp4")
        said, wall_s, _ = vj(song, "-o", folder / f"{i}.mp4", "--size", "{}x{}".format(*SIZE), "--fps", "30")
        rows.append((alone_s / count * 1e3, bare_s / count * 1e3, wall_s / said["frames"] * 1e3))
    return {
        "seconds": seconds, "generator_ms": round(median(r[0] for r in rows), 2),
        "generator_and_x264_ms": round(median(r[1] for r in rows), 2),
        "render_ms": round(median(r[2] for r in rows), 2), "ratio": round(median(r[2] / r[1] for r in rows), 3),
        "ratio_over_the_generator_alone": round(median(r[2] / r[0] for r in rows), 3),
        "encode_cpu_ms": round(encoding(3.0, SIZE) / float(RATE) * 1e3, 2),
    }  # fmt: skip


def workers(folder: Path, seconds: float) -> Row:
    """Two workers beside one, each with a core."""
    song = song_of(folder, seconds)
    board = folder / "board.toml"
    scenes = [f"[[scenes]]\nat = {i * seconds / 4:g}\npreset = {i + 1}\n" for i in range(4)]
    board.write_text("\n".join(scenes))
    size = ("--size", "640x360", "--fps", "30", "--storyboard", board)
    vj(song, "-o", folder / "w0.mp4", "--size", "160x96", "--to", "2")
    one = vj(song, "-o", folder / "w1.mp4", *size, cores=[0], env={"NUMBA_NUM_THREADS": "1"})
    two = vj(song, "-o", folder / "w2.mp4", *size, "--workers", "2", cores=[0, 1], env={"NUMBA_NUM_THREADS": "1"})
    assert one[0]["sha256"] == two[0]["sha256"]
    return {"one_s": round(one[1], 1), "two_s": round(two[1], 1), "times": round(one[1] / two[1], 2)}


def memory(folder: Path, counts: tuple[int, ...]) -> Row:
    """Peak memory by the number of frames, of one song of 100 s that was heard before."""
    rows = {}
    song = song_of(folder, 100.0)
    vj(song, "-o", folder / "warm.mp4", "--size", "160x96", "--to", "2")
    for count in counts:
        out = ("-o", folder / f"m{count}.mp4", "--size", "160x96", "--preset", "outrun")
        _, _, peak = vj(song, *out, "--fps", str(count // 100))
        rows[str(count)] = round(peak, 1)
    return rows


def analysis(folder: Path, seconds: tuple[float, ...]) -> Row:
    """How much faster than it sounds a song is heard, and in how much memory."""
    rows = {}
    for length in seconds:
        song = song_of(folder, length)
        with tempfile.TemporaryDirectory() as cache:
            said, wall, peak = vj(
                song,
                "-o",
                folder / "a.mp4",
                "--size",
                "32x32",
                "--fps",
                "1",
                "--to",
                "1",
                env={"XDG_CACHE_HOME": cache},
            )
        rows[f"{length:g}"] = {
            "times_real": round(length / wall, 1),
            "peak_mib": round(peak, 1),
            "beats": said["beats"],
        }
    return rows


def resume(folder: Path, seconds: float) -> Row:
    """Kill a render at three places, go on; the digest, and how many segments were made twice."""
    song = song_of(folder, seconds)
    size = ("--size", "320x192", "--fps", "30")
    whole, wall, _ = vj(song, "-o", folder / "whole.mp4", *size)
    out, twice, before = folder / "cut.mp4", 0, 0
    for share in (0.3, 0.5, 0.8):
        command = [sys.executable, "-m", "vjserver", "render", *map(str, (song, "-o", out, *size))]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(share * wall)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(list((folder / "cut.mp4.parts").glob("*.sha256")))
        twice += int(kept < whole["segments"])
        before = max(before, kept)
    said, _, _ = vj(song, "-o", out, *size)
    return {
        "same": said["sha256"] == whole["sha256"], "segments": whole["segments"], "kept": before,
        "made_at_last": said["made"], "begun_and_lost": twice,
    }  # fmt: skip


def draft(folder: Path, seconds: float) -> Row:
    """How much faster a draft is."""
    song = song_of(folder, seconds)
    vj(song, "-o", folder / "d0.mp4", "--size", "160x96", "--to", "2")
    full = vj(song, "-o", folder / "d1.mp4", "--size", "1920x1080", "--fps", "30")
    small = vj(song, "-o", folder / "d2.mp4", "--size", "1920x1080", "--fps", "30", "--draft")
    return {"full_s": round(full[1], 1), "draft_s": round(small[1], 1), "times": round(full[1] / small[1], 1)}


def main() -> None:
    """Run all of it, and print or write what came out."""
    parser = argparse.ArgumentParser(prog="bench.film", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="short songs")
    args = parser.parse_args()
    quick = args.quick
    result: Row = {"commit": commit(), "machine": machine(), "load": psutil.getloadavg()}
    with tempfile.TemporaryDirectory(prefix="film-") as name:
        folder = Path(name)
        messages: tuple[tuple[str, Callable[[], Row]], ...] = (
            (
                "render over the bare loop with x264 on a second core, 1280x720",
                lambda: time_of_render(folder, 20.0 if quick else 60.0),
            ),
            ("two workers", lambda: workers(folder, 24.0 if quick else 240.0)),
            ("draft", lambda: draft(folder, 20.0 if quick else 40.0)),
            ("memory by frames, MiB", lambda: memory(folder, (300, 1500) if quick else (300, 3000, 10_000))),
            ("analysis", lambda: analysis(folder, (180.0, 600.0) if quick else (180.0, 10800.0))),
            ("killed and resumed", lambda: resume(folder, 40.0)),
        )
        for key, handler in messages:
            result[key] = handler()
            print(f"{key}: {result[key]}", flush=True)
            if args.json is not None:
                args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
