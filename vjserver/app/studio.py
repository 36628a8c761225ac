"""The studio: pictures that cards want are made one after another, beside the show, by a generator of its own.

In a running show it is a process that runs while cards want pictures, at the lowest priority: no beat and no picture
waits for it. What is wanted stands in the boards' file, so nothing is lost with the process.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vjserver.app.workers import Plan
from vjserver.films.images import FilmImages
from vjserver.films.storyboard import REFERENCE_STRENGTH
from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Picture, Version
from vjserver.keeping.pictures import encoded
from vjserver.keeping.wishes import alone
from vjserver.ports import Generator, find
from vjserver.rendering.generator_pool import GeneratorSpec, WaitingPool, opened, own_model
from vjserver.rendering.renderer import Renderer, RenderMemory
from vjserver.runtime import log
from vjserver.runtime.life import Life
from vjserver.runtime.priority import give_memory_back, raise_priority
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.show.bank import Bank
from vjserver.show.casting import span
from vjserver.show.desk import Desk
from vjserver.show.registry import Registry
from vjserver.show.state import Look, ShowState, settled_look
from vjserver.sources.song import demo_song
from vjserver.stages.offline.hearing import Hearing
from vjserver.stages.offline.performance import heard, moments
from vjserver.types.errors import ConfigError, KeepingError, VJError, sentence_of

MAKING_S = 600.0
"""So long may one picture take: a large model is loaded from a slow disk."""
AGAIN_S = 0.2
FPS = 12
SONG_S = (36.0, 39.0)
"""What of the demo's song plays while a picture is made: generators move to it."""
FRAMES = {FALLBACK_GENERATOR: 24}
"""So many frames are drawn, and the last one kept; 1 where a picture hangs on none before it."""


def look_of_version(version: Version, registry: Registry) -> Look:
    """Return the look in which a version was made, or is to be."""
    try:
        look = msgspec.json.decode(version.look, type=Look) if version.look else Look()
    except (msgspec.DecodeError, msgspec.ValidationError):
        look = Look()  # of another version of vjserver: prompt, seed and generator are told besides
    look = replace(alone(look, version.prompt), negative=version.negative, seed=version.seed)
    return settled_look(replace(look, generator=version.generator, model=version.model), registry)


class Maker:
    """Makes pictures; generators that it opened are kept. ``doors`` are the show's, ``size`` is (width, height)."""

    def __init__(self, registry: Registry, doors: Mapping[str, Any], size: tuple[int, int]) -> None:
        self._registry, self._doors, self._size = registry, doors, size
        self._pool = WaitingPool(self._opened)
        self._hearing: Hearing | None = None

    def _opened(self, spec: GeneratorSpec) -> Generator:
        generator: Generator = opened(self._doors, spec)
        generator.warm_up(*self._size, [])
        return generator

    def make(self, version: Version, reference: Path | None = None) -> tuple[Picture, str, str]:
        """Return the picture of a version, the licence of its model, and what is not as it was asked for.

        Raises VJError.

        ``reference`` is a picture to start from, for generators that can.
        """
        registry = self._registry
        info = registry.infos.get(version.generator)
        if info is None:
            raise ConfigError(f"{version.generator!r} is not installed; there are: {', '.join(registry.infos)}")
        look, inputs = look_of_version(version, registry), {}
        if reference is not None and info.accepts_image:
            inputs["reference"] = reference
            strength = registry.parameters["strength"].norm(REFERENCE_STRENGTH)
            look = replace(look, input="reference", params={**look.params, "strength": strength})
        elif look.input not in registry.infos:
            look = replace(look, input="")
        state = ShowState(**{name: getattr(look, name) for name in Look.__dataclass_fields__})
        if self._hearing is None:
            begin, end = (round(s * 48000) for s in SONG_S)
            self._hearing = heard(demo_song()[begin:end], 48000)
        images = FilmImages(inputs)
        remarks: list[str] = []
        renderer = Renderer(registry, self._pool, images, lambda _what, why, _recovered: remarks.append(why),
                            cache(partial(own_model, self._doors)))  # fmt: skip
        desk, memory, rendered = Desk(Bank([]), state, registry=registry), RenderMemory(), None
        try:
            count = FRAMES.get(version.generator, 1)
            for moment in moments(desk, self._hearing, Fraction(FPS), self._size, count):
                rendered, memory = renderer.render(moment, memory)
        finally:
            images.close()
        assert rendered is not None  # its pool raises
        kind = find("generators", version.generator)
        licences = getattr(kind, "licence_of", None)
        model = version.model or own_model(self._doors, version.generator)
        licence = str(licences(model)) if licences and model else ""
        return encoded(np.asarray(rendered.frame.pixels)), licence, "; ".join(dict.fromkeys(remarks))

    def close(self) -> None:
        """Let the generators go."""
        self._pool.close()


def reference_of(boards: Boards, card: Card) -> Path | None:
    """Return the picture of who is named first in a card's text, if the cast has one."""
    cast = boards.board(card.board).cast
    named = sorted(
        (found[0], member.picture) for member in cast if member.picture if (found := span(member.name, card.text))
    )
    return boards.media.path(named[0][1]) if named else None


def make_next(boards: Boards, maker: Maker) -> Card | None:
    """Make the picture that has waited longest; return its card, None where nothing is wanted. Raises KeepingError."""
    version = boards.next_wanted()
    if version is None:
        return None
    try:
        picture, licence, why = maker.make(version, reference_of(boards, boards.card(version.card)))
    except ConfigError as error:  # also where the card was deleted meanwhile
        boards.fail(version.id, str(error))
    except KeepingError:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's generator: the next card is drawn all the same
        if not isinstance(error, VJError):
            log.write_fault("studio", f"card {version.card} could not be drawn", error)
        boards.fail(version.id, sentence_of(error))
    else:
        boards.done(version.id, picture, licence, why)
    try:
        return boards.card(version.card)
    except ConfigError:
        return Card(id=version.card)


def work(
    boards: Boards, maker: Maker, stopped: Callable[[], bool], tolerate: Callable[[], Any] = contextlib.nullcontext
) -> None:
    """Make what is wanted until ``stopped``; ``tolerate`` returns a context in which a picture may take long."""
    while not stopped():
        made = None
        with tolerate(), contextlib.suppress(KeepingError):  # the disk: it is tried again
            made = make_next(boards, maker)
        if made is None:
            time.sleep(AGAIN_S)


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    raise_priority(-10)
    give_memory_back()
    video = plan.show.video
    with life.tolerate(MAKING_S):
        boards = Boards()
        maker = Maker(plan.registry, plan.show.generators, (video.width, video.height))
    try:
        work(boards, maker, life.stopped, lambda: life.tolerate(MAKING_S))
    finally:
        maker.close()
        boards.close()
