"""Stage commands: a text goes in, what it asks for comes out, where it began with the wake word and asks no more.

"Computer, next" is a command; "and then the computer showed the next picture" is talk: the wake word stands at the
begin, and all that follows has to be one command.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from vjserver.speech.words import bare, split
from vjserver.types.events import Argument

ALIKE, NEARLY, NAME_ALIKE = 0.8, 0.5, 0.78
STEP = 0.1


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: a message. ``confirm``: only after "COMPUTER, confirm"; an empty address is that word."""

    address: str
    args: tuple[Argument, ...] = ()
    confirm: bool = False
    words: str = ""


_BLACKOUT = Asked("/vj/master/blackout", (True,), confirm=True)
_PANIC = Asked("/vj/master/panic", (), confirm=True)
_ROWS: tuple[tuple[str, Asked], ...] = (
    ("blackout|black out|go black|lights off|lights out", _BLACKOUT),
    ("lights|lights on|light|blackout off|end blackout", Asked("/vj/master/blackout", (False,))),
    ("panic", _PANIC),
    ("next|next one|next preset|next picture|next look", Asked("/vj/preset/next")),
    (
        "previous|previous one|previous preset|back|go back|last preset|go back to the previous one",
        Asked("/vj/preset/prev"),
    ),
    ("slower|slow down|slow it down|go slower|more slowly|slow", Asked("/vj/param/speed/inc", (-STEP,))),
    ("faster|speed up|speed it up|go faster|quicker|fast", Asked("/vj/param/speed/inc", (STEP,))),
    ("freeze|hold|stand still|stop there", Asked("/vj/master/freeze", (True,))),
    ("go on|continue|unfreeze|move on|carry on|resume", Asked("/vj/master/freeze", (False,))),
    ("undo|undo that|take that back|and do that|and do", Asked("/vj/undo")),
    ("confirm|yes confirm|confirmed|do it|yes do it", Asked("")),
)
COMMANDS = {words: asked for row, asked in _ROWS for words in row.split("|")}


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COURTESY = _set(
    "please now the to a an it it's can could you we just go do bit little make that this one and at once thanks thank"
)
_BEFORE = _set("hey ok okay um uh so and yes hello")
_NAMED = _set("preset play show load")


def after_wake(text: str, wake: str) -> list[str] | None:
    """Return the words that follow the wake word, None where the text does not begin with it."""
    called = [bare(word) for word in split(wake)]
    words = [bare(word) for word in split(text)]
    if not called:
        return None
    if len(words) > len(called) and words[0] in _BEFORE and called[0] not in _BEFORE:
        words = words[1:]
    heard = words[: len(called)]
    alike = SequenceMatcher(None, " ".join(heard), " ".join(called)).ratio()
    return words[len(called) :] if len(heard) == len(called) and alike >= ALIKE else None


def nearly_wakes(text: str, wake: str) -> str:
    """Return a text as it is if its begin was meant for the wake word, ``""`` where it begins with nothing like it.

    "Compare, next" may be "computer, next": whoever heard the sound may say whether it was meant.
    """
    called, words = split(wake), split(text)
    if not called or len(words) <= len(called):
        return ""
    heard = " ".join(bare(word) for word in words[: len(called)])
    alike = SequenceMatcher(None, heard, " ".join(map(bare, called))).ratio()
    return " ".join([*called, *words[len(called) :]]) if NEARLY <= alike < ALIKE else ""


def command_of(text: str, wake: str, presets: Sequence[str]) -> Asked | None:
    """Return what a text asks for, None where it is no command. ``presets`` are names that may be called."""
    rest = after_wake(text, wake)
    if not rest:
        return None
    for size in range(len(rest), 0, -1):  # the longest first: "go on" is no "go"
        for at in range(len(rest) - size + 1):
            found = COMMANDS.get(" ".join(rest[at : at + size]))
            if found is not None and _COURTESY.issuperset(rest[:at] + rest[at + size :]):
                return replace(found, words=" ".join(rest[at : at + size]))
    name = [word for i, word in enumerate(rest) if not (i < 4 and word in _NAMED | _COURTESY)]
    return _preset(" ".join(name), presets)


def _preset(name: str, presets: Sequence[str]) -> Asked | None:
    """Return the call of the preset whose name is most like what was said, if one is like it at all."""
    plain = {preset: " ".join(bare(word) for word in split(preset)) for preset in presets}
    likeness = {preset: SequenceMatcher(None, said, name).ratio() for preset, said in plain.items()}
    best = max(likeness, key=likeness.__getitem__, default="")
    return Asked("/vj/preset/go", (best,), words=best) if best and likeness[best] >= NAME_ALIKE else None
