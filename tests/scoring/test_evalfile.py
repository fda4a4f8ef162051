"""eval files: written, read back, and refused when damaged."""

import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import ArtifactError
from tunix_eval.records import AnswerRule, Completion, EvalItem, Score, ScoredItem, Turn
from tunix_eval.scoring import complete, eval_text, read_eval

text = st.text(max_size=20)
some_text = st.text(min_size=1, max_size=20)
maybe = st.none() | text
score = st.builds(Score, st.none() | st.floats(allow_nan=False, allow_infinity=False), text)


@st.composite
def scored_items(draw):
    item_id = draw(some_text)
    return ScoredItem(
        item=EvalItem(
            id=item_id,
            prompt=draw(some_text),
            expected_answer=draw(some_text),
            aliases=tuple(draw(st.lists(text, max_size=2))),
            category=draw(maybe),
            difficulty=draw(maybe),
            section=draw(maybe),
            cluster=draw(maybe),
            system=draw(st.none() | some_text),
            messages=tuple(
                draw(st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), some_text), max_size=2))
            ),
        ),
        completion=Completion(
            item_id=item_id,
            text=draw(text),
            answer=draw(maybe),
            status=draw(st.sampled_from(["ok", "none", "several", "truncated", "unclosed"])),
            stop_reason=draw(st.sampled_from(["stop", "length"])),
            tokens=draw(st.none() | st.integers(0, 10_000)),
            repeat=draw(st.integers(0, 3)),
            answer_logprobs=draw(st.none() | st.lists(st.floats(max_value=0, allow_nan=False), max_size=3).map(tuple)),
        ),
        scores=draw(st.dictionaries(text, score, max_size=3)),
    )


def pair(one):
    return one.completion.item_id, one.completion.repeat


@settings(deadline=None)
@given(st.lists(scored_items(), min_size=1, max_size=4, unique_by=pair))
def test_what_is_written_reads_back_and_writes_the_same_bytes(tmp_path_factory, items):
    path = tmp_path_factory.mktemp("eval") / "eval_after.e.jsonl"
    path.write_text(eval_text(items), encoding="utf-8", newline="")
    assert read_eval(path) == items
    assert eval_text(read_eval(path)) == eval_text(items)


def one_item(item_id="17"):
    return ScoredItem(
        item=EvalItem(id=item_id, prompt="1+1=", expected_answer="2", category="add", aliases=("two",)),
        completion=complete(item_id, "A 2\u2028", rule=AnswerRule("A "), stop_reason="stop", tokens=3),
        scores={"exact": Score(1.0), "judge": Score(None, "KeyError: 'x'")},
    )


def test_a_line_has_the_fields_of_the_format():
    assert json.loads(eval_text([one_item()])) == {
        "example_id": "17",
        "prompt": "1+1=",
        "generated_response": "A 2\u2028",
        "extracted_answer": "2",
        "extraction_status": "ok",
        "expected_response": "2",
        "scores": {"exact": 1.0, "judge": None},
        "category": "add",
        "difficulty": None,
        "section": None,
        "metadata": {"tokens": 3, "stop_reason": "stop", "aliases": ["two"], "notes": {"judge": "KeyError: 'x'"}},
    }


def test_a_repeat_and_log_probabilities_stand_under_metadata_where_there_are_any():
    one = one_item()
    completion = msgspec.structs.replace(one.completion, repeat=2, tokens=None, answer_logprobs=(-0.5, -math.inf))
    line = json.loads(eval_text([msgspec.structs.replace(one, completion=completion)]))
    assert line["metadata"] == {
        "tokens": None,
        "stop_reason": "stop",
        "repeat": 2,
        "aliases": ["two"],
        "notes": {"judge": "KeyError: 'x'"},
        "answer_logprobs": [-0.5, None],
    }


def test_repeats_of_an_item_are_lines_of_their_own_and_the_same_one_twice_is_refused(tmp_path):
    one = one_item()
    repeats = [
        msgspec.structs.replace(one, completion=msgspec.structs.replace(one.completion, repeat=k)) for k in (0, 1)
    ]
    path = tmp_path / "eval_after.e.jsonl"
    path.write_text(eval_text(repeats))
    assert read_eval(path) == repeats
    path.write_text(eval_text([*repeats, repeats[1]]))
    with pytest.raises(ArtifactError, match="jsonl:3: item '17', repeat 1, stands twice; evaluate the run again"):
        read_eval(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": holds no items"),
        (eval_text([one_item()])[:40], ":1: Input data was truncated"),
        (eval_text([one_item("a"), one_item("b")])[:-30], ":2: Input data was truncated"),
        (eval_text([one_item()]) + "\n", ":2: Input data was truncated"),
        (eval_text([one_item()]) * 2, ":2: item '17' stands twice"),
        (
            eval_text([one_item()]).replace('"ok"', '"fine"'),
            r":1: Invalid enum value 'fine' - at `\$\.extraction_status`",
        ),
        (eval_text([one_item()]).replace('"1+1="', '""'), ":1: "),
        (eval_text([one_item()]).replace('"prompt"', '"prompts"'), ":1: Object contains unknown field `prompts`"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "eval_after.e.jsonl"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=f"eval_after.e.jsonl{said}.*; evaluate the run again"):
        read_eval(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"eval_after\.e\.jsonl: cannot be read: No such file"):
        read_eval(tmp_path / "eval_after.e.jsonl")


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "eval_after.e.jsonl"
    path.write_bytes(eval_text([one_item()]).encode().replace(b"1+1=", b"\xff\xfe"))
    with pytest.raises(ArtifactError, match="jsonl:1: "):
        read_eval(path)
