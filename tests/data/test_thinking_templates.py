"""Templates that think, small ones of our own: each has the mechanism of a published family.

| here | mechanism | published in |
|---|---|---|
| opens | the prompt prints `<think>\\n`, the thought is a field | Qwen 3.5 and 3.6, Qwen 3 Thinking 2507, Nemotron 3 |
| content | the prompt prints `<think>\\n`, the thought is content | QwQ 32B |
| strips | the prompt prints `<think>\\n`, no reply keeps its thought | DeepSeek R1 and V3 |
| inserts | prints `<think>\\n\\n` before the last reply, whatever it holds | Nemotron Nano v2 |
| writes | the prompt prints nothing, no reply keeps its thought | Nemotron Super 1.5 |
| empties | an empty section before every reply | Kimi K2 Thinking |
| empty | an empty section where there is no thought | Qwen 3 |
| closes | the prompt closes the section, replies do not show it | DeepSeek V3.2, Gemma 4 |
| channels | thought and answer in channels, `[return]` in place of `[end]` at the end | gpt-oss |

Sources: trl/chat_templates of huggingface/trl, models/templates of ggml-org/llama.cpp.
"""

import json

import pytest

from tunix_eval.data import (
    BUILTIN_RENDERERS,
    ByteTokenizer,
    HfRenderer,
    check_conversation,
    encode_prompt,
    encode_trace,
    trained_spans,
)
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, EvalItem, Step, Supervision, Trace, Turn
from tunix_eval.testing import check_renderer

TRACE = Trace(
    trace_version="1.0", id="t", prompt="1+1?", final_answer="2", steps=(Step(0, "a", "one"), Step(1, "b", "and one"))
)
LATER = Trace(
    trace_version="1.0",
    id="t",
    prompt="1+1?",
    final_answer="2",
    steps=TRACE.steps,
    messages=(Turn("user", "Hi"), Turn("assistant", "Hello")),
)
LOOP = "{% for m in messages %}{% if m.role != 'assistant' %}[{{ m.role }}]{{ m.content }}[end]{% else %}"
END = "{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]"
TEMPLATES = {
    "opens": LOOP
    + "[assistant]{{ '<think>\n' ~ (m.reasoning_content or '') ~ '\n</think>\n\n' if loop.last }}{{ m.content }}[end]"
    + END
    + "<think>\n{% endif %}",
    "content": LOOP
    + "[assistant]{{ m.content if loop.last else m.content.split('</think>')[-1] }}[end]"
    + END
    + "<think>\n{% endif %}",
    "strips": LOOP + "[assistant]{{ m.content.split('</think>')[-1] }}[end]" + END + "<think>\n{% endif %}",
    "inserts": LOOP
    + "[assistant]{{ '<think>\n\n' if loop.last }}{{ m.content }}\n[end]"
    + END
    + "<think>\n\n{% endif %}",
    "writes": LOOP + "[assistant]{{ m.content.split('</think>')[-1].lstrip() }}[end]" + END + "{% endif %}",
    "empties": LOOP + "[assistant]<think></think>{{ m.content }}[end]" + END + "{% endif %}",
    "empty": LOOP
    + "[assistant]{{ '<think>' ~ (m.reasoning_content or '') ~ '</think>' if loop.last }}{{ m.content }}[end]"
    + END
    + "{% endif %}",
    "closes": LOOP + "[assistant]{{ m.content }}[end]" + END + "<think></think>{% endif %}",
    "channels": LOOP
    + "{% if loop.last and m.thinking is defined %}[assistant][analysis]{{ m.thinking }}[end]{% endif %}"
    + "[assistant][final]{{ m.content }}{{ '[return]' if loop.last and not add_generation_prompt else '[end]' }}"
    + END
    + "{% endif %}",
}
CONTROL = ("[system]", "[user]", "[assistant]", "[analysis]", "[final]", "[end]", "[return]")


@pytest.fixture
def opened(tmp_path):
    def open_(name, special=CONTROL):
        config = {"additional_special_tokens": list(special), "chat_template": TEMPLATES[name]}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return HfRenderer.open(tmp_path)

    return open_


def learned(renderer, trace, style, supervision=None):
    """The prompt of a trace and what carries loss after it; both are all there is but for what follows the stop."""
    tokenizer = ByteTokenizer(renderer.control_tokens)
    sequence = encode_trace(
        trace, renderer=renderer, tokenizer=tokenizer, style=style, supervision=supervision or Supervision()
    )
    item = EvalItem(id="i", prompt=trace.prompt, expected_answer="2", system=trace.system, messages=trace.messages)
    prompt = encode_prompt(item, renderer=renderer, tokenizer=tokenizer).tolist()
    assert sequence.ids[: len(prompt)].tolist() == prompt
    assert not sequence.loss_mask[: len(prompt)].any()
    supervised = [int(token) for token, on in zip(sequence.ids, sequence.loss_mask, strict=True) if on]
    return tokenizer.decode(prompt), tokenizer.decode(supervised)


ASKED = "[user]1+1?[end][assistant]"


@pytest.mark.parametrize(
    ("name", "prompt", "section"),
    [
        ("opens", "<think>\n", "{}\n</think>\n\n"),
        ("content", "<think>\n", "{}\n</think>\n\n"),
        ("strips", "<think>\n", "{}\n</think>\n\n"),
        ("inserts", "<think>\n\n", "{}\n</think>\n\n"),
        ("empties", "", "<think>{}</think>"),
        ("empty", "", "<think>{}</think>"),
    ],
)
def test_reasoning_goes_into_the_section_in_every_style(opened, name, prompt, section):
    renderer = opened(name)
    end = "\n[end]" if name == "inserts" else "[end]"
    expected = {
        "numbered": section.format("Reasoning:\n1. one\n2. and one") + "Answer: 2" + end,
        "plain": section.format("one\nand one") + "#### 2" + end,
        "tagged": section.format("one\nand one") + "<answer>2</answer>" + end,
    }
    for trace, before in ((TRACE, ""), (LATER, "[user]Hi[end]")):
        for style, reply in expected.items():
            given, written = learned(renderer, trace, style)
            assert given.startswith(before)
            assert (given[-len(ASKED + prompt) :], written) == (ASKED + prompt, reply)


