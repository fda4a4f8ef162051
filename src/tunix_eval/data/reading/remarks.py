"""What is said of records that are read all the same: once a kind, with the first lines and ids that it is true of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tunix_eval.data.reading.explain import one_line
from tunix_eval.data.reading.lines import Source

NAMED = 3
"""Lines that a warning names; the rest is counted."""
Remark = Callable[[Sequence[Any]], Iterable[tuple[int, str]]]
"""Takes records; gives the places of those that there is something to say of, and what."""


class DataWarning(UserWarning):
    """Data that is read all the same, and what it lacks."""


class Remarks:
    """What there is to say of the records of a source."""

    def __init__(self, remark: Remark) -> None:
        self._remark = remark
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[tuple[int, str | int | None]]] = {}

    def take(self, records: Sequence[Any], numbers: Sequence[int]) -> None:
        """Look at records, and the numbers of their lines."""
        for k, text in self._remark(records):
            self._counts[text] = self._counts.get(text, 0) + 1
            places = self._places.setdefault(text, [])
            if len(places) < NAMED:
                places.append((numbers[k], records[k].id))

    def warn(self, source: Source) -> None:
        """Warn once of each kind."""
        for text, count in self._counts.items():
            places = [f"{source.unit} {number}{_named(id_)}" for number, id_ in self._places[text]]
            more = f" and {count - len(places):,} more" if count > len(places) else ""
            warnings.warn(f"{source.name}: {', '.join(places)}{more}: {text}", DataWarning, stacklevel=3)


def _named(id_: str | int | None) -> str:
    return "" if id_ is None else f" ('{one_line(str(id_))}')"
