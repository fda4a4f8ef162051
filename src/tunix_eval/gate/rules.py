"""The rules: what a gate asks of the current runs, and the verdict that it comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tunix_eval.errors import SpecError
from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.paired import compare_items
from tunix_eval.gate.runs import compare_runs
from tunix_eval.gate.verdicts import Case, comparison_verdict, run_mean, threshold_verdict, undecidable
from tunix_eval.records import RunScores, Verdict
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import mean


def decide(
    gate: GateSpec,
    *,
    run_name: str,
    evalset: str,
    current: Sequence[RunScores],
    reference: Sequence[RunScores] = (),
    lower_is_better: bool,
    clusters: Mapping[str, str] | None = None,
) -> Verdict:
    """Decide a gate from records.

    no_worse fails when a worsening beyond the margin is proven (p <= alpha). Where the weights are those of a
    baseline run, items are compared with that run's; otherwise run means with run means. Against a single
    baseline run it fails only with an explicit margin, because the noise between training seeds is unknown.
    better passes when an improvement is proven. at_least compares the current mean with a threshold.

    Every rule fails where a value is missing, or where the two sides do not have the same items.

    Args:
        gate: the rule, metric and arguments.
        run_name: for the verdict.
        evalset: for the verdict.
        current: the runs that are judged.
        reference: the runs of the baseline, or of the other model.
        lower_is_better: as the scorer declares it.
        clusters: item id -> its cluster; items that are not in it stand alone.

    Raises:
        SpecError: at_least on a metric that is better when lower.
    """
    case = Case(gate, run_name, evalset, current, reference, lower_is_better, clusters or {})
    if gate.rule == "at_least" and lower_is_better:
        raise SpecError(f"{case.where}: lower is better for '{gate.metric}', so at_least does not fit; use no_worse")
    if trouble := _trouble(case):
        return undecidable(case, trouble)
    if gate.value is not None:
        return threshold_verdict(case, gate.value)
    return _no_worse(case) if gate.rule == "no_worse" else _better(case)


def _trouble(case: Case) -> str:
    """Say why nothing can be decided; an empty string where something can."""
    if not case.current or not case.current[0].values:
        return f"no item of {case.evalset} was scored; a gate over nothing fails"
    if case.gate.rule != "at_least" and not case.reference:
        return "no run to compare with; run `pytest --tunix-train --tunix-update-baselines` to make a baseline"
    ids = case.current[0].values.keys()
    for run in (*case.current, *case.reference):
        if odd := sorted(run.values.keys() ^ ids):
            first = case.current[0].run_id
            return f"runs {first} and {run.run_id} differ in {_some(odd)} of {case.evalset}; both need every item"
    for side, runs in (("current", case.current), ("reference", case.reference)):
        for run in runs:
            missing = sorted(one for one, value in run.values.items() if value is None or not math.isfinite(value))
            if missing:
                return f"{_some(missing)} of {len(ids)} without a value in {side} run {run.run_id}; each needs one"
    return ""


def _some(ids: Sequence[str]) -> str:
    """Count items and name the first ones."""
    more = ", .." if len(ids) > 3 else ""
    return f"{len(ids)} item{'s'[: len(ids) != 1]} ({', '.join(ids[:3])}{more})"


def _no_worse(case: Case) -> Verdict:
    pairs = ((ours, theirs) for ours in case.current for theirs in case.reference)
    pair = next((pair for pair in pairs if pair[0].weights_sha256 == pair[1].weights_sha256), None)
    if pair:
        case = replace(case, current=[pair[0]], reference=[pair[1]])
        compared, note = _by_items(case), f"same weights as baseline run {pair[1].run_id}"
        return comparison_verdict(case, compared, failed=not _passes_alarm(case, compared), notes=(note,))
    if len(case.reference) > 1:
        compared = _by_runs(case)
        return comparison_verdict(case, compared, failed=not _passes_alarm(case, compared))
    compared, note = _by_items(case), "one baseline run, so that the noise between training seeds is unknown"
    if case.gate.margin is None:
        note += ": fails only with a margin, or against several baseline runs"
    failed = case.gate.margin is not None and not _passes_alarm(case, compared)
    return comparison_verdict(case, compared, failed=failed, notes=(note,))


def _better(case: Case) -> Verdict:
    several = len(case.current) + len(case.reference) > 2
    compared = _by_runs(case) if several else _by_items(case)
    notes = () if several else ("one run each, so that the noise between training seeds is unknown",)
    proven = compared.p_value is not None and compared.p_value <= case.gate.alpha
    return comparison_verdict(case, compared, failed=not proven, notes=notes)


def _passes_alarm(case: Case, compared: Comparison) -> bool:
    """Tell whether no worsening is proven; a test that could not be made does not pass."""
    return compared.p_value is not None and compared.p_value > case.gate.alpha


def _by_items(case: Case) -> Comparison:
    ids = sorted(case.current[0].values)
    sides = [[_item_mean(runs, item_id) for item_id in ids] for runs in (case.reference, case.current)]
    first, second = reversed(sides) if case.swapped else sides
    labels = [case.clusters.get(item_id) for item_id in ids]
    return compare_items(first, second, alpha=case.gate.alpha, margin=case.gate.margin or 0.0, clusters=labels)


def _by_runs(case: Case) -> Comparison:
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
