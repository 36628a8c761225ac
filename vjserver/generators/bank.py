"""A bank of pictures and clips that took long to make, and the workshop that makes them while the show goes on.

What is made is known by the digest of its recipe: made once, it is there for every process, for the next evening, and
for a film that was broken off. Arrays are uint8 ``(frames, height, width, 3)``.

    DATA/bank/DIGEST.npy
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
from vjserver.runtime.files import data_folder, remove
from vjserver.types.errors import GeneratorError, OutOfMemoryError, VJError

Clip = NDArray[np.uint8]
MOST_BYTES, MOST_HELD = 4 << 30, 1 << 30
"""How much a bank takes on the disk, and how much of it is held in memory."""


class Bank:
    """Clips by digest: the latest in memory, more on the disk; the longest unused goes."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES, most_held: int = MOST_HELD) -> None:
        self.folder = data_folder() / "bank" if folder is None else folder
        self._most_bytes, self._most_held = most_bytes, most_held
        self._held: OrderedDict[str, Clip] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> Clip | None:
        """Return a clip, None where there is none, or none that can be read."""
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
                return self._held[digest]
        path = self._path(digest)
        try:
            clip: Clip = np.load(path, allow_pickle=False)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            clip = np.zeros(0, np.uint8)
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or not clip.size:
            remove(path)  # cut off, or somebody else's: it is made again
            return None
        self._hold(digest, clip)
        return clip

    def put(self, digest: str, clip: Clip) -> None:
        """Take a clip. A disk that is full, or may not be written, costs only what would have been kept."""
        self._hold(digest, clip)
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
                try:
                    np.save(file, clip, allow_pickle=False)
                except OSError:
                    remove(Path(file.name))
                    raise
            Path(file.name).replace(self._path(digest))
            self._tidy()

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
    """Makes clips for a bank, one at a time, in a thread of its own; or at once, where they are waited for."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
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

    def wait(self, digest: str, make: Make) -> Clip:
        """Return a clip, made at once where it is not there. Raises GeneratorError."""
        clip = self.bank.get(digest)
        if clip is None:
            clip = make(lambda: None)
            self.bank.put(digest, clip)
        return clip

    def order(self, *orders: Order) -> None:
        """Have these made, in this order, and nothing else that has not been begun."""
        with self._changed:
            is_wanted = not self._now or any(digest == self._now for digest, _ in orders)
            if is_wanted or self._stale_s is None:
                self._stale_s = None if is_wanted else time.monotonic()
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

    def close(self) -> None:
        """Make nothing more; what is being made is broken off at its next step."""
        with self._changed:
            self._open = False
            self._orders.clear()
            self._changed.notify_all()

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
                if self.bank.get(digest) is None:
                    self.bank.put(digest, make(self._breathe))
            except StoppedError:
                continue
            except VJError as error:
                self._fail(digest, error)
            except Exception as error:  # noqa: BLE001 - a foreign pipeline may raise anything: the picture goes on
                memory = type(error).__name__ == "OutOfMemoryError"
                if not memory:
                    log.write_fault("generate", "what was made in the background fell", error)
                first = (str(error).splitlines() or [type(error).__name__])[0][:300]
                self._fail(digest, OutOfMemoryError(first) if memory else GeneratorError(first))

    def _fail(self, digest: str, error: VJError) -> None:
        with self._changed:
            self._faults[digest] = error

    def _breathe(self) -> None:
        since_s = self._stale_s
        if not self._open or (since_s is not None and time.monotonic() - since_s > STALE_S):
            raise StoppedError("nobody waits for it any more")
