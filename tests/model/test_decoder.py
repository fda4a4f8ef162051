import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import SpecError
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import abstract_params, decoder_with, initial_params
from tunix_eval.model.layers import rotary_angles, rotate
from tunix_eval.specs import ModelSpec

QUICKSTART = DecoderConfig.from_spec(ModelSpec(preset="tiny"), vocab_size=259)
# Weights large enough that attention and gates are far from flat.
SMALL_SPEC = ModelSpec(layers=2, width=16, heads=2, mlp_width=24, init_std=0.4)
SMALL = DecoderConfig.from_spec(SMALL_SPEC, vocab_size=11)


@functools.partial(jax.jit, static_argnames="config")
def forward(params, tokens, segment_ids, positions, *, config):
    decoder = decoder_with(config, params)
    return decoder.logits(decoder(tokens, positions, segment_ids)[0])


def logits(params, tokens, segment_ids=None, positions=None, *, config=SMALL):
    tokens = np.asarray(tokens, np.int32)
    ones, counting = np.ones_like(tokens), np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    return np.asarray(
        forward(
            params,
            tokens,
            ones if segment_ids is None else np.asarray(segment_ids, np.int32),
            counting if positions is None else np.asarray(positions, np.int32),
            config=config,
        )
    )


@pytest.fixture(scope="module")
def params():
    return initial_params(SMALL, 3)


def numpy_logits(params, tokens, config):
    """The decoder for one row, written again in float64 with complex numbers for RoPE."""
    p = {name: np.asarray(array, np.float64) for name, array in params.items()}
    count, half = len(tokens), config.head_width // 2
    turns = np.exp(1j * np.arange(count)[:, None] * config.rope_theta ** (-np.arange(half) / half))

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale

    def rope(x):
        turned = (x[:, :half] + 1j * x[:, half:]) * turns
        return np.concatenate([turned.real, turned.imag], -1)

    x = p["embedding"][tokens]
    for layer in range(config.layers):
        name = f"blocks.{layer}."
        h, mixed = norm(x, p[name + "attention_norm.scale"]), []
        for head in range(config.heads):
            shared = head * config.kv_heads // config.heads
            query, key, value = (
                h @ p[f"{name}attention.{part}"][:, config.head_width * at : config.head_width * (at + 1)]
                for part, at in (("query", head), ("key", shared), ("value", shared))
            )
            query = rope(norm(query, p[name + "attention.query_norm.scale"]))
            key = rope(norm(key, p[name + "attention.key_norm.scale"]))
            weights = np.exp(query @ key.T / np.sqrt(config.head_width)) * np.tril(np.ones((count, count)))
            mixed.append(weights / weights.sum(-1, keepdims=True) @ value)
        x = x + np.concatenate(mixed, -1) @ p[name + "attention.out"]
        h = norm(x, p[name + "mlp_norm.scale"])
        gate = h @ p[name + "mlp.gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ p[name + "mlp.up"])) @ p[name + "mlp.down"].T
    return norm(x, p["final_norm.scale"]) @ p["embedding" if config.tied else "unembedding"].T


def test_logits_are_those_of_an_independent_implementation(params):
    tokens = np.array([1, 5, 2, 10, 0, 7, 7])
    scaled = {name: array * 1.5 if name.endswith("scale") else array for name, array in params.items()}
    np.testing.assert_allclose(
        logits(scaled, tokens[None])[0], numpy_logits(scaled, tokens, SMALL), rtol=2e-4, atol=2e-4
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"kv_heads": 1},
        {"heads": 4, "kv_heads": 2},
        {"head_width": 6, "tied": False},
        {"qk_norm": True, "vocab_size": 40, "remat": True},
    ],
    ids=str,
)
def test_every_shape_has_the_logits_of_an_independent_implementation(sizes):
    config = DecoderConfig.from_spec(SMALL_SPEC.model_copy(update=sizes), vocab_size=11)
    tokens, drawn = np.array([1, 5, 2, 10, 0, 7, 7]), initial_params(config, 3)
    np.testing.assert_allclose(
        logits(drawn, tokens[None], config=config)[0], numpy_logits(drawn, tokens, config), rtol=2e-4, atol=2e-4
    )


def test_bfloat16_is_near_to_float32_and_its_logits_and_weights_are_float32():
    config = dataclasses.replace(SMALL, dtype="bfloat16")
    tokens, drawn = [[1, 5, 2, 10, 0, 7, 7]], initial_params(config, 3)
    half, whole = logits(drawn, tokens, config=config), logits(drawn, tokens)
    assert {array.dtype for array in drawn.values()} == {half.dtype} == {np.dtype(np.float32)}
    assert 0 < np.linalg.norm(half - whole) < 0.03 * np.linalg.norm(whole)


@functools.partial(jax.jit, static_argnames="config")
def summed_gradients(params, tokens, *, config):
    def total(params):
        decoder = decoder_with(config, params)
        positions = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        return jnp.sum(decoder.logits(decoder(tokens, positions, jnp.ones_like(tokens))[0]) ** 2)

    return jax.grad(total)(params)


