"""The control process: OSC and web in, the state out."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn

from vjserver.app.show import Show, first_state, load_bank
from vjserver.app.workers import Plan
from vjserver.controls.osc import listen
from vjserver.controls.web.server import Preview, web_app
from vjserver.ports import options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import WORKERS, FeaturesReader, StateReader, StateWriter
from vjserver.runtime.supervisor import Stop
from vjserver.stages.control import Control, until_stopped
from vjserver.types.errors import ConfigError
from vjserver.types.features import quiet


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    asyncio.run(_main(plan, stop))


async def _main(plan: Plan, stop: Stop) -> None:
    show, channels, clock = plan.show, plan.channels, LiveClock()
    others = [QueueReader(channels.events(name)) for name in (*WORKERS, "main") if name != "control"]
    control = Control(
        load_bank(show.presets),
        show.preset,
        clock,
        StateWriter(channels.state),
        StateReader(channels.state).get_new(),
        first_state(show),
        _check_output,
        FeaturesReader(channels.features, quiet(0)),
        QueueWriter(channels.events("control")),
        others,
        StatsWriter(channels.stats("control")),
        {name: StatsReader(channels.stats(name)) for name in WORKERS},
        show.osc.targets,
        show.link.mode,
    )
    try:
        await listen(control.server, show.osc.host, show.osc.port)
    except OSError as error:
        why = f"port {show.osc.port} on {show.osc.host} cannot be used: {error.strerror or error}"
        control.announce("osc in", why)
    tasks = [control.run(stop.is_set), control.run_link(stop.is_set)]
    if show.web.on:
        tasks.append(_serve(show, channels.page, control, stop))
    await asyncio.gather(*tasks)


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
    names = [preset.name for _, preset in control.bank.presets]
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
