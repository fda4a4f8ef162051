"""Margins, drops and thresholds that a metric cannot reach: refused before anything is measured."""

from __future__ import annotations

from tunix_eval.errors import SpecError
from tunix_eval.specs import GateSpec


def check_scale(gate: GateSpec, bounds: tuple[float, float] | None, *, where: str) -> None:
    """Refuse a gate whose figures are on another scale than its metric.

    Args:
        gate: the rule and its arguments.
        bounds: the least and the greatest value of the metric; None where the scorer declares none.
        where: run and metric, for the message.

    Raises:
        SpecError: a margin or a drop that no change can exceed, or a threshold that no mean can reach.
    """
    if bounds is None:
        return
    low, high = bounds
    figures = {"margin": gate.margin, "drop": gate.drop if isinstance(gate.drop, float) else None, "value": gate.value}
    for name, figure in figures.items():
        if figure is None or (low <= figure <= high if name == "value" else figure < high - low):
            continue
        points = f", so that {figure:g} points are {figure / 100:g}" if bounds == (0, 1) and 1 < figure <= 100 else ""
        scale = f"{gate.metric} lies from {low:g} to {high:g}"
        raise SpecError(f"{where}: {name} {figure:g} is on the wrong scale: {scale}{points}")
