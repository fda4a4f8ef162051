"""What a one-sided test finds: whether one side is worse than the other by more than a margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
    """Of the standard error; infinite for 0/1 values, where it follows from how many items flip."""
    bootstrap: tuple[float, float] | None = None
    """(1 - 2 alpha) bootstrap interval of the worsening, beside that of a paired t test."""
    lost: int = 0
    """Items that are worse on the second side."""
    won: int = 0
    notes: tuple[str, ...] = ()


def t_comparison(
    worsening: MeanEstimate, *, alpha: float, margin: float, unit: Literal["items", "runs"], method: str
) -> Comparison:
    """Test a worsening by its standard error; with no spread at all the sign of what exceeds the margin decides."""
    excess = worsening.mean - margin
    if worsening.stderr is None:
        return Comparison(unit, method, worsening.mean, notes=("one value alone has no standard error",))
    if worsening.stderr == 0:
        p_value = 0.5 if excess == 0 else float(excess < 0)
        note = (f"the change is the same for all {unit}, so that its spread is zero",) if worsening.mean else ()
        interval = worsening.interval(1 - 2 * alpha)
        return Comparison(unit, method, worsening.mean, interval, p_value, stderr=0.0, dof=worsening.dof, notes=note)
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
