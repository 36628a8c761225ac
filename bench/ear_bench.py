"""``python -m bench.ear_bench [--sets dev ...] [--json FILE]``: the ear on the test band, beside aubio's trackers.

A beat counts at the time at which its message would have been *sent*. Beat scores are mir_eval's (F-measure with 70 ms,
CMLt, AMLt; the first five seconds are left out, as is its custom); the time to lock is counted from the first beat.
aubio's five settings run in the same process over the same sound, and report at the end of their hop.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import aubio
import mir_eval.beat
import mir_eval.onset
import mir_eval.util
import numpy as np
import scipy.signal
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.music.band import SETS, SetName, Take, no_music, take, tracks
from bench.music.render import RATE_HZ
from bench.report import commit, machine
from vjserver.app.offline import hear
from vjserver.dsp.frontend import HOP
from vjserver.dsp.options import EarOptions
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.offline.listening import hear_song
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.events import Beat, Drum, Onset, Section

NS = 1_000_000_000
Float64 = NDArray[np.float64]
Row = dict[str, Any]
Results = list[tuple[str, dict[str, Row]]]
# name: method, window, hop, rate
AUBIO = {
    "aubio specdiff 1024/512": ("specdiff", 1024, 512, 44100),
    "aubio default 1024/512": ("default", 1024, 512, 44100),
    "aubio 4096/500 at 30 kHz (LedFx)": ("default", 4096, 500, 30000),
    "aubio default 512/128": ("default", 512, 128, 44100),
    "aubio default 4096/512": ("default", 4096, 512, 44100),
}
OURS, FILM = "vjserver", "vjserver, of a whole song (films)"


def blocks(sound: Float32) -> Iterator[AudioBlock]:
    for start in range(0, len(sound) - HOP + 1, HOP):
        yield AudioBlock(sound[start : start + HOP], RATE_HZ, (start + HOP) * NS // RATE_HZ)


def score_beats(truth: Float64, sent: Float64) -> Row:
    """Score sent beats against true ones, both in seconds."""
    ref, est = mir_eval.beat.trim_beats(truth), mir_eval.beat.trim_beats(np.sort(sent[sent >= 0.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns of empty estimates; they score 0
        f = float(mir_eval.beat.f_measure(ref, est))
        _, cml, _, aml = mir_eval.beat.continuity(ref, est)
    pairs = mir_eval.util.match_events(ref, est, 0.07)
    off = [float(est[j] - ref[i]) for i, j in pairs]
    return {"F": f, "CMLt": float(cml), "AMLt": float(aml), "off_s": off, "lock_s": _lock(truth, sent)}


def _lock(truth: Float64, sent: Float64) -> float:
    """Return the seconds from the first beat to the first of four that are hit in a row; 99 if there is none."""
    hit = _hits(truth, sent)
    for i in range(len(hit) - 3):
        if hit[i : i + 4].all():
            return float(truth[i] - truth[0])
    return 99.0


def _hits(truth: Float64, sent: Float64, window_s: float = 0.07) -> NDArray[np.bool_]:
    if not len(sent):
        return np.zeros(len(truth), bool)
    return np.asarray(np.abs(truth[:, None] - sent[None, :]).min(axis=1) <= window_s)


def _recovery(truth: Float64, sent: Float64, since_s: float) -> float:
    """Return the seconds after ``since_s`` from which four beats in a row are hit."""
    later = truth[truth >= since_s - 0.02]
    return _lock(later, sent) if len(later) > 4 else 99.0


def score_drums(t: Take, kicks: Float64, snares: Float64, hats: Float64) -> Row:
    """Score triggers (when they were sent, seconds): kick and snare together, and each by itself."""
    true, told = np.union1d(t.kick, t.snare), np.union1d(kicks, snares)
    # a trigger comes after its hit: 80 ms later at most, and a hair before at most
    pairs = mir_eval.util.match_events(true, told - 0.035, 0.045) if len(told) and len(true) else []
    row: Row = {
        "late_s": [float(told[j] - true[i]) for i, j in pairs],
        "true": len(true), "told": len(told), "found": len(pairs),
        "loud": len(loud := set(true) - set(t.ghosts)), "loud found": sum(true[i] in loud for i, _ in pairs),
    }  # fmt: skip
    for name, ref, est in (("kick", t.kick, kicks), ("snare", t.snare, snares), ("hat", t.hat, hats)):
        found = len(mir_eval.util.match_events(ref, est, 0.05)) if len(ref) and len(est) else 0
        row[name] = (len(ref), len(est), found)
    return row


def run_ours(t: Take) -> Row:
    """Play a take to the ear."""
    analysis = Analysis(RATE_HZ, EarOptions())
    beats, positions, trust, hops, bands = [], [], [], [], []
    drums: dict[str, list[float]] = {"kick": [], "snare": [], "hat": []}
    onsets, drops, late = [], [], []

    def timed() -> Iterator[AudioBlock]:
        for block in blocks(t.sound):
            began = time.perf_counter()
            yield block
            hops.append(time.perf_counter() - began)
            bands.append(analysis.features.bands)

    began = time.process_time()
    for event, sent_ns in hear(analysis, timed()):
        sent = sent_ns / NS
        if isinstance(event, Beat):
            beats.append(sent)
            positions.append(event.bar_position)
            trust.append(event.confidence)
            late.append(sent_ns - event.t_ns)
        elif isinstance(event, Drum):
            drums[event.name].append(sent)
        elif isinstance(event, Onset):
            onsets.append(event.t_ns / NS)
        elif isinstance(event, Section) and event.name == "drop":
            drops.append(sent)
    cpu = (time.process_time() - began) / (len(t.sound) / RATE_HZ)
    sent_beats = np.array(beats)
    row = score_beats(t.beats, sent_beats) if len(t.beats) else {}
    told_ones = sent_beats[np.array(positions) == 0] if beats else np.zeros(0)
    late_ones = t.downbeats[t.downbeats > 5.0]
    if len(t.beats):
        row["downbeat F"] = _f_of_ones(late_ones, told_ones[told_ones > 5.0])
        row["trust"] = [(c, bool(h)) for c, h in zip(trust, _hits(sent_beats, t.beats), strict=True)] if beats else []
        row["drums"] = score_drums(t, *[np.array(drums[name]) for name in ("kick", "snare", "hat")])
        row["onset F"] = float(mir_eval.onset.f_measure(t.onsets, np.unique(onsets))[0]) if onsets else 0.0
        settled = np.array(bands[3 * RATE_HZ // HOP :])
        row["bands"] = (np.percentile(settled, 95, axis=0) - np.percentile(settled, 5, axis=0)).tolist()
        if t.join_s is not None:
            row["follow_s"] = _recovery(t.beats, sent_beats, t.join_s)
        row["drops"] = [any(-0.1 < told - drop < 1.0 for told in drops) for drop in t.drops]
        row["false drops"] = sum(not any(-0.1 < told - drop < 1.0 for drop in t.drops) for told in drops)
        row["after break, beats"] = [_missed(t.beats, sent_beats, drop) for drop in t.drops]
        breaks = [(start, end) for start, end in t.drumless if start > 4.0 and end - start > 4.0]
        inside = [t.beats[(t.beats > start) & (t.beats < end)] for start, end in breaks]
        row["in break"] = [float(_hits(beats_, sent_beats).mean()) for beats_ in inside]
    row |= {"cpu": cpu, "hops_s": hops, "beats": len(beats), "seconds": len(t.sound) / RATE_HZ}
    return row


def _f_of_ones(truth: Float64, told: Float64) -> float:
    return float(mir_eval.beat.f_measure(truth, told)) if len(told) > 1 else 0.0


def _missed(truth: Float64, sent: Float64, since_s: float) -> int:
    """Return how many beats after ``since_s`` pass before one is hit."""
    hit = _hits(truth[truth >= since_s - 0.02], sent)
    return int(np.argmax(hit)) if hit.any() else len(hit)


def run_aubio(t: Take, method: str, window: int, hop: int, rate: int) -> Row:
    """Play a take to one of aubio's trackers; a whisper of dither spares it digital silence."""
    sound = t.sound.mean(axis=1)
    if rate != RATE_HZ:
        sound = scipy.signal.resample_poly(sound, rate // 300, RATE_HZ // 300).astype(np.float32)
    sound = sound + np.random.default_rng(0).normal(0, 1e-4, len(sound)).astype(np.float32)
    tracker = aubio.tempo(method, window, hop, rate)
    began = time.process_time()
    starts = range(0, len(sound) - hop, hop)
    sent = [(start + hop) / rate for start in starts if tracker(sound[start : start + hop])[0]]
    row = score_beats(t.beats, np.array(sent)) if len(t.beats) else {}
    cpu = (time.process_time() - began) / (len(sound) / rate)
    return row | {"cpu": cpu, "beats": len(sent), "seconds": len(sound) / rate}


def run_film(t: Take) -> Row:
    """Have a take heard as a film does: the whole song, before the first frame."""
    began = time.process_time()
    heard = hear_song((t.sound[i : i + RATE_HZ] for i in range(0, len(t.sound), RATE_HZ)), RATE_HZ)
    cpu = (time.process_time() - began) / heard.seconds
    beats = np.array([grid.t_ns / NS for grid in heard.beats])
    ones = np.array([grid.t_ns / NS for grid in heard.beats if grid.bar_position == 0])
    row = score_beats(t.beats, beats) if len(t.beats) else {}
    if len(t.beats):
        row["downbeat F"] = _f_of_ones(t.downbeats[t.downbeats > 5.0], ones[ones > 5.0])
    return row | {"cpu": cpu, "beats": len(beats), "seconds": heard.seconds}


def run_track(job: tuple[SetName, int, bool]) -> tuple[str, dict[str, Row]]:
    """Run everybody on one track (or, beyond the tracks, on one thing that is no music)."""
    which, index, rivals = job
    known = tracks(which)
    if index < len(known):
        t = take(known[index], which)
    else:
        name, sound = list(no_music(which))[index - len(known)]
        none = np.zeros(0)
        t = Take(f"~{name}", "none", sound, none, none, none, none, none, none, none, (), none)
    rows = {OURS: run_ours(t), FILM: run_film(t)}
    if rivals:
        rows |= {name: run_aubio(t, *setting) for name, setting in AUBIO.items()}
    return t.name, rows


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 3)


