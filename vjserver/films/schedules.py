"""Parseq and Deforum: their files go in, the scenes of a storyboard come out.

Both move a picture frame by frame: by factors, degrees and pixels. Here a camera flies, by seconds, so what they say is
worked out for each of their frames, at their own rate, and kept as keys. A key that lies on the line between its
neighbours is left out.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vjserver.films.compiled import simplified
from vjserver.show.addresses import COMMON
from vjserver.show.expression import TIMES, Expression, parse
from vjserver.types.errors import ConfigError

HEIGHT, FPS = 512, 15.0
MOST_FRAMES = 200_000
STILL = ("", "0", "0.0", "0:(0)", "0: (0)")
Curve = Sequence[float]


def board_of_parseq(text: str, where: str) -> tuple[dict[str, Any], float, list[str]]:
    """Return the storyboard of a Parseq file, its frames a second, and what was left out. Raises ConfigError."""
    data = _json(text, where)
    rows = data.get("rendered_frames")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{where}: no rendered_frames are in it: render it in Parseq, and export it")
    options: Any = data.get("options")
    options = options if isinstance(options, dict) else {}
    fps = _fps(options.get("output_fps", 20), where)
    before = -1
    for i, row in enumerate(rows):
        frame = int(_real(row.get("frame", i), float(i)))
        if not before < frame < MOST_FRAMES:
            raise ConfigError(f"{where}: frames rise, up to {MOST_FRAMES}: got {frame} after {before}")
        before = frame
    filled: list[Mapping[str, Any]] = []
    for row in rows:  # frames that are left out are as the one before
        while len(filled) < int(_real(row.get("frame", len(filled)), len(filled))):
            filled.append(filled[-1] if filled else row)
        filled.append(row)

    def delta(name: str, usual: float, is_factor: bool) -> Curve:
        """Return how much a value changes on each frame: told as that, or worked out from where it is."""
        if f"{name}_delta" in filled[0]:
            return [_real(row.get(f"{name}_delta"), usual) for row in filled]
        values = [_real(row.get(name), usual) for row in filled]
        start = 1.0 if is_factor else 0.0
        steps = [b - a for a, b in zip([values[0], *values], values, strict=False)]
        return [start + step for step in steps]

    camera = _camera(
        delta("zoom", 1.0, True), delta("angle", 0.0, False), delta("translation_x", 0.0, False),
        delta("translation_y", 0.0, False), fps, float(HEIGHT),
    )  # fmt: skip
    strength = [_real(row.get("strength"), 0.65) for row in filled] if "strength" in filled[0] else None
    prompts: dict[int, str] = {}
    for i, row in enumerate(filled):
        said = str(row.get("deforum_prompt", "") or "").strip()
        if said and (not prompts or said != list(prompts.values())[-1]):
            prompts[i] = said
    seeds = [int(_real(row.get("seed"), 1.0)) for row in filled]
    board = _board(prompts or {0: ""}, camera, strength, seeds, fps, len(filled))
    return board, fps, _lost(data, ("rotation_3d_x", "rotation_3d_y", "translation_z"), filled[0])


def board_of_deforum(text: str, where: str) -> tuple[dict[str, Any], float, list[str]]:
    """Return the storyboard of Deforum's settings, its frames a second, and what was left out. Raises ConfigError."""
    data = _json(text, where)
    fps = _fps(data.get("fps", FPS), where)
    frames = int(_real(data.get("max_frames"), 120.0))
    if not 0 < frames <= MOST_FRAMES:
        raise ConfigError(f"{where}: max_frames is in 1..{MOST_FRAMES}: got {frames}")
    seed = _real(data.get("seed"), 1.0)

    def curve(name: str, usual: float) -> Curve:
        rows = data.get(name)
        if rows in (None, ""):
            return [usual] * frames
        return sampled(str(rows), frames, seed, f"{where}: {name}")

    height = max(8.0, _real(data.get("H"), float(HEIGHT)))
    camera = _camera(
        curve("zoom", 1.0), curve("angle", 0.0), curve("translation_x", 0.0), curve("translation_y", 0.0), fps, height
    )
    prompts: dict[int, str] = {}
    given = data.get("prompts", data.get("animation_prompts", {}))
    if not isinstance(given, dict) or not given:
        raise ConfigError(f'{where}: prompts are {{"0": "a forest", "60": "a city"}}')
    before = str(data.get("animation_prompts_positive", "") or "").strip()
    behind = str(data.get("animation_prompts_negative", "") or "").strip()
    for key, said in given.items():
        frame = _key(str(key), frames, f"{where}: prompts")
        words = ", ".join(filter(None, (before, str(said).strip())))
        prompts[frame] = f"{words} --neg {behind}" if behind and "--neg" not in words else words
    name = "strength_schedule" if data.get("strength_schedule") else "strength"
    strength = curve(name, 0.65) if data.get(name) not in (None, "") else None
    seeds = _seeds(data, frames, int(max(0.0, seed)), where)
    board = _board(dict(sorted(prompts.items())), camera, strength, seeds, fps, frames)
    return board, fps, _lost(data, ("rotation_3d_x", "rotation_3d_y", "translation_z", "perspective_flip_theta"), data)


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where}:{error.lineno}:{error.colno}: {error.msg}") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{where}: it is nested too deeply, or has a number of thousands of digits") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: settings are {{...}}: got {type(data).__name__}")
    return data


