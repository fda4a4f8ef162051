"""Predictions files of other programs: read, matched to an evalset, and refused by line."""

import gzip
import hashlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import Prediction, make_evalset, match_predictions, read_predictions
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem
from tunix_eval.scoring import ANSWER_RULES, BUILTIN_SCORERS, complete, eval_text, score_items


def write(tmp_path, *lines, name="predictions.jsonl"):
    path = tmp_path / name
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def evalset(*ids):
    return make_evalset("held", [EvalItem(id=one, prompt="p", expected_answer="a") for one in ids])


def refusal(tmp_path, *lines):
    with pytest.raises(DataError) as caught:
        read_predictions(write(tmp_path, *lines))
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("id_key", ["id", "trace_id", "example_id"])
@pytest.mark.parametrize(
    "text_key", ["prediction", "predicted_answer", "generated_answer", "generated_response", "final_answer"]
)
def test_every_known_key_is_read(tmp_path, id_key, text_key):
    found = read_predictions(write(tmp_path, {id_key: "a", text_key: "7"}, {id_key: 17, text_key: ""}))
    assert found.rows == (Prediction("a", "7", "stop"), Prediction("17", "", "stop"))
    assert (found.id_key, found.text_key) == (id_key, text_key)


def test_an_id_may_stand_under_meta(tmp_path):
    found = read_predictions(write(tmp_path, {"meta": {"eval_id": 3}, "prediction": "7"}))
    assert (found.id_key, found.rows[0].item_id) == ("meta.eval_id", "3")


def test_the_first_key_that_any_line_has_is_taken_for_all_of_them(tmp_path):
    lines = [
        {"meta": {"eval_id": "x"}, "trace_id": "a", "generated_answer": "2", "final_answer": "1"},
        {"trace_id": "b", "final_answer": "3", "generated_answer": "4"},
    ]
    found = read_predictions(write(tmp_path, *lines))
    assert (found.id_key, found.text_key) == ("trace_id", "generated_answer")
    assert [(row.item_id, row.text) for row in found.rows] == [("a", "2"), ("b", "4")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"prediction": "7"}, {"prediction": None}], "2: prediction: is null, expected a string"),
        ([{"prediction": "7"}, {}], "2: prediction: is missing; other lines have it"),
        ([{}, {"prediction": None}], "1: prediction: is missing; other lines have it"),
        ([{"prediction": None}], "1: prediction: is null, expected a string"),
        ([{"id": None, "prediction": "7"}], "1: id: is null, expected a string or an integer"),
        ([{"prediction": "7"}, {"id": None, "prediction": "7"}], "2: id: is null, expected a string or an integer"),
    ],
)
def test_a_line_without_a_text_never_has_the_gold_answers_read(tmp_path, lines, said):
    other = {"id": "a", "trace_id": "a", "final_answer": "gold"}
    found = refusal(tmp_path, *[other | line for line in lines])
    assert found.startswith(f"predictions.jsonl:{said}")


def test_a_missing_id_under_meta_is_named(tmp_path):
    lines = [{"meta": meta, "prediction": "7"} for meta in ({"eval_id": 1}, {}, "x", {"eval_id": None})]
    assert refusal(tmp_path, *lines).splitlines() == [
        "predictions.jsonl:2: meta.eval_id: is missing; other lines have it",
        "predictions.jsonl:3: meta.eval_id: is missing; other lines have it",
        "predictions.jsonl:4: meta.eval_id: is null, expected a string or an integer",
    ]


def test_other_keys_may_hold_anything(tmp_path):
    line = {"id": "a", "trace_id": [1], "meta": "x", "prediction": "7", "final_answer": 7, "logits": {"a": [None]}}
    assert read_predictions(write(tmp_path, line)).rows == (Prediction("a", "7", "stop"),)


@pytest.mark.parametrize(
    ("more", "stop_reason"),
    [
        ({}, "stop"),
        ({"stop_reason": "length"}, "length"),
        ({"finish_reason": "length"}, "length"),
        ({"metadata": {"stop_reason": "length"}}, "length"),
        ({"metadata": {"finish_reason": "length"}}, "length"),
        ({"stop_reason": "stop", "finish_reason": "length"}, "length"),
        ({"stop_reason": "eos", "metadata": {"stop_reason": "stop", "finish_reason": "length"}}, "length"),
        ({"finish_reason": 0, "metadata": {"stop_reason": "length"}}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"stop_reason": "eos"}, "stop"),
        ({"finish_reason": None, "metadata": None}, "stop"),
        ({"stop_reason": ["length"]}, "stop"),
    ],
)
def test_a_limit_of_length_means_cut_off(tmp_path, more, stop_reason):
    (row,) = read_predictions(write(tmp_path, {"id": "a", "prediction": "7", **more})).rows
    assert row.stop_reason == stop_reason


