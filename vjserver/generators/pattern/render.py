"""The pattern generator's frame: families -> palette -> feedback -> bloom -> grade -> RGBA.

Light is linear float32 until the last step, so that trails and glows add up as light does. All rates are per
second: the picture does not change its character with the frame rate.
"""

import math
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cv2
import msgspec
import numba
import numpy as np

from vjserver.easing.smoothing import smoothing
from vjserver.generators.pattern.families import FAMILIES, lay_space, paint
from vjserver.generators.pattern.lexicon import NUMBERS, PatternStyle, blend, style_of, travel
from vjserver.generators.pattern.palette import EXPOSURE, SIZE
from vjserver.show.addresses import COMMON
from vjserver.types.audio import Float32
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Pixels, TextConditioning

F = np.float32
PIVOT = F(0.18)
OPAQUE = np.uint32(0xFF000000)
LOOK_TRAVEL_S = 0.35
SEED_TRAVEL_S = 0.5
KEPT_FAMILIES = 2
VERSION = 1
"""Of a checkpoint; another one is refused."""


@dataclass(frozen=True, slots=True)
class PatternState:
    """What one frame hands to the next: the look on its way, the places walked to, and the light that stays."""

    look: PatternStyle
    time_s: float
    travel: float
    angle: float
    seed: tuple[float, float]
    light: Float32
    frame_id: int


class _Kept(msgspec.Struct):
    version: int
    families: dict[str, float]
    ring: bytes
    numbers: bytes
    time_s: float
    travel: float
    angle: float
    seed: tuple[float, float]
    frame_id: int
    width: int
    height: int
    light: bytes


