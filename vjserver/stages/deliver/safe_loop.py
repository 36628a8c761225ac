"""The safe loop: what is on the wall when generated pictures stop. It moves, it costs little, and it cannot fail.

A player draws it in the background (the pattern generator, small; or a clip). Where there is none, or until it has
drawn, the last good picture drifts, mirrored at its edges.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.picture import covering
from vjserver.runtime.video import Video
from vjserver.types.errors import VJError
from vjserver.types.frames import Pixels

EASE_S = 1.0


class Player(Protocol):
    """Draws the safe loop's pictures."""

    period_s: float

    def draw(self, now_ns: int) -> Pixels:
        """Return the picture for ``now_ns``, RGBA8 of any size. Raises VJError."""

    def close(self) -> None:
        """Let go."""


def drift(still: Pixels, seconds: float) -> Pixels:
    """Return ``still`` mirrored at its edges, turning and breathing slowly; it starts as ``still`` itself."""
    height, width = still.shape[:2]
    ease = min(1.0, seconds / 4.0)
    zoom = 1.0 + 0.12 * ease * (1.0 - np.cos(seconds * 0.35))
    turn = 6.0 * ease * np.sin(seconds * 0.23)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(turn), float(zoom))
    matrix[0, 2] += 0.05 * width * ease * np.sin(seconds * 0.17)
    warped = cv2.warpAffine(still, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


class SafeLoop:
    """``make`` opens the player, on a thread of its own, when :meth:`prepare` is first called; None: drift only."""

    def __init__(
        self,
        make: Callable[[], Player] | None,
        clock: Clock,
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self._make, self._clock, self._announce = make, clock, announce
        self._newest: Pixels | None = None
        self._wanted, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None
        self._begun_ns: int | None = None

    def prepare(self) -> None:
        """Have pictures drawn from now on."""
        if self._make is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="safe-loop", daemon=True)
            self._thread.start()
        self._wanted.set()

    def rest(self) -> None:
        """Draw no more for now."""
        self._wanted.clear()
        self._newest = None
        self._begun_ns = None

    def close(self) -> None:
        """End."""
        self._stopping = True
        self._wanted.set()

    def at(self, now_ns: int, seconds: float, still: Pixels) -> Pixels:
        """Return the picture ``seconds`` into the safe loop, of the size of ``still``, the last good one."""
        newest = self._newest
        if newest is None:
            self._begun_ns = None
            return drift(still, seconds)
        if self._begun_ns is None:
            self._begun_ns = now_ns
        height, width = still.shape[:2]
        newest = covering(newest, width, height)
        share = (now_ns - self._begun_ns) / NS / EASE_S
        if share >= 1.0:
            return newest
        return np.asarray(cv2.addWeighted(drift(still, seconds), 1.0 - share, newest, share, 0.0), np.uint8)

    def _run(self) -> None:
        assert self._make is not None
        player: Player | None = None
        try:
            player = self._make()
            while not self._stopping:
                self._wanted.wait()
                began_ns = self._clock.now_ns()
                picture = player.draw(began_ns)
                if self._wanted.is_set():
                    self._newest = picture
                self._clock.sleep_until(began_ns + round(player.period_s * NS))
        except VJError as error:
            self._announce("safe loop", f"{error}; the last picture drifts instead", False)
        except Exception as error:  # noqa: BLE001 - whatever it was: the wall must not go black for it
            self._announce("safe loop", f"{type(error).__name__}: {error}; the last picture drifts instead", False)
        finally:
            self._newest = None
            if player is not None:
                player.close()


class Clip:
    """Plays a film as the safe loop. Raises VJError for one that cannot be read."""

    def __init__(self, path: Path) -> None:
        self._film = Video(path)
        self.period_s = self._film.period_s

    def draw(self, _now_ns: int) -> Pixels:
        """Return the next picture."""
        picture = self._film.next()
        self.period_s = max(self._film.period_s, 1 / 120)
        return picture

    def close(self) -> None:
        """Close the file."""
        self._film.close()
