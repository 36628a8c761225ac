"""Rendering: a film and a folder for its segments go in, the segments come out, made here or by several processes.

Whoever makes them, a stretch is made in the same way, so the film is the same. What is whole stays: the same command
goes on where it was broken off.
"""

import contextlib
import hashlib
import multiprocessing as mp
import os
import pickle
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from vjserver.films.film import Film, FilmPlan, Stretch, Tell
from vjserver.films.parts import DIGEST_SIZE, digests_path, film_path, is_made, is_whole, picture_digests
from vjserver.films.segment import make_stretch
from vjserver.runtime.files import remove
from vjserver.types.errors import GeneratorError, OutputError, VJError

AGAIN = 2
"""So often a stretch is begun anew whose worker ended without a word."""
OMP_WAIT = "OMP_WAIT_POLICY"
LOCK = "rendered-by"
Progress = Callable[[int, int], None]
"""Is told how many frames are drawn, and how many of all were there before or are drawn now."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a film: how many segments were made now, and the digest of all its pictures."""

    made: int
    sha256: str


def missing(plan: FilmPlan, folder: Path, film: Film) -> list[Stretch]:
    """Return the stretches of which something is missing."""
    return [s for s in plan.stretches if not all(is_made(folder, one, film.codec) for one in s.segments)]


def render(film: Film, plan: FilmPlan, folder: Path, workers: int, tell: Tell, progress: Progress) -> Made:
    """Make what is missing of a film. Raises VJError; what is whole by then stays, and counts the next time."""
    todo = missing(plan, folder, film)
    lacking = {one.digest for s in todo for one in s.segments if not is_made(folder, one, film.codec)}
    total = sum(segment.frames for s in todo for segment in s.segments)
    drawn = 0

    def count(_number: int) -> None:
        nonlocal drawn
        drawn += 1
        progress(drawn, total)

    if workers == 1 or len(todo) <= 1:
        for stretch in todo:
            make_stretch(film, stretch, folder, tell, count)
    else:
        _by_workers(film, todo, folder, workers, tell, count)
    return Made(len(lacking), digest_of(plan, folder))


def digest_of(plan: FilmPlan, folder: Path) -> str:
    """Return the SHA-256 of the digests of all pictures, in order."""
    told = hashlib.sha256()
    for segment in plan.segments:
        told.update(picture_digests(folder, segment))
    return told.hexdigest()


def frames_made(plan: FilmPlan, folder: Path) -> int:
    """Return how many pictures have a digest."""
    return sum(len(picture_digests(folder, s)) // DIGEST_SIZE for s in plan.segments)


def files(plan: FilmPlan, folder: Path, film: Film) -> list[Path]:
    """Return the segments' films, in order."""
    return [film_path(folder, segment, film.codec) for segment in plan.segments]


def forget(plan: FilmPlan, folder: Path) -> None:
    """Remove what is of no plan any more: segments of before, and states of segments that are followed."""
    wanted = {segment.digest for segment in plan.segments}
    for path in folder.iterdir():
        if path.name == LOCK:
            continue
        if path.name.split(".")[0].split("-")[0] not in wanted or path.suffix == ".state":
            remove(path)


def _is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody has buried does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


@contextlib.contextmanager
def opened(folder: Path, plan: FilmPlan, film: Film) -> Iterator[None]:
    """Have a folder of parts to oneself, without what is not whole. Raises OutputError where another render has it."""
    lock = folder / LOCK
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is a file: remove it, parts of the film lie there")
        folder.mkdir(parents=True, exist_ok=True)
        pid = int(lock.read_text() or 0) if lock.exists() else 0
        if pid and pid != os.getpid() and _is_alive(pid):
            raise OutputError(f"another render (process {pid}) makes this film: wait for it, or give another -o")
        lock.write_text(str(os.getpid()))
    except (OSError, ValueError) as error:
        raise OutputError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    try:
        for left in folder.glob("*.part*"):
            remove(left)
        for segment in plan.segments:
            if is_made(folder, segment, film.codec) and not is_whole(folder, segment, film.codec):
                remove(digests_path(folder, segment))
        yield
    finally:
        remove(lock)


# -- several processes ---------------------------------------------------------------------------------------


def _by_workers(
    film: Film, todo: Sequence[Stretch], folder: Path, workers: int, tell: Tell, count: Callable[[int], None]
) -> None:
    context = mp.get_context("spawn")
    said: Any = context.Queue()
    waiting = list(todo)
    tries: dict[int, int] = {}
    running: dict[int, tuple[Any, Stretch]] = {}
    packed = pickle.dumps(film)

    def hear() -> None:
        for kind, pid, rest in _said(said):
            if kind == "frame":
                count(rest)
            elif kind == "tell":
                tell(*rest)
            else:
                running.pop(pid, None)
                if kind == "fault":
                    raise OutputError(rest)

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                stretch = waiting.pop(0)
                process = context.Process(target=_work, args=(packed, stretch, folder, said), daemon=True)
                with waiting_quietly():
                    process.start()
                assert process.pid is not None
                running[process.pid] = process, stretch
            hear()
            for pid, (process, stretch) in list(running.items()):
                if process.is_alive() or pid not in running:
                    continue
                process.join()
                hear()  # its last word may still be on its way
                if running.pop(pid, None) is None:
                    continue
                tries[stretch.number] = tries.get(stretch.number, 0) + 1
                if tries[stretch.number] > AGAIN:
                    raise GeneratorError(
                        f"the process that made frames {stretch.first} to {stretch.last} ended {AGAIN + 1} times "
                        f"(exit code {process.exitcode}); what is whole stays"
                    )
                tell("worker", f"one ended (exit code {process.exitcode}); its frames are made again", False)
                waiting.insert(0, stretch)
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join(10.0)


@contextlib.contextmanager
def waiting_quietly() -> Iterator[None]:
    """Have the threads of processes that are started meanwhile sleep while they wait, and not spin.

    Each of several processes has as many threads as there are cores, since another number of them would round
    otherwise; where they spin (OpenMP's way) they take the cores from those that compute: 19 times slower was measured.
    """
    own = os.environ.get(OMP_WAIT)
    os.environ.setdefault(OMP_WAIT, "PASSIVE")
    try:
        yield
    finally:
        if own is None:
            os.environ.pop(OMP_WAIT, None)


def _said(said: Any) -> Iterator[tuple[str, int, Any]]:
    with contextlib.suppress(queue.Empty):
        yield said.get(timeout=0.1)
        while True:
            yield said.get_nowait()


def _work(packed: bytes, stretch: Stretch, folder: Path, said: Any) -> None:
    """Make a stretch in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us says when
    pid = os.getpid()
    film: Film = pickle.loads(packed)
    last = 0.0

    def progress(number: int) -> None:
        nonlocal last
        said.put(("frame", pid, number))
        now = time.monotonic()
        if now - last > 1.0:
            last = now
            parent = mp.parent_process()
            if parent is None or not parent.is_alive():  # who started us is gone
                os._exit(1)

    def tell(what: str, why: str, recovered: bool) -> None:
        said.put(("tell", pid, (what, why, recovered)))

    try:
        make_stretch(film, stretch, folder, tell, progress)
    except VJError as error:
        said.put(("fault", pid, str(error)))
    else:
        said.put(("done", pid, None))
