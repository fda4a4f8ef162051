"""The scorecard of an evalset: each metric's mean with its error, over all items and by group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from tunix_eval.errors import DataError
from tunix_eval.records import ExtractionStatus, GroupSummary, MetricSummary, Scorecard, ScoredItem, Scorer
from tunix_eval.statistics import MeanEstimate, is_binary, mean_estimate, shares_cluster, wilson_interval

_LEVEL = 0.95


def make_scorecard(evalset_name: str, scored: Sequence[ScoredItem], scorers: Mapping[str, Scorer]) -> Scorecard:
    """Summarise every scorer's values; the first scorer's metric is the primary one.

    The standard error is robust to clusters where items share one. ci95 is Wilson's where every value is 0 or 1
    and nothing clusters, else t.

    Raises:
        DataError: no items, no scorers, or an item that a scorer did not see.
    """
    if not scored or not scorers:
        raise DataError(
            f"evalset '{evalset_name}': no {'scorers' if scored else 'items'}; a scorecard needs at least one"
        )
    for name in scorers:
        unseen = [one.completion.item_id for one in scored if name not in one.scores]
        if unseen:
            raise DataError(f"evalset '{evalset_name}': {len(unseen)} items without '{name}', such as '{unseen[0]}'")
    statuses = Counter(one.completion.status for one in scored)
    return Scorecard(
        evalset=evalset_name,
        metrics={name: _summary(name, scored, scorer.lower_is_better) for name, scorer in scorers.items()},
        primary=next(iter(scorers)),
        extraction={status: statuses[status] for status in get_args(ExtractionStatus)},
    )


def scorecard_text(scorecard: Scorecard) -> str:
    """Write a scorecard as JSON, byte-stable.

    Source: docs/formats.md, scorecard.<evalset>.json.
    """
    return msgspec.json.format(msgspec.json.encode(scorecard), indent=2).decode() + "\n"


def _summary(metric: str, scored: Sequence[ScoredItem], lower_is_better: bool) -> MetricSummary:
    values, clusters = _values(metric, scored)
    estimate = mean_estimate(values, clusters) if values else None
    return MetricSummary(
        n_items=len(scored),
        n_scored=len(values),
        n_skipped=len(scored) - len(values),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
        stddev=estimate.stddev if estimate else None,
        ci95=_interval(values, clusters, estimate) if estimate else None,
        min=min(values, default=None),
        max=max(values, default=None),
        lower_is_better=lower_is_better,
        section=_groups(metric, "section", scored),
        category=_groups(metric, "category", scored),
        difficulty=_groups(metric, "difficulty", scored),
    )


def _values(metric: str, scored: Sequence[ScoredItem]) -> tuple[list[float], list[str | None]]:
    """Return the values that were measured, and the cluster of each."""
    pairs = [(one.scores[metric].value, one.item.cluster) for one in scored]
    return [v for v, _ in pairs if v is not None], [cluster for v, cluster in pairs if v is not None]


def _interval(
    values: Sequence[float], clusters: Sequence[str | None], estimate: MeanEstimate
) -> tuple[float, float] | None:
    if is_binary(values) and not shares_cluster(clusters):
        return wilson_interval(sum(values), len(values), _LEVEL)
    return estimate.interval(_LEVEL)


def _groups(metric: str, field: str, scored: Sequence[ScoredItem]) -> dict[str, GroupSummary]:
    """Summarise the items of each section, category or difficulty; items without one are in no group."""
    members: dict[Any, list[ScoredItem]] = defaultdict(list)
    for one in scored:
        members[getattr(one.item, field)].append(one)
    members.pop(None, None)
    return {name: _group(metric, members[name]) for name in sorted(members)}


def _group(metric: str, scored: Sequence[ScoredItem]) -> GroupSummary:
    values, clusters = _values(metric, scored)
    estimate = mean_estimate(values, clusters) if values else None
    return GroupSummary(
        n_items=len(scored),
        n_scored=len(values),
        mean=estimate.mean if estimate else None,
        stderr=estimate.stderr if estimate else None,
    )
