"""Composing: a seed goes in, a plan for a song nobody wrote comes out. The network's training songs are made here.

Each style is a row of chances: where kicks, snares and hats fall, how fast, how loose. Nothing here is drawn from the
test band: its kits and programs are left out (:data:`HELD_BACK`), and a plan whose full drum bar equals one of its is
thrown away by the caller.
"""

from dataclasses import dataclass

import numpy as np

from bench.music.score import Plan, Sounds

Chances = dict[int, float]


@dataclass(frozen=True, slots=True)
class Style:
    """How a style is drawn. Chances are by step of the bar; ``hats`` are the names of hat figures to choose from."""

    bpm: tuple[float, float]
    kick: Chances
    snare: Chances
    hats: tuple[str, ...]
    weight: float = 1.0
    beats_per_bar: int = 4
    division: int = 4
    swing: tuple[float, float] = (0.5, 0.5)
    human_ms: tuple[float, float] = (0.0, 0.0)
    ghosts: float = 0.0
    bass: tuple[str, ...] = ("root8", "offbeat", "random", "kick", "long")
    chords: tuple[str, ...] = ("stab", "pad", "random", "off", "pump")
    lead: tuple[str, ...] = ("arp16", "arp8", "melody", "none")
    extra: float = 0.3


FOUR: Chances = {0: 1.0, 4: 1.0, 8: 1.0, 12: 1.0}
BACK: Chances = {4: 1.0, 12: 1.0}
STYLES = {
    "house": Style((116, 132), {**FOUR, 14: 0.08, 10: 0.05}, {4: 0.9, 12: 0.9, 15: 0.1, 7: 0.1}, ("off", "off16", "16", "off8"), 1.6),
    "techno": Style((122, 150), {**FOUR, 15: 0.05}, {4: 0.4, 12: 0.4, 7: 0.12, 10: 0.1}, ("off", "16", "off16", "sparse"), 1.4,
                    bass=("offbeat", "random", "16", "kick"), chords=("random", "stab", "none")),
    "trance": Style((128, 145), FOUR, {4: 0.8, 12: 0.8}, ("off", "off16"), 1.0, bass=("offbeat", "gallop", "16")),
    "disco": Style((104, 128), FOUR, BACK, ("off8", "16", "off"), 1.0, human_ms=(0, 8), bass=("octave", "random", "root8")),
    "dnb": Style((164, 180), {0: 1.0, 10: 0.85, 2: 0.12, 8: 0.1, 7: 0.12, 13: 0.1}, BACK, ("8", "16", "ride8"), 1.5, ghosts=0.15,
                 bass=("long", "random", "kick"), chords=("pad", "random", "none")),
    "jungle": Style((155, 172), {0: 1.0, 2: 0.5, 10: 0.6, 11: 0.35, 6: 0.15}, {4: 1.0, 12: 0.75, 14: 0.25, 7: 0.4, 9: 0.4, 15: 0.2},
                    ("8", "16", "ride8"), 1.3, ghosts=0.25, bass=("long", "random", "kick"), chords=("pad", "random", "stab")),
    "breaks": Style((110, 140), {0: 1.0, 10: 0.6, 2: 0.2, 6: 0.3, 7: 0.2, 11: 0.3, 3: 0.15, 14: 0.15}, {4: 1.0, 12: 0.9, 7: 0.2, 9: 0.25, 15: 0.2},
                    ("8", "16", "off8"), 1.5, ghosts=0.2, human_ms=(0, 5)),
    "hiphop": Style((72, 102), {0: 1.0, 10: 0.5, 7: 0.3, 6: 0.25, 3: 0.2, 8: 0.25, 11: 0.2, 14: 0.15}, BACK, ("8", "16", "8"), 1.5,
                    swing=(0.5, 0.66), human_ms=(0, 10), ghosts=0.12),
    "trap": Style((126, 156), {0: 1.0, 3: 0.2, 6: 0.3, 7: 0.2, 10: 0.35, 11: 0.2, 13: 0.1, 14: 0.25}, {8: 1.0}, ("8", "16", "rolls", "8"), 1.5,
                  bass=("kick", "long"), chords=("pad", "random", "arp"), extra=0.15),
    "dubstep": Style((134, 148), {0: 1.0, 2: 0.1, 6: 0.2, 10: 0.25, 11: 0.15, 14: 0.15, 5: 0.1}, {8: 1.0}, ("8", "sparse", "off8", "4"), 1.4,
                     bass=("wobble", "long", "random"), chords=("pad", "none", "stab"), extra=0.2),
    "garage": Style((126, 138), {0: 1.0, 10: 0.8, 7: 0.25, 14: 0.2, 3: 0.15}, BACK, ("16", "off8", "shuffle"), 1.5, swing=(0.52, 0.64), ghosts=0.15),
    "reggaeton": Style((82, 106), FOUR, {3: 1.0, 6: 1.0, 11: 1.0, 14: 1.0}, ("8", "16", "sparse", "4"), 1.4, bass=("kick", "tresillo", "root8")),
    "afro": Style((98, 126), {0: 1.0, 4: 0.6, 8: 0.8, 12: 0.6, 6: 0.2, 14: 0.2}, {3: 0.5, 6: 0.5, 11: 0.4, 14: 0.4, 12: 0.3, 4: 0.3}, ("16", "8", "off8"), 1.2,
                  human_ms=(0, 8), extra=0.9, bass=("tresillo", "random", "kick")),
    "dancehall": Style((88, 112), {0: 1.0, 6: 0.5, 8: 0.5, 3: 0.3}, {3: 0.3, 6: 0.7, 14: 0.7, 12: 0.3}, ("8", "off8"), 0.7, extra=0.5, chords=("off", "stab")),
    "reggae": Style((66, 92), {8: 1.0, 0: 0.15}, {8: 0.9, 15: 0.1}, ("8", "shuffle", "off8"), 0.8, swing=(0.5, 0.62), human_ms=(3, 10), chords=("skank",), bass=("random", "tresillo")),
    "funk": Style((92, 118), {0: 1.0, 2: 0.35, 6: 0.35, 10: 0.6, 7: 0.25, 13: 0.2}, {4: 1.0, 12: 1.0, 7: 0.3, 9: 0.35, 15: 0.2}, ("16", "8"), 1.4, ghosts=0.35,
                  human_ms=(3, 10), bass=("random", "16", "octave"), chords=("random", "scratch")),
    "rock": Style((84, 158), {0: 1.0, 8: 0.7, 10: 0.4, 7: 0.2, 2: 0.15, 14: 0.1, 6: 0.2}, BACK, ("8", "ride8", "4", "8"), 1.8, human_ms=(4, 13),
                  bass=("root8", "root4", "kick"), chords=("power8", "power4", "pad", "random"), lead=("melody", "none", "none")),
    "punk": Style((150, 208), {0: 1.0, 8: 0.8, 10: 0.5, 6: 0.25, 2: 0.1}, BACK, ("8", "4", "ride8"), 1.4, human_ms=(4, 12), bass=("root8",), chords=("power8",), lead=("none", "melody")),
    "dbeat": Style((88, 108), {0: 1.0, 3: 0.4, 6: 0.5, 8: 0.9, 10: 0.3, 14: 0.4}, {2: 0.4, 4: 0.9, 12: 0.9, 6: 0.2, 10: 0.3, 14: 0.3}, ("8", "16", "ride8"), 0.4, human_ms=(4, 10), bass=("root8", "16"), chords=("power8",)),
    "metal": Style((96, 190), {0: 1.0, 2: 0.4, 4: 0.3, 6: 0.5, 8: 0.8, 10: 0.5, 12: 0.3, 14: 0.5}, BACK, ("4", "8", "ride8"), 0.8, human_ms=(2, 8), bass=("kick", "root8"), chords=("kick", "power8", "power16")),
    "ballad": Style((58, 86), {0: 1.0, 8: 0.6, 10: 0.3, 7: 0.2}, BACK, ("8", "4", "16"), 1.4, human_ms=(3, 12), bass=("long", "root4", "random"), chords=("broken8", "pad", "root4", "broken16"), lead=("melody", "none")),
    "pop": Style((88, 132), {0: 1.0, 8: 0.8, 10: 0.35, 6: 0.25, 4: 0.15}, BACK, ("8", "16", "off", "4"), 1.6, human_ms=(0, 9)),
    "waltz": Style((84, 190), {0: 1.0}, {4: 0.7, 8: 0.8}, ("4", "8", "none"), 1.3, beats_per_bar=3, human_ms=(2, 12), bass=("one", "long"), chords=("oompah", "oompah", "pad"), lead=("melody", "melody", "none")),
    "sixeight": Style((48, 76), {0: 1.0, 2: 0.15, 5: 0.2}, {3: 1.0}, ("8", "4", "8"), 1.2, beats_per_bar=2, division=3, human_ms=(2, 10), bass=("long", "one", "root8"), chords=("broken8", "pad"), lead=("melody", "none")),
    "shuffle": Style((84, 150), {0: 1.0, 6: 0.8, 3: 0.15, 9: 0.15, 8: 0.2}, {3: 1.0, 9: 1.0}, ("triplet", "swing", "swing"), 1.0, division=3, human_ms=(3, 10), bass=("root4", "swing"), chords=("swing", "pad", "root4"), lead=("melody", "none")),
    "jazz": Style((92, 220), {0: 0.25, 6: 0.25, 8: 0.15}, {3: 0.1, 5: 0.15, 9: 0.1, 11: 0.15}, ("ridejazz",), 0.8, division=3, human_ms=(3, 9), bass=("walk",), chords=("random", "charleston"), lead=("melody", "none")),
    "electro": Style((108, 136), {0: 1.0, 3: 0.3, 6: 0.5, 10: 0.5, 7: 0.2, 14: 0.2}, BACK, ("16", "8", "off8"), 1.0, extra=0.6, bass=("16", "random", "octave")),
    "latin": Style((88, 128), {0: 0.8, 6: 0.7, 8: 0.4, 14: 0.6}, {3: 0.3, 6: 0.3, 10: 0.3, 12: 0.5}, ("8", "16"), 0.9, extra=1.0, human_ms=(2, 9), bass=("tresillo",), chords=("montuno",), lead=("melody", "none")),
    "solo": Style((60, 150), {}, {}, ("none",), 1.6, human_ms=(3, 14), bass=("none", "root4", "long"), chords=("broken8", "broken16", "root4", "power4", "oompah4", "stab"), lead=("melody", "arp8", "none"), extra=0.0),
    "march": Style((96, 132), {0: 1.0, 8: 1.0}, {4: 1.0, 12: 1.0, 6: 0.3, 7: 0.3, 14: 0.3, 15: 0.3}, ("none", "8"), 0.4, human_ms=(2, 8), bass=("root4",), chords=("off", "oompah4")),
}  # fmt: skip

