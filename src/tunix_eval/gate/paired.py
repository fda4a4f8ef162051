"""Item against item: for unchanged weights, or for two models of which one run each is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tunix_eval.gate.bootstrap import bootstrap_interval
from tunix_eval.gate.comparison import Comparison, t_comparison
from tunix_eval.gate.power import detectable_by_pairs
from tunix_eval.statistics import (
    binomial_tail,
    is_binary,
    mean_estimate,
    normal_cdf,
    shares_cluster,
    tango_interval,
    tango_statistic,
    unless_rounding,
)


def compare_items(
    first: Sequence[float],
    second: Sequence[float],
    *,
    alpha: float,
    margin: float = 0.0,
    clusters: Sequence[str | None] | None = None,
    mid_p: bool = True,
) -> Comparison:
    """Test whether the second side is worse than the first by more than the margin, pair by pair.

    0/1 values: McNemar at margin 0, Tango's score test with a margin, Tango's interval with both. Other values:
    paired t, with a bootstrap interval beside it. Where items share a cluster, 0/1 or not: cluster t on G - 1
    degrees of freedom.

    Args:
        first: N values.
        second: N values of the same items, in the same order.
        alpha: one-sided error rate.
        margin: a worsening up to this is allowed.
        clusters: N labels, None for an item of its own.
        mid_p: McNemar's mid-p rather than the exact test.
    """
    # Values that are equal but for rounding have not changed: the sign test would find such a drop in all items.
    drops = [unless_rounding(abs(a - b), max(abs(a), abs(b))) and a - b for a, b in zip(first, second, strict=True)]
    lost, won = sum(drop > 0 for drop in drops), sum(drop < 0 for drop in drops)
    clustered = clusters is not None and shares_cluster(clusters)
    if not clustered and is_binary(first) and is_binary(second):
        return _binary(lost, won, len(drops), alpha=alpha, margin=margin, mid_p=mid_p)
    estimate = mean_estimate(drops, clusters)
    method = f"cluster t, {estimate.dof + 1} clusters" if clustered else "paired t"
    compared = t_comparison(estimate, alpha=alpha, margin=margin, unit="items", method=method)
    bootstrap = bootstrap_interval(drops, 1 - 2 * alpha) if compared.stderr and not clustered else None
    return replace(compared, lost=lost, won=won, bootstrap=bootstrap)


def mcnemar(lost: int, won: int, *, mid_p: bool = True) -> float:
    """Return the one-sided p value of "no more items are lost than won", from the items that flipped.

    Exact is P(X >= lost) for lost + won fair coins; mid-p counts half of P(X = lost).

    Source: McNemar (1947), Psychometrika 12, 153-157; mid-p: Fagerland, Lydersen and Laake (2013), BMC Medical
    Research Methodology 13:91.

    >>> mcnemar(17, 3, mid_p=False), mcnemar(0, 0)
    (0.00128841400146484..., 0.5)
    """
    exact, beyond = binomial_tail(lost - 1, lost + won), binomial_tail(lost, lost + won)
    return (exact + beyond) / 2 if mid_p else exact


def _binary(lost: int, won: int, n: int, *, alpha: float, margin: float, mid_p: bool) -> Comparison:
    low, high = tango_interval(won, lost, n, 1 - 2 * alpha)
    return Comparison(
        unit="items",
        method="Tango's score test" if margin else f"{'mid-p' if mid_p else 'exact'} McNemar, Tango's interval",
        worsening=(lost - won) / n,
        interval=(-high, -low),
        p_value=normal_cdf(tango_statistic(won, lost, n, -margin)) if margin else mcnemar(lost, won, mid_p=mid_p),
        detectable=detectable_by_pairs(lost + won, n, alpha=alpha, margin=margin),
        stderr=math.sqrt(lost + won) / n,
        lost=lost,
        won=won,
    )
