"""Sequences of any length as batches of a few shapes.

Every sequence is padded on the left to a power of two that depends on its own length alone, and every batch to the
same number of rows. So a result never depends on what else is asked for, and another number of sequences compiles
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunix_eval.errors import RenderError

if TYPE_CHECKING:
    from tunix_eval.records import TokenArray

SMALLEST_BUCKET = 16


def bucket(tokens: int) -> int:
    """Return the power of two that a sequence of so many tokens is padded to.

    >>> [bucket(tokens) for tokens in (1, 16, 17, 100)]
    [16, 16, 32, 128]
    """
    return max(SMALLEST_BUCKET, 1 << (tokens - 1).bit_length())


def check_ids(kind: str, sequences: Sequence[TokenArray], vocab_size: int) -> None:
    """Refuse a sequence without tokens, or with ids outside the vocabulary; `kind` names it.

    Raises:
        RenderError: naming the first such sequence by its place.
    """
    for number, ids in enumerate(sequences):
        if not len(ids):
            raise RenderError(f"{kind} {number}: no tokens; the renderer must give at least one")
        outside = ids[(ids < 0) | (ids >= vocab_size)]
        if len(outside):
            raise RenderError(f"{kind} {number}: token {outside[0]}, but the model knows ids 0 to {vocab_size - 1}")


def batches(
    sequences: Sequence[TokenArray], *, rows: int, pad_id: int
) -> Iterator[tuple[list[int], TokenArray, TokenArray]]:
    """Give places in `sequences`, tokens int32[rows, bucket] padded on the left, and lengths int32[rows].

    A row of length 0 is filler; such rows come last.
    """
    by_bucket: defaultdict[int, list[int]] = defaultdict(list)
    for place, ids in enumerate(sequences):
        by_bucket[bucket(len(ids))].append(place)
    for width in sorted(by_bucket):
        for first in range(0, len(by_bucket[width]), rows):
            places = by_bucket[width][first : first + rows]
            tokens = np.full((rows, width), pad_id, np.int32)
            lengths = np.zeros(rows, np.int32)
            for row, place in enumerate(places):
                lengths[row] = len(sequences[place])
                tokens[row, width - lengths[row] :] = sequences[place]
            yield places, tokens, lengths
