"""Events: things that happen once. They travel in order and none is dropped in silence."""

from dataclasses import dataclass
from typing import Literal

DrumName = Literal["kick", "snare", "hat"]
Argument = float | int | str | bool


@dataclass(frozen=True, slots=True)
class Onset:
    """A note or hit began at ``t_ns``; ``strength`` is 0..1; ``heard_ns`` is the last sample behind the verdict."""

    t_ns: int
    heard_ns: int
    strength: float


@dataclass(frozen=True, slots=True)
class Drum:
    """A drum was struck at ``t_ns``; ``strength`` is 0..1."""

    t_ns: int
    heard_ns: int
    name: DrumName
    strength: float


@dataclass(frozen=True, slots=True)
class Beat:
    """Beat ``count`` falls at ``t_ns``; ``bar_position`` 0 is the downbeat."""

    t_ns: int
    heard_ns: int
    count: int
    bar_position: int
    beats_per_bar: int
    bpm: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Tempo:
    """The tempo is now ``bpm``."""

    t_ns: int
    heard_ns: int
    bpm: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Silence:
    """The room fell silent (``on``) or sounds again."""

    t_ns: int
    heard_ns: int
    on: bool


@dataclass(frozen=True, slots=True)
class Section:
    """The track went into another section: ``break``, ``groove`` or, after a break, ``drop``."""

    t_ns: int
    heard_ns: int
    name: Literal["break", "groove", "drop"]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word that was said, and when: seconds after ``begin_ns`` of what it is a part of."""

    text: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """Somebody said something, until ``t_ns``: the time of the last of its sound that counts.

    ``kind``: ``partial`` while it is being said, ``final`` right behind it, ``revised`` where there was time to listen
    again; the three of one utterance share its ``number``. ``agreed`` is what may move the picture: of a partial, what
    two answers in a row agree on. ``phrase`` is what of it is a picture; ``talker`` is empty for the microphone.
    ``confidence`` is 0..1. ``wake``: it began with the wake word; it is meant for us, has no phrase and is no subtitle.
    """

    t_ns: int
    kind: Literal["partial", "final", "revised"]
    number: int
    text: str
    phrase: str
    language: str
    confidence: float
    begin_ns: int
    talker: str = ""
    agreed: str = ""
    words: tuple[SpokenWord, ...] = ()
    wake: bool = False


@dataclass(frozen=True, slots=True)
class TalkerSound:
    """Sound of somebody who talks through the page: 16-bit samples at 16 kHz; ``ends`` where the button was let go."""

    t_ns: int
    talker: str
    samples: bytes
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A control message that was accepted: ``address`` with typed, clamped ``args``."""

    t_ns: int
    address: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something works less well than it should: ``what`` it is and ``why``; ``recovered`` when it is whole again."""

    t_ns: int
    what: str
    why: str
    recovered: bool = False


EarEvent = Onset | Drum | Beat | Tempo | Silence | Section
Event = EarEvent | Speech | TalkerSound | Command | Degraded
TAKE_BACK = "/vj/state/takeback"
"""Tells control that another process, named in the arguments, falls again and again since the state changed."""

EVENT_TYPES: tuple[type[Event], ...] = (
    Onset, Drum, Beat, Tempo, Silence, Section, Speech, TalkerSound, Command, Degraded,
)  # fmt: skip


def event_name(event: EarEvent) -> str:
    """Return the name under which triggers, files and OSC know an event: ``beat``, ``downbeat``, ``kick`` ..."""
    if isinstance(event, (Drum, Section)):
        return event.name
    if isinstance(event, Beat):
        return "beat" if event.bar_position else "downbeat"
    return type(event).__name__.lower()
