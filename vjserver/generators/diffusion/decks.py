"""What each deck is of: prompts as the request has them go in, those that are encoded come out."""

from typing import TYPE_CHECKING

from vjserver.types.frames import FrameRequest, Prompts

if TYPE_CHECKING:
    from vjserver.generators.diffusion.text import Encoded
    from vjserver.generators.diffusion.text import Prompts as PromptCache


def ready_prompts(
    request: FrameRequest, before: tuple[Prompts, ...], decks: int, cache: "PromptCache"
) -> tuple[Prompts, ...]:
    """Return the prompts of each deck that are encoded; the others are asked for, the newest first.

    A deck none of whose prompts is ready keeps what it had ``before``. A film waits for all of them.
    """
    rows = request.text.decks if decks == 2 else (request.text.prompts,)
    if request.mode == "film":
        for text in (request.text.negative, *(text for row in rows for text, _ in row)):
            cache.encode(text)
    missing: list[str] = []
    if request.text.negative and cache.get(request.text.negative) is None:
        missing.append(request.text.negative)
    result = []
    for i, row in enumerate(rows):
        ready = tuple((text, weight) for text, weight in row if cache.get(text) is not None)
        missing += [text for text, _ in row if cache.get(text) is None]
        if row and not ready and before:
            ready = before[min(i, len(before) - 1)]
        result.append(ready or (("", 1.0),))
    missing += [text for text in request.text.ahead if cache.get(text) is None]
    if missing and request.mode == "live":  # another thread's sums may end in other digits
        cache.want(missing)
    return tuple(result)


def weighted(row: Prompts, cache: "PromptCache") -> "list[tuple[Encoded, float]]":
    """Return a deck's prompts, encoded, and their weights."""
    return [(cache.encode(text), weight) for text, weight in row]
