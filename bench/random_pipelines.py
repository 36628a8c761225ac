"""Pipelines of diffusers with tiny random weights, in the layout that their makers publish: for tests."""

# mypy: disable-error-code="no-untyped-call"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = [
    "a",
    "the",
    "of",
    "and",
    "in",
    "sea",
    "glass",
    "deep",
    "ocean",
    "silk",
    "night",
    "fire",
    "forest",
    "city",
    "moon",
]


def tokenizer(length: int = 32, left: bool = False) -> Any:
    """Return a tokenizer of a few words, which closes each text with ``</s>``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {word: i + 3 for i, word in enumerate(WORDS)}
    made: Any = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=length,
        padding_side="left" if left else "right",
    )  # fmt: skip
    return fast


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=32, d_ff=37, d_kv=8, num_layers=1, num_heads=4, is_encoder_decoder=False)
    )


def _umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(vocab_size=64, d_model=32, d_ff=37, d_kv=8, num_layers=1, num_heads=4))


def _clip() -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=64, hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=4,
            max_position_embeddings=32, projection_dim=32, eos_token_id=1, bos_token_id=0, pad_token_id=0,
        )
    )  # fmt: skip


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=2, sample_size=64,
    )  # fmt: skip


def cogview3() -> Any:
    """Return a CogView3Plus."""
    from diffusers import CogVideoXDDIMScheduler, CogView3PlusPipeline, CogView3PlusTransformer2DModel

    return CogView3PlusPipeline(
        tokenizer=tokenizer(), text_encoder=_t5(), vae=_vae(), scheduler=CogVideoXDDIMScheduler(),
        transformer=CogView3PlusTransformer2DModel(
            patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2, out_channels=4,
            text_embed_dim=32, time_embed_dim=8, condition_dim=2, pos_embed_max_size=32, sample_size=8,
        ),
    )  # fmt: skip


def cogview4() -> Any:
    """Return a CogView4."""
    from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler
    from transformers import GlmConfig, GlmModel

    return CogView4Pipeline(
        tokenizer=tokenizer(left=True), vae=_vae(),
        text_encoder=GlmModel(
            GlmConfig(hidden_size=32, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4,
                      num_key_value_heads=2, head_dim=8, vocab_size=64, pad_token_id=0)
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True, time_shift_type="linear"
        ),
        transformer=CogView4Transformer2DModel(
            patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=4, out_channels=4,
            text_embed_dim=32, time_embed_dim=8, condition_dim=4,
        ),
    )  # fmt: skip


def ltx() -> Any:
    """Return an LTX-Video."""
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    four = (8, 8, 8, 8)
    vae = AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=8, block_out_channels=four, decoder_block_out_channels=four,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5, decoder_inject_noise=(False,) * 5,
        spatio_temporal_scaling=(True, True, False, False), decoder_spatio_temporal_scaling=(True, True, False, False),
        upsample_residual=(False,) * 4, upsample_factor=(1,) * 4, timestep_conditioning=False, patch_size=1,
        patch_size_t=1, encoder_causal=True, decoder_causal=False,
    )  # fmt: skip
    return LTXPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, text_encoder=_t5(), tokenizer=tokenizer(256),
        transformer=LTXVideoTransformer3DModel(
            in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4, attention_head_dim=8,
            cross_attention_dim=32, num_layers=1, caption_channels=32,
        ),
    )  # fmt: skip


def wan(of_pictures: bool = False) -> Any:
    """Return a Wan, of text or of pictures."""
    from diffusers import (
        AutoencoderKLWan,
        UniPCMultistepScheduler,
        WanImageToVideoPipeline,
        WanPipeline,
        WanTransformer3DModel,
    )

    parts: dict[str, Any] = {
        "vae": AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        "transformer": WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=36 if of_pictures else 16,
            out_channels=16, text_dim=32, freq_dim=32, ffn_dim=32, num_layers=1, cross_attn_norm=True,
            qk_norm="rms_norm_across_heads", rope_max_seq_len=32,
        ),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        "text_encoder": _umt5(), "tokenizer": tokenizer(512),
    }  # fmt: skip
    if of_pictures:
        return WanImageToVideoPipeline(**parts, image_encoder=None, image_processor=None)
    return WanPipeline(**parts)


def cogvideox() -> Any:
    """Return a CogVideoX."""
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )

    return CogVideoXPipeline(
        tokenizer=tokenizer(226), text_encoder=_t5(), scheduler=CogVideoXDDIMScheduler(),
        vae=AutoencoderKLCogVideoX(
            in_channels=3, out_channels=3, down_block_types=("CogVideoXDownBlock3D",) * 4, latent_channels=4,
            up_block_types=("CogVideoXUpBlock3D",) * 4, block_out_channels=(8, 8, 8, 8), layers_per_block=1,
            norm_num_groups=2, temporal_compression_ratio=4,
        ),
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=4, time_embed_dim=2,
            text_embed_dim=32, num_layers=1, sample_width=8, sample_height=8, sample_frames=9, patch_size=2,
            temporal_compression_ratio=4, max_text_seq_length=226,
        ),
    )  # fmt: skip


def animatediff() -> Any:
    """Return an AnimateDiff."""
    from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, norm_num_groups=2, attention_head_dim=4,
    )  # fmt: skip
    motion = MotionAdapter(
        block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
    )
    return AnimateDiffPipeline(
        vae=_vae(), text_encoder=_clip(), tokenizer=tokenizer(), unet=unet, motion_adapter=motion,
        scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=False),
    )  # fmt: skip


KINDS: dict[str, Callable[[], Any]] = {
    "cogview3": cogview3, "cogview4": cogview4, "ltx": ltx, "wan": wan, "wan-of-pictures": lambda: wan(True),
    "cogvideox": cogvideox, "animatediff": animatediff,
}  # fmt: skip


def make_pipeline(folder: Path, kind: str, seed: int = 0) -> Path:
    """Write a pipeline of ``kind`` (a key of :data:`KINDS`) into a folder; return it."""
    torch.manual_seed(seed)
    KINDS[kind]().save_pretrained(folder, safe_serialization=True)
    return folder


def make_clip(folder: Path, side: int = 16, seed: int = 0) -> Path:
    """Write a whole CLIP, which looks at pictures of ``side`` pixels, into a folder; return it."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": 64, "max_position_embeddings": 32, "eos_token_id": 1, "bos_token_id": 0}
    eyes = {**sizes, "image_size": side, "patch_size": 4, "projection_dim": 16}
    model: Any = CLIPModel(
        CLIPConfig(text_config={**text, "projection_dim": 16}, vision_config=eyes, projection_dim=16)
    )
    model.save_pretrained(folder)
    tokenizer(32).save_pretrained(folder)
    return folder
