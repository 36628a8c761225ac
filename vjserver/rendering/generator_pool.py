"""Who makes the pictures. On stage, generators are opened in the background while another plays, and kept for coming
back; in a film they are waited for.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from vjserver.ports import Generator, find, open_door, options_of
from vjserver.runtime import log
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.types.errors import ConfigError, GeneratorError, OutOfMemoryError, VJError

KEPT = 3


class GeneratorSpec(NamedTuple):
    """Who is to play: a generator's kind, and a model's name where it takes one (empty: its own choice)."""

    kind: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.model})" if self.model else self.kind


Make = Callable[[GeneratorSpec], Generator]
Announce = Callable[[str, str, bool], None]


class GeneratorPool:
    """Opens and keeps generators. ``make`` turns a part into an opened, warm one, or raises VJError, on ``loader``.

    ``playing`` is the part that plays.
    """

    def __init__(self, make: Make, loader: Executor, announce: Announce) -> None:
        self._make, self._loader, self._announce = make, loader, announce
        self._kept: dict[GeneratorSpec, Generator] = {}
        self._coming: tuple[GeneratorSpec, Future[Generator]] | None = None
        self._refused: GeneratorSpec | None = None
        self._told = False
        self._beside: GeneratorSpec | None = None
        self._refused_beside: GeneratorSpec | None = None
        self.playing = GeneratorSpec("")

    def choose(self, wanted: GeneratorSpec) -> Generator:
        """Return who plays now where ``wanted`` shall; one that was refused waits until another was asked for."""
        self._welcome(wanted)
        if wanted != self.playing and wanted != self._refused:
            if wanted in self._kept:
                self._take(wanted)
            elif wanted == GeneratorSpec(FALLBACK_GENERATOR):
                self._play_safe()
            elif self._coming is None:
                if self.playing not in self._kept:  # first a picture: both at once took half as long again for it
                    self._play_safe()
                self._coming = wanted, self._loader.submit(self._make, wanted)
                self._welcome(wanted)
        if wanted == self.playing and (self._refused or self._told):
            self._refused, self._told = None, False
            self._announce("generator", f"{wanted} plays", True)
        if self._coming is not None and self._coming[0] == wanted and not self._told:
            self._told = True
            meanwhile = self.playing if self.playing.kind else FALLBACK_GENERATOR
            self._announce("generator", f"{self._coming[0]} is getting ready; {meanwhile} plays meanwhile", False)
        if self.playing not in self._kept:
            self._play_safe()
        return self._kept[self.playing]

    def beside(self, spec: GeneratorSpec | None) -> Generator | None:
        """Return a generator that makes pictures for the one that plays, None while it is being opened.

        One that could not be opened is tried again when it has been asked for anew.
        """
        if spec != self._beside and self._refused_beside is not None:
            self._refused_beside = None
            self._announce("input", "no longer wanted", True)
        self._beside = spec
        if spec is None or spec in self._kept:
            return self._kept[spec] if spec is not None else None
        if spec == GeneratorSpec(FALLBACK_GENERATOR):
            self._kept[spec] = self._make(spec)
        elif self._coming is None and spec != self._refused_beside:
            self._coming = spec, self._loader.submit(self._make, spec)
        return self._kept.get(spec)

    def refuse(self, why: str) -> None:
        """Let go of who plays, because it cannot; the pattern generator plays in its place."""
        self._refused, self._told = self.playing, False
        _let_go(self._kept.pop(self.playing))
        self._announce("generator", f"{why}; {self._instead()}", False)
        self._play_safe()

    def close(self) -> None:
        """Close everyone."""
        if self._coming is not None and not self._coming[1].cancel():
            with contextlib.suppress(VJError, TimeoutError):  # one that is still loading ends with the process
                self._coming[1].result(0.0).close()
        for generator in self._kept.values():
            _let_go(generator)
        self._kept.clear()

    def _welcome(self, wanted: GeneratorSpec) -> None:
        """Take in who has become ready, if anybody."""
        if self._coming is None or not self._coming[1].done():
            return
        spec, future = self._coming
        self._coming = None
        try:
            self._kept[spec] = future.result()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's may raise anything: the picture goes on
            if not isinstance(error, VJError):
                log.write_fault("generate", f"{spec} could not be opened", error)
            why = str(error) if isinstance(error, VJError) else f"{spec} fell: {type(error).__name__}: {error}"
            cramped = isinstance(error, OutOfMemoryError)
        else:
            if spec == wanted:
                self._take(spec)
            self._make_room(KEPT)
            return
        # The error is gone by now, and with it what it held on to.
        if spec != wanted:
            if spec == self._beside:
                self._refused_beside = spec
                self._announce("input", f"{why[:500]}; the picture starts from noise", False)
            return
        if cramped and self._make_way():
            self._announce("generator", f"{why[:500]}; making room and trying again", False)
            self._coming = spec, self._loader.submit(self._make, spec)
        else:
            self._refused, self._told = spec, False
            self._announce("generator", f"{why[:500]}; {self._instead()}", False)

    def _make_way(self) -> bool:
        """Let go of those who wait; if nobody does, of who plays; return whether anybody went."""
        count = len(self._kept)
        self._make_room(0)
        if len(self._kept) == count and self.playing.kind not in ("", FALLBACK_GENERATOR):
            leaving = self._kept.pop(self.playing)
            self._play_safe()
            _let_go(leaving)
            return True
        return len(self._kept) < count

    def _take(self, spec: GeneratorSpec) -> None:
        self._kept[spec] = self._kept.pop(spec)  # the newest is the last to go
        self.playing = spec

    def _make_room(self, most: int) -> None:
        """Let the longest unused go until there are ``most``; who plays, and the pattern generator, stay."""
        for spec in list(self._kept):
            spared = spec in (self.playing, self._beside) or spec.kind == FALLBACK_GENERATOR
            if len(self._kept) > most and not spared:
                _let_go(self._kept.pop(spec))

    def _instead(self) -> str:
        if self.playing in self._kept and self.playing.kind != FALLBACK_GENERATOR:
            return f"{self.playing} plays on"
        return "the pattern generator plays instead"

    def _play_safe(self) -> None:
        if self.playing.kind != FALLBACK_GENERATOR or self.playing not in self._kept:
            safe = GeneratorSpec(FALLBACK_GENERATOR)
            if safe not in self._kept:
                self._kept[safe] = self._make(safe)
            self._take(safe)


def opened(doors: Mapping[str, Mapping[str, Any]], spec: GeneratorSpec, **usual: object) -> Generator:
    """Return a generator, opened, with the options that ``doors`` has for its kind, else those that are ``usual``.

    Raises ConfigError for options that make no sense, GeneratorError.
    """
    fields = find("generators", spec.kind).Options.model_fields
    door = {"kind": spec.kind, **{key: one for key, one in usual.items() if key in fields}, **doors.get(spec.kind, {})}
    if spec.model:
        door["model"] = stored(spec.model)
    generator: Generator = open_door("generators", door)
    return generator


def own_model(doors: Mapping[str, Mapping[str, Any]], kind: str) -> str:
    """Return the model that ``doors`` name for a generator, or the one that it would take; empty for none."""
    try:
        options = options_of("generators", {"kind": kind, **doors.get(kind, {})})
    except (VJError, AttributeError):  # no such generator: the pool says so when it is asked for
        return ""
    return str(getattr(options, "model", ""))


def stored(model: str) -> str:
    """Return a model's name if it is one: what comes over the network names no file. Raises ConfigError."""
    if any(sign in model for sign in "/\\~") or model.startswith("."):
        raise ConfigError(f"a model is named as `vjserver models list` does, not by a path: got {model!r}")
    return model


