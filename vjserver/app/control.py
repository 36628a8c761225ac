"""The control process: OSC and web in, the state out."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from watchfiles import Change, awatch

from vjserver.app.holder import holder_of
from vjserver.app.show import Show, first_state, load_bank
from vjserver.app.workers import Plan
from vjserver.controls.web.server import Preview, web_app
from vjserver.ports import options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import WORKERS, FeaturesReader, StateReader, StateWriter
from vjserver.runtime.supervisor import Stop
from vjserver.show.cues import CueList
from vjserver.stages.control import Control, OscLimits, Pipes, until_stopped
from vjserver.stages.shelf import Shelf
from vjserver.types.errors import ConfigError
from vjserver.types.features import quiet


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # Windows' other loop has no add_reader
        runner.run(_main(plan, stop))


async def _main(plan: Plan, stop: Stop) -> None:
    show, channels, clock = plan.show, plan.channels, LiveClock()
    others = [QueueReader(channels.events(name)) for name in (*WORKERS, "main") if name != "control"]
    pipes = Pipes(
        StateWriter(channels.state),
        FeaturesReader(channels.features, quiet(0)),
        QueueWriter(channels.events("control")),
        others,
        StatsWriter(channels.stats("control")),
        {name: StatsReader(channels.stats(name)) for name in WORKERS},
    )
    shelf = Shelf(partial(load_bank, show.presets))
    before = StateReader(channels.state).get_new()
    control = Control(
        load_bank(show.presets), show.preset, clock, pipes, before, first_state(show), _check_output,
        show.osc.targets, shelf, CueList(show.cues), OscLimits(show.osc.allow, show.osc.most_per_s),
    )  # fmt: skip
    control.load_snapshots()
    try:
        control.server.open(show.osc.host, show.osc.port)
    except OSError as error:
        why = f"port {show.osc.port} on {show.osc.host} cannot be used: {error.strerror or error}"
        control.announce("osc in", why + holder_of(show.osc.port, "udp"))
    tasks = [control.run(stop.is_set), control.run_link(stop.is_set), _reload(show, shelf, control, stop)]
    if show.web.on:
        tasks.append(_serve(show, channels.page, control, stop))
    await asyncio.gather(*tasks)


async def _reload(show: Show, shelf: Shelf, control: Control, stop: Stop) -> None:
    """Take up presets as they are edited."""
    with contextlib.suppress(OSError):
        shelf.presets.mkdir(parents=True, exist_ok=True)
    folders = [path for path in (shelf.presets, show.presets) if path is not None and path.is_dir()]
    ended = asyncio.Event()
    waiting = asyncio.create_task(_set_when_stopped(ended, stop))
    async for _changes in awatch(*folders, watch_filter=_is_preset, stop_event=ended, debounce=200):
        control.reload()
    await waiting


async def _set_when_stopped(ended: asyncio.Event, stop: Stop) -> None:
    while not stop.is_set():
        await asyncio.sleep(0.05)
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


async def _serve(show: Show, ring: str, control: Control, stop: Stop) -> None:
    """Serve the page; show what the deliverer shows, from the small ring that it keeps for that."""
    port = show.web.port
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
    names = [preset.name for _, preset in control.desk.bank.presets]
    app = web_app(control, Preview(RingReader(ring)), names, hosts)
    config = uvicorn.Config(
        app, "127.0.0.1", port, log_level="critical", lifespan="off", ws="websockets-sansio", ws_max_size=65536
    )
    server = _Server(config)
    try:
        sock = config.bind_socket()
    except SystemExit:
        why = f"port {port} on 127.0.0.1 is taken; set [web] port in the show file"
        control.announce("web page", why)
        return
    await asyncio.gather(server.serve([sock]), until_stopped(stop.is_set, server))
