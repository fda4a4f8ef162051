"""Scorers: one item's completion gets a value under each metric."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunix_eval.digest import sha256_json
from tunix_eval.errors import DataError, SpecError
from tunix_eval.records import Completion, EvalItem, Score, ScoredItem, Scorer


class ExactScorer:
    """1 where the answer is the expected one or an alias of it, else 0; no answer is 0.

    Case, white space and one full stop at the end do not count.
    """

    def __init__(self) -> None:
        self.name = "exact"
        self.version = "1"
        self.lower_is_better = False
        self.parameters: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        if completion.answer is None:
            return _WRONG
        if completion.answer == item.expected_answer:
            return _RIGHT
        answer = _normalised(completion.answer)
        if not answer:
            return _WRONG
        accepted = (item.expected_answer, *item.aliases)
        return _RIGHT if any(answer == _normalised(text) for text in accepted) else _WRONG


BUILTIN_SCORERS: Mapping[str, Scorer] = MappingProxyType({"exact": ExactScorer()})
"""The scorers that come with tunix-eval, by name."""


def score_items(
    items: Sequence[EvalItem], completions: Sequence[Completion], scorers: Mapping[str, Scorer]
) -> list[ScoredItem]:
    """Score every item's completion with every scorer, in the order of the items.

    A scorer that raises, or gives no finite number, leaves a None with a note; nothing is hidden by a 0.

    Raises:
        DataError: items and completions do not match one to one.
    """
    by_id = {completion.item_id: completion for completion in completions}
    ids = [str(item.id) for item in items]
    _require_one_to_one(ids, [completion.item_id for completion in completions])
    return [
        ScoredItem(
            item=item,
            completion=by_id[item_id],
            scores={name: _score(scorer, item, by_id[item_id]) for name, scorer in scorers.items()},
        )
        for item_id, item in zip(ids, items, strict=True)
    ]


def scorer_digest(scorer: Scorer) -> str:
    """Return the digest of a scorer's name, version and parameters.

    Raises:
        SpecError: the parameters are no JSON values.
    """
    try:
        return sha256_json({"name": scorer.name, "version": scorer.version, "parameters": dict(scorer.parameters)})
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"scorer '{scorer.name}': parameters are no JSON values ({error}); use numbers and text"
        ) from None


def _score(scorer: Scorer, item: EvalItem, completion: Completion) -> Score:
    try:
        score = scorer(item, completion)
        if not isinstance(score, Score):
            return Score(None, f"the scorer gave {type(score).__name__}, not a Score")
        value = None if score.value is None else float(score.value)
    except Exception as error:  # noqa: BLE001 (a scorer may come from anywhere; its failure belongs to this item)
        return Score(None, f"{type(error).__name__}: {error}")
    if value is not None and not math.isfinite(value):
        return Score(None, f"the scorer gave {value}, which is no finite number")
    return score if value is score.value else Score(value, score.note)


def _require_one_to_one(items: Sequence[str], completions: Sequence[str]) -> None:
    expected, found = Counter(items), Counter(completions)
    for what, odd in (
        ("items with the same id", _repeated(expected)),
        ("items with several completions", _repeated(found)),
        ("items without a completion", expected.keys() - found.keys()),
        ("completions for unknown items", found.keys() - expected.keys()),
    ):
        if odd:
            named = ", ".join(sorted(odd)[:5]) + (", .." if len(odd) > 5 else "")
            raise DataError(f"{len(odd)} {what}: {named}; there must be one completion for each item")


def _repeated(counts: Counter[str]) -> set[str]:
    return {item_id for item_id, count in counts.items() if count > 1}


def _normalised(text: str) -> str:
    """Fold case, white space and one full stop at the end; a lone stop stays.

    >>> _normalised(" The  Answer. "), _normalised(".")
    ('the answer', '.')
    """
    folded = " ".join(text.split()).casefold()
    return folded.removesuffix(".").rstrip() or folded


_RIGHT, _WRONG = Score(1.0), Score(0.0)
