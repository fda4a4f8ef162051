"""The training loss, over all logits at once or over chunks of them."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from tunix_eval.model.decoder import Decoder
from tunix_eval.sizes import chosen_chunk


class Supervised(Protocol):
    """The arrays of a batch that say what is predicted, [B, T] each; loss_weights may be None."""

    @property
    def tokens(self) -> Any:
        """int32."""

    @property
    def loss_mask(self) -> Any:
        """bool; see `next_token_nll`."""

    @property
    def segment_ids(self) -> Any:
        """int32."""

    @property
    def loss_weights(self) -> Any:
        """float32."""


def batch_nll(
    decoder: Decoder, hidden: jax.Array, batch: Supervised, *, chunk: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """Sum the negative log-likelihood of every supervised token, as `next_token_nll` does, from hidden states.

    Where the logits are many, they are computed `chunk` tokens at a time, and so is, where it is asked for, the
    gradient: in the same pass, so that no chunk is computed twice and none is kept.

    Args:
        decoder: whose logits they are.
        hidden: [B, T, W], in the decoder's dtype.
        batch: what is predicted.
        chunk: tokens whose logits are held at once; None takes as many as cost no speed.

    Returns:
        Two float32 scalars: the total loss in nats, and the count, as of `next_token_nll`.
    """
    rows, tokens = hidden.shape[:2]
    if chunk is None:
        chunk = chosen_chunk(rows * tokens, decoder.config.vocab_size, jax.default_backend())
    if chunk >= rows * tokens:
        given = batch.tokens, batch.loss_mask, batch.segment_ids, batch.loss_weights
        return next_token_nll(decoder.logits(hidden), *given)
    targets, counted = _targets(batch.tokens, batch.loss_mask, batch.segment_ids)
    weights = _weights(counted, batch.loss_weights)
    # Of every row those under loss come first, so that chunks behind the last of them are left out.
    order = jnp.argsort(~(weights > 0), axis=1, stable=True)
    columns = max(chunk // rows, 1)
    padding = -tokens % columns
    order = jnp.pad(order, ((0, 0), (0, padding)))
    sorted_hidden = _at(hidden, order)
    sorted_weights = jnp.pad(_at(weights, order[:, :tokens]), ((0, 0), (0, padding)))
    nats = _chunked_nats(columns, sorted_hidden, decoder.output_weights(), _at(targets, order), sorted_weights)
    return nats, jnp.sum(weights)


def next_token_nll(
    logits: jax.Array,
    tokens: jax.Array,
    loss_mask: jax.Array,
    segment_ids: jax.Array,
    loss_weights: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Sum the negative log-likelihood of every supervised token.

    Returns a sum and a count rather than a mean, so that accumulating several batches weighs every token equally.

        text        <bos> 1+1= 2  <eos> <bos> 2+2= 4  <eos> pad
        loss_mask   0     0    1  1     0     0    1  1     0
        predicts    1+1=  2    <eos> -  2+2=  4    <eos> -  -
        counts      0     1    1  0     0     1    1  0     0

    Args:
        logits: float32[B, T, V]; logits[:, t] predicts token t + 1.
        tokens: int32[B, T].
        loss_mask: bool[B, T]; True where the token itself is predicted under loss.
        segment_ids: int32[B, T]; 0 is padding.
        loss_weights: float32[B, T] or None; what the prediction of each token weighs.

    Returns:
        Two float32 scalars: the total loss in nats, and the number of tokens in it; with weights, the weighted total,
        and the sum of the weights.
    """
    targets, counted = _targets(tokens, loss_mask, segment_ids)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    nats = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - picked, 0.0)
    weights = _weights(counted, loss_weights)
    return jnp.sum(nats if loss_weights is None else nats * weights), jnp.sum(weights)


