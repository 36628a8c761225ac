"""Cues: a list from the show file goes in; which cue is called, what it does and what follows comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from vjserver.show.addresses import MAX_NAME
from vjserver.show.preset import Message, Strict
from vjserver.show.quantise import boundary
from vjserver.types.errors import ConfigError, nearest
from vjserver.types.features import BeatGrid

NS = 1_000_000_000


def _id(text: str) -> str:
    if not text or not text.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"a cue's id is letters, digits, '-', '_' and '.': got {text[:40]!r}")
    return text


class Cue(Strict):
    """A cue: a preset to go to, messages to send, in order, and how long until the next follows by itself.

    ``take`` is played from its begin: a take that was recorded, or a score.
    """

    id: Annotated[str, AfterValidator(_id)] = Field(max_length=40)
    name: str = Field("", max_length=MAX_NAME)
    preset: str | int | None = None
    morph_beats: float = Field(0.0, ge=0.0, le=256.0)
    morph_seconds: float = Field(0.0, ge=0.0, le=600.0)
    quantise: Literal["none", "beat", "bar", "2bar", "4bar"] | None = None
    do: tuple[Message, ...] = Field((), max_length=64)
    take: str = Field("", max_length=MAX_NAME)
    follow_s: float | None = Field(None, gt=0.0, le=86400.0)
    follow_bars: int | None = Field(None, ge=1, le=4096)

    @field_validator("do")
    @classmethod
    def _calls_no_cue(cls, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        for message in messages:
            if message.do.startswith(("/vj/cue/", "/vj/take/", "/vj/undo", "/vj/redo")):
                raise ValueError(f"{message.do} cannot be part of a cue")
        return messages

    @model_validator(mode="after")
    def _one_way_to_follow(self) -> "Cue":
        if self.follow_s is not None and self.follow_bars is not None:
            raise ValueError("a cue follows after follow_s or after follow_bars, not both")
        return self


@dataclass(frozen=True, slots=True)
class Follow:
    """When the next cue follows by itself: at a time, on a beat, or, where neither is said, never."""

    t_ns: int | None = None
    beat: int | None = None

    @classmethod
    def of(cls, cue: Cue, t_ns: int, grid: BeatGrid) -> "Follow":
        """Return what follows ``cue``, which is called at ``t_ns``; bars count from the bar line that is nearest."""
        if cue.follow_s is not None:
            return cls(t_ns=t_ns + round(cue.follow_s * NS))
        if cue.follow_bars is None:
            return cls()
        start = boundary(grid, t_ns - round(grid.period_s * NS / 2), "bar")
        return cls(beat=(start if start is not None else grid.count) + cue.follow_bars * grid.beats_per_bar)


class CueList:
    """Cues in the order in which they are called."""

    def __init__(self, cues: Sequence[Cue] = ()) -> None:
        self.cues = tuple(cues)
        ids = [cue.id for cue in self.cues]
        for cue_id in ids:
            if ids.count(cue_id) > 1:
                raise ConfigError(f"two cues have the id {cue_id!r}")

    def find(self, cue_id: str) -> Cue:
        """Return the cue of that id. Raises ConfigError naming the nearest."""
        for cue in self.cues:
            if cue.id == cue_id:
                return cue
        known = [cue.id for cue in self.cues]
        there = f"; there are: {', '.join(known[:20])}" if known else "; the show file has no [[cues]]"
        raise ConfigError(f"unknown cue {cue_id[:40]!r}{nearest(cue_id[:40], known) or there}")

    def step(self, cue_id: str, by: int) -> Cue:
        """Return the cue ``by`` places after (or before) that of ``cue_id``; after none comes the first.

        Raises ConfigError at the list's ends.
        """
        ids = [cue.id for cue in self.cues]
        at = ids.index(cue_id) + by if cue_id in ids else 0
        if not self.cues:
            raise ConfigError("the show file has no [[cues]]")
        if not 0 <= at < len(ids):
            raise ConfigError(f"there is no cue {'after' if by > 0 else 'before'} {cue_id!r}")
        return self.cues[at]

    def next_id(self, cue_id: str) -> str:
        """Return the id of the cue after that of ``cue_id``, an empty text where there is none."""
        try:
            return self.step(cue_id, 1).id
        except ConfigError:
            return ""
