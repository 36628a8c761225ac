"""The command ``vjserver speech``: what is said in a file or at a microphone, one row an event."""

import contextlib
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.app.listen import BLOCK, recogniser_of, transcriber_of
from vjserver.app.offline import FOREVER_NS, blocks
from vjserver.app.show import SpeechOptions
from vjserver.keeping.recordings import Recordings
from vjserver.ports import Recogniser
from vjserver.recognisers.voice import VoiceDetector
from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.show.state import Speech
from vjserver.sources import device as devices
from vjserver.sources.file import FileOptions, FileSource
from vjserver.speech.guards import is_made_up
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.mixed import mixed
from vjserver.speech.quiet import Strength, levelled, noise_of
from vjserver.speech.safety import SafetyList
from vjserver.speech.sound import Resampler16k, mono
from vjserver.speech.switches import Lexicon
from vjserver.speech.transcriber import Transcriber
from vjserver.speech.words import Hypothesis
from vjserver.stages.listen.pipes import ListenPipes, Understanding
from vjserver.stages.listen.transcription import Listen, transcribed
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
    """Yield what is said in a file, as :func:`hear_sound`."""
    return hear_sound(sound_of(path), speech, language)


def hear_sound(
    sound: Float32,
    speech: SpeechOptions,
    language: str,
    detector: Callable[[Float32], float] | None = None,
    safety: SafetyList | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what is said in mono sound at 16 kHz, as fast as it can be written down here.

    ``sent_s`` is when it would have been told on a stage; ``detector`` tells how likely each 32 ms are speech, 0..1;
    ``safety`` refuses words (default: as in a show). Raises VJError.
    """
    with _ready(speech, (language,), safety) as (recogniser, transcriber):
        code = "" if language == "auto" else language
        recogniser.decode(np.zeros(RATE_HZ, np.float32), code, "partial")  # what is loaded once is loaded
        for said, sent_s in transcribed(
            sound, recogniser, transcriber, time.perf_counter, code, speech.words, detector
        ):
            yield row_of(said, 0, sent_s)


@contextlib.contextmanager
def _ready(
    speech: SpeechOptions, languages: Iterable[str], safety: SafetyList | None
) -> Iterator[tuple[Recogniser, Transcriber]]:
    """Open a recogniser that knows these languages, and what makes sentences of what it hears. Raises VJError."""
    recogniser = recogniser_of(speech)
    transcriber = transcriber_of(speech, recogniser, safety=safety)
    recogniser.open()
    with contextlib.closing(recogniser):
        for language in languages:
            _check_language(language, recogniser.languages())
        yield recogniser, transcriber


def written_down(sound: Float32, language: str) -> tuple[str, str]:
    """Return what is said in a recording that somebody made of himself, a whisper too, and in which language.

    It is heard on this machine, and no word is refused: nobody else reads it. Raises VJError.
    """
    sound, likely = _raised(sound)
    said: dict[int, str] = {}
    rows = hear_sound(sound, SpeechOptions(wake=""), language or "auto", likely, SafetyList([]))
    for row in rows:
        if row["event"] in ("final", "revised"):
            said[row["number"]] = row["text"]
            language = language or row["language"]
    return " ".join(text for _, text in sorted(said.items()) if text), language


def _raised(sound: Float32) -> tuple[Float32, Callable[[Float32], float]]:
    """Return a recording with its whispers raised, and what tells how likely each 32 ms of it are speech, 0..1."""
    sound = levelled(sound)
    voice, strength = VoiceDetector(), Strength(noise_of(sound))
    return sound, lambda chunk: max(voice(chunk), strength(chunk))


def mixed_down(sound: Float32, learn: str, own: str, lexicon: Lexicon) -> Iterator[tuple[str, Float32]]:
    """Yield each sentence of a recording in ``learn`` in which somebody may fall back into ``own``, and its sound.

    It is heard on this machine. Raises VJError.
    """
    sound, likely = _raised(sound)
    speech = SpeechOptions(wake="")
    with _ready(speech, (learn, own), SafetyList([])) as (recogniser, transcriber):
        spans: dict[int, tuple[int, int]] = {}
        rows = transcribed(sound, recogniser, transcriber, time.perf_counter, learn, (), likely)
        for said, _ in rows:
            if said.kind in ("final", "revised"):
                spans[said.number] = said.begin_ns * RATE_HZ // NS, said.t_ns * RATE_HZ // NS
        for begin, end in spans.values():
            piece = sound[max(0, begin - RATE_HZ // 5) : end + RATE_HZ // 5]

            def again(begin_s: float, end_s: float, code: str, piece: Float32 = piece) -> Hypothesis:
                return recogniser.decode(piece[max(0, round(begin_s * RATE_HZ)) : round(end_s * RATE_HZ)], code)

            heard, mine = (recogniser.decode(piece, code, "full") for code in (learn, own))
            text = mixed(heard, mine, learn, own, lexicon, again)
            if text.strip() and not is_made_up(heard, len(piece) / RATE_HZ):
                yield text, piece


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
        understanding = Understanding(recogniser, said, thread, speech.words, ready=True)
        listen = Listen(source, lambda: wishes, understanding, clock, pipes, opener)
        with contextlib.closing(listen):
            while clock.now_ns() < until_ns:
                listen.step()
                while heard:
                    event = heard.popleft()
                    if isinstance(event, Said):
                        yield row_of(event, began_ns, (clock.now_ns() - began_ns) / NS)
                    elif isinstance(event, Degraded) and not event.recovered:
                        raise DeviceError(event.why)


def recorded(name: str | int | None, seconds: float, is_over: Callable[[], bool]) -> Iterator[Float32]:
    """Yield what a microphone hears, mono at 16 kHz, until it is over, so many seconds at most. Raises DeviceError."""
    clock = LiveClock()
    source = devices.DeviceSource(devices.DeviceOptions(name=name, channels=1, block=BLOCK), clock)
    source.open()
    try:
        resampler = Resampler16k(source.rate_hz)
        until_ns = clock.now_ns() + round(seconds * NS)
        while clock.now_ns() < until_ns and not is_over():
            block = source.read(clock.now_ns() + NS // 5)
            if block is not None:
                yield resampler(mono(block.samples))
        yield resampler(np.zeros(0, np.float32), last=True)
    finally:
        source.close()


def taken_down(recordings: Recordings, device: str | int | None, most_s: float, asked: Mapping[str, str]) -> str:
    """Record from a microphone until Enter or Ctrl-C; return its name among the recordings. Raises VJError."""
    name, ended = f"{random.getrandbits(64):016x}", threading.Event()
    if sys.stdin.isatty():

        def wait() -> None:
            sys.stdin.readline()
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        print("recording: talk, in a whisper if you like. Enter ends it.", flush=True)
    recordings.describe(name, asked)
    with contextlib.suppress(KeyboardInterrupt):
        for sound in recorded(device, most_s, ended.is_set):
            recordings.add(name, sound)
    return name


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
