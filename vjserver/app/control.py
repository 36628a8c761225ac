"""The control process: OSC and web in, the state out."""

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from watchfiles import Change, awatch

from vjserver.app.holder import holder_of
from vjserver.app.show import Show, first_state, load_bank, shipped
from vjserver.app.workers import Plan
from vjserver.controls.discovery import Discovery, local_name
from vjserver.controls.oscquery import host_info
from vjserver.controls.web.access import Guard
from vjserver.controls.web.server import Preview, web_app
from vjserver.ports import options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.ring import RingReader
from vjserver.runtime.store import WORKERS, StateReader
from vjserver.runtime.supervisor import Stop
from vjserver.show.cues import CueList
from vjserver.stages.control import Control, OscLimits, Pipes
from vjserver.stages.midi import MidiRoom
from vjserver.stages.panel import PanelDesk
from vjserver.stages.shelf import Shelf
from vjserver.types.errors import ConfigError, OutputError

THUMBNAIL_AFTER_S = 4.0


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # Windows' other loop has no add_reader
        runner.run(_main(plan, stop))


async def _main(plan: Plan, stop: Stop) -> None:
    show, channels, clock = plan.show, plan.channels, LiveClock()
    pipes = Pipes.of(channels, [name for name in (*WORKERS, "main") if name != "control"])
    shelf = Shelf(partial(load_bank, show.presets))
    before = StateReader(channels.state).get_new()
    control = Control(
        load_bank(show.presets), show.preset, clock, pipes, before, first_state(show), _check_output,
        show.osc.targets, shelf, CueList(show.cues), OscLimits(_allowed(plan), show.osc.most_per_s),
    )  # fmt: skip
    control.load_snapshots()
    gc.collect()
    gc.freeze()  # what is here at the start stays: going through all of it again and again costs up to 50 ms at a time
    for host in dict.fromkeys((show.osc.host, *([plan.lan.host] if plan.lan else []))):
        try:
            control.server.open(host, show.osc.port)
        except OSError as error:
            why = f"port {show.osc.port} on {host} cannot be used: {error.strerror or error}"
            control.announce("osc in", why + holder_of(show.osc.port, "udp"))
    tasks = [control.run(stop.is_set), control.run_link(stop.is_set), _reload(show, shelf, control, stop)]
    if show.midi.on:
        tasks.append(MidiRoom(control, clock, show.midi, lambda: pipes.features.get().grid).run(stop.is_set))
    if show.web.on:
        tasks.append(_serve(plan, control, stop))
    await asyncio.gather(*tasks)


def _allowed(plan: Plan) -> tuple[str, ...]:
    """Return whom OSC is taken from: where only a network was opened and nobody named, this machine and that one."""
    if plan.show.osc.allow or plan.lan is None:
        return plan.show.osc.allow
    return ("127.0.0.0/8", plan.lan.network)


async def _reload(show: Show, shelf: Shelf, control: Control, stop: Stop) -> None:
    """Take up presets as they are edited."""
    with contextlib.suppress(OSError):
        shelf.presets.mkdir(parents=True, exist_ok=True)
    folders = [path for path in (shelf.presets, show.presets) if path is not None and path.is_dir()]
    ended = asyncio.Event()
    waiting = asyncio.create_task(_set_when_stopped(ended, stop))
    try:
        async for _changes in awatch(*folders, watch_filter=_is_preset, stop_event=ended, debounce=200):
            control.reload()
    except (OSError, RuntimeError) as error:  # the system may watch only so many files
        control.announce("presets", f"edited presets are taken up at the next start only: {error}")
    await waiting


async def _until(stop: Stop) -> None:
    """Wait for the end, which the supervisor sets from another process."""
    while not stop.is_set():
        await asyncio.sleep(0.05)


async def _set_when_stopped(ended: asyncio.Event, stop: Stop) -> None:
    await _until(stop)
    ended.set()


def _is_preset(_change: Change, path: str) -> bool:
    return path.endswith(".toml")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor decides when this process ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _check_output(config: Mapping[str, Any]) -> None:
    """Check an output that was asked for over the network: it may name no file. Raises ConfigError."""
    options = options_of("outputs", config)
    for key, field in type(options).model_fields.items():
        if key in config and field.annotation is Path:
            raise ConfigError(f"output {config['kind']!r}: {key} is set in the show file, not over the network")
        if str(config.get(key, "")).startswith("ipc:"):
            raise ConfigError(f"output {config['kind']!r}: a file is named in the show file, not over the network")


async def _serve(plan: Plan, control: Control, stop: Stop) -> None:
    """Serve the panel and OSCQuery; show what the deliverer shows, from the small ring that it keeps for that."""
    show, port, lan = plan.show, plan.show.web.port, plan.lan
    announced = local_name("vjserver", port)
    names = ["127.0.0.1", "localhost", announced, f"{announced}.", *([lan.host] if lan else [])]
    hosts = [f"{name}:{port}" for name in names]
    desk = PanelDesk(control, LiveClock(), shipped("presets") / "thumbs")
    preview = Preview(RingReader(plan.channels.page))
    info = host_info("vjserver", show.osc.port)
    app = Guard(web_app(desk, preview, info), hosts, lan.token if lan else "", show.osc.allow)
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="websockets-sansio", ws_max_size=65536)
    sockets = []
    for host in ("127.0.0.1", *([lan.host] if lan else [])):
        try:
            sockets.append(_bound(host, port))
        except OSError as error:
            held = holder_of(port, "tcp")
            why = f"port {port} on {host} cannot be used: {error.strerror}{held}; set [web] port in the show file"
            control.announce("web page", why)
    if not sockets:
        return
    server = _Server(config)
    await asyncio.gather(
        server.serve(sockets), _end_with(stop, server), _announce(plan, control, stop),
        _keep_thumbnails(desk, preview, control, stop),
    )  # fmt: skip


async def _end_with(stop: Stop, server: uvicorn.Server) -> None:
    """Ask the web server to end once ``stop`` is set."""
    await _until(stop)
    server.should_exit = server.force_exit = True


def _bound(host: str, port: int) -> socket.socket:
    """Return a TCP socket bound to a port. Raises OSError where it is taken.

    Its protocol is named: asyncio leaves TCP_NODELAY out otherwise, and pictures wait 40 ms for an acknowledgement.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there, it would let two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


async def _announce(plan: Plan, control: Control, stop: Stop) -> None:
    """Let other programs find OSC and OSCQuery by zeroconf."""
    show = plan.show
    hosts = ["127.0.0.1", *([plan.lan.host] if plan.lan else [])]
    discovery = Discovery("vjserver", hosts, show.web.port, show.osc.port)
    try:
        if show.web.announce:
            await discovery.open()
    except OutputError as error:
        control.announce("discovery", str(error))
    await _until(stop)
    await discovery.close()


async def _keep_thumbnails(desk: PanelDesk, preview: Preview, control: Control, stop: Stop) -> None:
    """Keep a picture of each preset of the user's that has played for a while."""
    playing, since_s = control.state.preset_name, 0.0
    while not stop.is_set():
        await asyncio.sleep(0.5)
        since_s += 0.5
        if playing != control.state.preset_name:
            playing, since_s = control.state.preset_name, 0.0
        elif since_s == THUMBNAIL_AFTER_S:
            preview.look()
            with contextlib.suppress(OSError):
                picture = preview.small()
                if picture:
                    desk.keep_thumbnail(picture)
