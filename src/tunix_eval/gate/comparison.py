"""What a one-sided test finds: whether one side is worse than the other by more than a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunix_eval.gate.noise import RunNoise
from tunix_eval.gate.power import detectable_by_t
from tunix_eval.statistics import MeanEstimate, t_cdf


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a test found. Higher values are better; who compares the other direction swaps the sides."""

    unit: Literal["items", "runs"]
    method: str
    worsening: float
    """Mean of the first side less mean of the second."""
    interval: tuple[float, float] | None = None
    """(1 - 2 alpha) interval of the worsening."""
    p_value: float | None = None
    """One-sided, of "the worsening is at most the margin"; None where the data cannot tell."""
    detectable: float | None = None
    """The worsening that the test would find with 80% power."""
    stderr: float | None = None
    """Of the worsening where nothing changed; None where it cannot be told."""
    dof: float = math.inf
    """Of the standard error: items or clusters less one, or Welch's. Infinite for 0/1 values, where it follows from
    how many items flip."""
    noise: RunNoise | None = None
    """Of a run's mean, where runs were compared under a prior."""
    bootstrap: tuple[float, float] | None = None
    """(1 - 2 alpha) bootstrap interval of the worsening, beside that of a paired t test."""
    lost: int = 0
    """Items that are worse on the second side."""
    won: int = 0
    notes: tuple[str, ...] = ()


def t_comparison(
    worsening: MeanEstimate, *, alpha: float, margin: float, unit: Literal["items", "runs"], method: str
) -> Comparison:
    """Test a worsening by its standard error; where there is no spread to be seen, by the exact sign test."""
    if worsening.stderr is None:
        return Comparison(unit, method, worsening.mean, notes=("one value alone has no standard error",))
    if not math.isfinite(worsening.stderr):
        return Comparison(unit, method, worsening.mean, notes=("the scores are too large for a standard error",))
    if worsening.stderr == 0:
        return _same_change(worsening, alpha=alpha, margin=margin, unit=unit, method=method)
    excess = worsening.mean - margin
    return Comparison(
        unit,
        method,
        worsening.mean,
        interval=worsening.interval(1 - 2 * alpha),
        p_value=t_cdf(worsening.dof, -excess / worsening.stderr),
        detectable=detectable_by_t(worsening.stderr, worsening.dof, alpha=alpha, margin=margin),
        stderr=worsening.stderr,
        dof=worsening.dof,
    )


def _same_change(
    worsening: MeanEstimate, *, alpha: float, margin: float, unit: Literal["items", "runs"], method: str
) -> Comparison:
    """Test a change that is the same everywhere: a spread that was not seen is not known to be zero.

    All n items or clusters move one way: p = 0.5^n beyond the margin, 1 - 0.5^n below it. The interval is the one
    change that the test does not reject.

    Source: Dixon and Mood (1946), JASA 41, 557-566.
    """
    n = worsening.dof + 1
    tail = 0.5**n
    interval = (worsening.mean, worsening.mean) if tail <= alpha else None
    if math.isclose(worsening.mean, margin):
        note = (f"the change is the same for all {unit}, so that its spread is zero",) if worsening.mean else ()
        return Comparison(unit, method, worsening.mean, interval, 0.5, stderr=0.0, dof=worsening.dof, notes=note)
    counted = unit if n == worsening.n else "clusters"
    return Comparison(
        unit,
        method=f"exact sign test in place of {method}",
        worsening=worsening.mean,
        interval=interval,
        p_value=tail if worsening.mean > margin else 1 - tail,
        dof=worsening.dof,
        notes=(f"the change is the same for all {unit}, which hides its spread: sign test of {n} {counted}",),
    )
