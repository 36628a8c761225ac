"""Training: ``python -m bench.training.train beat|drum POOL OUT.safetensors --minutes M``. Needs torch (CPU is enough).

The *beat* network sees the slow front end and says, about 35 ms late, how surely this frame is a beat and a downbeat.
The *drum* network sees the fast one and says how surely a kick, snare or hat was struck within the last 17 ms. Both
are a dense layer and gated recurrent units (Cho et al. 2014, in the form of PyTorch's GRU), run in numpy by
``vjserver.dsp.network``. Songs are played from their start to their end with the state carried on, as on stage.
Songs whose number ends in 00..04 are held back to be validated on.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vjserver.dsp.frontend import FAST_BANDS, FAST_SIZE, HOP, RANGE_DB, SLOW_BANDS, SLOW_EVERY, SLOW_SIZE
from vjserver.dsp.network import BEAT_DELAY_FRAMES

Array = NDArray[np.float32]
DRUMS = ("kick", "snare", "hat")


@dataclass(frozen=True, slots=True)
class Shape:
    """A network's sizes and how it is trained."""

    inputs: int
    dense: int
    units: int
    layers: int
    outputs: int
    chunk: int
    batch: int
    positive: float
    joined: bool


SHAPES = {
    "beat": Shape(SLOW_SIZE, 64, 128, 2, 2, 640, 32, 2.0, joined=True),
    "drum": Shape(FAST_SIZE, 64, 96, 1, 3, 768, 32, 1.0, joined=False),
}


class Net(nn.Module):
    """Dense, recurrent, dense."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.inputs, shape.dense)
        self.gru = nn.GRU(shape.dense, shape.units, shape.layers, batch_first=True)
        self.out = nn.Linear(shape.units, shape.outputs)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the logits of a chunk and the state after it."""
        y, state = self.gru(torch.relu(self.dense(x)), state)
        return self.out(y), state


