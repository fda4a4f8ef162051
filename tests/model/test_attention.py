import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tunix_eval.model.attention import attend, library_attend
from tunix_eval.model.layers import gated
from tunix_eval.sizes import QUERY_BLOCK as BLOCK


def drawn(tokens, kv_heads, dtype=jnp.float32):
    """Queries, keys and values of two rows of 4 heads, and segments of any length; the second row ends in pads."""
    rng = np.random.default_rng(tokens)
    arrays = [jnp.asarray(rng.normal(size=(2, heads, tokens, 8)), dtype) for heads in (4, kv_heads, kv_heads)]
    segments = np.cumsum(rng.random((2, tokens)) < 3 / tokens, axis=1).astype(np.int32) + 1
    segments[1, -tokens // 4 :] = 0
    return arrays, jnp.asarray(segments)


def by_library(query, key, value, segments):
    return library_attend(query, key, value, segments, implementation="xla")


@pytest.mark.parametrize(("tokens", "kv_heads"), [(1, 2), (6, 1), (BLOCK + 1, 2), (3 * BLOCK - 5, 4)])
def test_attention_and_its_gradient_are_those_of_jaxs_own_function(tokens, kv_heads):
    arrays, segments = drawn(tokens, kv_heads)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=arrays[0].shape), jnp.float32)

    def found(attention):
        def total(*arrays):
            mixed = attention(*arrays, segments)
            return jnp.sum(mixed * weights), mixed

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*arrays)

    for ours, expected in zip(*map(jax.tree.leaves, (found(attend), found(by_library))), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)


def test_in_bfloat16_softmax_and_sums_are_of_float32_and_so_are_those_of_the_gradient():
    arrays, segments = drawn(BLOCK + 40, 2, jnp.bfloat16)

    def found(attention, *arrays):
        def total(*arrays):
            mixed = attention(*arrays, segments)
            return jnp.sum(jnp.sin(mixed.astype(jnp.float32))), mixed

        return jax.tree.leaves(jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*arrays))

    exact = found(by_library, *(array.astype(jnp.float32) for array in arrays))
    for ours, expected in zip(found(attend, *arrays), exact, strict=True):
        assert ours.dtype == jnp.bfloat16
        assert jnp.linalg.norm(ours.astype(jnp.float32) - expected) < 0.01 * jnp.linalg.norm(expected)


@pytest.mark.parametrize("factor", [3.0, float("nan")])
def test_a_row_has_the_same_bits_whatever_its_neighbours_hold(factor):
    (query, key, value), segments = drawn(2 * BLOCK, 4)
    gradient = jax.jit(jax.grad(lambda q, k, v: jnp.sum(attend(q, k, v, segments)[0] ** 2), argnums=(0, 1, 2)))
    found = gradient(query, key, value)
    others = gradient(*(array.at[1].multiply(factor) for array in (query, key, value)))
    for one, other in zip(found, others, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_the_gated_product_has_the_gradient_of_its_formula():
    gate, up = jax.random.normal(jax.random.key(0), (2, 5, 7)) * 3
    formula = lambda gate, up: jnp.sum(jnp.sin(jax.nn.silu(gate) * up))  # noqa: E731
    ours = lambda gate, up: jnp.sum(jnp.sin(gated(gate, up)))  # noqa: E731
    for found, expected in zip(*(jax.grad(f, argnums=(0, 1))(gate, up) for f in (ours, formula)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
