"""Verdicts: what was compared and how, in fields and in one paragraph."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from tunix_eval.figures import decimals, fixed, interval_text, p_text
from tunix_eval.gate.comparison import Comparison
from tunix_eval.records import Outcome, RunScores, Verdict
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import mean, mean_estimate, mean_interval


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that one gate looks at."""

    gate: GateSpec
    run_name: str
    evalset: str
    current: Sequence[RunScores]
    reference: Sequence[RunScores]
    lower_is_better: bool
    clusters: Mapping[str, str]
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """The least and the greatest value of the metric."""
    family: int = 1
    """How many gates share a correction."""

    @property
    def strictest(self) -> Case:
        """The case at the strictest level that its correction asks for."""
        if self.family == 1:
            return self
        alpha = self.gate.alpha / self.family
        return dataclasses.replace(self, gate=self.gate.model_copy(update={"alpha": alpha}), family=1)

    @property
    def where(self) -> str:
        """Name the run and the metric."""
        return f"{self.run_name}/{self.gate.metric}"

    @property
    def swapped(self) -> bool:
        """Whether the reference is the side that is tested for being worse.

        A comparison takes higher values as better; where lower is better the sides change places, and once more
        for `better`, which asks whether the reference is worse than the current run.
        """
        return self.lower_is_better != (self.gate.rule == "better")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule makes of a comparison."""

    outcome: Outcome
    compared: Comparison
    """With the p value that the rule goes by."""
    allowed: float | None
    """The worsening that is let pass, or is to be excluded."""
    remarks: tuple[str, ...] = ()
    """Of the reason alone."""
    notes: tuple[str, ...] = ()
    false_alarms: float | None = None
    undecided: str | None = None
    """Why the gate could not have failed; of one that failed, why it could not after the correction."""


def run_mean(run: RunScores) -> float:
    """Return the mean over a run's items, all of which have a value."""
    return mean([value for value in run.values.values() if value is not None])


def mean_of_means(runs: Sequence[RunScores]) -> float:
    """Return the mean of the run means."""
    return mean([run_mean(run) for run in runs])


def undecidable(case: Case, trouble: str) -> Verdict:
    """Return the verdict of a gate whose records are not complete: failed."""
    return Verdict(
        rule=case.gate.rule,
        metric=case.gate.metric,
        run_name=case.run_name,
        run_id=case.current[0].run_id if case.current else "",
        evalset=case.evalset,
        outcome="failed",
        reason=f"{case.where}: {trouble}",
        unit="none",
        method="none",
        n_items=len(case.current[0].values) if case.current else 0,
        n_runs=len(case.reference),
    )


def not_decided(
    outcome: Literal["skipped", "stopped"],
    reason: str,
    *,
    rule: str,
    metric: str,
    run_name: str,
    run_id: str,
    evalset: str,
) -> Verdict:
    """Return the verdict of a gate of which nothing was measured: it has no figure."""
    return Verdict(
        rule=rule,
        metric=metric,
        run_name=run_name,
        run_id=run_id,
        evalset=evalset,
        outcome=outcome,
        reason=reason,
        unit="none",
        method="",
        n_current=0,
    )


def threshold_verdict(case: Case, threshold: float, side: Literal["least", "most"]) -> Verdict:
    """Return the verdict of a mean against a threshold."""
    current, n_items = mean_of_means(case.current), len(case.current[0].values)
    runs = f", mean of {len(case.current)} runs" if len(case.current) > 1 else ""
    places = decimals(current, threshold)
    interval = _interval_of_the_mean(case)
    known = f" (95% interval {interval_text(interval, places)})" if interval else ""
    over = f"{fixed(current, places)} over {n_items} items{runs}{known}"
    return Verdict(
        rule=case.gate.rule,
        metric=case.gate.metric,
        run_name=case.run_name,
        run_id=case.current[0].run_id,
        evalset=case.evalset,
        outcome="passed" if (current >= threshold if side == "least" else current <= threshold) else "failed",
        reason=f"{case.where}: {over}, at {side} {threshold:g} was asked for",
        unit="none",
        method="threshold",
        reference=threshold,
        current=current,
        delta=current - threshold,
        n_items=n_items,
    )


def _interval_of_the_mean(case: Case) -> tuple[float, float] | None:
    """Return the 95% interval of one run's mean over the items, as its scorecard has it; of several, over the runs."""
    if len(case.current) > 1:
        return mean_estimate([run_mean(run) for run in case.current]).interval(0.95)
    pairs = [(value, case.clusters.get(one)) for one, value in case.current[0].values.items() if value is not None]
    return mean_interval([value for value, _ in pairs], 0.95, [cluster for _, cluster in pairs], bounds=case.bounds)


