"""Run against run: for retrained models, where a training seed moves all items together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunix_eval.gate.comparison import Comparison, t_comparison
from tunix_eval.statistics import MeanEstimate, mean_estimate


def compare_runs(
    first: Sequence[float], second: Sequence[float], *, alpha: float, margin: float = 0.0
) -> Comparison | None:
    """Test whether the second side's runs are worse than the first's by more than the margin.

    One-sided two-sample t on the run means, with the variance pooled over both sides; one side may be a single
    run. None where the means of neither side vary: the noise between runs is then unknown, not zero.

    Source: Student's two-sample t with equal variances; Welch's cannot be computed for one run.

    Args:
        first: mean score of each run, J of them.
        second: mean score of each run, K of them; J + K is at least 3.
        alpha: one-sided error rate.
        margin: a worsening up to this is allowed.
    """
    j, k = len(first), len(second)
    one, two = mean_estimate(first), mean_estimate(second)
    squares = (j - 1) * (one.stddev or 0.0) ** 2 + (k - 1) * (two.stddev or 0.0) ** 2
    if squares == 0:
        return None
    dof = j + k - 2
    stderr = math.sqrt(squares / dof * (1 / j + 1 / k))
    worsening = MeanEstimate(j + k, one.mean - two.mean, math.sqrt(squares / dof), stderr, dof)
    return t_comparison(worsening, alpha=alpha, margin=margin, unit="runs", method="two-sample t on run means")
