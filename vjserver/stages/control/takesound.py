"""The sound of a take: what the ear hears while a take is recorded goes in, a FLAC beside the take comes out.

Its samples are the take's clock. A sound card's clock is a little fast or slow, by a second in a night; so a message's
time is where it falls among the samples, and what is played again is as it was heard. Where no sound comes, as from a
loopback while nothing plays, there are zeros, by the system's clock.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from vjserver.runtime.clock import NS
from vjserver.runtime.files import move_over
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
    told: float = 0.0

    def place(self, t_ns: int) -> float:
        """Return where a moment lies, in seconds of the sound; never before what was returned last."""
        self.told = max(self.told, self.seconds + (t_ns - self.t_ns) * 1e-9)
        return self.told

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
    """Writes the sound of takes beside them, on threads of their own: nobody waits for a disk.

    A fault ends a sound, is told once, and leaves the take alone.
    """

    def __init__(self, ring: Callable[[], SoundReader], tell: Callable[[str], None]) -> None:
        self._ring, self._tell = ring, tell
        self._one: _Sound | None = None

    @property
    def memory(self) -> tuple[int, float]:
        """When which second of the sound was, for a successor."""
        if self._one is None:
            return 0, 0.0
        with self._one.lock:
            return self._one.at.t_ns, self._one.at.seconds

    def begin(self, path: Path, t_ns: int, seconds: float = 0.0) -> None:
        """Begin at a moment, or go on there with a sound that has so many seconds."""
        self.end(None)
        self._one = _Sound(path, SampleTime(t_ns, seconds), self._ring, self._tell)
        self._one.start()

    def place_ns(self, t_ns: int) -> int:
        """Return where a moment lies in the sound that is recorded, in ns since its beginning."""
        assert self._one is not None
        with self._one.lock:
            return round(self._one.at.place(t_ns) * NS)

    def where_ns(self, t_ns: int) -> int:
        """Return the same of a moment that may lie before what was returned last."""
        assert self._one is not None
        with self._one.lock:
            at = self._one.at
            return round(at.seconds * NS) + t_ns - at.t_ns

    def end(self, t_ns: int | None) -> None:
        """End the sound, silent until then (None: where it is). It is finished soon after: see :meth:`wait`."""
        if self._one is not None and not self._one.over.is_set():
            self._one.ends_ns = t_ns
            self._one.over.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the last sound to be finished, so long at most; tell whether it is."""
        if self._one is not None:
            self._one.join(seconds)
        return self._one is None or not self._one.is_alive()


class _Sound(threading.Thread):
    """The sound of one take, all of whose work is done here."""

    def __init__(
        self, path: Path, at: SampleTime, ring: Callable[[], SoundReader], tell: Callable[[str], None]
    ) -> None:
        super().__init__(name="take sound", daemon=True)
        self._path, self._ring, self._tell = path, ring, tell
        self.at, self.lock, self.over = at, threading.Lock(), threading.Event()
        self.ends_ns: int | None = None
        self._rate_hz, self._file = 0, cast(Any, None)

    def run(self) -> None:
        """Write what comes until it is over, then the silence behind it, and join what was written in pieces."""
        reader: SoundReader | None = None
        try:
            reader = self._ring()
            while not self.over.wait(POLL_S):
                self._hear(reader.get())
            self._hear(reader.get())
            if self._file is not None:
                if self.ends_ns is not None:
                    self._zeros(round((self.at.place(self.ends_ns) - self.at.seconds) * self._rate_hz))
                self._file.close()
            join_pieces(self._path)
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
            samples = _stretched(samples, self._rate_hz / block.rate_hz)
        with self.lock:
            zeros = self.at.hear(block.t_ns, len(samples), self._rate_hz)
        self._zeros(zeros)
        self._file.write(samples[max(0, -zeros) :])

    def _open(self, rate_hz: int) -> None:
        import soundfile

        self._rate_hz = rate_hz
        path, begin = self._path, round(self.at.seconds * rate_hz)
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


def _stretched(samples: Float32, ratio: float) -> Float32:
    places, at = np.arange(len(samples)), np.linspace(0.0, len(samples) - 1.0, max(1, round(len(samples) * ratio)))
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
    rate_hz = soundfile.info(path if path.exists() else pieces[0][1]).samplerate
    with soundfile.SoundFile(part, "w", rate_hz, CHANNELS, "PCM_16", format="FLAC") as out:
        for begins, piece in [(0, path), *pieces]:
            if not piece.exists():
                continue
            with contextlib.suppress(RuntimeError), soundfile.SoundFile(piece) as file:  # its end may be torn
                begin, done = round(begins * rate_hz / file.samplerate), out.frames
                while done < begin:
                    out.write(np.zeros((min(rate_hz, begin - done), CHANNELS), np.float32))
                    done += min(rate_hz, begin - done)
                skip = done - begin
                for block in file.blocks(file.samplerate, dtype="float32", always_2d=True):
                    rows = _stereo(block)
                    rows = rows if file.samplerate == rate_hz else _stretched(rows, rate_hz / file.samplerate)
                    out.write(rows[skip:])
                    skip = max(0, skip - len(rows))
    move_over(part, path)
    for _, piece in pieces:
        piece.unlink(missing_ok=True)
