"""Texts as they are kept: what somebody typed or said goes in, without what no surface shows; too long is told."""

from vjserver.types.errors import ConfigError
from vjserver.types.text import clean


def kept_text(text: str, most: int, what: str, least: int = 0) -> str:
    """Return a text of ``least`` to ``most`` signs. Raises ConfigError, which calls it ``what``."""
    cleaned = clean(text).strip()
    if not least <= len(cleaned) <= most:
        raise ConfigError(f"{what} has {least or 'up'} to {most} signs: got {len(cleaned)}")
    return cleaned


def kept_line(text: str, most: int, what: str, least: int = 0) -> str:
    """Return a text as one line, as :func:`kept_text`."""
    return kept_text(" ".join(clean(text).split()), most, what, least)
