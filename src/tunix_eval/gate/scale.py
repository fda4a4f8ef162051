"""Margins, drops and thresholds that a metric cannot reach: refused before anything is measured."""

from __future__ import annotations

from tunix_eval.errors import SpecError
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
        SpecError: a margin or a drop that no change can exceed, or a threshold that no mean can reach.
    """
    if bounds is None:
        return
    low, high = bounds
    if isinstance(gate.drop, str) and low >= 0 and lower_is_better is False and gate.allowed_drop(1.0) >= 1:
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: drop {gate.drop} never fails: {scale}; name a share below 100%")
    figures = {"margin": gate.margin, "drop": gate.drop if isinstance(gate.drop, float) else None, "value": gate.value}
    for name, figure in figures.items():
        if figure is None or (low <= figure <= high if name == "value" else figure < high - low):
            continue
        points = f", so that {figure:g} points are {figure / 100:g}" if bounds == (0, 1) and 1 < figure <= 100 else ""
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: {name} {figure:g} is on the wrong scale: {scale}{points}")
