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
class Command:
    """A control message that was accepted: ``address`` with typed, clamped ``args``."""

    t_ns: int
    address: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Degraded:
    """Something works less well than it should: ``what`` it is and ``why``; ``mended`` when it is whole again."""

    t_ns: int
    what: str
    why: str
    mended: bool = False


EarEvent = Onset | Drum | Beat | Tempo | Silence | Section
Event = EarEvent | Command | Degraded
TAKE_BACK = "/vj/state/takeback"
"""Tells control that another process, named in the arguments, falls again and again since the state changed."""

EVENT_TYPES: tuple[type[Event], ...] = (Onset, Drum, Beat, Tempo, Silence, Section, Command, Degraded)


def event_name(event: EarEvent) -> str:
    """Return the name under which triggers, files and OSC know an event: ``beat``, ``downbeat``, ``kick`` ..."""
    if isinstance(event, (Drum, Section)):
        return event.name
    if isinstance(event, Beat):
        return "beat" if event.bar_position else "downbeat"
    return type(event).__name__.lower()