class Painter:
    """Draws patterns at one size after another. ``threads`` 0 takes half the cores."""

    def __init__(self, threads: int) -> None:
        self._threads = threads or max(1, (os.cpu_count() or 2) // 2)
        self._size = (0, 0)
        cv2.setNumThreads(self._threads)
        several = self._threads > 1
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="pattern") if several else None

    def warm_up(self, width: int, height: int) -> None:
        """Compile every kernel, or load it from the cache of an earlier run."""
        self._resize(width, height)
        params = dict.fromkeys(COMMON, 0.5)
        request = FrameRequest(0, width, height, TextConditioning((("warm up", 1.0),)), params, 1, 1.0 / 30.0)
        self.render(request, self.render(request, None)[1])

    def close(self) -> None:
        """Stop the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def render(self, request: FrameRequest, state: PatternState | None) -> tuple[Frame, PatternState]:
        """Return the frame for ``request`` and the state for the next."""
        self._resize(request.width, request.height)
        here = self._walk(request, state)
        params = _with_style(request.params, here.look)
        self._paint(here, params)
        light = self._glow(here, params, request.seconds)
        pixels = self._grade(light, params, here.frame_id)
        return Frame(pixels, FrameInfo(request.width, request.height)), replace(here, light=light)

    def advance(self, request: FrameRequest, state: "PatternState | None") -> "PatternState":
        """Return the state after ``request`` without a picture: all that moves has moved, and no light stays."""
        here = self._walk(request, state)
        return replace(here, light=np.zeros((3, request.height, request.width), np.float32))

    def checkpoint(self, state: "PatternState") -> bytes:
        """Return a state as bytes."""
        look = state.look
        families = {name: float(weight) for name, weight in look.families.items()}
        row = _Kept(
            VERSION, families, look.ring.tobytes(), look.numbers.tobytes(), state.time_s, state.travel, state.angle,
            state.seed, state.frame_id, state.light.shape[2], state.light.shape[1], state.light.tobytes(),
        )  # fmt: skip
        return msgspec.msgpack.encode(row)

    def resume(self, data: bytes) -> "PatternState":
        """Return the state of such bytes. Raises GeneratorError."""
        try:
            row = msgspec.msgpack.decode(data, type=_Kept)
            ring = np.frombuffer(row.ring, np.float32).reshape(SIZE, 3).copy()
            numbers = np.frombuffer(row.numbers, np.float32).reshape(len(NUMBERS)).copy()
            light = np.frombuffer(row.light, np.float32).reshape(3, row.height, row.width).copy()
        except (msgspec.MsgspecError, ValueError) as error:
            raise GeneratorError(f"this is no checkpoint of the pattern generator: {error}") from None
        if row.version != VERSION:
            raise GeneratorError(f"a checkpoint of version {VERSION} is needed: got {row.version}")
        look = PatternStyle(row.families, ring, numbers)
        return PatternState(look, row.time_s, row.travel, row.angle, row.seed, light, row.frame_id)

    # -- the walk ------------------------------------------------------------------------------------------

    def _walk(self, request: FrameRequest, state: PatternState | None) -> PatternState:
        """Move everything that moves by itself by ``request.seconds``."""
        wanted = blend((style_of(text), weight) for text, weight in request.text.prompts)
        seed = _seed_place(request.seed)
        dt = request.seconds
        p = request.params
        if state is None:
            light = np.zeros((3, request.height, request.width), np.float32)
            start = 20.0 + 40.0 * seed[0]
            return PatternState(wanted, start, 0.0, 0.0, seed, light, 1)
        look = travel(state.look, wanted, smoothing(dt, LOOK_TRAVEL_S))
        speed = p["speed"] * max(0.05, 1.0 + float(look.numbers[NUMBERS.index("speed")]))
        share = smoothing(dt, SEED_TRAVEL_S)
        light = state.light
        if light.shape[1:] != (request.height, request.width):
            light = np.stack([cv2.resize(plane, (request.width, request.height)) for plane in light])
        return PatternState(
            look,
            state.time_s + dt * speed,
            state.travel + dt * p["zoom"],
            (state.angle + dt * p["rotate"] * 2.0 * math.pi) % (2.0 * math.pi),
            (
                state.seed[0] + share * (seed[0] - state.seed[0]),
                state.seed[1] + share * (seed[1] - state.seed[1]),
            ),
            light,
            state.frame_id + 1,
        )

    # -- the picture ---------------------------------------------------------------------------------------

    def _resize(self, width: int, height: int) -> None:
        if self._size == (width, height):
            return
        self._size = (width, height)
        self._xs, self._ys, self._hues, self._lights = np.zeros((4, height, width), np.float32)
        self._kept = [np.zeros((3, height, width), np.float32) for _ in range(2)]
        y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
        self._vignette = (1.0 - 0.38 * np.clip((x * x + y * y) * 0.5, 0.0, 1.0) ** 1.3).astype(np.float32)
        # A whisper of noise (half a step of 8 bits) hides the bands that smooth gradients would show.
        self._noise = np.random.default_rng(0).random((height + 64, width + 64), np.float32)

    def _rows(self, work: Callable[[int, int], None]) -> None:
        """Call ``work(top, bottom)`` for bands of rows, on all threads."""
        height = self._size[1]
        if self._pool is None:
            work(0, height)
            return
        bands = self._threads * 3
        edges = [height * i // bands for i in range(bands + 1)]
        list(self._pool.map(work, edges[:-1], edges[1:]))

    def _paint(self, here: PatternState, params: Mapping[str, float]) -> None:
        """Fill the field with hue and light."""
        height = self._size[1]
        pixel = 2.0 / height
        scale = 2.0 ** -params["scale"]
        families = _heaviest(here.look.families)
        s0, s1 = here.seed

        def work(top: int, bottom: int) -> None:
            xs, ys = self._xs[top:bottom], self._ys[top:bottom]
            lay_space(
                xs, ys, top, height, pixel, here.angle, scale, params["shift_x"], params["shift_y"],
                params["warp"], params["symmetry"], here.time_s,
            )  # fmt: skip
            for i, (name, weight) in enumerate(families):
                paint(
                    FAMILIES.index(name), xs, ys, self._hues[top:bottom], self._lights[top:bottom], i == 0,
                    here.time_s, here.travel, params["detail"], params["morph"], s0, s1, pixel * scale, weight,
                )  # fmt: skip

        self._rows(work)

    def _glow(self, here: PatternState, params: Mapping[str, float], dt: float) -> Float32:
        """Return light with trails, which is what stays for the next frame; ``here.light`` is left as it is.

        Two buffers take turns: a state may be rendered from again until the frame after the next.
        """
        width, height = self._size
        light = self._kept[0] if here.light is not self._kept[0] else self._kept[1]
        keep = 0.0
        if params["feedback"] > 0.01:
            tau = 1.2 * params["feedback"] ** 3
            keep = math.exp(-dt / tau) if dt > 0.0 else 0.0
            # Trails fly with the picture: outwards when it zooms in, round when it turns.
            zoom = 2.0 ** (dt * (params["zoom"] + 0.10 * params["feedback"]))
            turn = math.degrees(dt * params["rotate"] * 2.0 * math.pi)
            matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -turn, zoom)
            for plane, moved in zip(here.light, light, strict=True):
                cv2.warpAffine(plane, matrix, (width, height), dst=moved, borderMode=cv2.BORDER_REFLECT_101)
        shift = params["palette"] * SIZE

        def work(top: int, bottom: int) -> None:
            shade(
                self._hues[top:bottom], self._lights[top:bottom], here.look.ring, F(shift),
                *light[:, top:bottom], F(keep), *light[:, top:bottom],
            )  # fmt: skip

        self._rows(work)
        return light

    def _grade(self, light: Float32, params: Mapping[str, float], frame_id: int) -> Pixels:
        """Return the graded picture, RGBA."""
        width, height = self._size
        packed = np.empty((height, width), "<u4")
        bloom = [_bloom(plane, width, height) for plane in light]
        down, along = frame_id * 7 % 64, frame_id * 13 % 64
        noise = np.ascontiguousarray(self._noise[down : down + height, along : along + width])
        names = ("saturation", "contrast", "brightness", "flash")
        grading = [F(0.75 * params["bloom"]), *[F(params[name]) for name in names]]

        def work(top: int, bottom: int) -> None:
            tone(
                *light[:, top:bottom], *[plane[top:bottom] for plane in bloom], self._vignette[top:bottom],
                noise[top:bottom], *grading, packed[top:bottom],
            )  # fmt: skip

        self._rows(work)
        return packed.view(np.uint8).reshape(height, width, 4)


def _bloom(plane: Float32, width: int, height: int) -> Float32:
    """Return a plane of light blurred near and far, as wide lenses do."""
    small = cv2.resize(plane, (max(2, width // 4), max(2, height // 4)), interpolation=cv2.INTER_AREA)
    near = cv2.GaussianBlur(small, (0, 0), max(0.8, height / 200))
    tiny = cv2.resize(small, (max(2, width // 16), max(2, height // 16)), interpolation=cv2.INTER_AREA)
    far = cv2.GaussianBlur(tiny, (0, 0), max(0.8, height / 220))
    glow = near + cv2.resize(far, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _with_style(params: Mapping[str, float], look: PatternStyle) -> dict[str, float]:
    """Return the parameters with what the look adds; ``speed`` is not added here, it has already moved time."""
    result = dict(params)
    for name, value in zip(NUMBERS, look.numbers, strict=True):
        if name in ("detail", "morph", "warp", "bloom", "feedback"):
            result[name] = min(1.0, max(0.0, params[name] + float(value)))
        elif name == "symmetry":
            result[name] = params[name] if params[name] >= 1.0 else float(value)
        elif name != "speed":
            result[name] = max(0.0, params[name] + float(value))
    return result


def _heaviest(families: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the families that are drawn, weights summing to 1. Each loses the weight of the first that is not,

    so that one can take another's place without a jump.
    """
    rows = sorted(families.items(), key=lambda row: (-row[1], row[0]))
    rest = rows[KEPT_FAMILIES][1] if len(rows) > KEPT_FAMILIES else 0.0
    kept = [(name, weight - rest) for name, weight in rows[:KEPT_FAMILIES] if weight - rest > 1e-3]
    if not kept:
        return [(rows[0][0], 1.0)]
    total = sum(weight for _, weight in kept)
    return [(name, weight / total) for name, weight in kept]