# The kits and programs of the dev and test bands: no training song uses them.
HELD_BACK_KITS = (8, 16, 24, 40)
HELD_BACK_PROGRAMS = frozenset(
    {2, 3, 7, 16, 19, 21, 26, 30, 32, 35, 37, 39, 46, 49, 51, 54, 57, 62, 66, 73, 83, 84, 87, 91, 92, 94}
)
TRAINING_KITS = (0, 1, 2, 3, 4, 5, 25, 26, 27, 32, 33, 48, 0, 25)
BASSES = (33, 34, 36, 38, 43, 87, 81, 58, 32, 35, 37, 39)
KEYS = (0, 1, 4, 5, 6, 11, 12, 17, 18, 22, 24, 25, 27, 28, 29, 45, 48, 50, 61, 62, 63, 80, 81, 90, 2, 3, 16, 26, 30)
LEADS = (11, 13, 40, 56, 60, 65, 68, 71, 74, 75, 80, 81, 82, 85, 98, 104, 106, 108, 114, 52, 53, 83, 84, 73)
PADS = (48, 50, 52, 88, 89, 90, 93, 95, 20, 49, 51, 91, 94)
PERCUSSION = (54, 56, 60, 61, 62, 63, 64, 69, 70, 75, 76, 77, 82)
PROGRESSIONS = (
    (0, 5, 3, 4),
    (0, 4, 5, 3),
    (0,),
    (0, 3),
    (0, 6, 5, 6),
    (0, 0, 3, 4),
    (1, 4, 0, 0),
    (0, 5),
    (0, 2, 3, 4),
    (5, 3, 0, 4),
)