def test_a_tagged_reply_opens_its_section_where_the_prompt_does_not(opened):
    renderer = opened("writes")
    assert renderer.thinking_section == "tagged"
    assert learned(renderer, LATER, "tagged")[1] == "<think>\none\nand one\n</think>\n\n<answer>2</answer>[end]"
    assert learned(renderer, LATER, "plain")[1] == "one\nand one\n#### 2[end]"


def test_channels_hold_the_thought_and_only_the_last_reply_returns(opened):
    renderer = opened("channels")
    prompt, reply = learned(renderer, LATER, "tagged")
    assert prompt == f"[user]Hi[end][assistant][final]Hello[end]{ASKED}"
    assert reply == "[analysis]one\nand one[end][assistant][final]<answer>2</answer>[return]"
    assert learned(renderer, TRACE, "numbered")[1] == "[final]Reasoning:\n1. one\n2. and one\nAnswer: 2[return]"
    with pytest.raises(RenderError, match="turn 2 is printed otherwise once more follows; supervise the last reply"):
        learned(renderer, LATER, "tagged", Supervision("all"))


@pytest.mark.parametrize("name", ["content", "strips", "inserts"])
def test_a_reply_without_a_thought_is_refused_for_that_reason(opened, name):
    reason = r"opens a thought \(<think>\) that its reply does not have; give it steps and a style that writes them"
    with pytest.raises(RenderError, match=reason):
        learned(opened(name), TRACE, "none")


def test_a_template_that_prints_an_empty_section_itself_is_followed(opened):
    assert learned(opened("opens"), TRACE, "none") == (f"{ASKED}<think>\n", "\n</think>\n\n2[end]")


def test_a_prompt_that_closes_the_section_takes_replies_without_a_thought(opened):
    renderer = opened("closes")
    assert learned(renderer, TRACE, "plain") == (f"{ASKED}<think></think>", "one\nand one\n#### 2[end]")
    with pytest.raises(RenderError, match="closes the thinking section, and the reply has a thought"):
        learned(renderer, TRACE, "tagged")


@pytest.mark.parametrize("name", ["opens", "content", "strips"])
def test_a_tag_that_is_a_control_token_is_printed_as_one(opened, name):
    renderer = opened(name, (*CONTROL, "<think>", "</think>"))
    tokenizer = ByteTokenizer(renderer.control_tokens)
    sequence = encode_trace(TRACE, renderer=renderer, tokenizer=tokenizer, style="plain")
    ids = sequence.ids.tolist()
    assert [ids.count(tokenizer.control_id(tag)) for tag in ("<think>", "</think>")] == [1, 1]
    assert sequence.loss_mask.tolist()[ids.index(tokenizer.control_id("<think>"))] is False


@pytest.mark.parametrize("name", ["opens", "content", "strips", "inserts"])
def test_what_the_prompt_has_printed_of_a_content_counts_as_said(opened, name):
    """A conversation may come with the tags in its content, as other tools write it."""
    renderer = opened(name)
    turns = (Turn("user", "Q"), Turn("assistant", "<think>\nt\n</think>\n\nA"))
    spans = trained_spans(renderer, Conversation(turns))
    check_conversation(renderer, Conversation(turns), spans)
    assert "".join(span.text for span in spans).count("<think>") == 1


def test_what_is_printed_stays_the_templates_own(opened):
    renderer = opened("strips")
    turns = (Turn("user", "Q"), Turn("assistant", "<think>\nt\n</think>\n\nA"))
    printed = renderer.render(Conversation(turns), generation_prompt=False)
    assert "".join(span.text for span in printed) == "[user]Q[end][assistant]\n\nA[end]"


def test_weights_of_steps_hold_inside_the_section(opened):
    renderer = opened("strips")
    assert learned(renderer, TRACE, "numbered", Supervision("answer"))[1] == "2[end]"
    sequence = encode_trace(
        TRACE,
        renderer=renderer,
        tokenizer=ByteTokenizer(renderer.control_tokens),
        style="plain",
        supervision=Supervision("last", {"a": 0.5, "b": 0.25}),
    )
    weighted = [
        (span.text, weight) for span, weight in zip(sequence.spans, sequence.span_weights, strict=True) if weight
    ]
    assert weighted == [("one\n", 0.5), ("and one", 0.25), ("\n</think>\n\n#### 2", 1.0), ("[end]", 1.0)]


def test_the_editions_of_qwen_put_every_style_into_the_section():
    written = learned(BUILTIN_RENDERERS["qwen3"], TRACE, "numbered")[1]
    assert written == "<think>\nReasoning:\n1. one\n2. and one\n</think>\n\nAnswer: 2<|im_end|>"
    without = learned(BUILTIN_RENDERERS["qwen3_nothink"], TRACE, "numbered")
    assert without[0].endswith("<think>\n\n</think>\n\n")
    assert without[1] == "Reasoning:\n1. one\n2. and one\nAnswer: 2<|im_end|>"


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_the_contract_of_a_renderer_holds(opened, name):
    check_renderer(opened(name), max_examples=20)
