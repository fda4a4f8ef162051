"""The scorecard of an evalset: each metric's mean with its error, over all items and by group."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import msgspec

from tunix_eval.errors import DataError
from tunix_eval.records import ExtractionStatus, GroupSummary, MetricSummary, Scorecard, ScoredItem, Scorer
from tunix_eval.statistics import is_binary, mean, mean_estimate, mean_interval, measured_mean

_LEVEL = 0.95
_GROUPED_BY = ("section", "category", "difficulty")
_EVERY_K = 10
"""Up to so many completions, pass@k is stated for every k."""


@dataclass(frozen=True, slots=True)
class _Items:
    """The items of a scorecard in order, each once: what all metrics share."""

    clusters: list[str | None]
    groups: dict[str, dict[str, list[int]]]
    """Field -> its values in order -> the places of the items that have it."""


def make_scorecard(evalset_name: str, scored: Sequence[ScoredItem], scorers: Mapping[str, Scorer]) -> Scorecard:
    """Summarise every scorer's values; the first scorer's metric is the primary one.

    With several completions an item, the item's value is their mean. The standard error is over items, and robust to
    clusters where items share one. ci95 is `statistics.mean_interval` within the scorer's bounds.
    Extraction statuses are counted over completions.

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
    by_item, repeats = _by_item(evalset_name, scored)
    firsts = [one.item for one in by_item[::repeats]]
    items = _Items(
        [item.cluster for item in firsts],
        {field: _places(getattr(item, field) for item in firsts) for field in _GROUPED_BY},
    )
    statuses = Counter(one.completion.status for one in scored)
    return Scorecard(
        evalset=evalset_name,
        metrics={
            name: _summary(
                [one.scores[name].value for one in by_item],
                items,
                bounds=getattr(scorer, "bounds", (-math.inf, math.inf)),
                lower_is_better=scorer.lower_is_better,
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


def _by_item(evalset_name: str, scored: Sequence[ScoredItem]) -> tuple[Sequence[ScoredItem], int]:
    """Return the completions with those of an item side by side, and how many each item has."""
    counts = Counter(one.completion.item_id for one in scored)
    if len(counts) == len(scored):
        return scored, 1
    repeats = counts[scored[0].completion.item_id]
    for item_id, count in counts.items():
        if count != repeats:
            raise DataError(
                f"evalset '{evalset_name}': item '{item_id}' has {count} completions, others {repeats}; "
                "every item needs as many"
            )
    by_item: dict[str, list[ScoredItem]] = {item_id: [] for item_id in counts}
    for one in scored:
        by_item[one.completion.item_id].append(one)
    return [one for completions in by_item.values() for one in completions], repeats


def _places(values: Iterable[str | None]) -> dict[str, list[int]]:
    """Return where each value stands; items without one are in no group.

    >>> _places(["b", "a", None, "b"])
    {'a': [1], 'b': [0, 3]}
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        if value is not None:
            places[value].append(place)
    return dict(sorted(places.items()))


def _summary(
    completed: Sequence[float | None], items: _Items, *, bounds: tuple[float, float], lower_is_better: bool
) -> MetricSummary:
    """Summarise a metric by its value for each completion, those of an item side by side."""
    n_items = len(items.clusters)
    repeats = len(completed) // n_items
    rows = [completed[start : start + repeats] for start in range(0, len(completed), repeats)] if repeats > 1 else []
    means = [measured_mean(row) for row in rows] if repeats > 1 else completed
    values, clusters = _measured(means, items.clusters)
    estimate = mean_estimate(values, clusters) if values else None
    right = _right(rows, 0.0 if lower_is_better else 1.0)
    groups = {
        field: {
            name: _group([means[place] for place in places], [items.clusters[place] for place in places])
            for name, places in items.groups[field].items()
        }
        for field in _GROUPED_BY
    }
    return MetricSummary(
        n_items=n_items,
        n_scored=len(values),
        n_skipped=n_items - len(values),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
        stddev=estimate.stddev if estimate else None,
        ci95=mean_interval(values, _LEVEL, clusters, bounds=bounds, trials=repeats if right else None)
        if values
        else None,
        min=min(values, default=None),
        max=max(values, default=None),
        lower_is_better=lower_is_better,
        repeats=repeats,
        pass_at_k={k: mean([_pass_at_k(repeats, c, k) for c in right]) for k in _attempts(repeats)} if right else {},
        right_of_n=dict(sorted(Counter(right).items())),
        **groups,
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


def _right(rows: Sequence[Sequence[float | None]], best: float) -> list[int]:
    """Return how many completions of each measured item are right; nothing for a metric of more than 0 and 1."""
    measured = [row for row in rows if None not in row]
    if not is_binary(value for row in measured for value in row if value is not None):
        return []
    return [row.count(best) for row in measured]


def _measured(values: Sequence[float | None], clusters: Sequence[str | None]) -> tuple[list[float], list[str | None]]:
    """Return the values that were measured, and the cluster of each."""
    known = [value for value in values if value is not None]
    return known, [cluster for value, cluster in zip(values, clusters, strict=True) if value is not None]


def _group(values: Sequence[float | None], clusters: Sequence[str | None]) -> GroupSummary:
    measured, theirs = _measured(values, clusters)
    estimate = mean_estimate(measured, theirs) if measured else None
    return GroupSummary(
        n_items=len(values),
        n_scored=len(measured),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
    )
