"""Foreign pipelines: a folder in the layout of diffusers goes in, pictures and clips of prompts come out.

What computes is diffusers' own. Here is what each kind wants to be asked (size, steps, guidance, how many frames), so
that one door serves all of them. torch and diffusers are imported by :func:`open_pictures` and :func:`open_clips`.
"""

import inspect
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjserver.generators.frames import RULES
from vjserver.generators.layout import UNUSED, check_pipeline, read_json, variant_of
from vjserver.generators.pipeline_kinds import CLIPS, FAST, FAST_NAMES, PICTURES, TAKES_NONE, Ask, ClipKind, Habit
from vjserver.generators.store import find_motion, find_pipeline
from vjserver.types.errors import GeneratorError, OutOfMemoryError, VJError
from vjserver.types.frames import FrameRequest

Rgb = NDArray[np.uint8]
Breathe = Callable[[], None]
"""Called after each step of a model; it raises where what is being made is no longer wanted."""
Offload = Literal["none", "parts"]
LEAST_SHARE = 0.25  # of the heaviest prompt's weight: what is lighter is left out


class _Pipeline:
    """A pipeline of diffusers on a device, and how it is called."""

    def __init__(self, made: Any, folder: Path, device: Any, offload: Offload) -> None:
        self.folder, self._made, self._device = folder, made, device
        self._parts, self._warm = offload == "parts" and device.type == "cuda", False
        made.set_progress_bar_config(disable=True)
        with self._turn():
            if self._parts:
                made.enable_model_cpu_offload(device=device)
            else:
                made.to(device)

    def _turn(self) -> AbstractContextManager[None]:
        """Let no other model's frame be captured while what is done here may have the whole device wait."""
        from vjserver.generators.captured import TURNS

        return TURNS.whole() if self._device.type == "cuda" and (self._parts or not self._warm) else nullcontext()

    def _call(self, made: Any, breathe: Breathe, **given: Any) -> Any:
        """Call a pipeline with what it takes of ``given``. Raises GeneratorError, OutOfMemoryError."""
        import torch

        from vjserver.generators.captured import is_out_of_memory

        if made is None or self._made is None:
            raise GeneratorError(f"{self.folder.name} is closed")
        takes = inspect.signature(made.__call__).parameters
        if "callback_on_step_end" in takes:
            given["callback_on_step_end"] = _breathing(breathe)
        given = {n: v for n, v in given.items() if n in takes and (v is not None or n in TAKES_NONE)}
        try:
            with self._turn():
                result = made(**given)
            self._warm = True
            return result
        except VJError:
            raise
        except Exception as error:  # a foreign pipeline may raise anything about a prompt, a size, its own parts
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise OutOfMemoryError(f"GPU memory ran out: {str(error).splitlines()[0]}") from None
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise GeneratorError(f"{self.folder.name} ({type(made).__name__}) fell: {first}") from error
        finally:
            if self._parts and self._made is not None:
                self._made.maybe_free_model_hooks()  # one that was broken off left a part on the card
            if self._device.type == "cuda":
                torch.cuda.current_stream().synchronize()

    def _asked(self, ask: Ask, steps: int, guidance: float) -> dict[str, Any]:
        import torch

        return {
            "prompt": ask.text, "negative_prompt": ask.negative or None, "width": ask.width, "height": ask.height,
            "num_inference_steps": ask.steps or steps or None,
            "guidance_scale": ask.guidance if ask.guidance >= 0.0 else guidance if guidance >= 0.0 else None,
            "generator": torch.Generator("cpu").manual_seed(ask.seed), "output_type": "np",
            **({"intermediate_timesteps": None} if (ask.steps or steps) != 2 else {}),
        }  # fmt: skip

    def close(self) -> None:
        """Let go of the device's memory."""
        self._made = None


