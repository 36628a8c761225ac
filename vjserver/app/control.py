"""The control process: OSC and web in, the state out."""

import asyncio
import contextlib
import gc
import logging
import re
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from watchfiles import Change, awatch

from vjserver.app.exporting import exported, taken_in
from vjserver.app.lan import Lan
from vjserver.app.port_owner import port_owner
from vjserver.app.preflight import remarks
from vjserver.app.show import Show, load_bank, shipped
from vjserver.app.workers import LISTEN, STUDIO, Plan
from vjserver.controls.discovery import Discovery, local_name
from vjserver.controls.oscquery import host_info
from vjserver.controls.web.access import Guard
from vjserver.controls.web.authority import Authority, authority, context_for
from vjserver.controls.web.boards import BoardPage
from vjserver.controls.web.impatient import Impatient
from vjserver.controls.web.server import Preview, web_app
from vjserver.controls.web.speak import Gallery, SpeakPage
from vjserver.generators import store
from vjserver.keeping.boards import Boards
from vjserver.keeping.pictures import encoded
from vjserver.ports import find, options_of
from vjserver.rendering.generator_pool import own_model
from vjserver.runtime import log
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.soundring import SoundReader
from vjserver.runtime.store import WORKERS, StateReader
from vjserver.runtime.supervisor import Life
from vjserver.show.cues import CueList
from vjserver.stages.control.boarding import BoardRoom, Subject
from vjserver.stages.control.control import Control
from vjserver.stages.control.midi import MidiRoom
from vjserver.stages.control.options import ControlOptions, OscLimits
from vjserver.stages.control.osc_publisher import LOOPBACK
from vjserver.stages.control.panel import ControlPanel
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.speaking import SpeechRules
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError, OutputError, VJError
from vjserver.types.events import Speech
from vjserver.types.frames import Pixels

THUMBNAIL_AFTER_S = 4.0
BACKOFF_S = (0.2, 1.0, 5.0, 20.0)
CALM_S = 30.0
AGAIN_S = 2.0
KEEP_ALIVE_S = 5
STUDIO_STAYS_S = 60.0
Room = Callable[[], Awaitable[None]]


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # Windows' other loop has no add_reader
        runner.run(_main(plan, life))


async def _main(plan: Plan, life: Life) -> None:
    show, channels, clock = plan.show, plan.channels, LiveClock()
    pipes = Pipes.of(channels, [name for name in (*WORKERS, "main") if name != "control"])
    registry = plan.registry
    library = UserLibrary(partial(load_bank, show.presets, registry), registry)
    before = StateReader(channels.state).get_new()
    options = ControlOptions(
        registry, load_bank(show.presets, registry), plan.first, library, CueList(show.cues), show.osc.targets,
        OscLimits(_allowed(plan), show.osc.most_per_s, _trusted(plan)),
        SpeechRules(show.speech.wake, _leaves(show), show.speech.keep_sound), show.speech.subtitles,
    )  # fmt: skip
    check = partial(_check_output, plan.lan)
    control = Control(options, clock, pipes, before, check, partial(SoundReader, channels.sound))
    control.presets.load_snapshots()
    gc.collect()
    gc.freeze()  # what is here at the start stays: going through all of it again and again costs up to 50 ms at a time
    control.presets.tell_broken(control.desk.bank)
    control.presets.tell_absent()
    for what, why in remarks():
        control.announce(what, why)
    web = _Web(plan, control)
    rooms: dict[str, Room] = {
        "control": lambda: control.run(life.stopped),
        "osc in": lambda: _listen(plan, control, life),
        "link": lambda: control.run_link(life.stopped),
        "presets": lambda: _reload(show, library, control, life),
        "speech": lambda: _wish(control, life),
    }
    if show.midi.on:
        grid = pipes.features
        rooms["midi"] = lambda: MidiRoom(control, clock, show.midi, lambda: grid.get().grid).run(life.stopped)
    if show.web.on:
        for host in ("127.0.0.1", *([plan.lan.host] if plan.lan else [])):
            rooms[f"web page {host}"] = partial(web.serve, host, life)
        if plan.lan is not None:
            rooms["https"] = partial(web.serve_phones, plan.lan.host, life)
        control.boards = web.board_room()
        rooms["studio"] = lambda: _wish_pictures(web.pictures_wanted, life)
        rooms["thumbnails"] = lambda: web.keep_thumbnails(life)
    if show.web.on and show.web.announce:
        rooms["discovery"] = lambda: _announce(plan, control, life)
    await asyncio.gather(*(_kept(name, room, control, life) for name, room in rooms.items()))
    control.close()