def _ms(values: Float64, *percents: float) -> list[float]:
    return [round(float(np.percentile(values, q)) * 1e3, 3 if len(percents) > 2 else 1) for q in percents]


def _share(part: float, whole: float) -> float:
    return round(part / whole, 3) if whole else 0.0


def summary(rows: Results, who: str) -> Row:
    """Return one line: the mean over the tracks of a set; medians where it says ms or s."""
    music = [r[who] for name, r in rows if not name.startswith("~")]
    off = np.array([o for r in music for o in r["off_s"]])
    return {
        **{key: _mean(r[key] for r in music) for key in ("F", "CMLt", "AMLt")},
        "worst F": round(min(r["F"] for r in music), 2),
        "off ms": _ms(off, 50)[0],
        "sd ms": _ms(np.array([np.std(r["off_s"]) for r in music if r["off_s"]]), 50)[0],
        "sd of all ms": round(float(np.std(off)) * 1e3, 1),
        "lock s": round(float(np.median([r["lock_s"] for r in music])), 2),
        "slowest s": round(max(r["lock_s"] for r in music), 1),
        "cpu %": round(100 * _mean(r["cpu"] for r in music), 2),
        **({"one F": _mean(r["downbeat F"] for r in music)} if "downbeat F" in music[0] else {"one F": 0.0}),
        "beats/min": {n[1:]: round(60 * r[who]["beats"] / r[who]["seconds"], 1) for n, r in rows if n.startswith("~")},
    }


