"""The command ``vjserver speech``: what is said in a file or at a microphone, one row an event."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.app.listen import BLOCK, recogniser_of, transcriber_of
from vjserver.app.offline import FOREVER_NS, blocks
from vjserver.app.show import SpeechOptions
from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.show.state import Speech
from vjserver.sources import device as devices
from vjserver.sources.file import FileOptions, FileSource
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.sound import Resampler16k, mono
from vjserver.stages.transcription import Listen, ListenPipes, transcribed
from vjserver.types.audio import Float32
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.events import Degraded, Event
from vjserver.types.events import Speech as Said


def sound_of(path: Path) -> Float32:
    """Return the sound of a file, mono at 16 kHz. Raises DeviceError for a missing, damaged or empty one."""
    clock = ManualClock()
    source = FileSource(FileOptions(path=path, loop=False, block=65536), clock)
    source.open()
    try:
        resampler = Resampler16k(source.rate_hz)
        pieces = [resampler(mono(block.samples)) for block in blocks(source, clock, FOREVER_NS)]
        return np.concatenate([*pieces, resampler(np.zeros(0, np.float32), last=True)])
    finally:
        source.close()


def hear_file(path: Path, speech: SpeechOptions, language: str) -> Iterator[dict[str, Any]]:
    """Yield what is said in a file, as fast as it can be written down here; ``sent_s`` is when it would have been told.

    Raises VJError.
    """
    sound, recogniser = sound_of(path), recogniser_of(speech)
    transcriber = transcriber_of(speech, recogniser)
    recogniser.open()
    try:
        _check_language(language, recogniser.languages())
        code = "" if language == "auto" else language
        recogniser.decode(np.zeros(RATE_HZ, np.float32), code, "partial")  # what is loaded once is loaded
        for said, sent_s in transcribed(sound, recogniser, transcriber, time.perf_counter, code, speech.words):
            yield row_of(said, 0, sent_s)
    finally:
        recogniser.close()


def hear_device(
    name: str | int | None, seconds: float, speech: SpeechOptions, language: str
) -> Iterator[dict[str, Any]]:
    """Yield what is said into a microphone for so many seconds, as it happens. Raises VJError."""
    clock, recogniser, heard = LiveClock(), recogniser_of(speech), deque[Event]()
    recogniser.open()
    _check_language(language, recogniser.languages())
    devices.choose(devices.devices(), name)  # one that is not there is an error here, and not waited for
    wishes = Speech(on=True, language=language)
    source = partial(devices.DeviceSource, devices.DeviceOptions(name=name, channels=1, block=BLOCK), clock)
    began_ns = clock.now_ns()
    until_ns = began_ns + round(seconds * NS)
    with ThreadPoolExecutor(1) as thread, ThreadPoolExecutor(1) as opener, contextlib.closing(recogniser):
        said, pipes = transcriber_of(speech, recogniser), ListenPipes.alone(heard.append)
        listen = Listen(
            source, lambda: wishes, recogniser, said, clock, pipes, thread, opener, speech.words, ready=True
        )  # fmt: skip
        with contextlib.closing(listen):
            while clock.now_ns() < until_ns:
                listen.step()
                while heard:
                    event = heard.popleft()
                    if isinstance(event, Said):
                        yield row_of(event, began_ns, (clock.now_ns() - began_ns) / NS)
                    elif isinstance(event, Degraded) and not event.mended:
                        raise DeviceError(event.why)


def _check_language(language: str, known: tuple[str, ...]) -> None:
    if language != "auto" and language not in known:
        raise ConfigError(f"--language {language[:20]!r} is not known to this recogniser: auto, {', '.join(known)}")


def row_of(said: Said, zero_ns: int, sent_s: float) -> dict[str, Any]:
    """Return an event as the command prints it; times are seconds since ``zero_ns``."""
    return {
        "event": said.kind,
        "text": said.text,
        "phrase": said.phrase,
        "language": said.language,
        "confidence": round(said.confidence, 3),
        "t_s": round((said.t_ns - zero_ns) / NS, 3),
        "begin_s": round((said.begin_ns - zero_ns) / NS, 3),
        "sent_s": round(sent_s, 3),
        "number": said.number,
        "words": [[word.text, word.begin_s, word.end_s] for word in said.words],
    }
