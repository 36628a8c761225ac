"""Text from strangers: what comes over the network or from a file goes in, text that any surface can show comes out."""

_JOINERS = frozenset("\u200c\u200d")  # they change how their neighbours are drawn and nothing else: emoji need them


def clean(text: str) -> str:
    """Return a text as every surface can carry it: without NUL, with ``?`` for halves of signs (JSON lets both in)."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def visible(text: str) -> str:
    """Return a text in which what would steer a terminal, or turn a line round, is seen: ESC becomes ``\\x1b``.

    Controls (C0, C1), line separators, marks of direction and halves of signs are escaped as Python writes them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else _escaped(c) for c in text)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
