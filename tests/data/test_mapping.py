"""Other people's keys become traces, and what no key takes is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunix_eval.data import DataWarning, map_records, read_traces, write_traces
from tunix_eval.errors import DataError, SpecError
from tunix_eval.records import Step, Trace, Turn

FIELDS = {"prompt": "question", "final_answer": "answer"}
STEPS = {**FIELDS, "steps": "rationale"}
NUMBERS = [b"18", b"0.50", b"-0", b"1e3", b"12345678901234567890", b"0.1000000000000000055511151231257827"]
LINE: dict[str, Any] = {"question": "1+1=", "answer": "2", "rationale": "Add.\n\n  1+1=2\n"}


def write(folder: Path, *lines: dict[str, Any] | bytes) -> Path:
    path = folder / "other.jsonl"
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))
    return path


def mapped(folder: Path, *lines: dict[str, Any] | bytes, fields: dict[str, str] = STEPS, **options: Any) -> list[Trace]:
    return map_records(write(folder, *lines), fields=fields, **options).traces


def refusal(folder: Path, *lines: dict[str, Any] | bytes, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        mapped(folder, *lines, **options)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_text_gives_a_step_for_each_line_that_is_not_blank(tmp_path: Path) -> None:
    (trace,) = mapped(tmp_path, LINE)
    assert trace == Trace(
        trace_version="1.0",
        prompt="1+1=",
        final_answer="2",
        steps=(Step(0, "reasoning", "Add."), Step(1, "reasoning", "  1+1=2")),
        id=trace.id,
    )
    assert len(str(trace.id)) == 36


@pytest.mark.parametrize(
    ("rationale", "steps"),
    [
        (["a", "b\nc"], (Step(0, "reasoning", "a"), Step(1, "reasoning", "b\nc"))),
        ([{"content": "a"}, {"content": "b", "type": "t"}], (Step(0, "reasoning", "a"), Step(1, "t", "b"))),
        (
            [{"i": 5, "type": "t", "content": "b"}, {"i": 2, "content": "a"}],
            (Step(2, "reasoning", "a"), Step(5, "t", "b")),
        ),
    ],
)
def test_a_list_gives_a_step_for_each_entry(tmp_path: Path, rationale: list[Any], steps: tuple[Step, ...]) -> None:
    (trace,) = mapped(tmp_path, {**LINE, "rationale": rationale})
    assert trace.steps == steps


def test_dots_lead_into_objects_and_the_rest_of_them_is_kept_below_meta(tmp_path: Path) -> None:
    line = {"data": {"q": "1+1=", "level": 3, "deep": {"a": "2"}}, "x.y": "Add.", "url": "u"}
    fields = {"prompt": "data.q", "final_answer": "data.deep.a", "steps": "x.y"}
    (trace,) = mapped(tmp_path, line, fields=fields)
    assert (trace.prompt, trace.final_answer, trace.steps[0].content) == ("1+1=", "2", "Add.")
    assert trace.meta == {"data": {"level": 3}, "url": "u"}


def test_unmapped_columns_are_kept_below_meta(tmp_path: Path) -> None:
    """Also those that are called as a field is: only the id, which names a line, is taken by its name."""
    line = {**LINE, "id": 7, "meta": {"a": 1}, "system": "s", "messages": [{"role": "user", "content": "u"}], "b": 2}
    found = map_records(write(tmp_path, {**line, "trace_version": "1.5"}, LINE), fields=STEPS)
    (trace, _) = found.traces
    kept = {"meta": {"a": 1}, "system": "s", "messages": line["messages"], "b": 2, "trace_version": "1.5"}
    assert (trace.id, trace.meta, trace.system, trace.messages, trace.trace_version) == ("7", kept, None, (), "1.0")
    assert found.moved == dict.fromkeys(kept, 1)
    taken = {field: field for field in ("meta", "system", "messages")}
    (trace,) = mapped(tmp_path, line, fields=STEPS | taken)
    assert (trace.meta, trace.system, trace.messages) == ({"a": 1, "b": 2}, "s", (Turn("user", "u"),))


def test_a_conversation_that_holds_the_solution_is_refused(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": " 1+1= "}, {"role": "assistant", "content": "One more is 2."}]
    fields = {**STEPS, "messages": "chat"}
    said = "other.jsonl:1: chat: turn 1 asks what the prompt asks and turn 2 holds the answer, which would stand in"
    assert refusal(tmp_path, {**LINE, "chat": turns}, fields=fields).startswith(said)
    turns[1]["content"] = "I do not know: 12, 2.5 or x2?"
    with pytest.warns(DataWarning, match=r"other.jsonl: line 1 \('a'\): an earlier turn asks what the prompt asks"):
        mapped(tmp_path, {**LINE, "chat": turns, "id": "a"}, fields=fields)
    with pytest.warns(DataWarning, match=r"other.jsonl: line 1, line 2, line 3 and 1 more: an earlier reply holds the"):
        mapped(
            tmp_path, *[{**LINE, "chat": [turns[0] | {"content": "?"}, turns[1] | {"content": "2"}]}] * 4, fields=fields
        )


def test_a_key_named_like_a_field_that_is_mapped_elsewhere_is_kept(tmp_path: Path) -> None:
    (trace,) = mapped(tmp_path, {**LINE, "prompt": "another", "id": "a"}, fields={**STEPS, "id": "key"})
    assert trace.meta == {"prompt": "another", "id": "a"}
    assert trace.prompt == "1+1="


def test_one_key_may_give_two_fields(tmp_path: Path) -> None:
    (trace,) = mapped(tmp_path, LINE, fields={**FIELDS, "steps": "answer"})
    assert (trace.final_answer, trace.steps[0].content, trace.meta) == ("2", "2", {"rationale": LINE["rationale"]})


def test_numbers_become_text_and_nulls_of_optional_fields_are_absent(tmp_path: Path) -> None:
    lines = [json.dumps({**LINE, "answer": "@", "key": None}).encode().replace(b'"@"', one) for one in NUMBERS]
    assert [trace.final_answer for trace in mapped(tmp_path, *lines)] == [one.decode() for one in NUMBERS]


def test_lines_end_with_lf_and_nothing_is_stripped(tmp_path: Path) -> None:
    text = "def f(x):\r\n    if x:\n\n\t\treturn 1 \n \u2028 \none\u2028two\x85three\x0cfour\x1cfive\n\n"
    found = map_records(write(tmp_path, {**LINE, "rationale": text}), fields=STEPS)
    kept = ["def f(x):", "    if x:", "\t\treturn 1 ", "one\u2028two\x85three\x0cfour\x1cfive"]
    assert [step.content for step in found.traces[0].steps] == kept
    assert found.blank_lines == 2


def test_the_source_is_recorded_and_what_stood_there_is_kept(tmp_path: Path) -> None:
    traces = mapped(tmp_path, LINE, {**LINE, "source": "web"}, {**LINE, "source": "ours"}, source="ours")
    assert [trace.meta for trace in traces] == [
        {"source": "ours"},
        {"source": "ours", "original_source": "web"},
        {"source": "ours"},
    ]


def test_a_source_is_never_lost_to_one_that_stood_there_before(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="original_source: is kept below meta, which has it with another value"):
        mapped(tmp_path, {**LINE, "source": "web", "original_source": "book"}, source="ours")


def test_two_values_for_one_key_of_meta_are_an_error_that_names_the_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1: b: is kept below meta"):
        mapped(tmp_path, {**LINE, "b": 1, "a": 1, "meta": {"a": 2, "b": True}}, fields={**STEPS, "meta": "meta"})


SPLITS = [
    ("hashes", "Add.\n1+1=2\n#### 2", ["Add.", "1+1=2"], "2"),
    ("hashes", "#### 1\nNo.\n####70,000\n", ["#### 1", "No."], "70,000"),
    ("answer", "Add.\nAnswer: 2", ["Add."], "2"),
    ("tags", "<think>\nAdd.\n</think>\n<answer> 2 </answer>", ["Add."], "2"),
    (
        "boxed",
        r"So it is $\boxed{1}$, or \boxed{\frac{1}{2}}.",
        [r"So it is $\boxed{1}$, or \boxed{\frac{1}{2}}."],
        r"\frac{1}{2}",
    ),
    ("last_number", "1 and 1 is 2.5, at most.", ["1 and 1 is 2.5, at most."], "2.5"),
    ("last_number", "It costs 1,200 dollars.", ["It costs 1,200 dollars."], "1,200 dollars"),
    ("last_number", "The odds are 5/8.", ["The odds are 5/8."], "5/8"),
    ("last_number", r"It is \frac{5}{8}.", [r"It is \frac{5}{8}."], r"\frac{5}{8}"),
    ("last_number", "It takes 2 3/4 cups.", ["It takes 2 3/4 cups."], "2 3/4"),
    ("last_number", "From 1999-2004.", ["From 1999-2004."], "2004"),
    ("last_number", "A share of 12%.", ["A share of 12%."], "12%"),
    ("last_number", "It has 2.5e4 cells.", ["It has 2.5e4 cells."], "2.5e4"),
    ("last_number", "That is $3{,}600.", ["That is $3{,}600."], "3{,}600"),
    ("last_number", "It falls to −7.", ["It falls to −7."], "−7"),
    ("last_number", "It rose by 18 million.", ["It rose by 18 million."], "18 million"),
]


@pytest.mark.parametrize(("split", "text", "steps", "answer"), SPLITS)
def test_reasoning_and_answer_in_one_text_are_split(
    tmp_path: Path, split: str, text: str, steps: list[str], answer: str
) -> None:
    (trace,) = mapped(tmp_path, {"question": "q", "answer": text}, fields=FIELDS, split=split)
    assert ([step.content for step in trace.steps], trace.final_answer) == (steps, answer)


@pytest.mark.parametrize(
    ("split", "text", "said"),
    [
        (
            "hashes",
            "1+1=2 #### 2",
            "answer: no line begins with ####; expected the reasoning, then #### and the answer",
        ),
        ("hashes", "#### 2", "answer: no reasoning stands before the answer; a trace needs a step"),
        ("hashes", "Add.\n####", "answer (as final_answer): is empty"),
        ("answer", "2", "answer: no line begins with Answer:; expected"),
        ("tags", "<answer>2", "answer: has no <answer>...</answer>; expected"),
        ("boxed", r"\boxed{2", r"answer: has no \boxed{...}; expected the answer in one"),
        ("last_number", "two", "answer: holds no number; expected the answer to be the last one"),
        ("hashes", "x" * 1_000_001 + "\n#### 2", "answer (as steps[0].content): has 1000001 characters, limit 1000000"),
    ],
)
def test_a_text_that_cannot_be_split_is_named(tmp_path: Path, split: str, text: str, said: str) -> None:
    found = refusal(tmp_path, {"question": "q", "answer": text}, fields=FIELDS, split=split)
    assert found.startswith(f"other.jsonl:1: {said}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"answer": "2", "rationale": "r"}, "question: is missing; it is mapped to prompt"),
        ({**LINE, "question": ""}, "question (as prompt): is empty"),
        ({**LINE, "question": None}, "question (as prompt): expected str, got null"),
        ({**LINE, "answer": ["2", "3"]}, "answer (as final_answer): expected str, got array"),
        ({**LINE, "answer": True}, "answer (as final_answer): expected str, got bool"),
        ({**LINE, "rationale": ["a", " "]}, "rationale (as steps[1].content): holds only white space"),
        ({**LINE, "rationale": [{"content": "a", "x": 1}]}, "rationale (as steps[0].x): unknown key; known: i, type"),
        ({**LINE, "rationale": 5}, "rationale (as steps): expected array, got int"),
        ({**LINE, "rationale": "\n"}, "rationale (as steps): expected array of length >= 1"),
        ({**LINE, "rationale": None}, "has no steps; name their key (--map steps=KEY) or how the answer ends (--split"),
        ({**LINE, "a": 1, "meta": {"a": 2}}, "a: is kept below meta, which has it with another value; rename one of"),
        ({**LINE, "meta": 5}, "meta: expected object | null, got int"),
        (
            b'{"question": "q", "answer": "2", "rationale": "r", "k": {"a": 1, "a": 2}}',
            "a: occurs more than once in one",
        ),
        (
            b'{"question": "q", "answer": "2", "rationale": "r", "k": NaN}',
            "is not JSON: NaN is no JSON number; use null",
        ),
        (b'{"question": "q"', "is not JSON at column 17"),
        (b"[1]", "expected object, got array"),
    ],
)
def test_a_bad_line_is_named_by_the_key_of_the_file(tmp_path: Path, line: dict[str, Any] | bytes, said: str) -> None:
    found = refusal(tmp_path, {**LINE, "id": "sound"}, line, fields={**STEPS, "meta": "meta"})
    assert found.startswith(f"other.jsonl:2: {said}")
    assert "\n" not in found


def test_lenient_mapping_gives_the_original_lines_that_were_rejected(tmp_path: Path) -> None:
    bad: list[dict[str, Any] | bytes] = [{**LINE, "question": ""}, b"oops", {**LINE, "id": "a"}]
    found = map_records(write(tmp_path, {**LINE, "id": "a"}, *bad), fields=STEPS, lenient=True)
    assert [trace.id for trace in found.traces] == ["a"]
    assert [(each.line, each.reason.partition(";")[0]) for each in found.rejected] == [
        (2, "question (as prompt): is empty"),
        (3, "is not JSON at column 1: Expecting value"),
        (4, "id: 'a' is already used by line 1"),
    ]
    texts = [each.text for each in found.rejected]
    assert texts == [json.dumps(bad[0]), "oops", json.dumps(bad[2])]


def test_parquet_with_other_keys_is_read_too(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist([LINE, {**LINE, "question": ""}]), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other.parquet: row 2: question \(as prompt\): is empty"):
        map_records(tmp_path / "other.parquet", fields=STEPS)
    found = map_records(tmp_path / "other.parquet", fields=STEPS, lenient=True)
    assert [trace.prompt for trace in found.traces] == ["1+1="]


def test_mapped_traces_are_the_same_when_written_and_read(tmp_path: Path) -> None:
    traces = mapped(tmp_path, LINE, {**LINE, "level": [1, {"a": None}]}, LINE)
    write_traces(traces, tmp_path / "traces.jsonl")
    assert read_traces(tmp_path / "traces.jsonl") == traces
    assert len({trace.id for trace in traces}) == 3


@pytest.mark.parametrize(
    ("fields", "split", "said"),
    [
        ({"promt": "question"}, None, "no field of a trace named 'promt'; known: .*Did you mean 'prompt'"),
        (STEPS, "hashes", "steps are mapped to 'rationale' and split off the answer; give one of the two"),
        (
            FIELDS,
            None,
            "no key is mapped to steps, and a field is taken only where it is mapped: name the key of the f",
        ),
        (
            {"prompt": "q"},
            "hashes",
            r"no key is mapped to final_answer, .*: name the key of the file",
        ),
        (FIELDS, "text", "no way to split an answer named 'text'; known: answer, boxed, hashes, last_number, tags"),
    ],
)
def test_a_wrong_order_is_refused_before_the_file_is_opened(fields: dict[str, str], split: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        map_records(Path("nowhere.jsonl"), fields=fields, split=split)


TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "2+2=4\nAnswer: 4"}]
TALK = {"conversation": "messages"}
SHAREGPT = [
    {"from": "system", "value": "Be short."},
    {"from": "human", "value": "2+2?"},
    {"from": "gpt", "value": "4", "weight": 0},
    {"from": "human", "value": "And 3+3?"},
    {"from": "gpt", "value": "3+3=6\nAnswer: 6", "weight": 1},
]


def test_a_conversation_ends_with_prompt_and_reply(tmp_path: Path) -> None:
    (trace,) = mapped(tmp_path, {"messages": SHAREGPT}, fields=TALK, split="answer")
    assert (trace.system, trace.prompt, trace.final_answer) == ("Be short.", "And 3+3?", "6")
    assert trace.steps == (Step(0, "reasoning", "3+3=6"),)
    assert trace.messages == (Turn("user", "2+2?"), Turn("assistant", "4"))
    assert trace.meta == {"messages": [{}, {}, {"weight": 0}, {}, {"weight": 1}]}


@pytest.mark.parametrize(
    ("turns", "more", "fields", "split"),
    [
        (TURNS, {}, TALK, "answer"),
        ([TURNS[0], {"role": "model", "content": "2+2=4"}], {"answer": 4}, {**TALK, "final_answer": "answer"}, None),
        ([TURNS[0], {"role": "assistant", "reasoning_content": "2+2=4", "content": "4"}], {}, TALK, None),
        ([TURNS[0], {"role": "assistant", "reasoning_content": "2+2=4", "content": "Answer: 4"}], {}, TALK, "answer"),
        ([{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}, TURNS[1]], {}, TALK, "answer"),
        ([TURNS[0], {**TURNS[1], "tool_calls": None, "name": None}], {}, TALK, "answer"),
    ],
)
def test_a_reply_holds_steps_and_answer(
    tmp_path: Path, turns: list[Any], more: dict[str, Any], fields: dict[str, str], split: str | None
) -> None:
    (trace,) = mapped(tmp_path, {"messages": turns} | more, fields=fields, split=split)
    assert (trace.prompt, trace.final_answer, trace.meta) == ("2+2?", "4", None)
    assert [step.content for step in trace.steps] == ["2+2=4"]


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ("a text", "expected a list of turns"),
        ([], "expected a list of turns"),
        (["a"], "turn 1 is no object"),
        ([{"content": "a"}], "turn 1 has neither role nor from; its keys: content"),
        ([TURNS[0], CALL, {"role": "tool", "content": "4"}, TURNS[1]], "turn 2 calls tools (tool_calls)"),
        ([TURNS[0], {"role": "tool", "content": "4"}, TURNS[1]], "turn 2: role is tool, which has no place in a trace"),
        ([TURNS[0], {"role": 5, "content": "4"}], "turn 2: role is no text"),
        ([TURNS[0], {"role": "assistant", "content": None}], "turn 2: content is null or absent"),
        ([{"from": "human", "content": "2+2?"}, TURNS[1]], "turn 1: value is null or absent"),
        ([IMAGE, TURNS[1]], "turn 1: content is no text"),
        ([TURNS[0], {**TURNS[1], "reasoning_content": 5}], "turn 2: reasoning_content is no text"),
        ([*TURNS, {"role": "system", "content": "Be short."}, *TURNS], "turn 3 is the system's"),
        ([TURNS[0]], "the last turn is the user's"),
        ([TURNS[1]], "turn 1 is a reply, and no user's turn stands before it"),
        ([*TURNS, TURNS[1]], "turn 3 is a reply, and no user's turn stands before it"),
        ([{"role": "system", "content": "Be short."}], "holds no user's turn"),
        ([*TURNS, *TURNS], "turn 1 asks what the prompt asks and turn 2 holds the answer"),
    ],
)
def test_turns_without_a_place_are_named(tmp_path: Path, turns: Any, reason: str) -> None:
    found = refusal(tmp_path, {"messages": turns}, fields=TALK, split="answer")
    assert found.startswith(f"other.jsonl:1: messages: {reason}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("fields", "split", "reason"),
    [
        ({**TALK, "prompt": "question"}, "answer", "prompt and conversation are both mapped"),
        ({**TALK, "messages": "history"}, "answer", "messages and conversation are both mapped"),
        ({**TALK, "steps": "a", "final_answer": "b"}, None, "the conversation's reply has no place"),
    ],
)
def test_a_conversation_leaves_no_field_twice(
    tmp_path: Path, fields: dict[str, str], split: str | None, reason: str
) -> None:
    with pytest.raises(SpecError, match=reason):
        mapped(tmp_path, {"messages": TURNS}, fields=fields, split=split)


def test_a_system_text_has_one_source(tmp_path: Path) -> None:
    line = {"messages": [{"role": "system", "content": "Be short."}, *TURNS], "system": "Be long."}
    fields = {**TALK, "system": "system"}
    assert "turn 1 is the system's, and system is mapped to system" in refusal(
        tmp_path, line, fields=fields, split="answer"
    )
    (trace,) = mapped(tmp_path, {**line, "messages": TURNS}, fields=fields, split="answer")
    assert trace.system == "Be long."


def test_reasoning_beside_mapped_steps_is_named(tmp_path: Path) -> None:
    line = {"messages": [TURNS[0], {**TURNS[1], "reasoning_content": "x"}], "rationale": "a"}
    fields = {**TALK, "steps": "rationale"}
    assert "the reply has reasoning_content, and steps are mapped to rationale" in refusal(
        tmp_path, line, fields=fields
    )


def test_an_empty_turn_is_named_by_its_file_key(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": ""}, TURNS[1]]
    found = refusal(tmp_path, {"messages": turns}, fields=TALK, split="answer")
    assert found == "other.jsonl:1: messages (as prompt): is empty"


def test_a_trace_of_real_length_is_read(tmp_path: Path) -> None:
    lines = [f"{k}+1={k + 1}" for k in range(1400)]
    reply = f"<think>\n{' '.join(lines)}\n" + "\n".join(lines) + "\n</think>\n<answer>1400</answer>"
    (trace,) = mapped(
        tmp_path, {"q": "Count up.", "r": reply}, fields={"prompt": "q", "final_answer": "r"}, split="tags"
    )
    assert (len(trace.steps), trace.final_answer) == (1401, "1400")