def test_computing_layers_again_gives_the_same_gradients(params):
    tokens = jnp.array([[1, 5, 2, 10, 0, 7, 7]], jnp.int32)
    kept = summed_gradients(params, tokens, config=SMALL)
    again = summed_gradients(params, tokens, config=dataclasses.replace(SMALL, remat=True))
    for name, gradient in kept.items():
        np.testing.assert_allclose(again[name], gradient, rtol=1e-4, atol=1e-4)


def test_an_embedding_with_fewer_rows_than_the_tokenizer_has_ids_is_refused():
    with pytest.raises(SpecError, match=r"^model.vocab_size: 10, but the tokenizer has 11 ids; give at least those$"):
        DecoderConfig.from_spec(SMALL_SPEC.model_copy(update={"vocab_size": 10}), vocab_size=11)


def test_the_tiny_preset_has_the_parameters_counted_by_hand():
    block = 4 * 128 * 128 + 3 * 128 * 512 + 2 * 128 + 2 * 32
    shapes = abstract_params(QUICKSTART)
    assert sum(shape.size for shape in shapes.values()) == 259 * 128 + 2 * block + 128
    assert {shape.dtype for shape in shapes.values()} == {np.dtype(np.float32)}


def test_output_projections_start_smaller_by_the_root_of_twice_the_layers():
    drawn = initial_params(QUICKSTART, 0)
    for name, array in drawn.items():
        if name.endswith("scale"):
            np.testing.assert_array_equal(array, np.ones(array.shape))
        else:
            expected = 0.01 if name.endswith(("attention.out", "mlp.down")) else 0.02
            assert np.std(array) == pytest.approx(expected, rel=0.03), name
            assert abs(np.mean(array)) < 5e-4, name


def test_weights_are_drawn_from_the_seed_alone(params):
    again, other = initial_params(SMALL, 3), initial_params(SMALL, 4)
    assert all(np.array_equal(params[name], again[name]) for name in params)
    drawn = [name for name in params if not name.endswith("scale")]
    assert not any(np.array_equal(params[name], other[name]) for name in drawn)
    assert len({np.asarray(params[name]).ravel()[0] for name in drawn}) == len(drawn)


def test_a_token_never_sees_what_comes_after_it(params):
    before, after = logits(params, [[1, 2, 3, 4, 5]]), logits(params, [[1, 2, 3, 9, 9]])
    np.testing.assert_array_equal(before[0, :3], after[0, :3])
    assert not np.allclose(before[0, 3:], after[0, 3:])


@settings(max_examples=15, deadline=None)
@given(
    first=st.lists(st.integers(0, 10), min_size=1, max_size=8),
    second=st.lists(st.integers(0, 10), min_size=1, max_size=8),
)
def test_a_trace_gets_the_same_logits_packed_and_alone(params, first, second):
    pad = 16 - len(first) - len(second)
    packed = logits(
        params,
        [first + second + [0] * pad],
        [[1] * len(first) + [2] * len(second) + [0] * pad],
        [[*range(len(first)), *range(len(second)), *[0] * pad]],
    )[0]
    for start, trace in ((0, first), (len(first), second)):
        alone = logits(params, [trace + [0] * (16 - len(trace))])[0, : len(trace)]
        np.testing.assert_allclose(packed[start : start + len(trace)], alone, rtol=1e-4, atol=1e-4)


def test_rotation_turns_pairs_by_the_angle_of_their_position():
    x = jnp.array([1.0, 2.0, 3.0, 4.0])[None, None, None]
    turned = np.asarray(rotate(x, *rotary_angles(jnp.array([[3]]), width=4, theta=100.0)))[0, 0, 0]
    # Pairs are (0, 2) and (1, 3); wave numbers are 100**0 and 100**-0.5.
    expected = np.array([1 + 3j, 2 + 4j]) * np.exp(1j * 3 * np.array([1.0, 0.1]))
    np.testing.assert_allclose(turned, [*expected.real, *expected.imag], rtol=1e-5)


def test_only_distances_between_positions_matter(params):
    tokens, positions = [[3, 1, 4, 1, 5]], np.arange(5)[None]
    near, far = logits(params, tokens, positions=positions), logits(params, tokens, positions=positions + 100)
    np.testing.assert_allclose(near, far, rtol=1e-3, atol=1e-3)
    assert not np.allclose(near, logits(params, tokens, positions=2 * positions), atol=1e-2)


def test_without_qk_norm_there_are_no_norms_of_queries_and_keys():
    bare = abstract_params(dataclasses.replace(SMALL, qk_norm=False))
    gone = set(abstract_params(SMALL)) - set(bare)
    assert gone == {f"blocks.{n}.attention.{part}_norm.scale" for n in (0, 1) for part in ("query", "key")}
