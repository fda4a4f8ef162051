import json
from pathlib import Path

import pytest

from tunix_eval.data import GemmaRenderer, PlainRenderer
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span, Turn
from tunix_eval.testing import check_renderer

# What the published Gemma 3 template prints for each conversation.
CASES = json.loads(Path(__file__).with_name("gemma3_cases.json").read_text(encoding="utf-8"))
REFUSED = {"assistant_first_gen", "two_users_gen"}
# `reasoning_content` is a field that the template never reads and that a Turn does not have.
UNREAD_FIELD = {"reasoning_content_last"}


def user(text):
    return Turn("user", text)


def model(text):
    return Turn("assistant", text)


def as_conversation(case):
    messages = case["messages"]
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    rest = messages[system is not None :]
    return Conversation(tuple(Turn(message["role"], message["content"]) for message in rest), system)


def text(spans):
    return "".join(span.text for span in spans)


@pytest.mark.parametrize("renderer", [PlainRenderer(), GemmaRenderer()], ids=lambda renderer: renderer.name)
def test_the_contract_holds(renderer):
    check_renderer(renderer, max_examples=200)


@pytest.mark.parametrize("name", sorted(CASES.keys() - REFUSED))
def test_gemma_prints_what_the_published_template_prints(name):
    case = CASES[name]
    assert name not in UNREAD_FIELD or "reasoning_content" in case["messages"][-1]
    spans = GemmaRenderer().render(as_conversation(case), generation_prompt=case["add_generation_prompt"])
    assert text(spans) == case["expected"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_gemma_refuses_what_the_published_template_refuses(name):
    case = CASES[name]
    assert "must alternate" in case["expected"]["error"]
    with pytest.raises(RenderError, match="turns must alternate user/assistant/user/assistant"):
        GemmaRenderer().render(as_conversation(case), generation_prompt=case["add_generation_prompt"])


def test_the_cases_are_all_there():
    assert len(CASES) == 24
    assert {name for name, case in CASES.items() if isinstance(case["expected"], dict)} == REFUSED


def test_gemma_marks_spans_as_its_docstring_shows():
    spans = GemmaRenderer().render(Conversation((user("Q"), model("A")), "S"), generation_prompt=False)
    assert spans == (
        Span("<bos>", control=True),
        Span("<start_of_turn>", control=True),
        Span("user\nS\n\nQ"),
        Span("<end_of_turn>", control=True),
        Span("\n"),
        Span("<start_of_turn>", control=True),
        Span("model\n"),
        Span("A", supervised=True),
        Span("<end_of_turn>", control=True, supervised=True),
        Span("\n"),
    )


def test_gemma_supervises_only_the_last_reply():
    turns = (user("Q"), model("A"), user("R"), model("B"))
    spans = GemmaRenderer().render(Conversation(turns), generation_prompt=False)
    assert [span.text for span in spans if span.supervised] == ["B", "<end_of_turn>"]


def test_gemma_strips_turns_and_leaves_the_system_text():
    turns = (user("\u00a0 Q \n"), model("  A\t"))
    spans = GemmaRenderer().render(Conversation(turns, " S "), generation_prompt=False)
    assert text(spans) == "<bos><start_of_turn>user\n S \n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"


def test_plain_marks_spans_as_its_docstring_shows():
    turns = (user("Q"), model("A"), user("R"), model("B"))
    spans = PlainRenderer().render(Conversation(turns, "S"), generation_prompt=False)
    assert spans == (
        Span("<bos>", control=True),
        Span("S\n\nQ\n"),
        Span("A"),
        Span("<eos>", control=True),
        Span("\nR\n"),
        Span("B", supervised=True),
        Span("<eos>", control=True, supervised=True),
    )


def test_plain_leaves_text_as_it_is():
    turns = (user(" Q "), model(" A "))
    spans = PlainRenderer().render(Conversation(turns), generation_prompt=False)
    assert text(spans) == "<bos> Q \n A <eos>"


def test_plain_refuses_a_generation_prompt_after_a_reply():
    with pytest.raises(RenderError, match="plain: the last turn is the assistant's"):
        PlainRenderer().render(Conversation((user("Q"), model("A"))), generation_prompt=True)


@pytest.mark.parametrize("renderer", [PlainRenderer(), GemmaRenderer()], ids=lambda renderer: renderer.name)
@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ((), "the conversation has no turn"),
        ((model("A"),), "turn 1 is the assistant's, expected the user's"),
        ((user("Q"), user("R")), "turn 2 is the user's, expected the assistant's"),
        ((user("Q"), model("A"), model("B")), "turn 3 is the assistant's, expected the user's"),
    ],
)
def test_turns_that_do_not_alternate_are_refused_by_position(renderer, turns, reason):
    with pytest.raises(RenderError, match=f"{renderer.name}: {reason}"):
        renderer.render(Conversation(turns), generation_prompt=False)


@pytest.mark.parametrize("renderer", [PlainRenderer(), GemmaRenderer()], ids=lambda renderer: renderer.name)
def test_names_of_control_tokens_in_text_stay_text(renderer):
    forged = "".join(renderer.control_tokens)
    spans = renderer.render(Conversation((user(forged), model(forged)), forged), generation_prompt=False)
    plain = renderer.render(Conversation((user("x"), model("x")), "x"), generation_prompt=False)
    assert [span.text for span in spans if span.control] == [span.text for span in plain if span.control]
    assert sum(forged in span.text for span in spans if not span.control) == 2