def test_a_null_beside_a_cut_is_an_empty_cut_text(tmp_path):
    """Servers give it where the thinking took all tokens; in Parquet it is a key that is not there."""
    cut = {"id": "a", "prediction": None, "finish_reason": "length"}
    lines = [cut, {"id": "b", "prediction": "5"}, {"id": "c", "metadata": {"stop_reason": "length"}}]
    found = read_predictions(write(tmp_path, *lines)).rows
    assert found == (Prediction("a", "", "length"), Prediction("b", "5", "stop"), Prediction("c", "", "length"))
    advice = 'a reply without a text is "", one that was cut before its first word has "finish_reason": "length" beside'
    said = f"predictions.jsonl:2: prediction: is null, expected a string; {advice}"
    assert refusal(tmp_path, cut, {**cut, "finish_reason": "stop"}).startswith(said)
    said = "predictions.jsonl:2: prediction: is missing; other lines have it"
    assert refusal(tmp_path, cut, {"id": "b", "final_answer": "gold", "finish_reason": "length"}) == said


def test_lines_of_one_id_are_its_repeats_in_order(tmp_path):
    lines = [
        {"id": one, "prediction": text} for one, text in (("a", "1"), (1, "2"), ("a", "3"), ("1", "4"), ("a", "5"))
    ]
    rows = read_predictions(write(tmp_path, *lines)).rows
    assert [(row.item_id, row.text, row.repeat) for row in rows] == [
        ("a", "1", 0),
        ("1", "2", 0),
        ("a", "3", 1),
        ("1", "4", 1),
        ("a", "5", 2),
    ]


def test_a_packed_file_reads_as_what_it_holds(tmp_path):
    line = {"id": "a", "prediction": "7"}
    plain, packed = (read_predictions(write(tmp_path, line, name=name)) for name in ("p.jsonl", "p.jsonl.gz"))
    assert plain == packed
    assert plain.sha256 == hashlib.sha256((json.dumps(line) + "\n").encode()).hexdigest()


def test_blank_lines_hold_nothing(tmp_path):
    path = write(tmp_path, '{"id": "a", "prediction": "7"}\r', "", "  ", '{"id": "b", "prediction": "8"}')
    assert [row.item_id for row in read_predictions(path).rows] == ["a", "b"]


GOOD = {"id": "a", "prediction": "7"}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "predictions.jsonl:2: is not JSON at column 2"),
        ('{"id": NaN}', "predictions.jsonl:2: is not JSON: NaN is no JSON number"),
        ("[1]", "predictions.jsonl:2: expected object, got array"),
        ({"id": "b"}, "predictions.jsonl:2: prediction: is missing; other lines have it"),
        ({"prediction": "7"}, "predictions.jsonl:2: id: is missing; other lines have it"),
        ({"id": "", "prediction": "7"}, "predictions.jsonl:2: id: is empty"),
        ({"id": 1.5, "prediction": "7"}, "predictions.jsonl:2: id: found a number with decimals, expected a string or"),
        ({"id": True, "prediction": "7"}, "predictions.jsonl:2: id: found a boolean, expected a string or an integer"),
        (
            {"id": "b", "prediction": 7},
            "predictions.jsonl:2: prediction: found an integer, expected a string; put it in quotes",
        ),
        ({"id": "b", "prediction": ["7"]}, "predictions.jsonl:2: prediction: found a list, expected a string"),
        ("[" * 100_000, "predictions.jsonl:2: "),
        (
            '{"id": "a", "prediction": "7", "prediction": "8"}',
            "predictions.jsonl:2: prediction: occurs more than once in one object",
        ),
    ],
)
def test_a_bad_line_is_named_by_file_line_and_field(tmp_path, bad, said):
    found = refusal(tmp_path, GOOD, bad, GOOD)
    assert found.startswith(said)
    assert "\n" not in found


def test_twenty_bad_lines_are_listed_and_the_rest_is_counted(tmp_path):
    found = refusal(tmp_path, *[{"id": "a", "prediction": 7}] * 50).splitlines()
    assert (len(found), found[-1]) == (21, "and 30 more bad lines")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            {"key": 1, "prediction": "7"},
            "no line has an id under id, trace_id, example_id, meta.eval_id; found: key, pred",
        ),
        ({"id": 1, "output": "7"}, "final_answer; found: id, output"),
        ({}, "found: no key"),
        ({f"k{number}": 1 for number in range(30)}, "k18, k19, .."),
    ],
)
def test_where_no_key_fits_the_keys_that_are_there_are_listed(tmp_path, line, said):
    assert said in refusal(tmp_path, line, line)


