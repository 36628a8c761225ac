"""Errors: who erred, what was wrong, what was given, what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class VJError(Exception):
    """Base of every error that vjserver raises on purpose; its text is one readable sentence."""


class ConfigError(VJError):
    """A show file, preset, command line or address that cannot be used."""


class UnknownNameError(ConfigError):
    """A name that is not known. The nearest ones are looked for only when its text is read: that takes milliseconds."""

    def __init__(self, text: str, name: str, known: Iterable[str]) -> None:
        super().__init__(text, name, known)

    def __str__(self) -> str:
        """Return the sentence, with the nearest known names."""
        text, name, known = self.args
        return f"{text}{nearest(name, known)}"


class DeviceError(VJError):
    """An audio source that cannot be opened or that went away."""


class GeneratorError(VJError):
    """A generator that cannot start or cannot render."""


class OutOfMemoryError(GeneratorError):
    """The device's memory does not hold what was asked, beside what it holds already."""


class WorkerFault(VJError):  # noqa: N818 - not an error in what was asked: this process can do no more
    """Something after which only a new process can go on; the supervisor starts one."""


class InputError(VJError):
    """A source of pictures that cannot be opened or read."""


class OutputError(VJError):
    """An output that cannot be opened or cannot send."""


class KeepingError(VJError):
    """What is kept (boards, dreams, words) and cannot be read or written."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return ``'; nearest: a, b'`` for a misspelt name, or ``''`` when nothing is near."""
    close = get_close_matches(name, list(known), n=count, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def sentence_of(error: BaseException) -> str:
    """Return what was wrong, for who waits for it; what is none of ours with its kind before it."""
    return str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {error}"
