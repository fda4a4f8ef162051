"""Traces from other people's files: which of their keys is which of our fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tunix_eval.answers import ANSWER_RULES, answer_at, find_answer
from tunix_eval.data.reading.conversations import CONVERSATION, Parts, parts_of
from tunix_eval.data.reading.conversion import Conversion
from tunix_eval.data.reading.explain import one_line
from tunix_eval.data.reading.history import given_away
from tunix_eval.data.reading.jsonl import same_json
from tunix_eval.data.reading.lenient import LenientRead, sift_leniently
from tunix_eval.data.reading.lines import Progress
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.data.reading.traces import read_source
from tunix_eval.data.reading.written import is_number, number_text
from tunix_eval.errors import DataError, SpecError, unknown_name
from tunix_eval.quantities import last_number
from tunix_eval.records import AnswerRule, Trace
from tunix_eval.thinking import Thinking, blanked, find_thinking, unmarked

STEP_TYPE = "reasoning"
"""Of steps that were text."""
_FIELDS = tuple(field for field in Trace.__struct_fields__ if field != "trace_version")
_REQUIRED = ("prompt", "final_answer", "steps")


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
        fields: field of a trace -> key of the file, with dots where it stands in an object of the line. Nothing is
            taken from a key that is not named, but for the id. All other keys are kept below meta, and counted.
            `conversation` is the key of a list of turns: its last question is the prompt, the turns before it are
            the messages, and the reply is the final answer, or where another key is mapped to that, the steps.
        split: how the text of `final_answer` holds the reasoning and then the answer, by the answer rule of that
            name: `hashes`, `answer` and `tags` cut it at the last mark outside of its thinking; under `boxed` and
            `last_number` all of it is the reasoning. The marks of thinking go.
        source: goes to meta.source; what the line has there moves to meta.original_source.
        lenient: give bad lines back instead of refusing the file.
        name: what errors call the file, by default its path.
        on_progress: called with the bytes of the file that are done, and all of them.

    Steps may be a text, of which each line that is not blank is one, as it stands (lines end with LF or CRLF); a list
    of texts; or a list of steps as ours, whose `i` and `type` may be missing.

    Raises:
        SpecError: a field that there is not, one that is not mapped and that a trace needs, or steps that are both
            mapped and split off.
        DataError: `file:line: key: reason` for the first 20 bad lines, and a count of the rest.

    Source: docs/formats.md, "Trace".
    """
    check_fields(fields, _FIELDS, _required(fields, split), "trace")
    if CONVERSATION in fields and {"steps", "final_answer"} <= fields.keys():
        raise SpecError("steps and final_answer are both mapped, so that the conversation's reply has no place")
    if split is not None and "steps" in fields:
        raise SpecError(f"steps are mapped to '{fields['steps']}' and split off the answer; give one of the two")
    check_split(split)
    convert = _Traces(fields, split, source)
    lines = replace(record_source(path, name, on_progress), renamed=renamed(fields, split))
    if lenient:
        read = sift_leniently(lines, convert=convert)
    else:
        read = LenientRead(read_source(replace(lines, chunks=lambda: map(convert, lines.chunks()))), [])
    return replace(read, moved=dict(convert.rest), blank_lines=convert.blank_lines, behind_answers=convert.behind)


def _required(fields: Mapping[str, str], split: str | None) -> tuple[str, ...]:
    if CONVERSATION in fields:
        return ()
    return _REQUIRED[: 3 if split is None else 2]


def check_fields(fields: Mapping[str, str], known: Sequence[str], required: Sequence[str], what: str) -> None:
    """Refuse a mapping that names another field, or lacks one that is needed.

    Raises:
        SpecError: naming the field.
    """
    for field in fields:
        if field not in (*known, CONVERSATION):
            raise unknown_name(f"field of {'an' if what == 'item' else 'a'} {what}", field, (*known, CONVERSATION))
    if CONVERSATION in fields and (twice := [one for one in ("prompt", "messages") if one in fields]):
        raise SpecError(
            f"{twice[0]} and conversation are both mapped; a conversation holds its prompt and what was before"
        )
    if missing := [field for field in required if field not in fields]:
        other = ", or say how the answer ends (--split hashes)" if "steps" in missing else ""
        raise SpecError(
            f"no key is mapped to {' and '.join(missing)}, and a field is taken only where it is mapped: "
            f"name the key of the file (--map {missing[0]}=KEY){other}; for a list of turns, --map conversation=KEY"
        )


