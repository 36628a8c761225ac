"""Segments: a stretch of a film's plan goes in, its segments come out as files, one after another.

Pictures are drawn here; a thread of its own hashes, encodes and writes them meanwhile. A segment's files appear whole
or not at all: first the digests of its pictures (32 bytes each), last its film. With each of them, where the generators
can tell it, goes what the next one has to know, so that a film that was broken off goes on behind its last whole
segment.
"""

import contextlib
import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from vjserver.films.codecs import Writer, writer
from vjserver.films.film import Film, Segment, Stretch, Tell
from vjserver.films.images import FilmImages
from vjserver.films.parts import THUMB_WIDTH, checksum, digests_path, film_path, is_made, state_path, thumb_path
from vjserver.films.titles import Titles
from vjserver.rendering.renderer import Moment, Renderer, RenderMemory
from vjserver.runtime.files import move_over, remove
from vjserver.show.state import ShowState
from vjserver.stages.deliver.compositor import faded
from vjserver.stages.deliver.interpolation import along, blend, flows
from vjserver.stages.offline.performance import NS, Performance, time_of
from vjserver.types.errors import GeneratorError, OutputError
from vjserver.types.frames import Pixels

WAITING = 4
"""So many pictures may wait to be encoded."""


def make_stretch(
    film: Film, stretch: Stretch, folder: Path, tell: Tell, progress: Callable[[int], None]
) -> list[Segment]:
    """Make what is missing of a stretch in ``folder``; return it. ``progress`` is told of each frame as it is drawn.

    Raises GeneratorError, OutputError.
    """
    missing = [segment for segment in stretch.segments if not is_made(folder, segment, film.codec)]
    if not missing:
        return []
    wanted = set(missing)
    with contextlib.ExitStack() as stack:
        sides = Sides(film, tell)
        stack.callback(sides.close)
        performance = film.performance()
        begin = _resumed(stretch, folder, missing[0], sides)
        if begin is None:
            begin = _led_in(film, stretch, performance, sides)
        writing = _Writing(film, folder, stretch)
        stack.callback(writing.stop)
        titles, keys = Titles(film.titles, film.size), _Keys(film, begin, performance, sides)
        for segment in stretch.segments:
            if segment.last <= begin or segment.first >= missing[-1].last:
                continue
            is_wanted = segment in wanted
            if is_wanted:
                writing.begin(segment)
            for number in range(max(begin, segment.first), segment.last):
                pixels = keys.picture(number)
                if is_wanted:
                    writing.send(titles.over(pixels, time_of(number, film.rate)))
                progress(number)
            if is_wanted:
                writing.end(segment, sides.checkpoint() if film.every == 1 else None)
        writing.finish()
    return missing


def _resumed(stretch: Stretch, folder: Path, first: Segment, sides: "Sides") -> int | None:
    """Take up what the segment before the first missing one left; return the frame to go on with, None for none."""
    place = stretch.segments.index(first)
    if not place:
        return None
    path = state_path(folder, stretch, stretch.segments[place - 1])
    try:
        sides.resume(path.read_bytes())
    except (OSError, GeneratorError):
        return None
    return first.first


def _led_in(film: Film, stretch: Stretch, performance: Performance, sides: "Sides") -> int:
    """Move the generators to where a stretch is led in, and draw the lead; return the frame of its beginning."""
    begin, last = stretch.first - stretch.lead, stretch.anew - film.every
    for number in range(stretch.anew, stretch.first):
        if not film.draws(number):
            continue
        moment = film.moment(performance, number, number - last)
        if number < begin:
            sides.advance(moment)
        else:
            sides.draw(moment, performance)
        last = number
    return stretch.first


