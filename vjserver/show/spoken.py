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

    ``used``: utterances whose phrase was used or dropped (``""``), newest last. ``typed`` is the prompt that was there
    before somebody spoke, with its ``weight`` where that was 0; ``spoken`` is what was put there, newest last (some of
    it may still wait for its bar), since ``last_ns``, in the look that began at ``look_ns``; ``returns``: the typed one
    was sent, and waits for its bar. ``fades`` is the text that blends in, ``since`` the beat at which it began.
    """

    waiting: tuple[Waiting, ...] = ()
    used: tuple[tuple[int, str], ...] = ()
    spoken: tuple[str, ...] = ()
    typed: str = ""
    weight: float | None = None
    last_ns: int = 0
    look_ns: int = 0
    returns: bool = False
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
        """Return what an event does. A phrase that is as it was, or that a hand has decided on, does nothing again."""
        m, used = self.memory, dict(self.memory.used)
        if any(one.number == said.number for one in m.waiting):
            if said.kind == "revised":
                self._rephrase(said)
            return []
        decided = used.get(said.number)
        if not said.phrase or said.phrase == decided:
            return []
        if said.kind == "revised" and any(number > said.number for number in used):
            return []  # somebody has said something else since
        if state.speech.policy == "push" or (state.speech.crowd and said.talker):
            if said.kind != "partial" and decided is None:
                waiting = (*m.waiting, Waiting(said.number, said.talker, said.phrase))[-MOST_WAITING:]
                self.memory = replace(m, waiting=waiting)
            return []
        if state.speech.policy == "queue" and (said.kind == "partial" or decided is not None):
            return []  # what was queued stays as it was understood at first
        return self._use(said.number, said.phrase, state, now_ns)

    def _rephrase(self, said: Speech) -> None:
        """Have what waits as it was understood with more time; what was no picture after all waits no more."""
        rows = [replace(one, phrase=said.phrase) if one.number == said.number else one for one in self.memory.waiting]
        self.memory = replace(self.memory, waiting=tuple(one for one in rows if one.phrase))

    def push(self, number: int | None, state: ShowState, now_ns: int) -> list[Message]:
        """Return what a phrase does that a hand lets through; without a number the newest. Raises ConfigError."""
        one = self._taken("/vj/speech/push", number)
        return self._use(one.number, one.phrase, state, now_ns)

    def drop(self, number: int | None) -> None:
        """Drop a phrase that waits. Raises ConfigError."""
        one = self._taken("/vj/speech/drop", number)
        self.memory = self._noted(one.number, "")

    def _taken(self, address: str, number: int | None) -> Waiting:
        rows = [one for one in self.memory.waiting if number is None or one.number == number]
        if not rows:
            there = ", ".join(str(one.number) for one in self.memory.waiting) or "none"
            raise ConfigError(f"{address}: no such phrase waits; waiting: {there}")
        self.memory = replace(self.memory, waiting=tuple(one for one in self.memory.waiting if one != rows[-1]))
        return rows[-1]

    def _noted(self, number: int, phrase: str) -> SpokenMemory:
        """Return the memory with what became of an utterance."""
        rows = [row for row in self.memory.used if row[0] != number]
        return replace(self.memory, used=(*rows, (number, phrase))[-MOST_WAITING:])

    def _use(self, number: int, phrase: str, state: ShowState, now_ns: int) -> list[Message]:
        text, m = prompt_of(phrase, state.spoken), self._noted(number, phrase)
        if state.speech.policy == "queue":
            self.memory = m
            return [("/vj/prompt/push", (text,))]
        if state.speech.policy == "blend":
            self.memory = replace(m, fades=text, since=None, since_ns=now_ns)
            return [(f"/vj/prompt/{BLEND + 1}/text", (text,))]
        if not m.spoken:
            m = replace(m, typed=state.texts[0], look_ns=state.since_ns, weight=None)
        self.memory = replace(m, spoken=(*m.spoken, text)[-RECENT:], last_ns=now_ns, returns=False)
        return [("/vj/prompt/1/text", (text,))]

    def tick(self, state: ShowState, grid: BeatGrid, now_ns: int, own_prompt: str = "") -> list[Message]:
        """Return what falls due by itself: the typed prompt that comes back, a blend that fades.

        ``own_prompt`` is prompt 1 of the preset that plays: with a new look it is what comes back.
        """
        return [*self._stand(state, now_ns, own_prompt), *self._fade(state, grid, now_ns)]

    def _stand(self, state: ShowState, now_ns: int, own_prompt: str) -> list[Message]:
        """Keep prompt 1 spoken for as long as it is to be, and then give it back."""
        m, text, weight = self.memory, state.texts[0], state.weights[0]
        if not m.spoken:
            return []
        if state.since_ns != m.look_ns:  # another preset: its prompt comes back, with its weight
            m = replace(m, typed=own_prompt, look_ns=state.since_ns, weight=None)
        ours = text in m.spoken
        if not ours and text != m.typed:  # a hand wrote something else
            m = replace(m, typed=text)
        if m.returns and not ours:
            self.memory = replace(m, spoken=(), typed="", weight=None, returns=False)
            return [("/vj/prompt/1/weight", (m.weight,))] if m.weight is not None else []
        rows: list[Message] = []
        if ours and weight == 0.0 and not m.returns:
            m = replace(m, weight=weight)
            rows.append(("/vj/prompt/1/weight", (1.0,)))
        over = state.speech.hold_s > 0.0 and now_ns >= m.last_ns + round(state.speech.hold_s * NS)
        if over and ours and not m.returns:  # what still waits for its bar is shown first
            m = replace(m, returns=True)
            rows.append(("/vj/prompt/1/text", (m.typed,)))
        self.memory = m
        return rows

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