def _fps(value: object, where: str) -> float:
    fps = _real(value, 0.0)
    if not 1.0 <= fps <= 240.0:
        raise ConfigError(f"{where}: frames a second are in 1..240: got {str(value)[:20]!r}")
    return fps


def _real(value: object, otherwise: float) -> float:
    """Return a number, as it stands or as text; ``otherwise`` for what is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if math.isfinite(number) else otherwise


# -- schedules -----------------------------------------------------------------------------------------------------


def sampled(text: str, frames: int, seed: float, where: str) -> list[float]:
    """Return the values of a schedule ``0:(1.0), 30:(1 + sin(t))``, one for each frame.

    Between two plain numbers they go in a line; an expression is worked out for each frame until the next key. ``t`` is
    the frame, ``s`` the seed, ``max_f`` the last frame. Raises ConfigError with the column.
    """
    keys = _keys(text, frames, where)
    result = []
    place = 0
    for frame in range(frames):
        while place + 1 < len(keys) and keys[place + 1][0] <= frame:
            place += 1
        at, said, column = keys[place]
        number = _plain(said)
        if number is None:
            result.append(_value(said, frame, frames, seed, f"{where}: column {column}"))
            continue
        following = keys[place + 1] if place + 1 < len(keys) else None
        after = _plain(following[1]) if following is not None else None
        if following is None or frame <= at:
            result.append(number)
        else:
            if after is None:
                after = _value(following[1], following[0], frames, seed, f"{where}: column {following[2]}")
            result.append(number + (after - number) * (frame - at) / (following[0] - at))
    return result


def _keys(text: str, frames: int, where: str) -> list[tuple[int, str, int]]:
    """Return the keys of a schedule: frame, expression, and the column (from 1) at which that stands."""
    keys: list[tuple[int, str, int]] = []
    place = 0
    while place < len(text):
        head = re.compile(r"[\s,]*(\"[^\"]*\"|'[^']*'|[^:]*?)\s*:\s*").match(text, place)
        if head is None or not head.group(1):
            rest = text[place:].strip(" ,")
            if not rest:
                break
            column = place + len(text[place:]) - len(text[place:].lstrip(" ,")) + 1
            raise ConfigError(f"{where}: column {column}: FRAME:(VALUE) is needed: got {rest[:30]!r}")
        frame = _key(head.group(1).strip("\"'"), frames, f"{where}: column {head.start(1) + 1}")
        place = head.end()
        begin = place
        if text[place : place + 1] == "(":
            place = _closed(text, place, where)
            said = text[begin + 1 : place - 1]
            begin += 1
        else:
            found = re.compile(r"[^,]*").match(text, place)
            assert found is not None
            said, place = found.group(0), found.end()
        if not said.strip():
            raise ConfigError(f"{where}: column {begin + 1}: a value is missing")
        keys.append((frame, said.strip().strip("\"'"), begin + 1))
    if not keys:
        raise ConfigError(f"{where}: FRAME:(VALUE), FRAME:(VALUE) is needed: got {text[:30]!r}")
    return sorted(keys, key=lambda key: key[0])


def _closed(text: str, begin: int, where: str) -> int:
    """Return the place behind the bracket that closes the one at ``begin``."""
    depth, quote = 0, ""
    for i in range(begin, len(text)):
        sign = text[i]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
            if sign not in text[i + 1 :]:
                raise ConfigError(f"{where}: column {i + 1}: this {sign} is never closed")
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if not depth:
                return i + 1
    raise ConfigError(f"{where}: column {begin + 1}: this ( is never closed")


def _key(text: str, frames: int, where: str) -> int:
    number = _plain(text)
    if number is None:
        number = _value(text, 0, frames, 0.0, where)
    if not 0 <= number <= MOST_FRAMES:
        raise ConfigError(f"{where}: a frame is in 0..{MOST_FRAMES}: got {text[:20]!r}")
    return int(number)


def _plain(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(text: str, frame: int, frames: int, seed: float, where: str) -> float:
    words = re.sub(r"\bmax_f\b", repr(float(frames - 1)), text)
    words = re.sub(r"\bs\b", repr(seed), words)
    words = re.sub(r"\bwhere\s*\(([^,()]+|[^,]+),([^,]+),([^()]+)\)", r"((\2) if (\1) else (\3))", words)
    words = re.sub(r"\barc(sin|cos|tan)\b", r"a\1", words)
    try:
        return parsed(words)({**dict.fromkeys(TIMES, 0.0), "t": float(frame)})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def parsed(words: str) -> Expression:
    """Return an expression of a schedule, which knows no sound. Raises ConfigError."""
    found = parse(words)
    odd = found.names - TIMES.keys()
    if odd:
        raise ConfigError(f"{words[:60]!r}: no name {sorted(odd)[0]!r}; names are t, s and max_f")
    return found


def _seeds(data: Mapping[str, Any], frames: int, seed: int, where: str) -> list[int]:
    if str(data.get("seed_behavior", "")) == "schedule" and data.get("seed_schedule"):
        values = sampled(str(data["seed_schedule"]), frames, float(seed), f"{where}: seed_schedule")
        return [max(0, int(value)) for value in values]
    return [seed] * frames


# -- scenes --------------------------------------------------------------------------------------------------------


def _camera(zoom: Curve, angle: Curve, right: Curve, down: Curve, fps: float, height: float) -> dict[str, Curve]:
    """Return a camera's flight, a value a frame, from what happens to the picture on each frame.

    A picture that grows is flown into; one that moves right is flown past to the left. Positive angles turn it against
    the clock.
    """
    return {
        "zoom": [math.log2(max(z, 1e-3)) * fps for z in zoom],
        "rotate": [-a / 360.0 * fps for a in angle],
        "pan_x": [-x / (height / 2.0) * fps for x in right],
        "pan_y": [y / (height / 2.0) * fps for y in down],
    }


def _board(
    prompts: Mapping[int, str], camera: Mapping[str, Curve], strength: Curve | None, seeds: Sequence[int], fps: float,
    frames: int,
) -> dict[str, Any]:  # fmt: skip
    begins = sorted(frame for frame in prompts if frame < frames)
    if not begins:
        raise ConfigError(f"no prompt begins within the {frames} frames of the film")
    if begins[0] > 0:
        prompts = {**prompts, 0: prompts[begins[0]]}
        begins = [0, *begins]
    scenes = []
    for i, begin in enumerate(begins):
        end = begins[i + 1] if i + 1 < len(begins) else frames
        words, _, negative = prompts[begin].partition("--neg")
        scene: dict[str, Any] = {
            "name": f"Frame {begin}", "at": f"{begin / fps:.6f}", "input": "feedback",
            "seed": max(0, seeds[begin]), "prompts": [words.strip(" ,")],
        }  # fmt: skip
        if negative.strip():
            scene["negative"] = negative.strip()
        if i:
            lasts = round((end - begin) / fps / 2, 6)
            scene["transition"] = {"kind": "morph", "seconds": 0.0}
            scene["travel"] = {"seconds": min(60.0, lasts)}
        moves = {}
        for name, values in camera.items():
            knob = COMMON[name]
            rows = [min(knob.high, max(knob.low, value)) for value in values[begin:end]]
            if any(abs(value - knob.default) > 1e-9 for value in rows):
                moves[name] = _thinned([(j / fps, value) for j, value in enumerate(rows)])
        if strength is not None:
            rows = [min(1.0, max(0.0, 1.0 - value)) for value in strength[begin:end]]
            moves["strength"] = _thinned([(j / fps, value) for j, value in enumerate(rows)])
        if moves:
            scene["camera"] = {name: rows[0][1] if len(rows) == 1 else rows for name, rows in moves.items()}
        scenes.append(scene)
    return {"style": "", "scenes": scenes}


def _thinned(keys: list[tuple[float, float]]) -> list[list[float]]:
    """Return keys as a file holds them: those that matter, and one where nothing moves."""
    kept = simplified(keys)
    if len(kept) == 2 and abs(kept[1][1] - kept[0][1]) < 1e-6:
        kept.pop()
    return [[round(t, 6), round(v, 6)] for t, v in kept]


def _lost(data: Mapping[str, Any], names: Sequence[str], row: Mapping[str, Any]) -> list[str]:
    """Return what there is no camera for, where it is used."""
    said = {name: str(row.get(name, data.get(name, "")) or "") for name in names}
    return [f"{name} is left out: the camera is flat" for name, text in said.items() if text not in STILL]
