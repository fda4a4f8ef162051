"""Trace files: strict to read, canonical to write."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tunix_eval.data.jsonl import RecordFormat, encode, first_blank, read_bytes
from tunix_eval.records import Trace

TRACE_NAMESPACE = uuid.UUID("5b1f7a52-6f0e-5a86-9d4c-3c1f0c2e7a11")
"""Names in it are canonical trace content and its occurrence number."""


def read_traces(path: Path) -> list[Trace]:
    """Read a trace file (`.jsonl`, `.jsonl.gz`), all of it or nothing.

    Steps come in the order of `i`. An integer id becomes a string; a missing one becomes a UUIDv5 of the
    canonical content and the number of its occurrence, so that two reads of one file agree.

    Raises:
        DataError: `file:line: field: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Trace".
    """
    return parse_traces(read_bytes(path), str(path))


def parse_traces(data: bytes, source: str) -> list[Trace]:
    """Read traces from the bytes of a trace file; `source` names it in errors."""
    return _identified(_FORMAT.parse(data, source))


def checked_traces(traces: Iterable[Trace], source: str) -> list[Trace]:
    """Hold traces that were made in Python against the format, and give each its id.

    Raises:
        DataError: names `source` and the number of the trace, from 1.
    """
    return _identified(_FORMAT.check(list(traces), lambda number: f"{source}, trace {number}"))


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
    for k, turn in enumerate(trace.messages):
        if reason := first_blank(turn, ("content",)):
            return f"messages[{k}].{reason}"
    return None


_FORMAT = RecordFormat(Trace, "trace", _flaw)


def _identified(traces: Sequence[Trace]) -> list[Trace]:
    taken = {str(trace.id) for trace in traces if trace.id is not None}
    occurrences: dict[str, int] = {}
    return [_with_id(_in_step_order(trace), taken, occurrences) for trace in traces]


def _in_step_order(trace: Trace) -> Trace:
    indices = [step.i for step in trace.steps]
    if indices == sorted(indices):
        return trace
    return msgspec.structs.replace(trace, steps=tuple(sorted(trace.steps, key=lambda step: step.i)))


def _with_id(trace: Trace, taken: set[str], occurrences: dict[str, int]) -> Trace:
    if isinstance(trace.id, str):
        return trace
    if trace.id is not None:
        return msgspec.structs.replace(trace, id=str(trace.id))
    content = trace_line(trace)
    while True:
        occurrence = occurrences[content] = occurrences.get(content, 0) + 1
        made = str(uuid.uuid5(TRACE_NAMESPACE, f"{content}\n{occurrence}"))
        # A file may hold the ids that an earlier import made, beside lines without one.
        if made not in taken:
            return msgspec.structs.replace(trace, id=made)
