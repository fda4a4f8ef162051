"""Evalsets: questions with the answers that are expected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from tunix_eval.data.reading.explain import first_blank, message_flaw, one_line
from tunix_eval.data.reading.history import item_remarks
from tunix_eval.data.reading.jsonl import RecordFormat, encode
from tunix_eval.data.reading.lines import file_stem
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.written import with_texts
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, Evalset

DIFFICULTIES = ("easy", "medium", "hard")
SECTIONS = ("core", "trace_sensitive", "edge_case")


def read_evalset(path: Path, name: str | None = None) -> Evalset:
    """Read an evalset file (`.jsonl`, `.jsonl.gz`, `.parquet`), all of it or nothing; its name is by default its stem.

    An expected answer or an alias that is a number becomes its text, as the file writes it. Warns with DataWarning of
    difficulties and sections that are not known, and of earlier turns that give an answer away.

    Raises:
        DataError: `file:line: field: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Evalset".
    """
    items = list(chain.from_iterable(ITEM_FORMAT.scan(record_source(path))))
    return evalset_of_items(name or file_stem(path), items)


def make_evalset(name: str, items: Iterable[EvalItem]) -> Evalset:
    """Build an evalset from items made in Python, under the same rules as a file.

    Raises:
        DataError: names the evalset and the number of the item, from 1.
    """
    source = f"evalset '{name}'"
    listed = list(items)
    if not listed:
        raise DataError(f"{source}: holds no item; zero items can never pass")
    return evalset_of_items(name, ITEM_FORMAT.check(listed, source))


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


def _remarks(items: Sequence[EvalItem]) -> Iterator[tuple[int, str]]:
    yield from item_remarks(items)
    for field, known in (("difficulty", DIFFICULTIES), ("section", SECTIONS)):
        for k, item in enumerate(items):
            found = getattr(item, field)
            if found is not None and found not in known:
                yield k, f"{field} {one_line(found)}: not among {', '.join(known)}; read as it stands"


def _with_numbers_as_texts(line: bytes) -> bytes | None:
    return with_texts(line, ("expected_answer",), ("aliases",))


ITEM_FORMAT = RecordFormat(EvalItem, "item", _flaw, remark=_remarks, mend=_with_numbers_as_texts)


def evalset_of_items(name: str, items: Sequence[EvalItem]) -> Evalset:
    """Return items that were checked as an evalset, their ids as texts."""
    named = tuple(
        item if isinstance(item.id, str) else msgspec.structs.replace(item, id=str(item.id)) for item in items
    )
    content = b"\n".join(encode(item) for item in sorted(named, key=lambda item: str(item.id)))
    return Evalset(name=name, items=named, sha256=hashlib.sha256(content).hexdigest())
