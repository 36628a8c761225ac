"""The display process: how the show goes is told at the terminal, what was announced also in the log.

Nothing depends on it: it may fall, and it may wait for a terminal that is not read, and the show goes on. What
strangers wrote is shown as text. Where the live table cannot be drawn, plain lines are printed.
"""

import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vjserver import __version__
from vjserver.app.lan import Lan, qr_code
from vjserver.app.workers import Plan
from vjserver.runtime import log
from vjserver.runtime.life import Life
from vjserver.runtime.queue import QueueReader
from vjserver.runtime.roles import EVERYBODY
from vjserver.runtime.status import (
    ControlStatus,
    DeliverStatus,
    DisplayStatus,
    EarStatus,
    GenerateStatus,
    Latency,
    Status,
    StatusReader,
    StatusWriter,
)
from vjserver.runtime.store import Channels, Statuses
from vjserver.types.events import Degraded
from vjserver.types.text import visible

LOOK_S = 0.05
STATUS_S = 0.25
LINE_S = 5.0
PATIENCE_S = 4.0
PACKAGES = (
    "numpy",
    "numba",
    "pyzmq",
    "ndi-python",
    "av",
    "torch",
    "diffusers",
    "pyaudio",
    "aubio-ledfx",
    "python-rtmidi",
)
MOST_TROUBLES = 8


def main(plan: Plan, as_json: bool, began_ns: int, life: Life) -> None:
    """Run until ``life`` is told to end. With ``as_json`` standard output is left to the summary."""
    console = Console(stderr=as_json, highlight=False, markup=False, emoji=False)
    Display(plan, console, began_ns).run(life)


