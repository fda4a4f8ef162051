"""Sequences of any length as batches of a few shapes.

Every sequence is padded on the left to a power of two that depends on its own length alone, and every batch to the
same number of rows. So a result never depends on what else is asked for, and another number of sequences compiles
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tunix_eval.errors import RenderError

if TYPE_CHECKING:
    from tunix_eval.records import TokenArray

SMALLEST_BUCKET = 16
SMALLEST_SPACE = 64


def bucket(tokens: int) -> int:
    """Return the power of two that a sequence of so many tokens is padded to.

    >>> [bucket(tokens) for tokens in (1, 16, 17, 100)]
    [16, 16, 32, 128]
    """
    return max(SMALLEST_BUCKET, 1 << (tokens - 1).bit_length())


def space(tokens: int) -> int:
    """Return how many columns there are for prompts where one of so many tokens is decoded: a power of four.

    >>> [space(tokens) for tokens in (1, 64, 65, 257)]
    [64, 64, 256, 1024]
    """
    columns = SMALLEST_SPACE
    while columns < tokens:
        columns *= 4
    return columns


def prompt_pages(columns: int) -> tuple[int, ...]:
    """Return the widths of the pages for prompts: every bucket ends at the end of one.

    >>> prompt_pages(64), prompt_pages(256)
    ((16, 16, 32), (64, 64, 128))
    """
    ends = [0, *(columns >> shift for shift in (2, 1, 0))]
    return tuple(end - start for start, end in pairwise(ends))


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
            yield places, *padded([sequences[place] for place in places], rows=rows, width=width, pad_id=pad_id)


def padded(sequences: Sequence[TokenArray], *, rows: int, width: int, pad_id: int) -> tuple[TokenArray, TokenArray]:
    """Return tokens int32[rows, width] padded on the left, and lengths int32[rows]; rows of length 0 fill it up."""
    tokens = np.full((rows, width), pad_id, np.int32)
    lengths = np.zeros(rows, np.int32)
    for row, ids in enumerate(sequences):
        lengths[row] = len(ids)
        tokens[row, width - len(ids) :] = ids
    return tokens, lengths
