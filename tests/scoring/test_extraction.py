"""Extraction: which text is the answer, and how it was found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.records import AnswerRule
from tunix_eval.scoring import complete, extract

ANSWER = AnswerRule("Answer:")
TAGS = AnswerRule("<answer>", "</answer>")
WHOLE = AnswerRule("")
FENCED = AnswerRule("", "</turn>")


@pytest.mark.parametrize(
    ("text", "mark", "stop_reason", "answer", "status"),
    [
        ("1. add\nAnswer: 7", ANSWER, "stop", "7", "ok"),
        ("Answer: 7\nbecause\nit is", ANSWER, "stop", "7\nbecause\nit is", "ok"),
        ("Answer: 7\nAnswer: 8", ANSWER, "stop", "8", "several"),
        ("Answer: ", ANSWER, "stop", "", "ok"),
        ("The Answer: 7", ANSWER, "stop", None, "none"),
        (" Answer: 7", ANSWER, "stop", None, "none"),
        ("answer: 7", ANSWER, "stop", None, "none"),
        ("", ANSWER, "stop", None, "none"),
        ("Answer: 7", ANSWER, "length", None, "truncated"),
        ("1. add", ANSWER, "length", None, "truncated"),
        ("<answer>7</answer>", TAGS, "stop", "7", "ok"),
        ("<answer>7</answer> so <answer>8</answer>", TAGS, "stop", "7", "ok"),
        ("<answer>7</answer>\n<answer>8</answer>", TAGS, "stop", "8", "several"),
        ("<answer>7</answer>\n<answer>8", TAGS, "stop", None, "unclosed"),
        ("</answer>\n<answer>8", TAGS, "stop", None, "unclosed"),
        ("<answer>7", TAGS, "stop", None, "unclosed"),
        ("<answer>7", TAGS, "length", None, "truncated"),
        ("<answer>7</answer> and on and", TAGS, "length", "7", "ok"),
        ("<answer>7</answer>\n<answer>8</answer> and", TAGS, "length", "8", "several"),
        ("  7\n", WHOLE, "stop", "7", "ok"),
        ("7", WHOLE, "length", None, "truncated"),
        ("7</turn> 8", FENCED, "stop", "7", "ok"),
        ("7", FENCED, "stop", None, "unclosed"),
        ("a.b 1\naxb 2", AnswerRule("a.b"), "stop", "1\naxb 2", "ok"),
    ],
)
def test_the_answer_and_its_status(text, mark, stop_reason, answer, status):
    assert extract(text, mark, stop_reason=stop_reason) == (answer, status)


lines = st.text(alphabet="Answer: 17\n<>/", max_size=40)


@settings(deadline=None)
@given(lines, st.sampled_from([ANSWER, TAGS, WHOLE, FENCED]), st.sampled_from(["stop", "length"]))
def test_an_answer_is_there_exactly_where_the_status_says_so(text, mark, stop_reason):
    answer, status = extract(text, mark, stop_reason=stop_reason)
    assert (answer is None) == (status in {"none", "truncated", "unclosed"})
    assert answer is None or (answer in text and answer == answer.strip())


@settings(deadline=None)
@given(lines, st.text(alphabet="17 x", min_size=1))
def test_the_last_mark_wins_whatever_stands_before_it(before, answer):
    found, status = extract(f"{before}\nAnswer:{answer}", ANSWER, stop_reason="stop")
    assert found == answer.strip()
    assert (status == "several") == any(line.startswith("Answer:") for line in before.split("\n"))


def test_a_completion_holds_text_and_answer():
    found = complete("i1", "2+2\nAnswer: 4", mark=ANSWER, stop_reason="stop", tokens=9)
    assert (found.item_id, found.text, found.answer, found.status) == ("i1", "2+2\nAnswer: 4", "4", "ok")
    assert (found.stop_reason, found.tokens) == ("stop", 9)


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    assert complete("i1", "Answer: \ud83d", mark=ANSWER, stop_reason="stop", tokens=1).answer == "\ufffd"
