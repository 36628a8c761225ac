"""Wishes: a card, its board and a look go in, the version that is to be made comes out."""

from collections.abc import Collection
from dataclasses import replace

import msgspec

from vjserver.keeping.cards import Board, Card, Version
from vjserver.show.addresses import FALLBACK_GENERATOR, N_PROMPTS
from vjserver.show.casting import told
from vjserver.show.state import LOOK, Look
from vjserver.types.errors import ConfigError


def wanted_of(board: Board, card: Card, look: Look, seed: int | None = None) -> Version:
    """Return what is to be made of a card: with the board's style and cast, and a look for the rest. ConfigError."""
    cast = {member.name: member.look for member in board.cast}
    prompt = told(card.text, cast, board.style)
    plain = replace(alone(look, prompt), negative=board.negative or look.negative)
    plain = replace(plain, seed=look.seed if seed is None else seed)
    return Version(
        prompt=prompt,
        negative=plain.negative,
        seed=plain.seed,
        generator=plain.generator,
        model=plain.model,
        look=msgspec.json.encode(plain),
    )


def drawer(generator: str, known: Collection[str]) -> str:
    """Return who is to draw: who is named, or the one that always can. ConfigError for an unknown one."""
    if generator and generator not in known:
        raise ConfigError(f"unknown generator {generator[:40]!r}; there are: {', '.join(known)}")
    return generator or FALLBACK_GENERATOR


def alone(look: Look, prompt: str) -> Look:
    """Return a look with one prompt: those that lay beside it belong to other cards, which may be deleted."""
    rest = N_PROMPTS - 1
    plain = Look(**{name: getattr(look, name) for name in LOOK})
    return replace(plain, texts=(prompt, *[""] * rest), weights=(1.0, *[0.0] * rest))
