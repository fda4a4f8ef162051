"""What a gate will be able to find, known from the baseline: said in the plan, and where a baseline is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunix_eval.figures import decimals, fixed
from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.look import values_of
from tunix_eval.gate.noise import noise_of_runs
from tunix_eval.gate.reach import beyond_reach, room
from tunix_eval.gate.verdicts import mean_of_means
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

RECOMMENDED = (5, 10)
"""Baseline runs: enough for most, and what pays where trainings are cheap."""


def foreseen(
    gate: GateSpec,
    *,
    reference: Sequence[RunScores],
    clusters: Mapping[str, str],
    bounds: tuple[float, float],
    lower_is_better: bool,
    trains: bool,
    family: int = 1,
) -> str | None:
    """Say what a no_worse gate between retrained runs will find, and how often against more baseline runs.

    Args:
        gate: the rule and its arguments.
        reference: the runs of the baseline.
        clusters: item id -> its cluster.
        bounds: the least and the greatest value of the metric, infinite where there is none.
        lower_is_better: as the scorer declares it.
        trains: whether fresh seeds can be had for a second look.
        family: gates that share a correction.

    Returns:
        None for other rules, and where the baseline is not complete or shows no scale.
    """
    values = [value for run in reference for value in run.values.values()]
    if gate.rule != "no_worse" or not values or None in values:
        return None
    labels = [clusters.get(one) for one in sorted(reference[0].values)]
    noise = noise_of_runs([values_of(reference)], clusters=labels, bounds=bounds, seed_noise=gate.seed_noise)
    if noise is None:
        return None
    k, margin, alpha = len(reference), gate.margin or 0.0, gate.alpha / family
    confirm, first = gate.confirm if trains else 0, max(gate.confirm_below, gate.alpha)
    least = noise.found_by_looks(k, confirm, alpha=alpha, first=first).detectable()
    seen = Comparison("runs", "", 0.0, detectable=least + margin)
    worst = room(mean_of_means(reference), bounds, lower_is_better=lower_is_better)
    if why := beyond_reach(seen, worst, lower_is_better=lower_is_better, family=family):
        return f"between runs of other weights will be {why}"
    bad = "rise" if lower_is_better else "drop"
    text = f"finds a {bad} of {fixed(least + margin, decimals(least + margin))} 80 times in 100"
    power = {
        count: noise.found_by_looks(count, confirm, alpha=alpha, first=first, seen=False).power(least)
        for count in RECOMMENDED
        if count > k and trains
    }
    more = [f"against {count} baseline runs {round(100 * often)} times" for count, often in power.items()]
    return "; ".join([text, ", ".join(more)]) if more else text
