"""The lines of a file with keys of its own, made into lines of records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from tunix_eval.data.reading.dotted import remove_at, value_at
from tunix_eval.data.reading.explain import explain
from tunix_eval.data.reading.jsonl import encode, line_flaw
from tunix_eval.data.reading.lines import Chunk, Refused
from tunix_eval.errors import DataError

_decode_any = msgspec.json.Decoder().decode


class Conversion(ABC):
    """Makes lines of records from those of a file.

    A field is taken only from the key that it is mapped to: a column of the same name may hold another thing, such as
    the whole conversation under `messages`. The id alone, which names a line and says nothing, is taken by its name.

    Args:
        fields: field -> key of the file, with dots where it stands in an object of the line.
        required: fields that a line must have, where they are mapped.
        record: what is made, for reasons why a line is none.
    """

    def __init__(self, fields: Mapping[str, str], required: frozenset[str], record: type[Any]) -> None:
        self.fields = {"id": "id"} | dict(fields)
        self.rest: Counter[str] = Counter()
        """Key that no field takes -> lines that have it."""
        self._mapped = frozenset(fields)
        self._required = required & self._mapped
        self._record = record

    @abstractmethod
    def made(self, taken: dict[str, Any], rest: dict[str, Any], line: bytes) -> dict[str, Any]:
        """Return a record of the values of its fields, and of the keys that are left.

        Raises:
            DataError: why there is none.
        """

    def begin(self) -> None:
        """Forget what was counted: a source may be read more than once."""
        self.rest.clear()

    def __call__(self, chunk: Chunk) -> Chunk:
        """Return the lines of records, number by number."""
        if chunk.first == 1:
            self.begin()
        lines = chunk.data.split(b"\n")
        refused = list(chunk.refused)
        for k, line in enumerate(lines):
            if line and not line.isspace():
                try:
                    lines[k] = self._line(line)
                except DataError as error:
                    lines[k] = b""
                    refused.append(Refused(chunk.first + k, line, str(error)))
        return Chunk(b"\n".join(lines), chunk.first, tuple(refused))

    def _line(self, line: bytes) -> bytes:
        try:
            record = _decode_any(line)
        except (ValueError, RecursionError) as error:
            raise DataError(explain(line, error, self._record)) from None
        if not isinstance(record, dict):
            return line
        if reason := line_flaw(line):
            raise DataError(reason)
        found = {field: value_at(record, key) for field, key in self.fields.items()}
        for field in self._required:
            if found[field] is msgspec.UNSET:
                raise DataError(f"{self.fields[field]}: is missing; it is mapped to {field}")
        there = {field: value for field, value in found.items() if value is not msgspec.UNSET}
        for field in there:
            remove_at(record, self.fields[field])
        taken = {field: value for field, value in there.items() if value is not None or field in self._mapped}
        made = encode(self.made(taken, record, line))
        self.rest.update(list(record))
        return made