async def _kept(name: str, room: Room, control: Control, life: Life) -> None:
    """Keep one room running: it falls alone, is announced, and begins again, later each time."""
    loop, falls = asyncio.get_running_loop(), 0
    while not life.stopped():
        began_s = loop.time()
        try:
            await room()
        except Exception as error:  # noqa: BLE001 - a library of strangers may raise anything: the other rooms go on
            falls = 1 if loop.time() - began_s > CALM_S else falls + 1
            wait_s = BACKOFF_S[min(falls, len(BACKOFF_S)) - 1]
            log.write_fault("control", f"{name} fell", error)
            why = str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {error}"
            control.announce(name, f"{why}; beginning again in {wait_s:g} s")
            await _pause(life, wait_s)
            if not life.stopped():
                control.announce(name, f"begun again after fall {falls}", recovered=True)
        else:
            return


async def _pause(life: Life, seconds: float) -> None:
    """Wait, but not beyond the end."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    while not life.stopped() and loop.time() < until_s:
        await asyncio.sleep(min(0.05, seconds))


async def _listen(plan: Plan, control: Control, life: Life) -> None:
    """Listen to OSC on every interface that is wanted; a port that is taken is tried again until it is free."""
    show = plan.show
    hosts = list(dict.fromkeys((show.osc.host, *([plan.lan.host] if plan.lan else []))))
    waiting = [(host, kind) for host in hosts for kind in ("udp", "tcp")]
    control.server.close()  # begun again after a fall, it finds its ports its own
    told = False
    while not life.stopped():
        for host, kind in list(waiting):
            try:
                if kind == "udp":
                    control.server.open(host, show.osc.port)
                else:
                    await control.server.open_tcp(host, show.osc.port)
                waiting.remove((host, kind))
            except OSError as error:
                why = f"{kind.upper()} port {show.osc.port} on {host} cannot be used: {error.strerror or error}"
                if not told:
                    control.announce("osc in", f"{why}{port_owner(show.osc.port, kind)}; it is tried again")
                told = True
        if told and not waiting:
            told = False
            control.announce("osc in", f"port {show.osc.port} is ours now", recovered=True)
        await _pause(life, AGAIN_S)


def _allowed(plan: Plan) -> tuple[str, ...]:
    """Return whom OSC is taken from: where only a network was opened and nobody named, this machine and that one."""
    if plan.show.osc.allow or plan.lan is None:
        return plan.show.osc.allow
    return ("127.0.0.0/8", plan.lan.network)


def _trusted(plan: Plan) -> tuple[str, ...]:
    """Return whose sender addresses are believed: this machine's, and those that were named one by one."""
    return (*LOOPBACK, *plan.show.osc.allow, *([plan.lan.host] if plan.lan else []))


async def _reload(show: Show, library: UserLibrary, control: Control, life: Life) -> None:
    """Take up presets as they are edited."""
    with contextlib.suppress(OSError):
        library.presets.mkdir(parents=True, exist_ok=True)
    folders = [path for path in (library.presets, show.presets) if path is not None and path.is_dir()]
    if not folders:  # there is nothing to watch, and the watcher would spin
        return
    ended = asyncio.Event()
    waiting = asyncio.create_task(_set_when_stopped(ended, life))
    try:
        async for _changes in awatch(*folders, watch_filter=_is_preset, stop_event=ended, debounce=200):
            await control.presets.reload_beside()
    except (OSError, RuntimeError) as error:  # the system may watch only so many files
        control.announce("presets", f"edited presets are taken up at the next start only: {error}")
    await waiting


def _leaves(show: Show) -> str:
    """Return whom the sound of speech is sent to, ``""`` where it stays on this machine."""
    try:
        return str(getattr(find("recognisers", str(show.speech.recogniser["kind"])), "leaves", ""))
    except VJError:
        return ""


async def _wish(control: Control, life: Life) -> None:
    """Have the listen process run while speech is on."""
    while not life.stopped():
        life.wish(LISTEN, control.state.speech.on)
        await asyncio.sleep(0.05)


async def _wish_pictures(wanted: Callable[[], int], life: Life) -> None:
    """Have the studio run while cards want pictures, and a while longer: a generator takes long to open."""
    wanted_ns, clock = 0, LiveClock()
    while not life.stopped():
        if await asyncio.to_thread(wanted) > 0:
            wanted_ns = clock.now_ns()
        life.wish(STUDIO, bool(wanted_ns) and clock.now_ns() - wanted_ns < STUDIO_STAYS_S * NS)
        await _pause(life, 0.5)


