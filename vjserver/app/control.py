"""The control process: OSC and web in, the state out."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from watchfiles import Change, awatch

from vjserver.app.lan import Lan
from vjserver.app.port_owner import port_owner
from vjserver.app.preflight import remarks
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show
from vjserver.app.web import AGAIN_S, Web, pause, until
from vjserver.app.workers import Plan
from vjserver.controls.discovery import Discovery
from vjserver.ports import find, options_of
from vjserver.runtime import log
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.life import Life
from vjserver.runtime.roles import LISTEN, STUDIO, WORKERS
from vjserver.runtime.soundring import SoundReader
from vjserver.runtime.store import StateReader
from vjserver.show.cues import CueList
from vjserver.stages.control.control import Control
from vjserver.stages.control.midi import MidiRoom
from vjserver.stages.control.options import ControlOptions, OscLimits
from vjserver.stages.control.osc_publisher import LOOPBACK
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.speaking import SpeechRules
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError, OutputError, VJError

BACKOFF_S = (0.2, 1.0, 5.0, 20.0)
CALM_S = 30.0
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
    web = Web(plan, control)
    rooms: dict[str, Room] = {
        "control": lambda: control.run(life.stopped),
        "osc in": lambda: _listen(plan, control, life),
        "link": lambda: control.sync.run_link(life.stopped),
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
            await pause(life, wait_s)
            if not life.stopped():
                control.announce(name, f"begun again after fall {falls}", recovered=True)
        else:
            return


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
        await pause(life, AGAIN_S)


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
        await pause(life, 0.5)


async def _set_when_stopped(ended: asyncio.Event, life: Life) -> None:
    await until(life)
    ended.set()


def _is_preset(_change: Change, path: str) -> bool:
    return path.endswith(".toml")


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


async def _announce(plan: Plan, control: Control, life: Life) -> None:
    """Let other programs find OSC and OSCQuery by zeroconf."""
    show = plan.show
    hosts = ["127.0.0.1", *([plan.lan.host] if plan.lan else [])]
    discovery = Discovery(show.name, hosts, show.web.port, show.osc.port)
    try:
        await discovery.open()
        await until(life)
    except OutputError as error:
        control.announce("discovery", str(error))
    finally:
        await discovery.close()
