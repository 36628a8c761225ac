"""How the painter uses the machine. Read without torch, so that a show file can be checked anywhere."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PaintOptions(BaseModel):
    """Options of ``[generators.paint]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="a VQGAN: a name in the model store, or a folder")
    clip: str = Field("", description="a CLIP, likewise; empty: the one that the store has")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    size: str = Field("auto", description="WIDTHxHEIGHT that is painted; auto is about 400 pixels a side")