def check_split(split: str | None) -> None:
    """Refuse a rule that there is not.

    Raises:
        SpecError: naming it.
    """
    if split is not None and split not in _SPLITS:
        raise unknown_name("way to split an answer", split, _SPLITS)


def renamed(fields: Mapping[str, str], split: str | None) -> dict[str, str]:
    """Return what the file calls the fields, for errors."""
    said = ("prompt", "system", "messages", "steps", "final_answer", "expected_answer")
    names = dict.fromkeys(said, fields[CONVERSATION]) if CONVERSATION in fields else {}
    names |= fields
    if split is not None:
        names["steps"] = names.get("final_answer", "final_answer")
    return {field: key for field, key in names.items() if field not in (key, CONVERSATION)}


class Split(NamedTuple):
    """A text that ends with the answer, taken apart."""

    reasoning: str
    answer: Any
    behind: str = ""
    """What stands behind the closing tag of the answer, which nothing takes."""


def split_off(text: Any, split: str | None, key: str) -> Split:
    """Return the reasoning and the answer of a text, by a rule; of what is no text, or without a rule, no reasoning.

    Raises:
        DataError: the text has no answer by this rule; `key` names it.
    """
    if split is None or not isinstance(text, str):
        return Split("", text)
    try:
        return _SPLITS[split](text)
    except DataError as error:
        raise DataError(f"{key}: {error}") from None


class _Traces(Conversion):
    """Makes traces."""

    def __init__(self, fields: Mapping[str, str], split: str | None, source: str | None) -> None:
        super().__init__(fields, frozenset((*_REQUIRED, CONVERSATION)), Trace)
        self._split = split
        self._source = source
        self.blank_lines = 0
        """Between the steps of a text, which are no steps."""
        self.behind = 0
        """Lines with text behind the answer, which nothing takes."""

    def begin(self) -> None:
        super().begin()
        self.blank_lines = self.behind = 0

    def made(self, taken: dict[str, Any], rest: dict[str, Any], line: bytes) -> dict[str, Any]:
        trace = {"trace_version": "1.0"} | taken
        parts = take_conversation(trace, rest, self.fields)
        if parts:
            self._take_reply(trace, parts)
        for field in ("prompt", "final_answer"):
            if is_number(trace[field]):
                trace[field] = number_text(line, self.fields[field])
        if self._split is not None and isinstance(trace["final_answer"], str):
            key = self.fields.get("final_answer") or self.fields[CONVERSATION]
            found = split_off(trace["final_answer"], self._split, key)
            trace["final_answer"] = found.answer
            trace["steps"] = f"{trace['steps']}\n{found.reasoning}" if trace.get("steps") else found.reasoning
            self.behind += bool(found.behind)
            if not trace["steps"].strip():
                raise DataError(f"{key}: no reasoning stands before the answer; a trace needs a step")
        if trace.get("steps") is None:
            raise DataError("has no steps; name their key (--map steps=KEY) or how the answer ends (--split hashes)")
        trace["steps"] = self._steps(trace["steps"])
        check_history(trace, "final_answer", self.fields)
        self._put_meta(trace, rest)
        return trace

    def _take_reply(self, trace: dict[str, Any], parts: Parts) -> None:
        """Put the reply where it belongs: it ends with the answer, or leads to the one that stands elsewhere."""
        key = self.fields[CONVERSATION]
        if parts.reply is None:
            raise DataError(f"{key}: the last turn is the user's; expected the assistant's reply to it")
        if "final_answer" in self.fields:
            trace["steps"] = "\n".join(text for text in (parts.reasoning, parts.reply) if text)
            return
        trace["final_answer"] = parts.reply
        if parts.reasoning:
            if "steps" in self.fields:
                raise DataError(
                    f"{key}: the reply has reasoning_content, and steps are mapped to {self.fields['steps']}"
                )
            trace["steps"] = parts.reasoning

    def _steps(self, value: Any) -> Any:
        if isinstance(value, str):
            # Not splitlines: a form feed, U+2028 and such are text.
            lines = [line.removesuffix("\r") for line in value.split("\n")]
            full = [k for k, line in enumerate(lines) if line and not line.isspace()]
            self.blank_lines += full[-1] - full[0] + 1 - len(full) if full else 0
            value = [lines[k] for k in full]
        if not isinstance(value, list):
            return value
        return [_step(k, entry) for k, entry in enumerate(value)]

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


