import numpy as np
import pytest

from tunix_eval.data import ByteTokenizer, GemmaRenderer, PlainRenderer, encode_trace, truncate
from tunix_eval.data.renderers import BUILTIN_RENDERERS
from tunix_eval.errors import DataError
from tunix_eval.records import Span, Step, Supervision, Trace

SHORT = Trace(trace_version="1", prompt="1+1=", final_answer="2", steps=(Step(0, "s", "2"),), id="short")
LONG = Trace(trace_version="1", prompt="2+2=", final_answer="4", steps=(Step(0, "s", "2+2=4" * 9),), id="long")


def run(mode, row_tokens, traces=(SHORT, LONG), renderer=None, **supervision):
    renderer = renderer or PlainRenderer()
    tokenizer = ByteTokenizer(renderer.control_tokens)
    sequences = [
        encode_trace(
            trace, renderer=renderer, tokenizer=tokenizer, style="plain", supervision=Supervision(**supervision)
        )
        for trace in traces
    ]
    done = truncate(
        sequences, row_tokens=row_tokens, mode=mode, renderer=renderer, tokenizer=tokenizer, source="sums-v1"
    )
    for one in done.sequences:
        assert len(one.ids) <= row_tokens
        assert sum(one.span_lengths) == len(one.ids) == len(one.loss_mask)
        assert tokenizer.decode(one.ids.tolist()) == one.text
        of_tokens = np.repeat(np.array(one.span_weights, np.float32), one.span_lengths)
        assert (one.loss_mask == (of_tokens > 0)).all()
        assert one.loss_weights is None or (one.loss_weights == of_tokens).all()
    return sequences, done


@pytest.mark.parametrize("mode", ["error", "drop", "left", "right"])
def test_what_fits_stays_as_it_is(mode):
    sequences, done = run(mode, 100)
    assert done.sequences == tuple(sequences)
    assert (done.dropped, done.cut) == ((), 0)


def test_error_names_what_is_too_long():
    with pytest.raises(
        DataError, match=r"sums-v1: 1 of 2 traces is longer than row_tokens = 20 \(first: 'long' with 59\)"
    ):
        run("error", 20)


def test_drop_leaves_out_what_is_too_long_and_names_it():
    sequences, done = run("drop", 20)
    assert done.sequences == (sequences[0],)
    assert (done.dropped, done.cut) == (("long",), 0)


def test_dropping_everything_is_an_error():
    with pytest.raises(DataError, match="all 2 traces have more than 4 tokens and would be dropped"):
        run("drop", 4)


def test_left_keeps_the_bos_and_the_last_tokens():
    sequences, done = run("left", 58)
    assert (done.dropped, done.cut) == ((), 1)
    cut = done.sequences[1]
    assert cut.text == "<bos>+2=\n" + "2+2=4" * 9 + "\n#### 4<eos>"
    assert cut.ids.tolist() == [257, *sequences[1].ids.tolist()[2:]]


def test_right_keeps_the_first_tokens():
    sequences, done = run("right", 20)
    assert done.cut == 1
    assert done.sequences[1].ids.tolist() == sequences[1].ids.tolist()[:20]
    assert done.sequences[1].text.startswith("<bos>2+2=\n2+2=4")


def test_an_edition_without_bos_keeps_its_last_tokens_alone():
    renderer = BUILTIN_RENDERERS["chatml"]
    sequences, done = run("left", 97, (LONG,), renderer)
    assert done.sequences[0].ids.tolist() == sequences[0].ids.tolist()[-97:]


def test_weights_are_cut_with_their_tokens():
    sequences, done = run("left", 58, step_weight=0.5)
    assert done.sequences[1].loss_weights.tolist() == [0.0, *sequences[1].loss_weights.tolist()[2:]]


def test_a_trace_that_is_left_with_nothing_to_learn_is_named():
    message = "sums-v1: trace 'long': of its 59 tokens truncation 'right' leaves 5, 0 of them supervised"
    with pytest.raises(DataError, match=message):
        run("right", 5, (LONG,))


class BareRenderer:
    """No BOS, and nothing after the stop token."""

    name, version, default_style = "bare", "1", "plain"
    control_tokens = ("<eos>",)
    stop_token = "<eos>"

    def render(self, conversation, *, generation_prompt):
        spans = []
        for k, turn in enumerate(conversation.turns):
            if turn.role == "user":
                spans.append(Span(f"{turn.content}\n"))
            else:
                spans += [Span(turn.content, reply=k), Span("<eos>", control=True, reply=k)]
        return tuple(spans)


def test_a_trace_that_is_left_with_nothing_to_learn_it_from_is_named():
    with pytest.raises(DataError, match="truncation 'left' leaves 9, 9 of them supervised"):
        run("left", 9, (LONG,), BareRenderer())


def test_gemma_keeps_its_newline_after_the_stop_token():
    _, done = run("left", 12, (LONG,), GemmaRenderer())
    assert done.sequences[0].text.startswith("<bos>")
    assert done.sequences[0].text.endswith("<end_of_turn>\n")