def comparison_verdict(case: Case, decision: Decision) -> Verdict:
    """Return the verdict of a comparison of the case's current runs with its reference."""
    gate, compared = case.gate, decision.compared
    notes = (*decision.notes, *compared.notes)
    return Verdict(
        rule=gate.rule,
        metric=gate.metric,
        run_name=case.run_name,
        run_id=case.current[0].run_id,
        evalset=case.evalset,
        outcome=decision.outcome,
        reason=_reason(case, decision, notes),
        unit=compared.unit,
        method=compared.method,
        reference=mean_of_means(case.reference),
        current=mean_of_means(case.current),
        delta=-compared.worsening if not case.swapped else compared.worsening,
        interval=_turned(_within(compared.interval, case.bounds), negate=not case.swapped),
        p_value=compared.p_value,
        bootstrap=_turned(compared.bootstrap, negate=not case.swapped),
        false_alarms=decision.false_alarms,
        unproven=gate.unproven,
        alpha=gate.alpha,
        margin=decision.allowed,
        n_items=len(case.current[0].values),
        n_runs=len(case.reference),
        n_current=len(case.current),
        means=tuple(run_mean(run) for run in case.current),
        lower_is_better=case.lower_is_better,
        detectable=compared.detectable,
        undecided=decision.undecided,
        notes=notes,
    )


def with_promises(case: Case, verdict: Verdict) -> Verdict:
    """Say of a verdict what the platforms of its runs do not promise."""
    found = sorted({run.unpromised_bits for run in (*case.current, *case.reference) if run.unpromised_bits})
    if not found or verdict.delta is None:
        return verdict
    runs = "this run" if verdict.n_current == 1 else "these runs"
    note = f"{', '.join(found)}: a run trained or evaluated again may differ; this verdict is of {runs} alone"
    return replace(verdict, notes=(*verdict.notes, note), reason=f"{verdict.reason}; {note}")


def _within(interval: tuple[float, float] | None, bounds: tuple[float, float]) -> tuple[float, float] | None:
    """Cut an interval of a change to the changes that there can be on a scale."""
    width = bounds[1] - bounds[0]
    return (max(interval[0], -width), min(interval[1], width)) if interval else None


def _turned(interval: tuple[float, float] | None, *, negate: bool) -> tuple[float, float] | None:
    return (-interval[1], -interval[0]) if interval and negate else interval


def _reason(case: Case, decision: Decision, notes: tuple[str, ...]) -> str:
    """Write the paragraph.

    addition/exact: 0.980 -> 0.910 over 200 items (lost 17, won 3; drop 0.070, 90% interval 0.036 to 0.110,
    p 0.0007, allowed 0); mid-p McNemar, Tango's interval; a drop of 0.055 would be found 80 times in 100
    """
    compared, better = decision.compared, case.gate.rule == "better"
    reference, current = mean_of_means(case.reference), mean_of_means(case.current)
    places = decimals(reference, current, compared.worsening)
    bad, good = ("rise", "fall") if case.lower_is_better else ("drop", "gain")
    sought, other = (good, bad) if better else (bad, good)
    seen, fell = (sought, False) if compared.worsening >= 0 else (other, True)
    facts = [f"{seen} {fixed(abs(compared.worsening), places)}"]
    if interval := _turned(_within(compared.interval, case.bounds), negate=fell):
        facts.append(f"{100 * (1 - 2 * case.gate.alpha):g}% interval {interval_text(interval, places)}")
    facts += _asked_for(case, decision, bad)
    over = f"{len(case.current[0].values)} items"
    if compared.unit == "items":
        lost, won = (compared.won, compared.lost) if better else (compared.lost, compared.won)
        facts[0] = f"lost {lost}, won {won}; {facts[0]}"
    else:
        over += f", {len(case.current)} run{'s'[: len(case.current) != 1]} against {len(case.reference)}"
    after = [compared.method]
    if bootstrap := _turned(compared.bootstrap, negate=fell):
        after.append(f"bootstrap {interval_text(bootstrap, places)}")
    if compared.detectable is not None:
        after.append(f"a {sought} of {fixed(compared.detectable, places)} would be found 80 times in 100")
    head = f"{case.where}: {fixed(reference, places)} -> {fixed(current, places)} over {over}"
    undecided = [decision.undecided] if decision.undecided and decision.outcome == "undecided" else []
    return "; ".join([f"{head} ({', '.join(facts)})", *after, *decision.remarks, *undecided, *notes])


def _asked_for(case: Case, decision: Decision, bad: str) -> list[str]:
    """Write what was found of p, and what the rule asks for."""
    p = "p unknown" if decision.compared.p_value is None else f"p {p_text(decision.compared.p_value)}"
    allowed, needs = decision.allowed or 0, f"needs p at most {case.gate.alpha:g}"
    match case.gate.rule:
        case "better":
            return [p, needs]
        case "non_inferior":
            return [f"{p} against a {bad} of {allowed:g}", needs]
        case "max_drop":
            return [f"allowed {allowed:.4g} ({case.gate.drop})"]
        case _:
            return [p, f"allowed {allowed:g}"]
