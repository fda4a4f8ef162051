"""Scorers: one item's completion gets a value under each metric."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tunix_eval.digest import sha256_json
from tunix_eval.errors import DataError, SpecError
from tunix_eval.folding import folded
from tunix_eval.records import Completion, EvalItem, Evalset, Score, ScoredItem, Scorer
from tunix_eval.scoring.extraction import without_surrogates
from tunix_eval.scoring.numeric import NumericScorer
from tunix_eval.thinking import KNOWN


class ExactScorer:
    """1 where the answer is the expected one or an alias of it, else 0; no answer is 0.

    Case, white space, one full stop at the end, Markdown's emphasis around the whole, and what `folding.folded` folds
    (Unicode form, width, quotes, dashes, the minus sign) do not count.
    """

    def __init__(self) -> None:
        self.name = "exact"
        self.version = "2"
        self.lower_is_better = False
        self.bounds = (0.0, 1.0)
        self.parameters: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        if completion.answer is None:
            return _WRONG
        if completion.answer == item.expected_answer:
            return _RIGHT
        answer = _normalised(completion.answer)
        right = answer == _normalised(item.expected_answer)
        if not right and item.aliases:
            right = answer in map(_normalised, item.aliases)
        return _RIGHT if answer and right else _WRONG


class ContainsScorer:
    """1 where the expected answer or an alias stands in the completion as whole words, else 0.

    The whole completion but its thinking is searched, also one that was cut off, not the answer found in it; both are
    normalised as for `exact`. 825 stands neither in 8250 nor in 3.825, 825.5 and -825.
    """

    def __init__(self) -> None:
        self.name = "contains"
        self.version = "2"
        self.lower_is_better = False
        self.bounds = (0.0, 1.0)
        self.parameters: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        text = _normalised(completion.said)
        wanted = filter(None, map(_normalised, (item.expected_answer, *item.aliases)))
        return _RIGHT if any(_holds(text, one) for one in wanted) else _WRONG


class AnswerNllScorer:
    """The negative log-likelihood of the expected answer, in nats: the model's surprise at it; lower is better.

    It is summed over the answer's tokens and the stop token, teacher forced after what the model wrote up to its
    answer mark.
    """

    def __init__(self) -> None:
        self.name = "answer_nll"
        self.version = "2"
        self.lower_is_better = True
        self.bounds = (0.0, math.inf)
        self.needs = ("answer_logprobs",)
        self.parameters: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, item: EvalItem, completion: Completion) -> Score:  # noqa: ARG002 (every scorer takes both)
        """Score one completion."""
        if not completion.answer_logprobs:
            return Score(None, "the completion has no answer_logprobs")
        return Score(0.0 - math.fsum(completion.answer_logprobs))


BUILTIN_SCORERS: Mapping[str, Scorer] = MappingProxyType(
    {scorer.name: scorer for scorer in (ExactScorer(), NumericScorer(), ContainsScorer(), AnswerNllScorer())}
)
"""The scorers that come with tunix-eval, by name."""


def score_items(
    items: Sequence[EvalItem],
    completions: Sequence[Completion],
    scorers: Mapping[str, Scorer],
    repeats: int = 1,
) -> list[ScoredItem]:
    """Score every completion with every scorer, in the order of the items, and of an item's repeats.

    A scorer that raises, gives no finite number up to 1e100, leaves its bounds or adds a note that no file can hold
    gets a None with a note; nothing is hidden by a 0.

    Raises:
        DataError: not every item has the completions 0 to repeats - 1.
        SpecError: the bounds of a scorer are no two numbers, low below high.
    """
    bounded = [(name, scorer, *_bounds(name, scorer)) for name, scorer in scorers.items()]
    return [
        ScoredItem(
            item=item,
            completion=completion,
            scores={name: _score(scorer, low, high, item, completion) for name, scorer, low, high in bounded},
        )
        for item, completion in _matched(items, completions, repeats)
    ]


def unmeasured(scorer: Scorer, evalset: Evalset) -> str | None:
    """Say which items a scorer cannot measure whatever is answered, and why; None where there are none.

    Only scorers that say so beforehand are asked (`unmeasured`, as `numeric` has it).
    """
    asked = getattr(scorer, "unmeasured", None)
    if asked is None:
        return None
    reasons = [(str(item.id), reason) for item in evalset.items if (reason := asked(item)) is not None]
    if not reasons:
        return None
    listed = ", ".join(f"item '{item}': {reason}" for item, reason in reasons[:3]) + (", .." if reasons[3:] else "")
    return f"'{scorer.name}' cannot measure {len(reasons)} of {len(evalset.items)} items of {evalset.name} ({listed})"


def scorer_digest(scorer: Scorer, answer: str | None = None, thinking: str | tuple[str, str] = KNOWN) -> str:
    """Return the digest of a scorer's name, version and parameters, and of what a run file says of its answers.

    Args:
        scorer: the scorer.
        answer: the rule that the run file names, if any.
        thinking: how thinking is told from answering.

    Raises:
        SpecError: the parameters are no JSON values.
    """
    try:
        table = {"name": scorer.name, "version": scorer.version, "parameters": dict(scorer.parameters)}
        said = {} if answer is None else {"answer": answer}
        return sha256_json(table | said | ({} if thinking == KNOWN else {"thinking": thinking}))
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"scorer '{scorer.name}': parameters are no JSON values ({error}); use numbers and text"
        ) from None


def _bounds(name: str, scorer: Scorer) -> tuple[float, float]:
    bounds = getattr(scorer, "bounds", _UNBOUNDED)
    match bounds:
        case (int() | float() as low, int() | float() as high) if low < high:
            return low, high
    raise SpecError(f"scorer '{name}': bounds are {bounds!r}, expected two numbers, low below high, such as (0.0, 1.0)")


def _score(scorer: Scorer, low: float, high: float, item: EvalItem, completion: Completion) -> Score:
    try:
        return _checked(scorer(item, completion), low, high)
    except Exception as error:  # noqa: BLE001 (a scorer may come from anywhere; its failure belongs to this item)
        return Score(None, without_surrogates(f"{type(error).__name__}: {_said(error)}"))


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 (so may its errors)
        return f"its text cannot be had ({type(broken).__name__})"


def _checked(score: Any, low: float, high: float) -> Score:
    """Return a score that can be summed and written; a None with a note in place of any other."""
    # Nearly every score is a float within its bounds and has no note.
    plain = type(score) is Score and score.note == "" and type(score.value) is float
    if plain and low <= score.value <= high and -_LARGEST <= score.value <= _LARGEST:
        checked: Score = score
        return checked
    if not isinstance(score, Score):
        return Score(None, f"the scorer gave {type(score).__name__}, not a Score")
    if not isinstance(score.note, str):
        return Score(None, f"the scorer gave a note of type {type(score.note).__name__}, not a text")
    if (note := without_surrogates(score.note)) != score.note:
        return Score(None, f"the scorer gave a note with half a surrogate pair: {note}")
    if score.value is None:
        return score
    value = float(score.value)
    if not math.isfinite(value):
        return Score(None, f"the scorer gave {value}, which is no finite number")
    if abs(value) > _LARGEST:
        return Score(None, f"the scorer gave {value:g}; values beyond {_LARGEST:g} may overflow in sums")
    if not low <= value <= high:
        return Score(None, f"the scorer gave {value:g}; its bounds are {low:g} to {high:g}")
    return score if value is score.value else Score(value, score.note)


def _matched(
    items: Sequence[EvalItem], completions: Sequence[Completion], repeats: int
) -> Iterator[tuple[EvalItem, Completion]]:
    """Return each item with its completions."""
    ids = [str(item.id) for item in items]
    first = {item_id: place * repeats for place, item_id in enumerate(ids)}
    placed: dict[int, Completion] = {}
    for completion in completions:
        if completion.item_id in first and completion.repeat < repeats:
            placed[first[completion.item_id] + completion.repeat] = completion
    if not len(first) * repeats == len(ids) * repeats == len(completions) == len(placed):
        raise _mismatch(ids, completions, repeats)
    repeated = items if repeats == 1 else [item for item in items for _ in range(repeats)]
    return zip(repeated, map(placed.__getitem__, range(len(placed))), strict=True)


def _mismatch(items: Sequence[str], completions: Sequence[Completion], repeats: int) -> DataError:
    expected, found = Counter(items), Counter(completion.item_id for completion in completions)
    mistakes = (
        ("items with the same id", {one for one, count in expected.items() if count > 1}),
        ("items without a completion", expected.keys() - found.keys()),
        ("completions for unknown items", found.keys() - expected.keys()),
        ("items with too many completions", {one for one, count in found.items() if count > repeats}),
        ("items with too few completions", {one for one, count in found.items() if count < repeats}),
        ("items whose completions are not numbered from 0 on", expected.keys()),
    )
    what, odd = next((what, odd) for what, odd in mistakes if odd)
    named = ", ".join(sorted(odd)[:5]) + (", .." if len(odd) > 5 else "")
    needed = "one completion" if repeats == 1 else f"{repeats} completions, repeat 0 to {repeats - 1},"
    return DataError(f"{len(odd)} {what}: {named}; there must be {needed} for each item")


def _holds(text: str, wanted: str) -> bool:
    """Tell whether a text holds another as whole words and whole numbers.

    >>> _holds("it is 825, not 8250", "825"), _holds("3.825 -825 825.5", "825"), _holds("a non-answer", "answer")
    (True, False, True)
    """
    before = _NUMBER_BEFORE if wanted[0].isdecimal() else _WORD_BEFORE
    after = _NUMBER_AFTER if wanted[-1].isdecimal() else _WORD_AFTER
    start = text.find(wanted)
    while start >= 0:
        if not before.search(text[max(0, start - 2) : start]) and not after.match(text, start + len(wanted)):
            return True
        start = text.find(wanted, start + 1)
    return False


def _normalised(text: str) -> str:
    """Fold a text, take off one full stop at its end and Markdown's emphasis around it; a lone stop stays.

    >>> _normalised(" The  Answer. "), _normalised("**825.**"), _normalised(".")
    ('the answer', '825', '.')
    """
    plain = folded(text)
    plain = plain.removesuffix(".").rstrip() or plain
    if plain.startswith(("*", "`")) and (emphasised := _EMPHASISED.fullmatch(plain)):
        plain = emphasised[2].removesuffix(".").strip() or plain
    return plain


_RIGHT, _WRONG = Score(1.0), Score(0.0)
_UNBOUNDED = (-math.inf, math.inf)
_LARGEST = 1e100
"""A value of greater magnitude counts as not measured: sums of squares of such may overflow."""
_WORD_BEFORE, _WORD_AFTER = re.compile(r"\w\Z"), re.compile(r"\w")
_EMPHASISED = re.compile(r"(\*{1,3}|`{1,3})([^*`]+)\1")
_NUMBER_BEFORE, _NUMBER_AFTER = re.compile(r"(?:\w|\d[.,]|(?<!\w)-)\Z"), re.compile(r"\w|[.,]\d")
