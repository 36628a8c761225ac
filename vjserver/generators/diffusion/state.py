"""What one frame of a diffusion model hands to the next, and the same as bytes: a checkpoint."""

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from vjserver.generators.camera import ViewTransform
from vjserver.latent.noise import Array, NoiseWalk
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Frame, FrameInfo, Prompts

if TYPE_CHECKING:
    from vjserver.generators.diffusion.engine import Engine

VERSION = 1
"""Of a checkpoint; another one is refused."""


@dataclass(frozen=True, slots=True)
class DiffusionState:
    """What one frame hands to the next, beside the latent and the picture that stay on the device.

    ``serial`` says which frame of the generator that was: a state of an older one begins anew.
    """

    serial: int
    noise: NoiseWalk
    size: tuple[int, int]
    place: ViewTransform
    prompts: tuple[Prompts, ...]
    last: Frame
    thumb: Array | None = None
    skipped: int = 0
    jumps: tuple[tuple[float, float], ...] = ()


Packed = tuple[tuple[int, ...], bytes]
"""An array of float32: its shape and its numbers."""


class _Checkpoint(msgspec.Struct):
    """What a frame hands to the next, and what the device keeps with it."""

    version: int
    model: str
    shape: tuple[int, ...]
    kept: list[Packed]
    seed: int
    a: Packed
    b: Packed
    angle: float
    share: float
    points: int
    travelled_s: float | None
    size: tuple[int, int]
    place: ViewTransform
    prompts: tuple[Prompts, ...]
    width: int
    height: int
    pixels: bytes


def written(state: DiffusionState, engine: "Engine") -> bytes:
    """Return the state of the engine's last frame, and what the device keeps with it, as bytes."""
    shape, kept = engine.remembered()
    walk, pixels = state.noise, state.last.pixels
    row = _Checkpoint(
        VERSION, str(engine.parts.folder.name), astuple(shape), [_packed(values) for values in kept], walk.seed,
        _packed(walk.a), _packed(walk.b), walk.angle, walk.share, walk.points, walk.travelled_s, state.size,
        state.place, state.prompts, pixels.shape[1], pixels.shape[0], np.ascontiguousarray(pixels).tobytes(),
    )  # fmt: skip
    return msgspec.msgpack.encode(row)


def read(data: bytes, engine: "Engine", serial: int) -> DiffusionState:
    """Return the state of such bytes as that of frame ``serial``; the device has what it kept.

    Raises GeneratorError for another version or model.
    """
    from vjserver.generators.diffusion.canvas import Shape

    try:
        row = msgspec.msgpack.decode(data, type=_Checkpoint)
    except msgspec.MsgspecError as error:
        raise GeneratorError(f"this is no checkpoint of the diffusion generator: {error}") from None
    if (row.version, row.model) != (VERSION, engine.parts.folder.name):
        raise GeneratorError(
            f"a checkpoint of version {VERSION} with model {engine.parts.folder.name!r} is needed: "
            f"got version {row.version} with {row.model!r}"
        )
    try:
        engine.forget()
        engine.remember(Shape(*row.shape), [_unpacked(values) for values in row.kept])
        a = _unpacked(row.a)
        b = a if row.b == row.a else _unpacked(row.b)
        pixels = np.frombuffer(row.pixels, np.uint8).reshape(row.height, row.width, 4).copy()
    except (ValueError, TypeError) as error:
        raise GeneratorError(f"this checkpoint does not fit: {error}") from None
    walk = NoiseWalk(row.seed, a, b, row.angle, row.share, row.points, row.travelled_s)
    last = Frame(pixels, FrameInfo(row.width, row.height))
    return DiffusionState(serial, walk, row.size, row.place, row.prompts, last)


def _packed(values: Array) -> Packed:
    return values.shape, np.ascontiguousarray(values, np.float32).tobytes()


def _unpacked(packed: Packed) -> Array:
    return np.frombuffer(packed[1], np.float32).reshape(packed[0]).copy()
