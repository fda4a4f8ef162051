"""Completions of a recorded run, back as traces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tunix_eval.answers import find_answer
from tunix_eval.data.reading.traces import checked_traces
from tunix_eval.errors import DataError, unknown_name
from tunix_eval.records import AnswerRule, EvalItem, Step, Trace
from tunix_eval.thinking import blanked, find_thinking, unmarked

_NUMBER = re.compile(r"(\d+)\. ")


def traces_of_run(
    lines: Iterable[Mapping[str, Any]],
    items: Iterable[EvalItem],
    *,
    run_id: str,
    evalset: str,
    scorer: str,
    answer: AnswerRule,
    only: Literal["all", "correct"] = "correct",
) -> tuple[list[Trace], list[tuple[str, str]]]:
    """Make a trace of each completion that has an answer.

    A trace has the item's prompt, the extracted answer, and as its steps what the model wrote before the answer, a
    step a line; the marks that our styles write around steps (`Reasoning:` with numbers, `<think>`) are not theirs.
    A completion that is the answer alone is its only step. meta has source (the run's id), evalset, example_id,
    scorer, score, and the item's category, difficulty and section.

    Args:
        lines: of eval_after.<evalset>.jsonl, decoded.
        items: of the evalset.
        run_id: of the run.
        evalset: its name.
        scorer: whose value goes into meta and decides what is correct: 1.0.
        answer: where the answer stands in a completion, as the evaluation's manifest says.
        only: `correct`, or `all`, wrong ones and those without a score among them.

    Returns:
        The traces, in the order of the lines, and (example id, reason) for each completion that is none.

    Raises:
        DataError: an item that the evalset lacks, a completion that no trace can hold.
        SpecError: the run has no such scorer.

    Source: docs/formats.md, "Run directory".
    """
    if only not in {"all", "correct"}:
        raise DataError(f"completions '{only}': expected all or correct")
    by_id = {str(item.id): item for item in items}
    traces, left_out = [], []
    for line in lines:
        id_ = line["example_id"]
        if id_ not in by_id:
            raise DataError(
                f"run {run_id}: item '{id_}' is not in evalset '{evalset}'; name the evalset that it was evaluated on"
            )
        if scorer not in line["scores"]:
            raise unknown_name("scorer", scorer, line["scores"])
        score = line["scores"][scorer]
        if reason := _why_not(line, score, scorer, only):
            left_out.append((id_, reason))
            continue
        origin = {"source": run_id, "evalset": evalset, "example_id": id_, "scorer": scorer, "score": score}
        traces.append(_trace(line, by_id[id_], origin, answer))
    return checked_traces(traces, f"run {run_id}, {evalset}") if traces else [], left_out


def _why_not(line: Mapping[str, Any], score: float | None, scorer: str, only: str) -> str | None:
    if only == "correct" and score != 1.0:
        return f"{scorer} has no score" if score is None else f"{scorer} is {score:g}"
    if not (line["extracted_answer"] or "").strip():
        return f"no answer ({line['extraction_status']})"
    return None


def _trace(line: Mapping[str, Any], item: EvalItem, origin: dict[str, Any], answer: AnswerRule) -> Trace:
    text = line["generated_response"]
    before = _before(text, line["extracted_answer"], answer)
    steps = _steps(unmarked(before, answer.thinking).strip("\n")) or [unmarked(text, answer.thinking).strip()]
    known = {name: getattr(item, name) for name in ("category", "difficulty", "section")}
    return Trace(
        trace_version="1.0",
        prompt=item.prompt,
        final_answer=line["extracted_answer"],
        steps=tuple(Step(i, "completion", step) for i, step in enumerate(steps)),
        meta={**origin, **{name: value for name, value in known.items() if value is not None}},
        system=item.system,
        messages=item.messages,
    )


def _before(text: str, found: str, answer: AnswerRule) -> str:
    """Return what stands before the answer: before its mark, or all but a last line that is nothing but the answer."""
    if answer.kind == "mark" and answer.open:
        place = find_answer(blanked(text, find_thinking(text, answer.thinking).spans), answer)
        return text[: place.mark if place else 0]
    head, _, last = text.rstrip().rpartition("\n")
    bare = last.strip().removeprefix("\\boxed{").removesuffix("}").strip()
    return head if bare == found.strip() else text


def _steps(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[0] == "Reasoning:":
        return _numbered(lines[1:])
    return [line for line in lines if line.strip()]


def _numbered(lines: Sequence[str]) -> list[str]:
    """Undo the style `numbered`: a line that does not begin with the next number goes on with the step before it."""
    steps: list[str] = []
    for line in lines:
        number = _NUMBER.match(line)
        if number and number[1] == str(len(steps) + 1):
            steps.append(line[number.end() :])
        elif steps:
            steps[-1] = f"{steps[-1]}\n{line}"
        elif line.strip():
            steps.append(line)
    return [step.rstrip("\n") for step in steps if step.strip()]
