"""What changed from one dataset to the next."""

from __future__ import annotations

import unicodedata
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tunix_eval.data.reading.jsonl import same_json
from tunix_eval.digest import prompt_digest
from tunix_eval.figures import printable
from tunix_eval.records import Dataset, Trace

FIELDS = ("trace_version", "prompt", "final_answer", "steps", "meta", "system", "messages")
"""What may differ between two traces that stand for each other."""


@dataclass(frozen=True, slots=True)
class TraceChange:
    """A trace that both datasets have, but not alike."""

    old: Trace
    new: Trace
    fields: tuple[str, ...]
    """Which of FIELDS differ."""


@dataclass(frozen=True, slots=True)
class DatasetDifference:
    """Two datasets, trace by trace; in the order of the new one, what was removed in that of the old one."""

    old: str
    """Key of the old dataset."""
    new: str
    added: tuple[Trace, ...]
    removed: tuple[Trace, ...]
    changed: tuple[TraceChange, ...]
    unchanged: tuple[Trace, ...]
    reordered: bool
    """Whether the traces that both have stand in another order."""

    @property
    def is_empty(self) -> bool:
        """Whether both hold the same traces in the same order."""
        return not (self.added or self.removed or self.changed or self.reordered)


def diff_datasets(old: Dataset, new: Dataset) -> DatasetDifference:
    """Match the traces of two datasets, and say what was added, removed and changed.

    Traces match by id. An id that was made from the content (a UUIDv5) changes with it: of the traces with such an id
    that are left over on both sides, those with one normalised prompt match, in order.
    """
    old_by_id = {str(trace.id): k for k, trace in enumerate(old.traces)}
    pairs = {k: old_by_id[str(trace.id)] for k, trace in enumerate(new.traces) if str(trace.id) in old_by_id}
    pairs |= _by_prompt(old, new, pairs)
    changed, unchanged = [], []
    for k in sorted(pairs):
        one, other = old.traces[pairs[k]], new.traces[k]
        if fields := tuple(name for name in FIELDS if _differ(name, one, other)):
            changed.append(TraceChange(one, other, fields))
        else:
            unchanged.append(other)
    places = [pairs[k] for k in sorted(pairs)]
    matched = set(places)
    return DatasetDifference(
        old=old.key,
        new=new.key,
        added=tuple(trace for k, trace in enumerate(new.traces) if k not in pairs),
        removed=tuple(trace for k, trace in enumerate(old.traces) if k not in matched),
        changed=tuple(changed),
        unchanged=tuple(unchanged),
        reordered=places != sorted(places),
    )


def difference_text(difference: DatasetDifference, *, listed: int = 20, width: int = 80) -> list[str]:
    """Return the lines for a terminal: counts, then a line a trace, at most `listed` of each kind."""
    counts = [
        f"{len(getattr(difference, kind)):,} {kind}"
        for kind in ("added", "removed", "changed", "unchanged")
        if getattr(difference, kind) or kind == "unchanged"
    ]
    order = ", in another order" if difference.reordered else ""
    lines = [f"{difference.old} -> {difference.new}: {', '.join(counts)}{order}"]
    lines += _section("+", ((trace, trace.prompt) for trace in difference.added), len(difference.added), listed)
    lines += _section("-", ((trace, trace.prompt) for trace in difference.removed), len(difference.removed), listed)
    changes = ((change.new, ", ".join(change.fields)) for change in difference.changed)
    lines += _section("~", changes, len(difference.changed), listed)
    return [_cut(line, width) for line in lines]


def _differ(field: str, one: Trace, other: Trace) -> bool:
    old, new = getattr(one, field), getattr(other, field)
    return not same_json(old, new) if field == "meta" else bool(old != new)


def _by_prompt(old: Dataset, new: Dataset, pairs: dict[int, int]) -> dict[int, int]:
    matched = set(pairs.values())
    waiting: dict[str, deque[int]] = {}
    for k, trace in enumerate(old.traces):
        if k not in matched and _is_made(trace.id):
            waiting.setdefault(prompt_digest(trace.prompt), deque()).append(k)
    found = {}
    for k, trace in enumerate(new.traces):
        if k not in pairs and _is_made(trace.id) and (places := waiting.get(prompt_digest(trace.prompt))):
            found[k] = places.popleft()
    return found


def _is_made(id_: str | int | None) -> bool:
    try:
        return uuid.UUID(str(id_)).version == 5
    except ValueError:
        return False


def _section(sign: str, rows: Iterable[tuple[Trace, str]], count: int, listed: int) -> Iterator[str]:
    for (trace, text), _ in zip(rows, range(listed), strict=False):
        yield f"{sign} {_cut(printable(str(trace.id)), 36)}  {printable(text)}"
    if count > listed:
        yield f"{sign} and {count - listed:,} more"


def _cut(text: str, width: int) -> str:
    """Shorten a text to a number of terminal columns; two dots show that something is missing."""
    ends, column = [], 0
    for char in text:
        column += 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        ends.append(column)
    return text if column <= width else text[: sum(end <= width - 2 for end in ends)] + ".."
