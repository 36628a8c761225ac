"""Lyrics: timed lines of a song go in, a storyboard comes out whose scenes follow them."""

import re
from dataclasses import dataclass
from typing import Any

from vjserver.films.places import Places
from vjserver.films.story import LONGEST_PROMPT, SHORTEST_LINE_S, short
from vjserver.types.errors import ConfigError

# -- lyrics --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a song: when it is sung, until when where that is told, and its words; none where nobody sings."""

    begin_s: float
    end_s: float | None
    words: str


@dataclass(frozen=True, slots=True)
class Lyrics:
    """The lines of a song, in order, and its title where it is told."""

    title: str
    lines: tuple[Line, ...]


def read_lyrics(text: str) -> Lyrics:
    """Return the lines of LRC or SRT.

    Raises ConfigError with the line for a time that is none, or where there are no words.
    """
    title = re.search(r"(?m)^\s*\[ti:\s*(.*?)\s*\]", text)
    rows = sorted(_read_srt(text) if "-->" in text else _read_lrc(text), key=lambda row: row.begin_s)
    if not any(row.words for row in rows):
        raise ConfigError(
            "no line with a time is in it: [mm:ss.xx] words (LRC), or 00:00:01,000 --> 00:00:02,000 (SRT)"
        )
    return Lyrics(title.group(1) if title else "", tuple(rows))


def _sung(words: str) -> str:
    """Return the words of a line; signs that only say that there is music are none."""
    words = " ".join(words.split())
    return words if any(c.isalnum() for c in words) else ""


def _read_lrc(text: str) -> list[Line]:
    offset = 0.0
    rows: list[tuple[float, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        tag = re.match(r"\s*\[offset:\s*([+-]?\d{1,9})\s*\]", line)
        if tag:
            offset = int(tag.group(1)) / 1000.0
        stamps = re.match(r"\s*((?:\[\s*\d{1,5}:\d{1,2}(?:[.:]\d{1,3})?\s*\]\s*)+)(.*)", line)
        if stamps is None:
            if re.match(r"\s*\[\s*\d", line):
                raise ConfigError(f"line {number}: a time is [mm:ss.xx]: got {line.strip()[:40]!r}")
            continue
        words = _sung(re.sub(r"<[\d:.]+>", "", stamps.group(2)))
        for minutes, seconds, rest in re.findall(r"\[\s*(\d{1,5}):(\d{1,2})(?:[.:](\d{1,3}))?\s*\]", stamps.group(1)):
            at = 60 * int(minutes) + int(seconds) + (int(rest) / 10 ** len(rest) if rest else 0.0)
            rows.append((at, words))
    return [Line(max(0.0, at - offset), None, words) for at, words in rows]


def _read_srt(text: str) -> list[Line]:
    lines = text.splitlines()
    rows: list[Line] = []
    for i, line in enumerate(lines):
        if "-->" not in line:
            continue
        times = re.findall(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,4})[,.](\d{1,3})", line)
        if len(times) < 2:
            raise ConfigError(f"line {i + 1}: times are 00:00:01,000 --> 00:00:02,000: got {line.strip()[:60]!r}")
        begin, end = (
            3600 * int(h or 0) + 60 * int(m) + int(s) + int(f) / 10 ** len(f) for h, m, s, f in times[:2]
        )  # fmt: skip
        said: list[str] = []
        for row in lines[i + 1 :]:
            if "-->" in row:  # without an empty line between: the number before it is of this one
                said = said[:-1] if said and said[-1].strip().isdecimal() else said
                break
            if not row.strip():
                break
            said.append(row)
        rows.append(Line(begin, end, _sung(re.sub(r"<[^>]*>|\{[^}]*\}", "", " ".join(said)))))
    return rows


def board_of_lyrics(lyrics: Lyrics, places: Places, titles: bool = False) -> dict[str, Any]:
    """Return the storyboard of lyrics: a scene for each line, in its time; short lines are drawn together.

    With ``titles`` the words are written over the picture, too, while they are sung.
    """
    lines = [line for line in lyrics.lines if line.begin_s < places.seconds]
    groups: list[list[Line]] = []
    for line in lines:
        if not line.words:
            continue
        if groups and line.begin_s - groups[-1][0].begin_s < SHORTEST_LINE_S:
            groups[-1].append(line)
        else:
            groups.append([line])
    if not groups:
        raise ConfigError("all lines are behind the end of the song")
    ends = {line: line.end_s or next((n.begin_s for n in lines[i + 1 :] if n.begin_s > line.begin_s), places.seconds)
            for i, line in enumerate(lines)}  # fmt: skip
    scenes: list[dict[str, Any]] = []
    begin_s = groups[0][0].begin_s
    if begin_s > SHORTEST_LINE_S:
        scenes.append({"name": "Before the words", "at": "0", "prompts": [groups[0][0].words]})
    for i, group in enumerate(groups):
        at = 0.0 if not scenes and i == 0 else group[0].begin_s
        said = ", ".join(line.words for line in group)
        scene: dict[str, Any] = {"name": short(said, 40), "at": f"{at:.3f}", "prompts": [short(said, LONGEST_PROMPT)]}
        if titles:
            scene["titles"] = [
                {"text": line.words, "at": round(line.begin_s - at, 3), "lasts": round(ends[line] - line.begin_s, 3)}
                for line in group if ends[line] - line.begin_s > 0.05
            ]  # fmt: skip
        if scenes:
            scene["transition"] = {"kind": "crossfade", "beats": 1.0}
        scenes.append(scene)
    return {"title": lyrics.title, "style": "", "scenes": scenes}