def _targets(tokens: jax.Array, loss_mask: jax.Array, segment_ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the next token of each, int32[B, T], and whether its prediction counts, bool[B, T]."""
    # Targets move left by one instead of cutting the logits' last column off, which would copy them all.
    targets = jnp.roll(tokens, -1, axis=1)
    # A packed row's next token may open another trace; nothing before it can predict that.
    same_trace = (segment_ids == jnp.roll(segment_ids, -1, axis=1)) & (segment_ids > 0)
    has_next = jnp.arange(tokens.shape[1]) < tokens.shape[1] - 1
    return targets, jnp.roll(loss_mask, -1, axis=1) & same_trace & has_next[None]


def _weights(counted: jax.Array, loss_weights: jax.Array | None) -> jax.Array:
    if loss_weights is None:
        return counted.astype(jnp.float32)
    return jnp.where(counted, jnp.roll(loss_weights, -1, axis=1), 0.0)


def _at(array: jax.Array, order: jax.Array) -> jax.Array:
    """Return [B, T, ...] in another order of T, int32[B, T]."""
    order = order.reshape(*order.shape, *(1,) * (array.ndim - 2))
    return jnp.take_along_axis(array, order, axis=1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked_nats(
    columns: int, hidden: jax.Array, matrix: jax.Array, targets: jax.Array, weights: jax.Array
) -> jax.Array:
    """Return the weighted sum of the nats, a float32 scalar.

    Args:
        columns: of T that are taken at once; divides T.
        hidden: [B, T, W].
        matrix: [V, W]; logits are products with it.
        targets: int32[B, T].
        weights: float32[B, T]; columns behind the last above 0 are not looked at.
    """

    def add(index: jax.Array, nats: jax.Array) -> jax.Array:
        chunk = _chunk(index, columns, hidden, targets, weights)
        new: jax.Array = _nats_of(matrix, *chunk)[0]
        return nats + new

    nats: jax.Array = jax.lax.fori_loop(0, _chunks(columns, weights), add, jnp.float32(0.0))
    return nats


def _nats_and_gradients(
    columns: int, hidden: jax.Array, matrix: jax.Array, targets: jax.Array, weights: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    rows, width = hidden.shape[0], hidden.shape[2]

    def add(index: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        nats, of_hidden, of_matrix = sums
        states, ids, weight = _chunk(index, columns, hidden, targets, weights)
        new, exponentials, total = _nats_of(matrix, states, ids, weight)
        # The softmax is never formed: its divisor, and the 1 at the target, go into the narrow sides of the products.
        scale = weight[:, None] / total
        exponentials = exponentials.astype(matrix.dtype)
        wide = _product("nv,vw->nw", exponentials, matrix) * scale - weight[:, None] * matrix[ids].astype(jnp.float32)
        narrow = states.astype(jnp.float32)
        of_matrix += _product("nv,nw->vw", exponentials, (narrow * scale).astype(matrix.dtype))
        of_matrix = of_matrix.at[ids].add(-weight[:, None] * narrow)
        part = wide.astype(hidden.dtype).reshape(rows, columns, width)
        of_hidden = jax.lax.dynamic_update_slice_in_dim(of_hidden, part, index * columns, axis=1)
        return nats + new, of_hidden, of_matrix

    zeros = jnp.float32(0.0), jnp.zeros_like(hidden), jnp.zeros(matrix.shape, jnp.float32)
    nats, of_hidden, of_matrix = jax.lax.fori_loop(0, _chunks(columns, weights), add, zeros)
    return nats, (of_hidden, of_matrix.astype(matrix.dtype))


def _scaled(
    _columns: int, gradients: tuple[jax.Array, jax.Array], factor: jax.Array
) -> tuple[jax.Array, jax.Array, None, None]:
    of_hidden, of_matrix = gradients
    return of_hidden * factor.astype(of_hidden.dtype), of_matrix * factor.astype(of_matrix.dtype), None, None


_chunked_nats.defvjp(_nats_and_gradients, _scaled)


def _chunks(columns: int, weights: jax.Array) -> jax.Array:
    """Return how many chunks hold something, int32."""
    last = jnp.max(jnp.where(weights > 0, jnp.arange(1, weights.shape[1] + 1, dtype=jnp.int32)[None], 0))
    return (last + columns - 1) // columns


def _chunk(index: jax.Array, columns: int, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Return a chunk's columns with rows and columns as one axis."""
    cut = (jax.lax.dynamic_slice_in_dim(array, index * columns, columns, axis=1) for array in arrays)
    return tuple(part.reshape(-1, *part.shape[2:]) for part in cut)


def _nats_of(
    matrix: jax.Array, states: jax.Array, ids: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a chunk's weighted nats, its exponentials float32[N, V], and their sums float32[N, 1]."""
    logits = _product("nw,vw->nv", states, matrix)
    largest = jnp.max(logits, axis=1, keepdims=True)
    exponentials = jnp.exp(logits - largest)
    total = jnp.sum(exponentials, axis=1, keepdims=True)
    picked = jnp.take_along_axis(logits, ids[:, None], axis=1)
    return jnp.sum((jnp.log(total) + largest - picked)[:, 0] * weight), exponentials, total


def _product(subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, one, other, preferred_element_type=jnp.float32)