async def _until(life: Life) -> None:
    """Wait for the end, which the supervisor sets from another process."""
    while not life.stopped():
        await asyncio.sleep(0.05)


async def _set_when_stopped(ended: asyncio.Event, life: Life) -> None:
    await _until(life)
    ended.set()


def _is_preset(_change: Change, path: str) -> bool:
    return path.endswith(".toml")


_IS_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What a certificate may be made for: a host called with an underscore is none."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor decides when this process ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _check_output(lan: Lan | None, config: Mapping[str, Any]) -> None:
    """Check an output that was asked for over the network: it may name no file, and opens no network. ConfigError."""
    options = options_of("outputs", config)
    for key, field in type(options).model_fields.items():
        if key in config and field.annotation is Path:
            raise ConfigError(f"output {config['kind']!r}: {key} is set in the show file, not over the network")
        if str(config.get(key, "")).startswith("ipc:"):
            raise ConfigError(f"output {config['kind']!r}: a file is named in the show file, not over the network")
        if str(config.get(key, "")).startswith("tcp:") and lan is None and not _is_loopback(str(config[key])):
            raise ConfigError(
                f"output {config['kind']!r}: {config[key]} can be reached from outside; that needs vjserver run --lan"
            )


def _is_loopback(address: str) -> bool:
    """Tell whether ``tcp://HOST:PORT`` is reached from this machine only."""
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Web:
    """The panel and OSCQuery; they show what the deliverer shows, from the small ring that it keeps for that."""

    def __init__(self, plan: Plan, control: Control) -> None:
        show, lan = plan.show, plan.lan
        self._plan, self._control = plan, control
        self._desk = ControlPanel(control, LiveClock(), shipped("presets") / "thumbs")
        self._preview = Preview(RingReader(plan.channels.page))
        announced = local_name(show.name, show.web.port)
        machine = f"{socket.gethostname().removesuffix('.local')}.local"
        names = ["127.0.0.1", "localhost", "[::1]", announced, f"{announced}.", machine, *([lan.host] if lan else [])]
        info = host_info(show.name, show.osc.port)
        self._names = [name for name in names if _IS_NAME.fullmatch(name)]
        self._gallery = Gallery(LiveClock().now_ns() // 1_000_000)
        self._boards = _Opened()
        talk = QueueWriter(plan.channels.talk)
        addresses = (lan.speak_url(show.web.secure_port), lan.trust_url(show.web.port)) if lan is not None else ("", "")
        self._authority = _authority_or_none(control) if lan is not None else None
        certificate = self._authority.certificate if self._authority is not None else b""
        speak = SpeakPage(
            Speaking(control), self._gallery, talk.put, LiveClock().now_ns,
            *(addresses if certificate else ("", "")), certificate,
        )  # fmt: skip
        registry = plan.registry
        board = BoardPage(self._boards.get, lambda: control.state, lambda: list(registry.infos), exported, taken_in)
        app = web_app(self._desk, self._preview, info, [*speak.routes(), *board.routes()])
        self._app = Guard(app, names, show.web.hosts, plan.token, show.osc.allow, lan.guests if lan is not None else "")

    async def serve_phones(self, host: str, life: Life) -> None:
        """Serve the page to speak by https, for phones, on the next port."""
        if self._authority is None:
            await _until(life)
            return
        own = await asyncio.to_thread(context_for, self._authority, self._names)
        await self.serve(host, life, self._plan.show.web.secure_port, own)

    def pictures_wanted(self) -> int:
        """Return how many pictures cards want."""
        return self._boards.wanted()

    def board_room(self) -> BoardRoom:
        """Return what keeps cards of what is on the wall; the page to speak shows them too."""
        control, doors = self._control, self._plan.show.generators

        def spoken() -> Subject | None:
            phrase = control.speech.on_the_wall
            return Subject(phrase, True, control.speech.said_of(phrase)) if phrase else None

        def snap() -> Pixels | None:
            self._preview.look()
            return self._preview.pixels

        def licence(kind: str, model: str) -> str:
            name = model or own_model(doors, kind)
            return next((one.licence for one in store.models() if one.name == name), "")

        return BoardRoom(
            lambda: control.state, spoken, snap, encoded, control.announce, self._gallery.add, licence, self._boards.get
        )

    async def serve(self, host: str, life: Life, port: int = 0, secure: ssl.SSLContext | None = None) -> None:
        """Serve on one interface until the end; a port that is taken is tried again until it is free."""
        what, key = ("https", "secure_port") if secure is not None else ("web page", "port")
        port, told = port or self._plan.show.web.port, False
        while not life.stopped():
            try:
                recipient = _bound(host, port)
            except OSError as error:
                if not told:
                    told, held = True, port_owner(port, "tcp")
                    why = f"port {port} on {host} cannot be used: {error.strerror}{held}"
                    self._control.announce(what, f"{why}; set [web] {key} in the show file; it is tried again")
                await _pause(life, AGAIN_S)
                continue
            if told:
                self._control.announce(what, f"port {port} is ours now", recovered=True)
            config = uvicorn.Config(
                self._app, log_level="critical", lifespan="off", ws="websockets-sansio", ws_max_size=65536,
                timeout_keep_alive=KEEP_ALIVE_S, http=Impatient, proxy_headers=False,
                log_config=None,  # there may be no standard streams
            )  # fmt: skip
            if secure is not None:
                config.load()
                config.ssl = secure
            server = _Server(config)
            ending = asyncio.create_task(_end_with(life, server))
            try:
                await server.serve([recipient])
            finally:
                ending.cancel()
                recipient.close()
            return

    async def keep_thumbnails(self, life: Life) -> None:
        """Keep a picture of each preset of the user's that has played for a while."""
        control = self._control
        playing, since_s, kept = control.state.preset_name, 0.0, False
        while not life.stopped():
            await _pause(life, 0.5)
            since_s = since_s + 0.5 if self._desk.shows_the_look() else 0.0
            if playing != control.state.preset_name:
                playing, since_s, kept = control.state.preset_name, 0.0, False
            elif since_s >= THUMBNAIL_AFTER_S and not kept:
                kept = True
                self._preview.look()
                with contextlib.suppress(OSError):
                    picture = self._preview.small()
                    if picture:
                        self._desk.keep_thumbnail(picture)


def _authority_or_none(control: Control) -> Authority | None:
    """Return who signs for https; where there is none, that is said, and phones send voice memos."""
    try:
        return authority()
    except OutputError as error:
        control.announce("https", str(error))
        return None


class _Opened:
    """The boards, opened once somebody wants them; several threads may."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boards: Boards | None = None

    def get(self) -> Boards:
        """Return the boards. Raises KeepingError."""
        with self._lock:
            if self._boards is None:
                self._boards = Boards()
                self._boards.sweep()
            return self._boards

    def wanted(self) -> int:
        """Return how many pictures cards want, 0 while nobody has opened the boards."""
        return self._boards.wanted() if self._boards is not None else 0


class Speaking:
    """Control as the page to speak needs it."""

    def __init__(self, control: Control) -> None:
        self._control, self._clock = control, LiveClock()

    def recent(self) -> Sequence[tuple[int, Speech]]:
        """Return what was said, with a number that counts events."""
        return self._control.speech.recent

    def waits(self, number: int) -> bool:
        """Tell whether an utterance's phrase waits for a hand."""
        return self._control.speech.waits(number)

    def why_off(self) -> str:
        """Return why nobody is listened to, ``""`` where it is."""
        if not self._control.state.speech.on:
            return "nobody listens yet: the VJ switches speech on"
        board = self._control.pipes.boards["listen"].fresh(self._clock.now_ns())
        return "" if board.get("ready") else self._control.faults.get("speech", "it is getting ready: try again soon")

    def privacy(self) -> str:
        """Return where the sound goes, in a sentence."""
        return self._control.speech.privacy


async def _end_with(life: Life, server: uvicorn.Server) -> None:
    """Ask the web server to end once ``life`` is told to."""
    await _until(life)
    server.should_exit = server.force_exit = True


def _bound(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to a port. Raises OSError where it is taken.

    Its protocol is named: asyncio leaves TCP_NODELAY out otherwise, and pictures wait 40 ms for an acknowledgement.
    """
    recipient = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there, it would let two programs have one port
            recipient.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        recipient.bind((host, port))
    except OSError:
        recipient.close()
        raise
    return recipient


async def _announce(plan: Plan, control: Control, life: Life) -> None:
    """Let other programs find OSC and OSCQuery by zeroconf."""
    show = plan.show
    hosts = ["127.0.0.1", *([plan.lan.host] if plan.lan else [])]
    discovery = Discovery(show.name, hosts, show.web.port, show.osc.port)
    try:
        await discovery.open()
        await _until(life)
    except OutputError as error:
        control.announce("discovery", str(error))
    finally:
        await discovery.close()
