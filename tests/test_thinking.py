"""Thinking: what of a reply is no answer, under every rule and every scorer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.records import AnswerRule, EvalItem
from tunix_eval.scoring import ANSWER_RULES, BUILTIN_SCORERS, answer_context, complete, extract, score_items
from tunix_eval.thinking import FORMS, blanked, find_thinking, opens_thinking, unmarked, without

# Every rule finds 12 in this draft, and every scorer would count it.
DRAFT = "Answer: 12\n#### 12\n<answer>12</answer>\n\\boxed{12}\n12"
SECTIONS = {
    "closed": "<think>\n{}\n</think>\n",
    "on one line": "<think>{}</think> ",
    "two": "<think>first</think>\nHm.\n<think>{}</think>\n",
    "opened by the prompt": "{}\n</think>\n",
    "opened twice": "<think>so <think>{}</think>\n",
    "nested": "<think>so <think>x</think>\n{}\n</think>\n",
    "an attribute": '<think effort="low">{}</think>\n',
    "upper case": "<THINK>{}</Think >\n",
    "a mark is named": "<think>I end with `</think>`: {}</think>\n",
    "thinking": "<thinking>{}</thinking>\n",
    "reasoning": "<reasoning>{}</reasoning>\n",
    "seed": "<seed:think>{}</seed:think>\n",
    "magistral": "[THINK]{}[/THINK]\n",
    "kimi": "◁think▷{}◁/think▷\n",
    "gemma4": "<|channel>thought\n{}<channel|>\n",
    "harmony": "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>\n",
    "harmony without control tokens": "analysisWe add.\n{}\nassistantfinal\n",
}
WRITTEN = {
    "answer": "Answer: {}",
    "hashes": "#### {}",
    "boxed": "So \\boxed{{{}}}.",
    "tags": "<answer>{}</answer>",
    "last_number": "So {}.",
    "text": "{}",
}


def scores(text, rule, **said):
    item = EvalItem(id="i", prompt="p", expected_answer="12")
    scorers = {name: BUILTIN_SCORERS[name] for name in ("exact", "contains", "numeric")}
    found = complete("i", text, rule=rule, tokens=1, **{"stop_reason": "stop", **said})
    (one,) = score_items([item], [found], scorers)
    return found, {name: score.value for name, score in one.scores.items()}


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
@pytest.mark.parametrize("rule", ANSWER_RULES)
def test_a_draft_in_the_thinking_is_no_answer(section, rule):
    text = section.format(DRAFT) + WRITTEN[rule].format(22)
    found, values = scores(text, ANSWER_RULES[rule])
    hm = "Hm.\n\n\n" if rule == "text" and "Hm." in section else ""
    assert (found.answer, set(values.values())) == (f"{hm}22", {0.0})
    assert scores(section.format("22") + WRITTEN[rule].format(12), ANSWER_RULES[rule])[1]["contains"] == 1.0


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
@pytest.mark.parametrize("stop_reason", ["stop", "length"])
def test_a_reply_that_only_thinks_has_no_answer(section, stop_reason):
    for rule in ANSWER_RULES.values():
        found, values = scores(section.format(DRAFT), rule, stop_reason=stop_reason)
        assert (found.answer is None or found.answer == "Hm.", set(values.values())) == (True, {0.0})


@pytest.mark.parametrize("name", sorted(SECTIONS.keys() - {"opened by the prompt", "nested"}))
@pytest.mark.parametrize("stop_reason", ["stop", "length"])
def test_a_reply_cut_inside_its_thinking_is_truncated(name, stop_reason):
    text = SECTIONS[name].partition("{}")[0] + DRAFT
    for rule in ANSWER_RULES.values():
        found, values = scores(text, rule, stop_reason=stop_reason)
        assert (found.answer, found.status, set(values.values())) == (None, "truncated", {0.0})


def test_a_prompt_that_opens_the_thinking_is_known():
    assert opens_thinking("<|im_start|>assistant\n<think>\n")
    assert not opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_thinking("Write <think> first.<|im_end|>\n<|im_start|>assistant\n")
    for rule in ANSWER_RULES.values():
        found, values = scores(DRAFT, rule, stop_reason="length", opened=True)
        assert (found.answer, found.status, set(values.values())) == (None, "truncated", {0.0})
    found, _ = scores(f"{DRAFT}</think>\n12", ANSWER_RULES["text"], opened=True)
    assert (found.answer, found.said) == ("12", "\n\n12")


def test_a_reply_of_nothing_that_was_cut_is_truncated():
    """As servers give it where the thinking, which they keep apart, took all tokens."""
    for rule in ANSWER_RULES.values():
        found, values = scores("", rule, stop_reason="length")
        assert (found.answer, found.status, set(values.values())) == (None, "truncated", {0.0})
        assert scores(" \n", rule)[0].status in {"none", "unclosed"}


def test_a_run_file_says_what_thinking_is():
    text = "<plan>\\boxed{12}</plan> \\boxed{22} <think>\\boxed{32}</think>"
    found = {
        form: extract(text, AnswerRule(kind="boxed", thinking=form), stop_reason="stop")[0]
        for form in ("plan", "think", "none", "known", ("<PLAN>", "</plan>"))
    }
    assert list(found.values()) == ["32", "22", "32", "22", "32"]
    assert extract("<plan>\\boxed{12}", AnswerRule(kind="boxed", thinking="plan"), stop_reason="stop") == (
        None,
        "truncated",
    )


@pytest.mark.parametrize("text", ["a < b, and [1]", "`<think>` is a tag: 5", "1 <thinker> 5", "analysis: 5"])
def test_a_text_without_marks_has_no_thinking(text):
    assert find_thinking(text) == ((), "")


marks = st.lists(
    st.sampled_from(["<think>", "</think>", "[THINK]", "[/THINK]", "`", "Answer: 7", "\\boxed{8}", "\n", "9", "a"]),
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(marks, st.booleans(), st.sampled_from(["known", "think", "none"]))
def test_sections_are_in_order_and_cover_every_mark(text, opened, form):
    thinking = find_thinking(text, form, opened=opened)
    ends = [0, *(place for span in thinking.spans for place in span), len(text)]
    assert ends == sorted(ends)
    assert (form != "none" and opened and "/" not in text) <= thinking.open
    said = without(text, thinking.spans)
    assert form == "none" or "</think>" not in said.replace("`</think>", "")
    assert len(blanked(text, thinking.spans)) == len(text)


@settings(deadline=None)
@given(marks, st.booleans(), st.sampled_from([rule for rule in ANSWER_RULES if rule != "last_number"]))
def test_an_expected_answer_is_put_behind_the_thinking(text, opened, rule):
    context, lead, tail = answer_context(text, ANSWER_RULES[rule], opened=opened)
    found, status = extract(f"{context}{lead}825{tail}", ANSWER_RULES[rule], stop_reason="stop", opened=opened)
    assert (found, status in {"ok", "several"}) == ("825", True)


def test_the_forms_close_as_they_say():
    for name, form in FORMS.items():
        assert find_thinking(f"a{form.end}b", name).spans == ((0, 1 + len(form.end)),)
    assert unmarked("[THINK]a[/THINK]b") == "\na\nb"