def compose(rng: np.random.Generator, style_name: str | None = None) -> Plan:
    """Return a random plan of about 50 s, of a style drawn by weight unless it is named."""
    if style_name is None:
        weights = np.array([style.weight for style in STYLES.values()])
        style_name = str(rng.choice(list(STYLES), p=weights / weights.sum()))
    style = STYLES[style_name]
    steps = style.beats_per_bar * style.division
    bpm = float(np.exp(rng.uniform(*np.log(style.bpm))))
    two = rng.random() < 0.5
    kick = tuple(_draw(rng, style.kick, steps, "x") for _ in range(1 + two))
    snare = tuple(_draw(rng, style.snare, steps, "x", style.ghosts) for _ in range(1 + two))
    if style.kick and not any("x" in line for line in kick):
        kick = ("x" + "." * (steps - 1),)
    hat = _hats(rng, str(rng.choice(style.hats)), steps, style)
    sounds = Sounds(
        kit=int(rng.choice(TRAINING_KITS)), kick=int(rng.choice((36, 36, 35))), snare=int(rng.choice((38, 38, 40, 39))),
        hat=int(rng.choice((42, 42, 42, 44))), bass=_program(rng, BASSES), chords=_program(rng, KEYS),
        lead=_program(rng, LEADS), pad=_program(rng, PADS),
    )  # fmt: skip
    bars = max(8, round(50.0 * bpm / 60.0 / style.beats_per_bar))
    return Plan(
        name=f"{style_name}-{bpm:.2f}", style=style_name, bpm=bpm, kick=kick, snare=snare, hat=hat,
        extra=_percussion(rng, style, steps),
        bass=_line(rng, str(rng.choice(style.bass)), steps, style.division, kick[0]),
        chords=_line(rng, str(rng.choice(style.chords)), steps, style.division, kick[0]),
        lead=_line(rng, str(rng.choice(style.lead)), steps, style.division, kick[0], bars=4),
        sections=_sections(rng, bars, style_name), beats_per_bar=style.beats_per_bar, division=style.division,
        swing=float(rng.uniform(*style.swing)), human_ms=float(rng.uniform(*style.human_ms)),
        drift=float(rng.uniform(0.0, 0.006)) if style.human_ms[1] and rng.random() < 0.6 else 0.0,
        tempo=_tempo(rng, bpm, bars), key=int(rng.integers(40, 52)), mode=str(rng.choice(("minor", "major", "dorian"))),
        progression=PROGRESSIONS[rng.integers(len(PROGRESSIONS))], sounds=sounds,
    )  # fmt: skip


