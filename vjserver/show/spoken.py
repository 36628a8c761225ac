"""Spoken: what was said goes in, messages to the desk come out. Pure: time and beats come with the call.

A phrase becomes prompt 1 (``replace``), joins the queue, blends in as prompt 4 and fades with the bars, or waits for a
hand (``push``; in ``crowd`` mode all that comes from the page). Texts wait for the bar, as a hand's would: the desk
sees to that. The prompt that was typed is kept, and comes back when nobody has spoken for a while.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vjserver.show.addresses import MAX_TEXT
from vjserver.show.state import ShowState
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument, Speech
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
BLEND = 3
"""The place of the prompt that blends in, from 0: prompt 4."""
MOST_WAITING, RECENT = 32, 6
CONFIRM_NS = 10 * NS
PLACE = "{phrase}"
Message = tuple[str, tuple[Argument, ...]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A phrase that waits for a hand: its utterance, and who said it."""

    number: int
    talker: str
    phrase: str


@dataclass(frozen=True, slots=True)
class SpokenMemory:
    """What is still to happen, for who comes after.

    ``typed`` is the prompt that was there before somebody spoke (``spoken`` is what was put there, newest last: some
    of it may still wait for its bar), to come back at ``back_ns``; ``fades`` is the text that blends in, ``since`` the
    beat at which it began.
    """

    waiting: tuple[Waiting, ...] = ()
    number: int = 0
    phrase: str = ""
    spoken: tuple[str, ...] = ()
    typed: str = ""
    back_ns: int = 0
    fades: str = ""
    since: float | None = None
    since_ns: int = 0


def prompt_of(phrase: str, style: str) -> str:
    """Return the prompt that a phrase becomes: in its place in the style, or before it."""
    style = style.strip() or PLACE
    text = style.replace(PLACE, phrase) if PLACE in style else f"{phrase}, {style}"
    return text[:MAX_TEXT]


class Spoken:
    """What becomes of what is said. ``memory`` is all of its state."""

    def __init__(self, memory: SpokenMemory | None = None) -> None:
        self.memory = memory or SpokenMemory()

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """What waits for a hand, oldest first."""
        return self.memory.waiting

    def hear(self, said: Speech, state: ShowState, now_ns: int) -> list[Message]:
        """Return what an event does. A phrase that is as it was does nothing a second time."""
        m = self.memory
        if not said.phrase:
            return []
        waits = state.speech.policy == "push" or (state.speech.crowd and bool(said.talker))
        if waits:
            if said.kind != "partial":
                kept = [one for one in m.waiting if one.number != said.number]
                self.memory = replace(
                    m, waiting=(*kept, Waiting(said.number, said.talker, said.phrase))[-MOST_WAITING:]
                )
            return []
        if (said.number, said.phrase) == (m.number, m.phrase):
            return []
        if state.speech.policy == "queue" and (said.kind == "partial" or said.number == m.number):
            return []  # what was queued stays as it was understood at first
        return self._use(said.number, said.phrase, state, now_ns)

    def push(self, number: int | None, state: ShowState, now_ns: int) -> list[Message]:
        """Return what a phrase does that a hand lets through; without a number the newest. Raises ConfigError."""
        one = self._taken("/vj/speech/push", number)
        return self._use(one.number, one.phrase, state, now_ns)

    def drop(self, number: int | None) -> None:
        """Drop a phrase that waits. Raises ConfigError."""
        self._taken("/vj/speech/drop", number)

    def _taken(self, address: str, number: int | None) -> Waiting:
        rows = [one for one in self.memory.waiting if number is None or one.number == number]
        if not rows:
            there = ", ".join(str(one.number) for one in self.memory.waiting) or "none"
            raise ConfigError(f"{address}: no such phrase waits; waiting: {there}")
        self.memory = replace(self.memory, waiting=tuple(one for one in self.memory.waiting if one != rows[-1]))
        return rows[-1]

    def _use(self, number: int, phrase: str, state: ShowState, now_ns: int) -> list[Message]:
        text = prompt_of(phrase, state.spoken)
        m = replace(self.memory, number=number, phrase=phrase)
        if state.speech.policy == "queue":
            self.memory = m
            return [("/vj/prompt/push", (text,))]
        if state.speech.policy == "blend":
            self.memory = replace(m, fades=text, since=None, since_ns=now_ns)
            return [(f"/vj/prompt/{BLEND + 1}/text", (text,))]
        typed = m.typed if m.spoken and state.texts[0] in (*m.spoken, m.typed) else state.texts[0]
        back_ns = now_ns + round(state.speech.hold_s * NS) if state.speech.hold_s > 0.0 else 0
        self.memory = replace(m, spoken=(*m.spoken, text)[-RECENT:], typed=typed, back_ns=back_ns)
        rows: list[Message] = [("/vj/prompt/1/text", (text,))]
        return rows if state.weights[0] > 0.0 else [*rows, ("/vj/prompt/1/weight", (1.0,))]

    def tick(self, state: ShowState, grid: BeatGrid, now_ns: int) -> list[Message]:
        """Return what falls due by itself: the typed prompt that comes back, a blend that fades."""
        return [*self._come_back(state, now_ns), *self._fade(state, grid, now_ns)]

    def _come_back(self, state: ShowState, now_ns: int) -> list[Message]:
        m = self.memory
        if not m.spoken or not m.back_ns or now_ns < m.back_ns:
            return []
        self.memory = replace(m, spoken=(), typed="", back_ns=0, number=0, phrase="")
        # A hand, or a preset, that wrote something else meanwhile outranks us.
        return [("/vj/prompt/1/text", (m.typed,))] if state.texts[0] in m.spoken else []

    def _fade(self, state: ShowState, grid: BeatGrid, now_ns: int) -> list[Message]:
        m = self.memory
        if not m.fades or state.texts[BLEND] != m.fades:
            return []
        beat = grid.count + grid.beats_since(now_ns) if grid.running else (now_ns - m.since_ns) / NS * 2.0
        if m.since is None or beat < m.since:
            self.memory = m = replace(m, since=beat)
        bars = (beat - (m.since or 0.0)) / grid.beats_per_bar
        weight = round(max(0.0, 1.0 - bars / state.speech.bars), 2)
        if weight == 0.0:
            self.memory = replace(m, fades="", since=None)
        address = f"/vj/prompt/{BLEND + 1}/weight"
        return [(address, (weight,))] if weight != state.weights[BLEND] else []


class Confirming:
    """Commands that do much wait for a second word."""

    def __init__(self) -> None:
        self._asked: tuple[str, tuple[Argument, ...]] | None = None
        self._until_ns = 0

    def ask(self, address: str, args: Sequence[Argument], now_ns: int) -> None:
        """Take note of a command that waits for its confirmation."""
        self._asked, self._until_ns = (address, tuple(args)), now_ns + CONFIRM_NS

    def confirm(self, now_ns: int) -> Message | None:
        """Return the command that waited, None where none did, or for too long."""
        asked, self._asked = self._asked, None
        return asked if now_ns <= self._until_ns else None
