import functools
import hashlib
import struct

import numpy as np
import pytest
import tiny_tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import (
    STYLES,
    ByteTokenizer,
    GemmaRenderer,
    PlainRenderer,
    check_lengths,
    check_masks,
    encode_prompt,
    encode_trace,
    encode_traces,
    model_text,
    open_tokenizer,
    sequences_sha256,
    stop_ids,
)
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import EvalItem, Step, Supervision, TokenSequence, Trace, Turn
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
    assert str(caught.value) == (
        "sums-v1: 1 of 3 traces is longer than row_tokens = 5 (first: 'gsm-17' with 6); raise it, or set "
        'truncation = "drop", "left" or "right"'
    )


def test_long_traces_are_counted_in_one_line_with_the_first_and_the_longest():
    long = [sequence(range(2 + k), trace_id=f"t{k}") for k in range(23)]
    with pytest.raises(DataError) as caught:
        check_lengths([sequence([1]), *long], row_tokens=1, source="s")
    assert str(caught.value) == (
        "s: 23 of 24 traces are longer than row_tokens = 1 (first: 't0' with 2; longest 24); raise it, or set "
        'truncation = "drop", "left" or "right"'
    )


KINDS = ("bytes", "byte_level", "metaspace", "unigram", "sentence_piece")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    """With the control tokens of the renderer gemma."""
    controls = GemmaRenderer().control_tokens
    if request.param == "bytes":
        return ByteTokenizer(controls)
    suffix = ".model" if request.param == "sentence_piece" else ".json"
    options = {"legacy": True} if request.param == "metaspace" else {}
    path = tmp_path_factory.mktemp("model") / f"tokenizer{suffix}"
    return open_tokenizer(getattr(tiny_tokenizers, request.param)(path, **options), controls)


def two_kinds_of_steps(**changes):
    steps = (Step(0, "plan", "add the numbers"), Step(1, "sum", "2+2=4"), Step(2, "plan", "done"))
    fields = {"trace_version": "1", "prompt": "2+2=", "final_answer": "42", "steps": steps, "id": "a"}
    return Trace(**(fields | changes))


def written(trace, tokenizer, supervision, style="numbered"):
    """The pieces of the reply with their weights."""
    sequence = encode_trace(trace, renderer=GemmaRenderer(), tokenizer=tokenizer, style=style, supervision=supervision)
    check_consistency(sequence, tokenizer)
    pairs = zip(sequence.spans, sequence.span_weights, strict=True)
    return [(span.text, weight) for span, weight in pairs if span.reply is not None]


def check_consistency(sequence, tokenizer):
    """Spans, ids, mask and weights of a sequence say the same."""
    assert sum(sequence.span_lengths) == len(sequence.ids) == len(sequence.loss_mask)
    of_tokens = np.repeat(np.array(sequence.span_weights, np.float32), sequence.span_lengths)
    assert sequence.loss_mask.tolist() == (of_tokens > 0).tolist()
    if sequence.loss_weights is None:
        assert set(of_tokens.tolist()) <= {0.0, 1.0}
    else:
        assert sequence.loss_weights.tolist() == of_tokens.tolist()
    assert tokenizer.decode(sequence.ids.tolist()) == sequence.text


def test_what_is_supervised_is_what_the_table_of_replies_says(tokenizer):
    trace = two_kinds_of_steps()
    reply = "Reasoning:\n1. add the numbers\n2. 2+2=4\n3. done\nAnswer: "
    end = ("<end_of_turn>", 1.0)
    assert written(trace, tokenizer, Supervision()) == [(f"{reply}42", 1.0), end]
    assert written(trace, tokenizer, Supervision("answer")) == [(reply, 0.0), ("42", 1.0), end]
    assert written(trace, tokenizer, Supervision(step_weight=0.3)) == [(reply, 0.3), ("42", 1.0), end]
    assert written(trace, tokenizer, Supervision(step_weight={"sum": 0.5, "plan": 1})) == [
        ("Reasoning:\n1. add the numbers\n", 1.0),
        ("2. 2+2=4\n", 0.5),
        ("3. done\nAnswer: 42", 1.0),
        end,
    ]
    tagged = written(trace, tokenizer, Supervision("answer"), "tagged")
    assert tagged[1:] == [("42</answer>", 1.0), end]


def test_every_reply_or_the_last_one_is_supervised(tokenizer):
    messages = (Turn("user", "1+1="), Turn("assistant", "two"))
    trace = two_kinds_of_steps(messages=messages)
    assert [weight for _, weight in written(trace, tokenizer, Supervision("all"))] == [1.0] * 4
    assert [weight for _, weight in written(trace, tokenizer, Supervision("last"))] == [0.0, 0.0, 1.0, 1.0]
    some = written(trace, tokenizer, Supervision("all", 0.5))
    assert [weight for _, weight in some] == [1.0, 1.0, 0.5, 1.0, 1.0]


