"""A cast and a style: prompts with names in them go in, prompts that say how who is named looks come out."""

from collections.abc import Mapping

from vjserver.show.addresses import MAX_TEXT
from vjserver.types.errors import ConfigError


def span(name: str, text: str) -> tuple[int, int] | None:
    """Return where a name stands in a text as a word, None where it does not."""
    begin = text.find(name)
    while begin >= 0:
        end = begin + len(name)
        if not text[begin - 1 : begin].isalnum() and not text[end : end + 1].isalnum():
            return begin, end
        begin = text.find(name, end)
    return None


def told(text: str, cast: Mapping[str, str], style: str) -> str:
    """Return a prompt as a model reads it: who is named looks as the cast says, and the style stands behind.

    Raises ConfigError for one that becomes too long.
    """
    for name in sorted(cast, key=len, reverse=True):
        found = span(name, text)
        if found is not None and cast[name] not in text:
            text = f"{text[: found[0]]}{name} ({cast[name]}){text[found[1] :]}"
    text = f"{text.rstrip(' .')}, {style}" if style and style not in text else text
    if len(text) > MAX_TEXT:
        raise ConfigError(f"with cast and style a prompt has {len(text)} signs: {MAX_TEXT} at most")
    return text
