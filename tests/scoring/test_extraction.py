"""Extraction: which text is the answer, and how it was found."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.records import AnswerRule
from tunix_eval.scoring import ANSWER_RULES, answer_context, complete, extract
from tunix_eval.specs import AnswerRuleName

ANSWER = AnswerRule("Answer:")
TAGS = AnswerRule("<answer>", "</answer>")
WHOLE = AnswerRule("")
FENCED = AnswerRule("", "</turn>")
BOXED = AnswerRule(kind="boxed")
LAST = AnswerRule(kind="last_number")
RULES = [ANSWER, TAGS, WHOLE, FENCED, BOXED, LAST]


@pytest.mark.parametrize(
    ("text", "rule", "stop_reason", "answer", "status"),
    [
        ("1. add\nAnswer: 7", ANSWER, "stop", "7", "ok"),
        ("Answer: 7\nbecause\nit is", ANSWER, "stop", "7\nbecause\nit is", "ok"),
        ("Answer: 7\nAnswer: 8", ANSWER, "stop", "8", "several"),
        ("Answer: ", ANSWER, "stop", None, "none"),
        ("Answer: \u200b\ufeff", ANSWER, "stop", None, "none"),
        ("<answer>\u2060</answer>", TAGS, "stop", None, "none"),
        ("\u200b \u200e", WHOLE, "stop", None, "none"),
        ("Answer: 7\nAnswer:", ANSWER, "stop", None, "none"),
        ("The Answer: 7", ANSWER, "stop", None, "none"),
        (" Answer: 7", ANSWER, "stop", "7", "ok"),
        ("    Answer: 7", ANSWER, "stop", None, "none"),
        ("answer: 7", ANSWER, "stop", "7", "ok"),
        ("Answers: 7", ANSWER, "stop", None, "none"),
        ("", ANSWER, "stop", None, "none"),
        ("Answer: 7", ANSWER, "length", None, "truncated"),
        ("1. add", ANSWER, "length", None, "truncated"),
        ("<answer>7</answer>", TAGS, "stop", "7", "ok"),
        ("<answer>7</answer> so <answer>8</answer>", TAGS, "stop", "8", "several"),
        ("<think>sum</think> <answer>825</answer>", TAGS, "stop", "825", "ok"),
        ("It is <ANSWER >825</Answer>.", TAGS, "stop", "825", "ok"),
        ("<answer></answer>", TAGS, "stop", None, "none"),
        ("<answer> </answer> and on and", TAGS, "length", None, "truncated"),
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
        (r"so \boxed{7}.", BOXED, "stop", "7", "ok"),
        (r"\boxed{\frac{3}{4}}", BOXED, "stop", r"\frac{3}{4}", "ok"),
        (r"\boxed{ \{1, 2\} }", BOXED, "stop", r"\{1, 2\}", "ok"),
        (r"\boxed{7} or \boxed{8}", BOXED, "stop", "8", "several"),
        (r"\boxed{7} or \boxed{8", BOXED, "stop", None, "unclosed"),
        (r"\boxed{\{7}", BOXED, "stop", "\\{7", "ok"),
        (r"\boxed{7\}", BOXED, "stop", None, "unclosed"),
        (r"\boxed{7", BOXED, "length", None, "truncated"),
        (r"\boxed{7} and on", BOXED, "length", "7", "ok"),
        (r"\boxed{7} and \boxed{8", BOXED, "length", None, "truncated"),
        ("boxed{7}", BOXED, "stop", None, "none"),
        (r"\boxed{}", BOXED, "stop", None, "none"),
        (r"\boxed {7} or \fbox{8}", BOXED, "stop", "8", "several"),
        ("First 3, then 1,234.50.", LAST, "stop", "1,234.50", "ok"),
        ("It is -3", LAST, "stop", "-3", "ok"),
        ("10-3", LAST, "stop", "3", "ok"),
        ("It costs $5!", LAST, "stop", "$5", "ok"),
        ("a third: 1/3.", LAST, "stop", "1/3", "ok"),
        ("that is 1 1/2 cups", LAST, "stop", "1 1/2", "ok"),
        (r"$\frac{3}{4}$", LAST, "stop", r"\frac{3}{4}", "ok"),
        ("hence $x = 3$.", LAST, "stop", "3", "ok"),
        ("50 % of them", LAST, "stop", "50 %", "ok"),
        ("about 1.5e-3 m", LAST, "stop", "1.5e-3 m", "ok"),
        ("7 of x2", LAST, "stop", "7", "ok"),
        ("1,23", LAST, "stop", "1,23", "ok"),
        ("so ...5", LAST, "stop", "5", "ok"),
        ("none at all", LAST, "stop", None, "none"),
        ("", LAST, "stop", None, "none"),
        ("It is 82", LAST, "length", None, "truncated"),
    ],
)
def test_the_answer_and_its_status(text, rule, stop_reason, answer, status):
    assert extract(text, rule, stop_reason=stop_reason) == (answer, status)


@pytest.mark.parametrize(
    "text",
    [
        "**Answer:** 18",
        "**Answer**: 18",
        "**Answer: ** 18",
        "**Answer: 18**",
        "***Answer:*** 18",
        "__Answer:__ 18",
        "__Answer: 18__",
        "`Answer:` 18",
        "<b>Answer:</b> 18",
        "<strong>Answer: 18</strong>",
        "### Answer: 18",
        "### **Answer:** 18",
        "## Final Answer\n\n18",
        "**Final answer**\n18",
        "Final answer: 18",
        "> **FINAL ANSWER:** 18",
        "- **Answer:** 18",
        "Answer : 18",
        "Answer\uff1a18",
        "9 and 9\n\n  **Answer:** 18",
    ],
)
def test_an_answer_mark_may_be_dressed_in_markup(text):
    assert extract(text, ANSWER, stop_reason="stop") == ("18", "ok")


@pytest.mark.parametrize(
    "text", ["The Answer: 7", "Answer 7", "Answer\n7", "an answer: 7", "2. Answer: 7", "*Answer* is 7", "**Answer:**"]
)
def test_a_word_in_a_sentence_is_no_answer_mark(text):
    assert extract(text, ANSWER, stop_reason="stop") == (None, "none")


lines = st.lists(
    st.sampled_from(
        ["Answer:", "<answer>", "</answer>", "</turn>", "\\boxed{", "{", "}", "\\", "\n", "1", ".5", "x", "y"]
    ),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(lines, st.sampled_from(RULES), st.sampled_from(["stop", "length"]))
def test_an_answer_is_there_exactly_where_the_status_says_so(text, rule, stop_reason):
    answer, status = extract(text, rule, stop_reason=stop_reason)
    assert (answer is None) == (status in {"none", "truncated", "unclosed"})
    assert answer is None or (answer and answer in text and answer == answer.strip())


@settings(deadline=None)
@given(lines, st.text(alphabet="17 x", min_size=1))
def test_the_last_mark_wins_whatever_stands_before_it(before, answer):
    found, status = extract(f"{before}\nAnswer:{answer}", ANSWER, stop_reason="stop")
    assert found == (answer.strip() or None)
    assert not found or (status == "several") == any(line.startswith("Answer:") for line in before.split("\n"))


@settings(deadline=None)
@given(lines, st.sampled_from(RULES), st.sampled_from(["7", "825", "12"]))
def test_an_answer_put_into_its_context_is_the_answer_that_is_found(text, rule, answer):
    context, lead, tail = answer_context(text, rule)
    found, status = extract(f"{context}{lead}{answer}{tail}", rule, stop_reason="stop")
    if rule.kind != "last_number":
        assert (found, status in {"ok", "several"}) == (answer, True)
    elif extract(text, rule, stop_reason="stop")[0] is not None:
        assert found.lstrip("$").endswith(answer)


@pytest.mark.parametrize(
    ("text", "rule", "parts"),
    [
        ("3+4\nAnswer: 7\nAnswer: 8 or", ANSWER, ("3+4\nAnswer: 7\nAnswer:", " ", "")),
        ("3+4", ANSWER, ("3+4\nAnswer:", " ", "")),
        ("3+4\n", ANSWER, ("3+4\nAnswer:", " ", "")),
        ("", ANSWER, ("Answer:", " ", "")),
        ("The Answer: 7", ANSWER, ("The Answer: 7\nAnswer:", " ", "")),
        ("A 7", AnswerRule("A "), ("A ", "", "")),
        ("so\n<answer>8</answer> and", TAGS, ("so\n<answer>", "", "</answer>")),
        ("so", TAGS, ("so\n<answer>", "", "</answer>")),
        (r"\boxed{7} or \boxed{8}.", BOXED, (r"\boxed{7} or \boxed{", "", "}")),
        ("so", BOXED, ("so\n\\boxed{", "", "}")),
        ("3 and 4 is 7.", LAST, ("3 and 4 is ", "", "")),
        ("none", LAST, ("none", "", "")),
        ("7", WHOLE, ("", "", "")),
        ("7</turn>", FENCED, ("", "", "</turn>")),
    ],
)
def test_the_context_of_an_expected_answer(text, rule, parts):
    assert answer_context(text, rule) == parts


def test_every_name_that_a_run_file_knows_is_a_rule():
    assert tuple(ANSWER_RULES) == get_args(AnswerRuleName)


@pytest.mark.parametrize("unit", ["1", "1,", "1 ", "-", "$ ", "1/", "\\frac{", "1e", ".1", "\\boxed{", "{"])
def test_what_stands_before_the_last_answer_does_not_matter_however_long_it_is(unit):
    text = f"{unit * 20_000}; \\boxed{{825}}"
    assert extract(text, LAST, stop_reason="stop") == ("825", "ok")
    assert extract(text, BOXED, stop_reason="stop")[0] == "825"


def test_a_completion_holds_text_and_answer():
    found = complete("i1", "2+2\nAnswer: 4", rule=ANSWER, stop_reason="stop", tokens=9)
    assert (found.item_id, found.text, found.answer, found.status) == ("i1", "2+2\nAnswer: 4", "4", "ok")
    assert (found.stop_reason, found.tokens) == ("stop", 9)


def test_a_completion_knows_its_repeat_and_may_not_know_its_tokens():
    found = complete("i1", "4", rule=WHOLE, stop_reason="stop", tokens=None, repeat=2)
    assert (found.repeat, found.tokens, found.answer_logprobs) == (2, None, None)


def test_half_a_surrogate_pair_becomes_the_replacement_character():
    assert complete("i1", "Answer: \ud83d", rule=ANSWER, stop_reason="stop", tokens=1).answer == "\ufffd"
