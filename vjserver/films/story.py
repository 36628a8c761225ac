"""Stories and lyrics: a text goes in, the scenes of a storyboard come out, spread over a song.

A story is read as plain sentences, or as a script in Fountain (fountain.io). Each stretch of the text gets its share of
the song, and the sentence in it that can best be drawn is its scene. Who and where is carried along: "she" is who was
named last, a script's heading says where.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vjserver.films.places import Places
from vjserver.types.errors import ConfigError

BARS_A_SCENE, SHORTEST_BARS = 4, 2
"""A scene lasts so many bars; half of it where each sentence of the story can have its own then."""
LONGEST_PROMPT = 220
SHORTEST_LINE_S = 1.5
_SENTENCE = re.compile(r"[^.!?…。！？؟।]+(?:[.!?…。！？؟।]+[\"'”’)」]*|$)")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_SPOKEN = re.compile(r"[\"“][^\"”]*[\"”]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRONOUNS = {"he", "she", "they", "him", "her", "them", "his", "hers", "their", "it", "its"}
_OPENERS = _words(
    """the a an and but or so then when while after before as if in on at by for from of to with without under over into
    he she they it we you i his her their its my our your this that these those there here what who where why how not
    no yes one two three all every each some once now never always still only just even though because until"""
)
_SEEN = _words(
    """red blue green yellow black white gold golden silver grey gray dark bright light shadow sun moon stars sky sea
    ocean river rain snow storm wind fire smoke fog cloud night dawn dusk morning evening city street house door window
    room tower bridge road forest tree mountain hill field garden desert island ship boat train car horse bird dog cat
    wolf face eyes hand hands hair coat dress mask crown sword lamp candle mirror glass stone water ice flower flowers
    blood runs ran running stands stood walks walked dances danced falls fell flies flew burns burned opens opened rises
    rose"""
)


@dataclass
class Passage:
    """A sentence (or an action of a script): where it is set, who is in it, and whether a heading comes before it."""

    text: str
    place: str = ""
    who: tuple[str, ...] = ()
    begins_scene: bool = False


@dataclass
class Story:
    """A text, read: its passages, and who is named in it with how they look, as far as it tells."""

    title: str = ""
    passages: list[Passage] = field(default_factory=list)
    cast: dict[str, str] = field(default_factory=dict)


def read_story(text: str, fountain: bool) -> Story:
    """Read a story. Raises ConfigError for one without a sentence."""
    story = _read_fountain(text) if fountain else _read_plain(text)
    if not story.passages:
        raise ConfigError("there is no sentence in it")
    return story


def _read_plain(text: str) -> Story:
    passages = [
        Passage(" ".join(found.split()))
        for paragraph in re.split(r"\n\s*\n", text)
        for found in _SENTENCE.findall(" ".join(paragraph.split()))
        if len(_WORD.findall(found)) >= 2
    ]
    names = _names_in([p.text for p in passages])
    last: tuple[str, ...] = ()
    for passage in passages:
        here = tuple(name for name in names if re.search(rf"\b{re.escape(name)}\b", passage.text))
        words = {word.lower() for word in _WORD.findall(_SPOKEN.sub("", passage.text))}
        passage.who = here or (last if words & _PRONOUNS else ())
        last = here or last
    return Story("", passages, _looks(names, [p.text for p in passages]))


def _names_in(sentences: Sequence[str]) -> list[str]:
    """Return the names in sentences: words with a capital within a sentence, by how often."""
    counts: Counter[str] = Counter()
    inside: set[str] = set()
    small = {word for sentence in sentences for word in _WORD.findall(sentence) if word[:1].islower()}
    for sentence in sentences:
        words = _WORD.findall(sentence)
        i = 0
        while i < len(words):
            run = []
            while i < len(words) and words[i][:1].isupper() and words[i].lower() not in _OPENERS:
                run.append(words[i])
                i += 1
            if run:
                name = " ".join(run[:3])
                counts[name] += 1
                if i - len(run) > 0:
                    inside.add(name)
            i += 1
    return [
        name for name, count in counts.most_common(24) if name in inside or (count > 1 and name.lower() not in small)
    ]


def _looks(names: Sequence[str], sentences: Sequence[str]) -> dict[str, str]:
    """Return how those look who are described behind their name: "Mara, an old woman in a coat, ..."."""
    looks = {}
    for name in names:
        pattern = re.compile(rf"\b{re.escape(name)}(?:,| was| is| were)\s+((?:a|an|the)\s[^,.;:!?]{{4,90}})")
        found = next((match.group(1) for one in sentences if (match := pattern.search(one))), "")
        if found:
            looks[name] = found.strip()
    return looks


def _read_fountain(text: str) -> Story:
    """Read a script: headings, action and who speaks; notes, boneyards, dialogue and transitions are left out."""
    text = re.sub(r"/\*.*?\*/|\[\[.*?\]\]", "", text.replace("\r\n", "\n"), flags=re.DOTALL)
    story = Story()
    head = re.match(r"(?:[A-Za-z][A-Za-z ]*:.*\n(?:[ \t].*\n)*)+\n", text)
    if head is not None:
        title = re.search(r"(?im)^title:\s*(.*(?:\n[ \t]+.*)*)", head.group(0))
        story.title = " ".join(re.sub(r"[*_]", "", title.group(1)).split()) if title else ""
        text = text[head.end() :]
    place, heading, who = "", False, ()
    seen: Counter[str] = Counter()
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        first = lines[0].strip() if lines else ""
        if not first or first.startswith(("#", "=", ">")) or re.fullmatch(r"[A-Z0-9 ]+TO:", first):
            continue
        if re.match(r"(?i)(int|ext|est|int\.?/ext|i/e)[. ]", first) or (first.startswith(".") and first[1:2] != "."):
            place, heading = _place(first), True
            lines = lines[1:]
            if not lines:
                continue
        elif _is_cue(first) and len(lines) > 1:
            seen[_cue(first)] += 1
            continue
        action = " ".join(line.strip().lstrip("!~") for line in lines)
        action = re.sub(r"[*_]", "", action)
        for sentence in _SENTENCE.findall(action):
            words = " ".join(sentence.split())
            if len(_WORD.findall(words)) < 2:
                continue
            named = tuple(dict.fromkeys(w.title() for w in re.findall(r"\b[A-Z][A-Z'’-]{2,}(?:\s[A-Z]{2,})*\b", words)))
            spoken = f" {' '.join(_WORD.findall(words)).lower()} "
            known = tuple(name for name in seen if f" {name.lower()} " in spoken)
            here = tuple(dict.fromkeys((*named, *known)))
            pronoun = {word.lower() for word in _WORD.findall(words)} & _PRONOUNS
            story.passages.append(Passage(words, place, here or (who if pronoun else ()), heading))
            who, heading = here or who, False
            for name in named:
                seen[name] += 0
                found = re.search(
                    rf"(?i)\b{re.escape(name)}\s*\(([^)]+)\)|\b{re.escape(name)},\s+((?:\d\d|an?\s)[^,.;]+)", words
                )
                if found and name not in story.cast:
                    story.cast[name] = (found.group(1) or found.group(2)).strip()
    return story


def _is_cue(line: str) -> bool:
    """Tell whether a line names who speaks: in capitals, or forced."""
    name = re.sub(r"\(.*?\)", "", line).strip().rstrip("^").strip()
    return line.startswith("@") or (name.isupper() and any(c.isalpha() for c in name))


def _cue(line: str) -> str:
    return re.sub(r"\(.*?\)", "", line).strip().strip("@^ ").title()


def _place(heading: str) -> str:
    """Return where a heading sets a scene, in words: ``EXT. HARBOUR - NIGHT`` is "harbour, night"."""
    words = re.sub(r"(?i)^\.?(int\.?/ext|i/e|int|ext|est)[. ]+", "", heading.lstrip("."))
    words = re.sub(r"#[^#]*#", "", words)
    outside = bool(re.match(r"(?i)\.?ext", heading))
    parts = [part.strip().lower() for part in re.split(r"\s+-+\s+", words) if part.strip()]
    return ", ".join([*parts, *(["outdoors"] if outside and not parts[1:] else [])])


def worth(passage: Passage) -> float:
    """Return how well a passage can be drawn: what is seen and done counts, what is said does not."""
    words = [word.lower() for word in _WORD.findall(passage.text)]
    spoken = sum(len(_WORD.findall(part)) for part in _SPOKEN.findall(passage.text))
    seen = sum(word in _SEEN for word in words)
    length = len(words) - spoken
    return (
        2.0 * seen + 1.5 * bool(passage.who) + (2.0 if passage.begins_scene else 0.0)
        + min(length, 18) / 9.0 - 0.15 * max(0, length - 24) - 3.0 * spoken / max(1, len(words))
    )  # fmt: skip


def board_of(story: Story, places: Places) -> tuple[dict[str, Any], list[str]]:
    """Return the storyboard of a story on a song, as a file holds it, and the sentences that have no scene."""
    slots = _slots(places, len(story.passages))
    passages = story.passages
    shares = [round(i * len(passages) / len(slots)) for i in range(len(slots) + 1)]
    scenes: list[dict[str, Any]] = []
    used: set[str] = set()
    left: list[str] = []
    for i, (begin_s, _, new_part) in enumerate(slots):
        group = passages[shares[i] : max(shares[i] + 1, shares[i + 1])]
        best = max(group, key=worth)
        used |= set(best.who)
        left += [passage.text for passage in group if passage is not best]
        scene: dict[str, Any] = {"name": short(best.text, 40), "at": _at(places, begin_s), "prompts": [_prompt(best)]}
        drop = places.nearest("drop", begin_s, 0.3)
        if i and drop is None:
            way = {"kind": "crossfade", "beats": 2.0} if not new_part else {"kind": "crossfade", "beats": 1.0}
            scene["transition"] = way
        scene["camera"] = {"zoom": "0.03 + 0.12 * energy"}
        scenes.append(scene)
    board: dict[str, Any] = {"title": story.title or "", "style": ""}
    cast = {name: {"look": look} for name, look in story.cast.items() if name in used}
    return {**board, **({"cast": cast} if cast else {}), "scenes": scenes}, left


def _slots(places: Places, most: int) -> list[tuple[float, float, bool]]:
    """Return the stretches of a song that get a scene each, whole bars of a part, and whether the part begins there."""
    bounds = [(part.begin_s, part.end_s) for part in places.parts] or [(0.0, places.seconds)]
    bars = sorted({0.0, *places.bars})
    wanted = [max(1, round(sum(a - 0.05 <= bar < b - 0.05 for bar in bars) / BARS_A_SCENE)) for a, b in bounds]
    if len(bars) < 3:
        wanted = [max(1, round((b - a) / 8.0)) for a, b in bounds]
    fitting = [max(count, int(sum(a - 0.05 <= bar < b - 0.05 for bar in bars) / SHORTEST_BARS))
               for count, (a, b) in zip(wanted, bounds, strict=True)]  # fmt: skip
    if sum(wanted) < most <= sum(fitting):  # there is room for every sentence
        while sum(wanted) < most:
            longest = max(range(len(wanted)), key=lambda k: fitting[k] / wanted[k])
            wanted[longest] += 1
    while sum(wanted) > most and max(wanted) > 1:
        wanted[wanted.index(max(wanted))] -= 1
    while sum(wanted) > most and len(bounds) > 1:  # fewer sentences than parts: let the shortest join its neighbour
        i = min(range(len(bounds)), key=lambda k: bounds[k][1] - bounds[k][0])
        j = i - 1 if i else 1
        low, high = min(i, j), max(i, j)
        bounds[low : high + 1] = [(bounds[low][0], bounds[high][1])]
        wanted[low : high + 1] = [1]
    slots = []
    for (begin, end), count in zip(bounds, wanted, strict=True):
        inside = [bar for bar in bars if begin - 0.05 <= bar < end - 0.05]
        for k in range(count):
            at = (
                begin
                if k == 0
                else inside[k * len(inside) // count]
                if len(inside) >= count
                else begin + (end - begin) * k / count
            )
            slots.append((at, end, k == 0))
    return [(a, slots[i + 1][0] if i + 1 < len(slots) else places.seconds, new) for i, (a, _, new) in enumerate(slots)]


def _at(places: Places, seconds: float) -> str:
    """Return a place of a song as somebody would write it: the bar, where one begins there."""
    bar = places.bar_at(seconds + 0.03)
    if bar and abs(places.bars[bar - 1] - seconds) < 0.03:
        return f"bar {bar}"
    return f"{seconds:.3f}"


def _prompt(passage: Passage) -> str:
    unspoken = " ".join(_SPOKEN.sub("", passage.text).split()).strip(" ,;:.–—-")
    text = short(unspoken if len(_WORD.findall(unspoken)) > 3 else re.sub('["“”]', "", passage.text), LONGEST_PROMPT)
    absent = [name for name in passage.who if not re.search(rf"(?i)\b{re.escape(name)}\b", text)]
    named = text
    for name in passage.who:  # a script writes those in capitals who come in
        named = re.sub(rf"\b{re.escape(name.upper())}\b", name, named)
    return ", ".join([named, *absent[:2], *([passage.place] if passage.place else [])])


def short(text: str, most: int) -> str:
    """Return a text of so many signs at most, cut between words."""
    text = " ".join(text.split()).rstrip(".")
    if len(text) <= most:
        return text
    return text[: max(text.rfind(" ", 0, most - 3), 0) or most - 4] + " ..."
