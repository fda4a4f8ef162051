"""What replacing a baseline changes, said before it is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tunix_eval.figures import fixed
from tunix_eval.gate.baseline import Baseline, BaselineMetric
from tunix_eval.statistics import mean


def same_content(one: Baseline | None, other: Baseline) -> bool:
    """Tell whether two baselines differ in nothing but when they were made."""
    return one is not None and one.model_copy(update={"created_at": other.created_at}) == other


def describe_change(old: Baseline | None, new: Baseline) -> list[str]:
    """Say in lines what replacing one baseline by another changes; nothing where the content is the same."""
    where = f"{new.run_name}/{new.evalset}"
    if same_content(old, new):
        return []
    if old is None:
        return [f"{where}: new, {_plural(len(new.runs), 'run')}", *_metric_lines(None, new)]
    lines = [f"{where}: {_plural(len(old.runs), 'run')} -> {_plural(len(new.runs), 'run')}"]
    lines += [
        f"  {label} changed"
        for label, one, other in (
            ("evalset", old.evalset_sha256, new.evalset_sha256),
            ("prompts", old.prompts_sha256, new.prompts_sha256),
            ("packages", _distinct(run.packages for run in old.runs), _distinct(run.packages for run in new.runs)),
            ("device", _distinct(run.device for run in old.runs), _distinct(run.device for run in new.runs)),
        )
        if one != other
    ]
    return lines + _metric_lines(old, new)


def _metric_lines(old: Baseline | None, new: Baseline) -> list[str]:
    lines = [f"  {name}: removed" for name in sorted((old.metrics if old else {}).keys() - new.metrics.keys())]
    for name, metric in sorted(new.metrics.items()):
        before = old.metrics.get(name) if old else None
        was = f"{_summary(before)} -> " if before else "new, "
        scorer = ", scorer changed" if before and before.scorer_sha256 != metric.scorer_sha256 else ""
        same_runs = old is not None and len(old.runs) == len(new.runs)
        flipped = sum(before.scores.get(i) != row for i, row in metric.scores.items()) if before and same_runs else 0
        items = f", {_plural(flipped, 'item')} with other scores" if flipped else ""
        unmeasured = sum(None in values for values in metric.scores.values())
        missing = f", {_plural(unmeasured, 'item')} without a value: its gates will fail" if unmeasured else ""
        lines.append(f"  {name}: {was}{_summary(metric)}{scorer}{items}{missing}")
    return lines


def _summary(metric: BaselineMetric) -> str:
    values = [value for row in metric.scores.values() for value in row if value is not None]
    return f"{_plural(len(metric.scores), 'item')}, mean {fixed(mean(values))}" if values else "no values"


def _distinct(tables: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for table in tables:
        if table not in kept:
            kept.append(table)
    return kept


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