def test_a_reply_has_the_same_ids_whatever_of_it_is_supervised(tokenizer):
    encode = functools.partial(
        encode_trace, two_kinds_of_steps(), renderer=GemmaRenderer(), tokenizer=tokenizer, style="numbered"
    )
    whole = encode().ids.tolist()
    for supervision in (Supervision("answer"), Supervision("all", 0.2), Supervision(step_weight={"sum": 0})):
        assert encode(supervision=supervision).ids.tolist() == whole


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.lists(traces(), min_size=1, max_size=3), st.sampled_from(STYLES), st.sampled_from(("last", "all", "answer")))
def test_laws_hold_for_every_trace_and_tokenizer_that_is_trained_on(tokenizer, some, style, turns):
    renderer = GemmaRenderer()
    for trace in some:
        try:
            sequence = encode_trace(
                trace, renderer=renderer, tokenizer=tokenizer, style=style, supervision=Supervision(turns)
            )
        except RenderError as error:
            refused = str(error)
            sequence = None
        if sequence is None:
            assert "changes text" in refused or "not found" in refused
            continue
        check_consistency(sequence, tokenizer)
        check_masks([sequence], source="s")
        supervised = np.flatnonzero(sequence.loss_mask)
        assert (int(sequence.ids[supervised[-1]]),) == stop_ids(renderer, tokenizer)
        assert sequence.ids.tolist().count(tokenizer.control_id("<bos>")) == 1
        item = EvalItem(id="i", prompt=trace.prompt, expected_answer="x", system=trace.system, messages=trace.messages)
        prompt = encode_prompt(item, renderer=renderer, tokenizer=tokenizer)
        assert sequence.ids[: len(prompt)].tolist() == prompt.tolist()
        if turns == "last":
            assert model_text(trace, style).strip() in "".join(
                span.text for span in sequence.spans if span.reply == len(trace.messages) + 1
            )


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.lists(traces(), min_size=1, max_size=5), RENDERERS)
def test_many_traces_at_once_are_encoded_as_each_by_itself(some, renderer):
    tokenizer = ByteTokenizer(renderer.control_tokens)
    at_once = encode_traces(some, renderer=renderer, tokenizer=tokenizer, style="plain")
    by_itself = [encode(trace, renderer) for trace in some]
    assert [one.ids.tolist() for one in at_once] == [one.ids.tolist() for one in by_itself]
    assert [one.loss_mask.tolist() for one in at_once] == [one.loss_mask.tolist() for one in by_itself]
    assert [(one.trace_id, one.spans, one.span_lengths) for one in at_once] == [
        (one.trace_id, one.spans, one.span_lengths) for one in by_itself
    ]


def test_a_text_that_a_tokenizer_changes_is_not_trained_on(tmp_path):
    controls = GemmaRenderer().control_tokens
    lossy = open_tokenizer(tiny_tokenizers.sentence_piece(tmp_path / "a.model", normaliser="nmt_nfkc"), controls)
    some = [two_kinds_of_steps(id="fine"), two_kinds_of_steps(id="odd", prompt="which is ① of them")]
    with pytest.raises(RenderError, match=r"^trace '\w+': tokenizer 'sentencepiece' changes text: '.*' comes back as"):
        encode_traces(some, renderer=GemmaRenderer(), tokenizer=lossy, style="numbered")


def test_a_trace_whose_text_forges_a_control_token_is_named_among_many():
    renderer = PlainRenderer()
    some = [two_kinds_of_steps(id=str(k), prompt="Hi!" if k == 700 else "Hi") for k in range(800)]
    with pytest.raises(RenderError, match="trace '700': tokenizer 'bytes' gave a control id for plain text"):
        encode_traces(some, renderer=renderer, tokenizer=ForgingSingly(renderer.control_tokens), style="plain")


class ForgingSingly(ForgingTokenizer):
    encode_batch = None


def test_a_trace_that_cannot_be_encoded_is_named_among_many():
    renderer = PlainRenderer()
    some = [two_kinds_of_steps(id=str(k), prompt="a\ud800" if k == 3 else "a") for k in range(5)]
    with pytest.raises(RenderError, match="trace '3': character 2 is half of a surrogate pair"):
        encode_traces(some, renderer=renderer, tokenizer=ByteTokenizer(renderer.control_tokens), style="plain")


def test_masks_of_nothing_and_of_everything_are_refused():
    good = sequence([1, 2], [False, True])
    check_masks([good], source="s")
    for mask in ([False, False], [True, True]):
        with pytest.raises(DataError, match=f"trace 'odd': the loss mask covers {sum(mask)} of 2 tokens"):
            check_masks([good, sequence([1, 2], mask, "odd"), good], source="s")


def test_the_digest_covers_weights_where_there_are_some():
    def weighted(*weights):
        return TokenSequence(
            "t", (), np.array([1, 2], np.int32), np.array([False, True]), (), (), np.array(weights, np.float32)
        )

    digests = {sequences_sha256([one]) for one in (sequence([1, 2], [False, True]), weighted(0, 0.5), weighted(0, 2))}
    assert len(digests) == 3
