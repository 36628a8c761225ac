"""The desk: messages and the passing of time go in, the one state of the show comes out. No clock, no I/O.

Everything that plays the show ends here: hands (OSC, the panel, MIDI), the preset's triggers, cues, the autopilot and
takes. What is not of the state (tempo, files, MIDI learn) is left in ``commands`` for the room that can do it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from vjserver.show.addresses import CUE_GO
from vjserver.show.autopilot import Autopilot
from vjserver.show.bank import Bank
from vjserver.show.changes import apply, read
from vjserver.show.cues import Cue, CueList, Follow
from vjserver.show.history import History, recalled
from vjserver.show.looks import Triggers, change_look, crossed, enter_cue, rebanked
from vjserver.show.playback import Playback
from vjserver.show.quantise import WHOLE, Pending, beat_of, boundary, fallen_due, outranked
from vjserver.show.registry import COMMON_ONLY, Accepted, Registry, changed, cue_of
from vjserver.show.state import LOOK, TEMPO, Look, ShowState, look_of, settled
from vjserver.show.take import Played, Take
from vjserver.show.taps import Taps
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument, Command, EarEvent
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
MOST_ROWS = 128
OF_CUE, OF_SPEECH, OF_FADE = "cue", "speech", "fade"
NEVER = Follow()
MIN_GO_NS = NS // 4  # two presses of GO within this time are one
OF_ITSELF = frozenset({"trigger", "cue", "autopilot", "take", OF_FADE})


@dataclass(frozen=True, slots=True)
class DeskMemory:
    """What is still to happen, for the desk that comes after this one; the state itself is published anyhow."""

    pending: tuple[Pending, ...]
    follow: Follow
    bars_left: int
    foreseen: int
    taps: tuple[int, ...]
    gone_ns: int
    seed: int = 1
    cued: bool = False


@dataclass(slots=True)
class Desk:
    """The master copy of the state, and what is still to happen to it.

    ``performed`` are all accepted messages as they took effect, until somebody takes them.
    """

    bank: Bank
    state: ShowState
    cues: CueList = field(default_factory=CueList)
    snapshots: dict[int, Look] = field(default_factory=dict)
    seed: int = 1
    registry: Registry = COMMON_ONLY
    commands: list[Command] = field(default_factory=list)
    performed: list[Played] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    rows_a_tick: int = MOST_ROWS
    """So much of a take is done in a tick; the hands do not wait for more."""
    stopped: int = 0
    """How often takes were stopped: one that is still being read when that happens is not played."""
    reached: int = 1
    """How many addresses the last message meant."""
    grid: BeatGrid = field(default_factory=BeatGrid)
    history: History = field(default_factory=History)
    follow: Follow = NEVER
    """When the next cue follows."""
    playing: Playback | None = None
    """The take that is played."""
    permit: Callable[[Accepted], object] = lambda _message: None
    """Raises ConfigError for a message of a hand that the house does not allow."""
    _triggers: Triggers = field(init=False)
    _autopilot: Autopilot = field(default_factory=Autopilot)
    _foreseen: int = 0
    _taps: Taps = field(default_factory=Taps)
    _gone_ns: int = -MIN_GO_NS
    _by: str = ""
    _cued: bool = False
    """Whether the take that is played was called by a cue, which goes on meanwhile."""

    def __post_init__(self) -> None:
        self.state = settled(self.state, self.registry)
        self._arm()

    @property
    def memory(self) -> DeskMemory:
        """What a successor has to know besides state and history."""
        return DeskMemory(
            tuple(self.pending), self.follow, self._autopilot.bars_left, self._foreseen,
            tuple(self._taps.times), self._gone_ns, self.seed, self._cued,
        )  # fmt: skip

    def resume(self, memory: DeskMemory) -> None:
        """Go on where another left off."""
        self.pending, self.follow, self._taps = list(memory.pending), memory.follow, Taps(list(memory.taps))
        self._autopilot, self._foreseen, self._gone_ns = Autopilot(memory.bars_left), memory.foreseen, memory.gone_ns
        self.seed, self._cued = memory.seed, memory.cued

    # -- messages ------------------------------------------------------------------------------------------

    def receive(self, t_ns: int, address: str, args: Sequence[object], origin: str = "") -> str:
        """Take a message; an address with ``*?[]{}`` reaches every value that it means.

        Returns what was clamped or cut off, in words. Raises ConfigError for one that makes no sense; it changes
        nothing.
        """
        meant = self.registry.meant(address)
        self.reached = len(meant)
        return next(filter(None, [self._receive(t_ns, one, args, origin) for one in meant]), "")

    def _receive(self, t_ns: int, address: str, args: Sequence[object], origin: str) -> str:
        registry = self.registry
        if registry.is_release(address, args):
            return ""
        message = registry.accept(address, args)
        self.permit(message)
        address, accepted = message
        entry = registry.entries.get(address, registry.entries[CUE_GO])
        if origin not in OF_ITSELF and origin != OF_SPEECH:  # a hand outranks what was said before, and waits
            whole = address.startswith(WHOLE)
            self.pending = [p for p in self.pending if p.origin != OF_SPEECH or not (whole or p.address == address)]
        if not (entry.quantised and origin not in OF_ITSELF and self._wait(t_ns, address, accepted, origin)):
            self.perform(t_ns, address, accepted, origin)
        return changed(args, accepted)

    def _wait(self, t_ns: int, address: str, args: tuple[Argument, ...], origin: str) -> bool:
        """Let a message wait for its boundary, in the place of an older one to the same address. False: not to wait."""
        quantise = self.state.quantise
        if origin == OF_SPEECH and quantise == "none":  # somebody speaks, and the picture keeps time
            quantise = "bar"
        cue_id = cue_of(address)
        if cue_id:
            quantise = self.cues.find(cue_id).quantise or quantise
        elif address in ("/vj/cue/go", "/vj/cue/back"):
            quantise = self.cues.step(self.state.cue, -1 if address.endswith("back") else 1).quantise or quantise
        elif address == "/vj/preset/go":  # an unknown one is refused now, not on the bar
            self.bank.called(args, self.state.bank)
        count = boundary(self.grid, t_ns, quantise)
        if count is None:
            return False
        self.pending = [*outranked(self.pending, address), Pending(count, address, args, origin)]
        return True

    def perform(self, t_ns: int, address: str, args: tuple[Argument, ...], origin: str = "") -> None:
        """Do what an accepted message says, now. Raises ConfigError for what cannot be done."""
        before, self._by = self.state, origin
        try:
            self._do(t_ns, address, args)
        except ConfigError:
            self.state = before
            raise
        now = self.state
        kept = look_of(now) if address in _BY_LOOK else None
        self.performed.append(Played(t_ns, address, args, kept))
        if now.preset != before.preset or now.preset_name != before.preset_name:
            self._arm()
            self._begin_look(t_ns)
        undoable = origin not in OF_ITSELF and address not in ("/vj/undo", "/vj/redo")
        if undoable and any(getattr(now, name) is not getattr(before, name) for name in LOOK):
            self.history.note(before, address, t_ns)

    def _begin_look(self, t_ns: int) -> None:
        """Let what is counted from the beginning of the look begin."""
        beat = self.grid.count + self.grid.beats_since(t_ns) if self.grid.running else 0.0
        self.state = replace(self.state, since_ns=t_ns, since_beat=beat)

    def _do(self, t_ns: int, address: str, args: tuple[Argument, ...]) -> None:
        before = self.state
        own = _OWN.get(address)
        if own is not None:
            own(self, t_ns, args)
            return
        if cue_of(address):
            self._call(t_ns, self.cues.find(cue_of(address)))
            return
        self.state = apply(before, t_ns, address, args, self.bank, self.registry, self.grid.period_s)
        if self.state is before:
            self.commands.append(Command(t_ns, address, args))
        elif address in ("/vj/autopilot", "/vj/autopilot/bars"):
            self._autopilot = Autopilot(self.state.autopilot.bars)
        elif address == "/vj/master/panic":
            self._stop_everything()
            self.stopped += 1
        if address.startswith(TEMPO):
            source = self._taps.source(t_ns, address, args)
            if source and self.state.sync.source != source:
                self.state = apply(self.state, t_ns, "/vj/tempo/source", (source,), self.bank, self.registry)

    def _stop_everything(self) -> None:
        self.pending.clear()
        self.playing, self.follow, self._cued = None, NEVER, False

    # -- time ----------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, grid: BeatGrid, ahead_ns: int) -> None:
        """Do what falls due ``ahead_ns`` from now: pictures take so long to reach the wall.

        What cannot be done any more is left in ``refused``.
        """
        self.grid = grid
        for row in self.playing.due(now_ns, ahead_ns, grid, self.rows_a_tick) if self.playing is not None else ():
            if row.look is not None:
                lasts_s = self._morph_s if row.address.endswith("recall") else 0.0
                self._turn_to(row.t_ns, row.look, lasts_s)
                if not self._is_held and row.address.endswith("recall"):
                    self._arm()
                    self._begin_look(row.t_ns)
            else:
                self._try(row.t_ns, row.address, row.args, "take")
        newest = grid.count_at(now_ns + ahead_ns) if grid.running else None
        self._do_pending(now_ns, newest)
        if newest is not None:
            self._foresee(now_ns, newest)
        if self.follow.t_ns is not None and now_ns + ahead_ns >= self.follow.t_ns:
            self._follow(now_ns)
        if self.state.glide is not None and self.state.glide.over(now_ns):
            self._turn(replace(self.state, glide=None), now_ns)
        if self.playing is not None and self.playing.over:
            self.playing, self._cued = None, False
            self._autopilot = Autopilot(self.state.autopilot.bars)

    def _do_pending(self, now_ns: int, newest: int | None) -> None:
        due = fallen_due(self.pending, newest, 8 * self.grid.beats_per_bar)
        if due:
            self.pending = [p for p in self.pending if p not in due]
            for p in due:
                self._try(now_ns, p.address, p.args, p.origin)

    def _foresee(self, now_ns: int, newest: int) -> None:
        """Fire what hangs on each beat up to ``newest``."""
        grid = self.grid
        if not 0 <= newest - self._foreseen <= grid.beats_per_bar:  # another clock, or a long stop
            self._foreseen = newest - 1
        while self._foreseen < newest:
            self._foreseen += 1
            beat = beat_of(grid, self._foreseen, now_ns)
            self.hear(now_ns, beat)
            if self.follow.beat is not None and self._foreseen >= self.follow.beat:
                self._follow(now_ns)
            if beat.bar_position == 0:
                self._steer(now_ns, self._foreseen // grid.beats_per_bar)

    def hear(self, now_ns: int, event: EarEvent) -> None:
        """Do what the preset wants done on an event; while a take is played, the take holds it already."""
        if not self._is_held:
            for address, args in self._triggers.hear(event):
                self._try(now_ns, address, args, "trigger")

    @property
    def _is_held(self) -> bool:
        """Whether a recorded take is played, which holds all that happened by itself; a score does not."""
        return self.playing is not None and not self.playing.take.score

    def _try(self, t_ns: int, address: str, args: tuple[Argument, ...], origin: str) -> None:
        try:
            self.perform(t_ns, address, args, origin)
        except ConfigError as error:
            self.refused.append(str(error))

    def _arm(self) -> None:
        """Take up the triggers of the preset that plays."""
        known = self.state.preset < len(self.bank.presets)
        self._triggers = Triggers(self.bank.presets[self.state.preset][1] if known else None, self.registry)
        self._autopilot = Autopilot(self.state.autopilot.bars)

    # -- autopilot, cues, takes, snapshots -----------------------------------------------------------------

    def _steer(self, now_ns: int, bar: int) -> None:
        """Let the autopilot count a bar."""
        if self.state.autopilot.on and not self._is_held:
            chosen = self._autopilot.choose(bar, self.state, self.bank, self.seed)
            if chosen:
                self._try(now_ns, "/vj/preset/go", chosen, "autopilot")

    def _call(self, t_ns: int, cue: Cue) -> None:
        """Call a cue: its preset, then its messages; then wait for what follows."""
        held = self._is_held and self._by == "take"  # what followed is of the take too
        before, self.follow = self.follow, NEVER
        self.state = enter_cue(self.state, cue, self.bank, self.registry, t_ns, self.grid.period_s)
        for message in cue.do:
            if not self.registry.absent(message.do):
                self._do(t_ns, *self.registry.accept(message.do, message.args))
        self._turn(replace(self.state, cue=cue.id), t_ns)
        self.follow = before if held else Follow.of(cue, t_ns, self.grid)
        if cue.take and self._by != "take":  # a recorded take holds what the other did; a score shall not call itself
            self.commands.append(Command(t_ns, "/vj/take/play", (cue.take, OF_CUE)))

    def _follow(self, now_ns: int) -> None:
        self.follow = NEVER
        following = self.cues.next_id(self.state.cue)
        if following and (self._cued or not self._is_held):
            self._try(now_ns, f"/vj/cue/{following}/go", (), "cue")

    def _go(self, t_ns: int, steps: int) -> None:
        if steps > 0 and t_ns - self._gone_ns < MIN_GO_NS:
            return
        self._gone_ns = t_ns
        self._call(t_ns, self.cues.step(self.state.cue, steps))

    def play(self, take: Take, now_ns: int, cued: bool = False) -> None:
        """Play a take from its begin; a cue that called it (``cued``) goes on meanwhile."""
        follow = self.follow
        before, self.state = self.state, take.begin(replace(self.state, t_ns=now_ns))
        self._stop_everything()
        if cued:
            self.state = replace(self.state, cue=before.cue)
            self.follow, self._cued = follow, True
        self._arm()
        self.seed = take.seed if take.seed is not None else self.seed
        self.playing = Playback(take, now_ns)

    @property
    def due_ns(self) -> int | None:
        """When the next thing happens that hangs on no beat: of a take, a cue that follows, a morph that arrives."""
        glide, playing = self.state.glide, self.playing
        arrives = glide.t_ns + math.ceil(glide.lasts_s * NS) + 1 if glide is not None else None
        times = (self.follow.t_ns, arrives, playing.due_ns if playing is not None else None)
        return min((t for t in times if t is not None), default=None)

    def _store(self, t_ns: int, args: tuple[Argument, ...]) -> None:
        self.snapshots[int(args[0])] = look_of(self.state)
        self.commands.append(Command(t_ns, "/vj/snapshot/store", args))

    def _turn_to(self, t_ns: int, look: Look, lasts_s: float = 0.0) -> None:
        self._turn(change_look(self.state, t_ns, look, lasts_s, self.registry), t_ns)

    def _turn(self, state: ShowState, t_ns: int) -> None:
        """Make ``state`` that of now."""
        self.state = replace(state, t_ns=t_ns, revision=self.state.revision + 1)

    @property
    def _morph_s(self) -> float:
        """How long a morph takes now."""
        return self.state.morph.lasts_s(self.grid.period_s)

    def _stop_take(self, *_: object) -> None:
        self.playing, self._cued = None, False
        self.stopped += 1

    def _stop_following(self, *_: object) -> None:
        self.follow = NEVER

    # -- what there is to see ------------------------------------------------------------------------------

    def read(self, address: str) -> Argument | None:
        """Return the present value of an address, or None where there is none."""
        if address == "/vj/preset/go":
            return self.bank.number(self.state.preset, self.state.bank)
        if address == "/vj/tempo/bpm":
            return round(self.grid.bpm, 2)
        return read(self.state, address, self.registry)

    @property
    def look(self) -> Look:
        """The look as it is, to be saved."""
        return look_of(self.state)

    def rebank(self, bank: Bank, now_ns: int) -> None:
        """Take up presets that were edited or saved. The one that plays is found again, and played as it is now.

        If it is gone, it plays on, and no preset is said to play.
        """
        before, self.bank = self.bank, bank
        new = rebanked(self.state, before, bank, self.registry)
        if new != self.state:
            self._turn(new, now_ns)
        self._arm()


# What depends on more than the state is kept in a take with the look that it led to.
_BY_LOOK = frozenset({"/vj/undo", "/vj/redo", "/vj/snapshot/recall"})
_OWN: dict[str, Callable[[Desk, int, tuple[Argument, ...]], object]] = {
    "/vj/undo": lambda desk, t_ns, _: desk._turn_to(t_ns, desk.history.undo(desk.look)),
    "/vj/redo": lambda desk, t_ns, _: desk._turn_to(t_ns, desk.history.redo(desk.look)),
    "/vj/snapshot/store": Desk._store,
    "/vj/snapshot/recall": lambda desk, t_ns, args: desk._turn_to(
        t_ns, recalled(desk.snapshots, int(args[0])), desk._morph_s
    ),
    "/vj/cue/go": lambda desk, t_ns, _: desk._go(t_ns, 1),
    "/vj/cue/back": lambda desk, t_ns, _: desk._go(t_ns, -1),
    "/vj/cue/stop": Desk._stop_following,
    "/vj/preview/take": lambda desk, t_ns, _: desk._turn_to(t_ns, crossed(desk.look), desk._morph_s),
    "/vj/quantise/clear": lambda desk, _t_ns, _: desk.pending.clear(),
    "/vj/take/stop": Desk._stop_take,
}
