"""Speaking: what was said comes from the listen process; messages go to the desk, and all surfaces are told of it."""

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vjserver.runtime.clock import NS
from vjserver.runtime.status import ListenStatus
from vjserver.show.desk import OF_FADE, OF_SPEECH, Desk
from vjserver.show.spoken import BLEND, Confirming, Spoken, SpokenMemory
from vjserver.speech.commands import command_of
from vjserver.speech.subtitles import Subtitles
from vjserver.types.events import Argument, Speech

VOICE = "voice"
"""The hand that gives stage commands: what it does is undone as any hand's."""
KEPT = 64
LISTEN_FAULTS = frozenset(("speech", "microphone", "recogniser", "talkers", "speech behind"))
"""What the process that listens announces."""
Tell = Callable[..., None]


@dataclass(frozen=True, slots=True)
class SpeakingMemory:
    """What a successor has to know: what is still to happen, and when speech was switched on."""

    spoken: SpokenMemory = field(default_factory=SpokenMemory)
    since_ns: int = 0


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """What the show says of speech.

    ``wake`` is the word before a stage command, ``""`` for none; ``leaves`` is whom the sound is sent to, ``""`` for
    nobody; ``sound_kept`` says whether it is kept with cards.
    """

    wake: str = ""
    leaves: str = ""
    sound_kept: bool = False


