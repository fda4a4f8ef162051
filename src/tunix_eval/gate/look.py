"""Which unit a case is compared by, and what the comparison finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.paired import compare_items
from tunix_eval.gate.runs import compare_runs
from tunix_eval.gate.verdicts import Case, run_mean
from tunix_eval.records import RunScores
from tunix_eval.statistics import mean


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
    if several:
        return Look(case, "retrained", by_runs(case))
    note = f"{'one run each' if better else 'one baseline run'}, so that the noise between training seeds is unknown"
    return Look(case, "one run each", _by_items(case), (note,))


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


def by_runs(case: Case) -> Comparison:
    """Compare the run means of the two sides, or their items where the means of neither side vary."""
    sides = [[run_mean(run) for run in runs] for runs in (case.reference, case.current)]
    first, second = reversed(sides) if case.swapped else sides
    compared = compare_runs(first, second, alpha=case.gate.alpha, margin=case.gate.margin or 0.0)
    if compared is not None:
        return compared
    # Five baseline runs at 1.000 do not prove that a run at 0.995 is worse: their spread is too small to be seen.
    compared = _by_items(case)
    note = "the runs of each side have one mean, so that their noise cannot be seen: items were compared"
    return replace(compared, method=f"{compared.method}, item means over runs", notes=(*compared.notes, note))


def _item_mean(runs: Sequence[RunScores], item_id: str) -> float:
    return mean([value for run in runs if (value := run.values[item_id]) is not None])
