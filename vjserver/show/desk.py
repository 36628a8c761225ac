"""The desk: messages and the passing of time go in, the one state of the show comes out. No clock, no I/O.

Everything that plays the show ends here: hands (OSC, the panel, MIDI), the preset's triggers, cues, the autopilot and
takes. What is not of the state (tempo, files, MIDI learn) is left in ``commands`` for the room that can do it.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vjserver.show.addresses import CUE_GO
from vjserver.show.bank import Bank
from vjserver.show.changes import apply, read, values
from vjserver.show.cues import Cue, CueList
from vjserver.show.history import History
from vjserver.show.looks import Triggers, change_look, enter
from vjserver.show.pattern import is_pattern
from vjserver.show.quantise import Pending, boundary
from vjserver.show.registry import COMMON_ONLY, Registry, changed, cue_of
from vjserver.show.state import LOOK, TEMPO, Look, ShowState, Travel, look_of, settled
from vjserver.show.take import Played, Take
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument, Beat, Command, EarEvent
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
MOST_ROWS = 128
OF_CUE, OF_SPEECH, OF_FADE = "cue", "speech", "fade"
ON_THE_BEAT = 1e-6  # of a beat: so near counts as on it
MIN_GO_NS = NS // 4  # two presses of GO within this time are one
OF_ITSELF = frozenset({"trigger", "cue", "autopilot", "take", OF_FADE})
# What a take does not do a second time: it would write files and open doors.
ONCE = ("/vj/preset/save", "/vj/snapshot/store", "/vj/midi/", "/vj/output/", "/vj/record")
# What changes the whole look: of several that wait, the last counts.
WHOLE = ("/vj/preset/", "/vj/cue/", "/vj/snapshot/")
TAPS = 4  # so many in a row set a tempo
TAP_NS = 2 * NS  # a longer pause begins anew


@dataclass(slots=True)
class _Playing:
    """A take that is played: from when, and how far it has come; ``first_beat`` is its beat 0, once there is one."""

    take: Take
    t_ns: int
    place: int = 0
    beats: int = 0
    first_beat: int | None = None

    @property
    def over(self) -> bool:
        """Whether all of it has been played."""
        return self.place == len(self.take.rows) and self.beats == len(self.take.on_beats)


@dataclass(frozen=True, slots=True)
class DeskMemory:
    """What is still to happen, for the desk that comes after this one; the state itself is published anyhow."""

    pending: tuple[Pending, ...]
    follow_ns: int | None
    follow_beat: int | None
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
    _triggers: Triggers = field(default_factory=Triggers)
    _playing: _Playing | None = None
    _follow_ns: int | None = None
    _follow_beat: int | None = None
    _bars_left: int = 0
    _foreseen: int = 0
    _taps: list[int] = field(default_factory=list)
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
            tuple(self.pending), self._follow_ns, self._follow_beat, self._bars_left, self._foreseen,
            tuple(self._taps), self._gone_ns, self.seed, self._cued,
        )  # fmt: skip

    def resume(self, memory: DeskMemory) -> None:
        """Go on where another left off."""
        self.pending, self._taps = list(memory.pending), list(memory.taps)
        self._follow_ns, self._follow_beat = memory.follow_ns, memory.follow_beat
        self._bars_left, self._foreseen, self._gone_ns = memory.bars_left, memory.foreseen, memory.gone_ns
        self.seed, self._cued = memory.seed, memory.cued

    # -- messages ------------------------------------------------------------------------------------------

    def receive(self, t_ns: int, address: str, args: Sequence[object], origin: str = "") -> str:
        """Take a message; an address with ``*?[]{}`` reaches every value that it means.

        Returns what was clamped or cut off, in words. Raises ConfigError for one that makes no sense; it changes
        nothing.
        """
        if is_pattern(address) and address not in self.registry.entries:
            reached = self.registry.reached(address)
            if not reached:
                raise ConfigError(f"no address is meant by the pattern {address[:80]!r}")
            self.reached = len(reached)
            return next(filter(None, [self._receive(t_ns, one, args, origin) for one in reached]), "")
        self.reached = 1
        return self._receive(t_ns, address, args, origin)

    def _receive(self, t_ns: int, address: str, args: Sequence[object], origin: str) -> str:
        registry = self.registry
        if registry.is_release(address, args):
            return ""
        address, accepted = registry.accept(address, args)
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
        whole = address.startswith(WHOLE)
        self.pending = [p for p in self.pending if p.address != address and not (whole and p.address.startswith(WHOLE))]
        self.pending.append(Pending(count, address, args, origin))
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
            self._bars_left = self.state.autopilot.bars
        elif address == "/vj/master/panic":
            self._stop_everything()
            self.stopped += 1
        if address.startswith(TEMPO):
            self._hand_over(t_ns, address, args)

    def _hand_over(self, t_ns: int, address: str, args: tuple[Argument, ...]) -> None:
        """A hand that sets the tempo outranks whoever keeps it, until ``auto``."""
        if address == "/vj/tempo/tap":
            recent = [tap for tap in self._taps if self._taps and t_ns - self._taps[-1] < TAP_NS]
            self._taps = [*recent, t_ns][-TAPS:]
        source = {
            "/vj/tempo/tap": "tap" if len(self._taps) == TAPS else "",
            "/vj/tempo/bpm": "tap",
            "/vj/tempo/lock": "tap" if args and args[0] else "auto",
            "/vj/tempo/auto": "auto",
        }.get(address, "")
        if source and self.state.sync.source != source:
            self.state = apply(self.state, t_ns, "/vj/tempo/source", (source,), self.bank, self.registry)

    def _stop_everything(self) -> None:
        self.pending.clear()
        self._playing = self._follow_ns = self._follow_beat = None
        self._cued = False

    # -- time ----------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, grid: BeatGrid, ahead_ns: int) -> None:
        """Do what falls due ``ahead_ns`` from now: pictures take so long to reach the wall.

        What cannot be done any more is left in ``refused``.
        """
        self.grid = grid
        for row in self._due_of_take(now_ns, ahead_ns):
            if row.look is not None:
                lasts_s = self.state.morph.lasts_s(grid.period_s) if row.address.endswith("recall") else 0.0
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
        if self._follow_ns is not None and now_ns + ahead_ns >= self._follow_ns:
            self._follow(now_ns)
        if self.state.glide is not None and self.state.glide.over(now_ns):
            self.state = replace(self.state, glide=None, t_ns=now_ns, revision=self.state.revision + 1)
        if self._playing is not None and self._playing.over:
            self._playing, self._cued = None, False
            self._bars_left = self.state.autopilot.bars

    def _do_pending(self, now_ns: int, newest: int | None) -> None:
        longest = 8 * self.grid.beats_per_bar
        due = [p for p in self.pending if newest is None or newest >= p.count or p.count - newest > longest]
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
            position = (grid.bar_position + self._foreseen - grid.count) % grid.beats_per_bar
            t_ns = grid.t_ns + round((self._foreseen - grid.count) * grid.period_s * NS)
            beat = Beat(t_ns, now_ns, self._foreseen, position, grid.beats_per_bar, grid.bpm, grid.confidence)
            self.hear(now_ns, beat)
            if self._follow_beat is not None and self._foreseen >= self._follow_beat:
                self._follow(now_ns)
            if position == 0:
                self._steer(now_ns, self._foreseen // grid.beats_per_bar)

    def hear(self, now_ns: int, event: EarEvent) -> None:
        """Do what the preset wants done on an event; while a take is played, the take holds it already."""
        if not self._is_held:
            for address, args in self._triggers.hear(event):
                if not self.registry.absent(address):
                    self._try(now_ns, *self.registry.accept(address, args), "trigger")

    @property
    def _is_held(self) -> bool:
        """Whether a recorded take is played, which holds all that happened by itself; a score does not."""
        return self._playing is not None and not self._playing.take.score

    def _try(self, t_ns: int, address: str, args: tuple[Argument, ...], origin: str) -> None:
        try:
            self.perform(t_ns, address, args, origin)
        except ConfigError as error:
            self.refused.append(str(error))

    def _arm(self) -> None:
        """Take up the triggers of the preset that plays."""
        known = self.state.preset < len(self.bank.presets)
        self._triggers = Triggers(self.bank.presets[self.state.preset][1] if known else None)
        self._bars_left = self.state.autopilot.bars

    # -- autopilot, cues, takes, snapshots -----------------------------------------------------------------

    def _steer(self, now_ns: int, bar: int) -> None:
        """Count a bar; on the last one the autopilot chooses another preset, by weight, and by the bar's number.

        So the same night is chosen again wherever it is begun.
        """
        if not self.state.autopilot.on or self._is_held:
            return
        self._bars_left -= 1
        if self._bars_left > 0:
            return
        self._bars_left = self.state.autopilot.bars
        bank = self.state.bank if self.state.bank in self.bank.banks else ""
        places = [i for i in self.bank.places(bank) if i != self.state.preset]
        weights = [self.bank.presets[i][1].autopilot for i in places]
        if sum(weights) > 0.0:
            place = random.Random(f"{self.seed}/{bar}").choices(places, weights)[0]
            name = self.bank.banks[place]
            self._try(now_ns, "/vj/preset/go", (name, self.bank.number(place, name)), "autopilot")

    def _call(self, t_ns: int, cue: Cue) -> None:
        """Call a cue: its preset, then its messages; then wait for what follows."""
        held = self._is_held and self._by == "take"  # what followed is of the take too
        follows = self._follow_ns, self._follow_beat
        self._follow_ns = self._follow_beat = None
        morph = self.state.morph
        if cue.morph_beats or cue.morph_seconds:
            own = Travel(cue.morph_beats, cue.morph_seconds, morph.ease)
            self.state = replace(self.state, morph=own)
        try:
            if cue.preset is not None:
                place, preset = self.bank.find(cue.preset, self.state.bank)
                lasts_s = self.state.morph.lasts_s(self.grid.period_s)
                self.state = enter(self.state, place, preset, self.registry, t_ns, lasts_s)
        finally:
            self.state = replace(self.state, morph=morph)
        for message in cue.do:
            if not self.registry.absent(message.do):
                self._do(t_ns, *self.registry.accept(message.do, message.args))
        self.state = replace(self.state, cue=cue.id, t_ns=t_ns, revision=self.state.revision + 1)
        if cue.follow_s is not None:
            self._follow_ns = t_ns + round(cue.follow_s * NS)
        elif cue.follow_bars is not None:
            start = boundary(self.grid, t_ns - round(self.grid.period_s * NS / 2), "bar")
            per = self.grid.beats_per_bar
            self._follow_beat = (start if start is not None else self.grid.count) + cue.follow_bars * per
        if (
            cue.take and self._by != "take"
        ):  # a recorded take holds what the other one did; a score shall not call itself
            self.commands.append(Command(t_ns, "/vj/take/play", (cue.take, OF_CUE)))
        if held:
            self._follow_ns, self._follow_beat = follows

    def _follow(self, now_ns: int) -> None:
        self._follow_ns = self._follow_beat = None
        _, following = self.cue_names()
        if following and (self._cued or not self._is_held):
            self._try(now_ns, f"/vj/cue/{following}/go", (), "cue")

    def _go(self, t_ns: int, steps: int) -> None:
        if steps > 0 and t_ns - self._gone_ns < MIN_GO_NS:
            return
        self._gone_ns = t_ns
        self._call(t_ns, self.cues.step(self.state.cue, steps))

    def _stop_following(self, _t_ns: int, _args: tuple[Argument, ...]) -> None:
        self._follow_ns = self._follow_beat = None

    @property
    def playing(self) -> tuple[int, int, int, int | None] | None:
        """When the take that is played began, how far it has come, in time and in beats, and its beat 0; or None."""
        one = self._playing
        return (one.t_ns, one.place, one.beats, one.first_beat) if one is not None else None

    def play_on(self, take: Take, began_ns: int, place: int, beats: int = 0, first_beat: int | None = None) -> None:
        """Play a take on that another desk began."""
        places = min(place, len(take.rows)), min(beats, len(take.on_beats))
        self._playing = _Playing(take, began_ns, *places, first_beat)

    def play(self, take: Take, now_ns: int, cued: bool = False) -> None:
        """Play a take from its begin; a cue that called it (``cued``) goes on meanwhile."""
        follows = (self._follow_ns, self._follow_beat) if cued else (None, None)
        before, self.state = self.state, take.begin(replace(self.state, t_ns=now_ns))
        self._stop_everything()
        if cued:
            self.state = replace(self.state, cue=before.cue)
            (self._follow_ns, self._follow_beat), self._cued = follows, True
        self._arm()
        self.seed = take.seed if take.seed is not None else self.seed
        self._playing = _Playing(take, now_ns)

    @property
    def due_ns(self) -> int | None:
        """When the next thing happens that hangs on no beat: of a take, a cue that follows, a morph that arrives."""
        times = [self._follow_ns] if self._follow_ns is not None else []
        glide, playing = self.state.glide, self._playing
        if glide is not None:
            times.append(glide.t_ns + math.ceil(glide.lasts_s * NS) + 1)
        if playing is not None and playing.place < len(playing.take.rows):
            times.append(playing.t_ns + playing.take.rows[playing.place].t_ns)
        return min(times, default=None)

    @property
    def plays(self) -> bool:
        """Whether a take is played."""
        return self._playing is not None

    def _due_of_take(self, now_ns: int, ahead_ns: int) -> list[Played]:
        """Return what of the take falls due: by its time now, by its beat so early that the picture comes with it."""
        playing = self._playing
        if playing is None:
            return []
        due: list[Played] = []
        rows = playing.take.rows
        while (
            len(due) < self.rows_a_tick
            and playing.place < len(rows)
            and playing.t_ns + rows[playing.place].t_ns <= now_ns
        ):
            row = rows[playing.place]
            due.append(replace(row, t_ns=playing.t_ns + row.t_ns))
            playing.place += 1
        rows = playing.take.on_beats
        if rows and self.grid.running:
            if playing.first_beat is None:
                playing.first_beat = self.grid.count + math.ceil(self.grid.beats_since(playing.t_ns) - ON_THE_BEAT)
            beats = self.grid.count + self.grid.beats_since(now_ns + ahead_ns) - playing.first_beat
            while (
                len(due) < self.rows_a_tick and playing.beats < len(rows) and (rows[playing.beats].beat or 0.0) <= beats
            ):
                due.append(replace(rows[playing.beats], t_ns=now_ns))
                playing.beats += 1
        return [row for row in due if not row.address.startswith(ONCE)]

    def _store(self, t_ns: int, args: tuple[Argument, ...]) -> None:
        self.snapshots[int(args[0])] = look_of(self.state)
        self.commands.append(Command(t_ns, "/vj/snapshot/store", args))

    def _recall(self, t_ns: int, args: tuple[Argument, ...]) -> None:
        number = int(args[0])
        if number not in self.snapshots:
            kept = ", ".join(str(n) for n in sorted(self.snapshots)) or "none"
            raise ConfigError(f"/vj/snapshot/recall: nothing was stored under {number}; stored: {kept}")
        self._turn_to(t_ns, self.snapshots[number], self.state.morph.lasts_s(self.grid.period_s))

    def _turn_to(self, t_ns: int, look: Look, lasts_s: float = 0.0) -> None:
        new = change_look(self.state, t_ns, look, lasts_s, self.registry)
        self.state = replace(new, t_ns=t_ns, revision=self.state.revision + 1)

    def _undo(self, t_ns: int, _args: tuple[Argument, ...]) -> None:
        look = self.history.undo(look_of(self.state))
        if look is None:
            raise ConfigError("/vj/undo: there is nothing to undo")
        self._turn_to(t_ns, look)

    def _redo(self, t_ns: int, _args: tuple[Argument, ...]) -> None:
        look = self.history.redo(look_of(self.state))
        if look is None:
            raise ConfigError("/vj/redo: there is nothing to do again")
        self._turn_to(t_ns, look)

    def _take_preview(self, t_ns: int, _args: tuple[Argument, ...]) -> None:
        """Put the other deck on air: the crossfader travels to its other end."""
        other = 0.0 if self.state.params["crossfade"] >= 0.5 else 1.0
        look = replace(look_of(self.state), params={**self.state.params, "crossfade": other})
        self._turn_to(t_ns, look, self.state.morph.lasts_s(self.grid.period_s))

    def _forget_pending(self, _t_ns: int, _args: tuple[Argument, ...]) -> None:
        self.pending.clear()

    def _stop_take(self, _t_ns: int, _args: tuple[Argument, ...]) -> None:
        self._playing, self._cued = None, False
        self.stopped += 1

    def _cue_go(self, t_ns: int, _args: tuple[Argument, ...]) -> None:
        self._go(t_ns, 1)

    def _cue_back(self, t_ns: int, _args: tuple[Argument, ...]) -> None:
        self._go(t_ns, -1)

    # -- what there is to see ------------------------------------------------------------------------------

    def values(self, now_ns: int) -> dict[str, Argument]:
        """Return every value that surfaces show; ``/vj/preset/go`` is the number of the preset that plays."""
        rows = values(self.state, now_ns, self.registry)
        rows["/vj/preset/go"] = self.bank.number(self.state.preset, self.state.bank)
        return rows

    def read(self, address: str) -> Argument | None:
        """Return the present value of an address, or None where there is none."""
        if address == "/vj/preset/go":
            return self.bank.number(self.state.preset, self.state.bank)
        if address == "/vj/tempo/bpm":
            return round(self.grid.bpm, 2)
        return read(self.state, address, self.registry)

    def shows(self, address: str, args: Sequence[Argument]) -> bool | None:
        """Tell whether what a message would bring is what is now; None where it would bring nothing.

        Nothing is brought by a preset that is not there, a snapshot that was not stored, an unknown cue.
        """
        cue_id = cue_of(address)
        try:
            if address == "/vj/preset/go":
                return self.bank.called(args, self.state.bank) == self.state.preset
            if address == "/vj/snapshot/recall":
                return False if args[0] in self.snapshots else None
            if cue_id:
                return self.cues.find(cue_id).id == self.state.cue
        except ConfigError:
            return None
        return bool(args) and self.read(address) == args[-1]

    def waits(self, now_ns: int) -> list[tuple[str, int]]:
        """Return what waits for its boundary: the message in words, and the beats until then."""
        newest = self.grid.count_at(now_ns) if self.grid.running else 0
        return [(" ".join((p.address, *map(str, p.args))), max(0, p.count - newest)) for p in self.pending]

    def cue_names(self) -> tuple[str, str]:
        """Return the ids of the cue that was called last, and of the next one; empty where there is none."""
        cue = self.state.cue
        try:
            return cue, self.cues.step(cue, 1).id
        except ConfigError:
            return cue, ""

    @property
    def look(self) -> Look:
        """The look as it is, to be saved."""
        return look_of(self.state)

    def rebank(self, bank: Bank, now_ns: int) -> None:
        """Take up presets that were edited or saved. The one that plays is found again, and played as it is now.

        If it is gone, it plays on, and no preset is said to play.
        """
        before = self.bank
        self.bank = bank
        place = _found_again(self.state, before, bank)
        known = self.state.bank if self.state.bank in bank.banks else ""
        new = replace(self.state, preset=place, bank=known)
        if place < len(bank.presets) and bank.presets[place][1] not in [preset for _, preset in before.presets]:
            new = enter(new, place, bank.presets[place][1], self.registry)
        if new != self.state:
            self.state = replace(new, t_ns=now_ns, revision=self.state.revision + 1)
        self._arm()


def _found_again(state: ShowState, before: Bank, bank: Bank) -> int:
    """Return the place of the preset that plays in a new bank: by its file, or by its name; behind the end if gone."""
    if state.preset < len(before.presets):
        file = before.banks[state.preset], before.presets[state.preset][0]
        for place, (slug, _) in enumerate(bank.presets):
            if (bank.banks[place], slug) == file:
                return place
    names = [preset.name for _, preset in bank.presets]
    return names.index(state.preset_name) if state.preset_name in names else len(names)


# What depends on more than the state is kept in a take with the look that it led to.
_BY_LOOK = frozenset({"/vj/undo", "/vj/redo", "/vj/snapshot/recall"})
_OWN = {
    "/vj/undo": Desk._undo,
    "/vj/redo": Desk._redo,
    "/vj/snapshot/store": Desk._store,
    "/vj/snapshot/recall": Desk._recall,
    "/vj/cue/go": Desk._cue_go,
    "/vj/cue/back": Desk._cue_back,
    "/vj/cue/stop": Desk._stop_following,
    "/vj/preview/take": Desk._take_preview,
    "/vj/quantise/clear": Desk._forget_pending,
    "/vj/take/stop": Desk._stop_take,
}
