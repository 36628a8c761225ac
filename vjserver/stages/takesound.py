"""The sound of a take: what the ear hears while a take is recorded goes in, a FLAC beside the take comes out.

Its samples are the take's clock. A sound card's clock is a little fast or slow, by a second in a night; so a message's
time is where it falls among the samples, and what is played again is as it was heard. Where no sound comes, as from a
loopback while nothing plays, there are zeros, by the system's clock.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.runtime.clock import NS
from vjserver.runtime.soundring import SoundReader
from vjserver.types.audio import AudioBlock, Float32

GAP_S = 0.1
"""So long without sound is a gap."""
POLL_S = 0.05
CHANNELS = 2


@dataclass
class SampleTime:
    """Where a moment lies among the samples that came: ``seconds`` of them by ``t_ns``."""

    t_ns: int
    seconds: float = 0.0

    def place(self, t_ns: int) -> float:
        """Return where a moment lies, in seconds of the sound."""
        return max(0.0, self.seconds + (t_ns - self.t_ns) * 1e-9)

    def hear(self, ends_ns: int, count: int, rate_hz: int) -> int:
        """Take note of ``count`` samples whose last one came at ``ends_ns``; return how many zeros come before them.

        It is negative where so many of them come from before the beginning, and are to be left out.
        """
        apart_s = (ends_ns - self.t_ns) * 1e-9 - count / rate_hz
        zeros = 0
        if apart_s > GAP_S or self.seconds == 0.0:
            zeros = max(-count, round(apart_s * rate_hz))
        self.seconds += (zeros + count) / rate_hz
        self.t_ns = ends_ns
        return zeros


class TakeSound:
    """Writes the sound of one take beside it. A fault ends the sound, is told once, and leaves the take alone."""

    def __init__(self, ring: Callable[[], SoundReader], tell: Callable[[str], None]) -> None:
        self._ring, self._tell = ring, tell
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: Any = None
        self._path = Path()
        self._rate_hz = 0
        self._at = SampleTime(0)

    @property
    def memory(self) -> tuple[int, float]:
        """When which second of the sound was, for a successor."""
        with self._lock:
            return self._at.t_ns, self._at.seconds

    def begin(self, path: Path, t_ns: int, seconds: float = 0.0) -> None:
        """Begin at a moment, or go on there with a sound that has so many seconds."""
        self._path, self._at, self._rate_hz = path, SampleTime(t_ns, seconds), 0
        self._over.clear()
        self._thread = threading.Thread(target=self._run, name="take sound", daemon=True)
        self._thread.start()

    def place_ns(self, t_ns: int) -> int:
        """Return where a moment lies in the sound, in ns since its beginning."""
        with self._lock:
            return round(self._at.place(t_ns) * NS)

    def end(self, t_ns: int) -> None:
        """End the sound, silent until then."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join(5.0)
        self._thread = None
        try:
            if self._file is not None:
                missing = round((self._at.place(t_ns) - self._at.seconds) * self._rate_hz)
                self._zeros(max(0, missing))
                self._file.close()
            join_pieces(self._path)
        except (OSError, RuntimeError) as error:
            self._tell(f"{self._path.name}: {error}")
        self._file = None

    def _run(self) -> None:
        reader: SoundReader | None = None
        try:
            reader = self._ring()
            while not self._over.wait(POLL_S):
                self._hear(reader.get())
            self._hear(reader.get())
        except (OSError, RuntimeError, ValueError) as error:
            self._tell(f"{self._path.name} is broken off: {error}")
        finally:
            if reader is not None:
                reader.close()

    def _hear(self, block: AudioBlock | None) -> None:
        if block is None or not len(block.samples):
            return
        samples = _stereo(block.samples)
        if not self._rate_hz:
            self._open(block.rate_hz)
        elif block.rate_hz != self._rate_hz:  # another device: its sound takes as long
            samples = _stretched(samples, round(len(samples) * self._rate_hz / block.rate_hz))
        with self._lock:
            zeros = self._at.hear(block.t_ns, len(samples), self._rate_hz)
        self._zeros(max(0, zeros))
        self._file.write(samples[max(0, -zeros) :])

    def _open(self, rate_hz: int) -> None:
        import soundfile

        self._rate_hz = rate_hz
        path, begin = self._path, round(self._at.seconds * rate_hz)
        if begin:
            path = path.with_name(f"{path.stem}+{begin}{path.suffix}")
        self._file = soundfile.SoundFile(path, "w", rate_hz, CHANNELS, "PCM_16", format="FLAC")

    def _zeros(self, count: int) -> None:
        while count > 0:
            part = min(count, self._rate_hz)
            self._file.write(np.zeros((part, CHANNELS), np.float32))
            count -= part


def _stereo(samples: Float32) -> Float32:
    rows = samples.reshape(len(samples), -1)
    return rows[:, :CHANNELS] if rows.shape[1] >= CHANNELS else np.repeat(rows, CHANNELS, axis=1)


def _stretched(samples: Float32, count: int) -> Float32:
    places, at = np.arange(len(samples)), np.linspace(0.0, len(samples) - 1.0, max(1, count))
    return np.stack([np.interp(at, places, samples[:, side]) for side in range(CHANNELS)], axis=1).astype(np.float32)


def join_pieces(path: Path) -> None:
    """Join the sound of a take whose recording was broken off: each later piece says at which sample it begins.

    Raises OSError or RuntimeError.
    """
    import soundfile

    pieces = sorted(
        (int(found.stem.rpartition("+")[2]), found) for found in path.parent.glob(f"{path.stem}+*{path.suffix}")
    )
    if not pieces:
        return
    part = path.with_name(f"{path.name}.part")
    rate_hz = soundfile.info(pieces[0][1]).samplerate
    with soundfile.SoundFile(part, "w", rate_hz, CHANNELS, "PCM_16", format="FLAC") as out:
        for begin, piece in [(0, path), *pieces]:
            if not piece.exists():
                continue
            done = out.frames
            while done < begin:
                out.write(np.zeros((min(rate_hz, begin - done), CHANNELS), np.float32))
                done += min(rate_hz, begin - done)
            with contextlib.suppress(RuntimeError), soundfile.SoundFile(piece) as file:  # its end may be torn
                skip = max(0, done - begin) if begin else 0
                for block in file.blocks(rate_hz, dtype="float32", always_2d=True):
                    out.write(_stereo(block[skip:] if skip < len(block) else block[:0]))
                    skip = max(0, skip - len(block))
    os.replace(part, path)
    for _, piece in pieces:
        piece.unlink(missing_ok=True)