class Sides:
    """The scene that plays and the one that fades away, each with its own generators: neither disturbs the other."""

    def __init__(self, film: Film, tell: Tell) -> None:
        self._film, self._tell = film, tell
        self._sides: list[tuple[Renderer, FilmImages]] = [film.renderer(tell)]
        self._memory = RenderMemory()
        self._leaving: tuple[ShowState, RenderMemory, int, int] | None = None
        self._frozen: Pixels | None = None
        self._resets = {film.frame_at(reset.t_ns): reset for reset in film.resets}

    def advance(self, moment: Moment) -> None:
        """Move the scene that plays past a moment of which no picture is wanted."""
        renderer, images = self._sides[0]
        images.seconds = moment.t_ns / NS
        self._memory = renderer.advance(moment, self._memory)

    def draw(self, moment: Moment, performance: Performance) -> Pixels:
        """Return the picture of a moment, an array of its own: generators write over theirs two frames on.

        What the master's hands did (freeze, fade, blackout) is done to it.
        """
        state = moment.state
        if not (state.freeze and self._frozen is not None):
            self._frozen = self._composed(moment, performance)
        return faded(self._frozen, 0.0 if state.blackout else state.fade)

    def _composed(self, moment: Moment, performance: Performance) -> Pixels:
        reset = self._resets.get(moment.number)
        if reset is not None:
            self._reset(moment.number, self._film.frame_at(reset.until_ns), performance)
        pixels = np.array(self._drawn(0, moment, self._memory))
        if self._leaving is None:
            return pixels
        state, memory, began, until = self._leaving
        if moment.number >= until:
            self._leaving = None
            return pixels
        here = self._memory
        before = replace(moment, state=state, mapper=None)
        old = self._drawn(1, before, memory)
        self._leaving, self._memory = (state, self._memory, began, until), here
        share = (moment.number - began) / (until - began)
        return blend(old, pixels, share)

    def _drawn(self, side: int, moment: Moment, memory: RenderMemory) -> Pixels:
        renderer, images = self._sides[side]
        images.seconds = moment.t_ns / NS
        rendered, memory = renderer.render(moment, memory)
        assert rendered is not None  # its pool raises
        for notice in rendered.frame.notices:
            self._tell(notice.what, notice.why, notice.recovered)
        self._memory = memory
        return rendered.frame.pixels

    def _reset(self, number: int, until: int, performance: Performance) -> None:
        """Begin a scene with nothing of the last one; that one plays on beside it where it fades away."""
        if until > number:
            state, mapper = performance.left
            self._leaving = state, replace(self._memory, mapper=mapper), number, until
            if len(self._sides) == 1:
                self._sides.append(self._film.renderer(self._tell))
            self._sides.reverse()
        self._memory = RenderMemory()

    def checkpoint(self) -> bytes | None:
        """Return what the next segment has to know, None where that cannot be told."""
        if self._leaving is not None:
            return None
        try:
            return self._sides[0][0].checkpoint(self._memory, self._film.size)
        except GeneratorError:
            return None

    def resume(self, data: bytes) -> None:
        """Go on from there. Raises GeneratorError."""
        self._memory = self._sides[0][0].resume(data, self._film.size)

    def close(self) -> None:
        """Close all generators."""
        for renderer, _ in self._sides:
            renderer.close()


class _Keys:
    """Every n-th picture is drawn, and those between are made of the two beside them."""

    def __init__(self, film: Film, begin: int, performance: Performance, sides: Sides) -> None:
        self._film, self._performance, self._sides = film, performance, sides
        self._old: tuple[int, Pixels] | None = None
        self._new: tuple[int, Pixels] | None = None
        self._begin = begin
        self._last = next((n for n in range(begin - 1, -1, -1) if film.draws(n)), begin - film.every)

    def picture(self, number: int) -> Pixels:
        every = self._film.every
        if every == 1:
            return self._draw(number)
        if number == self._begin or self._film.draws(number):
            if self._new is None or self._new[0] != number:
                self._new = number, self._draw(number)
            self._old = self._new
            return self._old[1]
        assert self._old is not None  # the first frame is drawn
        following = next(n for n in range(number + 1, number + every + 1) if self._film.draws(n))
        if self._film.between == "hold" or following in self._film.scene_frames:
            return self._old[1]
        if self._new is None or self._new[0] != following:
            self._new = following, self._draw(following)
        share = (number - self._old[0]) / (following - self._old[0])
        return between(self._old[1], self._new[1], share, self._film.between == "flow")

    def _draw(self, number: int) -> Pixels:
        step, self._last = number - self._last, number
        return self._sides.draw(self._film.moment(self._performance, number, step), self._performance)


def between(old: Pixels, new: Pixels, share: float, flow: bool) -> Pixels:
    """Return a picture ``share`` of the way from one to the next: faded over, or moved along what flows."""
    return along(old, new, flows(old, new), share) if flow else blend(old, new, share)


