"""How far training seeds move a mean: what the runs show of it, and what is known of it before they are seen.

A run's mean varies for two reasons: its items come out one way or another (item noise, seen item by item), and its
training seed moves all items together (seed noise). A few runs show little of the second, so it has a prior: its
standard deviation is half-Cauchy, which knows the scale and lets the runs overrule it.

Source: Gelman (2006), Bayesian Analysis 1, 515-534; docs/decisions/0008-run-noise-has-a-prior.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special  # type: ignore[import-untyped]

from tunix_eval.gate.power import POWER
from tunix_eval.statistics import mean, mean_estimate, shares_cluster, unless_rounding

Values = npt.NDArray[np.float64]

SEED_NOISE = 0.1
"""Scale of the prior: the standard deviation that seeds give a mean, in standard deviations of the items."""
_NODES = 96
_SCALES = np.geomspace(0.01, 1000.0, _NODES)
"""Seed noise, in scales of the prior, at which it is summed up: near enough to one another for 40 runs and more."""
_PRIOR = _SCALES / (1 + _SCALES**2)
"""The density of the half-Cauchy distribution there, times the distance to the next; up to a factor."""
_DRAWS = 60
"""Sessions that are made up for each node; with a fixed seed."""
_STEPS = 60
"""Of Newton's method at most; it takes about six."""
_NEAR = 1e-12
"""A step of so much of the value is the last."""
_ROOT = math.sqrt(2 * math.pi)
_EDGE = 2
"""Of values that are all at an end of the scale (0/1 scores), so many more are taken to be at the other end: where five
runs have all items right their spread is small, not zero. Source: Agresti and Coull (1998), The American Statistician
52, 119-126."""


@dataclass(frozen=True, slots=True)
class RunNoise:
    """The variance of a run's mean, as far as it is known."""

    variances: Values
    """float64[NODES]: what it may be, item noise included."""
    weights: Values
    """float64[NODES]: how likely each is, given the runs; they add up to 1."""
    squares: float
    """Sum of the squared deviations of run means from the mean of their side."""
    dof: int
    """Degrees of freedom of that sum."""

    def tail(self, change: float, j: int, k: int) -> float:
        """Return the chance that two sides of j and k runs, between which nothing changed, differ by so much."""
        return _tail(self.weights, self.variances * (1 / j + 1 / k), change)

    def critical(self, p: float, j: int, k: int) -> float:
        """Return the difference that is exceeded with chance p (below 0.5)."""
        spread = np.sqrt(self.variances * (1 / j + 1 / k))
        return float(_exceeded(self.weights[None], spread, p)[0])

    def detectable(self, j: int, k: int, *, alpha: float) -> float:
        """Return the change that is found with 80% power, by one look."""
        return self.critical(alpha, j, k) + self.critical(1 - POWER, j, k)

    def found_by_looks(self, k: int, fresh: int, *, alpha: float, first: float, seen: bool = True) -> Found:
        """Return from which change on a worsening is found by two looks, in sessions that are made up.

        The first look is at one run; where its p is at most `first`, `fresh` more are made, and all of them decide.
        With no fresh runs the first look decides alone, by alpha. A look is taken to see the spread that is expected.

        Args:
            k: baseline runs.
            fresh: runs that the second look adds.
            alpha: of the last look.
            first: of the first look.
            seen: whether the baseline is the one that this noise is known from; else its spread is made up too.
        """
        rng = np.random.default_rng(0)
        spread = np.sqrt(self.variances)[:, None]
        ours = spread[:, :, None] * rng.standard_normal((_NODES, _DRAWS, 1 + fresh))
        theirs = spread * rng.standard_normal((_NODES, _DRAWS)) / math.sqrt(k)
        # Of a baseline that is known there is one spread, else one for each noise that there may be.
        base, dof = (np.array([self.squares]), self.dof) if seen else (self.variances * (k - 1), k - 1)
        least = _critical(self.variances, base, dof, 1, k, first if fresh else alpha)[:, None] - ours[:, :, 0] - theirs
        if fresh:
            later = _critical(self.variances, base + self.variances * fresh, dof + fresh, 1 + fresh, k, alpha)
            least = np.maximum(least, later[:, None] - ours.mean(axis=2) - theirs)
        return Found(least.ravel(), np.repeat(self.weights / _DRAWS, _DRAWS))


@dataclass(frozen=True, slots=True)
class Found:
    """Sessions that are made up, and what they would find."""

    least: Values
    """float64[S]: the least worsening that each finds."""
    weights: Values
    """float64[S]: how likely each is; they add up to 1."""

    def power(self, worsening: float) -> float:
        """Return how often so much is found."""
        return float(self.weights[self.least <= worsening].sum())

    def detectable(self) -> float:
        """Return what is found with 80% power."""
        order = np.argsort(self.least, kind="stable")
        place = int(np.searchsorted(np.cumsum(self.weights[order]), POWER))
        return float(self.least[order][min(place, len(order) - 1)])