def _seed_place(seed: int) -> tuple[float, float]:
    """Return the seed's two numbers, 0..1."""
    mixed = zlib.crc32(seed.to_bytes(8, "little"))
    return (mixed & 0xFFFF) / 65536.0, (mixed >> 16) / 65536.0


@numba.njit(fastmath=True, forceinline=True, nogil=True, error_model="numpy")
def _over(new: Any, stay: Any) -> Any:
    """Lay new light over a trail: the brighter wins, the other adds a little."""
    return max(new, stay) + F(0.1) * min(new, stay)


@numba.njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
def shade(
    hues: Any, lights: Any, ring: Any, shift: Any, old_r: Any, old_g: Any, old_b: Any, keep: Any,
    light_r: Any, light_g: Any, light_b: Any,
) -> None:  # fmt: skip
    """Colour the field with the palette ring and lay it over what stays of the old light, plane by plane."""
    for row in range(hues.shape[0]):
        for column in range(hues.shape[1]):
            i = int(np.floor(hues[row, column] * SIZE + shift)) & (SIZE - 1)
            a = lights[row, column]
            light_r[row, column] = _over(ring[i, 0] * a, old_r[row, column] * keep)
            light_g[row, column] = _over(ring[i, 1] * a, old_g[row, column] * keep)
            light_b[row, column] = _over(ring[i, 2] * a, old_b[row, column] * keep)


