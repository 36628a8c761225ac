"""How the generator of key frames uses the machine. Read without torch, so that a show file can be checked anywhere."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class StillOptions(BaseModel):
    """Options of ``[generators.still]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="a name in the model store, or a folder in the diffusers layout")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    size: str = Field("auto", description="WIDTHxHEIGHT of a key frame; auto is what the model is used to")
    offload: Literal["none", "parts"] = Field("none", description="parts: only what computes lies on the card")
