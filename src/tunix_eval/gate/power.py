"""The smallest change that a test would find with 80% power, and how much data a proof of "no worse" takes."""

from __future__ import annotations

import math

from tunix_eval.statistics import bisect, noncentral_t_cdf, normal_quantile, t_quantile

POWER = 0.8
_MOST_RUNS = 100
_MOST = 10**12
"""No count is larger: with a margin near 0 it would have no end."""


def detectable_by_t(stderr: float, dof: float, *, alpha: float, margin: float = 0.0) -> float:
    """Return the change d for which a one-sided t test of "at most margin" has 80% power.

    Solves P(T' > t) = 0.8 for the noncentral t with noncentrality (d - margin) / stderr on dof degrees of
    freedom, where t is the test's critical value.

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2.
    """
    critical = t_quantile(dof, 1 - alpha)
    bound = critical + 2
    while noncentral_t_cdf(dof, bound, critical) > 1 - POWER:
        bound *= 2
    needed = bisect(lambda shift: 1 - POWER - noncentral_t_cdf(dof, shift, critical), 0.0, bound)
    return margin + needed * stderr


def detectable_by_pairs(discordant: int, n: int, *, alpha: float, margin: float = 0.0) -> float | None:
    """Return the drop d that a one-sided test of paired 0/1 values finds with 80% power; None where no drop can be.

    Solves z(1 - alpha) * sqrt(psi - margin^2) + z(0.8) * sqrt(psi - d^2) = sqrt(n) * (d - margin) for d, where
    psi is the share of items that flip: the share seen, and never less than d. A normal approximation; it is
    that of McNemar's test at margin 0.

    Source: Connor (1987), Biometrics 43, 207-211.
    """

    def surplus(drop: float) -> float:
        flips = max(discordant / n, drop)
        noise = normal_quantile(1 - alpha) * math.sqrt(max(flips - margin * margin, 0.0))
        return math.sqrt(n) * (drop - margin) - noise - normal_quantile(POWER) * math.sqrt(flips - drop * drop)

    # With nothing flipped, d = 0 solves the equation too; it is no drop.
    return bisect(surplus, max(margin, 1e-9), 1.0) if surplus(1.0) >= 0 else None


def items_needed(variance: float, *, margin: float, alpha: float, binary: bool) -> int:
    """Return the items with which a worsening of the margin is excluded with 80% power where nothing changed.

    Solves z(1 - alpha) * sqrt(null) + z(0.8) * sqrt(variance) = sqrt(n) * margin. For 0/1 values the variance is
    the share of items that flip, and null is what Tango's test takes in its place under the hypothesis, where more
    items are lost than won.

    Source: Tango (1998), Statistics in Medicine 17, 891-908; Connor (1987), Biometrics 43, 207-211.

    Args:
        variance: of one item's difference.
        margin: above 0.
        alpha: one-sided error rate.
        binary: whether the values are 0 or 1.
    """
    null = variance
    if binary:
        b = variance + 2 * margin
        lost = (b + math.sqrt(b * b - 4 * variance * margin * (1 + margin))) / 4
        null = max(2 * lost - margin * (1 + margin), 0.0)
    noise = normal_quantile(1 - alpha) * math.sqrt(null) + normal_quantile(POWER) * math.sqrt(variance)
    return max(1, _square(noise / margin))


def runs_needed(stddev: float, k: int, *, margin: float, alpha: float) -> tuple[int, int]:
    """Return the runs with which a worsening of the margin is excluded with 80% power where nothing changed.

    Returns the fewest current runs against the k of the baseline; where 100 would not do, the same count for both
    sides.

    Args:
        stddev: of a run mean, above 0.
        k: baseline runs, at least 2.
        margin: above 0.
        alpha: one-sided error rate.
    """

    def power(j: int, k: int) -> float:
        dof = j + k - 2
        noncentrality = margin / (stddev * math.sqrt(1 / j + 1 / k))
        return 1 - noncentral_t_cdf(dof, noncentrality, t_quantile(dof, 1 - alpha))

    for j in range(1, _MOST_RUNS + 1):
        if power(j, k) >= POWER:
            return j, k
    # With the normal distribution in place of t, which asks for a few runs less.
    noise = math.sqrt(2) * (normal_quantile(1 - alpha) + normal_quantile(POWER)) * stddev
    both = _square(noise / margin)
    while both < _MOST and power(both, both) < POWER:
        both += 1
    return both, both


def _square(ratio: float) -> int:
    return _MOST if ratio * ratio >= _MOST else math.ceil(ratio * ratio)
