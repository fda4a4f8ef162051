import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import BUILTIN_RENDERERS, STYLES, ByteTokenizer, GemmaRenderer, encode_trace, encode_traces
from tunix_eval.data.renderers import FAMILIES
from tunix_eval.data.tokens.frames import ENOUGH, Frames
from tunix_eval.errors import RenderError
from tunix_eval.records import Span, Step, Supervision, Trace, Turn
from tunix_eval.testing import traces

TRACE = Trace(
    trace_version="1.0",
    prompt="100% of %s?",
    final_answer="7",
    steps=(Step(0, "plan", "think"), Step(1, "sum", "3+4=7")),
    id="a",
)
SUPERVISIONS = (
    Supervision(),
    Supervision("all"),
    Supervision("answer"),
    Supervision("all", 0.25),
    Supervision(step_weight={"sum": 0.5, "plan": 0.0}),
)
ODD_TEXTS = st.sampled_from(
    ["  a ", " ", "\u2003", "%s", "100%", "[INST]", "<end_of_turn>", "é\uf8ff0\uf8ff", "a\ud800", "\n"]
)


class Apart(ByteTokenizer):
    """Encodes a text at a time, and says nothing of its ids."""

    encode_batch = None
    additive = False
    lossless = False


def outcome(make):
    try:
        return [
            (
                one.trace_id,
                one.spans,
                one.ids.tolist(),
                one.loss_mask.tolist(),
                one.span_lengths,
                one.span_weights,
                None if one.loss_weights is None else one.loss_weights.tolist(),
            )
            for one in make()
        ]
    except RenderError as error:
        return str(error)


@st.composite
def some_traces(draw):
    """Traces of a few shapes, often enough for frames, with an odd text here and there."""
    some = [one for one in draw(st.lists(traces(), min_size=1, max_size=2)) for _ in range(ENOUGH)]
    some += [TRACE] * ENOUGH
    for field in draw(st.lists(st.sampled_from(["prompt", "final_answer", "system"]), max_size=2)):
        at = draw(st.integers(0, len(some) - 1))
        some[at] = msgspec.structs.replace(some[at], **{field: draw(ODD_TEXTS)})
    return some


@pytest.mark.parametrize("name", sorted({*BUILTIN_RENDERERS} - {*FAMILIES}))
@settings(deadline=None, max_examples=6, derandomize=True)
@given(some_traces(), st.sampled_from(STYLES), st.sampled_from(SUPERVISIONS))
def test_many_traces_are_encoded_as_each_by_itself_whatever_the_edition(name, some, style, supervision):
    renderer = BUILTIN_RENDERERS[name]
    tokenizer = ByteTokenizer(renderer.control_tokens)
    options = {"renderer": renderer, "tokenizer": tokenizer, "style": style, "supervision": supervision}
    at_once = outcome(lambda: encode_traces(some, **options))
    # Not compared in the assertion: pytest's account of how such lists differ takes minutes.
    same = at_once == outcome(lambda: [encode_trace(trace, **options) for trace in some])
    assert same


@settings(deadline=None, max_examples=15, derandomize=True)
@given(some_traces(), st.sampled_from(STYLES), st.sampled_from(SUPERVISIONS))
def test_a_tokenizer_that_is_known_to_be_additive_gives_what_another_gives(some, style, supervision):
    renderer = GemmaRenderer()
    both = [
        outcome(
            lambda kind=kind: encode_traces(
                some,
                renderer=renderer,
                tokenizer=kind(renderer.control_tokens),
                style=style,
                supervision=supervision,
            )
        )
        for kind in (ByteTokenizer, Apart)
    ]
    same = both[0] == both[1]
    assert same


@pytest.mark.parametrize("name", sorted(name for name, one in BUILTIN_RENDERERS.items() if one.append_only))
@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_traces_of_an_edition_that_only_appends_have_a_frame(name, supervision):
    frames = Frames(BUILTIN_RENDERERS[name], "numbered", supervision, additive=True)
    messages = (Turn("user", "1+1?"), Turn("assistant", "2"))
    longer = msgspec.structs.replace(TRACE, messages=messages)
    (group, further) = frames.groups([TRACE, longer] * ENOUGH)
    assert group.numbers == list(range(0, 2 * ENOUGH, 2))
    assert further.numbers == list(range(1, 2 * ENOUGH, 2))


def test_a_renderer_that_looks_at_texts_has_no_frame():
    class Shouting(GemmaRenderer):
        def render(self, conversation, *, generation_prompt):
            spans = super().render(conversation, generation_prompt=generation_prompt)
            return tuple(
                Span(span.text if span.control else span.text.upper(), span.control, span.reply) for span in spans
            )

    renderer = Shouting()
    some = [TRACE] * ENOUGH
    assert not list(Frames(renderer, "plain", Supervision(), additive=True).groups(some))
    tokenizer = ByteTokenizer(renderer.control_tokens)
    shouted = encode_traces(some, renderer=renderer, tokenizer=tokenizer, style="plain")
    assert {"THINK" in one.text for one in shouted} == {True}


def test_few_traces_of_a_shape_have_no_frame():
    frames = Frames(GemmaRenderer(), "plain", Supervision(), additive=True)
    system = msgspec.structs.replace(TRACE, system="Be brief.")
    (group,) = frames.groups([system, *[TRACE] * ENOUGH])
    assert group.numbers == list(range(1, ENOUGH + 1))
    assert not list(frames.groups([TRACE] * (ENOUGH - 1)))


def test_sequences_of_a_frame_keep_their_order_among_others():
    some = [msgspec.structs.replace(TRACE, id=str(k), system="Be brief." if k == 5 else None) for k in range(20)]
    renderer = GemmaRenderer()
    encoded = encode_traces(some, renderer=renderer, tokenizer=ByteTokenizer(renderer.control_tokens), style="plain")
    assert [one.trace_id for one in encoded] == [str(k) for k in range(20)]
    assert np.array_equal(encoded[4].ids, encoded[6].ids)
    assert "Be brief." in encoded[5].text


def test_the_first_trace_that_is_refused_is_named_whatever_refuses_it():
    renderer = BUILTIN_RENDERERS["gemma2"]
    some = [TRACE] * 3 * ENOUGH
    some[9] = msgspec.structs.replace(TRACE, id="system", system="Be brief.")
    some[4] = msgspec.structs.replace(TRACE, id="surrogate", prompt="a\ud800")
    encode = {"renderer": renderer, "tokenizer": ByteTokenizer(renderer.control_tokens), "style": "plain"}
    with pytest.raises(RenderError, match=r"^trace 'surrogate': character \d+ is half"):
        encode_traces(some, **encode)
    with pytest.raises(RenderError, match=r"^trace 'system': gemma2: the edition has no place"):
        encode_traces(some[5:], **encode)
