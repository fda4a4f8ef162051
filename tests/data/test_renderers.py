import pytest

from tunix_eval.data import (
    GemmaRenderer,
    PlainRenderer,
    generation_prompt,
    model_turn,
    system_instruction,
    turn,
    user_turn,
)
from tunix_eval.data.renderers import EDITIONS
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span, Turn
from tunix_eval.testing import check_renderer


def user(text):
    return Turn("user", text)


def model(text):
    return Turn("assistant", text)


def text(spans):
    return "".join(span.text for span in spans)


@pytest.mark.parametrize("renderer", [PlainRenderer(), GemmaRenderer()], ids=lambda renderer: renderer.name)
def test_the_contract_holds(renderer):
    check_renderer(renderer, max_examples=200)


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
        Span("A", reply=1),
        Span("<end_of_turn>", control=True, reply=1),
        Span("\n"),
    )


def test_every_reply_and_its_stop_token_is_the_models():
    turns = (user("Q"), model("A"), user("R"), model("B"))
    spans = GemmaRenderer().render(Conversation(turns), generation_prompt=False)
    written = [(span.text, span.reply) for span in spans if span.reply is not None]
    assert written == [("A", 1), ("<end_of_turn>", 1), ("B", 3), ("<end_of_turn>", 3)]


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
        Span("A", reply=1),
        Span("<eos>", control=True, reply=1),
        Span("\nR\n"),
        Span("B", reply=3),
        Span("<eos>", control=True, reply=3),
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


@pytest.mark.parametrize("name", ["gemma3", "llama3_2", "mistral_v1_system", "mistral_v7", "phi4", "qwen2_5"])
def test_the_pieces_of_a_conversation_make_it_up(name):
    edition = EDITIONS[name]
    turns = (user("Q"), model("A"), user("R"), model("B"))
    begun = [*system_instruction(edition, "S"), *user_turn(edition, "Q"), *model_turn(edition, "A", reply=1)]
    rest = [*turn(edition, "user", "R"), *turn(edition, "assistant", "B", reply=3)]
    whole = edition.render(Conversation(turns, "S"), generation_prompt=False)
    if name == "gemma3":  # its system text stands inside the first turn
        begun[1:4] = [begun[2], Span("user\nS\n\nQ")]
    if name == "mistral_v1_system":
        begun[1:3] = [Span(" [INST] S\n\nQ [/INST]")]
    assert [*begun, *rest] == list(whole)
    asked = Conversation(turns[:3], "S")
    assert generation_prompt(edition, asked) == edition.render(asked, generation_prompt=True)
