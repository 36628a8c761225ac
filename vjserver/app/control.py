"""The control process: OSC and web in, the state out."""

import asyncio
import logging
from typing import Any

import uvicorn

from vjserver.app.show import Show, load_bank
from vjserver.app.workers import Plan
from vjserver.controls.osc import listen
from vjserver.controls.web.server import Preview, web_app
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import WORKERS, FeaturesReader, StateReader, StateWriter
from vjserver.stages.control import Control, until_stopped
from vjserver.types.events import Degraded
from vjserver.types.features import quiet
from vjserver.types.frames import Frame


def main(plan: Plan, stop: Any) -> None:
    """Run until ``stop`` is set."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    asyncio.run(_main(plan, stop))


async def _main(plan: Plan, stop: Any) -> None:
    show, channels, clock = plan.show, plan.channels, LiveClock()
    events = QueueWriter(channels.events("control"))
    others = [QueueReader(channels.events(name)) for name in (*WORKERS, "main") if name != "control"]
    control = Control(
        load_bank(show.presets),
        show.preset,
        clock,
        StateWriter(channels.state),
        StateReader(channels.state).get_new(),
        FeaturesReader(channels.features, quiet(0)),
        events,
        others,
        StatsWriter(channels.stats("control")),
        {name: StatsReader(channels.stats(name)) for name in WORKERS},
        show.osc.targets,
    )
    try:
        await listen(control.server, show.osc.host, show.osc.port)
    except OSError as error:
        why = f"port {show.osc.port} on {show.osc.host} cannot be used: {error.strerror or error}"
        control.troubles["osc in"] = why
        events.put(Degraded(clock.now_ns(), "osc in", why))
    tasks = [control.run(stop.is_set)]
    if show.web.on:
        tasks.append(_serve(show, channels.generated, control, events, stop))
    await asyncio.gather(*tasks)


def _newest_of(*rings: RingReader) -> Any:
    """Return a function that gives the newest frame of the first ring that has one."""
    state = {"dry": 0}

    def newest() -> Frame | None:
        for ring in rings:
            frame = ring.get()
            if frame is not None:
                state["dry"] = 0
                return frame
        state["dry"] += 1
        if state["dry"] % 100 == 0:  # the deliverer may have been restarted
            for ring in rings:
                ring.refresh()
        return None

    return newest


async def _serve(show: Show, generated: str, control: Control, events: QueueWriter, stop: Any) -> None:
    """Serve the page; show what the deliverer shows, from its shared-memory output."""
    ring = next(
        (f"vjserver-{d.get('stream', 'program')}" for d in show.outputs if d["kind"] == "sharedmem"),
        generated,
    )
    port = show.web.port
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
    names = [preset.name for _, preset in control.bank.presets]
    app = web_app(control, Preview(_newest_of(RingReader(ring))), names, hosts)
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    sock = None
    try:
        sock = config.bind_socket()
    except SystemExit:
        why = f"port {port} on 127.0.0.1 is taken; set [web] port in the show file"
        control.troubles["web page"] = why
        events.put(Degraded(LiveClock().now_ns(), "web page", why))
        return
    await asyncio.gather(server.serve([sock]), until_stopped(stop.is_set, server))
