"""The listen process: a microphone of its own, and what is said into the page; what was said goes out as events."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from vjserver.app.show import SpeechOptions
from vjserver.app.workers import Plan
from vjserver.keeping.said import SaidSounds
from vjserver.ports import Recogniser, find, options_of
from vjserver.recognisers.phrases import phrase_chooser
from vjserver.recognisers.spotter import WakeSpotter
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.files import data_folder
from vjserver.runtime.life import Life
from vjserver.runtime.priority import give_memory_back, raise_priority
from vjserver.runtime.store import StateReader
from vjserver.runtime.supervisor import STARTING_S
from vjserver.sources.device import DeviceOptions, DeviceSource
from vjserver.speech import commands
from vjserver.speech.mel import RATE_HZ
from vjserver.speech.safety import SafetyList
from vjserver.speech.transcriber import Transcriber
from vjserver.stages.listen.pipes import ListenPipes, Understanding
from vjserver.stages.listen.transcription import Listen
from vjserver.types.audio import Float32
from vjserver.types.errors import WorkerFault

BLOCK = 2048
"""Samples a block of the microphone: speech has no hurry by the millisecond, and each block costs."""
REFUSED = Path(commands.__file__).with_name("refused.txt")


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    raise_priority(-5)  # a word may be late, a beat may not
    give_memory_back()
    show, channels, clock = plan.show, plan.channels, LiveClock()
    with life.tolerate(STARTING_S):
        state = StateReader(channels.state, plan.first)
        pipes = ListenPipes.of(channels)
        source = partial(DeviceSource, DeviceOptions(name=show.speech.microphone, channels=1, block=BLOCK), clock)
        thread = ThreadPoolExecutor(1, thread_name_prefix="recogniser")
        recogniser = recogniser_of(show.speech)
        first = clock.now_ns() // NS * 8 % (1 << 30)  # a process that comes after another gives no number twice
        said = transcriber_of(show.speech, recogniser, first)
        opener = ThreadPoolExecutor(1, thread_name_prefix="opener")
        sounds = SaidSounds(data_folder() / "boards/said")
        keep = (lambda number, sound: sounds.put(number, sound, RATE_HZ)) if show.speech.keep_sound else None
        understanding = Understanding(recogniser, said, thread, show.speech.words)
        listen = Listen(source, lambda: state.get().speech, understanding, clock, pipes, opener, keep)
    try:
        listen.run(life.stopped)
    except WorkerFault as error:  # its thread does not end, and Python would wait for it
        life.leave_word(str(error))
        os._exit(1)
    thread.submit(recogniser.close)
    thread.shutdown(wait=False, cancel_futures=False)
    opener.shutdown(wait=False, cancel_futures=True)


def recogniser_of(speech: SpeechOptions) -> Recogniser:
    """Return who writes down what is said, not yet opened. Raises ConfigError."""
    recogniser: Recogniser = find("recognisers", str(speech.recogniser["kind"]))(
        options_of("recognisers", speech.recogniser)
    )
    return recogniser


def transcriber_of(
    speech: SpeechOptions, recogniser: Recogniser, first: int = 1, safety: SafetyList | None = None
) -> Transcriber:
    """Return what decides what is decoded and told. Raises DeviceError where the words of a language are missing.

    ``safety`` refuses words (default: ours, and the show's).
    """
    wake = speech.wake
    spots = WakeSpotter(wake)

    def mend(text: str, sound: Float32) -> str:
        recovered = commands.nearly_wakes(text, wake)
        return recovered if recovered and spots(sound) else text

    return Transcriber(
        phrase_chooser(),
        safety if safety is not None else safety_of(speech.refuse),
        lambda text: bool(wake) and commands.after_wake(text, wake) is not None,
        mends=mend,
        revises=getattr(recogniser, "revises", True),
        first=first,
    )


def safety_of(own: Iterable[str]) -> SafetyList:
    """Return the words that are never shown: ours, and those of the show file."""
    return SafetyList([*REFUSED.read_text("utf-8").splitlines(), *own])
