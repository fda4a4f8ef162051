"""The training loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp


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
    # Targets move left by one instead of cutting the logits' last column off, which would copy them all.
    targets = jnp.roll(tokens, -1, axis=1)
    # A packed row's next token may open another trace; nothing before it can predict that.
    same_trace = (segment_ids == jnp.roll(segment_ids, -1, axis=1)) & (segment_ids > 0)
    has_next = jnp.arange(tokens.shape[1]) < tokens.shape[1] - 1
    counted = jnp.roll(loss_mask, -1, axis=1) & same_trace & has_next[None]
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    nats = jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - picked, 0.0)
    if loss_weights is None:
        return jnp.sum(nats), jnp.sum(counted.astype(jnp.float32))
    weights = jnp.where(counted, jnp.roll(loss_weights, -1, axis=1), 0.0)
    return jnp.sum(nats * weights), jnp.sum(weights)
