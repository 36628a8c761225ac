"""What the tests of slow generators share: tiny pipelines, and requests."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from bench.random_pipelines import make_pipeline
from vjserver.show.addresses import COMMON
from vjserver.types.frames import FrameRequest, TextConditioning

DEFAULTS = {name: knob.default for name, knob in COMMON.items()}
NS = 1_000_000_000


@cache
def pipeline(kind):
    """Return the folder of a tiny pipeline, made once."""
    return make_pipeline(Path(mkdtemp(prefix="vjserver-test-")) / kind, kind)


def ended(generator):
    """Close a slow generator, and wait until it makes nothing more."""
    thread = generator._shop._thread
    generator.close()
    if thread is not None:
        thread.join(20.0)


def request(info, *prompts, at=0.0, bpm=120.0, seconds=0.1, seed=1, size=(64, 48), negative="", **more):
    """Return a request at ``at`` bars of four beats."""
    own = {knob.name: knob.default for knob in info.parameters}
    mine = {key: more.pop(key) for key in list(more) if key in own}
    params = {key: more.pop(key) for key in list(more) if key in DEFAULTS}
    text = TextConditioning(tuple(p if isinstance(p, tuple) else (p, 1.0) for p in prompts), negative=negative)
    beat = at * 4.0
    return FrameRequest(
        round(at * 2 * NS), *size, text, DEFAULTS | params, seed, seconds, bpm=bpm, beat_count=int(beat),
        beat_phase=beat % 1.0, bar_phase=at % 1.0, own=own | mine, **more,
    )  # fmt: skip
