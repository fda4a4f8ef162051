"""Baselines in which nearly no reply has an answer: no gate on them could ever fail."""

from __future__ import annotations

from collections import Counter

from tunix_eval.errors import BaselineError
from tunix_eval.gate.baseline import Baseline

NEARLY_NONE = 0.05
"""The share of replies with an answer below which a baseline says nothing about a model."""


def check_answered(
    baseline: Baseline, metric: str, *, bounds: tuple[float, float] | None, where: object, advice: str
) -> None:
    """Refuse a baseline whose scores are those of replies without an answer.

    A metric that does not look at the answer, such as contains, may have something to say all the same: where its
    values differ, or are the best that there are, the baseline stands.

    Args:
        baseline: what was written, or is to be.
        metric: one of its metrics.
        bounds: the least and the greatest value of the metric; None where its scorer declares none.
        where: the baseline's path, for the message.
        advice: what to do about it.

    Raises:
        BaselineError: with both counts and the advice.
    """
    replies, answered = (sum(getattr(run, key) for run in baseline.runs) for key in ("replies", "answered"))
    if answered >= NEARLY_NONE * replies:
        return
    held = baseline.metrics[metric]
    values = Counter(value for row in held.scores.values() for value in row)
    value, count = values.most_common(1)[0]
    best = bounds and bounds[0 if held.lower_is_better else 1]
    if count <= (1 - NEARLY_NONE) * values.total() or (value is not None and value == best):
        return
    raise BaselineError(
        f"{where}: {answered:,} of {replies:,} replies have an answer, so that a gate on {metric} could not fail; "
        f"{advice}"
    )
