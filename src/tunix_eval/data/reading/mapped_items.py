"""Evalsets from other people's files."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tunix_eval.data.reading.conversations import CONVERSATION
from tunix_eval.data.reading.conversion import Conversion
from tunix_eval.data.reading.evalsets import ITEM_FORMAT, evalset_of_items
from tunix_eval.data.reading.jsonl import encode
from tunix_eval.data.reading.lines import Progress, file_stem
from tunix_eval.data.reading.mapping import (
    check_fields,
    check_history,
    check_split,
    renamed,
    split_off,
    take_conversation,
)
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.uuids import uuid5_text
from tunix_eval.data.reading.written import is_number, number_text, number_texts
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, Evalset

ITEM_NAMESPACE = uuid.UUID("0a6d1f0e-93c1-5a6b-8f6a-5f0d6b0f6a77")
"""Names in it are an item's canonical content and the number of its occurrence."""
_FIELDS = EvalItem.__struct_fields__
_REQUIRED = ("prompt", "expected_answer")


@dataclass(frozen=True, slots=True)
class MappedItems:
    """The evalset that a file with keys of its own holds."""

    evalset: Evalset
    left_out: Mapping[str, int]
    """Key that no field takes, and an item has no place for -> lines that have it."""
    made_ids: int
    """Items without an id in the file; theirs is made from their content."""
    reasoning: int
    """Items whose reasoning before the answer was split off and left out."""
    behind_answers: int
    """Items with text behind the closing tag of the answer, which is left out."""


def map_items(
    path: Path,
    *,
    fields: Mapping[str, str],
    split: str | None = None,
    name: str | None = None,
    on_progress: Progress | None = None,
) -> MappedItems:
    """Read an evalset from a `.jsonl`, `.jsonl.gz` or `.parquet` file whose lines have keys of their own.

    Args:
        path: the file; its stem names the evalset.
        fields: field of an item -> key of the file, as for `map_records`. The reply of a `conversation` is the
            expected answer; where another key is mapped to that, it is left out as reasoning, and counted.
        split: how the text of `expected_answer` ends with the answer, as for `map_records`.
        name: what errors call the file, by default its path.
        on_progress: called with the bytes of the file that are done, and all of them.

    Numbers become texts, as the file writes them. A line without an id gets one: a UUIDv5 of its content and the
    number of its occurrence.

    Raises:
        SpecError: a field that there is not, or prompt or expected_answer are not mapped.
        DataError: `file:line: key: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Evalset".
    """
    check_fields(fields, _FIELDS, () if CONVERSATION in fields else _REQUIRED, "item")
    check_split(split)
    convert = _Items(fields, split)
    lines = replace(record_source(path, name, on_progress), renamed=renamed(fields, None))
    items = list(chain.from_iterable(ITEM_FORMAT.scan(replace(lines, chunks=lambda: map(convert, lines.chunks())))))
    evalset = evalset_of_items(file_stem(path), items)
    return MappedItems(evalset, dict(convert.rest), convert.made_ids, convert.reasoning, convert.behind)


class _Items(Conversion):
    """Makes items."""

    def __init__(self, fields: Mapping[str, str], split: str | None) -> None:
        super().__init__(fields, frozenset((*_REQUIRED, CONVERSATION)), EvalItem)
        self._split = split
        self._seen: Counter[bytes] = Counter()
        self.made_ids = self.reasoning = self.behind = 0

    def begin(self) -> None:
        super().begin()
        self._seen.clear()
        self.made_ids = self.reasoning = self.behind = 0

    def made(self, taken: dict[str, Any], rest: dict[str, Any], line: bytes) -> dict[str, Any]:
        item = {field: value for field, value in taken.items() if value is not None or field in _REQUIRED}
        key = self.fields.get("expected_answer") or self.fields[CONVERSATION]
        reasoned = False
        if parts := take_conversation(item, rest, self.fields):
            reasoned = bool(parts.reasoning)
            if "expected_answer" in self.fields:
                reasoned |= parts.reply is not None
            elif parts.reply is None:
                raise DataError(
                    f"{key}: the last turn is the user's; expected a reply, or a key mapped to expected_answer"
                )
            else:
                item["expected_answer"] = parts.reply
        for field, value in item.items():
            if is_number(value) and field != "id":
                item[field] = number_text(line, self.fields[field])
        if isinstance(item.get("aliases"), list):
            item["aliases"] = number_texts(line, self.fields["aliases"])
        found = split_off(item["expected_answer"], self._split, key)
        item["expected_answer"] = found.answer
        self.reasoning += reasoned or bool(found.reasoning.strip())
        self.behind += bool(found.behind)
        check_history(item, "expected_answer", self.fields)
        if item.get("id") is None:
            content = encode(item)
            self._seen[content] += 1
            self.made_ids += 1
            item["id"] = uuid5_text(ITEM_NAMESPACE, f"{content.decode()}\n{self._seen[content]}")
        return item