class Display:
    """What is told of one run."""

    def __init__(self, plan: Plan, console: Console, began_ns: int) -> None:
        channels: Channels = plan.channels
        self._plan, self._console, self._began_ns = plan, console, began_ns
        # One that comes after another goes on where that one stopped, and neither greets nor repeats.
        left = StatusReader(channels.status("display"), DisplayStatus).get()
        self._anew = not left.known
        self._heard = {n: QueueReader(channels.events(n), from_begin=True) for n in EVERYBODY if n != "display"}
        for name, place in left.places.items():
            self._heard[name].place = place
        self._told = Statuses.of(channels)
        self._own = StatusWriter(channels.status("display"))
        self._troubles: dict[str, str] = dict(left.troubles)
        self._first = self._patient = not self._anew
        self._next_line_s = self._next_show_s = 0.0
        self._mute = False
        utf = (console.encoding or "").lower().startswith("utf")
        self._lamps = ("●", "○") if utf else ("*", "-")

    def run(self, life: Life) -> None:
        """Tell until the end: with a live table where there is a terminal, else, or where that fails, in lines."""
        self._note()
        if self._anew:
            log.write("main", versions())
            self._greet()
        if self._console.is_terminal:
            try:
                with Live(self._table(), console=self._console, auto_refresh=False, transient=True) as view:
                    self._loop(life, view)
            except Exception as error:  # noqa: BLE001 - whatever a terminal does: lines are told all the same
                log.write_fault("display", "the live table fell", error)
                self._say(
                    "degraded",
                    f"the live table cannot be shown ({type(error).__name__}: {error}); lines are printed instead",
                )
        if not life.stopped():
            self._loop(life, None)

    def _loop(self, life: Life, view: Live | None) -> None:
        while not life.stopped():
            self._look(view)
            time.sleep(LOOK_S)
        self._look(None)

    def _look(self, view: Live | None) -> None:
        now_s = time.monotonic()
        self._tell_troubles()
        self._tell_first()
        if view is not None and now_s >= self._next_show_s:
            self._next_show_s = now_s + STATUS_S
            view.update(self._table(), refresh=True)
        if view is None and self._first and now_s >= self._next_line_s and not self._console.is_terminal:
            self._next_line_s = now_s + LINE_S
            self._print(self._line())

    # -- lines ---------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        show, lan = self._plan.show, self._plan.lan
        page = f"page: http://127.0.0.1:{show.web.port}   " if show.web.on else ""
        self._print(f"{page}OSC in: {show.osc.host}:{show.osc.port}   stop: Ctrl-C")
        if not show.web.on:
            return
        for host in show.web.hosts:
            self._print(f"the panel from outside (a proxy, a tunnel): http://{host}/?token={self._plan.token}")
        if lan is not None:
            url = lan.url(show.web.port)
            self._print(f"only for you, the whole panel on another machine: {url}")
            code = qr_code(url)
            try:
                code.encode(self._console.encoding or "ascii")
            except (UnicodeEncodeError, LookupError):
                self._print("(this terminal cannot show the QR code, since it does not use UTF-8)")
            else:
                self._print(code)
            if show.speech.on:
                self._greet_guests(lan)

    def _greet_guests(self, lan: Lan) -> None:
        """Say what is for everybody: another address than the one that plays the whole show."""
        web = self._plan.show.web
        self._print(
            f"for guests, to speak and nothing else: {lan.speak_url(web.port, 'http')}  (it shows the way to https)"
        )
        self._print(f"for guests, by https: open {lan.trust_url(web.port)} once, then {lan.speak_url(web.secure_port)}")

    def _print(self, text: str, first: str = "", style: str = "") -> None:
        """Print a line as it is, whatever it holds; ``first`` stands before it in a colour."""
        try:
            self._console.print(Text.assemble((first, style), text), soft_wrap=True)
        except Exception as error:  # noqa: BLE001 - a terminal that is gone, a sign that it cannot say
            if not self._mute:
                log.write_fault("display", "nothing can be printed; the log goes on", error)
            self._mute = True
        else:
            self._mute = False

    def _say(self, kind: str, text: str) -> None:
        self._print(f" {visible(text)}", kind, "green" if kind == "recovered" else "yellow")

    def _tell_first(self) -> None:
        now_s = (time.perf_counter_ns() - self._began_ns) * 1e-9
        if not self._first and self._told.generate.get().frames:
            self._first = True
            self._print(f"first picture after {now_s:.1f} s")
        if not self._first and not self._patient and now_s > PATIENCE_S:
            self._patient = True
            self._print("the generator is starting; the first time on a new machine this takes half a minute")

    def _tell_troubles(self) -> None:
        events = [event for reader in self._heard.values() for event in reader.get()]
        if not events:
            return
        self._note()  # before they are told: what this process might fall of is not told to the next
        for event in events:
            if not isinstance(event, Degraded):
                continue
            if event.recovered:
                self._troubles.pop(event.what, None)
            elif event.what != "message":
                self._troubles[event.what] = event.why
            kind = "recovered" if event.recovered else "degraded"
            self._say(kind, f"{event.what}: {event.why}")
            log.write("main", f"{kind} {for_log(event)}")
        self._note()

    def _note(self) -> None:
        """Tell the others what is amiss; a display that comes after this one finds it, and goes on from there."""
        newest = list(self._troubles.items())[-MOST_TROUBLES:]
        faults = {what: why.encode()[:300].decode(errors="ignore") for what, why in newest}
        places = {name: reader.place for name, reader in self._heard.items()}
        self._own.put(DisplayStatus(t_ns=time.perf_counter_ns(), troubles=faults, places=places))

    def _fresh(self) -> tuple[EarStatus, GenerateStatus, DeliverStatus, ControlStatus]:
        """Return what the processes tell; old figures are no figures."""
        told, now_ns = self._told, time.perf_counter_ns()
        return (
            told.ear.fresh(now_ns),
            told.generate.fresh(now_ns),
            told.deliver.fresh(now_ns),
            told.control.fresh(now_ns),
        )

    def _line(self) -> str:
        ear, generate, deliver, control = self._fresh()
        preset = visible(control.preset)
        return (
            f"{_number(ear, 'bpm', '5.1f')} bpm  beat {_number(ear, 'beats')}  {_number(generate, 'fps')} pictures/s  "
            f"{_number(deliver, 'new_fps')} delivered/s  osc {_number(ear, 'osc_sent')} out "
            f"{_number(control, 'osc_received')} in  preset {preset!r}"
        )

    # -- the table -----------------------------------------------------------------------------------------

    def _table(self) -> Table:
        ear, generate, deliver, control = self._fresh()

        def ms(latency: Latency | None) -> str:
            return f"{latency.p50:.1f} / {latency.p95:.1f} ms" if latency is not None else "-"

        table = Table(title="vjserver", show_header=False, min_width=64)

        def row(name: str, text: str, style: str = "", name_style: str = "") -> None:
            table.add_row(Text(visible(name), name_style), Text(visible(text), style))

        on = ear.bpm > 0.0
        lamp = Text(self._lamps[0] if on else self._lamps[1], "magenta" if on else "dim")
        beat = f" {_number(ear, 'bpm', '.1f')} bpm, beat {_number(ear, 'beats')}"
        table.add_row(Text("tempo"), Text.assemble(lamp, beat))
        row("preset", control.preset)
        row("prompt", control.prompt[:60])
        row("pictures", f"{_number(generate, 'fps')}/s made, {_number(deliver, 'new_fps')}/s delivered")
        row("sound -> OSC", f"{ms(ear.audio_to_osc)}  (median / 95 %)")
        row("sound -> picture", ms(generate.audio_to_frame))
        row("picture -> output", ms(deliver.frame_to_output))
        for name, output in deliver.outputs.items():
            receivers = output.figures.get("connections")
            to = "" if receivers is None else f", {receivers:.0f} receiver(s)"
            row(name, f"{output.fps:.0f} fps{to}" if output.alive else "off", "" if output.alive else "red")
        row("OSC", f"{_number(ear, 'osc_sent')} out, {_number(control, 'osc_received')} in")
        if self._plan.show.web.on:
            row("page", f"http://127.0.0.1:{self._plan.show.web.port}")
        for what, why in list(self._troubles.items())[-MOST_TROUBLES:]:
            row(what, why[:200], name_style="yellow")
        return table


def _number(told: Status, key: str, form: str = ".0f") -> str:
    """Return a figure, ``?`` where its process tells none."""
    return format(float(getattr(told, key)), form) if told.known else "?"


def versions() -> str:
    """Return what runs, in a line: it goes into the log, and into a report."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    system = f"Python {platform.python_version()}, {platform.platform()}"
    return f"vjserver {__version__} begins: {system}, {sys.getdefaultencoding()}; {', '.join(found)}"


def for_log(event: Degraded) -> str:
    """Return an announcement as it may stand in a log that is given away: nothing that somebody wrote as a prompt."""
    why = event.why
    if event.what in ("message", "prompt", "presets", "midi map", "cues"):
        why = re.sub(r"""'[^']*'?|"[^"]*"?""", "'...'", why)
    return f"{visible(event.what)}: {visible(why)}"
