"""What the ear costs: CPU seconds a second of audio, beside a bare aubio loop that does the same analysis."""

import time
from collections.abc import Callable

import aubio
import numpy as np

from bench.report import row
from vjserver.dsp.options import EarOptions
from vjserver.dsp.spectrum import N_BANDS, band_weights
from vjserver.outputs.osc import ContinuousBundle
from vjserver.runtime.clock import NS
from vjserver.runtime.store import pack_features
from vjserver.sources.song import RATE_HZ, demo_song
from vjserver.stages.ear.analysis import Analysis
from vjserver.types.audio import AudioBlock, Float32

SECONDS = 40
ROUNDS = 5
HOP = 256


def bare(samples: Float32) -> None:
    """Call the aubio objects that would do the ear's job (its tracker for our networks), and nothing else."""
    o = EarOptions()
    onset = aubio.onset(o.onsets.method, o.onsets.window, 128, RATE_HZ)
    tempo = aubio.tempo("default", 4096, 512, RATE_HZ)
    pitch = aubio.pitch("yinfast", 2048, 2048, RATE_HZ)
    pvoc, bank = aubio.pvoc(o.window, HOP), aubio.filterbank(N_BANDS, o.window)
    bank.set_power(2)
    bank.set_coeffs(band_weights(o.window, RATE_HZ))
    for i in range(0, len(samples) - 128, 128):
        hop = samples[i : i + 128]
        onset(hop)
        if i % HOP == 0 and i + HOP <= len(samples):
            bank(pvoc(samples[i : i + HOP]))
        if i % 512 == 0 and i + 512 <= len(samples):
            tempo(samples[i : i + 512])
        if i % 2048 == 0 and i + 2048 <= len(samples):
            pitch(samples[i : i + 2048])


def ours(samples: Float32) -> None:
    """Run the whole analysis, and pack what it finds as the live ear does: features each hop, OSC 60 times a second."""
    analysis, bundle = Analysis(RATE_HZ, EarOptions()), ContinuousBundle()
    for n, i in enumerate(range(0, len(samples) - HOP, HOP)):
        t_ns = (i + HOP) * NS // RATE_HZ
        analysis.hear(AudioBlock(samples[i : i + HOP, None], RATE_HZ, t_ns))
        pack_features(analysis.features)
        if n % 3 == 0:
            bundle.fill(analysis.features, t_ns)


def cost(work: Callable[[Float32], None], samples: Float32) -> float:
    began = time.process_time()
    work(samples)
    return (time.process_time() - began) / (len(samples) / RATE_HZ) * 100.0


def main() -> list[dict[str, object]]:
    samples = np.ascontiguousarray(demo_song()[: SECONDS * RATE_HZ].mean(axis=1))
    pairs = [(cost(bare, samples), cost(ours, samples)) for _ in range(ROUNDS)]
    bare_cost, our_cost = np.median(pairs, axis=0)
    ratio = float(np.median([b / a for a, b in pairs]))
    return [
        row("dsp_cost", "bare aubio loop", "% of a core", p50=round(float(bare_cost), 2), n=ROUNDS),
        row("dsp_cost", "the ear's analysis", "% of a core", p50=round(float(our_cost), 2), n=ROUNDS),
        row("dsp_cost", "ratio", "x", p50=round(ratio, 2), n=ROUNDS),
    ]


if __name__ == "__main__":
    main()
