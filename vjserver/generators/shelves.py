"""What there is to be had: models that can be pulled, families, and how they are licensed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A model that ``pull`` finds by name: its repository on huggingface.co, licence, rough size, and what it is."""

    repository: str
    licence: str
    gigabytes: float
    what: str
    variant: str = ""


KNOWN = {
    "sd-turbo": Known("stabilityai/sd-turbo", "Stability AI Community License", 2.6, "1 step, 512 px", "fp16"),
    "lcm-dreamshaper-v7": Known("SimianLuo/LCM_Dreamshaper_v7", "MIT", 4.0, "2 to 4 steps, guidance, 512 to 768 px"),
    "sdxl-turbo": Known("stabilityai/sdxl-turbo", "Stability AI Community License", 6.9, "1 step, 512 px, big", "fp16"),
    "sdxs-512": Known("IDKiro/sdxs-512-0.9", "CreativeML OpenRAIL++-M", 1.4, "1 step, 512 px, smallest"),
    "taesd": Known("madebyollin/taesd", "MIT", 0.01, "fast decoder of SD1.5 and SD2.1"),
    "taesdxl": Known("madebyollin/taesdxl", "MIT", 0.01, "fast decoder of SDXL"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models: who plays it, what it makes, under which terms, how much of a card it takes, where it is."""

    plays: str
    what: str
    licence: str
    commercial: str
    gigabytes: float
    where: str


_ASK, _YES = "its card says; ask its maker before you are paid", "yes, as Apache-2.0 and MIT allow"
FAMILIES = {
    "StyleGAN2": Family(
        "gan",
        "one kind of thing (faces, churches, paintings), 256 to 1024 px, no text", "NVIDIA Source Code License-NC",
        "the official models: no; one that you train: yours, with this program's own code", 1.0,
        "catalog.ngc.nvidia.com (stylegan2 and stylegan2-ada models), justinpinkney/awesome-pretrained-stylegan2",
    ),
    "StyleGAN3": Family(
        "gan",
        "as StyleGAN2, moves and turns without stuck textures, 256 to 1024 px", "NVIDIA Source Code License-NC",
        "the official models: no; one that you train: yours, with this program's own code", 1.5,
        "catalog.ngc.nvidia.com (stylegan3 models), justinpinkney/awesome-pretrained-stylegan3",
    ),
    "BigGAN-deep": Family(
        "gan",
        "the 1000 classes of ImageNet by name, 128 to 512 px", "MIT (huggingface's weights are of DeepMind's)",
        "the licence allows it; the pictures that it learnt from are others'", 1.0,
        "huggingface/pytorch-pretrained-BigGAN (biggan-deep-128, -256, -512)",
    ),
    "VQGAN": Family(
        "paint", "what paints: a picture out of a grid of learnt patches", "MIT (CompVis taming-transformers)", _YES,
        6.0, "CompVis/taming-transformers (vqgan_imagenet_f16_16384: last.ckpt), through models convert",
    ),
    "CLIP": Family(
        "paint", "what looks: how well a picture fits a prompt", "MIT (OpenAI)", _YES, 1.0,
        "huggingface.co/openai/clip-vit-base-patch32, with safetensors",
    ),
    "CogView3Plus": Family(
        "still", "key frames, 1024 px, 50 steps", "Apache-2.0", _YES, 16.0, "huggingface.co/zai-org/CogView3-Plus-3B",
    ),
    "CogView4": Family(
        "still", "key frames, 1024 px, 50 steps", "Apache-2.0", _YES, 30.0, "huggingface.co/zai-org/CogView4-6B",
    ),
    "SanaSprint": Family(
        "still", "key frames, 1024 px, 2 steps", "NVIDIA's own, see its card", _ASK, 8.0,
        "huggingface.co/Efficient-Large-Model (Sana_Sprint_..._diffusers)",
    ),
    "Flux2Klein": Family(
        "still", "key frames, 1024 px, 4 steps", "4B: Apache-2.0; 9B: FLUX Non-Commercial", "4B: yes; 9B: no", 13.0,
        "huggingface.co/black-forest-labs/FLUX.2-klein-4B",
    ),
    "ZImage": Family(
        "still", "key frames, 1024 px, Turbo 9 steps", "Apache-2.0", _YES, 16.0,
        "huggingface.co/Tongyi-MAI/Z-Image-Turbo",
    ),
    "StableDiffusion3": Family(
        "still", "key frames, 1024 px, 28 steps", "Stability AI Community License",
        "free up to a yearly revenue of a million dollars", 16.0,
        "huggingface.co/stabilityai/stable-diffusion-3.5-medium",
    ),
    "AnimateDiff": Family(
        "shot", "clips of 16 to 32 frames, of a Stable Diffusion 1.5", "Apache-2.0; Lightning: OpenRAIL-M", _YES, 6.0,
        "huggingface.co/guoyww/animatediff-motion-adapter-v1-5-3, ByteDance/AnimateDiff-Lightning",
    ),
    "LTX": Family(
        "shot", "clips up to 257 frames at 24 a second, of text or pictures", "Lightricks' own, see its card", _ASK,
        12.0, "huggingface.co/Lightricks/LTX-Video",
    ),
    "Wan": Family(
        "shot", "clips up to 81 frames at 16 a second, of text or pictures", "Apache-2.0", _YES, 10.0,
        "huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    ),
    "CogVideoX": Family(
        "shot", "clips up to 49 frames at 8 a second (1.5: 161 at 16)", "2B: Apache-2.0; 5B: CogVideoX License",
        "2B: yes; 5B: " + _ASK, 12.0, "huggingface.co/zai-org/CogVideoX-2b",
    ),
}  # fmt: skip
"""Families of models by the name that their folders tell. Gigabytes are of a card's memory, as their makers or others
say; nobody here has measured them, but for the GANs."""
GANS = {name: family for name, family in FAMILIES.items() if family.plays == "gan"}
