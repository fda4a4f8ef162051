"""Margins, drops and thresholds that a metric cannot reach: refused before anything is measured."""

from __future__ import annotations

from tunix_eval.errors import SpecError
from tunix_eval.gate.reach import room
from tunix_eval.specs import GateSpec


def check_scale(
    gate: GateSpec, bounds: tuple[float, float] | None, *, where: str, lower_is_better: bool | None = None
) -> None:
    """Refuse a gate whose figures are on another scale than its metric.

    Args:
        gate: the rule and its arguments.
        bounds: the least and the greatest value of the metric; None where the scorer declares none.
        where: run and metric, for the message.
        lower_is_better: as the scorer declares it; a rise can be more than 100%, a fall to 0 cannot.

    Raises:
        SpecError: a margin or a drop that no change can exceed, a threshold that no mean can reach, or seeds that
            move a mean by more than the scale allows.
    """
    if bounds is None:
        return
    low, high = bounds
    if isinstance(gate.drop, str) and low >= 0 and lower_is_better is False and gate.allowed_drop(1.0) >= 1:
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: drop {gate.drop} never fails: {scale}; name a share below 100%")
    if (gate.rule, gate.value) in (("at_least", low), ("at_most", high)):
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: {gate.rule} {gate.value:g} never fails: {scale}; name a value between them")
    figures = {"margin": gate.margin, "drop": gate.drop if isinstance(gate.drop, float) else None, "value": gate.value}
    if gate.seed_noise is not None and gate.seed_noise > (high - low) / 2:
        scale = f"{gate.metric} lies from {low:g} to {high:g}, so that no mean varies by more than {(high - low) / 2:g}"
        raise SpecError(f"{where}: seed_noise {gate.seed_noise:g} is on the wrong scale: {scale}")
    for name, figure in figures.items():
        if figure is None or (low <= figure <= high if name == "value" else figure < high - low):
            continue
        points = f", so that {figure:g} points are {figure / 100:g}" if bounds == (0, 1) and 1 < figure <= 100 else ""
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: {name} {figure:g} is on the wrong scale: {scale}{points}")


def check_drop(
    gate: GateSpec, reference: float, bounds: tuple[float, float], *, where: str, lower_is_better: bool
) -> None:
    """Refuse a max_drop that no mean can fail against this reference.

    Args:
        gate: the rule and its arguments; of other rules nothing is said.
        reference: mean of the baseline's runs.
        bounds: the least and the greatest value of the metric, infinite where there is none.
        where: run and metric, for the message.
        lower_is_better: as the scorer declares it.

    Raises:
        SpecError: what is allowed is as far as the end of the scale, or farther.
    """
    if gate.rule != "max_drop":
        return
    if isinstance(gate.drop, str) and reference == 0:
        raise SpecError(f"{where}: max_drop {gate.drop} of a baseline of 0 is 0, no share of anything; name a number")
    allowed, worst = gate.allowed_drop(reference), room(reference, bounds, lower_is_better=lower_is_better)
    if allowed < worst:
        return
    bad = "rise" if lower_is_better else "drop"
    raise SpecError(
        f"{where}: max_drop {gate.drop} never fails against a baseline of {reference:.4g}: the largest {bad} there "
        f"can be is {worst:.4g}, and {allowed:.4g} is allowed; make a better baseline, or use another rule"
    )
