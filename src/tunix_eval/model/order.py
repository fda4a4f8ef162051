"""The order in which rows are trained on."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt


def row_indices(seed: int, *, rows: int, start: int, count: int) -> npt.NDArray[np.int64]:
    """Return `count` places of the row stream from place `start` on, int64[count].

    The stream is one permutation of all rows after another, each drawn from the seed and the epoch alone, so
    that any place of it is known without the places before.

    >>> sorted(row_indices(0, rows=3, start=3, count=3).tolist())
    [0, 1, 2]
    """
    places = np.arange(start, start + count)
    epochs, offsets = np.divmod(places, rows)
    return np.array([_permutation(seed, int(e), rows)[o] for e, o in zip(epochs, offsets, strict=True)], np.int64)


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, rows: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(rows)
