"""The listen process: a microphone of its own, and what is said into the page; what was said goes out as events."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from vjserver.app.show import SpeechOptions
from vjserver.app.workers import Plan
from vjserver.ports import Recogniser, find, options_of
from vjserver.recognisers.phrases import phrase_chooser
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.priority import raise_priority
from vjserver.runtime.store import StateReader
from vjserver.runtime.supervisor import STARTING_S, Life
from vjserver.sources.device import DeviceOptions, DeviceSource
from vjserver.speech import commands
from vjserver.speech.safety import SafetyList
from vjserver.speech.transcriber import Transcriber
from vjserver.stages.transcription import Listen, ListenPipes

BLOCK = 1024
"""Samples a block of the microphone: speech has no hurry by the millisecond, and each block costs."""
REFUSED = Path(commands.__file__).with_name("refused.txt")


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    raise_priority(-5)  # a word may be late, a beat may not
    show, channels, clock = plan.show, plan.channels, LiveClock()
    with life.patience(STARTING_S):
        state = StateReader(channels.state, plan.first)
        pipes = ListenPipes.of(channels)
        source = partial(DeviceSource, DeviceOptions(name=show.speech.microphone, channels=1, block=BLOCK), clock)
        thread = ThreadPoolExecutor(1, thread_name_prefix="recogniser")
        recogniser = recogniser_of(show.speech)
        said = transcriber_of(show.speech, getattr(recogniser, "revises", True))
        listen = Listen(
            source, lambda: state.get().speech, recogniser, said, clock, pipes, thread, show.speech.words
        )  # fmt: skip
    listen.run(life.stopped)
    recogniser.close()
    thread.shutdown(wait=False, cancel_futures=True)


def recogniser_of(speech: SpeechOptions) -> Recogniser:
    """Return who writes down what is said, not yet opened. Raises ConfigError."""
    recogniser: Recogniser = find("recognisers", str(speech.recogniser["kind"]))(
        options_of("recognisers", speech.recogniser)
    )
    return recogniser


def transcriber_of(speech: SpeechOptions, revises: bool = True) -> Transcriber:
    """Return what decides what is decoded and told. Raises DeviceError where the words of a language are missing."""
    wake = speech.wake
    return Transcriber(
        phrase_chooser(),
        safety_of(speech.refuse),
        lambda text: bool(wake) and commands.after_wake(text, wake) is not None,
        revises=revises,
    )


def safety_of(own: Iterable[str]) -> SafetyList:
    """Return the words that are never shown: ours, and those of the show file."""
    return SafetyList([*REFUSED.read_text("utf-8").splitlines(), *own])
