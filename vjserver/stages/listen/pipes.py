"""What listen is joined to: pipes, the recogniser, streams of sound."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from vjserver.ports import Recogniser
from vjserver.recognisers.voice import VoiceDetector
from vjserver.runtime.clock import NS
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.soundring import SoundReader
from vjserver.runtime.status import ListenStatus, StatusWriter
from vjserver.runtime.store import Channels, VoiceWriter
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.segmenter import CHUNK
from vjserver.speech.sound import Resampler16k, mono
from vjserver.speech.transcriber import Transcriber
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.events import Event


@dataclass(slots=True)
class Stream:
    """Sound that comes in blocks of any size and rate, as chunks of 16 kHz, each with its likelihood."""

    detector: VoiceDetector = field(default_factory=lambda: VoiceDetector())
    resampler: Resampler16k | None = None
    rest: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))

    def take(self, block: AudioBlock) -> Iterator[tuple[Float32, int, float]]:
        """Yield each chunk that is whole now, the time of its last sample, and how likely it is speech."""
        if self.resampler is None or self.resampler.rate_hz != block.rate_hz:
            self.resampler = Resampler16k(block.rate_hz)
        sound = np.concatenate((self.rest, self.resampler(mono(block.samples))))
        whole = len(sound) // CHUNK * CHUNK
        self.rest = sound[whole:]
        for begin in range(0, whole, CHUNK):
            chunk = sound[begin : begin + CHUNK]
            late = len(sound) - begin - CHUNK
            yield chunk, block.t_ns - round(late * NS / RATE_HZ), self.detector(chunk)


@dataclass(frozen=True, slots=True)
class ListenPipes:
    """Where what listen finds goes, and what it hears besides the microphone.

    ``voice`` is told the time, how likely it is speech and how loud; ``talk`` returns what was said into the page,
    and how much of it was lost so far; ``music`` opens what the ear hears, and raises FileNotFoundError where there is
    none.
    """

    tell: Callable[[Event], None]
    voice: Callable[[int, float, float], None]
    status: Callable[[ListenStatus], None]
    talk: Callable[[], tuple[Sequence[Event], int]]
    music: Callable[[], SoundReader]

    @classmethod
    def of(cls, channels: Channels) -> "ListenPipes":
        """Return the ends of the pipes between processes."""
        talk = QueueReader(channels.talk)
        return cls(
            QueueWriter(channels.events("listen")).put,
            VoiceWriter(channels.voice).put,
            StatusWriter(channels.status("listen")).put,
            lambda: (talk.get(), talk.lost),
            lambda: SoundReader(channels.sound),
        )

    @classmethod
    def alone(cls, tell: Callable[[Event], None]) -> "ListenPipes":
        """Return those of a microphone without a server."""

        def no_music() -> SoundReader:
            raise FileNotFoundError

        return cls(tell, lambda *_: None, lambda _: None, lambda: ((), 0), no_music)


@dataclass(frozen=True, slots=True)
class Understanding:
    """Who writes down what is said: ``local``, opened and asked on ``thread``, unless it is ``ready``.

    ``hints`` are names that are likely to be said.
    """

    local: Recogniser
    transcriber: Transcriber
    thread: Executor
    hints: tuple[str, ...] = ()
    ready: bool = False
