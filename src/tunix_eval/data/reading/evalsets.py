"""Evalsets: questions with the answers that are expected."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from tunix_eval.data.reading.explain import first_blank, message_flaw
from tunix_eval.data.reading.jsonl import RecordFormat, encode
from tunix_eval.data.reading.lines import file_stem
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, Evalset

DIFFICULTIES = ("easy", "medium", "hard")
SECTIONS = ("core", "trace_sensitive", "edge_case")


class DataWarning(UserWarning):
    """Data that is read all the same, and what it lacks."""


def read_evalset(path: Path, name: str | None = None) -> Evalset:
    """Read an evalset file (`.jsonl`, `.jsonl.gz`, `.parquet`), all of it or nothing; its name is by default its stem.

    Warns with DataWarning of difficulties and sections that are not known.

    Raises:
        DataError: `file:line: field: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Evalset".
    """
    items = list(chain.from_iterable(_FORMAT.scan(record_source(path))))
    own = file_stem(path)
    return _evalset(name or own, items, str(path))


def make_evalset(name: str, items: Iterable[EvalItem]) -> Evalset:
    """Build an evalset from items made in Python, under the same rules as a file.

    Raises:
        DataError: names the evalset and the number of the item, from 1.
    """
    source = f"evalset '{name}'"
    listed = list(items)
    if not listed:
        raise DataError(f"{source}: holds no item; zero items can never pass")
    return _evalset(name, _FORMAT.check(listed, source), source)


def evalset_text(evalset: Evalset) -> str:
    """Return the text of an evalset file: canonical, so that equal items give equal bytes."""
    return "".join(f"{encode(item).decode('utf-8')}\n" for item in evalset.items)


def _flaw(item: EvalItem) -> str | None:
    if item.id == "":
        return "id: is empty"
    optional = ("category", "difficulty", "section", "cluster", "system")
    if reason := first_blank(item, ("prompt", "expected_answer", *optional)):
        return reason
    for k, alias in enumerate(item.aliases):
        if not alias.strip():
            return f"aliases[{k}]: is empty; every empty reply would match it"
    return message_flaw(item.messages)


_FORMAT = RecordFormat(EvalItem, "item", _flaw)


def _evalset(name: str, items: Sequence[EvalItem], source: str) -> Evalset:
    named = tuple(
        item if isinstance(item.id, str) else msgspec.structs.replace(item, id=str(item.id)) for item in items
    )
    _warn_of_unknown(named, source, "difficulty", DIFFICULTIES)
    _warn_of_unknown(named, source, "section", SECTIONS)
    content = b"\n".join(encode(item) for item in sorted(named, key=lambda item: str(item.id)))
    return Evalset(name=name, items=named, sha256=hashlib.sha256(content).hexdigest())


def _warn_of_unknown(items: Sequence[EvalItem], source: str, field: str, known: Sequence[str]) -> None:
    found = {getattr(item, field) for item in items} - {None, *known}
    if found:
        text = f"{source}: {field} {', '.join(sorted(found))}: not among {', '.join(known)}; read as it stands"
        warnings.warn(text, DataWarning, stacklevel=4)
