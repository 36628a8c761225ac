"""How the GAN generator uses the machine. Read without torch, so that a show file can be checked anywhere."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GanOptions(BaseModel):
    """Options of ``[generators.gan]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field("", description="a name in the model store, or a folder that models convert wrote")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = Field("auto", description="of convolutions")
    shape: Literal["auto", "square"] = Field("auto", description="auto draws wider than square where the picture is")