@dataclass(frozen=True)
class _End:
    segment: Segment
    state: bytes | None


class _Writing:
    """The thread that hashes, encodes and writes; at most ``WAITING`` pictures wait for it."""

    def __init__(self, film: Film, folder: Path, stretch: Stretch) -> None:
        self._film, self._folder, self._stretch = film, folder, stretch
        self._queue: queue.Queue[Segment | Pixels | _End | None] = queue.Queue(WAITING)
        self._error: BaseException | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)
        self._thread.start()

    def begin(self, segment: Segment) -> None:
        self._put(segment)

    def send(self, pixels: Pixels) -> None:
        self._put(pixels)

    def end(self, segment: Segment, state: bytes | None) -> None:
        self._put(_End(segment, state))

    def finish(self) -> None:
        """Wait until all is written. Raises what went wrong."""
        self._put(None)
        self._thread.join()
        self._raise()

    def stop(self) -> None:
        """End it: what waits is written, so that a segment that was drawn is not lost; what is missing is left out."""
        while self._thread.is_alive() and not self._over:
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=0.2)
                break
        self._thread.join(60.0)

    def _put(self, item: "Segment | Pixels | _End | None") -> None:
        while True:
            self._raise()
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            self._over = True
            raise error

    def _items(self) -> Iterator["Segment | Pixels | _End"]:
        while not self._over:
            try:
                item = self._queue.get(timeout=0.2)
            except queue.Empty:
                continue
            if item is None:
                return
            yield item

    def _run(self) -> None:
        one: Writer | None = None
        part = self._folder
        try:
            told: list[bytes] = []
            middle, thumb = 0, b""
            for item in self._items():
                if isinstance(item, Segment):
                    middle = item.frames // 2
                    part = self._folder / f"{item.digest}.part{os.getpid()}{self._film.codec.suffix}"
                    told = []
                    one = writer(self._film.codec, part, self._film.size, self._film.rate)
                elif isinstance(item, _End):
                    assert one is not None
                    one.close()
                    one = None
                    self._keep(item, part, b"".join(told), thumb)
                else:
                    assert one is not None
                    if len(told) == middle:
                        thumb = small(item)
                    told.append(hashlib.sha256(np.ascontiguousarray(item).data).digest())
                    one.send(item)
        except BaseException as error:  # noqa: BLE001 - it is raised again where pictures are drawn
            self._error = error
        finally:
            if one is not None:
                one.drop()
            if part != self._folder:
                remove(part)

    def _keep(self, end: _End, part: Path, digests: bytes, thumb: bytes) -> None:
        """Let a segment appear, and what comes after it; what came after the last one is not needed any more."""
        try:
            target = film_path(self._folder, end.segment, self._film.codec)
            part_of_digests = part.with_suffix(".part")
            part_of_digests.write_bytes(digests + checksum(digests, part))
            thumb_path(self._folder, end.segment).write_bytes(thumb)
            move_over(part_of_digests, digests_path(self._folder, end.segment))
            if target.is_dir():
                shutil.rmtree(target)
            move_over(part, target)
            place = self._stretch.segments.index(end.segment)
            if end.state is not None and place + 1 < len(self._stretch.segments):
                path = state_path(self._folder, self._stretch, end.segment)
                path.with_suffix(".part").write_bytes(end.state)
                move_over(path.with_suffix(".part"), path)
            for before in self._stretch.segments[:place]:
                state_path(self._folder, self._stretch, before).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder} cannot be written: {error.strerror}") from None


def small(pixels: Pixels) -> bytes:
    """Return a picture as a small JPEG."""
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMB_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    bgr = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return data.tobytes()


def still(film: Film, anew: int, lead: int, number: int, tell: Tell) -> Pixels:
    """Return a film's frame ``number``, whose scene began at the frame ``anew``, led in by ``lead`` frames."""
    with contextlib.closing(Sides(film, tell)) as sides:
        performance = film.performance()
        _led_in(film, Stretch(0, anew, lead, (Segment(0, number, number + 1, ""),)), performance, sides)
        moment = film.moment(performance, number, 1)
        return Titles(film.titles, film.size).over(sides.draw(moment, performance), time_of(number, film.rate))
