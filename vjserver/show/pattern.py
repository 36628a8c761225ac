"""OSC address patterns: a pattern goes in, the known addresses that it means come out.

``?`` is one character, ``*`` any number, ``[a-c]`` and ``[!a-c]`` one of (or none of) a set, ``{a,b}`` one of some
texts; none reaches over a ``/`` (OSC 1.0, M. Wright, 2002). There is no regular expression and no backtracking: all
ways to match are followed at once, so the time is at most the length of a part times the length of its pattern.
"""

from collections.abc import Sequence
from functools import lru_cache

from vjserver.types.errors import ConfigError

MAX_PATTERN = 160
MAX_ALTERNATIVES = 32
WILD = frozenset("*?[]{}")

_Token = tuple[str, str]  # kind (text, one, any, set, not, some) and what it holds


def is_pattern(address: str) -> bool:
    """Tell whether an address has a character that stands for others."""
    return not WILD.isdisjoint(address)


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[tuple[_Token, ...], ...]:
    return tuple(_tokens(part) for part in pattern.split("/"))


def _tokens(part: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    at = 0
    while at < len(part):
        sign = part[at]
        if sign in "[{":
            end = part.find("]" if sign == "[" else "}", at)
            if end < 0:
                raise ConfigError(f"an address pattern with {sign!r} and no end: got {part[:40]!r}")
            inside = part[at + 1 : end]
            if not WILD.isdisjoint(inside):
                raise ConfigError(f"an address pattern with signs inside {sign!r}: got {part[:40]!r}")
            if sign == "{":
                words = inside.split(",")
                if len(words) > MAX_ALTERNATIVES or "" in words:
                    raise ConfigError(
                        f"{{}} in an address pattern names 1..{MAX_ALTERNATIVES} texts: got {part[:40]!r}"
                    )
                tokens.append(("some", inside))
            else:
                tokens.append(("not", _spread(inside[1:])) if inside[:1] == "!" else ("set", _spread(inside)))
            at = end
        elif sign in "]}":
            raise ConfigError(f"an address pattern with {sign!r} and no beginning: got {part[:40]!r}")
        elif sign == "*":
            if not tokens or tokens[-1][0] != "any":  # two stars are one
                tokens.append(("any", ""))
        else:
            tokens.append(("one", "") if sign == "?" else ("text", sign))
        at += 1
    return tuple(tokens)


def _spread(inside: str) -> str:
    """Return the characters of ``a-cx``: ``abcx``."""
    out, at = [], 0
    while at < len(inside):
        if at + 2 < len(inside) and inside[at + 1] == "-" and ord(inside[at + 2]) - ord(inside[at]) < 256:
            out += [chr(c) for c in range(ord(inside[at]), ord(inside[at + 2]) + 1)]
            at += 3
        else:
            out.append(inside[at])
            at += 1
    return "".join(out)


def _part_matches(tokens: Sequence[_Token], text: str) -> bool:
    places = {0}  # in the text, that some way to match the tokens so far has reached
    for kind, held in tokens:
        if kind == "any":
            places = set(range(min(places), len(text) + 1))
        elif kind == "some":
            places = {at + len(word) for at in places for word in held.split(",") if text.startswith(word, at)}
        else:
            places = {at + 1 for at in places if at < len(text) and _is_one(kind, held, text[at])}
        if not places:
            return False
    return len(text) in places


def _is_one(kind: str, held: str, sign: str) -> bool:
    if kind == "one":
        return True
    return (sign in held) == (kind != "not")


@lru_cache(maxsize=256)
def matching(pattern: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of ``known`` that ``pattern`` means, in their order. Raises ConfigError for a broken pattern."""
    if len(pattern) > MAX_PATTERN:
        raise ConfigError(f"an address pattern has at most {MAX_PATTERN} characters: got {len(pattern)}")
    parts = _parts(pattern)
    verdicts: dict[tuple[int, str], bool] = {}

    def fits(address: str) -> bool:
        words = address.split("/")
        if len(words) != len(parts):
            return False
        for i, word in enumerate(words):
            key = (i, word)
            if key not in verdicts:
                verdicts[key] = _part_matches(parts[i], word)
            if not verdicts[key]:
                return False
        return True

    return tuple(filter(fits, known))
