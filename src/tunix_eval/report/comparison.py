"""Recorded runs side by side: what they score, where they differ, and the items that differ most."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tunix_eval.figures import decimals, fixed, interval_text, p_text, printable
from tunix_eval.report.layout import columns, cut, paragraph


class ComparedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """One side: a run, or several that share a recipe."""

    letter: str
    name: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]


class MetricChange(msgspec.Struct, frozen=True, kw_only=True):
    """A metric on both sides, over the items that have a value in every run."""

    metric: str
    lower_is_better: bool
    n_items: int
    n_left_out: int
    """Items without a value in one of the runs."""
    reference: float | None = None
    current: float | None = None
    delta: float | None = None
    """current - reference, in the metric's own direction."""
    level: float
    interval: tuple[float, float] | None = None
    """Of delta, at that level."""
    bootstrap: tuple[float, float] | None = None
    p_value: float | None = None
    """Two-sided."""
    lost: int = 0
    """Items that are worse on the current side, by their means over its runs."""
    won: int = 0
    unit: str = "none"
    method: str = "none"
    notes: tuple[str, ...] = ()


class GroupChange(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over the items of one section, category or difficulty."""

    field: str
    name: str
    n_items: int
    reference: float
    current: float


class ItemChange(msgspec.Struct, frozen=True, kw_only=True):
    """An item whose value changed, with an answer of each side: of the first run, the first completion."""

    item_id: str
    expected: str
    reference: float
    current: float
    reference_answer: str
    current_answer: str


class EvalsetComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two sides on one evalset. Groups and items go by the first metric."""

    evalset: str
    reference: str
    """Letter of the side that the other is compared with."""
    current: str
    metrics: tuple[MetricChange, ...]
    groups: tuple[GroupChange, ...] = ()
    worse: tuple[ItemChange, ...] = ()
    """The largest changes first."""
    better: tuple[ItemChange, ...] = ()
    notes: tuple[str, ...] = ()


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `tunix-eval compare` prints."""

    runs: tuple[ComparedRuns, ...]
    comparisons: tuple[EvalsetComparison, ...]


def comparison_lines(report: ComparisonReport, *, width: int = 80) -> list[str]:
    """Return the lines of a comparison, none longer than the width (of 80 and more), without colour."""
    lines = columns([_side(runs) for runs in report.runs], "<<<", width)
    for comparison in report.comparisons:
        first = comparison.metrics[0]
        heading = f"{comparison.current} against {comparison.reference} on {printable(comparison.evalset)}"
        heading += f", {first.n_items + first.n_left_out} items"
        lines += ["", cut(heading, width), *_metrics(comparison, width)]
        for field in ("section", "category", "difficulty"):
            lines += _groups(comparison, field, width)
        lines += _items(comparison, "worse", comparison.worse, width)
        lines += _items(comparison, "better", comparison.better, width)
        lines += _notes(comparison, width)
    return lines


def comparison_json(report: ComparisonReport) -> str:
    """Write a comparison as JSON, byte-stable."""
    table = {"format_version": 1} | msgspec.to_builtins(report)
    return msgspec.json.format(msgspec.json.encode(table), indent=2).decode() + "\n"


def _side(runs: ComparedRuns) -> list[str]:
    seeds = f"seed{'s'[: len(runs.seeds) != 1]} {', '.join(map(str, runs.seeds))}"
    ids = ", ".join(printable(run_id)[:8] for run_id in runs.run_ids)
    return [runs.letter, printable(runs.name), f"{seeds} ({ids})"]


def _metrics(comparison: EvalsetComparison, width: int) -> list[str]:
    level = f"{100 * comparison.metrics[0].level:g}% interval"
    rows = [("", _sides(comparison), "delta", level, "p", "lost", "won")]
    for change in comparison.metrics:
        places = decimals(change.reference, change.current, change.delta)
        known = change.delta is not None
        rows.append(
            (
                f"  {printable(change.metric)}",
                _change(change.reference, change.current, places),
                fixed(change.delta, places, signed=True),
                interval_text(change.interval, places) if change.interval else "",
                "" if change.p_value is None else p_text(change.p_value),
                str(change.lost) if known else "",
                str(change.won) if known else "",
            )
        )
    return columns(rows, "<>>>>>>", width)


def _groups(comparison: EvalsetComparison, field: str, width: int) -> list[str]:
    groups = [group for group in comparison.groups if group.field == field]
    if not groups:
        return []
    heading = f"{printable(comparison.metrics[0].metric)} by {field}"
    rows = [(heading, "items", _sides(comparison), "delta")]
    for group in groups:
        places = decimals(group.reference, group.current)
        change = _change(group.reference, group.current, places)
        delta = fixed(group.current - group.reference, places, signed=True)
        rows.append((f"  {printable(group.name)}", str(group.n_items), change, delta))
    return ["", *columns(rows, "<>>>", width)]


def _items(comparison: EvalsetComparison, way: str, items: Sequence[ItemChange], width: int) -> list[str]:
    if not items:
        return []
    first = comparison.metrics[0]
    total = first.lost if way == "worse" else first.won
    heading = f"{way} by {printable(first.metric)}: {total} item{'s'[: total != 1]}"
    heading += f", the {len(items)} that changed most" if len(items) < total else ""
    rows = [("  item", "expected", comparison.reference, comparison.current, "score")]
    rows += [
        (
            f"  {printable(item.item_id)}",
            printable(item.expected),
            printable(item.reference_answer),
            printable(item.current_answer),
            f"{item.reference:.4g} -> {item.current:.4g}",
        )
        for item in items
    ]
    return ["", cut(heading, width), *columns(rows, "<<<<>", width)]


def _notes(comparison: EvalsetComparison, width: int) -> list[str]:
    """Say how each metric was compared, and each note once with the metrics that it belongs to."""
    texts = [*comparison.notes, *(f"{change.metric}: {_how(change)}" for change in comparison.metrics)]
    metrics: dict[str, list[str]] = {}
    for change in comparison.metrics:
        for note in change.notes:
            metrics.setdefault(note, []).append(change.metric)
    texts += [f"{', '.join(names)}: {note}" for note, names in metrics.items()]
    return ["", *(line for text in texts for line in paragraph(printable(text), width, first="note: ", rest="      "))]


def _how(change: MetricChange) -> str:
    facts = [] if change.delta is None else [f"{change.method}, p two-sided"]
    if change.bootstrap:
        places = decimals(change.reference, change.current, change.delta)
        facts.append(f"bootstrap {interval_text(change.bootstrap, places)}")
    if change.lower_is_better:
        facts.append("lower is better")
    if change.n_left_out:
        facts.append(f"{change.n_left_out} items without a value in every run are left out")
    return "; ".join(facts)


def _sides(comparison: EvalsetComparison) -> str:
    return f"{comparison.reference} -> {comparison.current}"


def _change(reference: float | None, current: float | None, places: int) -> str:
    return "" if reference is None else f"{fixed(reference, places)} -> {fixed(current, places)}"
