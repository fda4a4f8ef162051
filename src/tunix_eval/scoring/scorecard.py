"""The scorecard of an evalset: each metric's mean with its error, over all items and by group."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, ExtractionStatus, GroupSummary, MetricSummary, Scorecard, ScoredItem, Scorer
from tunix_eval.statistics import MeanEstimate, is_binary, mean, mean_estimate, shares_cluster, wilson_interval

_LEVEL = 0.95
_EVERY_K = 10
"""Up to so many completions, pass@k is stated for every k."""


@dataclass(frozen=True, slots=True)
class _ItemValues:
    """What one item's completions are worth under one metric."""

    item: EvalItem
    values: list[float | None]

    @property
    def mean(self) -> float | None:
        """Mean over the completions; None where one of them was not measured."""
        measured = [value for value in self.values if value is not None]
        return mean(measured) if len(measured) == len(self.values) else None


def make_scorecard(evalset_name: str, scored: Sequence[ScoredItem], scorers: Mapping[str, Scorer]) -> Scorecard:
    """Summarise every scorer's values; the first scorer's metric is the primary one.

    With several completions an item, the item's value is their mean. The standard error is over items, and robust to
    clusters where items share one. ci95 is Wilson's where every value is 0 or 1, nothing is repeated and nothing
    clusters, else t. Extraction statuses are counted over completions.

    Raises:
        DataError: no items, no scorers, an item that a scorer did not see, or one with more or fewer completions than
            the first.
    """
    if not scored or not scorers:
        raise DataError(
            f"evalset '{evalset_name}': no {'scorers' if scored else 'items'}; a scorecard needs at least one"
        )
    for name in scorers:
        unseen = [one.completion.item_id for one in scored if name not in one.scores]
        if unseen:
            raise DataError(f"evalset '{evalset_name}': {len(unseen)} items without '{name}', such as '{unseen[0]}'")
    by_item: dict[str, list[ScoredItem]] = defaultdict(list)
    for one in scored:
        by_item[one.completion.item_id].append(one)
    repeats = len(by_item[scored[0].completion.item_id])
    for item_id, completions in by_item.items():
        if len(completions) != repeats:
            raise DataError(
                f"evalset '{evalset_name}': item '{item_id}' has {len(completions)} completions, others {repeats}; "
                "every item needs as many"
            )
    statuses = Counter(one.completion.status for one in scored)
    return Scorecard(
        evalset=evalset_name,
        metrics={
            name: _summary(
                [_ItemValues(ones[0].item, [one.scores[name].value for one in ones]) for ones in by_item.values()],
                lower_is_better=scorer.lower_is_better,
                repeats=repeats,
            )
            for name, scorer in scorers.items()
        },
        primary=next(iter(scorers)),
        extraction={status: statuses[status] for status in get_args(ExtractionStatus)},
    )


def scorecard_text(scorecard: Scorecard) -> str:
    """Write a scorecard as JSON, byte-stable.

    Source: docs/formats.md, scorecard.<evalset>.json.
    """
    return msgspec.json.format(msgspec.json.encode(scorecard), indent=2).decode() + "\n"


def _summary(rows: Sequence[_ItemValues], *, lower_is_better: bool, repeats: int) -> MetricSummary:
    measured = _measured(rows)
    values = [value for value, _ in measured]
    estimate = _estimate(measured)
    right = _right(rows, 0.0 if lower_is_better else 1.0) if repeats > 1 else []
    return MetricSummary(
        n_items=len(rows),
        n_scored=len(values),
        n_skipped=len(rows) - len(values),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
        stddev=estimate.stddev if estimate else None,
        ci95=_interval(measured, estimate, repeats) if estimate else None,
        min=min(values, default=None),
        max=max(values, default=None),
        lower_is_better=lower_is_better,
        repeats=repeats,
        pass_at_k={k: mean([_pass_at_k(repeats, c, k) for c in right]) for k in _attempts(repeats)} if right else {},
        right_of_n=dict(sorted(Counter(right).items())),
        section=_groups("section", rows),
        category=_groups("category", rows),
        difficulty=_groups("difficulty", rows),
    )


def _pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate without bias the chance that one of k completions is right, where c of n are.

    Source: Chen et al. (2021), arXiv 2107.03374, equation 1.

    >>> _pass_at_k(4, 1, 1), _pass_at_k(4, 1, 2), _pass_at_k(4, 3, 2)
    (0.25, 0.5, 1.0)
    """
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def _attempts(n: int) -> list[int]:
    """Return the k of pass@k.

    >>> _attempts(4), _attempts(64)
    ([1, 2, 3, 4], [1, 2, 5, 10, 20, 50, 64])
    """
    if n <= _EVERY_K:
        return list(range(1, n + 1))
    rounded = (digit * 10**power for power in range(len(str(n))) for digit in (1, 2, 5))
    return [*(k for k in rounded if k < n), n]


def _right(rows: Sequence[_ItemValues], best: float) -> list[int]:
    """Return how many completions of each measured item are right; nothing for a metric of more than 0 and 1."""
    measured = [row.values for row in rows if None not in row.values]
    if not is_binary(value for values in measured for value in values if value is not None):
        return []
    return [values.count(best) for values in measured]


def _measured(rows: Sequence[_ItemValues]) -> list[tuple[float, str | None]]:
    """Return the items' values that were measured, and the cluster of each."""
    pairs = [(row.mean, row.item.cluster) for row in rows]
    return [(value, cluster) for value, cluster in pairs if value is not None]


def _estimate(measured: Sequence[tuple[float, str | None]]) -> MeanEstimate | None:
    return mean_estimate(*map(list, zip(*measured, strict=True))) if measured else None


def _interval(
    measured: Sequence[tuple[float, str | None]], estimate: MeanEstimate, repeats: int
) -> tuple[float, float] | None:
    values = [value for value, _ in measured]
    if repeats == 1 and is_binary(values) and not shares_cluster(cluster for _, cluster in measured):
        return wilson_interval(sum(values), len(values), _LEVEL)
    return estimate.interval(_LEVEL)


def _groups(field: str, rows: Sequence[_ItemValues]) -> dict[str, GroupSummary]:
    """Summarise the items of each section, category or difficulty; items without one are in no group."""
    members: dict[Any, list[_ItemValues]] = defaultdict(list)
    for row in rows:
        members[getattr(row.item, field)].append(row)
    members.pop(None, None)
    return {name: _group(members[name]) for name in sorted(members)}


def _group(rows: Sequence[_ItemValues]) -> GroupSummary:
    measured = _measured(rows)
    estimate = _estimate(measured)
    return GroupSummary(
        n_items=len(rows),
        n_scored=len(measured),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
    )
