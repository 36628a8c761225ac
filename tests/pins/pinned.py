"""What must not change in the field, as plain values: addresses, OSCQuery's tree, patches, frame requests.

They were written once, by the code of 454c498, in which every knob stood in one table; the tests compare.
"""

import hashlib
import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np

from vjserver.types.features import BeatGrid, Features

HERE = Path(__file__).parent
FPS, SECONDS, SIZE = 30, 10, (640, 360)
COMMON = (
    "speed", "zoom", "scale", "rotate", "shift_x", "shift_y", "pan_x", "pan_y", "detail", "morph", "warp", "symmetry",
    "feedback", "bloom", "palette", "saturation", "brightness", "contrast", "flash", "strength", "decks", "crossfade",
)  # fmt: skip
DIFFUSION = (
    "steps", "guidance", "coherence", "turn", "latent_1", "latent_2", "latent_3", "latent_4", "lora_1", "lora_2",
    "lora_3", "lora_4", "similar", "safety",
)  # fmt: skip


def pin(name):
    """Return what was written down."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def entry_row(entry):
    """Return what an address takes; its words may be bettered."""
    return {
        "kind": entry.kind,
        "quantised": entry.quantised,
        "default": entry.default,
        "choices": list(entry.choices),
        "arguments": [[a.type, a.low, a.high, a.unit, a.optional, a.longest] for a in entry.arguments],
    }


def par_row(par):
    """Return a parameter of a patch without its words."""
    return [
        par.name,
        par.label,
        par.style,
        par.default,
        par.low,
        par.high,
        [list(row) for row in par.menu],
        par.address,
        list(par.args),
    ]


def recorded_features():
    """Return the features of ten seconds of a song, one a frame."""
    rows = pin("features.json")
    return [
        Features(
            row["t_ns"],
            *(np.asarray(row[name], np.float32) for name in ("scalars", "bands", "spectrum", "chroma")),
            BeatGrid(**row["grid"]),
        )
        for row in rows
    ]


def plain(value):
    """Return a value as JSON would say it, numbers to nine digits."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") + 0.0
    return value


def request_row(request, own):
    """Return what a frame is made of: the common knobs, and those that only the generator has that plays."""
    params = {**request.params, **request.own}
    names = (*COMMON, *(DIFFUSION if own else ()))
    row = {
        name: getattr(request.text if name in ("prompts", "decks", "negative", "ahead") else request, name)
        for name in ("t_ns", "width", "height", "prompts", "decks", "negative", "ahead", "feedback", "travel_s",
                     "ease", "seed", "seconds", "bpm", "beat_count", "beat_phase", "bar_phase", "audio_ns")
    }  # fmt: skip
    row["inference_size"] = request.inference_size
    return plain(row | {"params": {name: params[name] for name in names}})


def digest(rows):
    """Return a short hash of rows of plain values."""
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]
