"""Which unit a case is compared by, and what the comparison finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import structs

from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.paired import compare_items
from tunix_eval.gate.runs import compare_runs, compare_unlike_runs
from tunix_eval.gate.verdicts import Case
from tunix_eval.records import RunScores
from tunix_eval.statistics import mean

_PROOFS = ("non_inferior", "better")
"""The rules that pass by proof: what they take for granted is what they may get wrong."""


@dataclass(frozen=True, slots=True)
class Look:
    """A case, narrowed to the runs that were compared, and what was found."""

    case: Case
    kind: Literal["same weights", "retrained", "one run each"]
    compared: Comparison
    notes: tuple[str, ...] = ()


def compare(case: Case) -> Look:
    """Compare the two sides by the unit that fits them."""
    several = len(case.current) + len(case.reference) > 2
    better = case.gate.rule == "better"
    twins = _twins(case)
    if twins and not (better and several):
        names = ", ".join(run.run_id for run in twins)
        note = f"same weights as {'' if better else 'baseline '}run{'s'[: len(twins) != 1]} {names}"
        case = replace(case, reference=twins)
        compared = _by_items(case)
        if len(twins) > 1:
            compared = replace(compared, method=f"{compared.method}, item means over runs")
        return Look(case, "same weights", compared, (note,))
    if better and not several:
        # Which of two models is better is a question about these two; whether a recipe is, takes several runs of it.
        note = "one run each, so that the noise between training seeds is unknown"
        return Look(case, "one run each", _by_items(case), (note,))
    return Look(case, "retrained", by_runs(case))


def _twins(case: Case) -> list[RunScores]:
    """Return a reference run of the same weights for each current run; none where one has none."""
    by_weights = {run.weights_sha256: run for run in reversed(case.reference)}
    found = [by_weights.get(run.weights_sha256) for run in case.current]
    return [run for run in found if run] if all(found) else []


def _by_items(case: Case) -> Comparison:
    ids = sorted(case.current[0].values)
    sides = [[_item_mean(runs, item_id) for item_id in ids] for runs in (case.reference, case.current)]
    first, second = reversed(sides) if case.swapped else sides
    labels = [case.clusters.get(item_id) for item_id in ids]
    return compare_items(
        first,
        second,
        alpha=case.gate.alpha,
        margin=case.gate.margin or 0.0,
        clusters=labels,
        mid_p=case.gate.test == "mid_p",
    )


def finds_the_worst(case: Case) -> bool:
    """Tell whether items that all fall to the bad end of the scale would be found worse.

    It answers where no item has changed, for then no spread says what would be found. Without an end of the scale the
    sign test finds what all items lose alike, if there are enough of them.
    """
    end = case.bounds[1 if case.lower_is_better else 0]
    if not math.isfinite(end):
        return _by_items(case).interval is not None
    fallen = dict.fromkeys(case.current[0].values, end)
    worst = _by_items(replace(case, current=[structs.replace(case.current[0], values=fallen)]))
    return worst.p_value is not None and worst.p_value <= case.gate.alpha


def by_runs(case: Case) -> Comparison:
    """Compare the run means of the two sides.

    A proof does not take the two sides for equally noisy where each has the runs to show its noise. Where nothing
    varies on a scale without ends, items are compared.
    """
    sides = [values_of(runs) for runs in (case.reference, case.current)]
    first, second = reversed(sides) if case.swapped else sides
    labels = labels_of(case)
    alpha, margin = case.gate.alpha, case.gate.margin or 0.0
    compared: Comparison | None = None
    notes: tuple[str, ...] = ()
    if case.gate.rule in _PROOFS:
        if min(len(first), len(second)) > 1:
            compared = compare_unlike_runs(first, second, alpha=alpha, margin=margin, clusters=labels)
        else:
            notes = ("assumes that training seeds move both sides equally, because one side has only one run",)
    if compared is None:
        compared = compare_runs(
            first,
            second,
            alpha=alpha,
            margin=margin,
            clusters=labels,
            bounds=case.bounds,
            seed_noise=case.gate.seed_noise,
        )
    if compared is not None:
        return replace(compared, notes=(*compared.notes, *notes))
    compared = _by_items(case)
    note = "nothing varies between the runs, so that their noise cannot be seen: items were compared"
    return replace(compared, method=f"{compared.method}, item means over runs", notes=(*compared.notes, note))


def values_of(runs: Sequence[RunScores]) -> list[list[float]]:
    """Return the values of runs, whatever their order and that of their items, as rows of the items by id."""
    ids = sorted(runs[0].values)
    named = sorted(runs, key=lambda run: run.run_id)
    return [[value for one in ids if (value := run.values[one]) is not None] for run in named]


def labels_of(case: Case) -> list[str | None]:
    """Return the clusters of the items by id."""
    return [case.clusters.get(one) for one in sorted(case.current[0].values)]


def _item_mean(runs: Sequence[RunScores], item_id: str) -> float:
    return mean([value for run in runs if (value := run.values[item_id]) is not None])
