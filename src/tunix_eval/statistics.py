"""Means, intervals and the distributions behind them: one place for every stage that states an uncertainty.

Sums are exact (`math.fsum`), so that the order of the items never changes a figure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

# scipy.stats takes a second to import; its distribution functions live here.
from scipy import special  # type: ignore[import-untyped]

_ROUNDING = 1e-12
"""A spread below this part of the largest value is rounding, not variation."""


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean and how well it is known."""

    n: int
    mean: float
    stddev: float | None
    """Of the sample, over n - 1; None for one value."""
    stderr: float | None
    """Of the mean; None where there is one value or one cluster."""
    dof: float
    """n - 1, or clusters - 1; of two samples Welch's."""

    def interval(self, level: float) -> tuple[float, float] | None:
        """Return the two-sided t interval of the mean."""
        if self.stderr is None:
            return None
        half = t_quantile(self.dof, (1 + level) / 2) * self.stderr
        return self.mean - half, self.mean + half


def mean(values: Sequence[float]) -> float:
    """Return the mean of one value or more."""
    return math.fsum(values) / len(values)


def measured_mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of values all of which were measured, None where one was not.

    >>> measured_mean([0.0, 1.0]), measured_mean([0.0, None])
    (0.5, None)
    """
    measured = [value for value in values if value is not None]
    return mean(measured) if len(measured) == len(values) else None


def mean_estimate(values: Sequence[float], clusters: Sequence[str | None] | None = None) -> MeanEstimate:
    """Estimate a mean, with a cluster-robust standard error where values share a cluster.

    A value without a cluster is a cluster of its own. With G clusters, the standard error is
    sqrt(G / (G - 1) * sum of squared cluster sums of residuals) / n, on G - 1 degrees of freedom; where
    nothing is shared this is sd / sqrt(n) on n - 1.

    Source: Liang and Zeger (1986), Biometrika 73, 13-22, with the G / (G - 1) correction.

    >>> mean_estimate([1.0, 2.0, 3.0])
    MeanEstimate(n=3, mean=2.0, stddev=1.0, stderr=0.5773502691896258, dof=2)
    """
    n, center = len(values), mean(values)
    residuals = [value - center for value in values]
    scale = max(abs(value) for value in values)
    stddev = unless_rounding(math.sqrt(math.fsum(r * r for r in residuals) / (n - 1)), scale) if n > 1 else None
    if clusters is None or not shares_cluster(clusters):
        return MeanEstimate(n, center, stddev, None if stddev is None else stddev / math.sqrt(n), n - 1)
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for index, (residual, cluster) in enumerate(zip(residuals, clusters, strict=True)):
        groups[(index,) if cluster is None else cluster].append(residual)
    g = len(groups)
    stderr = None
    if g > 1:
        sums = [math.fsum(group) for group in groups.values()]
        # A product that is too large is infinite, where a power raises.
        squares = math.fsum(one * one for one in sums)
        stderr = unless_rounding(math.sqrt(g / (g - 1) * squares) / n, scale)
    return MeanEstimate(n, center, stddev, stderr, g - 1)


def shares_cluster(clusters: Iterable[str | None]) -> bool:
    """Tell whether two values have the same cluster.

    >>> shares_cluster(["a", "b", None, None]), shares_cluster(["a", "b", "a"])
    (False, True)
    """
    named = [cluster for cluster in clusters if cluster is not None]
    return len(set(named)) < len(named)


def is_binary(values: Iterable[float]) -> bool:
    """Tell whether every value is 0 or 1."""
    return all(value in (0.0, 1.0) for value in values)


def wilson_interval(successes: float, n: float, level: float) -> tuple[float, float]:
    """Return the score interval of a rate; n may be an effective number of trials.

    Source: Wilson (1927), JASA 22, 209-212.
    """
    z = normal_quantile((1 + level) / 2)
    rate, width = successes / n, z * z / n
    center = (rate + width / 2) / (1 + width)
    half = z / (1 + width) * math.sqrt(rate * (1 - rate) / n + width / (4 * n))
    return max(0.0, center - half), min(1.0, center + half)


def mean_interval(
    values: Sequence[float],
    level: float,
    clusters: Sequence[str | None] | None = None,
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    trials: int | None = None,
) -> tuple[float, float] | None:
    """Return the interval of a mean, within the bounds of its values; None where nothing is known of their spread.

    0/1 values that share no cluster: Wilson's. Others with two bounds, clusters and means of repeats among them:
    Wilson's for the effective number of trials. The rest: t.

    Args:
        values: one an item.
        level: such as 0.95.
        clusters: as `mean_estimate` takes them.
        bounds: the least and the greatest that a value can be.
        trials: how many 0/1 trials each value is the mean of; None where it is graded, unless all values are 0 or 1.
    """
    if trials is None and is_binary(values):
        trials = 1
    if trials == 1 and not shares_cluster(clusters or ()):
        return wilson_interval(sum(values), len(values), level)
    low, high = bounds if trials is None else (0.0, 1.0)
    estimate = mean_estimate(values, clusters)
    if estimate.stderr is None:
        return None
    if math.isfinite(high - low):
        most = math.inf if trials is None else len(values) * trials
        rate = min(max((estimate.mean - low) / (high - low), 0.0), 1.0)
        n = _effective_trials(estimate, rate, (estimate.stderr / (high - low)) ** 2, level, clusters, most)
        below, above = wilson_interval(rate * n, n, level)
        return low + (high - low) * below, low + (high - low) * above
    interval = estimate.interval(level) if estimate.stderr else None
    return interval and (max(low, interval[0]), min(high, interval[1]))


def _effective_trials(
    estimate: MeanEstimate,
    rate: float,
    variance: float,
    level: float,
    clusters: Sequence[str | None] | None,
    most: float,
) -> float:
    """Return how many 0/1 trials would know a rate as well.

    rate (1 - rate) / variance, no fewer than the clusters, for no values between 0 and 1 spread more than 0 and 1
    (Bhatia and Davis), and no more than `most`; then less, as t is wider than the normal. Without any spread: as
    many as clusters. Clusters of unequal sizes count as (sum of sizes)^2 / sum of squared sizes.

    Sources: Korn and Graubard (1998), Survey Methodology 24, 193-201, for the effective number and its correction;
    Franco, Little, Louis and Slud (2019), Journal of Survey Statistics and Methodology 7, 334-364, for Wilson's
    interval with it; Bhatia and Davis (2000), American Mathematical Monthly 107, 353-357; Kish (1965).
    """
    sizes = Counter(
        index if cluster is None else cluster for index, cluster in enumerate(clusters or [None] * estimate.n)
    )
    least = estimate.n**2 / sum(size * size for size in sizes.values())
    if variance == 0:
        return least
    n = min(max(rate * (1 - rate) / variance, least), most)
    return n * (normal_quantile((1 + level) / 2) / t_quantile(estimate.dof, (1 + level) / 2)) ** 2


def tango_statistic(won: int, lost: int, n: int, delta: float) -> float:
    """Return the score statistic of "the paired difference of two rates is delta"; falls as delta grows.

    Under the hypothesis it is standard normal. The difference is (won - lost) / n.

    Source: Tango (1998), Statistics in Medicine 17, 891-908.
    """
    # q estimates the rate of losses under the hypothesis: the root of 2n q^2 + b q + c = 0.
    b = -won - lost + (2 * n - won + lost) * delta
    c = -lost * delta * (1 - delta)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    q = -2 * c / (root + b) if b > 0 else (root - b) / (4 * n)
    gap = won - lost - n * delta
    variance = n * (2 * q + delta * (1 - delta))
    if variance <= n * _ROUNDING:
        return 0.0 if abs(gap) <= n * _ROUNDING else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def tango_interval(won: int, lost: int, n: int, level: float) -> tuple[float, float]:
    """Return the score interval of the paired difference of two rates, (won - lost) / n.

    Source: Tango (1998), Statistics in Medicine 17, 891-908.
    """
    z = normal_quantile((1 + level) / 2)
    center = (won - lost) / n
    low = bisect(lambda delta: z - tango_statistic(won, lost, n, delta), -1.0, center)
    high = bisect(lambda delta: -z - tango_statistic(won, lost, n, delta), center, 1.0)
    return low, high


def paired_interval(
    before: Sequence[float], after: Sequence[float], level: float, clusters: Sequence[str | None] | None = None
) -> tuple[float, float] | None:
    """Return the interval of the mean change: Tango's for 0/1 values that share no cluster, else t."""
    if is_binary(before) and is_binary(after) and not shares_cluster(clusters or ()):
        won = sum(a > b for b, a in zip(before, after, strict=True))
        lost = sum(a < b for b, a in zip(before, after, strict=True))
        return tango_interval(won, lost, len(before), level)
    changes = [a - b for b, a in zip(before, after, strict=True)]
    return mean_estimate(changes, clusters).interval(level)


def bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero, to the last bit; an end where it does not cross."""
    if rising(low) >= 0:
        return low
    if rising(high) <= 0:
        return high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def normal_cdf(z: float) -> float:
    """Return P(Z <= z)."""
    return float(special.ndtr(z))


def normal_quantile(p: float) -> float:
    """Return z with P(Z <= z) = p."""
    return float(special.ndtri(p))


def t_cdf(dof: float, t: float) -> float:
    """Return P(T <= t) for Student's t."""
    return float(special.stdtr(dof, t))


def t_quantile(dof: float, p: float) -> float:
    """Return t with P(T <= t) = p for Student's t."""
    return float(special.stdtrit(dof, p))


def noncentral_t_cdf(dof: float, noncentrality: float, t: float) -> float:
    """Return P(T <= t) for the noncentral t."""
    return float(special.nctdtr(dof, noncentrality, t))


def binomial_tail(k: int, n: int) -> float:
    """Return P(X > k) for n fair coins."""
    return 1.0 if k < 0 else float(special.bdtrc(k, n, 0.5))


def unless_rounding(spread: float, scale: float) -> float:
    """Return a spread of values of this size, and 0 where it is no more than what rounding leaves of equal values."""
    return 0.0 if spread <= _ROUNDING * scale else spread
