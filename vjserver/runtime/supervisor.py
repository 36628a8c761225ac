"""Supervisor: keeps the worker processes alive, replaces the dead and the hung, and ends all within two seconds.

Each process gives a sign of life into shared memory as its loop goes round; one that gives none for longer than its
``patience_s`` is ended and started again. A worker may have an understudy: a second process of the same kind that has
done everything but begin, and begins the moment the first one falls.

Nothing here waits for a worker, takes a lock that a worker may hold (one that was killed would hold it for ever), or
formats what a stranger wrote: this is the process that must not fall.
"""

import contextlib
import importlib
import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from vjserver.runtime import log, shared
from vjserver.runtime.life import LENGTH, MOST_WHY, PATIENCE_MS, ROW, ROWS, T_NS, TEXT, Life
from vjserver.types.errors import VJError

BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)
CALM_S = 10.0
STARTING_S = 60.0
"""A process may take so long to give its first sign of life: a cold disk, a library that is looked through."""
UNDERSTUDY_AFTER_S = 1.5
"""An understudy is started so long after the one that plays: not in the moment in which that needs the processor."""
DISMISSED_S = 2.0
"""So long may a worker take to end that is no longer wished for."""
QUICK_FALLS = 3
"""After so many falls in a row, each soon after the one before, what was asked last is taken for the cause."""

spawn = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Run:
    """One process of a worker, its row, and the end of the pipe by which it is told to begin."""

    process: BaseProcess
    row: int
    cue: Any
    begun_s: float
    """When it was started, or gave its first sign of life, or was called."""
    sign: int = 0
    silent_s: float = 0.0


@dataclass(slots=True)
class Worker:
    """A process that is to run: ``target`` is ``"module:function"``, called as ``function(*args, life)`` there.

    ``patience_s`` is how long it may give no sign of life, 0 for as long as it likes. One with a ``wish`` (1..63) runs
    only while that is set (:meth:`Life.wish`).
    """

    name: str
    target: str
    args: tuple[Any, ...]
    patience_s: float = 0.0
    understudied: bool = False
    wish: int = 0
    run: _Run | None = None
    understudy: _Run | None = None
    falls: int = 0
    fell_s: float = field(default=-CALM_S)
    again_s: float = 0.0
    understudy_s: float = 0.0
    dismissed_s: float = 0.0


