import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data import (
    STYLES,
    answer_mark,
    conversation,
    model_text,
    prompt_conversation,
    reasoning_pieces,
    reasoning_steps,
)
from tunix_eval.errors import UnknownNameError
from tunix_eval.records import AnswerRule, Conversation, EvalItem, Step, Trace, Turn

TRACE = Trace(
    trace_version="1.0",
    prompt="358+467=",
    final_answer="825",
    steps=(Step(0, "s", "8+7+0=15"), Step(1, "s", "5+6+1=12"), Step(2, "s", "3+4+1=08")),
    system="Be brief.",
    messages=(Turn("user", "Hi"), Turn("assistant", "Hello")),
)


@pytest.mark.parametrize(
    ("style", "text", "mark"),
    [
        ("numbered", "Reasoning:\n1. 8+7+0=15\n2. 5+6+1=12\n3. 3+4+1=08\nAnswer: 825", AnswerRule("Answer:")),
        ("plain", "8+7+0=15\n5+6+1=12\n3+4+1=08\n#### 825", AnswerRule("####")),
        (
            "tagged",
            "<think>\n8+7+0=15\n5+6+1=12\n3+4+1=08\n</think>\n<answer>825</answer>",
            AnswerRule("<answer>", "</answer>"),
        ),
        ("none", "825", AnswerRule("")),
    ],
)
def test_each_style_writes_its_own_text_and_mark(style, text, mark):
    assert model_text(TRACE, style) == text
    assert answer_mark(style) == mark


@given(
    st.sampled_from(STYLES), st.text("ab1#:<", min_size=1, max_size=9), st.lists(st.text("xy", min_size=1), min_size=1)
)
def test_the_answer_stands_where_the_mark_says(style, answer, steps):
    trace = Trace(
        trace_version="1",
        prompt="p",
        final_answer=answer,
        steps=tuple(Step(i, "s", content) for i, content in enumerate(steps)),
    )
    mark = answer_mark(style)
    text = f"\n{model_text(trace, style)}"
    found = text.rpartition(f"\n{mark.open}")[2] if mark.open else text
    assert (found.partition(mark.close)[0] if mark.close else found).strip() == answer


def test_a_conversation_holds_system_messages_prompt_and_reply_in_order():
    assert conversation(TRACE, "none") == Conversation(
        (Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "358+467="), Turn("assistant", "825")),
        "Be brief.",
    )


def test_a_prompt_is_the_conversation_without_the_reply():
    item = EvalItem(id="a", prompt=TRACE.prompt, expected_answer="825", system=TRACE.system, messages=TRACE.messages)
    whole = conversation(TRACE, "plain")
    assert prompt_conversation(item) == Conversation(whole.turns[:-1], whole.system)


def test_an_unknown_style_is_named_with_a_suggestion():
    for call in (lambda: answer_mark("number"), lambda: model_text(TRACE, "number")):
        with pytest.raises(UnknownNameError, match=r"no style named 'number'.*Did you mean 'numbered'"):
            call()


@given(st.sampled_from(STYLES), st.text(min_size=1), st.lists(st.text("xy{}\n", min_size=1), min_size=1))
def test_the_pieces_of_a_reply_join_to_it_and_hold_each_step_and_the_answer(style, answer, steps):
    trace = Trace(
        trace_version="1",
        prompt="p",
        final_answer=answer,
        steps=tuple(Step(i, f"type {i}", content) for i, content in enumerate(steps)),
    )
    pieces = reasoning_pieces(trace, style)
    assert "".join(piece.text for piece in pieces) == model_text(trace, style)
    assert [piece.text for piece in pieces if piece.kind == "answer"] == [answer]
    written = [(piece.text, piece.step_type) for piece in pieces if piece.kind == "step"]
    wanted = [] if style == "none" else [(content, f"type {i}") for i, content in enumerate(steps)]
    assert [kind for _, kind in written] == [kind for _, kind in wanted]
    assert all(content in text for (text, _), (content, _) in zip(written, wanted, strict=True))


def test_the_reasoning_ends_where_the_answer_begins():
    assert [reasoning_steps(TRACE, style).splitlines()[-1:] for style in STYLES] == [
        ["Answer: "],
        ["#### "],
        ["<answer>"],
        [],
    ]