class PicturePipeline(_Pipeline):
    """A text-to-image pipeline."""

    def __init__(self, made: Any, folder: Path, device: Any, offload: Offload) -> None:
        super().__init__(made, folder, device, offload)
        name = type(made).__name__
        habit = PICTURES.get(name, Habit())
        takes = inspect.signature(made.__call__).parameters
        is_fast = any(sign in folder.name.lower() for sign in FAST_NAMES)
        steps, guidance = FAST.get(name, (habit.steps, habit.guidance)) if is_fast else (habit.steps, habit.guidance)
        if is_fast and name == "StableDiffusionXLPipeline":
            habit = Habit(multiple=8, area=512 * 512)  # SDXL-Turbo
        if name == "Flux2KleinPipeline" and not getattr(made.config, "is_distilled", True):
            steps, guidance = 50, 4.0  # the base model
        usual = takes["num_inference_steps"].default if "num_inference_steps" in takes else 50
        self.habit, self._steps, self._guidance = habit, steps or usual, guidance
        self._again: Any = None
        other = getattr(_diffusers(), name.replace("Pipeline", "Img2ImgPipeline"), None)
        if other is not None:
            takes = inspect.signature(other.__init__).parameters
            more = {"requires_safety_checker": False} if "requires_safety_checker" in takes else {}
            self._again = other(**{n: part for n, part in made.components.items() if n in takes}, **more)
            self._again.set_progress_bar_config(disable=True)

    @property
    def varies(self) -> bool:
        """Whether it can draw a picture over, in part."""
        return self._again is not None

    def close(self) -> None:
        """Let go of the device's memory."""
        super().close()
        self._again = None

    def picture(self, ask: Ask, breathe: Breathe = lambda: None) -> Rgb:
        """Return a picture, uint8 ``(height, width, 3)``. Raises GeneratorError, OutOfMemoryError."""
        made = self._call(self._made, breathe, **self._asked(ask, self._steps, self._guidance))
        return _rgb(made.images[0])

    def over(self, ask: Ask, start: Rgb, strength: float, breathe: Breathe = lambda: None) -> Rgb:
        """Return a picture drawn over another one, in part (``strength``, 0..1). Raises as :meth:`picture` does."""
        from PIL import Image

        asked = self._asked(ask, self._steps, self._guidance)
        steps = asked["num_inference_steps"]
        strength = min(1.0, max(strength, 1.0 / steps + 1e-6))  # one step at least
        asked |= {"image": Image.fromarray(start), "strength": strength}
        return _rgb(self._call(self._again, breathe, **asked).images[0])