def _leave_signals_to_the_parent() -> None:
    """Ignore what a terminal sends to everybody: the parent will tell us. Windows knows no SIGHUP."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _child(
    who: str, target: str, args: tuple[Any, ...], life: tuple[str, int, Any], when_orphaned: Callable[[], None]
) -> None:
    """Run in the new process: signals only set a flag; when the parent vanishes we clean up after it and end."""
    _leave_signals_to_the_parent()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a sign that a console cannot say ends nothing
    own = Life(*life)
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
    try:
        getattr(importlib.import_module(module), function)(*args, own)
    except Exception as error:
        own.leave_word(str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {error}")
        if not log.write_fault(who, "fell", error):
            raise  # there is no log: Python prints it
        sys.exit(1)
    if not parent.is_alive():
        when_orphaned()


class Supervisor:
    """Runs ``workers``; call :meth:`check` often, and :meth:`wait` between.

    ``announce(what, why, recovered)`` hears of every fall and recovery. ``when_orphaned`` is called by the workers when
    this process was killed: it must be picklable and bear being called by all of them. ``signs`` names a segment of
    ``SEGMENT_SIZE`` bytes. ``suspect(name)`` is called when a worker fell again and again, before it is started anew.
    """

    def __init__(
        self,
        workers: list[Worker],
        announce: Callable[[str, str, bool], None],
        when_orphaned: Callable[[], None],
        signs: str,
        suspect: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.workers = workers
        self._when_orphaned, self._announce, self._suspect = when_orphaned, announce, suspect
        self._signs = signs
        self._segment = shared.attach(signs)
        self._checked_s = time.monotonic()

    def start(self) -> None:
        """Start every worker."""
        for worker in self.workers:
            if self._is_wanted(worker):
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        worker.run = self._spawned(worker, waits=False)
        if worker.run is None:
            worker.again_s = time.monotonic() + BACKOFF_S[-1]
            self._announce(worker.name, f"the system starts no process now; trying again in {BACKOFF_S[-1]:g} s", False)
        else:
            worker.understudy_s = worker.run.begun_s + UNDERSTUDY_AFTER_S

    def _spawned(self, worker: Worker, waits: bool) -> _Run | None:
        """Start a process; None where the system refuses (no memory, no more processes)."""
        taken = {run.row for run in self._running()}
        row = next(row for row in range(ROWS) if row not in taken)
        at = ROW * (row + 1)
        for word in (T_NS, PATIENCE_MS, LENGTH):
            self._segment.words[at + word] = 0
        inward = outward = None
        try:
            if waits:
                inward, outward = spawn.Pipe(duplex=False)
            return _Run(self._process(worker, row, inward), row, outward, time.monotonic())
        except Exception as error:  # noqa: BLE001 - whatever it is: those that run, run on
            log.write_fault("main", f"{worker.name} could not be started", error)
            if outward is not None:
                outward.close()
            return None
        finally:
            if inward is not None:
                inward.close()  # theirs now

    def _process(self, worker: Worker, row: int, inward: Any) -> BaseProcess:
        process = spawn.Process(
            target=_child,
            args=(worker.name, worker.target, worker.args, (self._signs, row, inward), self._when_orphaned),
            name=f"vjserver-{worker.name}",
            daemon=True,
        )
        with _signals_held():
            process.start()
        return process

    # -- watching ------------------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> None:
        """Return when a process has ended, or after ``timeout_s``."""
        sentinels = [run.process.sentinel for run in self._running()]
        if sentinels:
            connection.wait(sentinels, timeout_s)
        else:
            time.sleep(timeout_s)

    def _running(self) -> list[_Run]:
        runs = [run for worker in self.workers for run in (worker.run, worker.understudy)]
        return [run for run in runs if run is not None]

    def check(self) -> None:
        """Replace what has died or hangs."""
        now_s = time.monotonic()
        # Time in which this process was itself held up is nobody's silence.
        passed_s, self._checked_s = min(now_s - self._checked_s, 0.2), now_s
        for worker in self.workers:
            if not self._is_wanted(worker):
                self._dismiss(worker, now_s)
                continue
            if worker.dismissed_s and not self._called_back(worker):
                continue
            self._check_understudy(worker, passed_s, now_s)
            if worker.run is None:
                if now_s >= worker.again_s:
                    self._start(worker)
                    if worker.falls:
                        self._announce(worker.name, f"restarted after fall {worker.falls}", True)
                continue
            silent_s = self._silent_s(worker.run, worker.patience_s, passed_s)
            if silent_s:
                _kill(worker.run)
            if silent_s or not worker.run.process.is_alive():
                self._fell(worker, worker.run, silent_s, now_s)

    def _is_wanted(self, worker: Worker) -> bool:
        return not worker.wish or self._segment.words[worker.wish] != 0

    def _dismiss(self, worker: Worker, now_s: float) -> None:
        """Have a worker end that is no longer wished for: it is asked, and ended if it does not."""
        run = worker.run
        if worker.falls:
            self._announce(worker.name, "it is not needed any more", True)
        worker.falls, worker.again_s = 0, 0.0
        if run is None:
            worker.dismissed_s = 0.0
        elif not run.process.is_alive():
            _let_go(run)
            worker.run, worker.dismissed_s = None, 0.0
        elif not worker.dismissed_s:
            worker.dismissed_s = now_s
            with contextlib.suppress(OSError, ValueError):
                run.process.terminate()
        elif now_s - worker.dismissed_s > DISMISSED_S:
            _kill(run)

    def _called_back(self, worker: Worker) -> bool:
        """Wait for a worker to end that was sent away and is wished for again: it begins anew after that."""
        self._dismiss(worker, time.monotonic())
        return worker.run is None

    def _silent_s(self, run: _Run, usual_s: float, passed_s: float) -> float:
        """Return for how long a process has given no sign of life, 0 while it may still be waited for."""
        at = ROW * (run.row + 1)
        sign, own_ms = self._segment.words[at + T_NS], self._segment.words[at + PATIENCE_MS]
        run.silent_s = 0.0 if sign != run.sign else run.silent_s + passed_s
        if sign and not run.sign:
            run.begun_s = time.monotonic()
        run.sign = sign
        patience_s = max(usual_s, own_ms * 1e-3) if sign else max(usual_s, STARTING_S)
        return run.silent_s if usual_s and run.silent_s > patience_s else 0.0

    def _fell(self, worker: Worker, run: _Run, silent_s: float, now_s: float) -> None:
        why = f"gave no sign of life for {silent_s:.1f} s and was ended" if silent_s else self._ended(run)
        _let_go(run)
        played_s = now_s - run.begun_s - silent_s  # what it did before it hung
        worker.falls = 1 if played_s > CALM_S else worker.falls + 1
        worker.fell_s = now_s
        worker.run = None
        if worker.falls % QUICK_FALLS == 0:
            self._suspect(worker.name)
        understudy, worker.understudy = worker.understudy, None
        if understudy is not None and self._stands_by(understudy):
            at = ROW * (understudy.row + 1)
            self._segment.words[at + T_NS] = understudy.sign = 0  # its own first sign is still to come
            understudy.silent_s, understudy.begun_s = 0.0, now_s
            with contextlib.suppress(OSError):  # it died in this very moment: the next check sees it
                understudy.cue.send(True)
            worker.run = understudy
            self._announce(worker.name, why, False)
            self._announce(worker.name, "its understudy has taken over", True)
            worker.understudy_s = now_s + UNDERSTUDY_AFTER_S
            return
        worker.understudy = understudy  # one that is not ready yet comes too late, and waits for the next fall
        wait_s = BACKOFF_S[min(worker.falls, len(BACKOFF_S)) - 1]
        worker.again_s = now_s + wait_s
        self._announce(worker.name, f"{why}; starting again in {wait_s:g} s", False)

    def _check_understudy(self, worker: Worker, passed_s: float, now_s: float) -> None:
        """Keep an understudy ready where one is wanted; what becomes of it is nothing to announce."""
        understudy = worker.understudy
        if understudy is not None:
            hangs = self._silent_s(understudy, max(worker.patience_s, 5.0), passed_s) > 0.0
            if hangs:
                _kill(understudy)
            if hangs or not understudy.process.is_alive():
                _let_go(understudy)
                worker.understudy, worker.understudy_s = None, now_s + BACKOFF_S[-1]
        elif worker.understudied and worker.run is not None and now_s >= worker.understudy_s:
            worker.understudy = self._spawned(worker, waits=True)
            if worker.understudy is None:
                worker.understudy_s = now_s + BACKOFF_S[-1]

    def _stands_by(self, understudy: _Run) -> bool:
        """Tell whether an understudy has done everything but begin: its first sign of life is given then."""
        return understudy.process.is_alive() and self._segment.words[ROW * (understudy.row + 1)] != 0

    def _ended(self, run: _Run) -> str:
        at = ROW * (run.row + 1)
        length = min(self._segment.words[at + LENGTH], MOST_WHY)
        start = 8 * (at + TEXT)
        word = bytes(self._segment.data[start : start + length]).decode("utf-8", "replace")
        code = f"ended with code {run.process.exitcode}"
        return f"{code}: {word}" if word else code

    # -- from outside --------------------------------------------------------------------------------------

    def is_calm(self, name: str) -> bool:
        """Tell whether a worker runs and has not fallen of late."""
        now_s = time.monotonic()
        return all(w.run is not None and now_s - w.fell_s > CALM_S for w in self.workers if w.name == name)

    def pids(self) -> dict[str, int]:
        """Return the process id of each worker that runs; understudies are not among them."""
        return {w.name: w.run.process.pid for w in self.workers if w.run is not None and w.run.process.pid}

    def understudies(self) -> dict[str, int]:
        """Return the process id of each understudy that is ready."""
        rows = [(w.name, w.understudy) for w in self.workers]
        return {name: run.process.pid for name, run in rows if run and run.process.pid and self._stands_by(run)}

    def stop(self, grace_s: float = 1.0) -> bool:
        """End every process: ask, then insist, within ``grace_s`` + 0.4 s, however many there are.

        Returns whether all are gone; the system may hold one that was killed.
        """
        self._segment.words[0] = 1
        runs = self._running()
        for run in runs:
            if run.cue is not None:
                with contextlib.suppress(OSError):
                    run.cue.close()  # an understudy wakes of it
        deadline = time.monotonic() + grace_s
        for run in runs:
            run.process.join(max(0.0, deadline - time.monotonic()))
        left = [run for run in runs if run.process.is_alive()]
        for run in left:
            _kill(run, 0.0)
        deadline = time.monotonic() + 0.4
        for run in left:
            run.process.join(max(0.01, deadline - time.monotonic()))
        gone = not [run for run in left if run.process.is_alive()]
        for run in runs:
            _let_go(run)
        for worker in self.workers:
            worker.run = worker.understudy = None
        return gone


def _kill(run: _Run, wait_s: float = 0.5) -> None:
    """End a process at once; the system may refuse where it is ending already."""
    with contextlib.suppress(OSError, ValueError):
        run.process.kill()
        run.process.join(wait_s)


def _let_go(run: _Run) -> None:
    with contextlib.suppress(ValueError):  # one that was killed and is not gone yet
        run.process.join(0.0)
        run.process.close()
    if run.cue is not None:
        with contextlib.suppress(OSError):
            run.cue.close()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while a process is made, so that Ctrl-C does not end it half-way through its imports.

    It inherits that they are held back; a terminal's SIGINT is for the parent alone.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it lets go of SIGINT when it begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
