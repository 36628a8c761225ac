"""The main process: starts the workers, watches them, and ends everything within two seconds.

It draws nothing, formats no foreign text and opens no port: the display process tells how it goes.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from vjserver.app.lan import Lan
from vjserver.app.preflight import check_alone, check_room, claim, raise_limits
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, filled, first_state
from vjserver.app.workers import Plan, workers
from vjserver.runtime import log, shared
from vjserver.runtime.installed import installed
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import ring_owner
from vjserver.runtime.roles import ROLES
from vjserver.runtime.slot import SlotReader, SlotWriter
from vjserver.runtime.status import DisplayStatus, StatusReader, plain
from vjserver.runtime.store import Channels, StateReader, Statuses, sweep
from vjserver.runtime.supervisor import Supervisor
from vjserver.show.looks import enter
from vjserver.show.state import settled
from vjserver.types.events import TAKE_BACK, Command, Degraded

CHECK_S = 0.05
NOTE_S = 2.0


@dataclass(slots=True)
class Ending:
    """Set by a signal; nothing else happens in a handler."""

    asked: bool = False

    def __call__(self, *_: object) -> None:
        """Take note."""
        self.asked = True

    def listen(self) -> None:
        """Take the signals that end a program."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):  # nohup
                continue
            signal.signal(number, self)


class Runner:
    """One run of the server."""

    def __init__(self, show: Show, as_json: bool, lan: Lan | None = None) -> None:
        registry = installed()
        place, preset = load_bank(show.presets, registry).find(show.preset)  # say so now, not in a worker
        self._first = settled(enter(first_state(show), place, preset, registry), registry)
        check_alone(show)  # it can name who is there
        self._claim = claim(show)
        sweep()
        log.turn_over()
        raise_limits()
        check_room(show)
        self._show = show
        self._channels = Channels(f"vjs-{os.getpid()}")
        self._segments = self._channels.create()
        try:
            self._events = QueueWriter(self._channels.events("main"))
            self._told = Statuses.of(self._channels)
            self._display = StatusReader(self._channels.status("display"), DisplayStatus)
            self._state = SlotReader(self._channels.state)
            table = workers(
                Plan(show, self._channels, registry, self._first, lan, _token(show, lan)),
                as_json,
                time.perf_counter_ns(),
            )
            self._supervisor = Supervisor(
                table, self._announce, self._channels.remove, self._channels.signs, self._drop
            )
        except BaseException:
            self._channels.remove()
            raise
        self.all_gone = True
        """Whether no process was left at the end."""
        self._calm: list[bytes] = []
        self._newest = b""
        self._next_note_s = 0.0

    def _announce(self, what: str, why: str, recovered: bool) -> None:
        with contextlib.suppress(ValueError):
            self._events.put(Degraded(time.perf_counter_ns(), f"process {what}", why, recovered))

    def run(self, seconds: float | None, ending: Ending) -> dict[str, Any]:
        """Run for ``seconds`` or until a signal; return the last figures."""
        began_s = time.monotonic()
        try:
            self._supervisor.start()
            while not ending.asked and (seconds is None or time.monotonic() - began_s < seconds):
                self._supervisor.wait(CHECK_S)
                self._supervisor.check()
                self._note_state(time.monotonic())
            return self.summary(time.monotonic() - began_s)
        finally:
            self.all_gone = self._supervisor.stop()
            self._remove_rings()
            for segment in self._segments:
                segment.close()
            self._channels.remove()
            if self._claim is not None:
                self._claim.close()

    # -- the state that was well ---------------------------------------------------------------------------

    def _note_state(self, now_s: float) -> None:
        """Keep the newest states with which control has been calm for a while."""
        if now_s < self._next_note_s:
            return
        self._next_note_s = now_s + NOTE_S
        self._newest = self._state.get() or self._newest
        if self._supervisor.is_calm("control") and self._newest:
            self._calm = [*self._calm, self._newest][-5:]

    def _drop(self, name: str) -> None:
        """A process falls again and again: what the state gained last may be the cause, so it is let go.

        Control does that, where it lives; if it is control that falls, it finds the state as it was, and nothing else.
        """
        for memory in next((role.memories for role in ROLES if role.name == name), {}):
            SlotWriter(self._channels.memory(memory)).put(b"")  # whatever its predecessor left may be what it dies of
        if name == "display":
            return
        why = "what the show was told last is taken back"
        if name != "control":
            self._events.put(Command(time.perf_counter_ns(), TAKE_BACK, (name,)))
        elif self._calm:
            SlotWriter(self._channels.state).put(self._calm[0])
        else:
            return
        self._announce(name, f"fell again and again; {why}", False)

    # -- how it goes ---------------------------------------------------------------------------------------

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return the figures of the run so far."""
        told = self._told
        ear, generate, deliver, control = told.ear.get(), told.generate.get(), told.deliver.get(), told.control.get()
        return {
            "seconds": round(seconds, 1),
            "frames": generate.frames,
            "fps": generate.fps,
            "beats": ear.beats,
            "bpm": ear.bpm,
            "osc_sent": ear.osc_sent,
            "osc_received": control.osc_received,
            "drops": deliver.drops,
            "pacing": plain(deliver.pacing),
            "delivery": {"ticks": deliver.ticks, "late": deliver.late, "missed": deliver.missed},
            "latency_ms": {
                "audio_to_osc": plain(ear.audio_to_osc),
                "audio_to_frame": plain(generate.audio_to_frame),
                "frame_to_output": plain(deliver.frame_to_output),
            },
            "outputs": {name: row.sent for name, row in deliver.outputs.items()},
            "troubles": self._display.get().troubles,
        }

    def _remove_rings(self) -> None:
        """Remove what killed workers may have left; rings of other servers stay."""
        state = StateReader(self._channels.state, self._first).get()
        for row in state.outputs:
            if row.config["kind"] == "sharedmem":
                name = f"vjserver-{filled(self._show, row.config).get('stream', 'program')}"
                if not ring_owner(name):
                    shared.remove_by_name(name)


def _token(show: Show, lan: Lan | None) -> str:
    """Return the token for a show that is open to others: to a network, or by a tunnel's or a proxy's name."""
    return lan.token if lan is not None else secrets.token_urlsafe(16) if show.web.hosts else ""


def run_show(
    show: Show,
    seconds: float | None = None,
    as_json: bool = False,
    lan: Lan | None = None,
    ending: Ending | None = None,
) -> int:
    """Run a show; return the exit code. With ``as_json`` the last line of standard output is the summary."""
    ending = ending or Ending()
    ending.listen()
    runner = Runner(show, as_json, lan)
    if ending.asked:
        seconds = 0.0
    result = runner.run(seconds, ending)
    _show_cursor()
    if as_json:
        print(json.dumps(result))
    elif sys.stdout.isatty() or seconds is not None:
        print(f"{result['frames']} pictures, {result['beats']} beats, {result['osc_sent']} OSC packets")
    if not runner.all_gone:  # Python would wait for a process that the system does not let go
        sys.stdout.flush()
        os._exit(0)
    return 0


def _show_cursor() -> None:
    """Have the terminal's cursor back where the display had no time to give it back itself."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None and stream.isatty() and sys.platform != "win32":
                stream.write("\x1b[?25h")
                stream.flush()
                return