def test_a_byte_order_mark_an_empty_file_a_directory_and_no_file_are_one_line_each(tmp_path):
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    for name, said in (
        ("bom.jsonl", ":1: starts with a byte order mark"),
        ("empty.jsonl", ": holds no prediction; expected one JSON object a line"),
        ("none.jsonl", ": no such file"),
        ("", ": is a directory"),
    ):
        with pytest.raises(DataError) as caught:
            read_predictions(tmp_path / name)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------------- matching


def matched(tmp_path, predicted, ids, **options):
    lines = [{"id": one, "prediction": text} for one, text in predicted]
    found = match_predictions(read_predictions(write(tmp_path, *lines)), evalset(*ids), source="p.jsonl", **options)
    return [(row.item_id, row.text) for row in found]


def test_predictions_come_in_the_order_of_the_items(tmp_path):
    assert matched(tmp_path, [("b", "1"), (7, "2"), ("a", "3")], ["a", "b", "7"]) == [
        ("a", "3"),
        ("b", "1"),
        ("7", "2"),
    ]


def test_repeats_come_in_the_order_of_the_items_and_then_of_the_lines(tmp_path):
    predicted = [("b", "1"), ("a", "2"), ("a", "3"), ("b", "4")]
    assert matched(tmp_path, predicted, ["a", "b"], repeats=2) == [("a", "2"), ("a", "3"), ("b", "1"), ("b", "4")]


@pytest.mark.parametrize(
    ("predicted", "ids", "repeats", "said"),
    [
        ("abcdx", "a", 1, "4 of 5 ids are not in evalset 'held': b, c, d, .."),
        ("ax", "ab", 1, "1 of 2 ids are not in evalset 'held': x"),
        ("ab", "abcdef", 1, "4 of 6 items of evalset 'held' have no prediction: c, d, e, .."),
        ("abab", "ab", 1, "every item has 2 predictions, expected 1; set repeats = 2"),
        ("ab", "ab", 3, "every item has 1 predictions, expected 3; set repeats = 1"),
        ("aab", "ab", 1, "1 of 2 items have more or fewer than 1 predictions: a; set repeats = k if there are k"),
        ("aabbb", "ab", 2, "1 of 2 items have more or fewer than 2 predictions: b; set repeats = k if there are k"),
    ],
)
def test_predictions_that_do_not_match_the_items_are_one_line(tmp_path, predicted, ids, repeats, said):
    with pytest.raises(DataError) as caught:
        matched(tmp_path, [(one, "7") for one in predicted], ids, repeats=repeats)
    assert str(caught.value).startswith(f"p.jsonl: {said}")
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(min_size=1), unique=True, min_size=1, max_size=6), st.integers(1, 3), st.randoms())
def test_no_prediction_is_lost_or_doubled(tmp_path_factory, ids, repeats, rng: random.Random):
    ids = [f"{number}{one}" for number, one in enumerate(ids)]
    predicted = [(one, f"{one}/{k}") for k in range(repeats) for one in rng.sample(ids, len(ids))]
    found = matched(tmp_path_factory.mktemp("p"), predicted, ids, repeats=repeats)
    assert found == [(one, f"{one}/{k}") for one in ids for k in range(repeats)]


@pytest.mark.parametrize("rule", ANSWER_RULES)
def test_an_eval_file_of_ours_gives_the_same_completions_again(tmp_path, rule):
    texts = {"a": ("Answer: 7", "Answer: 8\nAnswer: 9"), "b": ("", "<answer>7</answer> or \\boxed{8}")}
    held = evalset("a", "b")
    completions = [
        complete(one, text, rule=ANSWER_RULES[rule], stop_reason=("stop", "length")[k], tokens=None, repeat=k)
        for one, pair in texts.items()
        for k, text in enumerate(pair)
    ]
    path = tmp_path / "eval_after.held.jsonl"
    path.write_text(eval_text(score_items(held.items, completions, BUILTIN_SCORERS, repeats=2)))
    found = match_predictions(read_predictions(path), held, repeats=2, source="eval")
    again = [
        complete(
            row.item_id,
            row.text,
            rule=ANSWER_RULES[rule],
            stop_reason=row.stop_reason,
            tokens=None,
            repeat=row.repeat,
        )
        for row in found
    ]
    assert again == completions