def _draw(rng: np.random.Generator, chances: Chances, steps: int, letter: str, ghosts: float = 0.0) -> str:
    line = []
    for step in range(steps):
        if rng.random() < chances.get(step, 0.0):
            line.append("X" if rng.random() < 0.3 else letter)
        else:
            line.append("g" if ghosts and rng.random() < ghosts * 0.5 else ".")
    return "".join(line)


def _hats(rng: np.random.Generator, figure: str, steps: int, style: Style) -> tuple[str, ...]:
    beat = style.division
    if figure == "none" or rng.random() < 0.06:
        return ()
    if figure == "rolls":
        fine = ["x." * (steps // 2), "x.x.x.xx" * (steps // 8), "xxx" * 3 + "x." * ((steps * 2 - 9) // 2) + "."]
        return tuple(
            str(rng.choice(fine[:2])) if i < 3 else ("x.x.x.x." * (steps // 8) + "xxxxxxxx" * (steps // 8))
            for i in range(4)
        )
    line = []
    for step in range(steps):
        at = step % beat
        half = beat // 2
        on = {
            "4": at == 0, "8": at in (0, half) if beat == 4 else True, "16": True, "off": at == half,
            "off8": at in (0, half), "off16": True, "sparse": rng.random() < 0.25, "ride8": at in (0, half) if beat == 4 else True,
            "shuffle": at != 1 or rng.random() < 0.5, "triplet": True, "swing": at != 1,
            "ridejazz": at == 0 or (at == 2 and (step // 3) % 2 == 1),
        }[figure]  # fmt: skip
        if not on or rng.random() < 0.03:
            line.append(".")
        elif figure in ("off", "off8", "off16") and at == half:
            line.append("o" if rng.random() < 0.7 else "X")
        else:
            line.append("x" if at == 0 else str(rng.choice(("x", "g", "x"))))
    return ("".join(line),)


def _percussion(rng: np.random.Generator, style: Style, steps: int) -> dict[int, str]:
    lines: dict[int, str] = {}
    while rng.random() < style.extra and len(lines) < 3:
        density = rng.uniform(0.12, 0.6)
        lines[int(rng.choice(PERCUSSION))] = "".join(
            str(rng.choice(("x", "g"))) if rng.random() < density else "." for _ in range(steps)
        )
    return lines


def _program(rng: np.random.Generator, choices: tuple[int, ...]) -> int:
    return int(rng.choice([p for p in choices if p not in HELD_BACK_PROGRAMS]))


def _line(rng: np.random.Generator, figure: str, steps: int, beat: int, kick: str, bars: int = 2) -> tuple[str, ...]:
    """Return bars of a tonal line in the notation of :class:`Plan`."""
    if figure == "none":
        return ()
    return tuple(_bar_line(rng, figure, steps, beat, kick) for _ in range(int(rng.integers(1, bars + 1))))


def _bar_line(rng: np.random.Generator, figure: str, steps: int, beat: int, kick: str) -> str:
    half = max(1, beat // 2)
    line = ["."] * steps

    def degree(*choices: str) -> str:
        return str(rng.choice(choices))

    def hold(length: int) -> str:
        return "-" * max(0, length - 1)

    def put(step: int, letter: str, length: int) -> None:
        if 0 <= step < steps:
            text = (letter + hold(length))[: steps - step]
            line[step : step + len(text)] = list(text)

    if figure in ("long", "pad"):
        return "0" + hold(steps)
    if figure == "one":
        return "0" + hold(beat) + "." * (steps - beat)
    every = {"root8": half, "power8": half, "broken8": half if beat == 4 else 1, "arp8": half, "16": 1, "arp16": 1, "broken16": 1,
             "power16": 1, "root4": beat, "power4": beat, "walk": beat, "oompah4": beat}.get(figure)  # fmt: skip
    if every:
        moving = figure.startswith(("broken", "arp")) or figure == "walk"
        for i, step in enumerate(range(0, steps, every)):
            if figure == "oompah4" and i % 2 == 0:
                continue
            if rng.random() < 0.05 and step:
                continue
            put(
                step,
                str((0, 2, 4, 7, 4, 2)[i % 6]) if moving else degree("0", "0", "0", "4") if figure == "16" else "0",
                every,
            )
        if figure == "walk":
            return "".join(degree("0", "2", "4", "5", "6", "7") if c.isdigit() else c for c in line)
        return "".join(line)
    if figure in ("offbeat", "off", "skank", "pump", "octave", "gallop"):
        for i, step in enumerate(range(0, steps, beat)):
            if figure == "octave":
                put(step, "0", half)
                put(step + half, "7", half)
            elif figure == "gallop":
                for k in range(1, beat):
                    put(step + k, "0", 1)
            elif figure == "pump":
                put(step + 1, "0", beat - 1)
            elif not (figure == "skank" and i % 2 and rng.random() < 0.1):
                put(step + half, "0", half)
        return "".join(line)
    if figure == "oompah":
        for step in range(beat, steps, beat):
            put(step, "0", beat)
        return "".join(line)
    if figure == "kick":
        for step, letter in enumerate(kick[:steps]):
            if letter in "xX":
                put(step, "0", min(3, steps - step))
        return "".join(line)
    if figure in ("tresillo", "montuno"):
        places = (0, 3, 6, 8, 11, 14) if figure == "tresillo" else (0, 2, 3, 5, 7, 9, 11, 12, 14)
        for step in places:
            if rng.random() < 0.9:
                put(step, degree("0", "0", "4", "2"), 2)
        return "".join(line)
    if figure == "charleston":
        put(0, "0", 2)
        put(beat + 2, "0", 2)
        return "".join(line)
    if figure == "swing":
        for step in range(0, steps, beat):
            put(step, "0", 2)
            put(step + 2, degree("0", "4"), 1)
        return "".join(line)
    if figure == "wobble":
        rate = int(rng.choice((2, 3, 4, 1)))
        for step in range(0, steps, rate):
            put(step, degree("0", "0", "0", "3"), rate)
        return "".join(line)
    density = {"stab": 0.18, "random": 0.35, "scratch": 0.55, "melody": 0.35, "arp": 0.5}.get(figure, 0.3)
    step = 0
    while step < steps:
        strong = 2.2 if step % beat == 0 else 1.3 if step % half == 0 else 0.6
        if rng.random() < density * strong:
            length = int(rng.choice((1, 2, 2, 3, 4)))
            put(step, degree("0", "1", "2", "4", "5", "7") if figure in ("melody", "arp", "random") else "0", length)
            step += length
        else:
            step += 1
    return "".join(line)


def _sections(rng: np.random.Generator, bars: int, style: str) -> tuple[tuple[int, str], ...]:
    """Return an arrangement: players come and go every few bars, sometimes all drums are silent."""
    if style == "solo":
        return ((bars, str(rng.choice(("bcl", "cl", "c", "bc", "clp")))),)
    sections: list[tuple[int, str]] = []
    left = bars
    while left > 0:
        long = min(left, int(rng.choice((2, 4, 4, 8, 8))))
        kind = rng.random()
        if kind < 0.62:
            parts = "ksheb" + "".join(p for p in "clp" if rng.random() < 0.6) + ("f" if rng.random() < 0.3 else "")
        elif kind < 0.72:
            parts = str(rng.choice(("kh", "khe", "ksh", "kshe", "k", "sh", "he", "kb", "hb", "kshc")))
        elif kind < 0.82:
            parts = str(rng.choice(("kshb", "kshl", "kbc", "hbc", "ebl", "hcl")))
        elif kind < 0.92:
            parts = str(rng.choice(("bcl", "cl", "bp", "p", "lp", "bcp"))) if long <= 4 else "bclp"
        else:
            parts = str(rng.choice(("rp", "rc", "khr")))
        sections.append((long, parts))
        left -= long
    return tuple(sections)


def _tempo(rng: np.random.Generator, bpm: float, bars: int) -> tuple[tuple[float, float], ...]:
    """Return the tempo line: mostly straight, sometimes a ramp or a cut."""
    kind = rng.random()
    if kind < 0.80:
        return ()
    to = bpm * float(np.exp(rng.uniform(-0.16, 0.16)))
    at = float(rng.integers(2, max(3, bars // 2)))
    if kind < 0.92:
        return ((0.0, bpm), (at, bpm), (min(bars - 1.0, at + float(rng.uniform(4, 14))), to))
    return ((0.0, bpm), (at, bpm), (at + 0.01, to))