@dataclass(frozen=True, slots=True)
class Song:
    """What a network sees of a song, what it should say, and how much each word counts."""

    x: NDArray[np.float16]
    target: NDArray[np.float16]
    weight: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk of a batch of songs; where it is ``new``, the songs begin here and nothing is remembered."""

    new: bool
    x: Tensor
    target: Tensor
    weight: Tensor


def beat_song(d: dict[str, NDArray[Any]]) -> Song:
    x = d["slow"]
    rate = float(d["rate_hz"]) / (HOP * SLOW_EVERY)
    target = np.zeros((len(x), 2), np.float32)
    for i, name in enumerate(("beats", "downbeats")):
        # frame n is known at its end, (n + 1) / rate; fractions of a frame are shared between neighbours
        at = d[name] * rate + BEAT_DELAY_FRAMES - 1.0
        for offset in (-2, -1, 0, 1, 2):
            n = np.round(at).astype(int) + offset
            good = (n >= 0) & (n < len(x))
            near = np.maximum(0.0, 1.0 - np.abs(n - at) / 1.6)
            target[n[good], i] = np.maximum(target[n[good], i], near[good])
    weight = np.ones_like(target)
    for start, end in d["drumless"]:
        weight[int(start * rate) + 40 : int(end * rate)] = 0.25
    return Song(x, target.astype(np.float16), weight.astype(np.float16))


def drum_song(d: dict[str, NDArray[Any]]) -> Song:
    x = d["fast"]
    rate = float(d["rate_hz"]) / HOP
    target, weight = np.zeros((len(x), 3), np.float32), np.ones((len(x), 3), np.float32)

    def span(times: NDArray[np.float64], first: int, last: int) -> NDArray[np.int64]:
        hops = np.floor(times * rate).astype(int)[:, None] + np.arange(first, last)
        return hops[(hops >= 0) & (hops < len(x))]

    weight[span(d["other"], 0, 12), 2] = 0.0  # shakers and cymbals may be taken for hats
    for i, name in enumerate(DRUMS):
        weight[span(d[name], 0, 12), i] = 0.0
        target[span(d[name], 1, 6), i] = 1.0
        weight[span(d[name], 1, 2), i] = 0.7
        weight[span(d[name], 2, 6), i] = 1.0
    return Song(x, target.astype(np.float16), weight.astype(np.float16))


def load(kind: str, pool: Path, known: dict[str, Song]) -> tuple[list[Song], list[Song]]:
    """Load what is new in the pool; return the songs to learn from and those to validate on."""
    for file in sorted(pool.glob("song-*.npz")):
        if file.name not in known:
            with np.load(file) as data:
                known[file.name] = (beat_song if kind == "beat" else drum_song)(dict(data))
    held = [song for name, song in known.items() if int(name[5:10]) % 100 < 5]
    return [song for name, song in known.items() if int(name[5:10]) % 100 >= 5], held


def chunks(songs: list[Song], shape: Shape, rng: np.random.Generator, live: bool = False) -> Iterator[Batch]:
    """Yield chunks of batches.

    ``live``: each song sounds as in another room, and where :attr:`Shape.joined` says so, most are cut or mixed into
    the next, as a DJ would.
    """
    order = rng.permutation(len(songs))
    going: Batch | None = None
    for first in range(0, len(order) - shape.batch + 1, shape.batch):
        batch = [songs[i] for i in order[first : first + shape.batch]]
        length = min(len(s.x) for s in batch)
        starts = [int(rng.integers(0, len(s.x) - length + 1)) for s in batch]
        skip = int(rng.integers(0, shape.chunk)) if rng.random() < 0.7 else 0
        parts = []
        for at in range(skip, length - shape.chunk + 1, shape.chunk):
            cut = [slice(s + at, s + at + shape.chunk) for s in starts]
            arrays = [
                np.stack([getattr(s, field)[c] for s, c in zip(batch, cut, strict=True)]).astype(np.float32)
                for field in ("x", "target", "weight")
            ]
            parts.append(Batch(False, *map(torch.from_numpy, arrays)))
        if live:
            curves = torch.from_numpy(_curves(rng, shape))
            for part in parts:
                part.x.add_(curves * (part.x > 0.02))
        if going is None or rng.random() < 0.3:
            parts[0] = replace(parts[0], new=True)
        elif rng.random() < 0.6:
            parts[0] = mixed(going, parts[0], rng)
        if live and shape.joined:
            *parts, going = parts
        yield from parts


def _curves(rng: np.random.Generator, shape: Shape) -> Array:
    """Return a smooth random curve over the levels for each song of a batch: another room, another mastering."""
    levels = SLOW_BANDS if shape.inputs == SLOW_SIZE else FAST_BANDS
    curves = np.zeros((shape.batch, 1, shape.inputs), np.float32)
    for curve in curves:
        curve[0, :levels] = np.interp(np.linspace(0, 5, levels), np.arange(6), 0.05 * rng.normal(size=6))
    return curves


def mixed(going: Batch, coming: Batch, rng: np.random.Generator) -> Batch:
    """Fade from one chunk to another over some seconds; the louder one is heard, and its beat is the true one."""
    frames = torch.arange(going.x.shape[1], dtype=torch.float32)[None, :, None]
    off = frames - going.x.shape[1] / 2
    length = float(rng.uniform(0.2, 1.0)) * going.x.shape[1]
    turn = torch.clamp(off / length + 0.5, 0.0, 1.0) * np.pi / 2
    down, up = torch.cos(turn).clamp(min=1e-3), torch.sin(turn).clamp(min=1e-3)
    levels, rises = slice(0, SLOW_BANDS), slice(SLOW_BANDS, None)
    x = torch.empty_like(going.x)
    faded = [part.x[..., levels] + 20.0 / RANGE_DB * torch.log10(gain) for part, gain in ((going, down), (coming, up))]
    x[..., levels] = torch.maximum(*faded).clamp(min=0.0)
    x[..., rises] = torch.maximum(going.x[..., rises] * down, coming.x[..., rises] * up)
    target = torch.where(off >= 0, coming.target, going.target)
    unsure = torch.where(off.abs() < length / 4, 0.2, 1.0)
    return Batch(False, x, target, torch.where(off >= 0, coming.weight, going.weight) * unsure)


def loss_of(shape: Shape, said: Tensor, part: Batch) -> Tensor:
    """Return the mean cross entropy."""
    each = nn.functional.binary_cross_entropy_with_logits(
        said, part.target, part.weight, reduction="none", pos_weight=torch.tensor(shape.positive)
    )
    return each.mean()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=list(SHAPES))
    parser.add_argument("pool", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    rng, shape = np.random.default_rng(1), SHAPES[args.kind]
    net = Net(shape)
    if args.resume:
        net.load_state_dict({k: v.float() for k, v in load_file(args.resume).items()})
    print(sum(p.numel() for p in net.parameters()), "parameters", flush=True)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-3)
    began, known, step = time.monotonic(), dict[str, Song](), 0
    while (done := (time.monotonic() - began) / 60.0 / args.minutes) < 1.0:
        songs, held = load(args.kind, args.pool, known)
        total, count = 0.0, 0
        state: Any = None
        for part in chunks(songs, shape, rng, live=True):
            done = min(1.0, (time.monotonic() - began) / 60.0 / args.minutes)
            if done >= 1.0:
                break
            rate = args.rate * min(1.0, (step + 1) / 40) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * done)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            said, state = net(part.x + 0.02 * torch.randn_like(part.x), None if part.new else state.detach())
            loss = loss_of(shape, said, part)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            total, count, step = total + loss.item(), count + 1, step + 1
        net.eval()
        with torch.no_grad():
            losses, state = list[float](), None
            for part in chunks(held, shape, np.random.default_rng(2)):
                said, state = net(part.x, None if part.new else state)
                losses.append(loss_of(shape, said, part).item())
        net.train()
        save_file({name: value.half().contiguous() for name, value in net.state_dict().items()}, args.out)
        print(
            f"{done:5.1%} songs {len(songs)} steps {step} loss {total / max(count, 1):.4f} "
            f"held {np.mean(losses or [0]):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
