"""delta_report.md: what training changed on an evalset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tunix_eval.figures import decimals, fixed, interval_text
from tunix_eval.records import MetricSummary, RunRow, Score, Scorecard, ScoredItem
from tunix_eval.report.markdown import cell, code, table
from tunix_eval.statistics import mean, paired_interval

_SHOWN = 20
"""Flipped items listed, each way."""
_UNMEASURED = Score(None)

Pair = tuple[ScoredItem, ScoredItem]
"""An item before and after training."""


def delta_report(
    *,
    run: RunRow,
    evalset: str,
    before: Sequence[ScoredItem],
    after: Sequence[ScoredItem],
    before_card: Scorecard,
    after_card: Scorecard,
    unpromised_bits: str | None = None,
) -> str:
    """Write a run's report as Markdown: each metric, each group, and the items whose primary score changed.

    Texts from models and evalsets stand in code spans, so that nothing in them is taken as Markdown or HTML.

    Args:
        run: the run.
        evalset: the evalset's name.
        before: the items as scored before training.
        after: the same items as scored after it.
        before_card: scorecard of `before`.
        after_card: scorecard of `after`.
        unpromised_bits: why the run, trained or evaluated again, may have other values; None where it has the same.
    """
    pairs = _pairs(before, after)
    primary = after_card.primary
    sections = [
        f"# {cell(run.name)} on {cell(evalset)}",
        _run_line(run)
        + (f" {cell(unpromised_bits)}: trained or evaluated again, it may differ." if unpromised_bits else ""),
        _table("metric", [_row(_label(name, card), name, pairs) for name, card in after_card.metrics.items()]),
        _extraction(before_card, after_card),
        *(_groups(field, primary, pairs) for field in ("section", "category", "difficulty")),
        *_flips(primary, pairs, lower_is_better=after_card[primary].lower_is_better),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _pairs(before: Sequence[ScoredItem], after: Sequence[ScoredItem]) -> list[Pair]:
    earlier = {one.completion.item_id: one for one in before}
    return [(earlier[one.completion.item_id], one) for one in after if one.completion.item_id in earlier]


def _values(metric: str, pair: Pair) -> tuple[float, float] | None:
    """Return the scores before and after; None where one of them could not be measured."""
    before, after = (one.scores.get(metric, _UNMEASURED).value for one in pair)
    return None if before is None or after is None else (before, after)


def _run_line(run: RunRow) -> str:
    steps = f"{run.steps} steps" if run.status == "complete" else f"{run.steps} of {run.total_steps} steps, truncated"
    if run.ended == "early_stopping":
        steps = f"{run.steps} of {run.total_steps} steps, stopped early"
    loss = "" if run.loss is None else f", last loss {fixed(run.loss, 4)} nats a token"
    return f"Run {code(run.run_id)}: {steps}{loss}."


def _label(metric: str, summary: MetricSummary) -> str:
    return cell(metric) + (" (lower is better)" if summary.lower_is_better else "")


def _table(first: str, rows: Sequence[Sequence[str]]) -> str:
    header = [first, "items", "before", "after", "change", "95% interval of the change"]
    return table(header, rows, "<>>>>>") if rows else ""


def _row(label: str, metric: str, pairs: Sequence[Pair]) -> list[str]:
    """Return a table row; the means are over the items that have a score both before and after."""
    scored = [(values, after.item.cluster) for before, after in pairs if (values := _values(metric, (before, after)))]
    items = str(len(pairs)) if len(scored) == len(pairs) else f"{len(scored)} of {len(pairs)}"
    if not scored:
        return [label, items, "", "", "", ""]
    olds, news = [old for (old, _), _ in scored], [new for (_, new), _ in scored]
    interval = paired_interval(olds, news, 0.95, [cluster for _, cluster in scored])
    change = mean([new - old for old, new in zip(olds, news, strict=True)])
    places = decimals(mean(olds), mean(news))
    return [
        label,
        items,
        fixed(mean(olds), places),
        fixed(mean(news), places),
        fixed(change, places, signed=True),
        interval_text(interval, places) if interval else "",
    ]


def _extraction(before: Scorecard, after: Scorecard) -> str:
    """Count the answers that were not plainly found."""
    rows = [
        [status, str(before.extraction.get(status, 0)), str(count)]
        for status, count in after.extraction.items()
        if count or before.extraction.get(status)
    ]
    return table(["answers found", "before", "after"], rows, "<>>")


def _groups(field: str, metric: str, pairs: Sequence[Pair]) -> str:
    members: dict[str | None, list[Pair]] = defaultdict(list)
    for pair in pairs:
        members[getattr(pair[1].item, field)].append(pair)
    members.pop(None, None)
    names = sorted(name for name in members if name is not None)
    return _table(f"{cell(metric)} by {field}", [_row(cell(name), metric, members[name]) for name in names])


def _flips(metric: str, pairs: Sequence[Pair], *, lower_is_better: bool) -> list[str]:
    """List the items that got worse, then those that got better, the largest changes first."""
    sign = -1 if lower_is_better else 1
    gains = [(sign * (values[1] - values[0]), pair) for pair in pairs if (values := _values(metric, pair))]
    lost = sorted((change for change in gains if change[0] < 0), key=lambda change: change[0])
    won = sorted((change for change in gains if change[0] > 0), key=lambda change: -change[0])
    return [
        _flipped(f"Items that got worse by {cell(metric)}", metric, [pair for _, pair in lost]),
        _flipped(f"Items that got better by {cell(metric)}", metric, [pair for _, pair in won]),
    ]


def _flipped(title: str, metric: str, pairs: Sequence[Pair]) -> str:
    lines = [f"## {title}: {len(pairs)}", *([""] if pairs else [])]
    lines += [_flip(metric, pair) for pair in pairs[:_SHOWN]]
    return "\n".join([*lines, *([f"- and {len(pairs) - _SHOWN} more"] if len(pairs) > _SHOWN else [])])


def _flip(metric: str, pair: Pair) -> str:
    before, after = pair
    old, new = _values(metric, pair) or (0.0, 0.0)
    item = after.item
    return (
        f"- {code(str(item.id))} {code(item.prompt)} expects {code(item.expected_answer)}: "
        f"{_answer(before)} -> {_answer(after)} ({old:g} -> {new:g})"
    )


def _answer(one: ScoredItem) -> str:
    completion = one.completion
    return f"no answer, {completion.status}" if completion.answer is None else code(completion.answer)
