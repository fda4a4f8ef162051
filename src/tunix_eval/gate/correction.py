"""The correction for several gates: the more of them, the likelier that one is proven by chance alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from tunix_eval.figures import p_text
from tunix_eval.records import Outcome, Verdict
from tunix_eval.specs import GateSpec

_TESTED = ("no_worse", "non_inferior", "better")
"""The rules that give a p value."""


def family_of(gates: Sequence[GateSpec], correction: Literal["holm"] | None) -> int:
    """Return how many gates of a run file share its correction; 1 where there is none."""
    return max(1, sum(gate.rule in _TESTED for gate in gates)) if correction else 1


def corrected(verdicts: Sequence[Verdict], correction: Literal["holm"] | None) -> list[Verdict]:
    """Decide verdicts again by their p values adjusted for one another; those without a p value stay as they are.

    An adjusted p is never below the p itself. So an alarm (no_worse) that failed may pass, and none that passed
    fails: alarms become rarer. Where no drop could have failed it at the corrected level, it is undecided. A proof
    (better, non_inferior) that passed may fail, and none that failed passes: proofs become harder. A non_inferior that
    is no longer proven does as its `unproven` says.

    Source: Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    if correction is None:
        return list(verdicts)
    family = sorted((verdict.p_value, index) for index, verdict in enumerate(verdicts) if verdict.p_value is not None)
    changed, adjusted = list(verdicts), 0.0
    for rank, (p_value, index) in enumerate(family):
        adjusted = max(adjusted, min(1.0, (len(family) - rank) * p_value))
        changed[index] = _decided_again(verdicts[index], adjusted, len(family))
    return changed


def _decided_again(verdict: Verdict, adjusted: float, count: int) -> Verdict:
    outcome: Outcome = verdict.outcome
    if verdict.alpha is not None and adjusted > verdict.alpha:
        if verdict.rule == "no_worse" and outcome == "failed":
            outcome = "undecided" if verdict.undecided else "passed"
        elif verdict.rule in ("better", "non_inferior") and outcome == "passed":
            outcome = "skipped" if verdict.unproven == "skip" else "failed"
    reason = f"{verdict.reason}; p {p_text(adjusted)} after Holm over {count} gate{'s'[: count != 1]}"
    if outcome == "undecided" and verdict.outcome == "failed":
        reason = f"{reason}; {verdict.undecided}"
    return replace(verdict, outcome=outcome, adjusted_p=adjusted, reason=reason)
