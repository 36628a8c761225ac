"""Kinds of diffusers' pipelines: how each is asked."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Ask:
    """What a picture or clip is to be. ``steps`` 0 and ``guidance`` below 0 are the model's own."""

    text: str
    negative: str
    seed: int
    width: int
    height: int
    steps: int = 0
    guidance: float = -1.0
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Habit:
    """What a kind of pipeline is used to: steps, guidance, sides that divide by ``multiple``, pixels of ``area``.

    ``only`` is the one size that it knows.
    """

    steps: int = 0
    guidance: float = -1.0
    multiple: int = 16
    area: int = 1024 * 1024
    only: tuple[int, int] | None = None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to ask for, where a picture of ``width`` x ``height`` is wanted."""
        if self.only is not None:
            return self.only
        scale = math.sqrt(self.area / (width * height))
        return self.rounded(width * scale, height * scale)

    def rounded(self, width: float, height: float) -> tuple[int, int]:
        """Return the nearest size that can be asked for."""
        if self.only is not None:
            return self.only
        wide, high = (max(1, round(side / self.multiple)) * self.multiple for side in (width, height))
        return wide, high


SD = Habit(multiple=8, area=512 * 512)
PICTURES = {
    "CogView3PlusPipeline": Habit(50, 7.0),
    "CogView4Pipeline": Habit(50, 3.5, 32),
    "SanaSprintPipeline": Habit(2, 4.5, 32),
    "SanaPipeline": Habit(20, 4.5, 32),
    "Flux2KleinPipeline": Habit(4, 1.0),
    "ZImagePipeline": Habit(50, 4.0),
    "StableDiffusion3Pipeline": Habit(28, 7.0),
    "StableDiffusionPipeline": SD,
    "LatentConsistencyModelPipeline": SD,
    "StableDiffusionXLPipeline": Habit(multiple=8),
}
FAST = {
    "ZImagePipeline": (9, 0.0), "StableDiffusion3Pipeline": (4, 0.0), "StableDiffusionPipeline": (1, 0.0),
    "StableDiffusionXLPipeline": (1, 0.0), "FluxPipeline": (4, 0.0),
}  # fmt: skip
"""Steps and guidance of those whose name says that they were made fast."""
FAST_NAMES = ("turbo", "schnell", "lightning")
TAKES_NONE = ("intermediate_timesteps",)  # of SANA-Sprint, which has one for two steps alone


@dataclass(frozen=True, slots=True)
class ClipKind:
    """How a pipeline makes clips: its family, habit, and whether it can, or must, begin with a picture."""

    family: str
    habit: Habit
    begins: Literal["text", "picture", "either"] = "text"
    ends: bool = False


_LTX, _WAN = Habit(50, 3.0, 32, 704 * 480), Habit(50, 5.0, 16, 832 * 480)
_COG = Habit(50, 6.0, 16, 720 * 480, (720, 480))
CLIPS = {
    "LTXPipeline": ClipKind("LTX", _LTX, "either", ends=True),
    "LTXImageToVideoPipeline": ClipKind("LTX", _LTX, "either", ends=True),
    "LTXConditionPipeline": ClipKind("LTX", _LTX, "either", ends=True),
    "WanPipeline": ClipKind("Wan", _WAN),
    "WanImageToVideoPipeline": ClipKind("Wan", _WAN, "picture", ends=True),
    "CogVideoXPipeline": ClipKind("CogVideoX", _COG),
    "CogVideoXImageToVideoPipeline": ClipKind("CogVideoX", _COG, "picture"),
    "AnimateDiffPipeline": ClipKind("AnimateDiff", Habit(25, 7.5, 8, 512 * 512)),
}
