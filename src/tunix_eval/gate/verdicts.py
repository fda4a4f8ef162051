"""Verdicts: what was compared and how, in fields and in one paragraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunix_eval.figures import decimals, fixed, interval_text, p_text
from tunix_eval.gate.comparison import Comparison
from tunix_eval.records import RunScores, Verdict
from tunix_eval.specs import GateSpec
from tunix_eval.statistics import mean


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


def threshold_verdict(case: Case, threshold: float) -> Verdict:
    """Return the verdict of a mean against a threshold."""
    current, n_items = mean_of_means(case.current), len(case.current[0].values)
    runs = f", mean of {len(case.current)} runs" if len(case.current) > 1 else ""
    shown = fixed(current, decimals(current, threshold))
    return Verdict(
        rule=case.gate.rule,
        metric=case.gate.metric,
        run_name=case.run_name,
        run_id=case.current[0].run_id,
        evalset=case.evalset,
        outcome="passed" if current >= threshold else "failed",
        reason=f"{case.where}: {shown} over {n_items} items{runs}, at least {threshold:g} was asked for",
        unit="none",
        method="threshold",
        reference=threshold,
        current=current,
        delta=current - threshold,
        n_items=n_items,
    )


def comparison_verdict(case: Case, compared: Comparison, *, failed: bool, notes: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict of a comparison of the case's current runs with its reference."""
    gate, sign = case.gate, 1 if case.swapped else -1
    interval = compared.interval and sorted(sign * end for end in compared.interval)
    return Verdict(
        rule=gate.rule,
        metric=gate.metric,
        run_name=case.run_name,
        run_id=case.current[0].run_id,
        evalset=case.evalset,
        outcome="failed" if failed else "passed",
        reason=_reason(case, compared, (*notes, *compared.notes)),
        unit=compared.unit,
        method=compared.method,
        reference=mean_of_means(case.reference),
        current=mean_of_means(case.current),
        delta=sign * compared.worsening,
        interval=(interval[0], interval[1]) if interval else None,
        p_value=compared.p_value,
        alpha=gate.alpha,
        margin=None if gate.rule == "better" else gate.margin or 0.0,
        n_items=len(case.current[0].values),
        n_runs=len(case.reference),
        detectable=compared.detectable,
        notes=(*notes, *compared.notes),
    )


def _reason(case: Case, compared: Comparison, notes: tuple[str, ...]) -> str:
    """Write the paragraph.

    addition/exact: 0.980 -> 0.910 over 200 items (lost 17, won 3; drop 0.070, 90% interval 0.036 to 0.110,
    p 0.0007, allowed 0); mid-p McNemar, Tango's interval; a drop of 0.055 would be found 80 times in 100
    """
    gate, better = case.gate, case.gate.rule == "better"
    reference, current = mean_of_means(case.reference), mean_of_means(case.current)
    places = decimals(reference, current, compared.worsening)
    bad, good = ("rise", "fall") if case.lower_is_better else ("drop", "gain")
    sought, other = (good, bad) if better else (bad, good)
    seen, sign = (sought, 1) if compared.worsening >= 0 else (other, -1)
    facts = [f"{seen} {fixed(abs(compared.worsening), places)}"]
    if compared.interval:
        low, high = sorted(sign * end for end in compared.interval)
        facts.append(f"{100 * (1 - 2 * gate.alpha):g}% interval {interval_text((low, high), places)}")
    facts.append("p unknown" if compared.p_value is None else f"p {p_text(compared.p_value)}")
    facts.append(f"needs p at most {gate.alpha:g}" if better else f"allowed {gate.margin or 0:g}")
    head = f"{case.where}: {fixed(reference, places)} -> {fixed(current, places)}"
    over = f"{len(case.current[0].values)} items"
    if compared.unit == "items":
        lost, won = (compared.won, compared.lost) if better else (compared.lost, compared.won)
        detail = f"lost {lost}, won {won}; {', '.join(facts)}"
    else:
        over += f", {len(case.current)} run{'s'[: len(case.current) != 1]} against {len(case.reference)}"
        detail = ", ".join(facts)
    after = [compared.method]
    if compared.detectable is not None:
        after.append(f"a {sought} of {fixed(compared.detectable, places)} would be found 80 times in 100")
    return "; ".join([f"{head} over {over} ({detail})", *after, *notes])
