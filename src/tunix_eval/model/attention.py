"""Attention over whole rows, forwards and backwards; what decoding does with its cache stands in `decoding`.

Axes: B rows, T tokens, H heads, K heads of keys and values, D width of a head.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from tunix_eval.sizes import fits_cudnn, query_blocks


def attend(query: jax.Array, key: jax.Array, value: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Return means of values, [B, H, T, D], weighed by the softmax of scaled products of queries and keys.

    A token attends to itself and to what stands before it in its segment.

    Args:
        query: [B, H, T, D].
        key: [B, K, T, D]; head h attends to the keys h * K // H.
        value: [B, K, T, D].
        segment_ids: int32[B, T].
    """
    rows, heads, tokens, width = query.shape
    if jax.default_backend() == "gpu" and query.dtype == jnp.bfloat16 and fits_cudnn(tokens, width):
        return library_attend(query, key, value, segment_ids, implementation="cudnn")
    # Scaled before the product: T * D numbers instead of T * T.
    query = (query.astype(jnp.float32) * (width**-0.5)).astype(query.dtype)
    query = query.reshape(rows, key.shape[1], heads // key.shape[1], tokens, width)
    mixed: jax.Array = _in_blocks(query, key, value, segment_ids)
    return mixed.reshape(rows, heads, tokens, width)


def library_attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    segment_ids: jax.Array,
    *,
    implementation: Literal["cudnn", "xla"],
) -> jax.Array:
    """Do what `attend` does by JAX's own function, which holds no T * T numbers with cuDNN."""
    mask = _mask(segment_ids, 0, segment_ids.shape[1])[:, None]
    query, key, value = (array.transpose(0, 2, 1, 3) for array in (query, key, value))
    mixed: jax.Array = jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=implementation)
    return mixed.transpose(0, 2, 1, 3)


class _Held(NamedTuple):
    """What the backward pass needs; queries are [B, K, H/K, T, D]."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    exponentials: list[jax.Array]
    """[B, K, H/K * n, end] of the n queries of a block; what is masked is 0."""
    inverse_sums: jax.Array
    """float32, [B, K, H/K, T, 1]"""
    mixed: jax.Array


@jax.custom_vjp
def _in_blocks(query: jax.Array, key: jax.Array, value: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """Attend a block of queries after another, each to the keys up to its own end: what is later costs nothing.

    The gradient is that of softmax by hand: of all T * T numbers, the exponentials alone are kept, undivided.
    """
    return _forwards(query, key, value, segment_ids)[0]


def _forwards(query: jax.Array, key: jax.Array, value: jax.Array, segment_ids: jax.Array) -> tuple[jax.Array, _Held]:
    mixed, every, sums = [], [], []
    for start, end in query_blocks(query.shape[3]):
        here = query[:, :, :, start:end]
        scores = _product("bktd,bksd->bkts", _heads_in_line(here), key[:, :, :end])
        # Heads that share keys stand one behind the other, as if they were more tokens.
        mask = jnp.tile(_mask(segment_ids, start, end), (1, here.shape[2], 1))[:, None]
        scores = jnp.where(mask, scores, -jnp.inf)
        # Every token attends to itself, so that no row is without a largest score.
        exponentials = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        inverse = 1.0 / exponentials.sum(axis=-1, keepdims=True)
        exponentials = exponentials.astype(value.dtype)
        gathered = _product("bkts,bksd->bktd", exponentials, value[:, :, :end]) * inverse
        every.append(exponentials)
        mixed.append(gathered.reshape(here.shape))
        sums.append(inverse.reshape(*here.shape[:-1], 1))
    found = jnp.concatenate(mixed, axis=3).astype(query.dtype)
    return found, _Held(query, key, value, every, jnp.concatenate(sums, axis=3), found)


def _backwards(held: _Held, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    scaled = gradient.astype(jnp.float32) * held.inverse_sums
    through_sum = (scaled * held.mixed.astype(jnp.float32)).sum(axis=-1, keepdims=True)
    scaled = scaled.astype(gradient.dtype)
    of_query = []
    of_key = of_value = jnp.zeros(held.key.shape, jnp.float32)
    for (start, end), exponentials in zip(query_blocks(held.query.shape[3]), held.exponentials, strict=True):
        here, incoming, shift = (_heads_in_line(a[:, :, :, start:end]) for a in (held.query, scaled, through_sum))
        key, value = held.key[:, :, :end], held.value[:, :, :end]
        of_value += _lengthened(_product("bkts,bktd->bksd", exponentials, incoming), like=of_value)
        of_scores = exponentials.astype(jnp.float32) * (_product("bktd,bksd->bkts", incoming, value) - shift)
        of_scores = of_scores.astype(here.dtype)
        of_key += _lengthened(_product("bkts,bktd->bksd", of_scores, here), like=of_key)
        of_query.append(_product("bkts,bksd->bktd", of_scores, key).reshape(held.query[:, :, :, start:end].shape))
    query, key, value = jnp.concatenate(of_query, axis=3), of_key, of_value
    return query.astype(held.query.dtype), key.astype(held.key.dtype), value.astype(held.value.dtype), None


_in_blocks.defvjp(_forwards, _backwards)


def _mask(segment_ids: jax.Array, start: int, end: int) -> jax.Array:
    """Return bool[B, end - start, end]; True where the first token may attend to the second."""
    causal = jnp.arange(start, end)[:, None] >= jnp.arange(end)[None]
    return (segment_ids[:, start:end, None] == segment_ids[:, None, :end]) & causal[None]


def _heads_in_line(array: jax.Array) -> jax.Array:
    """Return [B, K, G * n, X] for [B, K, G, n, X]."""
    rows, kv_heads, group, tokens, width = array.shape
    return array.reshape(rows, kv_heads, group * tokens, width)


def _lengthened(array: jax.Array, *, like: jax.Array) -> jax.Array:
    """Return [B, K, T, D] for [B, K, S, D], with zeros behind."""
    return jnp.pad(array, [(0, 0), (0, 0), (0, like.shape[2] - array.shape[2]), (0, 0)])


def _product(axes: str, one: jax.Array, other: jax.Array) -> jax.Array:
    """Return a product in float32, whatever the dtype of its factors."""
    return jnp.einsum(axes, one, other, preferred_element_type=jnp.float32)
