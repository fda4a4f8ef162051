"""A bootstrap interval beside that of the t test, for scores whose distribution is far from normal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 10_000
_SEED = 0
_CHUNK = 2**15
"""Indices drawn at once: about what the processor's cache holds."""


def bootstrap_interval(
    values: Sequence[float], level: float, *, draws: int = DRAWS, chunk: int = _CHUNK
) -> tuple[float, float]:
    """Return the percentile interval of a mean over resamples with replacement.

    The seed is fixed: equal values in the same order give the same bits, whatever the chunk.

    Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Args:
        values: N values.
        level: of the two-sided interval.
        draws: resamples.
        chunk: indices drawn at once.
    """
    array, n = np.asarray(values, np.float64), len(values)
    rng = np.random.Generator(np.random.SFC64(_SEED))
    means = np.empty(draws)
    rows = max(1, chunk // n)
    for start in range(0, draws, rows):
        count = min(rows, draws - start)
        # With a full 64 bits a draw, the stream does not depend on where a chunk ends.
        means[start : start + count] = array[rng.integers(0, n, (count, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