def take_conversation(record: dict[str, Any], rest: dict[str, Any], fields: Mapping[str, str]) -> Parts | None:
    """Put what a conversation gives into a record, its answer apart, and what is left of its turns into the rest.

    Raises:
        DataError: naming the turn.
    """
    if CONVERSATION not in fields:
        return None
    key = fields[CONVERSATION]
    try:
        parts = parts_of(record.pop(CONVERSATION))
    except DataError as error:
        raise DataError(f"{key}: {error}") from None
    if parts.system is not None and record.get("system") is not None:
        raise DataError(
            f"{key}: turn 1 is the system's, and {fields['system']} is mapped to system; expected one of them"
        )
    record |= parts.fields()
    if parts.rest:
        rest[key] = list(parts.rest)
    return parts


def check_history(record: Mapping[str, Any], answer: str, fields: Mapping[str, str]) -> None:
    """Refuse a record whose earlier turns ask what the prompt asks, and answer it.

    Raises:
        DataError: naming the two turns.
    """
    messages = record.get("messages")
    turns = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    said = [(str(one.get("role")), str(one.get("content"))) for one in turns]
    if found := given_away(str(record.get("prompt")), str(record.get(answer)), said):
        key = fields.get("messages") or fields[CONVERSATION]
        raise DataError(
            f"{key}: turn {found[0] + 1} asks what the prompt asks and turn {found[1] + 1} holds the "
            "answer, which would stand in the prompt; leave these turns out"
        )


def _add(meta: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if not same_json(meta.setdefault(key, value), value):
            raise DataError(f"{one_line(key)}: is kept below meta, which has it with another value; rename one of them")


def _step(k: int, entry: Any) -> Any:
    if isinstance(entry, str):
        return {"i": k, "type": STEP_TYPE, "content": entry}
    return {"i": k, "type": STEP_TYPE} | entry if isinstance(entry, dict) else entry


def _at_answer(name: str, missing: str) -> Callable[[str], Split]:
    """Return what splits a text where the answer rule of that name finds the answer, and without its thinking's marks.

    Of a box, the whole text is the reasoning.
    """
    rule = ANSWER_RULES[name]

    def split(text: str) -> Split:
        thinking = _ended_thinking(text, rule)
        found = find_answer(blanked(text, thinking.spans), rule)
        if found is None or found.end is None:
            raise DataError(missing)
        reasoning = text if rule.kind == "boxed" else text[: found.mark]
        behind = text[found.end :].partition(">")[2].strip() if rule.close else ""
        return Split(unmarked(reasoning, rule.thinking), answer_at(text, found, thinking.spans), behind)

    return split


def _at_last_number(text: str) -> Split:
    rule = ANSWER_RULES["last_number"]
    last = last_number(blanked(text, _ended_thinking(text, rule).spans))
    if last is None:
        raise DataError("holds no number; expected the answer to be the last one")
    return Split(unmarked(text, rule.thinking), last.text)


def _ended_thinking(text: str, rule: AnswerRule) -> Thinking:
    thinking = find_thinking(text, rule.thinking)
    if thinking.open:
        raise DataError(f"ends inside its thinking, before {thinking.close}; expected an answer behind it")
    return thinking


_SPLITS: Mapping[str, Callable[[str], Split]] = {
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