class SpeechRoom:
    """What control does with speech.

    ``receive(address, args, origin)`` is control's; ``tell(address, *args)`` tells every surface; ``note(what, why)``
    says something to the panel. ``count`` is where events are counted from: one that comes after another counts on.
    ``subtitles`` returns those of the take that is recorded.
    """

    def __init__(
        self,
        desk: Desk,
        receive: Callable[[str, Sequence[object], str], None],
        tell: Tell,
        note: Callable[[str, str], None],
        rules: SpeechRules,
        count: int = 0,
        subtitles: Callable[[], Subtitles | None] = lambda: None,
    ) -> None:
        self._sound_kept = rules.sound_kept
        self._subtitles = subtitles
        self._desk, self._receive, self._tell, self._note, self._wake = desk, receive, tell, note, rules.wake
        self._spoken, self._confirming = Spoken(), Confirming()
        self.recent: deque[tuple[int, Speech]] = deque(maxlen=KEPT)
        """What was said, newest last, with a number that counts events."""
        self._leaves, self._count = rules.leaves, count
        self._since_ns = 0
        self._text = self._phrase = ""
        self._confidence = 0.0
        self._phrases: OrderedDict[str, str] = OrderedDict()
        """By the prompts that they became."""

    @property
    def memory(self) -> SpeakingMemory:
        """What a successor has to know."""
        return SpeakingMemory(self._spoken.memory, self._since_ns)

    def resume(self, memory: SpeakingMemory) -> None:
        """Go on where another left off."""
        self._spoken, self._since_ns = Spoken(memory.spoken), memory.since_ns

    # -- what is said --------------------------------------------------------------------------------------

    def hear(self, said: Speech, now_ns: int) -> None:
        """Take an event: tell it, and do what it asks for."""
        if not self._desk.state.speech.on:  # it was switched off while this was on its way
            return
        self._since_ns = self._since_ns or said.begin_ns
        self._count += 1
        self.recent.append((self._count, said))
        self._tell_event(said)
        subtitles = self._subtitles()
        if subtitles is not None:
            subtitles.hear(said, now_ns)
        if said.wake:
            if said.kind == "final" and not said.talker:  # the crowd gives no commands
                self._command(said.text, now_ns)
            return
        self._send(self._spoken.hear(said, self._desk.state, now_ns))

    def _tell_event(self, said: Speech) -> None:
        begin_s, end_s = ((t_ns - self._since_ns) / NS for t_ns in (said.begin_ns, said.t_ns))
        self._tell(
            "/vj/speech/event", said.number, said.kind, said.text, said.phrase, said.language,
            round(said.confidence, 3), round(begin_s, 2), round(end_s, 2), said.talker,
        )  # fmt: skip
        self._text, self._confidence = said.text, said.confidence
        self._tell("/vj/speech/text", said.text)
        self._tell("/vj/speech/confidence", round(said.confidence, 3))
        if said.phrase and said.phrase != self._phrase:
            self._phrase = said.phrase
            self._tell("/vj/speech/phrase", said.phrase)

    def _send(self, rows: Sequence[tuple[str, tuple[Argument, ...]]]) -> None:
        phrase = self._spoken.memory.used[-1][1] if self._spoken.memory.used else ""
        for address, args in rows:
            if phrase and isinstance(args[0], str) and phrase in args[0]:
                self._phrases[args[0]] = phrase
                while len(self._phrases) > KEPT:
                    self._phrases.popitem(last=False)
            self._receive(address, args, OF_FADE if address.endswith("/weight") else OF_SPEECH)

    def _command(self, text: str, now_ns: int) -> None:
        presets = [preset.name for _, preset in self._desk.bank.presets]
        asked = command_of(text, self._wake, presets)
        if asked is None:
            self._note("speech", f"no command: {text}")
        elif asked.confirm:
            self._confirming.ask(asked.address, asked.args, now_ns)
            self._note("speech", f"{asked.words}? say: {self._wake}, confirm")
        elif not asked.address:
            waited = self._confirming.confirm(now_ns)
            if waited is not None:
                self._receive(*waited, VOICE)
        else:
            self._note("speech", f"command: {asked.words}")
            self._receive(asked.address, asked.args, VOICE)

    # -- hands and time ------------------------------------------------------------------------------------

    def push(self, args: tuple[Argument, ...], now_ns: int) -> None:
        """Let a phrase through that waits. Raises ConfigError."""
        self._send(self._spoken.push(int(args[0]) if args else None, self._desk.state, now_ns))

    def drop(self, args: tuple[Argument, ...]) -> None:
        """Drop a phrase that waits. Raises ConfigError."""
        self._spoken.drop(int(args[0]) if args else None)

    def tick(self, now_ns: int) -> None:
        """Do what falls due."""
        desk = self._desk
        known = desk.state.preset < len(desk.bank.presets)
        prompts = desk.bank.presets[desk.state.preset][1].prompts if known else ()
        own = prompts[0].text if prompts else ""
        self._send(self._spoken.tick(desk.state, desk.grid, now_ns, own))

    def switched(self, on: bool, now_ns: int) -> None:
        """Speech was switched on or off."""
        self._since_ns = now_ns if on else 0
        if not on and self._text:
            self._text = ""
            self._tell("/vj/speech/text", "")

    def status(self, listen: ListenStatus) -> None:
        """Tell how it goes, by what the listen process tells."""
        if listen.known:
            self._tell("/vj/speech/speaking", listen.likely)
            self._tell("/vj/speech/level", listen.level)
            self._tell("/vj/speech/lag_s", listen.lag_s)

    # -- the page ------------------------------------------------------------------------------------------

    @property
    def on_the_wall(self) -> str:
        """The phrase that the picture is of, ``""`` where it is of nothing that was said."""
        state = self._desk.state
        blends = self._phrases.get(state.texts[BLEND], "") if state.weights[BLEND] > 0.0 else ""
        return blends or self._phrases.get(state.texts[0], "")

    def said_of(self, phrase: str) -> Speech | None:
        """Return the utterance that a phrase came from, as it was understood last; None where it is long ago."""
        return next(
            (said for _, said in reversed(self.recent) if said.phrase == phrase and said.kind != "partial"), None
        )

    def waits(self, number: int) -> bool:
        """Tell whether an utterance's phrase waits for a hand."""
        return any(one.number == number for one in self._spoken.waiting)

    @property
    def privacy(self) -> str:
        """Where the sound goes, in two sentences."""
        here = "What you say is written down on this machine and leaves it as text only"
        where = f"What you say leaves this machine: {self._leaves} writes it down" if self._leaves else here
        kept = "The sound is kept here, with the picture" if self._sound_kept else "The sound is not kept here"
        return f"{where}. {kept}."

    def snapshot(self, listen: ListenStatus) -> dict[str, Any]:
        """Return what the panel shows, as plain JSON values."""
        wishes = self._desk.state.speech
        microphone = listen.microphone if wishes.on else "closed"
        return {
            "microphone": microphone,
            "leaves": self._leaves,
            "ready": listen.ready,
            "speaking": listen.speaking,
            "level": listen.level,
            "text": self._text,
            "phrase": self._phrase,
            "confidence": round(self._confidence, 2),
            "lag_s": listen.lag_s,
            "waiting": [[one.number, one.talker, one.phrase] for one in self._spoken.waiting],
        }
