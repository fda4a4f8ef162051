"""Trace files: strict to read, canonical to write."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.data.reading.explain import first_blank, message_flaw
from tunix_eval.data.reading.history import trace_remarks
from tunix_eval.data.reading.jsonl import IdTable, RecordFormat, encode, encode_lines
from tunix_eval.data.reading.lines import Progress, Source, bytes_source
from tunix_eval.data.reading.marks import bounded, has_long_number, key_marks, openings, spaced_colons
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.uuids import begun, finished
from tunix_eval.records import Trace

TRACE_NAMESPACE = uuid.UUID("5b1f7a52-6f0e-5a86-9d4c-3c1f0c2e7a11")
"""Names in it are canonical trace content and its occurrence number."""


@dataclass(frozen=True, slots=True)
class TraceCount:
    """What a sound trace file holds."""

    traces: int
    bytes: int
    """Of the lines, unpacked."""
    without_id: int
    """Traces that get an id when they are read."""


def read_traces(path: Path, *, source: str | None = None) -> list[Trace]:
    """Read a trace file (`.jsonl`, `.jsonl.gz`, `.parquet`), all of it or nothing.

    Steps come in the order of `i`. An integer id becomes a string; a missing one becomes a UUIDv5 of the
    canonical content and the number of its occurrence, so that two reads of one file agree. `source` is what errors
    call the file, by default its path.

    Raises:
        DataError: `file:line: field: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Trace".
    """
    return read_source(record_source(path, source))


def scan_traces(path: Path, *, source: str | None = None) -> Iterator[list[Trace]]:
    """Yield the traces that `read_traces` returns, some hundred at a time, without holding the file.

    A file in which a trace lacks its id is read twice, for made ids differ from those that stand further down.

    Raises:
        DataError: as `read_traces`. Nothing more is yielded from the first bad line on; a repeated id is found only
            when everything was yielded.
    """
    lines = record_source(path, source)
    namer: IdMaker | None = None
    for traces in TRACE_FORMAT.scan(lines):
        if namer is None and any(trace.id is None for trace in traces):
            namer = IdMaker(_made_earlier(lines))
        yield _with_ids(traces, namer or IdMaker(frozenset()))


def validate_traces(path: Path, *, source: str | None = None, on_progress: Progress | None = None) -> TraceCount:
    """Look through a trace file as `read_traces` does, holding no trace and 8 bytes for each id.

    `on_progress` is called with the bytes of the file that are done, and all of them.

    Raises:
        DataError: as `read_traces`.
    """
    seen = 0
    lines = record_source(path, source, on_progress)

    def counted() -> Iterator[Any]:
        nonlocal seen
        for chunk in lines.chunks():
            seen += len(chunk.data)
            yield chunk

    count = without_id = 0
    for traces in TRACE_FORMAT.scan(replace(lines, chunks=counted)):
        count += len(traces)
        without_id += sum(trace.id is None for trace in traces)
    return TraceCount(count, seen, without_id)


def parse_traces(data: bytes, source: str) -> list[Trace]:
    """Read traces from the bytes of a `.jsonl` file; `source` names it in errors."""
    return read_source(bytes_source(data, source))


def checked_traces(traces: Iterable[Trace | Mapping[str, Any]], source: str) -> list[Trace]:
    """Hold traces that were made in Python, or dicts of their fields, against the format; give each its id.

    Raises:
        DataError: names `source` and the number of the trace, from 1; the first 20, and a count of the rest.
    """
    given = list(traces)
    return read_source(TRACE_FORMAT.given(given, source, remarked=False)) if given else []


def read_source(source: Source) -> list[Trace]:
    """Read the traces of a source, all of them or nothing."""
    ids = IdTable()
    traces: list[Trace] = []
    for some in TRACE_FORMAT.scan(source, ids):
        traces += some
    return traces if ids.only_texts else identified(traces)


def trace_line(trace: Trace) -> str:
    r"""Return a trace as one line of canonical JSON, without the line's end.

    >>> from tunix_eval.records import Step
    >>> trace_line(Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),)))
    '{"trace_version":"1.0","prompt":"1+1=","final_answer":"2","steps":[{"i":0,"type":"sum","content":"1+1=2"}]}'
    """
    return encode(trace).decode("utf-8")


def traces_text(traces: Iterable[Trace]) -> str:
    """Return the text of a trace file: canonical, so that equal traces give equal bytes."""
    return "".join(f"{trace_line(trace)}\n" for trace in traces)


def _flaw(trace: Trace) -> str | None:
    if reason := first_blank(trace, ("trace_version", "prompt", "final_answer", "system")):
        return reason
    if trace.id == "":
        return "id: is empty; leave it out to have one made"
    first: dict[int, int] = {}
    for k, step in enumerate(trace.steps):
        if reason := first_blank(step, ("type", "content")):
            return f"steps[{k}].{reason}"
        if step.i in first:
            used = f"already used by steps[{first[step.i]}]"
            return f"steps[{k}].i is {step.i}, {used}; step indices must be unique"
        first[step.i] = k
    return message_flaw(trace.messages)


_VERSION, _PROMPT, _ANSWER, _STEPS = map(attrgetter, ("trace_version", "prompt", "final_answer", "steps"))
_INDEX, _TYPE, _CONTENT = map(attrgetter, ("i", "type", "content"))
_TRACE_KEYS, _STEP_KEYS = 4, 3
"""Those that are always there."""
_LARGE = 1 << 63


def _sound(data: bytes, traces: list[Trace]) -> bool:
    steps, count = 0, len(traces)
    # Without calls, which would take as long as what they do.
    for trace in traces:
        last = -1
        for step in trace.steps:
            if step.i <= last:
                return False
            last = step.i
        steps += len(trace.steps)
    marks, plain = key_marks(data)
    if not plain and (_blank(traces) or spaced_colons(data)):
        return False
    metas = [meta for trace in traces if (meta := trace.meta) is not None]
    surely_flat = openings(data) == 2 * count + steps + len(metas) and not has_long_number(data)
    keys = (_TRACE_KEYS + 1) * count + _STEP_KEYS * steps + len(metas) + sum(map(len, metas))
    ids = [trace.id for trace in traces]
    # Where every trace has a text for its id, so many keys leave none for system and messages.
    if surely_flat and marks == keys and set(map(type, ids)) == {str} and all(ids):
        return True
    nested = [] if surely_flat else [meta for meta in metas if not _is_flat(meta)]
    more = [*map(_more_keys, traces), _inner_keys(nested, data)]
    return None not in more and marks == keys + sum(filter(None, more))


def _is_flat(meta: dict[str, Any]) -> bool:
    """Tell whether meta holds no list, no object and no integer of many digits."""
    for value in meta.values():
        kind = type(value)
        if kind is list or kind is dict or (kind is int and not -_LARGE < value < _LARGE):
            return False
    return True


def _more_keys(trace: Trace) -> int | None:
    """Count the keys for id, system and messages, without that for the id that most have; None where one has a flaw."""
    keys = 0
    if trace.id is None:
        keys -= 1
    elif trace.id == "" or (type(trace.id) is int and abs(trace.id) >= _LARGE):
        return None
    if trace.system is not None:
        if trace.system.isspace():
            return None
        keys += 1
    if trace.messages:
        if message_flaw(trace.messages):
            return None
        keys += 1 + sum(2 + (turn.reasoning_content is not None) for turn in trace.messages)
    return keys


def _inner_keys(metas: list[dict[str, Any]], data: bytes) -> int | None:
    """Count the keys in what metas hold, without their own, and what `key_marks` takes for keys in their texts.

    None where the lines that they stand in may write those texts in another way, or a limit may be broken.
    """
    if not metas:
        return 0
    held = encode_lines(metas)
    # A quote or a colon that the file writes as \u0022 or \u003a would count here alone, and hide a repeated key.
    if b"\\u0022" in data or b"\\u003" in data or not bounded(held):
        return None
    return held.count(b'":') - sum(map(len, metas))


def _blank(traces: Sequence[Trace]) -> bool:
    steps = list(chain.from_iterable(map(_STEPS, traces)))
    own = chain(map(_PROMPT, traces), map(_ANSWER, traces), map(_VERSION, traces))
    return any(map(str.isspace, chain(own, map(_CONTENT, steps), map(_TYPE, steps))))


def _in_step_order(trace: Trace) -> Trace:
    indices = [step.i for step in trace.steps]
    if indices == sorted(indices):
        return trace
    return msgspec.structs.replace(trace, steps=tuple(sorted(trace.steps, key=_INDEX)))


TRACE_FORMAT = RecordFormat(Trace, "trace", _flaw, _sound, _in_step_order, trace_remarks)


class IdMaker:
    """Makes ids for traces without one: a UUIDv5 of the canonical content and the number of its occurrence.

    Args:
        taken: ids that the file gives itself.
    """

    def __init__(self, taken: frozenset[str]) -> None:
        self._taken = taken
        self._seen: set[int] = set()
        self._repeats: dict[int, int] = {}

    def make(self, trace: Trace) -> str:
        """Return an id that no trace has yet."""
        content = begun(TRACE_NAMESPACE).copy()
        content.update(encode(trace))
        mark = int.from_bytes(content.digest()[:8])
        while True:
            if mark not in self._seen:
                self._seen.add(mark)
                occurrence = 1
            else:
                occurrence = self._repeats[mark] = self._repeats.get(mark, 1) + 1
            made = finished(content, b"\n%d" % occurrence)
            # A file may hold the ids that an earlier import made, beside lines without one.
            if made not in self._taken:
                return made


def identified(traces: Sequence[Trace]) -> list[Trace]:
    """Return traces with ids that are strings, made ones where there is none."""
    return _with_ids(traces, IdMaker(frozenset(str(trace.id) for trace in traces if trace.id is not None)))


def _with_ids(traces: Sequence[Trace], maker: IdMaker) -> list[Trace]:
    return [trace if isinstance(trace.id, str) else _with_id(trace, maker) for trace in traces]


def _with_id(trace: Trace, maker: IdMaker) -> Trace:
    return msgspec.structs.replace(trace, id=maker.make(trace) if trace.id is None else str(trace.id))


class _Identity(msgspec.Struct, gc=False):
    id: Any = None


_decode_identity = msgspec.json.Decoder(_Identity).decode


def _made_earlier(source: Source) -> frozenset[str]:
    """Return the ids in a file that `IdMaker` may have made."""
    found = set()
    for chunk in source.chunks():
        for _, line in chunk.lines():
            try:
                id_ = _decode_identity(line).id
            except (ValueError, RecursionError):
                # A bad line ends the scan with an error that names it.
                continue
            if isinstance(id_, str) and len(id_) == 36 and id_[14] == "5":
                found.add(id_)
    return frozenset(found)
