import json
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import DataWarning, contaminated, evalset_text, make_evalset, read_evalset
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, Step, Trace
from tunix_eval.testing import eval_items

GOOD = {"id": "a", "prompt": "1+1=", "expected_answer": "2"}


def write(folder, *lines, name="sums.jsonl"):
    path = folder / name
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_a_file_becomes_an_evalset_under_its_own_name(tmp_path):
    line = {**GOOD, "aliases": ["two"], "category": "sums", "difficulty": "easy", "section": "core", "cluster": "c"}
    evalset = read_evalset(write(tmp_path, line))
    assert evalset.name == "sums"
    assert evalset.items == (
        EvalItem(
            id="a",
            prompt="1+1=",
            expected_answer="2",
            aliases=("two",),
            category="sums",
            difficulty="easy",
            section="core",
            cluster="c",
        ),
    )
    assert read_evalset(write(tmp_path, line), "other").name == "other"


@settings(max_examples=50, deadline=None)
@given(st.lists(eval_items(), min_size=1, max_size=4, unique_by=lambda item: item.id))
def test_what_is_written_reads_back_the_same(tmp_path_factory, items):
    evalset = make_evalset("round", items)
    path = tmp_path_factory.mktemp("round") / "round.jsonl"
    path.write_text(evalset_text(evalset), encoding="utf-8", newline="\n")
    assert read_evalset(path) == evalset


def test_the_digest_depends_on_every_field_and_not_on_the_order(tmp_path):
    other = {**GOOD, "id": "b"}
    digest = read_evalset(write(tmp_path, GOOD, other)).sha256
    assert read_evalset(write(tmp_path, other, GOOD)).sha256 == digest
    assert read_evalset(write(tmp_path, other, GOOD), "name").sha256 == digest
    changed = [{**GOOD, "expected_answer": "3"}, {**GOOD, "aliases": ["x"]}, {**GOOD, "category": "c"}]
    assert len({digest, *(read_evalset(write(tmp_path, line, other)).sha256 for line in changed)}) == 4


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({**GOOD, "id": "a"}, "id: 'a' is already used by line 1; ids are unique"),
        ({**GOOD, "id": ""}, "id: is empty"),
        ({"prompt": "p", "expected_answer": "a"}, "id: is missing"),
        ({"id": 2, "prompt": "p"}, "expected_answer: is missing"),
        ({**GOOD, "id": 2, "prompt": "  "}, "prompt: holds only white space"),
        ({**GOOD, "id": 2, "expected_answer": ""}, "expected_answer: is empty"),
        ({**GOOD, "id": 2, "category": ""}, "category: is empty"),
        ({**GOOD, "id": 2, "aliases": ["x", " "]}, "aliases[1]: is empty; every empty reply would match it"),
        ({**GOOD, "id": 2, "messages": [{"role": "user", "content": " "}]}, "messages[0].content: holds only white"),
        (
            {**GOOD, "id": 2, "dificulty": "easy"},
            "dificulty: unknown key; known: id, prompt, expected_answer, aliases, category, difficulty, section, "
            "cluster, system, messages. Did you mean 'difficulty'?",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path, line, reason):
    path = write(tmp_path, GOOD, line)
    with pytest.raises(DataError) as caught:
        read_evalset(path)
    assert str(caught.value).startswith(f"{path}:2: {reason}")


def test_an_empty_evalset_is_an_error(tmp_path):
    path = write(tmp_path)
    with pytest.raises(DataError, match="holds no item"):
        read_evalset(path)
    with pytest.raises(DataError, match="evalset 'none': holds no item; zero items can never pass"):
        make_evalset("none", [])


def test_items_made_in_python_are_held_to_the_same_rules():
    sound = EvalItem(id="a", prompt="p", expected_answer="x")
    with pytest.raises(DataError, match=r"^evalset 'e', item 2: prompt: is empty$"):
        make_evalset("e", [sound, EvalItem(id="b", prompt="", expected_answer="x")])
    with pytest.raises(DataError, match=r"^evalset 'e', item 2: id: 'a' is already used by item 1; ids are unique$"):
        make_evalset("e", [sound, sound])
    assert make_evalset("e", [EvalItem(id=7, prompt="p", expected_answer="x")]).items[0].id == "7"


def test_unknown_sections_and_difficulties_are_read_with_a_warning(tmp_path):
    path = write(tmp_path, {**GOOD, "difficulty": "brutal"}, {**GOOD, "id": "b", "section": "side"})
    with pytest.warns(DataWarning) as caught:
        evalset = read_evalset(path)
    assert [str(warning.message) for warning in caught] == [
        f"{path}: line 1 ('a'): difficulty brutal: not among easy, medium, hard; read as it stands",
        f"{path}: line 2 ('b'): section side: not among core, trace_sensitive, edge_case; read as it stands",
    ]
    assert [item.difficulty for item in evalset.items] == ["brutal", None]


def test_known_sections_and_difficulties_give_no_warning(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        read_evalset(write(tmp_path, {**GOOD, "difficulty": "hard", "section": "edge_case"}))
    assert not caught


def test_contamination_goes_by_the_normalised_prompt_and_never_by_the_id():
    steps = (Step(0, "s", "1"),)
    traces = [Trace(trace_version="1", prompt=" What IS\n2+2? ", final_answer="4", steps=steps, id="b")]
    items = [
        EvalItem(id="a", prompt="what is 2+2?", expected_answer="4"),
        EvalItem(id="b", prompt="what is 2+3?", expected_answer="5"),
    ]
    assert contaminated(traces, items) == ["a"]
    assert contaminated([], items) == []


def test_expected_answers_that_are_numbers_are_read_as_written(tmp_path):
    numbers = ["42", "-0.50", "1e3", "123456789012345678901234567890", "0.1000000000000000055511151231257827"]
    lines = [
        f'{{"id": {k}, "prompt": "p", "expected_answer": {one}, "aliases": [{one}, "x"]}}'
        for k, one in enumerate(numbers)
    ]
    path = tmp_path / "n.jsonl"
    path.write_text("\n".join(lines))
    evalset = read_evalset(path)
    assert [(item.expected_answer, item.aliases) for item in evalset.items] == [(one, (one, "x")) for one in numbers]
    for odd, said in (
        ("true", "expected_answer: expected str, got bool"),
        ("null", "expected_answer: expected str, got null"),
        ("[1]", "expected_answer: expected str, got array"),
        ('1, "expected_answer": 2', "expected_answer: occurs more than once in one object"),
        ("7" * 400, "expected_answer: has 400 digits, limit 308; write it as a text"),
    ):
        path.write_text(f'{{"id": 1, "prompt": "p", "expected_answer": {odd}}}')
        with pytest.raises(DataError) as caught:
            read_evalset(path)
        assert str(caught.value) == f"{path}:1: {said}"


def test_history_with_the_answer_is_read_with_a_warning(tmp_path):
    turns = [
        {"role": "user", "content": GOOD["prompt"]},
        {"role": "assistant", "content": f"It is {GOOD['expected_answer']}."},
    ]
    path = write(tmp_path, {**GOOD, "messages": turns})
    with pytest.warns(DataWarning, match=r"line 1 \('a'\): an earlier turn asks what the prompt asks, and one holds"):
        (item,) = read_evalset(path).items
    assert [turn.role for turn in item.messages] == ["user", "assistant"]