def details(rows: Results) -> Row:
    """Return what only our ear tells."""
    music = [r[OURS] for name, r in rows if not name.startswith("~")]
    drums = [r["drums"] for r in music]
    found, true, told, loud, heard = (sum(d[k] for d in drums) for k in ("found", "true", "told", "loud", "loud found"))
    each = {name: np.sum([d[name] for d in drums], axis=0).tolist() for name in ("kick", "snare", "hat")}
    trust: dict[str, list[bool]] = defaultdict(list)
    for surety, right in sorted(pair for r in music for pair in r["trust"]):
        trust[f"{min(0.9, int(surety * 10) / 10):.1f}"].append(right)
    spans = np.array([r["bands"] for r in music])
    drops = [d for r in music for d in r["drops"]]
    return {
        "kick and snare recall, precision": [_share(found, true), _share(found, told)],
        "kick and snare recall without ghosts": _share(heard, loud),
        "kick and snare latency ms p50, p95": _ms(np.array([x for d in drums for x in d["late_s"]]), 50, 95),
        **{f"{name} recall, precision": [_share(n[2], n[0]), _share(n[2], n[1])] for name, n in each.items()},
        "onset F": _mean(r["onset F"] for r in music),
        "downbeat F": _mean(r["downbeat F"] for r in music),
        "right beats by confidence, of": {low: [_mean(hits), len(hits)] for low, hits in trust.items()},
        "span of a band 5-95 %, least, median": [round(float(spans.min()), 2), round(float(np.median(spans)), 2)],
        "a cut or mix followed after s": [round(r["follow_s"], 2) for r in music if "follow_s" in r],
        "drops told, of, false": [sum(drops), len(drops), sum(r["false drops"] for r in music)],
        "beats hit in breaks": [round(x, 2) for r in music for x in r["in break"]],
        "beats missed after a break": [x for r in music for x in r["after break, beats"]],
        "hop ms p50, p99, max": _ms(np.concatenate([r["hops_s"] for r in music]), 50, 99, 100),
    }


