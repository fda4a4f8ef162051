"""Strict JSON lines: a file is read whole or not at all, and every bad line is named."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tunix_eval.errors import DataError, suggestion

LISTED = 20
"""Bad lines that an error lists; the rest is counted."""
MAX_DEPTH = 100
"""Levels of nesting in one line."""

_KEY = re.compile(rb'"[ \t\r]*:')
_ENCODER = msgspec.json.Encoder(order="deterministic")


class _Record(Protocol):
    @property
    def id(self) -> str | int | None: ...


T = TypeVar("T", bound=_Record)
Lines = Sequence[tuple[int, bytes]]
"""Line numbers from 1, and the lines without their ends."""


class RecordFormat(Generic[T]):
    """One kind of line: its msgspec schema, and what the schema cannot say.

    Args:
        record: the msgspec Struct.
        noun: what a line holds, for messages.
        flaw: returns what is wrong with a record that fits the schema, or None.
    """

    def __init__(self, record: type[T], noun: str, flaw: Callable[[T], str | None]) -> None:
        self.record = record
        self.noun = noun
        self.flaw = flaw
        self.decode = msgspec.json.Decoder(record).decode

    def read(self, path: Path) -> list[T]:
        """Read a `.jsonl` or `.jsonl.gz` file; blank lines hold nothing and are passed over.

        Raises:
            DataError: `file:line: field: reason` for the first bad lines and a count of the rest.
        """
        return self.parse(read_bytes(path), str(path))

    def parse(self, data: bytes, source: str) -> list[T]:
        """Decode the bytes of a file; `source` names it in errors."""
        return self._decoded(split_lines(data, source, self.noun), lambda number: f"{source}:{number}", "line")

    def check(self, records: Sequence[T], where: Callable[[int], str]) -> list[T]:
        """Hold records that were made in Python against the format; `where` names one by its number from 1."""
        lines = []
        for number, record in enumerate(records, 1):
            try:
                lines.append((number, _faithful(record)))
            except (DataError, RecursionError) as error:
                raise DataError(f"{where(number)}: {error}") from None
        return self._decoded(lines, where, self.noun)

    def _decoded(self, lines: Lines, where: Callable[[int], str], unit: str) -> list[T]:
        """Decode every line, or raise one DataError for all bad ones."""
        try:
            records = [self.decode(line) for _, line in lines]
        except (ValueError, RecursionError):
            records = []
        sound = bool(records) and not any(map(self.flaw, records)) and not _suspicious(lines, records)
        ids = [record.id for record in records if record.id is not None]
        if sound and len({str(id_) for id_ in ids}) == len(ids):
            return records
        problems = list(self._problems(lines, unit))
        if not problems:
            return records
        raise listed(problems, where, unit)

    def _problems(self, lines: Lines, unit: str) -> Iterator[tuple[int, str]]:
        first: dict[str, int] = {}
        for number, line in lines:
            try:
                record = self.decode(line)
            except (ValueError, RecursionError) as error:
                yield number, explain(line, error, self.record)
                continue
            reason = self.flaw(record) or _structural_flaw(line)
            if reason is None and record.id is not None:
                used = first.setdefault(str(record.id), number)
                repeated = f"id: '{record.id}' is already used by {unit} {used}; ids are unique"
                reason = None if used == number else repeated
            if reason:
                yield number, reason


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, those of a `.gz` file unpacked.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a directory; expected a .jsonl file")
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def split_lines(data: bytes, source: str, noun: str) -> Lines:
    """Return the lines of a file that are not blank; `source` names it in errors, `noun` what a line holds.

    Raises:
        DataError: a byte order mark, or no lines.
    """
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{source}:1: starts with a byte order mark; save the file as UTF-8 without one")
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line and not line.isspace()]
    if not lines:
        raise DataError(f"{source}: holds no {noun}; expected one JSON object a line")
    return lines


def listed(problems: Sequence[tuple[int, str]], where: Callable[[int], str], unit: str) -> DataError:
    """Return the error for all bad lines: the first of them, and a count of the rest."""
    shown = [f"{where(number)}: {reason}" for number, reason in problems[:LISTED]]
    if len(problems) > LISTED:
        shown.append(f"and {len(problems) - LISTED} more bad {unit}s")
    return DataError("\n".join(shown))


def encode(record: Any) -> bytes:
    """Return the canonical JSON of a record: fields in schema order, free keys sorted, defaults left out.

    Raises:
        DataError: a value that JSON cannot hold.
    """
    try:
        return _ENCODER.encode(record)
    except (TypeError, UnicodeEncodeError) as error:
        raise DataError(f"cannot be written as JSON: {error}") from None


def _faithful(record: Any) -> bytes:
    line = encode(record)
    # msgspec writes NaN and infinity as null.
    if b"null" in line:
        try:
            json.dumps(msgspec.to_builtins(record), allow_nan=False)
        except ValueError as error:
            raise DataError(f"cannot be written as JSON: {error}") from None
    return line


def first_blank(record: Any, fields: Sequence[str]) -> str | None:
    """Return the flaw of the first of the fields that holds only white space."""
    for field in fields:
        value = getattr(record, field)
        if value is not None and (not value or value.isspace()):
            return f"{field}: holds only white space" if value else f"{field}: is empty"
    return None


def _suspicious(lines: Lines, records: Sequence[Any]) -> bool:
    """Tell whether some line may repeat a key or nest deeply: cheap, with false alarms but no misses."""
    data = b"\n".join(line for _, line in lines)
    canonical = b"\n".join(map(encode, records))
    if b"\\u0022" in data or len(_KEY.findall(data)) != len(_KEY.findall(canonical)):
        return True
    return any(line.count(b"[") + line.count(b"{") > MAX_DEPTH for _, line in lines)


def _structural_flaw(line: bytes) -> str | None:
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        repeated.extend(key for key in dict.fromkeys(keys) if keys.count(key) > 1)
        return dict(pairs)

    if _depth(json.loads(line, object_pairs_hook=note)) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH} levels"
    return f"{repeated[0]}: occurs more than once in one object" if repeated else None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def explain(line: bytes, error: Exception, record: type[Any]) -> str:
    """Return why a line could not be decoded as a record."""
    if isinstance(error, RecursionError):
        return f"is nested deeper than {MAX_DEPTH} levels"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"is not UTF-8 at byte {broken.start + 1}; save the file as UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return _explain_schema(str(error), text, record)
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as broken:
        return f"is not JSON at column {broken.colno}: {broken.msg}"
    except (ValueError, RecursionError) as broken:
        return f"is not JSON: {broken}"
    return f"is not JSON: {error}"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; use null")


def _explain_schema(message: str, text: str, record: type[Any]) -> str:
    reason, _, path = message.partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    prefix = f"{path}." if path else ""
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        known = _fields_at(record, path)
        return f"{prefix}{match[1]}: unknown key; known: {', '.join(known)}.{suggestion(match[1], known)}"
    if match := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return f"{prefix}{match[1]}: is missing"
    if reason == "Expected `str` of length >= 1":
        return f"{path}: is empty"
    if match := re.fullmatch(r"Expected `(str|array)` of length <= (\d+)", reason):
        unit = "characters" if match[1] == "str" else "entries"
        return f"{path}: has {len(_value_at(text, path))} {unit}, limit {match[2]}"
    reason = reason[0].lower() + reason[1:].replace("`", "")
    return f"{path}: {reason}" if path else reason


def _fields_at(record: type[Any], path: str) -> list[str]:
    """Return the known keys of the object at a path such as `steps[2]`."""
    inner: Any = msgspec.inspect.type_info(record)
    for name in re.findall(r"[A-Za-z_]+", path):
        field = next(field for field in inner.fields if field.name == name)
        inner = field.type.item_type
    return [field.name for field in inner.fields]


def _value_at(text: str, path: str) -> Any:
    value = json.loads(text)
    for key, index in re.findall(r"([A-Za-z_]+)|\[(\d+)\]", path):
        value = value[key] if key else value[int(index)]
    return value
