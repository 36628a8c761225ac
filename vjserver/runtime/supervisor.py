"""Supervisor: keeps the worker processes alive, restarts the dead with backoff, and ends all within two seconds."""

import contextlib
import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event as StopEvent
from typing import Any

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
CALM_S = 10.0

spawn = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Worker:
    """A process that is to run: ``target`` is ``"module:function"``, called as ``function(*args, stop)`` there."""

    name: str
    target: str
    args: tuple[Any, ...]
    process: BaseProcess | None = None
    started_s: float = 0.0
    falls: int = 0
    again_s: float = field(default=0.0)


class Stop:
    """Tells a worker to end: because all shall, or because it alone got a signal (then it will be started again)."""

    def __init__(self, for_all: StopEvent) -> None:
        self._for_all = for_all
        self.asked = False

    def is_set(self) -> bool:
        """Tell whether to end."""
        return self.asked or self._for_all.is_set()

    def ask(self, *_: object) -> None:
        """Ask this worker to end."""
        self.asked = True


def _child(target: str, args: tuple[Any, ...], stop: StopEvent, when_orphaned: Callable[[], None]) -> None:
    """Run in the new process: signals only set a flag; when the parent vanishes we clean up after it and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; the parent will tell us
    own = Stop(stop)
    signal.signal(signal.SIGTERM, own.ask)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        own.ask()
        time.sleep(1.0)
        when_orphaned()
        os._exit(1)

    threading.Thread(target=end_with_parent, name="parent-watch", daemon=True).start()
    module, function = target.split(":")
    getattr(importlib.import_module(module), function)(*args, own)
    if not parent.is_alive():
        when_orphaned()


class Supervisor:
    """Runs ``workers``; call :meth:`check` often.

    ``announce(what, why, mended)`` hears of every fall and recovery. ``when_orphaned`` is called by the workers when
    this process was killed: it must be picklable and bear being called by all of them.
    """

    def __init__(
        self,
        workers: list[Worker],
        announce: Callable[[str, str, bool], None],
        when_orphaned: Callable[[], None],
    ) -> None:
        self.workers = workers
        self._when_orphaned = when_orphaned
        self._announce = announce
        self._stop = spawn.Event()

    def start(self) -> None:
        """Start every worker."""
        for worker in self.workers:
            self._start(worker)

    def _start(self, worker: Worker) -> None:
        worker.process = spawn.Process(
            target=_child,
            args=(worker.target, worker.args, self._stop, self._when_orphaned),
            name=f"vjserver-{worker.name}",
            daemon=True,
        )
        worker.process.start()
        worker.started_s = time.monotonic()

    def check(self) -> None:
        """Restart what has died, once its backoff is over."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.process is None:
                if now >= worker.again_s:
                    self._start(worker)
                    self._announce(worker.name, f"restarted after fall {worker.falls}", True)
            elif not worker.process.is_alive():
                code = worker.process.exitcode
                worker.process.join()
                worker.process.close()
                worker.process = None
                worker.falls = 1 if now - worker.started_s > CALM_S else worker.falls + 1
                wait_s = BACKOFF_S[min(worker.falls, len(BACKOFF_S)) - 1]
                worker.again_s = now + wait_s
                self._announce(worker.name, f"ended with code {code}; starting again in {wait_s:g} s", False)

    def pids(self) -> dict[str, int]:
        """Return the process id of each worker that runs."""
        return {w.name: w.process.pid for w in self.workers if w.process is not None and w.process.pid}

    def stop(self, grace_s: float = 1.2) -> None:
        """End every worker: ask, then insist, within ``grace_s`` + 0.4 s."""
        self._stop.set()
        deadline = time.monotonic() + grace_s
        alive = [w.process for w in self.workers if w.process is not None]
        for process in alive:
            process.join(max(0.0, deadline - time.monotonic()))
        for process in alive:
            if process.is_alive():
                process.kill()
        for process in alive:
            process.join(0.4)
            with contextlib.suppress(ValueError):
                process.close()