def _track_row(name: str, r: Row) -> list[str]:
    if name.startswith("~"):
        return [name, f"{60 * r['beats'] / r['seconds']:.1f} beats/min"]
    drums, off = r["drums"], np.array(r["off_s"] or [0.0]) * 1e3
    return [
        name, *[f"{r[key]:.2f}" for key in ("F", "CMLt", "AMLt")], f"{np.median(off):.1f}", f"{off.std():.1f}",
        f"{r['lock_s']:.1f}", f"{r['downbeat F']:.2f}", f"{_share(drums['found'], drums['true']):.2f}",
        f"{_share(drums['found'], drums['told']):.2f}", " ".join(f"{band:.2f}" for band in r["bands"]),
    ]  # fmt: skip


def show(console: Console, which: str, rows: Results) -> Row:
    table = Table(title=f"{which}: our ear, track by track")
    for column in ("track", "F", "CMLt", "AMLt", "off ms", "sd ms", "lock s", "one F", "drums r", "p", "bands"):
        table.add_column(column)
    for name, r in rows:
        table.add_row(*_track_row(name, r[OURS]))
    console.print(table)
    lines = {who: summary(rows, who) for who in rows[0][1]}
    table = Table(title=f"{which}: trackers")
    for column in ("tracker", *lines[OURS]):
        table.add_column(column)
    for who, line in lines.items():
        silent = " ".join(f"{k} {n:g}" for k, n in line["beats/min"].items())
        table.add_row(who, *[str(value) for value in list(line.values())[:-1]], silent)
    console.print(table)
    more = details(rows)
    for key, value in more.items():
        console.print(f"  {key}: {value}")
    kept = ("F", "CMLt", "AMLt", "lock_s", "downbeat F")
    tracks_ = {n: {key: round(r[OURS][key], 3) for key in kept} for n, r in rows if not n.startswith("~")}
    return {"set": which, "trackers": lines, "ear": more, "tracks": tracks_}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.ear_bench")
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--only-ours", action="store_true", help="leave aubio's trackers out")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    console, results = Console(width=200), []
    for which in args.sets:
        count = len(tracks(which)) + len(list(no_music(which)))
        with ProcessPoolExecutor(args.workers) as pool:
            rows = list(pool.map(run_track, [(which, i, not args.only_ours) for i in range(count)]))
        results.append(show(console, which, rows))
    if args.json:
        head = {"bench": "ear_bench", "commit": commit(), "machine": machine()}
        args.json.write_text(json.dumps(head | {"sets": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
