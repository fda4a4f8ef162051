"""Each law, with an edition that breaks it for one conversation and what the refusal says."""

import pytest

from tunix_eval.data import BUILTIN_RENDERERS, broken_law, check_conversation
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span, Turn


def user(content):
    return Turn("user", content)


def model(content, thought=None):
    return Turn("assistant", content, thought)


PAIR = (user("Q"), model("A"))
TWO = (*PAIR, user("R"), model("B"))
THINKING = "<think>\nt\n</think>\n\nA"


def rendered(renderer, turns, system=None):
    """What a law is held against: the renderer, the conversation and its spans."""
    conversation = Conversation(turns, system)
    return renderer, conversation, renderer.render(conversation, generation_prompt=False)


@pytest.mark.parametrize("name", sorted(set(BUILTIN_RENDERERS) - {"chatml_vllm"}))
def test_every_edition_trains_on_an_ordinary_exchange(name):
    assert broken_law(*rendered(BUILTIN_RENDERERS[name], PAIR)) is None


@pytest.mark.parametrize(
    ("name", "turns", "system", "replies", "refusal"),
    [
        ("chatml_vllm", PAIR, None, None, "'an edition has a stop token' .*for prompting only; train on chatml"),
        ("chatml", (user("Q"),), None, None, "'something is the model's' .*it has no reply to learn"),
        ("phi4_first", (model("A"),), None, None, "'something is the model's' .*everything is; expected a prompt"),
        ("chatml", (model("A"), *PAIR), None, None, "'a prompt begins its conversation' .*before the reply of turn 1"),
        (
            "mistral_v3",
            PAIR,
            "S",
            None,
            "'nothing is dropped' .*the edition drops the system text; train on mistral_v7",
        ),
        ("mistral_v3_tekken", PAIR, "S", None, "'nothing is dropped' .*drops the system text"),
        (
            "gemma",
            (user("Q"), model("A", "t")),
            None,
            None,
            "'nothing is dropped' .*drops the reasoning_content of turn 2",
        ),
        (
            "qwen3_nothink",
            (user("Q"), model(THINKING)),
            None,
            None,
            "'a prompt begins its conversation' .*the prompt before turn 2 is no beginning.*; train on qwen3 ",
        ),
        (
            "qwen3",
            (user("Q"), model(THINKING), user("R"), model("B")),
            None,
            (3,),
            "'history stays as it was' .*drops part of what the assistant says in turn 2; "
            "train on qwen3_instruct_2507 or leave out earlier thinking",
        ),
        ("qwen3", TWO, None, (1, 3), "'history stays as it was' .*turn 2 is printed otherwise once more follows"),
        ("qwen3", (user("Q"), model("x<think>t</think>A")), None, None, "'nothing is dropped' .*says in turn 2"),
        (
            "mistral_v1",
            (user("[/INST]"), model("A")),
            None,
            None,
            r"'text cannot open a turn' .*the user's text holds \[/INST\]",
        ),
        ("mistral_v1_system", PAIR, "x[INST]", None, r"'text cannot open a turn' .*the system's text holds \[INST\]"),
    ],
)
def test_a_conversation_for_which_a_law_fails_is_refused_by_name(name, turns, system, replies, refusal):
    edition = BUILTIN_RENDERERS[name]
    with pytest.raises(RenderError, match=f"^renderer '{edition.name}' breaks the law {refusal}"):
        check_conversation(*rendered(edition, turns, system), replies=replies)


@pytest.mark.parametrize(
    ("name", "turns", "system", "replies"),
    [
        ("qwen3", TWO, "S", (3,)),
        ("qwen3", (user("Q"), model(THINKING)), "S", None),
        ("qwen3", (user("Q"), model("A", "t")), None, None),
        ("qwen3_instruct_2507", (user("Q"), model(THINKING), user("R"), model("B")), None, (1, 3)),
        ("chatml", (model("A"), user("Q"), model("B")), None, (2,)),
        ("mistral_v3_tekken", TWO, None, None),
        ("mistral_v7", (user("[INST]"), model("[/INST]")), "[SYSTEM_PROMPT]", None),
        ("phi3", TWO, "S", None),
    ],
)
def test_what_keeps_the_laws_is_trained_on(name, turns, system, replies):
    assert broken_law(*rendered(BUILTIN_RENDERERS[name], turns, system), replies=replies) is None


class Forging:
    """Prints the names of control tokens inside texts as control tokens."""

    name, version, control_tokens, stop_token, default_style = "forging", "1", ("<end>",), "<end>", "plain"

    def render(self, conversation, *, generation_prompt):
        spans = []
        for k, turn in enumerate(conversation.turns):
            reply = k if turn.role == "assistant" else None
            before, found, after = turn.content.partition("<end>")
            pieces = [Span(before, False, reply), *([Span(found, True)] if found else []), Span(after, False, reply)]
            spans += [piece for piece in pieces if piece.text]
            spans += [Span("<end>", True, reply)]
        return tuple(spans)


def test_a_name_in_a_text_that_takes_effect_is_refused():
    with pytest.raises(RenderError, match=r"'text cannot open a turn' .*<end> in a text changes which control tokens"):
        check_conversation(*rendered(Forging(), (user("a<end>b"), model("A"))))
    assert broken_law(*rendered(Forging(), PAIR)) is None


class Thoughtful:
    """Prints thoughts, and the names of control tokens inside them as control tokens."""

    name, version, control_tokens, stop_token, default_style = "thoughtful", "1", ("<end>", "<new>"), "<end>", "plain"
    text_markers = ("[new]",)

    def render(self, conversation, *, generation_prompt):
        spans = []
        for k, turn in enumerate(conversation.turns):
            reply = k if turn.role == "assistant" else None
            pieces = f"{turn.reasoning_content or ''}{turn.content}".partition("<new>")
            spans += [Span(piece, piece == "<new>", reply) for piece in pieces if piece]
            spans += [Span("<end>", True, reply)]
        return tuple(spans)


@pytest.mark.parametrize(
    ("thought", "reason"),
    [
        ("a<new>b", "'nothing is dropped' .*of turn 2"),
        ("a[new]b", r"'text cannot open a turn' .*'s text holds \[new\]"),
    ],
)
def test_a_thought_that_opens_a_turn_is_refused(thought, reason):
    with pytest.raises(RenderError, match=f"breaks the law {reason}"):
        check_conversation(*rendered(Thoughtful(), (user("Q"), model("A", thought))))
    assert broken_law(*rendered(Thoughtful(), (user("Q"), model("A", "t")))) is None
