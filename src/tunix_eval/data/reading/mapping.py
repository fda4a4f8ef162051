"""Traces from other people's files: which of their keys is which of our fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.answers import ANSWER_RULES, answer_at, find_answer
from tunix_eval.data.reading.dotted import remove_at, value_at
from tunix_eval.data.reading.explain import explain, one_line
from tunix_eval.data.reading.jsonl import encode, line_flaw, same_json
from tunix_eval.data.reading.lenient import LenientRead, sift_leniently
from tunix_eval.data.reading.lines import Chunk, Progress, Refused
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.traces import read_source
from tunix_eval.errors import DataError, SpecError, unknown_name
from tunix_eval.quantities import last_number
from tunix_eval.records import AnswerRule, Trace
from tunix_eval.thinking import Thinking, blanked, find_thinking, unmarked

STEP_TYPE = "reasoning"
"""Of steps that were text."""
_FIELDS = tuple(field for field in Trace.__struct_fields__ if field != "trace_version")
_decode_any = msgspec.json.Decoder().decode


def map_records(
    path: Path,
    *,
    fields: Mapping[str, str],
    split: str | None = None,
    source: str | None = None,
    lenient: bool = False,
    name: str | None = None,
    on_progress: Progress | None = None,
) -> LenientRead:
    """Read traces from a `.jsonl`, `.jsonl.gz` or `.parquet` file whose lines have keys of their own.

    Args:
        path: the file.
        fields: field of a trace -> key of the file, with dots where it stands in an object of the line. A field that
            is not named is read from the key of its own name, where there is one. All other keys are kept below meta.
        split: how the text of `final_answer` holds the reasoning and then the answer, by the answer rule of that
            name: `hashes`, `answer` and `tags` cut it at the last mark outside of its thinking; under `boxed` and
            `last_number` all of it is the reasoning. The marks of thinking go.
        source: goes to meta.source; what the line has there moves to meta.original_source.
        lenient: give bad lines back instead of refusing the file.
        name: what errors call the file, by default its path.
        on_progress: called with the bytes of the file that are done, and all of them.

    Steps may be a text, of which each line that is not blank is one; a list of texts; or a list of steps as ours,
    whose `i` and `type` may be missing.

    Raises:
        SpecError: a field that there is not, or steps that are both mapped and split off.
        DataError: `file:line: key: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Trace".
    """
    for field in fields:
        if field not in _FIELDS:
            raise unknown_name("field of a trace", field, _FIELDS)
    if split is not None and "steps" in fields:
        raise SpecError(f"steps are mapped to '{fields['steps']}' and split off the answer; give one of the two")
    if split is not None and split not in _SPLITS:
        raise unknown_name("way to split an answer", split, _SPLITS)
    convert = _Conversion(dict(fields), split, source)
    lines = replace(record_source(path, name, on_progress), renamed=_renamed(fields, split))
    if lenient:
        return sift_leniently(lines, convert=convert)
    mapped = replace(lines, chunks=lambda: map(convert, lines.chunks()))
    return LenientRead(read_source(mapped), [])


def _renamed(fields: Mapping[str, str], split: str | None) -> dict[str, str]:
    renamed = {field: key for field, key in fields.items() if field != key}
    return renamed if split is None else {"steps": fields.get("final_answer", "final_answer")} | renamed


class _Conversion:
    """Makes the lines of traces from those of a file."""

    def __init__(self, fields: dict[str, str], split: str | None, source: str | None) -> None:
        self._fields = {field: field for field in _FIELDS} | fields
        self._mapped = frozenset(fields)
        self._split = split
        self._source = source

    def __call__(self, chunk: Chunk) -> Chunk:
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
            raise DataError(explain(line, error, Trace)) from None
        if not isinstance(record, dict):
            return line
        if reason := line_flaw(line):
            raise DataError(reason)
        return encode(self._trace(record))

    def _trace(self, record: dict[str, Any]) -> dict[str, Any]:
        found = {field: value_at(record, key) for field, key in self._fields.items()}
        for field in self._mapped:
            if found[field] is msgspec.UNSET and field in ("prompt", "final_answer", "steps"):
                raise DataError(f"{self._fields[field]}: is missing; it is mapped to {field}")
        # A key of our own name is another thing where the field is mapped to another key.
        taken = {field: value for field, value in found.items() if value is not msgspec.UNSET}
        for field in taken:
            remove_at(record, self._fields[field])
        trace = {"trace_version": "1.0"} | {f: v for f, v in taken.items() if v is not None or f in self._mapped}
        if isinstance(record.get("trace_version"), str):
            trace["trace_version"] = record.pop("trace_version")
        for field in ("prompt", "final_answer"):
            if field in trace:
                trace[field] = _text(trace[field])
        self._put_steps(trace)
        self._put_meta(trace, record)
        return trace

    def _put_steps(self, trace: dict[str, Any]) -> None:
        key = self._fields["final_answer"]
        if self._split is not None and isinstance(trace.get("final_answer"), str):
            try:
                reasoning, trace["final_answer"] = _SPLITS[self._split](trace["final_answer"])
            except DataError as error:
                raise DataError(f"{key}: {error}") from None
            trace["steps"] = reasoning
            if not reasoning.strip():
                raise DataError(f"{key}: no reasoning stands before the answer; a trace needs a step")
        if trace.get("steps") is None:
            raise DataError("has no steps; name their key (--map steps=KEY) or how the answer ends (--split hashes)")
        trace["steps"] = _steps(trace["steps"])

    def _put_meta(self, trace: dict[str, Any], rest: dict[str, Any]) -> None:
        meta = trace.get("meta")
        if meta is not None and not isinstance(meta, dict):
            return
        meta = meta or {}
        _add(meta, rest)
        if self._source is not None:
            if meta.get("source") not in (None, self._source):
                _add(meta, {"original_source": meta["source"]})
            meta["source"] = self._source
        trace["meta"] = meta or None


def _add(meta: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if not same_json(meta.setdefault(key, value), value):
            raise DataError(f"{one_line(key)}: is kept below meta, which has it with another value; rename one of them")


def _text(value: Any) -> Any:
    """Return a number as the text that JSON has for it, and anything else as it is."""
    return encode(value).decode() if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _steps(value: Any) -> Any:
    if isinstance(value, str):
        value = [line.strip() for line in value.splitlines() if line.strip()]
    if not isinstance(value, list):
        return value
    return [_step(k, entry) for k, entry in enumerate(value)]


def _step(k: int, entry: Any) -> Any:
    if isinstance(entry, str):
        return {"i": k, "type": STEP_TYPE, "content": entry}
    return {"i": k, "type": STEP_TYPE} | entry if isinstance(entry, dict) else entry


def _at_answer(name: str, missing: str) -> Callable[[str], tuple[str, str]]:
    """Return what splits a text where the answer rule of that name finds the answer, and without its thinking's marks.

    Of a box, the whole text is the reasoning.
    """
    rule = ANSWER_RULES[name]

    def split(text: str) -> tuple[str, str]:
        thinking = _ended_thinking(text, rule)
        found = find_answer(blanked(text, thinking.spans), rule)
        if found is None or found.end is None:
            raise DataError(missing)
        reasoning = text if rule.kind == "boxed" else text[: found.mark]
        return unmarked(reasoning, rule.thinking), answer_at(text, found, thinking.spans)

    return split


def _at_last_number(text: str) -> tuple[str, str]:
    rule = ANSWER_RULES["last_number"]
    last = last_number(blanked(text, _ended_thinking(text, rule).spans))
    if last is None:
        raise DataError("holds no number; expected the answer to be the last one")
    return unmarked(text, rule.thinking), last.text


def _ended_thinking(text: str, rule: AnswerRule) -> Thinking:
    thinking = find_thinking(text, rule.thinking)
    if thinking.open:
        raise DataError(f"ends inside its thinking, before {thinking.close}; expected an answer behind it")
    return thinking


_SPLITS: Mapping[str, Callable[[str], tuple[str, str]]] = {
    "hashes": _at_answer("hashes", "no line begins with ####; expected the reasoning, then #### and the answer"),
    "answer": _at_answer("answer", "no line begins with Answer:; expected the reasoning, then Answer: and the answer"),
    "tags": _at_answer(
        "tags", "has no <answer>...</answer>; expected the reasoning, then the answer between these tags"
    ),
    "boxed": _at_answer("boxed", "has no \\boxed{...}; expected the answer in one"),
    "last_number": _at_last_number,
}
SPLIT_RULES = tuple(_SPLITS)
"""How a text may hold the reasoning and then the answer: names as in a run file's `answer`."""
