"""Duplicates, held-out traces, and prompts that stand in training set and evalset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tunix_eval.data.building.datasets import on_holdout_side
from tunix_eval.data.reading.traces import trace_line
from tunix_eval.digest import prompt_digest
from tunix_eval.errors import DataError
from tunix_eval.figures import printable
from tunix_eval.records import EvalItem, Trace


@dataclass(frozen=True, slots=True)
class ContaminatedItem:
    """An item whose prompt the model is trained on."""

    item_id: str
    trace_ids: tuple[str, ...]
    """The traces with that prompt, in order."""


@dataclass(frozen=True, slots=True)
class Contamination:
    """Items of an evalset whose prompt is trained on, each once."""

    exact: tuple[ContaminatedItem, ...]
    """Some trace has the very prompt."""
    normalised: tuple[ContaminatedItem, ...]
    """Traces have the prompt but for case, white space or Unicode form."""
    n_items: int
    """Items looked at."""

    def __len__(self) -> int:
        """Return how many items are contaminated."""
        return len(self.exact) + len(self.normalised)

    def check(self, *, allowed: int = 0, source: str = "contamination") -> None:
        """Refuse more contaminated items than are allowed; `source` names the evalset.

        Raises:
            DataError: counts them, and names the first with their traces.
        """
        if len(self) <= allowed:
            return
        kinds = {"exact": self.exact, "normalised": self.normalised}
        counts = ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items() if found)
        first = [f"item '{one.item_id}' is trace '{one.trace_ids[0]}'" for one in (*self.exact, *self.normalised)[:3]]
        raise DataError(
            f"{source}: {len(self)} of {self.n_items} prompts are in the training set too, allowed {allowed} "
            f"({counts}; first: {printable(', '.join(first))}); take them out of one of the two"
        )


def contamination(traces: Iterable[Trace], items: Iterable[EvalItem]) -> Contamination:
    """Find the items whose prompt some trace has, as its prompt or as an earlier user turn, in item order."""
    trained: dict[str, tuple[set[str], dict[str, None]]] = {}
    for trace in traces:
        for prompt in (trace.prompt, *(turn.content for turn in trace.messages if turn.role == "user")):
            texts, ids = trained.setdefault(prompt_digest(prompt), (set(), {}))
            texts.add(prompt)
            ids[str(trace.id)] = None
    exact: list[ContaminatedItem] = []
    normalised: list[ContaminatedItem] = []
    n_items = 0
    for item in items:
        n_items += 1
        texts, ids = trained.get(prompt_digest(item.prompt), (set(), {}))
        if ids:
            found = ContaminatedItem(str(item.id), tuple(ids))
            (exact if item.prompt in texts else normalised).append(found)
    return Contamination(tuple(exact), tuple(normalised), n_items)


def contaminated(traces: Iterable[Trace], items: Iterable[EvalItem]) -> list[str]:
    """Return the ids of the items that `contamination` finds, in item order."""
    listed = list(items)
    found = contamination(traces, listed)
    ids = {one.item_id for one in (*found.exact, *found.normalised)}
    return [str(item.id) for item in listed if str(item.id) in ids]


def dedupe(
    traces: Iterable[Trace], *, by: Literal["exact", "prompt"] = "exact"
) -> tuple[list[Trace], list[tuple[str, str]]]:
    """Keep the first of equal traces.

    Args:
        traces: each with an id, as `read_traces` gives them.
        by: `exact`, the whole canonical content, the id apart; `prompt`, the normalised prompt, by which splits and
            contamination go too.

    Returns:
        The traces that are kept, and (dropped id, id of the one kept in its place) for each of the others.
    """
    if by not in {"exact", "prompt"}:
        raise DataError(f"duplicates by '{by}': expected exact or prompt")
    first: dict[str, str] = {}
    kept, dropped = [], []
    for trace in traces:
        content = prompt_digest(trace.prompt) if by == "prompt" else trace_line(msgspec.structs.replace(trace, id=None))
        if content in first:
            dropped.append((str(trace.id), first[content]))
        else:
            first[content] = str(trace.id)
            kept.append(trace)
    return kept, dropped


def split(traces: Iterable[Trace], *, holdout: float) -> tuple[list[Trace], list[Trace]]:
    """Divide traces into those to train on and the held-out fraction, by `on_holdout_side` of each prompt.

    Equal prompts stand on one side, and keep it as the set grows; a small set may be divided far from the fraction.

    Raises:
        DataError: a fraction outside 0 to 1.
    """
    sides: Sequence[list[Trace]] = ([], [])
    for trace in traces:
        sides[on_holdout_side(trace.prompt, holdout)].append(trace)
    return sides[0], sides[1]
