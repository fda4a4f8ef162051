"""Strict JSON lines: every line fits its schema, every bad line is named, and no two records share an id.

From bytes to records: `lines` cuts a file into chunks of whole lines (`parquet` makes such chunks of rows, `mapping` of
other people's lines); `RecordFormat.sift` decodes a chunk at once and puts it to the quick tests of `marks`, which may
find fault with a sound line but pass no bad one; only a chunk that fails one of them is looked at line by line, and
`explain` puts in words what is wrong. `traces`, `evalsets` and `predictions` know their records; `lenient` keeps the
good lines and the reasons of the others.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np

from tunix_eval.data.reading.explain import explain, one_line, structural_flaw
from tunix_eval.data.reading.lines import Chunk, Refused, Source, bytes_source
from tunix_eval.data.reading.marks import bounded, line_ends, lines_of_one_object
from tunix_eval.data.reading.remarks import Remark, Remarks
from tunix_eval.errors import DataError

LISTED = 20
"""Bad lines that an error lists; the rest is counted."""
_HELD_BYTES = 1 << 20
"""Of a bad line; of a longer one only the reason is kept."""
_CHECKED_AT_ONCE = 500
"""Records from Python."""

_ENCODER = msgspec.json.Encoder(order="deterministic")
_ANY_DECODER = msgspec.json.Decoder()
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
_KEY = re.compile(rb'"[ \t\r]*:')


class _Record(Protocol):
    @property
    def id(self) -> str | int | None: ...


T = TypeVar("T", bound=_Record)


class Problem(NamedTuple):
    """A line that is no record, and what was raised or found."""

    number: int
    line: bytes
    found: Exception | str

    def reason(self, record: type[Any]) -> str:
        """Say why the line is no record."""
        return self.found if isinstance(self.found, str) else explain(self.line, self.found, record)


class Sifted(NamedTuple, Generic[T]):
    """What a chunk holds: its records, the numbers of their lines, and its bad lines."""

    records: list[T]
    numbers: Sequence[int]
    problems: list[Problem]


class RecordFormat(Generic[T]):
    """One kind of line: its msgspec schema, and what the schema cannot say.

    Args:
        record: the msgspec Struct.
        noun: what a line holds, for messages.
        flaw: returns what is wrong with a record that fits the schema, or None.
        sound: takes the bytes of lines and their records; True promises that `flaw` and `structural_flaw` find
            nothing in any of them and that `tidy` changes none, False promises nothing.
        tidy: returns a record that has no flaw in its canonical form.
        remark: gives what there is to say of records that have no flaw.
        mend: takes a line that does not fit the schema, and returns one that may, or None.
    """

    def __init__(
        self,
        record: type[T],
        noun: str,
        flaw: Callable[[T], str | None],
        sound: Callable[[bytes, list[T]], bool] = lambda data, records: False,
        tidy: Callable[[T], T] = lambda record: record,
        remark: Remark = lambda records: (),
        mend: Callable[[bytes], bytes | None] = lambda line: None,
    ) -> None:
        self.record = record
        self.noun = noun
        self.flaw = flaw
        self.sound = sound
        self.tidy = tidy
        self.remark = remark
        self.mend = mend
        decoder = msgspec.json.Decoder(record)
        self.decode = decoder.decode
        self.decode_lines = decoder.decode_lines

    def scan(self, source: Source, ids: IdTable | None = None) -> Iterator[list[T]]:
        """Yield the records of each chunk until a line is bad; `ids` takes in their ids.

        Warns with DataWarning at the end of what there is to say of them, where they come from a file.

        Raises:
            DataError: the whole source has been looked through, and holds no record or bad lines: the first of them
                with their reasons, and a count of the rest.
        """
        problems, ids, count, remarks = Problems(self.record), ids or IdTable(), 0, Remarks(self.remark)
        for chunk in source.chunks():
            records, numbers, bad = self.sift(chunk)
            if source.remarked:
                remarks.take(records, numbers)
            problems.extend(bad)
            ids.extend(records)
            count += len(records)
            if not problems.count and records:
                yield records
        problems.extend(self._repeated(source, ids.suspects()))
        if problems.count:
            raise problems.error(source)
        if not count:
            raise nothing(source, self.noun)
        remarks.warn(source)

    def parse(self, data: bytes, name: str) -> list[T]:
        """Decode the bytes of a file, all of it or nothing; `name` is what errors call it."""
        return list(chain.from_iterable(self.scan(bytes_source(data, name))))

    def check(self, records: Iterable[Any], name: str) -> list[T]:
        """Hold records that were made in Python, or plain dicts, against the format, all of them or nothing."""
        given = list(records)
        return list(chain.from_iterable(self.scan(self.given(given, name)))) if given else []

    def given(self, records: Sequence[Any], name: str, *, remarked: bool = True) -> Source:
        """Return records that were made in Python as lines; `remarked` is for Source."""
        return Source(name, lambda: encoded_chunks(records), self.noun, f", {self.noun} ", remarked=remarked)

    def sift(self, chunk: Chunk) -> Sifted[T]:
        """Decode a chunk, and tell its records from its bad lines. Repeated ids are for the caller to find."""
        if not chunk.refused:
            count = lines_of_one_object(chunk.data, chunk.ends)
            if count and (records := self._decoded(chunk.data, count)) is not None:
                return Sifted(records, range(chunk.first, chunk.first + count), [])
        lines = chunk.lines()
        numbers = [number for number, _ in lines]
        data = b"\n".join(line.strip(b" \t\r") for _, line in lines)
        count = lines_of_one_object(data, line_ends(data))
        if count == len(lines) and (records := self._decoded(data, count)) is not None:
            return Sifted(records, numbers, [Problem(*refused) for refused in chunk.refused])
        return self._line_by_line(chunk, lines)

    def _line_by_line(self, chunk: Chunk, lines: Sequence[tuple[int, bytes]]) -> Sifted[T]:
        records, numbers, problems = [], [], [Problem(*refused) for refused in chunk.refused]
        for number, line in lines:
            found = self.examine(line)
            if isinstance(found, (str, Exception)):
                problems.append(Problem(number, line, found))
            else:
                records.append(found)
                numbers.append(number)
        return Sifted(records, numbers, sorted(problems, key=lambda problem: problem.number))

    def examine(self, line: bytes) -> T | Exception | str:
        """Return the record of one line, or what is wrong with it."""
        try:
            record = self.decode(line)
        except (ValueError, RecursionError) as error:
            mended = self.mend(line) if isinstance(error, msgspec.ValidationError) else None
            if mended is not None:
                return structural_flaw(line) or self.examine(mended)
            # Its frames would take three times the memory of the rest, for every bad line of a chunk.
            return error.with_traceback(None)
        return self.flaw(record) or structural_flaw(line) or self.tidy(record)

    def _decoded(self, data: bytes, count: int) -> list[T] | None:
        """Return the records of so many lines if every line is sound, or None where that is not sure."""
        try:
            records = self.decode_lines(data)
            if len(records) != count:
                return None
            if self.sound(data, records):
                return records
            return None if any(map(self.flaw, records)) or not unambiguous(data) else list(map(self.tidy, records))
        except (ValueError, RecursionError):
            return None

    def _repeated(self, source: Source, suspects: frozenset[int]) -> Iterator[Problem]:
        """Look at the sound lines once more for ids that are the same."""
        if not suspects:
            return
        first: dict[str, int] = {}
        for chunk in source.chunks():
            records, numbers, _ = self.sift(chunk)
            for number, record in zip(numbers, records, strict=True):
                id_ = str(record.id)
                if record.id is not None and hash(id_) in suspects and first.setdefault(id_, number) != number:
                    yield Problem(number, b"", repeated_id(id_, source.unit, first[id_]))


class Problems:
    """Bad lines: the first of them, and how many there are.

    Args:
        record: what a line should be, for reasons why it is none.
    """

    def __init__(self, record: type[Any]) -> None:
        self.count = 0
        self._record = record
        self._first: list[Problem] = []

    def extend(self, problems: Iterable[Problem]) -> None:
        """Take in more; only those with the lowest numbers are kept."""
        every = chain(self._first, self._counted(problems))
        first = heapq.nsmallest(LISTED, every, key=lambda problem: problem.number)
        # Twenty lines of 60 MiB would be held to the end of the file.
        self._first = [one if len(one.line) < _HELD_BYTES else self._without_line(one) for one in first]

    def _without_line(self, problem: Problem) -> Problem:
        return Problem(problem.number, b"", problem.reason(self._record))

    def _counted(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        for problem in problems:
            self.count += 1
            yield problem

    def error(self, source: Source) -> DataError:
        """Return the error for all of them."""
        shown = [
            f"{source.where(problem.number)}: {source.in_own_words(problem.reason(self._record))}"
            for problem in self._first
        ]
        if self.count > len(shown):
            shown.append(f"and {self.count - len(shown)} more bad {source.unit}s")
        return DataError("\n".join(shown))


class IdTable:
    """Ids as 64-bit hashes, 8 bytes each: tells which of them may be repeated."""

    def __init__(self) -> None:
        self._hashes = [np.zeros(0, np.int64)]
        self.only_texts = True
        """Every record had an id, and it was a text."""

    def extend(self, records: Iterable[_Record]) -> None:
        """Take in the ids of records that have one."""
        ids = [record.id for record in records]
        if not set(map(type, ids)) <= {str}:
            self.only_texts = False
            ids = [str(id_) for id_ in ids if id_ is not None]
        self._hashes.append(np.fromiter(map(hash, ids), np.int64, len(ids)))

    def suspects(self) -> frozenset[int]:
        """Return the hashes that more than one id has; different ids may share one."""
        hashes = np.concatenate(self._hashes)
        hashes.sort()
        return frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def repeated_id(id_: str, unit: str, first: int) -> str:
    """Return the flaw of a record whose id an earlier one has."""
    return f"id: '{one_line(id_)}' is already used by {unit} {first}; ids are unique"


def nothing(source: Source, noun: str) -> DataError:
    """Return the error for a source without a record."""
    return DataError(f"{source.name}: holds no {noun}; expected one JSON object a line")


def encode_lines(records: Sequence[Any]) -> bytes:
    """Return the canonical JSON of each record or value, and a line end behind each.

    Raises:
        DataError: a value that JSON cannot hold.
    """
    try:
        return _ENCODER.encode_lines(records)
    except _UNWRITABLE as error:
        raise DataError(f"cannot be written as JSON: {error}") from None


def encode(record: Any) -> bytes:
    """Return the canonical JSON of a record: fields in schema order, free keys sorted, defaults left out.

    Raises:
        DataError: a value that JSON cannot hold.
    """
    try:
        return _ENCODER.encode(record)
    except _UNWRITABLE as error:
        raise DataError(f"cannot be written as JSON: {error}") from None


def same_json(one: Any, other: Any) -> bool:
    """Tell whether two values are written alike, which 1, 1.0 and True are not, though they are equal."""
    return encode(one) == encode(other)


def encoded_chunks(records: Sequence[Any], first: int = 1) -> Iterator[Chunk]:
    """Yield records or plain values as lines; those that JSON cannot hold are refused."""
    for start in range(0, len(records), _CHECKED_AT_ONCE):
        some = records[start : start + _CHECKED_AT_ONCE]
        try:
            data = encode_lines(some)
            # msgspec writes NaN and infinity as null.
            exact = b"null" not in data
        except DataError:
            exact = False
        yield Chunk(data, first + start) if exact else _one_by_one(some, first + start)


def _one_by_one(records: Sequence[Any], first: int) -> Chunk:
    lines, refused = [], []
    for number, record in enumerate(records, first):
        try:
            lines.append(_faithful(record))
        except DataError as error:
            lines.append(b"")
            refused.append(Refused(number, one_line(repr(record)).encode(), str(error)))
    return Chunk(b"".join(line + b"\n" for line in lines), first, tuple(refused))


def _faithful(record: Any) -> bytes:
    line = encode(record)
    if b"null" in line:
        try:
            json.dumps(msgspec.to_builtins(record), allow_nan=False)
        except ValueError as error:
            raise DataError(f"cannot be written as JSON: {error}") from None
    return line


def line_flaw(line: bytes) -> str | None:
    """Return what `structural_flaw` does of a line that is JSON, at once where nothing looks like a flaw."""
    return None if line.startswith(b"{") and unambiguous(line) else structural_flaw(line)


def unambiguous(data: bytes) -> bool:
    """Tell whether lines that were decoded surely repeat no key and keep the limits; slower, and sure more often.

    Decoding drops repeated keys, so that the canonical text has fewer. What looks like a key inside of a text looks
    so in both, unless a quote, a colon or a space is written as an escape.
    """
    if b"\\u00" in data or not bounded(data):
        return False
    canonical = _ENCODER.encode_lines(_ANY_DECODER.decode_lines(data))
    return len(_KEY.findall(data)) == len(_KEY.findall(canonical))
