"""The rules: what a gate asks of the current runs, and the verdict that it comes to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tunix_eval.figures import p_text
from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.look import Look, by_runs, compare, finds_the_worst
from tunix_eval.gate.needed import enough_for
from tunix_eval.gate.reach import beyond_reach, room
from tunix_eval.gate.scale import check_drop, check_scale
from tunix_eval.gate.verdicts import (
    Case,
    Decision,
    comparison_verdict,
    mean_of_means,
    threshold_verdict,
    undecidable,
    with_promises,
)
from tunix_eval.records import Outcome, RunScores, Verdict
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import t_cdf

_ROUNDING = 1e-9
_UNBOUNDED = (-math.inf, math.inf)

Fresh = Callable[[int], Sequence[RunScores]]
"""Takes how many more runs are wanted, gives those that can be had: other training seeds of the current spec."""


def decide(
    gate: GateSpec,
    *,
    run_name: str,
    evalset: str,
    current: Sequence[RunScores],
    reference: Sequence[RunScores] = (),
    lower_is_better: bool,
    clusters: Mapping[str, str] | None = None,
    bounds: tuple[float, float] | None = None,
    fresh: Fresh | None = None,
    family: int = 1,
) -> Verdict:
    """Decide a gate from records.

    no_worse fails when a worsening beyond the margin is proven (p <= alpha); non_inferior passes when one of the
    margin or more is excluded, fails when one beyond it is proven, and proves nothing in between; better passes when
    an improvement is proven. max_drop fails when the mean got worse by more than it allows. These four compare
    items where every current run has the weights of a run of the reference, better also where each side is one run;
    else run means.
    at_least and at_most hold the current mean against a threshold, whichever side is better.

    How far training seeds move a mean has a prior, so that one run against one of other weights decides too. Between
    retrained runs a first look of no_worse with p <= `gate.confirm_below` asks for `gate.confirm` fresh runs, and all
    of them decide. A no_worse that could not have found the worst drop that there can be is undecided.
    Sources: docs/decisions/0004-confirm-before-alarm.md, 0008-run-noise-has-a-prior.md.

    Every rule fails where a value is missing or out of bounds, or where the two sides do not have the same items.
    A verdict of runs whose platform does not promise the same bits says so; nothing is decided from bits but that
    weights of one digest are one.

    Args:
        gate: the rule, metric and arguments.
        run_name: for the verdict.
        evalset: for the verdict.
        current: the runs that are judged.
        reference: the runs of the baseline, or of the other model.
        lower_is_better: as the scorer declares it.
        clusters: item id -> its cluster; items that are not in it stand alone.
        bounds: the least and the greatest value of the metric, where the scorer declares them.
        fresh: gives runs for the second look; called once at most. None where there can be none.
        family: gates that share a correction: the strictest level that it asks for is alpha over their number.

    Raises:
        SpecError: a margin, drop or threshold beyond the bounds, or one that no mean can fail.
    """
    case = Case(
        gate, run_name, evalset, current, reference, lower_is_better, clusters or {}, bounds or _UNBOUNDED, family
    )
    check_scale(gate, bounds, where=case.where, lower_is_better=lower_is_better)
    if trouble := _trouble(case):
        return undecidable(case, trouble)
    if reference:
        of_baseline = mean_of_means(reference)
        check_drop(gate, of_baseline, case.bounds, where=case.where, lower_is_better=lower_is_better)
    return with_promises(case, _decided(case, fresh))


def _decided(case: Case, fresh: Fresh | None) -> Verdict:
    gate = case.gate
    match gate.rule:
        case "at_least" | "at_most":
            return threshold_verdict(case, gate.value or 0.0, "least" if gate.rule == "at_least" else "most")
        case "no_worse":
            return _no_worse(case, fresh)
        case "non_inferior":
            return _non_inferior(case)
        case "max_drop":
            return _max_drop(case)
        case "better":
            return _better(case)


def _trouble(case: Case) -> str:
    """Say why nothing can be decided; an empty string where something can."""
    if not case.current or not case.current[0].values:
        return f"no item of {case.evalset} was scored; a gate over nothing fails"
    if case.gate.rule not in ("at_least", "at_most") and not case.reference:
        return "no run to compare with; --tunix-update-baselines in a session makes a baseline"
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
            if odd := _out_of_bounds(run, case.bounds):
                low, high = case.bounds
                found = f"item {odd[0]} has {run.values[odd[0]]:g} in {side} run {run.run_id}"
                scale = f"{case.gate.metric} lies from {low:g} to {high:g}"
                return f"{found}, but {scale}; restore its record, or score it again"
    return ""


def _out_of_bounds(run: RunScores, bounds: tuple[float, float]) -> list[str]:
    """Return the items with a value that the metric cannot have; a mean of repeats may round past a bound."""
    low, high = (bound + sign * _ROUNDING * max(1.0, abs(bound)) for bound, sign in zip(bounds, (-1, 1), strict=True))
    return sorted(one for one, value in run.values.items() if value is not None and not low <= value <= high)


def _some(ids: Sequence[str]) -> str:
    """Count items and name the first ones."""
    more = ", .." if len(ids) > 3 else ""
    return f"{len(ids)} item{'s'[: len(ids) != 1]} ({', '.join(ids[:3])}{more})"


def _no_worse(case: Case, fresh: Fresh | None) -> Verdict:
    look, gate = compare(case), case.gate
    compared = look.compared
    confirm = gate.confirm if fresh and look.kind == "retrained" else 0
    near = compared.p_value is not None and compared.p_value <= max(gate.confirm_below, gate.alpha)
    if confirm and near and fresh:
        case = replace(case, current=[*case.current, *fresh(confirm)])
        if trouble := _trouble(case):
            return undecidable(case, trouble)
        look = replace(look, case=case, compared=by_runs(case))
        compared = _by_the_strictest(look)
    elif confirm and compared.noise is not None and len(case.current) == 1:
        # What is found is what both looks find, and the second one sees more.
        found = compared.noise.found_by_looks(
            len(case.reference), confirm, alpha=gate.alpha / case.family, first=max(gate.confirm_below, gate.alpha)
        )
        compared = replace(compared, detectable=found.detectable() + (gate.margin or 0.0))
    else:
        compared = _by_the_strictest(look)
    why = beyond_reach(compared, _room(look.case), lower_is_better=case.lower_is_better, family=case.family)
    if why and compared.detectable is None and finds_the_worst(look.case.strictest):
        why = None
    # A test that could not be made does not pass.
    outcome: Outcome = "undecided" if why else "passed"
    if compared.p_value is None or compared.p_value <= gate.alpha:
        outcome, why = "failed", why if case.family > 1 else None
    decision = Decision(outcome, compared, gate.margin or 0.0, notes=look.notes, undecided=why)
    return comparison_verdict(look.case, decision)


def _by_the_strictest(look: Look) -> Comparison:
    """Return what was found, with the change that is found at the strictest level that a correction asks for."""
    if look.case.family == 1:
        return look.compared
    strictest = look.case.strictest
    found = by_runs(strictest) if look.kind == "retrained" else compare(strictest).compared
    return replace(look.compared, detectable=found.detectable)


def _room(case: Case) -> float:
    return room(mean_of_means(case.reference), case.bounds, lower_is_better=case.lower_is_better)


def _non_inferior(case: Case) -> Verdict:
    look = compare(case)
    gate, worse = case.gate, look.compared.p_value
    # The tests of "at most the margin" and of "at least the margin" go by one statistic.
    compared = replace(look.compared, p_value=None if worse is None else 1 - worse)
    outcome: Outcome = "failed"
    remarks: tuple[str, ...] = ()
    undecided = None
    if worse is not None and 1 - worse <= gate.alpha:
        outcome = "passed"
        if (gate.margin or 0.0) >= (worst := _room(look.case)):
            outcome = "undecided"
            bad = "rise" if case.lower_is_better else "drop"
            undecided = f"undecided because no {bad} can reach the margin: the largest that there can be is {worst:.4g}"
    elif worse is not None and worse <= gate.alpha:
        remarks = (f"proven to exceed the margin, p {p_text(worse)}",)
    elif worse is not None:
        outcome = "skipped" if gate.unproven == "skip" else "failed"
        sides = {"j": len(look.case.current), "k": len(look.case.reference)}
        enough = enough_for(gate, compared, n_items=len(case.current[0].values), **sides)
        remarks = ("not proven" + (f": passing 80 times in 100 if nothing changed takes {enough}" if enough else ""),)
    return comparison_verdict(
        look.case, Decision(outcome, compared, gate.margin, remarks, look.notes, undecided=undecided)
    )


def _max_drop(case: Case) -> Verdict:
    look = compare(case)
    allowed = case.gate.allowed_drop(mean_of_means(look.case.reference))
    outcome: Outcome = "failed" if look.compared.worsening - allowed > _ROUNDING * max(1.0, allowed) else "passed"
    # The rule knows neither p nor power.
    compared = replace(look.compared, method="limit on the mean", p_value=None, detectable=None)
    alarms = _false_alarms(look, allowed)
    remarks: tuple[str, ...] = ()
    if alarms is not None:
        times = round(100 * alarms)
        remarks = (f"this rule fails {times} time{'s'[: times != 1]} in 100 though nothing changed",)
    return comparison_verdict(look.case, Decision(outcome, compared, allowed, remarks, look.notes, alarms))


def _false_alarms(look: Look, allowed: float) -> float | None:
    """Return how often a change of that spread exceeds what is allowed; None where the spread is unknown."""
    compared = look.compared
    if compared.noise is not None:
        return compared.noise.tail(allowed, len(look.case.current), len(look.case.reference))
    if compared.stderr is None:
        return None
    return t_cdf(compared.dof, -allowed / compared.stderr) if compared.stderr else 0.0


def _better(case: Case) -> Verdict:
    look = compare(case)
    proven = look.compared.p_value is not None and look.compared.p_value <= case.gate.alpha
    return comparison_verdict(
        look.case, Decision("passed" if proven else "failed", look.compared, None, notes=look.notes)
    )
