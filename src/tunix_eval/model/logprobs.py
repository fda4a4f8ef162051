"""Log-probabilities of given tokens, teacher forced."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, decoder_with
from tunix_eval.model.vocabulary import Vocabulary, writable


@functools.partial(jax.jit, static_argnames=("config", "vocabulary"))
def next_token_logprobs(
    params: Params, tokens: jax.Array, lengths: jax.Array, *, config: DecoderConfig, vocabulary: Vocabulary
) -> jax.Array:
    """Return the log-probability in nats of every token but the first, given those before it.

        tokens   pad  pad  <bos>  1+2=  3     <eos>
        returns       -    -      1+2=  3     <eos>

    Ids that are never written have no probability, as in decoding: the others' add up to 1.

    Args:
        params: the weights.
        tokens: int32[B, T], padded on the left.
        lengths: int32[B]; a row's last `length - 1` values are those of its tokens.
        config: the decoder's sizes.
        vocabulary: which ids may be written.

    Returns:
        float32[B, T - 1].
    """
    decoder = decoder_with(config, params)
    width = tokens.shape[1]
    columns, offsets = jnp.arange(width, dtype=jnp.int32)[None], (width - lengths)[:, None]
    hidden, _ = decoder(tokens, jnp.maximum(columns - offsets, 0), (columns >= offsets).astype(jnp.int32))

    def of_row(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        hidden, tokens = row
        logits = writable(decoder.logits(hidden[:-1]), vocabulary)
        picked = jnp.take_along_axis(logits, tokens[1:, None], axis=-1)[:, 0]
        return picked - jax.nn.logsumexp(logits, axis=-1)

    # Row by row: the logits of all rows at once would be B * T * V numbers.
    logprobs: jax.Array = jax.lax.map(of_row, (hidden, tokens))
    return logprobs
