"""A cache of pictures and clips that took long to make, and the workshop that makes them while the show goes on.

What is made is known by the digest of its recipe: made once, it is there for every process, for the next evening, and
for a film that was broken off. Arrays are uint8 ``(frames, height, width, 3)``.

    DATA/bank/DIGEST.npy      (the folder has its old name, so that what was made is found again)
"""

import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
from numpy.typing import NDArray

from vjserver.runtime import log
from vjserver.runtime.files import data_folder, move_over, remove
from vjserver.types.errors import GeneratorError, OutOfMemoryError, VJError

Clip = NDArray[np.uint8]
PART_S, TOUCH_S = 3600.0, 60.0
MOST_BYTES, MOST_HELD = 4 << 30, 1 << 30
"""How much a cache takes on the disk, and how much of it is held in memory."""


class ClipCache:
    """Clips by digest: the latest in memory, more on the disk; the longest unused goes."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES, most_held: int = MOST_HELD) -> None:
        self.folder = data_folder() / "bank" if folder is None else folder
        self._most_bytes, self._most_held = most_bytes, most_held
        self._held: OrderedDict[str, Clip] = OrderedDict()
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()

    def get(self, digest: str) -> Clip | None:
        """Return a clip, None where there is none, or none that can be read."""
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
                self._touch(digest)
                return self._held[digest]
        path = self._path(digest)
        try:
            clip: Clip = np.lib.format.open_memmap(path, mode="r")  # a clip is large; its frames are read singly
        except OSError:
            return None
        except Exception:  # noqa: BLE001 - what somebody else put there makes numpy raise anything
            clip = np.zeros(0, np.uint8)
        plain = isinstance(clip, np.ndarray) and clip.dtype == np.uint8 and clip.ndim == 4
        if not plain or clip.shape[3] != 3 or not clip.size:
            remove(path)  # cut off, or somebody else's: it is made again
            return None
        self._touch(digest)
        self._hold(digest, clip)
        return clip

    def put(self, digest: str, clip: Clip) -> None:
        """Take a clip. A disk that is full, or may not be written, costs only what would have been kept."""
        self._hold(digest, clip)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False)  # noqa: SIM115 - it gets a name
            try:
                with file:
                    np.save(file, clip, allow_pickle=False)
                move_over(file.name, self._path(digest))
            except OSError:
                remove(Path(file.name))
                raise
            self._tidy()

    def _touch(self, digest: str) -> None:
        """Note on the disk, now and then, that a clip is used."""
        now = time.monotonic()
        if now - self._touched.get(digest, -TOUCH_S) >= TOUCH_S:
            if len(self._touched) > 4096:
                self._touched.clear()
            self._touched[digest] = now
            with contextlib.suppress(OSError):
                os.utime(self._path(digest))

    def _hold(self, digest: str, clip: Clip) -> None:
        with self._lock:
            self._held[digest] = clip
            self._held.move_to_end(digest)
            total = sum(one.nbytes for one in self._held.values())
            while total > self._most_held and len(self._held) > 3:
                total -= self._held.popitem(last=False)[1].nbytes

    def _tidy(self) -> None:
        rows = sorted((s.st_mtime_ns, s.st_size, f) for f in self.folder.glob("*.npy") if (s := f.stat()))
        total = sum(size for _, size, _ in rows)
        for _, size, file in rows[:-1]:
            if total <= self._most_bytes:
                break
            remove(file)
            total -= size
        for part in self.folder.glob("*.part"):  # of a process that was ended
            if time.time() - part.stat().st_mtime > PART_S:
                remove(part)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.npy"


Make = Callable[[Callable[[], None]], Clip]
"""Makes a clip; it calls what it is given now and then, which raises StoppedError where nobody waits any more."""


Order = tuple[str, Make]
"""The digest of a clip, and what makes it."""


class StoppedError(GeneratorError):
    """What was being made is no longer wanted."""


STALE_S = 1.0
"""So long something is made on that is not ordered any more: a prompt that is being typed changes with each letter."""


class Workshop:
    """Makes clips for a cache, one at a time, in a thread of its own; or at once, where they are waited for."""

    def __init__(self, cache: ClipCache) -> None:
        self.cache = cache
        self._orders: OrderedDict[str, Make] = OrderedDict()
        self._faults: dict[str, VJError] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._now = ""
        self._open = True
        self._stale_s: float | None = None

    @property
    def making(self) -> bool:
        """Whether something is being made, or waits for it."""
        return bool(self._orders or self._now)

    def wait(self, digest: str, make: Make, breathe: Callable[[], None] = lambda: None) -> Clip:
        """Return a clip, made at once where it is not there. Raises GeneratorError."""
        clip = self.cache.get(digest)
        if clip is None:
            clip = make(breathe)
            self.cache.put(digest, clip)
        return clip

    def order(self, *orders: Order) -> None:
        """Have these made, in this order, and nothing else that has not been begun."""
        with self._changed:
            is_wanted = not self._now or any(digest == self._now for digest, _ in orders)
            if is_wanted or self._stale_s is None:
                self._stale_s = None if is_wanted else time.monotonic()
            for digest in [one for one in self._faults if all(one != digest for digest, _ in orders)]:
                del self._faults[digest]
            wanted = OrderedDict((d, m) for d, m in orders if d != self._now and d not in self._faults)
            if list(wanted) == list(self._orders) or not self._open:
                return
            self._orders = wanted
            if self._orders and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="workshop", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def fault(self, digest: str) -> VJError | None:
        """Return why a clip could not be made, once: then it may be ordered again."""
        with self._changed:
            return self._faults.pop(digest, None)

    def close(self, wait_s: float = 0.5) -> None:
        """Make nothing more; what is being made is broken off at its next step, and waited for a little."""
        with self._changed:
            self._open = False
            self._orders.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._now, self._stale_s = "", None
                self._changed.wait_for(lambda: self._orders or not self._open)
                if not self._open:
                    return
                self._now, make = self._orders.popitem(last=False)
            digest = self._now
            try:
                if self.cache.get(digest) is None:
                    self.cache.put(digest, make(self._breathe))
            except StoppedError:
                continue
            except VJError as error:
                self._fail(digest, error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign pipeline may raise anything
                memory = type(error).__name__ == "OutOfMemoryError"
                if not memory:
                    log.write_fault("generate", "what was made in the background fell", error)
                first = (str(error).splitlines() or [type(error).__name__])[0][:300]
                self._fail(digest, OutOfMemoryError(first) if memory else GeneratorError(first))

    def _fail(self, digest: str, error: VJError) -> None:
        error.__traceback__ = error.__context__ = error.__cause__ = None  # they hold what the model was computing
        with self._changed:
            self._faults[digest] = error

    def _breathe(self) -> None:
        since_s = self._stale_s
        if not self._open or (since_s is not None and time.monotonic() - since_s > STALE_S):
            raise StoppedError("nobody waits for it any more")
