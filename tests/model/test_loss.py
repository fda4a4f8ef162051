import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from tunix_eval.model.loss import next_token_nll

loss = jax.jit(next_token_nll)


def table(*rows):
    return np.array(rows, np.int32)


def test_uniform_logits_cost_log_v_nats_a_token():
    tokens = table([1, 2, 3, 4])
    nats, count = loss(jnp.zeros((1, 4, 7)), tokens, np.array([[False, True, False, True]]), table([1, 1, 1, 1]))
    assert float(count) == 2
    assert float(nats) == pytest.approx(2 * np.log(7), rel=1e-6)


def test_the_table_of_the_docstring_counts_four_tokens():
    # <bos> 1+1= 2 <eos> <bos> 2+2= 4 <eos> pad
    tokens = table([0, 1, 2, 3, 0, 4, 5, 3, 6])
    mask = np.array([[0, 0, 1, 1, 0, 0, 1, 1, 0]], bool)
    segment = table([1, 1, 1, 1, 2, 2, 2, 2, 0])
    counts = [0, 1, 1, 0, 0, 1, 1, 0, 0]
    gradient = jax.grad(lambda logits: loss(logits, tokens, mask, segment)[0])(jnp.zeros((1, 9, 7)))
    np.testing.assert_array_equal(np.abs(gradient).sum(-1)[0] > 0, np.array(counts, bool))
    assert float(loss(jnp.zeros((1, 9, 7)), tokens, mask, segment)[1]) == sum(counts)


def test_the_first_token_of_a_trace_is_never_predicted_from_the_trace_before():
    everything = np.ones((1, 4), bool)
    _, count = loss(jnp.zeros((1, 4, 5)), table([1, 2, 3, 4]), everything, table([1, 1, 2, 2]))
    assert float(count) == 2


def test_padding_is_never_counted():
    _, count = loss(jnp.zeros((1, 4, 5)), table([1, 2, 0, 0]), np.ones((1, 4), bool), table([1, 1, 0, 0]))
    assert float(count) == 1


@st.composite
def batches(draw):
    tokens = draw(st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=2, max_size=2))
    mask = draw(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=2, max_size=2))
    segments = [sorted(draw(st.lists(st.integers(1, 3), min_size=6, max_size=6))) for _ in range(2)]
    padding = [draw(st.integers(0, 6)) for _ in range(2)]
    segments = [row[: 6 - pad] + [0] * pad for row, pad in zip(segments, padding, strict=True)]
    return table(*tokens), np.array(mask), table(*segments), draw(st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_sum_is_that_of_a_plain_loop_over_scipys_log_softmax(batch):
    tokens, mask, segments, seed = batch
    logits = np.random.default_rng(seed).normal(0, 3, (2, 6, 5)).astype(np.float32)
    predicted = log_softmax(logits.astype(np.float64), axis=-1)
    expected = [
        -predicted[row, t, tokens[row, t + 1]]
        for row in range(2)
        for t in range(5)
        if mask[row, t + 1] and segments[row, t] == segments[row, t + 1] > 0
    ]
    nats, count = loss(logits, tokens, mask, segments)
    assert float(count) == len(expected)
    assert float(nats) == pytest.approx(sum(expected), rel=1e-5, abs=1e-5)


def test_weights_give_the_weighted_sum_and_the_sum_of_weights():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(1, 5, 4)).astype(np.float32)
    tokens, mask = table([1, 2, 3, 0, 1]), np.array([[False, False, True, True, True]])
    weights = np.array([[0, 0, 0.25, 1, 2]], np.float32)
    total, count = loss(logits, tokens, mask, table([1, 1, 1, 1, 2]), weights)
    nats = -log_softmax(logits[0], axis=-1)
    # The last token begins another trace, so that nothing predicts it.
    assert float(total) == pytest.approx(0.25 * nats[1, 3] + nats[2, 0], rel=1e-5)
    assert float(count) == pytest.approx(1.25)


def test_weights_of_one_are_the_same_loss_as_none():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, 6, 4)).astype(np.float32)
    tokens = rng.integers(0, 4, (2, 6)).astype(np.int32)
    mask, segment = rng.random((2, 6)) < 0.5, np.ones((2, 6), np.int32)
    assert loss(logits, tokens, mask, segment) == loss(logits, tokens, mask, segment, mask.astype(np.float32))
