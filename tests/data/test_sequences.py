import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import (
    STYLES,
    ByteTokenizer,
    GemmaRenderer,
    PlainRenderer,
    check_lengths,
    encode_prompt,
    encode_trace,
    sequences_sha256,
    stop_ids,
)
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import EvalItem, Step, TokenSequence, Trace, Turn
from tunix_eval.testing import traces

RENDERERS = st.sampled_from([PlainRenderer(), GemmaRenderer()])
ADDITION = Trace(
    trace_version="1.0",
    prompt="2+2=",
    final_answer="4",
    steps=(Step(0, "s", "2+2=4"),),
    id="a",
)


def encode(trace, renderer, style="plain"):
    return encode_trace(trace, renderer=renderer, tokenizer=ByteTokenizer(renderer.control_tokens), style=style)


def sequence(ids, mask=None, trace_id="t"):
    mask = [True] * len(ids) if mask is None else mask
    return TokenSequence(trace_id, (), np.array(ids, np.int32), np.array(mask, np.bool_))


def test_ids_and_mask_are_what_the_table_says():
    encoded = encode(ADDITION, PlainRenderer(), "none")
    #                    <bos> 2   +   2   =   \n  4   <eos>
    assert encoded.ids.tolist() == [257, 50, 43, 50, 61, 10, 52, 258]
    assert encoded.loss_mask.tolist() == [False] * 6 + [True, True]
    assert (encoded.ids.dtype, encoded.loss_mask.dtype) == (np.int32, np.bool_)
    assert encoded.text == "<bos>2+2=\n4<eos>"
    assert encoded.trace_id == "a"


@settings(deadline=None)
@given(traces(), RENDERERS, st.sampled_from(STYLES))
def test_a_prompt_is_a_prefix_of_its_rendered_trace(trace, renderer, style):
    tokenizer = ByteTokenizer(renderer.control_tokens)
    item = EvalItem(id="i", prompt=trace.prompt, expected_answer="x", system=trace.system, messages=trace.messages)
    prompt = encode_prompt(item, renderer=renderer, tokenizer=tokenizer)
    whole = encode(trace, renderer, style)
    assert prompt.dtype == np.int32
    assert whole.ids[: len(prompt)].tolist() == prompt.tolist()
    assert not whole.loss_mask[: len(prompt)].any()
    assert whole.loss_mask[len(prompt)]


@settings(deadline=None)
@given(traces(), RENDERERS, st.sampled_from(STYLES))
def test_the_mask_covers_the_reply_and_the_stop_token_and_nothing_after(trace, renderer, style):
    tokenizer = ByteTokenizer(renderer.control_tokens)
    encoded = encode(trace, renderer, style)
    supervised = np.flatnonzero(encoded.loss_mask)
    assert 0 < len(supervised) < len(encoded.ids)
    assert supervised.tolist() == list(range(supervised[0], supervised[-1] + 1))
    assert (int(encoded.ids[supervised[-1]]),) == stop_ids(renderer, tokenizer)
    assert tokenizer.decode(encoded.ids.tolist()) == encoded.text


@settings(deadline=None)
@given(traces(), RENDERERS)
def test_there_is_one_bos_and_as_many_turns_as_the_conversation_has(trace, renderer):
    tokenizer = ByteTokenizer(renderer.control_tokens)
    ids = encode(trace, renderer).ids.tolist()
    assert ids.count(tokenizer.control_id("<bos>")) == 1
    turns = len(trace.messages) + 2
    stops = turns if renderer.name == "gemma" else turns // 2
    assert ids.count(tokenizer.control_id(renderer.stop_token)) == stops


class ForgingTokenizer(ByteTokenizer):
    def encode(self, text):
        return [self.control_id("<bos>") if byte == ord("!") else byte for byte in super().encode(text)]


def test_a_tokenizer_that_lets_text_forge_a_control_token_is_caught():
    renderer = PlainRenderer()
    tokenizer = ForgingTokenizer(renderer.control_tokens)
    item = EvalItem(id="7", prompt="Hi!", expected_answer="x")
    with pytest.raises(RenderError, match="item '7': tokenizer 'bytes' gave a control id for plain text"):
        encode_prompt(item, renderer=renderer, tokenizer=tokenizer)


def test_what_cannot_be_rendered_is_named_by_trace_or_item():
    renderer = PlainRenderer()
    tokenizer = ByteTokenizer(renderer.control_tokens)
    messages = (Turn("assistant", "Hello"),)
    trace = Trace(trace_version="1", prompt="p", final_answer="a", steps=ADDITION.steps, id="gsm-17", messages=messages)
    with pytest.raises(RenderError, match=r"^trace 'gsm-17': plain: turn 1 is the assistant's"):
        encode(trace, renderer)
    with pytest.raises(RenderError, match=r"^item '3': plain: turn 1 is the assistant's"):
        encode_prompt(
            EvalItem(id="3", prompt="p", expected_answer="a", messages=messages), renderer=renderer, tokenizer=tokenizer
        )


def test_the_digest_depends_on_ids_masks_borders_and_order():
    variants = [
        [sequence([1, 2]), sequence([3])],
        [sequence([1]), sequence([2, 3])],
        [sequence([3]), sequence([1, 2])],
        [sequence([1, 2], [True, False]), sequence([3])],
        [sequence([1, 2], [False, True]), sequence([3])],
        [sequence([1, 2, 3])],
        [sequence([1, 2])],
    ]
    assert len({sequences_sha256(variant) for variant in variants}) == len(variants)


def test_the_digest_does_not_depend_on_trace_ids():
    assert sequences_sha256([sequence([1], trace_id="a")]) == sequences_sha256([sequence([1], trace_id="b")])


def test_the_digest_is_taken_over_lengths_then_ids_and_packed_mask_of_each():
    """It stands in run ids, so a change of it trains every run anew."""
    content = struct.pack("<2q", 3, 1) + struct.pack("<3i", 1, 300, 70000) + bytes([0b01100000])
    content += struct.pack("<i", 2) + bytes([0b10000000])
    found = sequences_sha256([sequence([1, 300, 70000], [False, True, True]), sequence([2])])
    assert found == hashlib.sha256(content).hexdigest()


def test_lengths_up_to_the_limit_pass_and_longer_traces_are_named():
    fits = [sequence(range(5)), sequence(range(4))]
    check_lengths(fits, row_tokens=5, source="sums-v1")
    with pytest.raises(DataError) as caught:
        check_lengths([*fits, sequence(range(6), trace_id="gsm-17")], row_tokens=5, source="sums-v1")
    assert str(caught.value) == "sums-v1: trace 'gsm-17': 6 tokens, limit 5; raise row_tokens or drop the trace"


def test_twenty_long_traces_are_listed_and_the_rest_counted():
    long = [sequence(range(2 + k), trace_id=f"t{k}") for k in range(23)]
    with pytest.raises(DataError) as caught:
        check_lengths(long, row_tokens=1, source="s")
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 3 more traces; the longest has 24 tokens"