class ClipPipeline(_Pipeline):
    """A pipeline that makes clips of a text, of a picture, or of both."""

    def __init__(self, made: Any, folder: Path, device: Any, offload: Offload, kind: ClipKind, fast: bool) -> None:
        super().__init__(made, folder, device, offload)
        self.kind, self.rule, self.habit = kind, RULES[kind.family], kind.habit
        self._steps, self._guidance = (4, 1.0) if fast else (kind.habit.steps, kind.habit.guidance)
        self.ends, self._needs_end = kind.ends, False
        if kind.family == "CogVideoX":
            layout = made.transformer.config
            if layout.patch_size_t is not None:
                self.rule, self.habit = RULES["CogVideoX 1.5"], Habit(50, 6.0, 16, 1360 * 768, (1360, 768))
            elif getattr(layout, "use_learned_positional_embeddings", False):
                self.rule = replace(self.rule, least=self.rule.most)  # it learnt the places of 49 frames
        if kind.family == "Wan" and kind.begins == "picture":
            # 2.1 sees its first picture through CLIP, and a last one only where it was made for two
            layout = made.transformer.config
            self._needs_end = getattr(layout, "pos_embed_seq_len", None) is not None
            sees = getattr(layout, "image_dim", None) is not None
            self.ends = self._needs_end or not (sees or getattr(made.config, "expand_timesteps", False))
        if kind.family == "AnimateDiff":
            longest = getattr(made.motion_adapter.config, "motion_max_seq_length", self.rule.most)
            self.rule = replace(self.rule, most=min(self.rule.most, longest))
        self._of_text = self._of_picture = made
        if kind.family == "LTX":
            library = _diffusers()
            parts = {n: made.components[n] for n in ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")}
            self._of_text, self._of_picture = (
                kind(**parts) for kind in (library.LTXPipeline, library.LTXConditionPipeline)
            )
            for one in (self._of_text, self._of_picture):
                one.set_progress_bar_config(disable=True)

    def clip(self, ask: Ask, first: Rgb | None = None, last: Rgb | None = None, breathe: Breathe = lambda: None) -> Rgb:
        """Return a clip, uint8 ``(frames, height, width, 3)``: as many frames as came, whatever was asked for.

        It begins with the picture ``first`` and ends with ``last``, where the pipeline can. Raises GeneratorError,
        OutOfMemoryError.
        """
        from PIL import Image

        if not self.rule.allows(ask.frames):
            raise GeneratorError(f"{self.kind.family} makes no clips of {ask.frames} frames")
        if first is None and self.kind.begins == "picture":
            raise GeneratorError(f"{self.folder.name} makes clips of a picture: it needs one to begin with")
        asked = self._asked(ask, self._steps, self._guidance) | {"num_frames": ask.frames}
        if self.kind.family == "LTX":
            asked["frame_rate"] = self.rule.fps
        if first is None or self.kind.begins == "text":
            return _rgb(self._call(self._of_text, breathe, **asked).frames[0])
        if self._needs_end and last is None:
            last = first
        ends = last is not None and self.ends
        images = [Image.fromarray(one) for one in ((first, last) if ends else (first,)) if one is not None]
        if self.kind.family == "LTX":
            from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

            rows = zip(images, (0, ask.frames - 1), strict=False)
            asked["conditions"] = [LTXVideoCondition(image=image, frame_index=place) for image, place in rows]
        else:
            asked["image"] = images[0]
            asked["last_image"] = images[1] if ends else None
        return _rgb(self._call(self._of_picture, breathe, **asked).frames[0])

    def close(self) -> None:
        """Let go of the device's memory."""
        super().close()
        self._of_text = self._of_picture = None


def open_pictures(model: str, device: str, dtype: str, offload: Offload) -> PicturePipeline:
    """Return a text-to-image pipeline by its name in the store, or its folder. Raises GeneratorError."""
    folder = find_pipeline(model, "still")
    made, where = _loaded(folder, device, dtype)
    takes = inspect.signature(made.__call__).parameters
    needs = takes.get("image")
    if "prompt" not in takes or (needs is not None and needs.default is inspect.Parameter.empty):
        raise GeneratorError(f"{model} ({type(made).__name__}) makes no pictures of a text alone")
    return PicturePipeline(made, folder, where, offload)


def open_clips(model: str, motion: str, device: str, dtype: str, offload: Offload) -> ClipPipeline:
    """Return a pipeline that makes clips, by its name in the store or its folder; Raises GeneratorError.

    ``motion`` is a motion adapter of AnimateDiff, for a model of Stable Diffusion 1.5.
    """
    folder = find_pipeline(model, "diffusion" if motion else "shot")
    if motion:
        adapter = find_motion(motion)
        made, where = _loaded(folder, device, dtype, adapter)
        fast = any(sign in adapter.name.lower() for sign in FAST_NAMES)
        if fast:
            made.scheduler = _diffusers().EulerDiscreteScheduler.from_config(
                made.scheduler.config, timestep_spacing="trailing", beta_schedule="linear"
            )
    else:
        made, where = _loaded(folder, device, dtype)
        fast = False
    return ClipPipeline(made, folder, where, offload, CLIPS[type(made).__name__], fast)


@lru_cache(64)
def begins_with_picture(model: str) -> bool:
    """Tell whether a model of the store makes clips of pictures only, and not of a text alone."""
    try:
        index = read_json(find_pipeline(model, "shot") / "model_index.json")
    except GeneratorError:
        return False
    kind = CLIPS.get(str(index.get("_class_name")))
    return kind is not None and kind.begins == "picture"


def _loaded(folder: Path, device: str, dtype: str, adapter: Path | None = None) -> tuple[Any, Any]:
    """Return the pipeline of a folder, and the device that it is for. Raises GeneratorError."""
    index = read_json(folder / "model_index.json")
    check_pipeline(folder, index, GeneratorError)
    diffusers = _diffusers()
    import torch

    from vjserver.generators.captured import DTYPES, choose_device, is_out_of_memory

    name = index["_class_name"]
    kind: Any = getattr(diffusers, name, None)
    if not (inspect.isclass(kind) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise GeneratorError(
            f"{folder.name} is a {name[:80]}, which this diffusers ({diffusers.__version__}) does not know"
        )
    where = choose_device(device)
    half = torch.float16 if name.startswith(("StableDiffusionP", "StableDiffusionX", "Latent")) else torch.bfloat16
    number = DTYPES[dtype] if dtype != "auto" else torch.float32 if where.type == "cpu" else half
    in_numbers = "torch_dtype" if diffusers.__version__.startswith("0.") else "dtype"  # its name from 1.0 on
    warnings.filterwarnings("ignore", message=".*torch_dtype.*", category=FutureWarning)
    given: dict[str, Any] = {"local_files_only": True, in_numbers: number, "use_safetensors": True}
    given |= {part: None for part in UNUSED if part in index}
    if "safety_checker" in index:
        given["requires_safety_checker"] = False
    if any(variant_of(part) for part in folder.iterdir() if (part / "config.json").is_file()):
        given["variant"] = "fp16"
    try:
        if adapter is not None:
            kind = diffusers.AnimateDiffPipeline
            given = {key: value for key, value in given.items() if "safety" not in key}
            given["motion_adapter"] = _motion(diffusers, adapter).to(number)
        return kind.from_pretrained(str(folder), **given), where
    except Exception as error:  # whatever diffusers does not like about a foreign folder
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise OutOfMemoryError(f"memory does not hold {folder.name}: {str(error).splitlines()[0]}") from None
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise GeneratorError(
            f"{folder.name} cannot be loaded as {name}: {first}; whole? vjserver models verify"
        ) from error


def _motion(diffusers: Any, adapter: Path) -> Any:
    """Return a motion adapter out of its folder, or of one file, which has the usual layout."""
    if adapter.is_dir():
        return diffusers.MotionAdapter.from_pretrained(str(adapter), local_files_only=True, use_safetensors=True)
    from safetensors.torch import load_file

    made = diffusers.MotionAdapter()
    made.load_state_dict(load_file(adapter))
    return made


def _diffusers() -> Any:
    try:
        import diffusers
        import transformers
    except ImportError as error:
        raise GeneratorError(f"this needs diffusers: pip install 'vjserver[diffusion]' ({error})") from None
    library: Any
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return diffusers


def text_of(request: FrameRequest) -> str:
    """Return one prompt for a request's weighted ones: those that weigh at least a quarter of the heaviest."""
    rows = [(text.strip(), weight) for text, weight in request.text.prompts if weight > 0.0 and text.strip()]
    most = max((weight for _, weight in rows), default=0.0)
    kept = sorted((row for row in rows if row[1] >= LEAST_SHARE * most), key=lambda row: -row[1])
    return ", ".join(dict.fromkeys(text for text, _ in kept))


def _breathing(breathe: Breathe) -> Callable[..., dict[str, Any]]:
    def after_step(_pipe: Any, _step: int, _time: Any, given: dict[str, Any]) -> dict[str, Any]:
        breathe()
        return given

    return after_step


def _rgb(pictures: Any) -> Rgb:
    """Return pictures ``(n, height, width, 3)``, 0..1, as bytes; numbers that are none are black."""
    whole = np.asarray(pictures)
    result = np.empty(whole.shape, np.uint8)
    for frame, shown in zip(whole, result, strict=True):  # one by one: a clip's numbers fill gigabytes
        shown[:] = (np.nan_to_num(frame.astype(np.float32), nan=0.0).clip(0.0, 1.0) * 255.0).round()
    return result
