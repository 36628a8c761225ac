"""The test band: three sets of tracks and of things that are no music, the same sound and truth every time.

*train* are songs of the training pool's composer; *dev* is what the ear was tuned on; *test* was only ever measured.
No drum bar, tempo, kit or program is shared between the sets (tests hold it); some kits of the sound font share single
samples with others, which cannot be seen from outside.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import platformdirs
from numpy.typing import NDArray

from bench.music import effects
from bench.music.compose import compose
from bench.music.render import RATE_HZ, SOUNDFONT, sound_of
from bench.music.score import Plan, Score, Sounds, write
from vjserver.types.audio import Float32

Float64 = NDArray[np.float64]
SetName = Literal["train", "dev", "test"]
SETS: tuple[SetName, ...] = ("train", "dev", "test")
Effect = Callable[[Float32, np.random.Generator], Float32]


@dataclass(frozen=True, slots=True)
class Track:
    """One or two plans (the second comes in at ``join_s``, by a cut or a mix of eight seconds), and effects."""

    plan: Plan
    effects: tuple[str, ...] = ()
    then: Plan | None = None
    join: Literal["cut", "mix"] = "cut"
    join_s: float = 26.0
    one_sided: bool = False

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.plan.name


@dataclass(frozen=True, slots=True)
class Take:
    """A rendered track: float32 ``(frames, channels)`` at 44.1 kHz, and its truth in seconds."""

    name: str
    style: str
    sound: Float32
    beats: Float64
    downbeats: Float64
    kick: Float64
    snare: Float64
    hat: Float64
    ghosts: Float64
    onsets: Float64
    drumless: tuple[tuple[float, float], ...]
    drops: Float64
    join_s: float | None = None


def _mic(snr_db: float, rt60_s: float, wet: float) -> Effect:
    def apply(sound: Float32, rng: np.random.Generator) -> Float32:
        far = effects.band_limit(effects.room(sound, rng, rt60_s, wet), 110.0, 9000.0)
        return effects.at_snr(far, effects.crowd(rng, 20.0), snr_db)

    return apply


EFFECTS: dict[str, Effect] = {
    "mic12": _mic(12.0, 0.4, 0.35),
    "mic6": _mic(6.0, 0.6, 0.45),
    "mic3": _mic(3.0, 0.8, 0.5),
    "hall": lambda s, rng: effects.room(s, rng, 1.8, 0.6),
    "clip": lambda s, _: np.clip(s * 5.0, -0.9, 0.9).astype(np.float32),
    "loud": lambda s, _: effects.drive(s, 14.0),
    "quiet": lambda s, _: effects.to_level(s, -36.0),
    "pa": lambda s, _: effects.band_limit(s, 90.0, 3200.0, 3),
    "phone": lambda s, _: effects.band_limit(s, 300.0, 3400.0, 4),
    "hum": lambda s, _: s + 0.2 * np.sin(2 * np.pi * 40 * np.arange(len(s)) / RATE_HZ).astype(np.float32),
}

# The sounds of the dev and test sets: see HELD_BACK_* in compose.
_D1, _D2 = Sounds(8, 36, 38, 42, 39, 16, 84, 51), Sounds(24, 36, 39, 42, 35, 2, 83, 54)
_D3, _D4 = Sounds(8, 36, 40, 42, 35, 26, 66, 49), Sounds(8, 35, 38, 42, 39, 30, 87, 49)
_T1, _T2 = Sounds(16, 36, 38, 42, 37, 7, 73, 94), Sounds(16, 35, 39, 42, 32, 3, 57, 91)
_T3, _T4 = Sounds(40, 36, 38, 42, 32, 46, 73, 91), Sounds(16, 36, 40, 42, 37, 19, 57, 94)

_DEV = (
    Track(Plan("house", "house", 122.3, ("x...x...x...x...",), ("....x.......x..g",), ("..o...o...o.x.o.",), {}, ("..0...0...0.0.0.",), ("..0...0-..0.....",), ("0.2.4...7.4.2...",),
               ((4, "kh"), (8, "kshb"), (4, "kshbc"), (4, "bcp"), (8, "kshbclp")), sounds=_D1)),
    Track(Plan("techno", "techno", 137.6, ("x...x...x...x.x.",), ("............x...",), ("x.X.x.X.x.X.xxX.",), {}, (".000.000.000.000",), (), ("0.....3.....0...",),
               ((8, "k"), (8, "khb"), (8, "kshbl"), (8, "kshbp")), sounds=_D2)),
    Track(Plan("dnb", "dnb", 174.4, ("x.........x.....", "x.x.......x....."), ("....X..g....X...",), ("x.x.x.x.x.x.x.xx",), {}, ("0-------..5-....",), ("0---------------",), (),
               ((4, "h"), (16, "kshb"), (8, "bcp"), (12, "kshbc")), sounds=_D2)),
    Track(Plan("jungle", "jungle", 162.7, ("x.x.......xx....", "x.x...x...x....."), ("....X..g.g..X..g", "....X..x.x....X."), ("x.x.x.x.x.x.x.x.",), {}, ("0---..0-....4---",), ("..0-......0-....",), (),
               ((16, "kshb"), (4, "cp"), (16, "kshbc")), sounds=_D1)),
    Track(Plan("hiphop-swing", "hiphop", 91.3, ("x.....xx..x.....", "x..x...x..x....."), ("....x.......x...",), ("x.x.x.x.x.xgx.x.",), {}, ("0-....0-..4-....",), ("0---....0---....",), ("....4.2.....0...",),
               ((2, "h"), (14, "kshbc"), (2, "bc"), (4, "kshbcl")), swing=0.61, human_ms=5.0, sounds=_D3)),
    Track(Plan("trap", "trap", 141.8, ("x.....x...x..x..",), ("........X.......",), ("x.x.x.xxx.x.xxxx",), {}, ("0-----0---0-----",), ("0---------------",), ("0...2...4...2...",),
               ((4, "cl"), (12, "kshbc"), (12, "kshbcl")), sounds=_D2)),
    Track(Plan("dubstep", "dubstep", 139.2, ("x.....x.........", "x..x......x....."), ("........X.......",), ("x...x...x...x.x.",), {}, ("00.0.00.0-0-....", "000.0-..0.0.0.0."), ("0-------",), (),
               ((4, "cp"), (24, "kshb")), sounds=_D2)),
    Track(Plan("garage", "garage", 132.6, ("x.........x..x..",), ("....x.......x...",), ("..x..xx...x..xx.",), {70: "x.gxx.gxx.gxx.gx"}, ("0-....0-.0....4-",), ("...0-....0-.....",), (),
               ((4, "he"), (16, "kshbe"), (8, "kshbce")), swing=0.58, sounds=_D1)),
    Track(Plan("breakbeat", "breaks", 128.7, ("x..x......x..x..",), ("....x..g.g..x...",), ("x.x.x.xox.x.x.x.",), {}, ("0-.0..0-..4-..0.",), ("..0-......0-....",), ("7...4...2...0...",),
               ((24, "kshbc"),), sounds=_D3)),
    Track(Plan("reggaeton", "reggaeton", 93.7, ("x...x...x...x...",), ("...x..x....x..x.",), ("x.x.x.x.x.x.x.x.",), {}, ("0..0..4-0..0..4-",), ("..0...0...0...0.",), (),
               ((2, "k"), (18, "kshbc")), sounds=_D2)),
    Track(Plan("disco", "disco", 117.4, ("x...x...x...x...",), ("....x..g....x...",), ("x.o.x.o.x.o.x.o.",), {}, ("0.7.0.7.0.7.0.7.",), ("...0...0..0.....",), ("4-2-0---4-5-7---",),
               ((8, "kshb"), (16, "kshbcp")), human_ms=4.0, sounds=_D1)),
    Track(Plan("funk", "funk", 104.6, ("x.x...x..x.x....", "x..x..x...x..x.."), ("....X.g.g.g.X..g",), ("xxxxx.xxxxxxx.ox",), {}, ("0..0-.4.0..7-.4.",), ("..0.0...0.0...0.",), (),
               ((20, "kshbc"),), human_ms=6.0, mode="dorian", progression=(0, 0, 3, 0), sounds=_D4)),
    Track(Plan("rock", "rock", 126.9, ("x.....x.x.x.....",), ("....X.......X...",), ("x.x.x.x.x.x.x.o.",), {}, ("0-0-0-0-0-0-0-0-",), ("0---------0-----",), ("7---4---5---2---",),
               ((2, "h"), (14, "kshbcf"), (10, "kshbclf")), human_ms=9.0, drift=0.005, sounds=_D4)),
    Track(Plan("punk", "punk", 182.2, ("x.....x.x.x.x...",), ("....X.......X...",), ("x.x.x.x.x.x.x.x.",), {}, ("0-0-0-0-0-0-0-0-",), ("0-0-0-0-0-0-0-0-",), (),
               ((1, "h"), (36, "kshbcf")), human_ms=8.0, drift=0.004, mode="major", sounds=_D4)),
    Track(Plan("waltz", "waltz", 128.3, ("x...........",), ("....x...x...",), ("x...x...x...",), {}, ("0---........",), ("....0---0---",), ("4---2---0---", "5-------4---"),
               ((4, "bc"), (28, "kshbcl")), beats_per_bar=3, human_ms=6.0, mode="major", sounds=_D3)),
    Track(Plan("six-eight", "sixeight", 61.3, ("x.....",), ("...X..",), ("xxxxxx",), {}, ("0--4--",), ("024024",), ("7--...",),
               ((4, "c"), (22, "kshbcl")), beats_per_bar=2, division=3, human_ms=6.0, sounds=_D3)),
    Track(Plan("ballad", "ballad", 74.6, ("x.......x.x.....",), ("....x.......x...",), ("x.x.x.x.x.x.x.x.",), {}, ("0-------0---4---",), ("0-2-4-2-0-2-4-2-",), ("4-----2-0-------",),
               ((2, "c"), (14, "kshbclp")), human_ms=7.0, mode="major", sounds=_D3)),
    Track(Plan("trance-break", "trance", 138.9, ("x...x...x...x...",), ("....X.......X...",), ("..o...o...o...oo",), {}, (".000.000.000.070",), ("0-0-..0-0-..0-0-",), ("0424742404247424",),
               ((12, "kshbl"), (16, "clp"), (2, "rlp"), (12, "kshbclp")), sounds=_D1)),
    Track(Plan("ramp", "house", 112.4, ("x...x...x...x...",), ("....x..x....x...",), ("x.o.x.o.x.o.xxo.",), {}, ("0.0.0.0.0.0.0.4.",), ("..0...0...0...0.",), (),
               ((28, "kshbc"),), tempo=((0, 112.4), (8, 112.4), (20, 125.1), (28, 125.1)), sounds=_D1)),
    Track(Plan("dj-cut", "house", 125.4, ("x...x...x...x..x",), ("....x.......x...",), ("..o...o...o...o.",), {}, ("0..0..0.0..0..0.",), ("..0...0...0...0.",), (), ((16, "kshbc"),), sounds=_D1),
          then=Plan("cut-to", "techno", 133.9, ("x...x...x...x...",), ("..........x.....",), ("xxxxxxxxxxxxxxxx",), {}, ("0.00.000.00.000.",), (), ("0..3..5..3..7...",), ((20, "kshbl"),), sounds=_D2)),
    Track(Plan("dj-mix", "house", 121.1, ("x...x...x...x...",), ("....x.......x.x.",), ("x.o.x.o.x.o.x.oo",), {}, ("..0.0...0.0.4...",), ("0-......0-......",), (), ((16, "kshbc"),), sounds=_D2),
          then=Plan("mix-to", "breaks", 127.8, ("x.....x...x.....",), ("....x.......x..x",), ("x.x.x.x.x.x.x.x.",), {}, ("0-..0-....4-....",), ("0---....0---....",), (), ((20, "kshbc"),), sounds=_D3), join="mix"),
    Track(Plan("house-mic6", "house", 118.8, ("x...x...x...x...",), ("....x...g...x...",), ("x.ogx.ogx.ogx.og",), {}, ("..0...0.0.0...0.",), ("0-..0-..0-......",), (), ((24, "kshbcp"),), sounds=_D1), ("mic6",)),
    Track(Plan("rock-mic12", "rock", 108.6, ("x..x....x..x....",), ("....X.......X..g",), ("x...x...x...x...",), {}, ("0-0-0-0-4-4-0-0-",), ("0-------0-------",), (), ((22, "kshbc"),), human_ms=8.0, sounds=_D4), ("mic12",)),
    Track(Plan("house-quiet", "house", 126.2, ("x...x...x...x...",), ("....x.......x...",), (".xo..xo..xo..xo.",), {}, ("0.....0...0.....",), ("....0.......0...",), (), ((24, "kshbcp"),), sounds=_D2), ("quiet",)),
    Track(Plan("techno-loud", "techno", 143.3, ("x...x...x...x...",), ("....x..x.x..x...",), ("..x...x...x...x.",), {}, ("0000000000000000",), (), (), ((28, "kshbp"),), sounds=_D1), ("loud", "clip")),
    Track(Plan("breaks-pa", "breaks", 115.7, ("x.x.......x.....",), ("....x.......x.gg",), ("x.xxx.x.x.xxx.x.",), {}, ("0---....0-0-....",), ("0-......0-......",), (), ((22, "kshbc"),), sounds=_D3), ("pa",), one_sided=True),
)  # fmt: skip

_TEST = (
    Track(Plan("house", "house", 124.7, ("x...x...x...x...",), ("....X.......X.g.",), ("x.o.xgo.x.o.xgo.",), {56: "..x..x....x..x.."}, ("0..0..0...0.0...",), ("...0..0....0..0.",), ("7-..4-..2-..4-..",),
               ((4, "k"), (8, "khb"), (4, "kshbc"), (4, "cp"), (8, "kshebclp")), key=43, sounds=_T1)),
    Track(Plan("techno", "techno", 131.5, ("x...x...x...x...",), ("...............x",), ("..x...x...x..xx.",), {}, ("..00..00..00..0.",), (), ("0..0..0..0..0...",),
               ((8, "kh"), (16, "khbl"), (6, "kshblp")), key=41, sounds=_T2)),
    Track(Plan("dnb", "dnb", 171.9, ("x.........xg....", "x..x......x....."), ("....X.......X.g.",), ("x...x...x...x...",), {}, ("0-----------7-5-",), ("0-------........",), ("4-......2-......",),
               ((8, "kshb"), (8, "kshbc"), (4, "cp"), (16, "kshbl")), key=42, sounds=_T1)),
    Track(Plan("jungle", "jungle", 166.1, ("x.x.......x.....", "x..........x.x.."), ("....X..g.g.gX..x", "..g.X..g.X....g."), ("x.x.x.xxx.x.x.xx",), {}, ("0-......0-......",), ("0---------------",), (),
               ((4, "s"), (20, "kshb"), (16, "kshbc")), key=46, sounds=_T4)),
    Track(Plan("hiphop-swing", "hiphop", 86.4, ("x..x......xx....", "x.....x...x....."), ("....X..g....X...",), ("xgx.xgx.xgx.xgx.",), {}, ("0--...4-..0-....",), ("....0-......0-..",), ("7...5...4.......",),
               ((2, "hb"), (16, "kshbc")), swing=0.64, human_ms=6.0, key=48, sounds=_T2)),
    Track(Plan("trap", "trap", 146.5, ("x......x..x.....", "x..x...x........"), ("........X.......",), ("x.x.x.x.xxxxx.x.",), {}, ("0------0--4-----",), ("0-------........",), ("4...3...0.......",),
               ((2, "l"), (14, "kshb"), (12, "kshbcl")), key=40, sounds=_T1)),
    Track(Plan("dubstep", "dubstep", 142.7, ("x....x..........", "x.........x..x.."), ("........X......g",), ("x.x.x.x.x.x.x.x.",), {}, ("0-0-0-..0000....", "0---00.0..0-0-0-"), (), ("0-----..3-----..",),
               ((4, "lp"), (12, "kshb"), (12, "kshbl")), key=41, sounds=_T4)),
    Track(Plan("garage", "garage", 130.3, ("x......x..x.....", "x.........x....."), ("....X.......X...",), (".gx.xgx.xgx.xgx.",), {}, ("..0-..0-..4-..0.",), ("0.....0..0......",), ("....7.....4.....",),
               ((4, "hb"), (24, "kshbc")), swing=0.56, key=44, sounds=_T1)),
    Track(Plan("breakbeat", "breaks", 134.2, ("x.....x...xx....", "x.x.......x..x.."), ("....X..g....X..g",), ("x.x.x.x.x.xox.x.",), {}, ("0.0...0...0.4...",), ("0-..0-....0-....",), (),
               ((12, "kshb"), (16, "kshbc")), key=45, sounds=_T4)),
    Track(Plan("reggaeton", "reggaeton", 97.8, ("x...x...x...x...",), ("...X..x....X..x.",), ("x...x...x...x...",), {}, ("0-....0-4-....0-",), ("0-..0-0-..0-....",), ("7-5-4-2-........",),
               ((4, "kb"), (16, "kshbc")), key=47, sounds=_T2)),
    Track(Plan("disco", "disco", 113.2, ("x...x...x...x...",), ("....X.......X..g",), ("xxoxxxoxxxoxxxox",), {54: "..x...x...x...x."}, ("0-0-7-7-0-0-7-4-",), ("0...0..0..0.0...",), ("2---4---5---4---",),
               ((4, "kh"), (20, "kshebcp")), human_ms=5.0, key=44, sounds=_T1)),
    Track(Plan("funk", "funk", 98.9, ("x.....xx..x.....", "x.x....x..x....."), ("....X..g.g..X.g.",), ("x.xxx.xxx.xxx.xo",), {}, ("0.0..04...0.7.4.",), ("....0..0....0.0.",), (),
               ((18, "kshbc"),), human_ms=7.0, mode="dorian", progression=(0, 3), key=40, sounds=_T1)),
    Track(Plan("rock", "rock", 143.8, ("x.......x.x.....", "x.x.....x.x....."), ("....X.......X...",), ("x.x.x.x.x.x.x.x.",), {}, ("0-0-0-0-4-4-4-4-",), ("0-------0---0---",), ("4-------2-0-----",),
               ((1, "h"), (16, "kshbcf"), (10, "kshbclf")), human_ms=10.0, drift=0.006, key=40, sounds=_T4)),
    Track(Plan("punk", "punk", 176.6, ("x...x.x.x...x.x.",), ("....X.......X...",), ("x...x...x...x...",), {}, ("0-0-0-0-0-0-0-0-",), ("0---0---0---0---",), ("4-------",),
               ((36, "kshbcf"),), human_ms=9.0, drift=0.005, mode="major", key=45, sounds=_T4)),
    Track(Plan("waltz", "waltz", 151.4, ("x...........",), ("........x...",), ("....x...x...",), {}, ("0---....4---",), ("....0-..0-..",), ("0---4---7---", "5---4---2---"),
               ((8, "bc"), (32, "kshbcl")), beats_per_bar=3, human_ms=7.0, mode="major", key=43, sounds=_T3)),
    Track(Plan("six-eight", "sixeight", 56.8, ("x....x",), ("...X..",), ("x.xx.x",), {}, ("0---4-",), ("0--2-4",), ("4-----", "2--0--"),
               ((2, "bc"), (20, "kshbcl")), beats_per_bar=2, division=3, human_ms=7.0, key=46, sounds=_T3)),
    Track(Plan("ballad", "ballad", 68.2, ("x.....x.x.......",), ("....X.......X...",), ("x...x...x...x...",), {}, ("0-----------4-5-",), ("0-4-2-4-0-4-2-4-",), ("7-------4---2---",),
               ((2, "cp"), (12, "kshbclp")), human_ms=8.0, mode="major", key=48, sounds=_T3)),
    Track(Plan("trance-break", "trance", 135.7, ("x...x...x...x...",), ("....X.......X..x",), ("x.o.x.o.x.o.x.o.",), {}, ("..00..00..00..00",), ("0-..0-..0-..0-..",), ("0247420402474204",),
               ((16, "kshbc"), (16, "lp"), (4, "rclp"), (12, "kshbclp")), key=42, sounds=_T1)),
    Track(Plan("ramp", "disco", 119.6, ("x...x...x...x...",), ("....X.......X.x.",), ("..o...o.x.o...o.",), {}, ("0.7.0.7.0.7.4.7.",), ("..0...0...0...0.",), (),
               ((28, "kshbc"),), tempo=((0, 119.6), (8, 119.6), (19, 107.7), (28, 107.7)), key=41, sounds=_T2)),
    Track(Plan("accelerando", "rock", 101.7, ("x.....x.x.......",), ("....X.......X.gg",), ("x.x.x.x.x.x.xxx.",), {}, ("0-0-0-0-0-0-0-0-",), ("0-------0-------",), (),
               ((26, "kshbcf"),), human_ms=7.0, tempo=((0, 101.7), (26, 139.4)), key=40, sounds=_T4)),
    Track(Plan("dj-cut", "house", 123.6, ("x...x...x...x...",), ("....x.g.....x.g.",), ("x.o...o.x.o...o.",), {}, ("0.....0.0.....0.",), ("....0.0.....0.0.",), (), ((16, "kshbc"),), key=45, sounds=_T2),
          then=Plan("cut-to", "techno", 138.2, ("x...x...x...x...",), ("....x.....x.x...",), ("x.xxx.xxx.xxx.xx",), {}, (".0.0.0.0.0.0.0.0",), (), (), ((20, "kshbp"),), key=40, sounds=_T1)),
    Track(Plan("dj-mix", "house", 120.4, ("x...x...x...x...",), ("....X..g....X.x.",), ("..o...o...o...oo",), {}, ("0-..0-..0-..4-..",), ("0...0...0...0...",), (), ((16, "kshbc"),), key=43, sounds=_T1),
          then=Plan("mix-to", "house", 129.4, ("x...x...x...x...",), ("....X.......X...",), ("xx.oxx.oxx.oxx.o",), {}, ("0.0.4.0.0.0.7.0.",), (), ("0---....4---....",), ((20, "kshbl"),), key=47, sounds=_T2), join="mix"),
    Track(Plan("band-mic3", "pop", 111.8, ("x.....x.x.x.....",), ("....X.......X...",), ("x.x.x.x.x.x.x.xx",), {}, ("0-..0-0-4-..4-4-",), ("0---0---0---0---",), ("4-..2-..0-..2-..",), ((24, "kshbcl"),), human_ms=6.0, key=43, sounds=_T4), ("mic3",)),
    Track(Plan("house-mic6", "house", 127.3, ("x...x...x...x...",), ("....X..g....X..x",), (".xo..xo..xo..xoo",), {}, ("..0.0.0...0.0.0.",), ("..0-..0-..0-....",), (), ((26, "kshbcp"),), key=41, sounds=_T1), ("mic6",)),
    Track(Plan("jungle-hall", "jungle", 158.8, ("x.....x...x.....", "x.x.....x.x....."), ("....X..g....X..g",), ("xxx.xxx.xxx.xxx.",), {}, ("0---....4---....",), (), (), ((32, "kshb"),), key=44, sounds=_T4), ("hall",)),
    Track(Plan("funk-quiet", "funk", 107.1, ("x..x..x..x......",), ("....X.gg....X..g",), ("x.x.x.x.x.xox.x.",), {}, ("0..0..4...0..74.",), ("..0-......0-....",), (), ((20, "kshbc"),), human_ms=5.0, key=42, sounds=_T1), ("quiet",)),
    Track(Plan("electro-loud", "electro", 116.3, ("x..x..x...x.....",), ("....X.......X...",), ("xx.xxx.xxx.xxx.x",), {}, ("0.000.000.000.07",), (), ("7...4...0.......",), ((22, "kshbl"),), key=41, sounds=_T2), ("loud", "clip")),
    Track(Plan("garage-pa", "garage", 136.8, ("x.....x...x....x",), ("....X.......X..g",), ("..xg..xg..xg..xg",), {}, ("0-..0-....0-4-..",), ("..0...0...0...0.",), (), ((28, "kshbc"),), swing=0.55, key=45, sounds=_T1), ("pa",), one_sided=True),
    Track(Plan("rock-phone", "rock", 94.3, ("x.......x..x....",), ("....X.......X...",), ("x.xgx.xgx.xgx.xg",), {}, ("0-0-0-0-4-4-0-0-",), ("0-------0-------",), ("4---2---0---2---",), ((18, "kshbcl"),), human_ms=7.0, key=45, sounds=_T4), ("phone",)),
)  # fmt: skip
_TRAIN_STYLES = ("house", "techno", "dnb", "hiphop", "trap", "dubstep", "garage", "breaks", "reggaeton", "rock", "waltz", "sixeight",
                 "ballad", "trance")  # fmt: skip


def tracks(which: SetName) -> tuple[Track, ...]:
    """Return the tracks of a set."""
    if which == "train":
        plans = [replace(compose(np.random.default_rng([i, 41]), s), name=s) for i, s in enumerate(_TRAIN_STYLES)]
        return tuple(Track(plan) for plan in plans)
    return _DEV if which == "dev" else _TEST


def take(track: Track, which: SetName) -> Take:
    """Render a track, or read it where it was rendered before."""
    rng = np.random.default_rng([SETS.index(which), *track.name.encode()])
    seed = int(rng.integers(2**31))
    score = write(track.plan, seed)
    sound = _cached(track.plan, seed, lambda: sound_of(score))
    drumless = score.drumless
    truth = _truth(score)
    join_s: float | None = None
    if track.then is not None:
        other = write(track.then, seed + 1, lead_in_s=0.0)
        second = _cached(track.then, seed + 1, lambda: sound_of(other))
        join_s = float(score.downbeats[np.searchsorted(score.downbeats, track.join_s)])
        sound = _join(sound, second, join_s, 8.0 if track.join == "mix" else 0.004)
        shift = join_s if track.join == "cut" else join_s - 4.0
        truth = {key: np.concatenate((t[t < join_s - 0.05], late[late >= join_s - 0.05])) for (key, t), late in
                 zip(truth.items(), [o + shift for o in _truth(other).values()], strict=True)}  # fmt: skip
    for name in track.effects:
        sound = EFFECTS[name](sound, rng)
    if "quiet" not in track.effects:
        sound = effects.to_level(sound, -1.0)
    stereo = np.stack((sound, np.zeros_like(sound)), axis=1) if track.one_sided else sound[:, None]
    return Take(
        track.name,
        track.plan.style,
        stereo.astype(np.float32),
        drumless=drumless,
        drops=score.drops,
        join_s=join_s,
        **truth,
    )


def no_music(which: SetName) -> Iterator[tuple[str, Float32]]:
    """Yield the name and a minute of each sound that does not beat."""
    seed = SETS.index(which)
    rng, seconds = np.random.default_rng([seed, 77]), 60.0
    count = round(seconds * RATE_HZ)
    yield "silence", np.zeros((count, 1), np.float32)
    yield "dither", rng.normal(0, 10 ** (-90 / 20), (count, 1)).astype(np.float32)
    yield "pink", effects.pink(rng, seconds)[:, None]
    voice = ("en", "en-us+m4", "en-gb+f1")[seed]
    yield "speech", effects.to_level(effects.speech(seconds, voice, (150, 140, 175)[seed], seed), -6.0)[:, None]
    yield "applause", effects.applause(rng, seconds, (40, 30, 90)[seed])[:, None]
    plan = Plan("pad", "pad", 60.0, sounds=(Sounds(pad=89), _D1, _T1)[seed], sections=((15, "p"),), progression=(0, 5, 2, 3),
                tempo=tuple((bar, 60.0 - 22.0 * (bar % 3)) for bar in range(15)), key=(44, 41, 47)[seed])  # fmt: skip
    pad = sound_of(write(plan, seed))
    yield "pad", effects.to_level(np.resize(pad, count), -9.0)[:, None]


def _truth(score: Score) -> dict[str, Float64]:
    return {
        "beats": score.beats, "downbeats": score.downbeats, "kick": score.hits("kick"), "snare": score.hits("snare"),
        "hat": score.hits("hat"), "ghosts": score.ghosts, "onsets": score.onsets,
    }  # fmt: skip


def _join(first: Float32, second: Float32, at_s: float, fade_s: float) -> Float32:
    """Fade from one song to another, centred on ``at_s`` (a cut begins at it), equal power."""
    start = round((at_s - (fade_s / 2 if fade_s > 1 else 0.0)) * RATE_HZ)
    fade = round(fade_s * RATE_HZ)
    turn = np.linspace(0.0, np.pi / 2, fade, dtype=np.float32)
    whole = np.zeros(start + len(second), np.float32)
    whole[:start] = first[:start]
    whole[start : start + len(second)] += second * np.concatenate(
        (np.sin(turn), np.ones(len(second) - fade, np.float32))
    )
    tail = first[start : start + fade]
    whole[start : start + len(tail)] += tail * np.cos(turn)[: len(tail)]
    return whole


def _cached(plan: Plan, seed: int, make: Callable[[], Float32]) -> Float32:
    key = hashlib.sha256(
        f"{plan!r} {seed} {SOUNDFONT.stat().st_size if SOUNDFONT.exists() else 0} 1".encode()
    ).hexdigest()
    path = Path(platformdirs.user_cache_dir("vjserver")) / "band" / f"{key[:20]}.npy"
    if path.exists():
        return np.asarray(np.load(path))
    sound = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, sound)
    part.replace(path)
    return sound
