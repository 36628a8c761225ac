"""The main process: starts the workers, watches them, shows how it goes, and ends everything within two seconds."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vjserver.app.lan import Lan, qr_code
from vjserver.app.show import Show, first_state, load_bank
from vjserver.app.workers import Plan, workers
from vjserver.runtime import shared
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.ring import ring_owner
from vjserver.runtime.stats import StatsReader
from vjserver.runtime.store import WORKERS, Channels, StateReader
from vjserver.runtime.supervisor import Supervisor
from vjserver.types.events import Degraded

CHECK_S = 0.05
STATUS_S = 0.25


@dataclass(slots=True)
class _Ending:
    """Set by a signal; nothing else happens in a handler."""

    asked: bool = False

    def __call__(self, *_: object) -> None:
        self.asked = True


class Runner:
    """One run of the server."""

    def __init__(self, show: Show, console: Console, lan: Lan | None = None) -> None:
        load_bank(show.presets).find(show.preset)  # say so now, not in a worker
        self._show, self._console = show, console
        self._channels = Channels(f"vjs-{os.getpid()}")
        self._segments = self._channels.create()
        try:
            self._events = QueueWriter(self._channels.events("main"))
            self._heard = [QueueReader(self._channels.events(name)) for name in (*WORKERS, "main")]
            self._boards = {name: StatsReader(self._channels.stats(name)) for name in WORKERS}
        except BaseException:
            self._channels.remove()
            raise
        self._supervisor = Supervisor(workers(Plan(show, self._channels, lan)), self._announce, self._channels.remove)
        self._troubles: dict[str, str] = {}

    def _announce(self, what: str, why: str, mended: bool) -> None:
        self._events.put(Degraded(time.perf_counter_ns(), f"process {what}", why, mended))

    def run(self, seconds: float | None, live: bool) -> dict[str, Any]:
        """Run for ``seconds`` or until a signal; return the last figures."""
        ending = _Ending()
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), ending)
        began = time.monotonic()
        self._supervisor.start()
        try:
            if live:
                with Live(self._table(), console=self._console, refresh_per_second=4, transient=True) as view:
                    self._watch(ending, began, seconds, lambda: view.update(self._table()))
            else:
                self._watch(ending, began, seconds, lambda: None)
            return self.summary(time.monotonic() - began)
        finally:
            self._supervisor.stop()
            self._remove_rings()
            for segment in self._segments:
                segment.close()
            self._channels.remove()

    def _watch(self, ending: _Ending, began: float, seconds: float | None, show: Callable[[], None]) -> None:
        next_show = next_line = 0.0
        first = patience = False
        while not ending.asked and (seconds is None or time.monotonic() - began < seconds):
            self._supervisor.check()
            self._tell_troubles()
            now = time.monotonic()
            if not first and self._boards["generate"].get().get("frames"):
                first = True
                self._console.print(f"first picture after {now - began:.1f} s")
            if not first and not patience and now - began > 4.0:
                patience = True
                self._console.print("the generator is getting ready; its first start on a machine takes half a minute")
            if now >= next_show:
                next_show = now + STATUS_S
                show()
            if now >= next_line and first and not self._console.is_terminal:
                next_line = now + 5.0
                self._console.print(self._line(), soft_wrap=True)
            time.sleep(CHECK_S)

    def _tell_troubles(self) -> None:
        for reader in self._heard:
            for event in reader.get():
                if not isinstance(event, Degraded):
                    continue
                if event.mended:
                    self._troubles.pop(event.what, None)
                    self._console.print(f"[green]mended[/] {event.what}: {event.why}", soft_wrap=True)
                else:
                    if event.what != "message":
                        self._troubles[event.what] = event.why
                    self._console.print(f"[yellow]degraded[/] {event.what}: {event.why}", soft_wrap=True)

    # -- how it goes ---------------------------------------------------------------------------------------

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return the figures of the run so far."""
        ear, generate, deliver, control = (
            self._boards[name].get() for name in ("ear", "generate", "deliver", "control")
        )
        return {
            "seconds": round(seconds, 1),
            "frames": generate.get("frames", 0),
            "fps": generate.get("fps", 0.0),
            "beats": ear.get("beats", 0),
            "bpm": ear.get("bpm", 0.0),
            "osc_sent": ear.get("osc_sent", 0),
            "osc_received": control.get("osc_received", 0),
            "drops": deliver.get("drops", 0),
            "pacing": deliver.get("pacing", {}),
            "delivery": {key: deliver.get(key, 0) for key in ("ticks", "late", "missed")},
            "latency_ms": {
                "audio_to_osc": ear.get("audio_to_osc", {}),
                "audio_to_frame": generate.get("audio_to_frame", {}),
                "frame_to_output": deliver.get("frame_to_output", {}),
            },
            "outputs": {name: row["sent"] for name, row in deliver.get("outputs", {}).items()},
            "troubles": self._troubles,
        }

    def _line(self) -> str:
        ear, generate, deliver, control = (
            self._boards[name].get() for name in ("ear", "generate", "deliver", "control")
        )
        return (
            f"{ear.get('bpm', 0.0):5.1f} bpm  beat {ear.get('beats', 0)}  {generate.get('fps', 0.0):.0f} pictures/s  "
            f"{deliver.get('new_fps', 0.0):.0f} delivered/s  osc {ear.get('osc_sent', 0)} out "
            f"{control.get('osc_received', 0)} in  preset {control.get('preset', '')!r}"
        )

    def _table(self) -> Table:
        ear, generate, deliver, control = (
            self._boards[name].get() for name in ("ear", "generate", "deliver", "control")
        )

        def ms(board: dict[str, Any], name: str) -> str:
            row = board.get(name)
            return f"{row['p50']:.1f} / {row['p95']:.1f} ms" if row else "-"

        table = Table(title="vjserver", show_header=False, min_width=64)
        lamp = "[magenta]●[/]" if ear.get("bpm") else "[dim]○[/]"
        table.add_row("tempo", f"{lamp} {ear.get('bpm', 0.0):.1f} bpm, beat {ear.get('beats', 0)}")
        table.add_row("preset", str(control.get("preset", "")))
        table.add_row("prompt", str(control.get("prompt", ""))[:60])
        table.add_row(
            "pictures",
            f"{generate.get('fps', 0.0):.0f}/s made, {deliver.get('new_fps', 0.0):.0f}/s delivered",
        )
        table.add_row("sound -> OSC", ms(ear, "audio_to_osc") + "  (median / 95 %)")
        table.add_row("sound -> picture", ms(generate, "audio_to_frame"))
        table.add_row("picture -> output", ms(deliver, "frame_to_output"))
        for name, row in deliver.get("outputs", {}).items():
            receivers = row["figures"].get("connections")
            to = "" if receivers is None else f", {receivers:.0f} receiver(s)"
            table.add_row(name, f"{row['fps']:.0f} fps{to}" if row["alive"] else "[red]off[/]")
        table.add_row("OSC", f"{ear.get('osc_sent', 0)} out, {control.get('osc_received', 0)} in")
        if self._show.web.on:
            table.add_row("page", f"http://127.0.0.1:{self._show.web.port}")
        for what, why in self._troubles.items():
            table.add_row(f"[yellow]{what}[/]", why[:200])
        return table

    def _remove_rings(self) -> None:
        """Remove what killed workers may have left; rings of other servers stay."""
        state = StateReader(self._channels.state, first_state(self._show)).get()
        for row in state.outputs:
            name = f"vjserver-{row.config.get('stream', 'program')}"
            if row.config["kind"] == "sharedmem" and not ring_owner(name):
                shared.remove_by_name(name)


def run_show(show: Show, seconds: float | None = None, as_json: bool = False, lan: Lan | None = None) -> int:
    """Run a show; return the exit code. With ``as_json`` the last line of standard output is the summary."""
    console = Console(stderr=as_json, highlight=False)
    runner = Runner(show, console, lan)
    if show.web.on:
        console.print(
            f"page: http://127.0.0.1:{show.web.port}   OSC in: {show.osc.host}:{show.osc.port}   stop: Ctrl-C"
        )
        if lan is not None:
            url = lan.url(show.web.port)
            console.print(f"from another machine: {url}\n{qr_code(url)}", soft_wrap=True, markup=False)
    result = runner.run(seconds, live=console.is_terminal)
    if as_json:
        print(json.dumps(result))
    elif sys.stdout.isatty() or seconds is not None:
        console.print(f"{result['frames']} pictures, {result['beats']} beats, {result['osc_sent']} OSC packets")
    return 0
