"""How often a scorecard's 95% interval holds the true mean, by simulation: repeats, clusters and graded scores.

Of repeats, an item's rate is drawn from a Beta distribution whose spread makes repeats of one item correlate; 4
repeats an item. Graded scores are Beta, or 1 but for a few items. Beside it the t interval, cut at the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tunix_eval.statistics import mean_estimate, mean_interval

Values = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Values]

COLUMNS = ("scores", "items", "covers", "mean width", "t covers", "asked", "verdict")
SIZES = (5, 20, 100)
REPEATS = 4
ASKED = 0.90
"""Less three standard errors. Wilson's own interval of 20 independent trials covers a rate of 0.9 or 0.97 in 0.957
and 0.979, one of 5 in 0.919 and 0.859 (exact); no interval for so few holds 0.95 at every rate."""


@dataclass(frozen=True, slots=True)
class Design:
    """Scores of one kind."""

    name: str
    mean: float
    draw: Draw
    """Gives sessions x items."""
    trials: int | None = None


def _repeats(rate: float, correlation: float) -> Design:
    shape = 1 / correlation - 1

    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Values:
        return rng.binomial(REPEATS, rng.beta(rate * shape, (1 - rate) * shape, size)) / REPEATS

    return Design(f"right at {rate:g}, repeats correlate {correlation:g}", rate, draw, REPEATS)


def _beta(a: float, b: float) -> Design:
    return Design(f"graded, Beta({a:g}, {b:g})", a / (a + b), lambda rng, size: rng.beta(a, b, size))


def _rarely_below(share: float) -> Design:
    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Values:
        return np.where(rng.random(size) < share, rng.random(size), 1.0)

    return Design(f"graded, 1 but for {100 * share:g}% anywhere", 1 - share / 2, draw)


DESIGNS = (
    *(_repeats(rate, correlation) for rate in (0.5, 0.9, 0.97) for correlation in (0.1, 0.3, 0.7)),
    _beta(2, 2),
    _beta(8, 0.5),
    _rarely_below(0.1),
    _rarely_below(0.03),
)


def intervals(draws: int) -> Iterator[tuple[str, ...]]:
    """Give the rows: a design and a number of items each."""
    for number, design in enumerate(DESIGNS):
        for size in SIZES:
            rng = np.random.default_rng([number, size])
            yield _row(design, size, design.draw(rng, (draws, size)).tolist())


def _row(design: Design, size: int, sessions: list[list[float]]) -> tuple[str, ...]:
    found = [mean_interval(values, 0.95, bounds=(0.0, 1.0), trials=design.trials) for values in sessions]
    plain = [mean_estimate(values).interval(0.95) for values in sessions]
    covers, t = (sum(one is not None and one[0] <= design.mean <= one[1] for one in many) for many in (found, plain))
    width = sum(one[1] - one[0] for one in found if one is not None) / len(found)
    share = covers / len(sessions)
    asked = ASKED - 3 * math.sqrt(ASKED * (1 - ASKED) / len(sessions))
    return (
        design.name,
        str(size),
        f"{share:.3f}",
        f"{width:.3f}",
        f"{t / len(sessions):.3f}",
        f">= {asked:.3f}",
        "within" if share >= asked else "not within",
    )
