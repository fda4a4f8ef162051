"""What published chat templates print, and that the built-in editions print the same.

`chat_templates/cases.json` has 24 conversations, `expected.json` the text that each of 23 published templates gives for
them, or the error of a template that refuses.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import BUILTIN_RENDERERS
from tunix_eval.data.renderers import EDITIONS, FAMILIES
from tunix_eval.data.renderers.laws import broken_law
from tunix_eval.errors import RenderError, SpecError
from tunix_eval.records import Conversation, Turn
from tunix_eval.testing import check_renderer

HERE = Path(__file__).with_name("chat_templates")
CASES = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
DECLARED = sorted(name for name, edition in EDITIONS.items() if edition.append_only)


def as_conversation(messages):
    turns = tuple(Turn(**message) for message in messages)
    return Conversation(turns[1:], turns[0].content) if turns[0].role == "system" else Conversation(turns)


def text(spans):
    return "".join(span.text for span in spans)


def user(content):
    return Turn("user", content)


def model(content, thought=None):
    return Turn("assistant", content, thought)


def printed(edition, conversation, prompt):
    try:
        return text(edition.render(conversation, generation_prompt=prompt))
    except RenderError:
        return "refused"


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_edition_prints_what_the_published_template_prints(name):
    expected = {case: "refused" if isinstance(found, dict) else found for case, found in EXPECTED[name].items()}
    # The system text stands apart, or as a turn among the others.
    for read in (as_conversation, lambda messages: Conversation(tuple(Turn(**message) for message in messages))):
        found = {
            case: printed(EDITIONS[name], read(asked["messages"]), asked["add_generation_prompt"])
            for case, asked in CASES.items()
        }
        assert found == expected


def test_the_cases_are_all_there():
    assert EDITIONS.keys() == EXPECTED.keys()
    assert {len(texts) for texts in EXPECTED.values()} == {24}
    assert sum(isinstance(expected, dict) for texts in EXPECTED.values() for expected in texts.values()) == 18


def test_the_name_of_a_family_is_one_of_its_editions():
    assert all(BUILTIN_RENDERERS[family] is BUILTIN_RENDERERS[edition] for family, edition in FAMILIES.items())


@pytest.mark.parametrize("name", sorted(EDITIONS))
def test_an_edition_keeps_the_contract(name):
    check_renderer(EDITIONS[name], max_examples=40)


@pytest.mark.parametrize("name", sorted(EDITIONS))
def test_an_edition_names_its_source(name):
    described = " ".join(filter(None, (kind.__doc__ for kind in type(EDITIONS[name]).__mro__)))
    assert f"`{name}`" in type(EDITIONS[name]).__doc__
    assert "Source: " in described


contents = st.lists(
    st.sampled_from(
        (
            "",
            "a",
            "Hi",
            " ",
            "\n",
            "\u00a0",
            "\x1c",
            "<think>",
            "</think>",
            "<think>\nx\n</think>\n\n",
            "<|im_end|>",
            "é",
        )
    ),
    max_size=4,
).map("".join)
turns = st.lists(st.builds(Turn, st.sampled_from(("user", "assistant", "system")), contents), min_size=1, max_size=5)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.sampled_from(DECLARED), turns, st.none() | contents)
def test_editions_that_declare_it_keep_history_and_drop_nothing(name, turns, system):
    edition, conversation = EDITIONS[name], Conversation(tuple(turns), system)
    try:
        spans = edition.render(conversation, generation_prompt=False)
    except RenderError:
        return
    trusted = broken_law(edition, conversation, spans)
    assert broken_law(edition, conversation, spans, trusting=False) == trusted


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(EDITIONS)), turns, st.none() | contents)
def test_no_text_becomes_a_control_token(name, turns, system):
    edition = EDITIONS[name]
    harmless = [Turn(turn.role, turn.content.replace("<|im_end|>", "y")) for turn in turns]
    try:
        forged = edition.render(Conversation(tuple(turns), system), generation_prompt=False)
    except RenderError:
        return
    plain = edition.render(
        Conversation(tuple(harmless), system and system.replace("<|im_end|>", "y")), generation_prompt=False
    )
    assert [span for span in forged if span.control] == [span for span in plain if span.control]


@pytest.mark.parametrize(
    ("edition", "messages", "prompt", "expected"),
    [
        ("gemma3", [("system", "S")], False, "<bos>"),
        ("gemma3", [("user", "Q"), ("system", " S ")], True, "<bos>{user\nQ}\n{system\nS}\n{model\n"),
        ("gemma3", [("user", "\u00a0Q\x1c"), ("assistant", "\u2028A")], False, "<bos>{user\nQ}\n{model\nA}\n"),
        ("phi3_5", [("user", "Q"), ("system", "")], True, "<|user|>\nQ<|end|>\n<|assistant|>\n"),
        ("phi4_first", [("user", "Q"), ("assistant", "A")], True, "[user|Q][assistant|A]"),
        ("chatml_vllm", [("user", "Q"), ("assistant", "A")], True, "(user\nQ)\n(assistant\nA)\n"),
        ("mistral_v3", [("system", "S"), ("user", "Q"), ("system", "T")], False, "<s> [INST] Q [/INST]"),
        ("mistral_v7", [("user", "Q"), ("system", "S")], False, "<s>[INST] Q[/INST][SYSTEM_PROMPT] S[/SYSTEM_PROMPT]"),
        ("mistral_v3_tekken", [("system", "S")], True, "<s>"),
        ("qwen3", [("assistant", "<think>x</think>A")], False, "(assistant\nA)\n"),
        (
            "qwen3",
            [("user", "Q"), ("assistant", "x</think>\n\nA")],
            False,
            "(user\nQ)\n(assistant\n<think>\nx\n</think>\n\nA)\n",
        ),
        (
            "qwen3",
            [("user", "Q"), ("assistant", "A"), ("assistant", "B")],
            False,
            "(user\nQ)\n(assistant\nA)\n(assistant\n<think>\n\n</think>\n\nB)\n",
        ),
        (
            "qwen3",
            [("user", "Q"), ("assistant", "<think>x</think>A"), ("user", "<tool_response>R</tool_response>")],
            False,
            "(user\nQ)\n(assistant\n<think>\nx\n</think>\n\nA)\n(user\n<tool_response>R</tool_response>)\n",
        ),
    ],
)
def test_odd_conversations_are_printed_as_the_templates_print_them(edition, messages, prompt, expected):
    for short, long in (
        ("{", "<start_of_turn>"),
        ("}", "<end_of_turn>"),
        ("(", "<|im_start|>"),
        (")", "<|im_end|>"),
        *((("|", "<|im_sep|>"), ("[", "<|im_start|>"), ("]", "<|im_end|>")) if edition == "phi4_first" else ()),
    ):
        expected = expected.replace(short, long)
    conversation = Conversation(tuple(Turn(role, content) for role, content in messages))
    assert text(EDITIONS[edition].render(conversation, generation_prompt=prompt)) == expected


def test_a_reply_begins_where_its_prompt_ends_and_ends_with_the_stop_token():
    conversation = Conversation((user("Q"), model("A"), user("R"), model("B")), None)
    for name, edition in EDITIONS.items():
        if edition.stop_token is None:
            continue
        spans = edition.render(conversation, generation_prompt=False)
        for k, said in ((1, "A"), (3, "B")):
            reply = [span for span in spans if span.reply == k]
            assert text(reply[:-1]).strip().endswith(said), name
            assert (reply[-1].text, reply[-1].control) == (edition.stop_token, True)


def test_the_date_is_an_option_and_never_the_clock():
    conversation = Conversation((user("Q"),))
    dated = EDITIONS["llama3_2"].with_options(date="2 Jan 2031")
    assert "Today Date: 2 Jan 2031\n" in text(dated.render(conversation, generation_prompt=True))
    assert "Today Date: 02 Jan 2025\n" in text(EDITIONS["llama3_2"].render(conversation, generation_prompt=True))
    assert dated.name == "llama3_2"


def test_qwen_without_thinking_is_an_option_and_an_edition():
    for name in ("qwen3", "qwen3_release"):
        without = EDITIONS[f"{name}_nothink"]
        assert EDITIONS[name].with_options(enable_thinking=False) == without
        assert without.with_options(enable_thinking=True) == EDITIONS[name]
        assert EDITIONS[name].with_options(enable_thinking=True) == EDITIONS[name]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("llama3_1", {"dat": "x"}, r"'llama3_1' has no option 'dat'; known: date\. Did you mean 'date'\?"),
        ("gemma", {"date": "x"}, r"has no option 'date'; known: none\."),
        ("llama3_1", {"date": 2025}, r"option 'date' is 2025, expected a value like '26 Jul 2024'"),
        ("qwen3", {"enable_thinking": "no"}, r"option 'enable_thinking' is 'no', expected a value like True"),
    ],
)
def test_an_option_that_cannot_be_taken_is_named(name, options, message):
    with pytest.raises(SpecError, match=message):
        BUILTIN_RENDERERS[name].with_options(**options)