def _let_go(generator: Generator) -> None:
    """Close a generator; a stranger's may raise anything, and is gone all the same."""
    try:
        generator.close()
    except Exception as error:  # noqa: BLE001 - it is not needed any more
        log.write_fault("generator", "could not be closed", error)


class WaitingPool:
    """Opens who is asked for and waits for them; there is no other way past an error than to raise it."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._kept: dict[GeneratorSpec, Generator] = {}
        self.playing = GeneratorSpec("")

    def choose(self, wanted: GeneratorSpec) -> Generator:
        """Return who plays, opened and warm. Raises VJError."""
        self.playing = wanted
        return self._ready(wanted)

    def beside(self, spec: GeneratorSpec | None) -> Generator | None:
        """Return a generator, opened and warm, None for none. Raises VJError."""
        return self._ready(spec) if spec is not None else None

    def _ready(self, spec: GeneratorSpec) -> Generator:
        if spec not in self._kept:
            try:
                self._kept[spec] = self._make(spec)
            except VJError:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's may raise anything
                log.write_fault("generate", f"{spec} could not be opened", error)
                raise GeneratorError(f"{spec} fell: {type(error).__name__}: {error}") from None
        return self._kept[spec]

    def refuse(self, why: str) -> None:
        """Raise GeneratorError."""
        raise GeneratorError(why)

    def close(self) -> None:
        """Close everyone."""
        for generator in self._kept.values():
            _let_go(generator)
        self._kept.clear()
