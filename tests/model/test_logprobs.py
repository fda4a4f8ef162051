import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import RenderError
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import decoder_with, initial_params
from tunix_eval.model.generation import LOGPROB_ROWS, FlaxModel
from tunix_eval.model.logprobs import next_token_logprobs
from tunix_eval.specs import GenerationSpec, ModelSpec

VOCAB, PAD = 23, 22
CONFIG = DecoderConfig.from_spec(ModelSpec(layers=2, width=32, heads=2, mlp_width=48, init_std=0.3), vocab_size=VOCAB)
LENGTHS = (1, 2, 3, 9, 15, 16, 17, 20, 33)
SEQUENCES = [np.random.default_rng(n).integers(0, PAD, n).astype(np.int32) for n in LENGTHS]


@functools.cache
def model():
    return FlaxModel(CONFIG, initial_params(CONFIG, 1), pad_id=PAD)


@functools.cache
def alone(index):
    return model().token_logprobs([SEQUENCES[index]])[0]


@jax.jit
def all_logits(params, tokens):
    decoder = decoder_with(CONFIG, params)
    positions = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    hidden, _ = decoder(tokens, positions, jnp.ones_like(tokens))
    return decoder.logits(hidden)[0]


def by_hand(ids):
    """Log-softmax, in float64, of the decoder's logits; what stands after a token does not change them."""
    tokens = np.zeros((1, 40), np.int32)
    tokens[0, : len(ids)] = ids
    logits = np.asarray(all_logits(model().params, tokens), np.float64)
    logits[:, PAD] = -np.inf
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logprobs[np.arange(len(ids) - 1), ids[1:]]


@pytest.mark.parametrize("index", range(len(SEQUENCES)))
def test_values_are_the_log_softmax_of_the_decoders_logits(index):
    found = alone(index)
    assert found.dtype == np.float32
    assert found.shape == (LENGTHS[index] - 1,)
    np.testing.assert_allclose(found, by_hand(SEQUENCES[index]), rtol=0, atol=1e-5)


def test_a_model_without_preferences_pays_the_log_of_all_ids_but_the_pad():
    params = model().params | {"embedding": jnp.zeros((VOCAB, 32), jnp.float32)}
    (found,) = FlaxModel(CONFIG, params, pad_id=PAD).token_logprobs([SEQUENCES[5]])
    np.testing.assert_allclose(found, np.full(15, -math.log(VOCAB - 1)), rtol=1e-6)


def test_the_probabilities_of_what_can_follow_add_up_to_1_and_the_pad_has_none():
    before = SEQUENCES[3]
    continued = [np.append(before, np.int32(token)) for token in range(VOCAB)]
    last = np.array([logprobs[-1] for logprobs in model().token_logprobs(continued)])
    assert last[PAD] == -math.inf
    assert math.isclose(np.exp(last, dtype=np.float64).sum(), 1, abs_tol=1e-5)


def test_a_greedy_completion_takes_the_token_of_highest_probability_at_each_place():
    prompt = SEQUENCES[3]
    written = model().generate([prompt], GenerationSpec(max_new_tokens=8), stop_ids=())[0].ids
    for place in range(len(written)):
        start = [*prompt, *written[:place]]
        others = [np.array([*start, token], np.int32) for token in range(VOCAB)]
        assert np.argmax([logprobs[-1] for logprobs in model().token_logprobs(others)]) == written[place]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(SEQUENCES) - 1), min_size=1, max_size=LOGPROB_ROWS + 3))
def test_the_bits_depend_neither_on_order_nor_on_company(chosen):
    together = model().token_logprobs([SEQUENCES[index] for index in chosen])
    for index, found in zip(chosen, together, strict=True):
        np.testing.assert_array_equal(found, alone(index))


def test_another_number_of_sequences_compiles_nothing():
    model().token_logprobs([SEQUENCES[4]])
    compiled = next_token_logprobs._cache_size()
    model().token_logprobs(SEQUENCES[:4] * 9)
    assert next_token_logprobs._cache_size() == compiled


def test_ids_beyond_the_tokenizers_have_no_probability():
    config = DecoderConfig.from_spec(
        ModelSpec(layers=2, width=32, heads=2, mlp_width=48, init_std=0.3, vocab_size=64), vocab_size=VOCAB
    )
    larger = FlaxModel(config, initial_params(config, 1), pad_id=PAD, vocab_size=VOCAB)
    sequences = [np.array([5, token], np.int32) for token in range(PAD)]
    assert sum(np.exp(found[0]) for found in larger.token_logprobs(sequences)) == pytest.approx(1, abs=1e-5)
    with pytest.raises(RenderError, match="ids 0 to 22"):
        larger.token_logprobs([np.array([5, VOCAB], np.int32)])


def test_no_sequences_have_no_values():
    assert model().token_logprobs([]) == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([], "sequence 1: no tokens"), ([3, 23], "sequence 1: token 23, but the model knows ids 0 to 22")],
)
def test_a_sequence_that_has_no_probability_is_named(tokens, message):
    with pytest.raises(RenderError, match=message):
        model().token_logprobs([SEQUENCES[0], np.array(tokens, np.int32)])
