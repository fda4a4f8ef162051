"""How far a mean can get worse, and whether a test could have found it: what can never fail does not pass."""

from __future__ import annotations

import math

from tunix_eval.figures import decimals, fixed
from tunix_eval.gate.comparison import Comparison

_ROUNDING = 1e-9


def room(reference: float, bounds: tuple[float, float], *, lower_is_better: bool) -> float:
    """Return by how much a mean can be worse than the reference: its distance to the bad end of the scale."""
    low, high = bounds
    return max(0.0, high - reference if lower_is_better else reference - low)


def beyond_reach(compared: Comparison, worst: float, *, lower_is_better: bool, family: int = 1) -> str | None:
    """Say why a test that found nothing could not have failed; None where it could.

    Args:
        compared: what was found; its `detectable` is the smallest change that is found with 80% power.
        worst: the largest worsening that there can be; infinite where the scale has no end.
        lower_is_better: which way is worse.
        family: gates that share a correction, for which `detectable` was found.
    """
    bad = "rise" if lower_is_better else "drop"
    more = "give it more items" + (", or more baseline runs where it trains" if compared.unit == "runs" else "")
    if family > 1:
        more += f", or fewer gates than the {family} that share a correction"
    found = compared.detectable
    if worst <= 0:
        return f"undecided because the reference is at the bad end of the scale: there is no {bad} to find"
    if found is None:
        return f"undecided because this test can find no {bad} at all: {more}"
    if found <= worst + _ROUNDING * max(1.0, worst) or not math.isfinite(worst):
        return None
    places = decimals(found, worst)
    return (
        f"undecided because the largest {bad} that there can be is {fixed(worst, places)}, and the least that would be "
        f"found is {fixed(found, places)}: {more}"
    )
