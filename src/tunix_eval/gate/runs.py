"""Run against run: for retrained models, where a training seed moves all items together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunix_eval.gate.comparison import Comparison, t_comparison
from tunix_eval.gate.noise import item_noise, noise_of_runs
from tunix_eval.statistics import MeanEstimate, mean, mean_estimate

Side = Sequence[Sequence[float]]
"""Runs of one side, and of each run the values of the same N items in the same order."""

_ONE_SIGMA = 0.15865525393145707
"""The chance that a normal variable exceeds its mean by more than its standard deviation."""


def compare_runs(
    first: Side,
    second: Side,
    *,
    alpha: float,
    margin: float = 0.0,
    clusters: Sequence[str | None],
    bounds: tuple[float, float] = (-math.inf, math.inf),
    seed_noise: float | None = None,
) -> Comparison | None:
    """Test whether the second side's runs are worse than the first's by more than the margin.

    The difference of the means against the noise of a run mean, which has a prior: one run on each side is enough. The
    noise is taken to be the same on both sides. None where nothing varies and the scale has no ends.

    Args:
        first: J runs.
        second: K runs.
        alpha: one-sided error rate.
        margin: a worsening up to this is allowed.
        clusters: N labels, None for an item of its own.
        bounds: the least and the greatest value of the metric.
        seed_noise: the scale of the prior, in the metric's unit.
    """
    noise = noise_of_runs([first, second], clusters=clusters, bounds=bounds, seed_noise=seed_noise)
    if noise is None:
        return None
    j, k = len(first), len(second)
    worsening = mean([mean(run) for run in first]) - mean([mean(run) for run in second])
    half = noise.critical(alpha, j, k)
    return Comparison(
        "runs",
        "run means, with a prior on the noise between seeds",
        worsening,
        interval=(worsening - half, worsening + half),
        p_value=noise.tail(worsening - margin, j, k),
        detectable=margin + noise.detectable(j, k, alpha=alpha),
        stderr=noise.critical(_ONE_SIGMA, j, k),
        noise=noise,
    )


def compare_unlike_runs(
    first: Side, second: Side, *, alpha: float, margin: float = 0.0, clusters: Sequence[str | None]
) -> Comparison | None:
    """Test the same where the noise of the two sides may differ; each has two runs or more.

    Welch's t, with each side's variance no smaller than its own item noise: for 0/1 values that is larger near the
    middle of the scale, so that the worse side of two near an end is the noisier. None where neither side varies.

    Source: Welch (1947), Biometrika 34, 28-35.
    """
    sizes, variances = (len(first), len(second)), []
    for side in (first, second):
        spread = mean_estimate([mean(run) for run in side]).stddev or 0.0
        variances.append(max(spread**2, item_noise(side, clusters)) / len(side))
    total = math.fsum(variances)
    if total == 0:
        return None
    dof = total**2 / math.fsum(v**2 / (size - 1) for v, size in zip(variances, sizes, strict=True))
    gap = mean([mean(run) for run in first]) - mean([mean(run) for run in second])
    worsening = MeanEstimate(sum(sizes), gap, None, math.sqrt(total), dof)
    return t_comparison(worsening, alpha=alpha, margin=margin, unit="runs", method="Welch's t on run means")
