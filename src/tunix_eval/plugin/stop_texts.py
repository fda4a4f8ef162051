"""Where a completion ends: before the first of the stop texts that it would contain, whatever model wrote it.

The first is the one that is complete first; of several that end at one place, the longest. So a model that stops as
soon as a text is there, and one that goes on to its last token, give the same completion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from tunix_eval.records import Generation, Tokenizer

INCOMPLETE = "\ufffd"
"""What a character decodes to while some of its bytes are missing."""


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return where the text is cut; None where it holds no stop text.

    >>> first_stop("4\\nQ: 5", ("Q:", "\\nQ:")), first_stop("4", ("Q:",))
    (1, None)
    """
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def has_ended(tokenizer: Tokenizer, stops: Sequence[str]) -> Callable[[Sequence[int]], bool] | None:
    """Return what tells whether ids hold a stop text, so that no more need be written; None where nothing can tell.

    A later token can turn U+FFFD into the character that was incomplete: such a text is looked for at the end alone.
    """
    if not stops or any(INCOMPLETE in stop for stop in stops):
        return None
    return lambda ids: first_stop(tokenizer.decode(ids), stops) is not None


def cut(generation: Generation, tokenizer: Tokenizer, stops: Sequence[str]) -> tuple[str, Generation]:
    """Return the text before the first stop text, and the ids up to the one that completes it."""
    text = tokenizer.decode(generation.ids)
    place = first_stop(text, stops)
    if place is None:
        return text, generation
    ids = generation.ids
    needed = bisect_left(
        range(len(ids)), True, key=lambda count: first_stop(tokenizer.decode(ids[:count]), stops) is not None
    )
    return text[:place], Generation(ids[:needed], "stop")
