"""The GAN generator's door: a frame request goes in, latents and numbers for the engine are made of it.

torch is imported when a model is opened, not before: a show file can be checked without it.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from vjserver.generators.camera import CENTRE, Camera, matrix
from vjserver.generators.gan.classes import find_class
from vjserver.generators.gan.info import INFO, TONES
from vjserver.generators.gan.options import GanOptions
from vjserver.generators.store import find_gan, mark_run, marked, models
from vjserver.latent.noise import MASK, Array, NoiseWalk, begin, step
from vjserver.latent.walks import directions, pulled, walked, weighed
from vjserver.types.errors import GeneratorError, OutOfMemoryError, WorkerFault
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Notice

if TYPE_CHECKING:
    from vjserver.generators.gan.engine import Engine, Inputs, Shape
    from vjserver.generators.gan.model import Gan

VERSION = 1
"""Of a checkpoint; another one is refused."""
BAD_FRAME_LIMIT = 30  # broken frames in a row that are borne
LOW_SEED, HIGH_SEED, MIX_SEED = 0x10, 0x41, 0x515


@dataclass(frozen=True, slots=True)
class GanState:
    """What one frame hands to the next: where the latent walks, and where the camera is."""

    noise: NoiseWalk
    camera: Camera = CENTRE


class _Kept(msgspec.Struct):
    """A checkpoint."""

    version: int
    model: str
    seed: int
    a: bytes
    b: bytes
    walk: tuple[float, float, int, float | None]
    camera: tuple[float, float, float]


class GanGenerator:
    """StyleGAN2, StyleGAN3 and BigGAN-deep as a live instrument."""

    INFO = INFO
    Options = GanOptions

    def __init__(self, options: GanOptions) -> None:
        self._options = options
        self._engine: Engine | None = None
        self._gan: Gan | None = None
        self._notices: list[Notice] = []
        self._told: set[str] = set()
        self._drawn: dict[int, Array] = {}
        self._found: dict[str, int | None] = {}
        self._broken = 0
        self._last: Frame | None = None

    # -- coming and going ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Load the model. Raises GeneratorError: torch missing, model missing or of another kind, no room."""
        if not self._options.model:
            raise GeneratorError(
                'a GAN needs a model: [generators.gan] model = "NAME"; take one in with vjserver models convert'
            )
        folder = find_gan(self._options.model)
        try:
            import torch

            from vjserver.generators.gan.engine import Engine
            from vjserver.generators.gan.model import load
        except ImportError as error:
            raise GeneratorError(f"GANs need torch: pip install 'vjserver[diffusion]' ({error})") from None
        try:
            self._gan = load(folder, self._options)
        except torch.OutOfMemoryError as error:
            why = str(error).splitlines()[0]
            raise OutOfMemoryError(f"GPU memory does not hold model {self._options.model!r}: {why}") from error
        self._engine = Engine(self._gan)

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:  # noqa: ARG002
        """Make and capture what the show will ask for. Raises GeneratorError."""
        engine, _ = self._opened()
        engine.ready(self._shape(width, height))

    def close(self) -> None:
        """Let go of the device's memory."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._gan = self._last = None

    @staticmethod
    def licence_of(model: str) -> str:
        """Return the licence of a model, as it was told when it was taken in."""
        return next((one.licence for one in models() if one.name == model), "")

    @staticmethod
    def mark_of(model: str) -> str:
        """Return what changes when a model's files do."""
        return marked(model)

    # -- a frame -------------------------------------------------------------------------------------------

    def render(self, request: FrameRequest, state: GanState | None) -> tuple[Frame, GanState]:
        """Return the frame for ``request`` and the state for the next.

        Raises GeneratorError where nothing can be rendered, WorkerFault where only a new process can.
        """
        from vjserver.generators.captured import GpuFaultError

        engine, gan = self._opened()
        here, shape = self.advance(request, state), self._shape(request.width, request.height)
        width, height = gan.network.size(shape.grid)
        try:
            result = engine.render(shape, self._inputs(request, here, width / height))
        except GpuFaultError as error:
            raise WorkerFault(str(error)) from error
        frame = Frame(result.pixels, FrameInfo(request.width, request.height))
        if result.finite:
            if self._last is None:
                mark_run(gan.folder)
            self._broken, self._last = 0, frame
        else:
            frame = self._held(frame, request)
        device: Any = engine.picture() if request.where == "device" and result.finite else None
        notices, self._notices = tuple(self._notices), []
        figures = {"width": width, "height": height, **engine.figures()}
        return replace(frame, device=device, notices=notices, figures=figures), here

    def _held(self, frame: Frame, request: FrameRequest) -> Frame:
        """Return the last good frame in place of a broken one. Raises GeneratorError where there are too many."""
        self._broken += 1
        if self._broken >= BAD_FRAME_LIMIT or request.mode == "film":
            raise GeneratorError(f'{self._opened()[1].folder.name} gives numbers that are none; try dtype = "float32"')
        self._tell_once("broken frames", "numbers that are none; the last good frame stays")
        if self._last is None:
            return frame
        if self._broken == 1:  # its pixels are the engine's, which writes over them two frames on
            self._last = replace(self._last, pixels=self._last.pixels.copy())
        return self._last

    def advance(self, request: FrameRequest, state: GanState | None) -> GanState:
        """Return the state after ``request``: nothing hangs on pictures."""
        if state is None:
            return GanState(begin(request.seed, self._draw))
        noise = step(state.noise, request.seed, 0.0, request.seconds, request.travel_s, request.ease, self._draw)
        return GanState(noise, state.camera.moved(request))

    def checkpoint(self, state: GanState) -> bytes:
        """Return a state as bytes."""
        _, gan = self._opened()
        walk = state.noise
        row = _Kept(
            VERSION, gan.folder.name, walk.seed, walk.a.tobytes(), walk.b.tobytes(),
            (walk.angle, walk.share, walk.points, walk.travelled_s), astuple(state.camera),
        )  # fmt: skip
        return msgspec.msgpack.encode(row)

    def resume(self, data: bytes) -> GanState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        _, gan = self._opened()
        try:
            row = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint of the GAN generator: {error}") from None
        a, b = (
            np.frombuffer(one, np.float32) if len(one) % 4 == 0 else np.zeros(0, np.float32) for one in (row.a, row.b)
        )
        if (row.version, row.model) != (VERSION, gan.folder.name) or len(a) != gan.network.z_dim or len(b) != len(a):
            raise GeneratorError(
                f"a checkpoint of version {VERSION} with model {gan.folder.name!r} is needed: "
                f"got version {row.version} with {row.model!r}"
            )
        angle, share, points, travelled_s = row.walk
        return GanState(
            NoiseWalk(row.seed, a, a if row.a == row.b else b, angle, share, points, travelled_s), Camera(*row.camera)
        )

    # -- what a frame is made of ---------------------------------------------------------------------------

    def _inputs(self, request: FrameRequest, here: GanState, aspect: float) -> "Inputs":
        """Return what the engine is told; ``aspect`` is that of the network's picture."""
        from vjserver.generators.gan.engine import Inputs

        _, gan = self._opened()
        own, p, styles = request.own, request.params, gan.network.styles
        first, behind = round(own["mix_from"]), round(own["mix_to"])
        other = self._draw((round(own["mix_seed"]) + MIX_SEED) & MASK)
        bend_x, bend_y, flip = own["bend_x"], own["bend_y"], 1.0 - 2.0 * own["bend_flip"]
        return Inputs(
            z=np.stack([self._latent(request, here), other]),
            psi=[own["truncation"] if i < round(own["cutoff"]) else 1.0 for i in range(styles)],
            mix=[own["mix"] if first <= i < behind else 0.0 for i in range(styles)],
            label=self._label(request),
            noise=own["noise"],
            truncation=min(1.0, max(0.02, own["truncation"])),
            camera=here.camera.matrix(request, aspect),
            bend=matrix(own["bend_zoom"], own["bend_turn"], bend_x, bend_y, 1.0, flip),
            bend_layer=round(own["bend_layer"]),
            grade=[p[name] for name in ("saturation", "contrast", "brightness", "flash", "palette")],
        )

    def _latent(self, request: FrameRequest, here: GanState) -> Array:
        """Return the latent of this frame: walked, leaning to the tones that sound, pulled by hits."""
        own = request.own
        z = walked(own, request.seed, request.beat_count + request.beat_phase, self._draw)
        if z is None:
            z = here.noise.value()
        tones = [own[f"tone_{name}"] for name in TONES]
        if any(tones):
            z = weighed(z, directions(self._draw, len(TONES)), tones)
        for name, seed in (("pull_low", LOW_SEED), ("pull_high", HIGH_SEED)):
            if own[name] > 0.0:
                z = pulled(z, self._draw((request.seed ^ seed) & MASK), own[name])
        return z

    def _draw(self, seed: int) -> Array:
        """Return the latent of a seed, float32 ``(z,)``; the last ones are remembered."""
        if seed not in self._drawn:
            if len(self._drawn) > 256:
                self._drawn.clear()
            count = self._opened()[1].network.z_dim
            self._drawn[seed] = np.random.RandomState(seed & 0xFFFFFFFF).randn(count).astype(np.float32)
        return self._drawn[seed]

    def _label(self, request: FrameRequest) -> list[float]:
        """Return how much each class counts: those that the prompts name, else those of the knobs."""
        _, gan = self._opened()
        count = gan.network.classes
        if not count:
            if any(text for text, _ in request.text.prompts):
                self._tell_once("prompt", f"{gan.folder.name} reads no text: its seed and knobs say what it draws")
            return []
        weights = [0.0] * count
        for text, weight in request.text.prompts:
            place = self._class_of(text)
            if place is not None and place < count:
                weights[place] += weight
        total = sum(weights)
        if total <= 0.0:
            own = request.own
            blend = min(1.0, max(0.0, own["class_blend"]))
            weights[min(count - 1, round(own["class_a"]))] += 1.0 - blend
            weights[min(count - 1, round(own["class_b"]))] += blend
            return weights
        return [weight / total for weight in weights]

    def _class_of(self, text: str) -> int | None:
        if text not in self._found:
            if len(self._found) > 4096:
                self._found.clear()
            found = find_class(text, self._opened()[1].labels)
            self._found[text] = found
            if found is None and text.strip():
                self._tell_once(
                    f"prompt {text[:40]!r}", "no class of the model is called so; see vjserver models classes"
                )
        return self._found[text]

    # -- small things --------------------------------------------------------------------------------------

    def _opened(self) -> "tuple[Engine, Gan]":
        if self._engine is None or self._gan is None:
            raise GeneratorError("the GAN generator is not open")
        return self._engine, self._gan

    def _shape(self, width: int, height: int) -> "Shape":
        from vjserver.generators.gan.engine import Shape
        from vjserver.generators.gan.layers import Grid

        grid = Grid() if self._options.shape == "square" else Grid.of(width, height)
        return Shape(grid, width, height)

    def _tell_once(self, what: str, why: str) -> None:
        if what not in self._told and len(self._told) < 256:
            self._told.add(what)
            self._notices.append(Notice(what, why))