@numba.njit(fastmath=True, forceinline=True, nogil=True, error_model="numpy")
def _step8(x: Any, grey: Any, saturation: Any, hard: Any, flash: Any, dither: Any) -> Any:
    """Grade one channel of linear light and return its 8-bit sRGB step, as uint32."""
    x = max(F(0.0), grey + (x - grey) * saturation)
    x = max(F(0.0), PIVOT + (x - PIVOT) * hard) + flash
    x = min(F(1.0), x * (F(2.51) * x + F(0.03)) / (x * (F(2.43) * x + F(0.59)) + F(0.14)))
    s1 = np.sqrt(x)
    s2 = np.sqrt(s1)
    s3 = np.sqrt(s2)
    y = F(0.662002687) * s1 + F(0.684122060) * s2 - F(0.323583601) * s3 - F(0.0225411470) * x
    return np.uint32(np.int32(min(F(255.0), max(F(0.0), F(255.0) * y + dither))))


@numba.njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
def tone(
    light_r: Any, light_g: Any, light_b: Any, bloom_r: Any, bloom_g: Any, bloom_b: Any, vignette: Any, noise: Any,
    amount: Any, saturation: Any, contrast: Any, brightness: Any, flash: Any, pixels: Any,
) -> None:  # fmt: skip
    """Add bloom, grade, roll off the highlights and write 8-bit sRGB with dither into ``pixels``, uint32 ABGR.

    All arithmetic is float32, to keep the vectors wide. The shoulder is K. Narkowicz's fit of the ACES curve (2015);
    the sRGB curve is I. Taylor's fit with three square roots (error below a step of 8 bits).
    """
    gain, hard = F(EXPOSURE) * brightness, F(0.5) + F(0.5) * contrast
    for row in range(light_r.shape[0]):
        for column in range(light_r.shape[1]):
            v = vignette[row, column] * gain
            r = (light_r[row, column] + amount * bloom_r[row, column]) * v
            g = (light_g[row, column] + amount * bloom_g[row, column]) * v
            b = (light_b[row, column] + amount * bloom_b[row, column]) * v
            grey = F(0.2126) * r + F(0.7152) * g + F(0.0722) * b
            n = noise[row, column]
            red = _step8(r, grey, saturation, hard, flash, n)
            green = _step8(g, grey, saturation, hard, flash, n)
            blue = _step8(b, grey, saturation, hard, flash, n)
            pixels[row, column] = red | (green << np.uint32(8)) | (blue << np.uint32(16)) | OPAQUE
