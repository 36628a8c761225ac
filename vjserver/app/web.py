"""The web pages of a show: the panel, OSCQuery, the page to speak, the boards."""

import asyncio
import contextlib
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence

import uvicorn

from vjserver.app.exporting import exported, taken_in
from vjserver.app.port_owner import port_owner
from vjserver.app.preset_bank import shipped
from vjserver.app.workers import Plan
from vjserver.controls.discovery import local_name
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
from vjserver.rendering.generator_pool import own_model
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.life import Life
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.stages.control.boarding import BoardRoom, Subject
from vjserver.stages.control.control import Control
from vjserver.stages.control.panel import ControlPanel
from vjserver.types.errors import OutputError
from vjserver.types.events import Speech
from vjserver.types.frames import Pixels

THUMBNAIL_AFTER_S = 4.0
AGAIN_S = 2.0
KEEP_ALIVE_S = 5


async def pause(life: Life, seconds: float) -> None:
    """Wait, but not beyond the end."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + seconds
    while not life.stopped() and loop.time() < until_s:
        await asyncio.sleep(min(0.05, seconds))


async def until(life: Life) -> None:
    """Wait for the end, which the supervisor sets from another process."""
    while not life.stopped():
        await asyncio.sleep(0.05)


_IS_NAME = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What a certificate may be made for: a host called with an underscore is none."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor decides when this process ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class Web:
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
            await until(life)
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
                await pause(life, AGAIN_S)
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
            await pause(life, 0.5)
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
        listen = self._control.pipes.told.listen.fresh(self._clock.now_ns())
        return "" if listen.ready else self._control.faults.get("speech", "it is getting ready: try again soon")

    def privacy(self) -> str:
        """Return where the sound goes, in a sentence."""
        return self._control.speech.privacy


async def _end_with(life: Life, server: uvicorn.Server) -> None:
    """Ask the web server to end once ``life`` is told to."""
    await until(life)
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
