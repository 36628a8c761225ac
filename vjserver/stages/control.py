"""Control: messages from every hand go in; the one state of the show comes out. Never in the way of ear or picture.

OSC, the web page and the preset's own triggers all end in :meth:`Control.receive`: one address, one check, one state.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from vjserver.controls.link import STEP_S, LinkMode, LinkSession
from vjserver.controls.osc import OscMessage, OscServer, Sender
from vjserver.outputs.osc import OscTargetOptions, StatusSender, message
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import FeaturesReader, StateWriter
from vjserver.show.addresses import REGISTRY
from vjserver.show.changes import apply, read
from vjserver.show.preset import Bank
from vjserver.show.registry import accept, changed, is_release
from vjserver.show.state import TEMPO, ShowState, Triggers, enter
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.events import Argument, Beat, Command, Degraded, Drum, EarEvent, Onset, Section
from vjserver.types.features import BAND_NAMES, Features

POLL_S = 0.004
MAX_TROUBLES = 20
TELL_AGAIN_NS = 5 * NS


class Control:
    """The control process's state and loops.

    ``before`` is the state that a fallen predecessor left, if any, ``fresh`` the one in which the show begins.
    ``check_output`` raises ConfigError for an output's configuration that makes no sense or is not allowed.
    """

    def __init__(
        self,
        bank: Bank,
        first: Argument,
        clock: Clock,
        state: StateWriter,
        before: ShowState | None,
        fresh: ShowState,
        check_output: Callable[[Mapping[str, Any]], None],
        features: FeaturesReader,
        events: QueueWriter,
        others: Sequence[QueueReader],
        stats: StatsWriter,
        boards: dict[str, StatsReader],
        targets: Sequence[OscTargetOptions],
        link: LinkMode = "off",
    ) -> None:
        self.bank, self._clock = bank, clock
        self._publish, self._features, self._events, self._others = state, features, events, others
        self._stats, self._boards = stats, boards
        self._status = StatusSender(targets)
        place, preset = bank.find(first if before is None else before.preset + 1)
        self.state = enter(fresh, place, preset) if before is None else before
        self._check_output = check_output
        self._triggers = Triggers(preset)
        self._publish.put(self.state)
        self.server = OscServer(self.receive_osc, self.refuse)
        self.link: LinkMode = link
        self.troubles: dict[str, str] = {}
        self.messages = 0
        self.refused = 0
        self._last_refusal_ns = -NS
        self._told: tuple[str, str] = ("", "")
        self._told_maker = self._told_rung = ""
        self._tell_again_ns = 0
        self._lost = 0
        self._foreseen = 0

    # -- what comes in -------------------------------------------------------------------------------------

    def receive_osc(self, osc: OscMessage, sender: Sender) -> None:
        """Take a message from the network: a query is answered to its sender, anything else is received."""
        address, args = osc.address, osc.args
        if address.endswith("?") or args == ("?",):
            self._answer(address.removesuffix("?"), sender)
        elif address == "/vj/ping":
            self.messages += 1
            self.server.send(message("/vj/pong", *[a for a in args[:1] if not isinstance(a, bool)]), sender)
        elif address == "/vj/output/list":
            self.messages += 1
            for row in self._output_rows(self._boards["deliver"].get()):
                self.server.send(message("/vj/status/output", *row), sender)
        else:
            self.receive(address, args)

    def receive(self, address: str, args: Sequence[object]) -> None:
        """Take a message: check it, apply it, publish the new state. A wrong one is told and changes nothing."""
        if is_release(address, args):
            return
        t_ns = self._clock.now_ns()
        try:
            accepted = accept(address, args)
            new = apply(self.state, t_ns, address, accepted, self.bank)
            for row in new.outputs if new.outputs != self.state.outputs else ():
                if row not in self.state.outputs:
                    self._check_output(row.config)
        except ConfigError as error:
            self.refuse(str(error))
            return
        self.messages += 1
        bent = changed(args, accepted)
        if bent:
            self._tell_message(f"{address}: {bent}, the nearest that is allowed")
        if address == "/vj/tempo/link":
            self.link = cast(LinkMode, accepted[0])
        elif address.startswith(TEMPO):
            self._events.put(Command(t_ns, address, accepted))
        if new is self.state:
            return
        if address.startswith("/vj/preset/"):
            self._triggers = Triggers(self.bank.presets[new.preset][1])
        self.state = new
        self._publish.put(new)

    def refuse(self, why: str) -> None:
        """Count a message that makes no sense; tell why."""
        self.refused += 1
        self._tell_message(why)

    def _tell_message(self, why: str) -> None:
        """Tell what was wrong with a message, at most twice a second."""
        now_ns = self._clock.now_ns()
        if now_ns - self._last_refusal_ns > NS // 2:
            self._last_refusal_ns = now_ns
            self._events.put(Degraded(now_ns, "message", why))
            self._status.tell("/vj/status/error", "message", why)

    def _answer(self, address: str, sender: Sender) -> None:
        value = read(self.state, address) if address in REGISTRY else None
        if value is None:
            self.refuse(f"nothing to read at {address!r}")
            return
        self.messages += 1
        self.server.send(message(address, int(value) if isinstance(value, bool) else value), sender)

    # -- the loops -----------------------------------------------------------------------------------------

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Follow the other rooms' events until ``stopped``."""
        next_status_ns = 0
        while not stopped():
            for reader in self._others:
                for event in reader.get():
                    self._hear(event)
            now_ns = self._clock.now_ns()
            self._foresee(now_ns)
            if now_ns >= next_status_ns:
                next_status_ns = now_ns + NS // 2
                self._tell_status(now_ns)
            await asyncio.sleep(POLL_S)
        self.server.close()
        self._status.close()

    async def run_link(self, stopped: Callable[[], bool]) -> None:
        """Sit in the Ableton Link session while it is wanted; what cannot be is announced once, and the ear goes on."""
        session = LinkSession(self._clock, lambda: self._features.get().grid, self._follow_link)
        before: LinkMode = "off"
        while not stopped():
            mode = self.link
            if mode != before:
                if before == "follow":
                    self._follow_link(())
                before = mode
                if mode == "off":
                    session.leave()
                else:
                    await self._join_link(session)
            session.step(mode)
            await asyncio.sleep(STEP_S)
        session.leave()

    async def _join_link(self, session: LinkSession) -> None:
        try:
            await session.join()
        except DeviceError as error:
            self.announce("link", str(error))
        else:
            if "link" in self.troubles:
                self.announce("link", "joined", mended=True)

    def _follow_link(self, grid: tuple[Argument, ...]) -> None:
        self._events.put(Command(self._clock.now_ns(), "/vj/tempo/grid" if grid else "/vj/tempo/auto", grid))

    def announce(self, what: str, why: str, mended: bool = False) -> None:
        """Tell the terminal, the page and the listeners what works less well than it should, or works again."""
        event = Degraded(self._clock.now_ns(), what, why, mended)
        self._events.put(event)
        self._hear(event)

    def _hear(self, event: object) -> None:
        if isinstance(event, Degraded):
            self.troubles.pop(event.what, None)
            if not event.mended:
                self.troubles[event.what] = event.why
                while len(self.troubles) > MAX_TROUBLES:
                    self.troubles.pop(next(iter(self.troubles)))
            self._status.tell("/vj/status/ok" if event.mended else "/vj/status/error", event.what, event.why)
        elif isinstance(event, (Drum, Onset, Section)):
            self._trigger(event)

    def _trigger(self, event: EarEvent) -> None:
        for address, args in self._triggers.hear(event):
            self.receive(address, args)

    def _foresee(self, now_ns: int) -> None:
        """Fire what hangs on a beat so much ahead of it as a picture takes to be made and delivered."""
        grid = self._features.get().grid
        if not grid.running:
            return
        ahead_ns = round(float(self._boards["generate"].get().get("lookahead_ms", 0.0)) * 1e6)
        newest = grid.count_at(now_ns + ahead_ns)
        if not 0 <= newest - self._foreseen <= grid.beats_per_bar:  # another clock, or a long stop
            self._foreseen = newest - 1
        while self._foreseen < newest:
            self._foreseen += 1
            position = (grid.bar_position + self._foreseen - grid.count) % grid.beats_per_bar
            t_ns = grid.t_ns + round((self._foreseen - grid.count) * grid.period_s * NS)
            beat = Beat(t_ns, now_ns, self._foreseen, position, grid.beats_per_bar, grid.bpm, grid.confidence)
            self._trigger(beat)

    def _tell_lost(self) -> None:
        lost = sum(reader.lost for reader in self._others)
        if lost > self._lost:
            self.announce("events", f"{lost - self._lost} lost: this process was stopped for too long")
        elif "events" in self.troubles:
            self.announce("events", "none lost any more", mended=True)
        self._lost = lost

    def _tell_status(self, now_ns: int) -> None:
        self._tell_lost()
        if now_ns >= self._tell_again_ns:  # for who began to listen only now
            self._tell_again_ns = now_ns + TELL_AGAIN_NS
            self._told, self._told_maker, self._told_rung = ("", ""), "", ""
        told = (self.state.preset_name, self.state.heaviest)
        if told != self._told:
            self._told = told
            self._status.tell("/vj/status/preset", told[0])
            self._status.tell("/vj/status/prompt", told[1])
        ear, generate, deliver = (self._boards[name].get() for name in ("ear", "generate", "deliver"))
        for name, board in (
            ("audio_to_osc", ear),
            ("audio_to_frame", generate),
            ("source_to_frame", generate),
            ("frame_to_output", deliver),
        ):
            latency = board.get(name)
            if latency:
                self._status.tell(f"/vj/status/latency/{name}", latency["p50"], latency["p95"])
        figures = generate.get("figures", {})
        if "jumpiness_mean" in figures:
            self._status.tell("/vj/status/jumpiness", figures["jumpiness_mean"], figures["jumpiness_max"])
        maker = _maker(generate)
        if maker != self._told_maker:
            self._told_maker = maker
            self._status.tell("/vj/status/generator", maker)
        self._tell_delivery(deliver)
        self._status.tell("/vj/status/fps", float(generate.get("fps", 0.0)), float(deliver.get("new_fps", 0.0)))
        self._stats.put(
            {
                "t_ns": now_ns,
                "preset": self.state.preset_name,
                "prompt": self.state.heaviest[:200],
                "osc_received": self.server.received,
                "messages": self.messages,
                "refused": self.refused + self.server.refused,
            }
        )

    def _tell_delivery(self, deliver: dict[str, Any]) -> None:
        """Tell how steadily pictures leave, what is on the wall, and how each output does."""
        pacing = deliver.get("pacing")
        if pacing:
            self._status.tell("/vj/status/pacing", pacing["p50"], pacing["p99"])
            self._status.tell("/vj/status/late", int(deliver["late"]), int(deliver["missed"]))
        if deliver.get("rung", "") != self._told_rung:
            self._told_rung = deliver["rung"]
            self._status.tell("/vj/status/picture", self._told_rung)
        for row in self._output_rows(deliver):
            self._status.tell("/vj/status/output", *row)

    def _output_rows(self, deliver: dict[str, Any]) -> list[tuple[float | int | str, ...]]:
        """Return the arguments of ``/vj/status/output`` for each output."""
        rows: list[tuple[float | int | str, ...]] = []
        boards = deliver.get("outputs", {})
        for output in self.state.outputs:
            board = boards.get(output.label, {"alive": False, "fps": 0.0, "drops": 0, "figures": {}})
            figures = board["figures"]
            tally = "program" if figures.get("program") else "preview" if figures.get("preview") else ""
            state = "sends" if board["alive"] else "off"
            receivers = int(figures.get("connections", -1))
            rows.append((output.label, state, float(board["fps"]), int(board["drops"]), receivers, tally, str(output)))
        return rows

    # -- for the page --------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return what the page shows: sound, beat, state and health, as plain JSON values."""
        now_ns = self._clock.now_ns()
        f: Features = self._features.get()
        ear, generate, deliver = (self._boards[name].get() for name in ("ear", "generate", "deliver"))
        s = self.state
        return {
            "beat": f.grid.count_at(now_ns) if f.grid.running else 0,
            "phase": round(f.grid.beat_phase(now_ns), 3),
            "position": int(f.grid.bar_phase(now_ns) * f.grid.beats_per_bar),
            "beats_per_bar": f.grid.beats_per_bar,
            "bpm": round(f.grid.bpm, 1),
            "confidence": round(f.grid.confidence, 2),
            "level": round(f.value("level", now_ns), 3),
            "silence": f.value("silence", now_ns) > 0.5,
            "drums": [round(f.value(name, now_ns), 2) for name in ("kick", "snare", "hat")],
            "bands": dict(zip(BAND_NAMES, [round(float(b), 3) for b in f.bands], strict=True)),
            "spectrum": [round(float(b), 2) for b in f.spectrum],
            "prompts": [[text, round(weight, 3)] for text, weight in zip(s.texts, s.weights, strict=True)],
            "preset": s.preset,
            "preset_name": s.preset_name,
            "seed": s.seed,
            "blackout": s.blackout,
            "freeze": s.freeze,
            "fade": s.fade,
            "revision": s.revision,
            "latency_ms": {
                "audio_to_osc": ear.get("audio_to_osc", {}),
                "audio_to_frame": generate.get("audio_to_frame", {}),
                "frame_to_output": deliver.get("frame_to_output", {}),
            },
            "fps": {"generated": generate.get("fps", 0.0), "delivered": deliver.get("new_fps", 0.0)},
            "outputs": deliver.get("outputs", {}),
            "generator": _maker(generate),
            "figures": generate.get("figures", {}),
            "troubles": self.troubles,
        }


def _maker(board: dict[str, Any]) -> str:
    """Return who makes the picture, in words."""
    figures = board.get("figures", {})
    if "steps" not in figures:
        return str(board.get("generator", ""))
    how = f"{figures['width']}x{figures['height']}, steps {figures['steps']}, decks {figures['decks']}"
    return f"{board['generator']}: {how}"


async def until_stopped(stopped: Callable[[], bool], server: Any) -> None:
    """Ask a uvicorn server to end once ``stopped``."""
    while not stopped():
        await asyncio.sleep(0.05)
    server.should_exit = True
    with contextlib.suppress(AttributeError):
        server.force_exit = True