def item_noise(runs: Sequence[Sequence[float]], clusters: Sequence[str | None], *, edge: float = 0.0) -> float:
    """Return the variance that items coming out one way or another give a run's mean.

    It is what is left of the values when every item's mean and every run's mean are taken off, by clusters where items
    share one, and no less than without them: a few clusters show little of their noise, and one shows none. Of one run
    alone it is the spread of its items, which is no less.

    Args:
        runs: R runs, of each the values of the same N items in the same order.
        clusters: N labels, None for an item of its own.
        edge: what is added to the sum of squares.
    """
    values = np.array(runs, np.float64)
    count, n = values.shape
    if count == 1:
        seen = [mean_estimate(values[0].tolist(), labels).stderr or 0.0 for labels in (None, clusters)]
        return float(max(seen) ** 2 + edge / n**2)
    with np.errstate(over="ignore", invalid="ignore"):
        left = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
        squares = _squares(left, clusters) if unless_rounding(_largest(left), _largest(values)) else 0.0
        return float((squares + edge) / (count - 1) / n**2)


def noise_of_runs(
    sides: Sequence[Sequence[Sequence[float]]],
    *,
    clusters: Sequence[str | None],
    bounds: tuple[float, float],
    seed_noise: float | None = None,
) -> RunNoise | None:
    """Return the noise of run means, from runs on one side or on two between which it is taken to be the same.

    Args:
        sides: of each side its runs, of each run the values of the same N items in the same order.
        clusters: N labels, None for an item of its own.
        bounds: the least and the greatest value, infinite where there is none.
        seed_noise: the scale of the prior, in the unit of the values; by default SEED_NOISE times the spread of items.

    Returns:
        None where nothing varies and no bound says how far it might, so that there is no scale.
    """
    means = [[mean(run) for run in side] for side in sides]
    gaps = [one - mean(side) for side in means for one in side]
    # A product that is too large is infinite, where a power raises.
    squares = math.fsum(gap * gap for gap in gaps)
    values = np.array([run for side in sides for run in side], np.float64)
    centers = np.repeat([mean(side) for side in means], [len(side) for side in sides])[:, None]
    ends = bounds if all(map(math.isfinite, bounds)) else (0.0, 1.0)
    edge = _EDGE * (ends[1] - ends[0]) ** 2 if np.isin(values, ends).all() else 0.0
    # A mean within two ends varies by no more than half the distance between them (Popoviciu 1935); without this bound
    # the prior's tail hides a collapse over a few items from one baseline run.
    most = (bounds[1] - bounds[0]) / 2
    with np.errstate(over="ignore", invalid="ignore"):
        # Within each side: what is between them is what is tested. The variance of equal values is rounding, and would
        # be the scale of a prior that proves everything.
        spread = unless_rounding(math.sqrt(float(np.square(values - centers).mean())), _largest(values))
        of_items = spread**2 + edge / values.size
        of_a_mean = item_noise([run for side in sides for run in side], clusters, edge=edge)
        scale = SEED_NOISE * math.sqrt(of_items) if seed_noise is None else seed_noise
        variances = np.minimum(scale * _SCALES, most) ** 2 + of_a_mean
    if not (math.isfinite(squares) and np.isfinite(variances).all() and variances.min() > 0):
        return None
    dof = len(values) - len(sides)
    return RunNoise(variances, _posterior(variances, np.array([squares]), dof)[0], squares, dof)


def _largest(values: Values) -> float:
    return float(np.abs(values).max())


def _squares(left: Values, clusters: Sequence[str | None]) -> float:
    """Add up squares over items, or over the sums of clusters where that is more, corrected for their number."""
    n = left.shape[1]
    of_items = float(np.square(left).sum() * (n / max(n - 1, 1)))
    if not shares_cluster(clusters):
        return of_items
    names = {label: place for place, label in enumerate(dict.fromkeys(one for one in clusters if one is not None))}
    alone = iter(range(len(names), len(names) + n))
    places = np.array([names[one] if one is not None else next(alone) for one in clusters])
    sums = np.array([np.bincount(places, row) for row in left])
    groups = len(set(places.tolist()))
    return max(of_items, float(np.square(sums).sum() * (groups / max(groups - 1, 1))))


def _posterior(variances: Values, squares: Values, dof: int) -> Values:
    """Weigh variances (float64[NODES]) by sums of squares (float64[S]); float64[S, NODES]."""
    logs = np.log(_PRIOR) - dof / 2 * np.log(variances) - squares[:, None] / (2 * variances)
    weights: Values = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _tail(weights: Values, variances: Values, change: float) -> float:
    return float((weights * special.ndtr(-change / np.sqrt(variances))).sum())


def _critical(variances: Values, squares: Values, dof: int, j: int, k: int, p: float) -> Values:
    """Return for each sum of squares the difference that is exceeded with chance p; float64[S]."""
    return _exceeded(_posterior(variances, squares, dof), np.sqrt(variances * (1 / j + 1 / k)), p)


def _exceeded(weights: Values, spread: Values, p: float) -> Values:
    """Return for each mixture of normals around 0 what is exceeded with chance p (below 0.5); float64[S].

    Args:
        weights: float64[S, NODES], each row adding up to 1.
        spread: float64[NODES], the standard deviations, growing.
        p: the chance.
    """
    # The parts that are at least as wide as one exceed together what that one would with their weight: a lower bound.
    wider = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    change: Values = (spread * -special.ndtri(np.clip(p / np.maximum(wider, p), 0.0, 0.5))).max(axis=1)
    for _ in range(_STEPS):
        ratio = change[:, None] / spread
        excess = (weights * special.ndtr(-ratio)).sum(axis=1) - p
        slope = (weights * np.exp(-(ratio**2) / 2) / (spread * _ROOT)).sum(axis=1)
        # The chance is convex there, so that Newton's steps from below grow and stay below.
        step = np.maximum(excess, 0.0) / slope
        change = change + step
        if (step <= change * _NEAR).all():
            break
    return change
