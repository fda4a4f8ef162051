"""Traces as the questions of an evalset."""

from __future__ import annotations

from collections.abc import Iterable

from tunix_eval.data.reading.evalsets import make_evalset
from tunix_eval.digest import prompt_digest
from tunix_eval.records import EvalItem, Evalset, Trace, Turn

_FROM_META = ("category", "difficulty", "section", "cluster")


def evalset_of(traces: Iterable[Trace], name: str) -> Evalset:
    """Make an evalset of traces: their prompts are asked, their final answers are expected.

    Of traces that ask the same, by normalised prompt, system text and earlier turns, only the first becomes an item:
    a question that stands there twice would weigh double. Category, difficulty, section and cluster are those of meta
    where they are texts; the steps are not kept.

    Args:
        traces: each with an id, as `read_traces` gives them.
        name: of the evalset.

    Raises:
        DataError: no trace.

    Source: docs/formats.md, "Export formats".
    """
    asked: dict[tuple[str, str | None, tuple[Turn, ...]], Trace] = {}
    for trace in traces:
        asked.setdefault((prompt_digest(trace.prompt), trace.system, trace.messages), trace)
    return make_evalset(name, map(_item, asked.values()))


def _item(trace: Trace) -> EvalItem:
    meta = trace.meta or {}
    texts = {key: meta[key] for key in _FROM_META if isinstance(meta.get(key), str) and meta[key].strip()}
    return EvalItem(
        id=str(trace.id),
        prompt=trace.prompt,
        expected_answer=trace.final_answer,
        system=trace.system,
        messages=trace.messages,
        **texts,
    )
