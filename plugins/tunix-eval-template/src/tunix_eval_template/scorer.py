"""A scorer: one item's completion gets one value, here between 0 and 1."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from tunix_eval.records import Completion, EvalItem, Score


class PrefixScorer:
    """The share of the expected answer that the given one begins with; the best over the answer and its aliases.

    >>> from tunix_eval.records import Completion, EvalItem
    >>> item = EvalItem(id="1", prompt="ending of kab", expected_answer="ab")
    >>> given = Completion(item_id="1", text="#### ap", answer="ap", status="ok", stop_reason="stop", tokens=7)
    >>> PrefixScorer()(item, given).value
    0.5
    """

    name = "prefix"
    version = "1"
    lower_is_better = False
    parameters: Mapping[str, Any] = {}

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion. No answer is a wrong answer, 0; None is for what could not be measured."""
        if completion.answer is None:
            return Score(0.0, note=f"no answer: {completion.status}")
        accepted = (item.expected_answer, *item.aliases)
        return Score(max(share(expected, completion.answer) for expected in accepted))


def share(expected: str, given: str) -> float:
    """Return how much of the expected text the given one begins with, from 0 to 1."""
    equal = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(expected, given, strict=False))
    return sum(1 for _ in equal) / len(expected)
