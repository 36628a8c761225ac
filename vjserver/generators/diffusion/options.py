"""How the diffusion generator uses the machine. Read without torch, so that a show file can be checked anywhere."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vjserver.generators.diffusion.info import N_LORAS


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SafetyOptions(_Strict):
    """A classifier that looks at every picture before it is shown. Its threshold is /vj/param/safety."""

    model: str = Field(description="an image classifier in the transformers layout: a folder, or a name in the store")
    labels: tuple[str, ...] = Field(("nsfw", "porn", "hentai", "sexy", "unsafe"), description="labels that are unsafe")
    fallback: Literal["previous", "blank"] = "previous"


class DiffusionOptions(_Strict):
    """Options of ``[generators.diffusion]``."""

    model: str = Field("sd-turbo", description="a name in the model store, or a folder in the diffusers layout")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    size: str = Field("auto", description="WIDTHxHEIGHT at which the model thinks; auto fits it to the picture")
    decoder: Literal["auto", "taesd", "full"] = Field("auto", description="auto: TAESD where the store has it")
    sampler: Literal["auto", "euler", "ancestral", "lcm"] = "auto"
    loras: tuple[Path, ...] = Field((), max_length=N_LORAS, description="safetensors; weights at /vj/param/lora_N")
    compile: Literal["auto", "on", "off"] = Field("auto", description="torch.compile, where Triton is installed")
    target_fps: float = Field(0.0, ge=0.0, le=1000.0, description="rate that the governor holds; 0 lets it rest")
    prompts_kept: int = Field(512, ge=16, le=65536, description="encoded prompts that are remembered")
    safety: SafetyOptions | None = None
