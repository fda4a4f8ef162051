"""How many items or runs a proof of "no worse" takes: said in the plan, and where a gate proves nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.power import items_needed, runs_needed
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import is_binary, mean, mean_estimate


def needed(gate: GateSpec, *, reference: Sequence[RunScores], n_items: int, lower_is_better: bool) -> str | None:
    """Say how many runs or items a non_inferior gate needs to pass 80 times in 100 where nothing changed.

    Several baseline runs show their spread. One shows none: 0/1 scores of two honest runs are then assumed to
    differ as two draws of each item would, 2 p (1 - p), others to have twice the variance of the items.

    Returns:
        None for other rules, and where the baseline is not complete.
    """
    columns = [[value for value in run.values.values() if value is not None] for run in reference]
    if gate.rule != "non_inferior" or not columns or any(len(column) != n_items for column in columns) or not n_items:
        return None
    margin = gate.margin or 0.0
    stddev = mean_estimate([mean(column) for column in columns]).stddev
    assumed = ""
    if stddev:
        enough = _enough_runs(gate, stddev, gate.seeds, len(columns))
    else:
        values = columns[0]
        binary, center = is_binary(values), mean(values)
        spread = mean_estimate(values).stddev or 0.0
        variance = 2 * center * (1 - center) if binary else 2 * spread**2
        enough = _enough_items(gate, variance, n_items, binary=binary)
        assumed = f", assuming that {100 * variance:.0f}% of them flip" if binary else ", assuming independent runs"
    bad = "rise" if lower_is_better else "drop"
    return f"to exclude a {bad} of {margin:g}: passes 80 times in 100 if nothing changed with {enough}{assumed}"


def enough_for(gate: GateSpec, compared: Comparison, *, n_items: int, j: int, k: int) -> str | None:
    """Say how much would be enough, given the spread that a comparison of j current runs with k saw.

    None where it saw no spread, and where what is there would be enough: then it is the change that is too near.
    """
    binary = math.isinf(compared.dof)
    if compared.stderr is None or (compared.stderr == 0 and not binary):
        return None
    if compared.unit == "items":
        variance = compared.stderr**2 * n_items
        if items_needed(variance, margin=gate.margin or 0.0, alpha=gate.alpha, binary=binary) <= n_items:
            return None
        return _enough_items(gate, variance, n_items, binary=binary)
    stddev = compared.stderr / math.sqrt(1 / j + 1 / k)
    current, baseline = runs_needed(stddev, k, margin=gate.margin or 0.0, alpha=gate.alpha)
    if current <= j and baseline <= k:
        return None
    return _enough_runs(gate, stddev, j, k)


def _enough_items(gate: GateSpec, variance: float, n_items: int, *, binary: bool) -> str:
    count = items_needed(variance, margin=gate.margin or 0.0, alpha=gate.alpha, binary=binary)
    step = 10 ** max(0, len(str(count)) - 2)
    return f"about {math.ceil(count / step) * step} items (has {n_items})"


def _enough_runs(gate: GateSpec, stddev: float, j: int, k: int) -> str:
    current, baseline = runs_needed(stddev, k, margin=gate.margin or 0.0, alpha=gate.alpha)
    if baseline == k:
        return f"about {current} run{'s'[: current != 1]} (has {j})"
    return f"about {current} runs on each side (has {j} against {k})"
