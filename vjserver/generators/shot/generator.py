"""The door to shots: clips of the prompts are made ahead; each is launched on its bar and sampled by its beats.

    shots -> workshop (a thread; in a film: at once) -> bank -> a frame of the clip -> camera -> grade -> RGBA8

Live, a clip that is not ready on its bar is waited for until the next one is due; the last one plays again.
torch is imported when a model is opened, not before.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vjserver.generators.bars import Bars, beginning
from vjserver.generators.camera import Camera
from vjserver.generators.clip_cache import Clip, Order
from vjserver.generators.frames import accents, retimed
from vjserver.generators.pipeline_kinds import Ask
from vjserver.generators.pipelines import ClipPipeline, begins_with_picture, open_clips
from vjserver.generators.shot.info import INFO, KEYS, LAST, PICTURE
from vjserver.generators.shot.options import ShotOptions
from vjserver.generators.shot.shots import (
    NEAR,
    Clock,
    KeptState,
    Rgb,
    Shot,
    ShotState,
    covering,
    curves,
    key_of,
    motion,
)
from vjserver.generators.slow import VERSION, Slow
from vjserver.generators.store import find_motion, find_pipeline
from vjserver.latent.noise import MASK, STRIDE
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Frame, FrameRequest, TextConditioning, on_host

_DEFAULTS = {knob.name: knob.default for knob in INFO.parameters}
MOST_CLIPS = 4  # of a shot: all its frames lie in memory


class ShotGenerator(Slow):
    """Text-to-video and image-to-video pipelines as shots."""

    INFO = INFO
    Options = ShotOptions
    what = "shots"

    def __init__(self, options: ShotOptions) -> None:
        super().__init__(options.model, options.device, options.dtype, options.motion)
        self._options = options
        self._pipeline: ClipPipeline | None = None
        self._last: tuple[str, Clip] | None = None
        self._clocks: dict[tuple[str, float, int], Clock] = {}
        self._curves: dict[tuple[str, str, float], NDArray[np.uint8]] = {}

    # -- coming and going ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Load the model. Raises GeneratorError: nothing named, of another kind, parts missing, no room."""
        options = self._options
        if not options.model:
            raise GeneratorError('shots need a model: [generators.shot] model = "NAME"; see vjserver models list')
        size_of(options.size)
        find_pipeline(options.model, "diffusion" if options.motion else "shot")
        if options.motion:
            find_motion(options.motion)
        self._pipeline = open_clips(options.model, options.motion, options.device, options.dtype, options.offload)
        self._open_screen()

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Make a first, short clip, so that there is one when this generator is shown. Raises GeneratorError."""
        pipeline = self._opened()
        text = TextConditioning(tuple((prompt, 1.0) for prompt in prompts[:1]))
        request = FrameRequest(0, width, height, text, {}, 0, 0.0, own=_DEFAULTS)
        ask = self._asked(request, 0, pipeline.habit, self._options.size, pipeline.rule.least)
        first = self._keep_key(_grey(ask)) if pipeline.kind.begins == "picture" else ""
        order = self._order(Shot((ask,), (1,), first))
        self._last = order[0], self._shop.wait(*order)

    def _let_go(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = None

    @staticmethod
    def stays(request: FrameRequest, model: str) -> str:
        """Tell why a film cannot be begun in the middle of what is asked of a model here; nothing where it can."""
        starts = round(request.own["start"])
        if starts in (PICTURE, KEYS) or begins_with_picture(model):
            return "shots begin with pictures of the input"
        return ""

    # -- a frame -------------------------------------------------------------------------------------------

    def render(self, request: FrameRequest, state: ShotState | None) -> tuple[Frame, ShotState]:
        """Return the frame for ``request`` and the state for the next. Live it never waits for a model.

        Raises GeneratorError where a film's clip cannot be made, WorkerFault where only a new process can go on.
        """
        waits = request.mode == "film"
        here = self._moved(request, state, waits)
        if not waits:
            self._have_made(here.line, [self._order(here.shown), self._order(here.coming)])
        row, blend = self._frames(request, here, waits)
        return self._show(request, here.camera, row, blend, {"shots": here.number + 1}), here

    def advance(self, request: FrameRequest, state: ShotState | None) -> ShotState:
        """Return the state after ``request``: nothing hangs on pictures, where :meth:`stays` is empty."""
        return self._moved(request, state, True)

    def checkpoint(self, state: ShotState) -> bytes:
        """Return a state as bytes."""
        shots = [state.shown, state.coming, state.before]
        return msgspec.msgpack.encode(
            KeptState(VERSION, self._mark, astuple(state.bars), shots, state.line, state.number, state.since,
                      state.every, state.lasts_s, (state.key, state.key_before), astuple(state.camera))
        )  # fmt: skip

    def resume(self, data: bytes) -> ShotState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        try:
            row = msgspec.msgpack.decode(data, type=KeptState)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint of shots: {error}") from None
        shots = row.shots
        if len(shots) != 3 or shots[0] is None or shots[1] is None:
            raise GeneratorError("this is no checkpoint of shots: shots are missing")
        asks = [ask for shot in shots if shot is not None for ask in shot.chain]
        counts = (row.line, row.number, row.since, *row.bars)
        self._check(row.version, row.mark, asks, *counts, row.lasts_s, *row.camera)
        lengths = [(len(shot.chain), len(shot.clips), max(shot.clips, default=0)) for shot in shots if shot is not None]
        if min(counts) < 0 or row.every < 1 or not all(1 <= a == b <= 64 and 1 <= c <= 64 for a, b, c in lengths):
            raise GeneratorError("this is no checkpoint of shots: its numbers make no sense")
        return ShotState(
            Bars(*row.bars), shots[0], shots[1], shots[2], row.line, row.number, row.since, row.every,
            row.lasts_s, *row.keys, Camera(*row.camera),
        )  # fmt: skip

    # -- which shot plays, and which one comes ----------------------------------------------------------------

    def _moved(self, request: FrameRequest, state: ShotState | None, waits: bool) -> ShotState:
        """Return the state after ``request``; what is waited for is as good as ready."""
        if state is None:
            bars = beginning(request)
            key = self._key(request)
            lasts_s = self._lasts_s(bars, request)
            shown = self._shot(request, None, 0, lasts_s, key, "")
            coming = self._shot(request, shown, 1, lasts_s, key, key)
            return ShotState(bars, shown, coming, every=_bars(request), lasts_s=lasts_s, key=key)
        bars = state.bars.moved(request)
        here = replace(state, bars=bars, camera=state.camera.moved(request))
        if bars.whole > state.bars.whole and bars.whole - state.since >= _bars(request):
            here = replace(here, line=state.line + 1, since=bars.whole, every=_bars(request), before=state.shown,
                           lasts_s=self._lasts_s(bars, request))  # fmt: skip
            if waits or self._shop.cache.get(self._order(state.coming)[0]) is not None:
                here = replace(here, shown=state.coming, number=state.number + 1, key=self._key(request),
                               key_before=state.key)  # fmt: skip
        wanted = self._shot(request, here.shown, here.number + 1, here.lasts_s, here.key, here.key_before)
        coming = here.coming if here.number == state.number and _will_do(here.coming, wanted) else wanted
        return replace(here, coming=coming)

    def _shot(
        self, request: FrameRequest, before: Shot | None, number: int, lasts_s: float, key: str, key_before: str
    ) -> Shot:
        """Return what the ``number``-th shot is made of; it comes after ``before``."""
        pipeline, own, start = self._opened(), request.own, round(request.own["start"])
        begins = pipeline.kind.begins
        counts = pipeline.rule.counts(lasts_s)
        if len(counts) > MOST_CLIPS:
            self._tell("length", f"{MOST_CLIPS} clips make a shot at most: a longer one plays slower")
            counts = (pipeline.rule.at_least(pipeline.rule.most),) * MOST_CLIPS
        if begins == "text":
            if len(counts) > 1:
                most = (pipeline.rule.most - 1) / pipeline.rule.fps
                self._tell("length", f"{pipeline.folder.name} makes {most:.1f} s at most: longer shots play slower")
            counts = counts[:1] if len(counts) == 1 else (pipeline.rule.at_least(pipeline.rule.most),)
            if start != 0:
                self._tell("start", f"{pipeline.folder.name} begins with no picture: shots crossfade")
        seed = (request.seed + number) & MASK
        ask = self._asked(request, seed, pipeline.habit, self._options.size, counts[0])
        plain = Shot((ask,), (len(counts),))
        if begins == "text" or (start == 0 and begins == "either"):
            return plain
        if start == KEYS and pipeline.ends and key_before:
            return replace(plain, first=key_before, last=key)
        if start == LAST and before is not None and len(before.chain) < round(own["chain"]) and not before.last:
            return Shot((*before.chain, ask), (*before.clips, len(counts)), before.first)
        if start in (PICTURE, KEYS) or begins == "picture":
            return replace(plain, first=key)
        return plain

    def _lasts_s(self, bars: Bars, request: FrameRequest) -> float:
        return round(_bars(request) * bars.bar_s(request), 3)

    def _key(self, request: FrameRequest) -> str:
        """Keep the picture that a shot may begin with; return its name in the bank, empty where there is none."""
        pipeline = self._opened()
        needed = pipeline.kind.begins == "picture" or round(request.own["start"]) in (PICTURE, KEYS)
        if not needed or pipeline.kind.begins == "text":
            return ""
        ask = self._asked(request, 0, pipeline.habit, self._options.size)
        if request.image is None:
            if request.mode == "film" and pipeline.kind.begins == "picture":
                raise GeneratorError(f"{pipeline.folder.name} begins with a picture: name an input in the preset")
            self._tell("input", "no input brings a picture: shots begin with a grey one")
            return self._keep_key(_grey(ask))
        image = np.ascontiguousarray(on_host(request.image)[..., :3])
        return self._keep_key(covering(image, ask.width, ask.height))

    def _keep_key(self, image: Rgb) -> str:
        digest = self._digest("key", image.shape, hashlib.sha256(image.tobytes()).hexdigest())
        if self._shop.cache.get(digest) is None:
            self._shop.cache.put(digest, image[None])
        return digest

    # -- what is shown ---------------------------------------------------------------------------------------

    def _frames(self, request: FrameRequest, here: ShotState, waits: bool) -> tuple[list[tuple[Any, Rgb]], float]:
        """Return the frame to show; or two, and how far it is from the first to the second."""
        shown = self._order(here.shown)
        clip = self._made(shown, waits)
        share = min(1.0, max(0.0, (here.bars.position - here.since) / here.every))
        beats = here.every * here.bars.beats
        if clip is None:
            if self._last is None:
                raise GeneratorError("the first clip is not made yet")
            name, clip = self._last
            return [self._frame(name, None, clip, share, here.lasts_s, beats, request, waits)], 0.0
        self._last = shown[0], clip
        now = self._frame(shown[0], here.shown, clip, share, here.lasts_s, beats, request, waits)
        join = request.own["join"]
        into = share * beats / join if join > 0.0 else 1.0
        if into >= 1.0 or here.before is None or here.shown.before == here.before:
            return [now], 0.0
        left = self._order(here.before)
        old = self._made(left, waits)
        if old is None or old.shape[1:] != clip.shape[1:]:
            return [now], 0.0
        return [self._frame(left[0], here.before, old, 1.0, here.lasts_s, beats, request, waits), now], into

    def _frame(
        self, name: str, shot: Shot | None, clip: Clip, share: float, lasts_s: float, beats: int, request: FrameRequest,
        waits: bool,
    ) -> tuple[Any, Rgb]:  # fmt: skip
        """Return a clip's frame at ``share`` of its shot, mixed of the two that are next to it, and a name for it."""
        fps = self._opened().rule.fps
        lasts = min((len(clip) - 1) / fps, lasts_s)
        time_s = share * lasts
        if round(request.own["retime"]):
            time_s = float(np.interp(time_s, *self._clock(name, clip, lasts, beats)))
        place = min(max(0.0, time_s * fps), len(clip) - 1.0)
        first = min(int(place), max(0, len(clip) - 2))
        way = round(place - first, 4)
        frame = clip[first]
        if way > 0.0:
            frame = np.asarray(cv2.addWeighted(frame, 1.0 - way, clip[first + 1], way, 0.0), np.uint8)
        amount = round(request.own["match"], 3)
        if shot is not None and shot.before is not None and amount > 0.0:
            frame = np.asarray(cv2.LUT(frame, self._curve(name, clip, shot, amount, waits)), np.uint8)
        return (name, first, way, amount), frame

    def _clock(self, name: str, clip: Clip, lasts: float, beats: int) -> Clock:
        key = name, round(lasts, 3), beats
        if key not in self._clocks:
            if len(self._clocks) > 256:
                self._clocks.clear()
            times = accents(motion(clip), self._opened().rule.fps)
            self._clocks[key] = retimed(times, [lasts * i / beats for i in range(1, beats)], lasts)
        return self._clocks[key]

    def _curve(self, name: str, clip: Clip, shot: Shot, amount: float, waits: bool) -> NDArray[np.uint8]:
        """Return the curve of each channel that gives a clip the colours of its chain's first; bytes to bytes."""
        first = self._order(Shot(shot.chain[:1], shot.clips[:1], shot.first))
        key = name, first[0], amount
        if key not in self._curves:
            model = self._made(first, waits)
            if model is None:
                return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)[None]
            if len(self._curves) > 256:
                self._curves.clear()
            self._curves[key] = curves(clip, model, amount)
        return self._curves[key]

    # -- what is made ----------------------------------------------------------------------------------------

    def _order(self, shot: Shot) -> Order:
        pipeline = self._opened()

        def make(breathe: Callable[[], None]) -> Clip:
            ask, before, cache = shot.chain[-1], shot.before, self._shop.cache
            start = end = None
            if before is not None:
                start = covering(self._shop.wait(*self._order(before), breathe)[-1], ask.width, ask.height)
            elif shot.first:
                start = key_of(cache.get(shot.first))
            if shot.last:
                end = key_of(cache.get(shot.last))
            rows: list[Clip] = []
            for i in range(shot.clips[-1]):
                part = replace(ask, seed=(ask.seed + i * STRIDE) & MASK)
                clip = pipeline.clip(part, start, end if i == shot.clips[-1] - 1 else None, breathe)
                rows.append(clip if not rows else clip[1:])  # it begins with the last frame of the one before
                start = clip[-1]
            return np.concatenate(rows)

        return self._digest(shot), make

    def _opened(self) -> ClipPipeline:
        if self._pipeline is None:
            raise GeneratorError("the generator of shots is not open")
        return self._pipeline


def _bars(request: FrameRequest) -> int:
    return max(1, round(request.own["bars"]))


def _will_do(have: Shot, wanted: Shot) -> bool:
    """Tell whether a shot that was ordered is the one that is wanted, but for a tempo, or numbers, that waver."""
    ask = replace(wanted.chain[-1], steps=have.chain[-1].steps, guidance=have.chain[-1].guidance)
    wanted = replace(wanted, chain=(*wanted.chain[:-1], ask))
    if have == wanted:
        return True
    frames, asked = have.chain[-1].frames * have.clips[-1], wanted.chain[-1].frames * wanted.clips[-1]
    if not NEAR * asked <= frames <= asked / NEAR:
        return False
    ask, clips = replace(wanted.chain[-1], frames=have.chain[-1].frames), (*wanted.clips[:-1], have.clips[-1])
    return replace(wanted, chain=(*wanted.chain[:-1], ask), clips=clips) == have


def _grey(ask: Ask) -> Rgb:
    """Return a soft grey picture for a model that must begin with one."""
    column = np.linspace(150.0, 70.0, ask.height).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(column[:, None, None], (ask.height, ask.width, 3)))
