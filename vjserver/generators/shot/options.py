"""How the generator of shots uses the machine. Read without torch, so that a show file can be checked anywhere."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ShotOptions(BaseModel):
    """Options of ``[generators.shot]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="a name in the model store, or a folder in the diffusers layout")
    motion: str = Field("", description="a motion adapter of AnimateDiff; the model is a Stable Diffusion 1.5 then")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    size: str = Field("auto", description="WIDTHxHEIGHT of a clip; auto is what the model is used to")
    offload: Literal["none", "parts"] = Field("none", description="parts: only what computes lies on the card")
