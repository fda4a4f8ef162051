"""Trace files read as far as they can be: what is good, and every bad line with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tunix_eval.data.reading.explain import one_line, structural_flaw
from tunix_eval.data.reading.jsonl import Problem, encode, encode_lines, nothing, repeated_id, same_json
from tunix_eval.data.reading.lines import Chunk, Progress, Source
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.remarks import Remarks
from tunix_eval.data.reading.traces import TRACE_FORMAT, identified
from tunix_eval.records import Step, Trace, Turn

_FIELDS = frozenset(Trace.__struct_fields__)
_INNER_FIELDS = {"steps": frozenset(Step.__struct_fields__), "messages": frozenset(Turn.__struct_fields__)}
_PLACE = re.compile(r"^(steps|messages)\[\d+\]")
_decode_any = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is no trace."""

    line: int
    """Its number from 1; of a Parquet file, the row's."""
    reason: str
    text: str
    """As it stands in the file; bytes that are no UTF-8 as escapes, of a line that is too long its beginning."""


@dataclass(frozen=True, slots=True)
class LenientRead:
    """The traces of a file, in order, and its bad lines."""

    traces: list[Trace]
    rejected: list[Rejected]
    moved: Mapping[str, int] = field(default_factory=dict)
    """Key -> in how many of the traces it was moved below meta, first seen first; `steps[].score` of steps. Those that
    are not known; of a mapped file, those that no field takes, in how many of its lines."""
    blank_lines: int = 0
    """Of a mapped file: blank lines between the steps of a text, which are left out."""
    behind_answers: int = 0
    """Of a mapped file: lines with text behind the closing tag of the answer, which is left out."""


class Mended(NamedTuple):
    """A line that was bad, anew, and the unknown keys that it holds below meta now."""

    line: bytes
    moved: tuple[str, ...]


Mend = Callable[[bytes], Mended | str | None]


def read_traces_leniently(path: Path, *, source: str | None = None, on_progress: Progress | None = None) -> LenientRead:
    """Read a trace file, and give its bad lines with their reasons instead of refusing the file.

    Keys that are not known are moved below meta: one of the line by its name, one of a step or a message by its path,
    such as `steps[0].confidence`. Where meta has that key with another value, the line is rejected. All else is as
    strict as in `read_traces`; of two lines with one id the second is rejected.

    Raises:
        DataError: the file as a whole cannot be read, or holds no line.

    Source: docs/formats.md, "Trace".
    """
    return sift_leniently(record_source(path, source, on_progress), mend=_unknown_below_meta)


def rejected_text(rejected: Iterable[Rejected]) -> str:
    r"""Return the text of rejected.jsonl.

    >>> rejected_text([Rejected(3, "is not JSON at column 1: Expecting value", "oops")])
    '{"line":3,"reason":"is not JSON at column 1: Expecting value","text":"oops"}\n'
    """
    lines = [{"line": each.line, "reason": each.reason, "text": each.text} for each in rejected]
    return encode_lines(lines).decode("utf-8")


def sift_leniently(
    source: Source,
    *,
    convert: Callable[[Chunk], Chunk] = lambda chunk: chunk,
    mend: Mend = lambda line: None,
) -> LenientRead:
    """Read what is good of a source.

    Args:
        source: its lines.
        convert: makes lines of traces from those of the source, number by number.
        mend: gives a bad line anew, or another reason why it is bad, or None.
    """
    traces: list[Trace] = []
    rejected: list[Rejected] = []
    moved: Counter[str] = Counter()
    first: dict[str, int] = {}
    remarks = Remarks(TRACE_FORMAT.remark)
    for chunk in source.chunks():
        records, numbers, problems = TRACE_FORMAT.sift(convert(chunk))
        good: dict[int, Trace] = {}
        found: dict[int, Trace | str] = dict(zip(numbers, records, strict=True))
        keys: dict[int, tuple[str, ...]] = {}
        for problem in problems:
            mended, keys[problem.number] = _mended(problem, mend)
            found[problem.number] = mended if isinstance(mended, Trace) else source.in_own_words(mended)
        bad: dict[int, str] = {}
        for number, trace in sorted(found.items()) if problems else found.items():
            if isinstance(trace, str):
                bad[number] = trace
            elif trace.id is not None and (used := first.setdefault(str(trace.id), number)) != number:
                bad[number] = repeated_id(str(trace.id), source.unit, used)
            else:
                good[number] = trace
                moved.update(keys.get(number, ()))
        traces += good.values()
        remarks.take(list(good.values()), list(good))
        if bad:
            texts = dict(chunk.lines()) | {refused.number: refused.line for refused in chunk.refused}
            rejected += (Rejected(number, bad[number], _shown(texts[number])) for number in bad)
    if not traces and not rejected:
        raise nothing(source, "trace")
    remarks.warn(source)
    return LenientRead(identified(traces), rejected, moved)


def _mended(problem: Problem, mend: Mend) -> tuple[Trace | str, tuple[str, ...]]:
    """Return the trace and its moved keys, or why there is none."""
    reason = problem.reason(Trace)
    mended = None if isinstance(problem.found, str) else mend(problem.line)
    if not isinstance(mended, Mended):
        return mended or reason, ()
    again = TRACE_FORMAT.examine(mended.line)
    if isinstance(again, Trace):
        return again, mended.moved
    return Problem(problem.number, mended.line, again).reason(Trace), ()


def _unknown_below_meta(line: bytes) -> Mended | str | None:
    try:
        value = _decode_any(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    # Decoding has dropped repeated keys.
    if reason := structural_flaw(line):
        return reason
    meta, unknown = value.get("meta"), _taken_unknown(value)
    if not unknown or not isinstance(meta, (dict, type(None))):
        return None
    meta = meta or {}
    for key, found in unknown:
        if not same_json(meta.setdefault(key, found), found):
            return f"{one_line(key)}: unknown key, and meta has it with another value; rename one of them"
    moved = dict.fromkeys(_PLACE.sub(r"\1[]", key) for key, _ in unknown)
    return Mended(encode(value | {"meta": meta}), tuple(moved))


def _taken_unknown(value: dict[str, Any]) -> list[tuple[str, Any]]:
    """Take the unknown keys out of a line, and return them with their paths."""
    unknown = [(key, value.pop(key)) for key in list(value) if key not in _FIELDS]
    for part, known in _INNER_FIELDS.items():
        entries = value.get(part)
        for k, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                taken = [key for key in entry if key not in known]
                unknown += [(f"{part}[{k}].{key}", entry.pop(key)) for key in taken]
    return unknown


def _shown(line: bytes) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
