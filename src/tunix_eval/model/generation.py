"""Completions, greedy or sampled: prefill and cached decoding in one compiled loop.

Prompts are padded on the left (see `buckets`), so that all rows write into the same column.

    bucket 16   pad ... pad <bos> 1 + 2 =  | 3 <eos>
    position    0   ...  0   0    1 2 3 4  | 5 6
    step                                   | 0 1

A sampled token depends on the row's seed, the step and the logits alone.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from tunix_eval.errors import SpecError
from tunix_eval.model.buckets import batches, check_ids
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Cache, Params, decoder_with, empty_cache, without_pad
from tunix_eval.model.logprobs import next_token_logprobs
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Generation
from tunix_eval.specs import GenerationSpec

if TYPE_CHECKING:
    from tunix_eval.records import FloatArray, TokenArray

LOGPROB_ROWS = 16
"""Sequences whose log-probabilities are computed at once."""


class FlaxModel:
    """Weights that can write."""

    def __init__(self, config: DecoderConfig, params: Params, *, pad_id: int) -> None:
        self.config = config
        self.params = params
        self.pad_id = pad_id
        self.weights_sha256 = weights_sha256(params)

    def generate(
        self,
        prompts: Sequence[TokenArray],
        settings: GenerationSpec,
        *,
        stop_ids: tuple[int, ...],
        seeds: Sequence[int] = (),
    ) -> list[Generation]:
        """Complete every prompt (int32[T] each), in order; the pad id is never written.

        Where there is a temperature, `seeds` has one for each prompt, 0 <= seed < 2**64.

        Raises:
            RenderError: a prompt without tokens, or with ids outside the vocabulary.
            SpecError: a temperature, and not one seed for each prompt.
        """
        check_ids("prompt", prompts, self.config.vocab_size)
        words = _key_words(seeds, len(prompts), settings.temperature) if settings.temperature else None
        stops = jnp.array(stop_ids, jnp.int32)
        written: dict[int, Generation] = {}
        for places, tokens, lengths in batches(prompts, rows=settings.rows, pad_id=self.pad_id):
            ids, counts, stopped = decode(
                self.params,
                tokens,
                lengths,
                stops,
                None if words is None else _draws(words[places], settings),
                config=self.config,
                max_new_tokens=settings.max_new_tokens,
                pad_id=self.pad_id,
            )
            ids, counts, stopped = np.asarray(ids), np.asarray(counts), np.asarray(stopped)
            for row, place in enumerate(places):
                text = tuple(ids[row, : counts[row]].tolist())
                written[place] = Generation(ids=text, stop_reason="stop" if stopped[row] else "length")
        return [written[place] for place in range(len(prompts))]

    def token_logprobs(self, sequences: Sequence[TokenArray]) -> list[FloatArray]:
        """Return the log-probability in nats of every token but the first, given those before it, in order.

        Takes int32[T] each, gives float32[T - 1] each. The pad id's is minus infinity, since it is never written.

        Raises:
            RenderError: a sequence without tokens, or with ids outside the vocabulary.
        """
        check_ids("sequence", sequences, self.config.vocab_size)
        found: dict[int, FloatArray] = {}
        for places, tokens, lengths in batches(sequences, rows=LOGPROB_ROWS, pad_id=self.pad_id):
            logprobs = np.asarray(
                next_token_logprobs(self.params, tokens, lengths, config=self.config, pad_id=self.pad_id)
            )
            for row, place in enumerate(places):
                found[place] = logprobs[row, tokens.shape[1] - lengths[row] :].copy()
        return [found[place] for place in range(len(sequences))]


def _key_words(seeds: Sequence[int], prompts: int, temperature: float) -> npt.NDArray[np.uint32]:
    """Return the upper and the lower half of every seed: uint32[N, 2]."""
    if len(seeds) != prompts:
        raise SpecError(f"temperature {temperature:g}: {len(seeds)} seeds for {prompts} prompts; give each its own")
    for number, seed in enumerate(seeds):
        if not 0 <= seed < 2**64:
            raise SpecError(f"seed {number} is {seed}, expected a whole number from 0 to 2**64 - 1")
    return np.array([(seed >> 32, seed & 0xFFFF_FFFF) for seed in seeds], np.uint32).reshape(prompts, 2)


class Draws(NamedTuple):
    """What tokens are drawn by."""

    keys: jax.Array
    """uint32[B, 2]; a threefry key for each row."""
    temperature: jax.Array
    """float32 scalar."""


def _draws(words: npt.NDArray[np.uint32], settings: GenerationSpec) -> Draws:
    filler = settings.rows - len(words)
    return Draws(jnp.asarray(np.pad(words, ((0, filler), (0, 0)))), jnp.float32(settings.temperature))


def gumbel_noise(keys: jax.Array, step: jax.Array, vocab_size: int) -> jax.Array:
    """Return standard Gumbel noise, float32[B, V], that depends on a row's key (uint32[2]) and the step alone."""

    def of_row(words: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), step)
        return jax.random.gumbel(key, (vocab_size,), jnp.float32)

    return jax.vmap(of_row)(keys)


class _Loop(NamedTuple):
    """What one decoding step hands to the next."""

    step: jax.Array
    """int32 scalar; steps done."""
    logits: jax.Array
    """float32[B, V] for the next token."""
    ids: jax.Array
    """int32[B, max_new_tokens]"""
    counts: jax.Array
    """int32[B]; ids written, the stop token apart."""
    stopped: jax.Array
    """bool[B]"""
    cache: Cache


@functools.partial(jax.jit, static_argnames=("config", "max_new_tokens", "pad_id"))
def decode(
    params: Params,
    tokens: jax.Array,
    lengths: jax.Array,
    stop_ids: jax.Array,
    draws: Draws | None,
    *,
    config: DecoderConfig,
    max_new_tokens: int,
    pad_id: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take the likeliest token, or draw one, until every row has stopped or is full.

    Args:
        params: the weights.
        tokens: int32[B, T], prompts padded on the left.
        lengths: int32[B]; a row of length 0 is filler.
        stop_ids: int32[K]; any of them ends a row.
        draws: keys and temperature; None takes the likeliest token, by a program without random numbers.
        config: the decoder's sizes.
        max_new_tokens: where a row is full.
        pad_id: never written.

    Returns:
        ids int32[B, max_new_tokens], counts int32[B], stopped bool[B].
    """
    decoder = decoder_with(config, params)
    rows, width = tokens.shape
    space = width + max_new_tokens
    columns, offsets = jnp.arange(space, dtype=jnp.int32)[None], (width - lengths)[:, None]
    is_text = columns >= offsets
    causal = columns[0, None, :] <= columns[0, :width, None]
    prefill_mask = is_text[:, None, :] & causal[None]

    def last_logits(hidden: jax.Array) -> jax.Array:
        return without_pad(decoder.logits(hidden[:, -1:])[:, 0], pad_id)

    def chosen(loop: _Loop) -> jax.Array:
        if draws is None:
            return jnp.argmax(loop.logits, axis=-1).astype(jnp.int32)
        # The argument of the maximum is a draw from softmax(logits / temperature); scaled noise is exact near 0, too.
        # Source: Gumbel 1954, "Statistical Theory of Extreme Values and Some Practical Applications".
        noise = draws.temperature * gumbel_noise(draws.keys, loop.step, config.vocab_size)
        return jnp.argmax(loop.logits + noise, axis=-1).astype(jnp.int32)

    def unfinished(loop: _Loop) -> jax.Array:
        return (loop.step < max_new_tokens) & ~jnp.all(loop.stopped)

    def write_one(loop: _Loop) -> _Loop:
        token = chosen(loop)
        stopped = loop.stopped | jnp.any(token[:, None] == stop_ids[None], axis=-1)
        ids = jax.lax.dynamic_update_slice_in_dim(loop.ids, token[:, None], loop.step, axis=1)
        column = width + loop.step
        mask = is_text & (columns <= column)
        hidden, cache = decoder(token[:, None], column - offsets, mask[:, None, :], loop.cache, column)
        counts = loop.counts + (~stopped).astype(jnp.int32)
        return _Loop(loop.step + 1, last_logits(hidden), ids, counts, stopped, cache)

    positions = jnp.maximum(columns[:, :width] - offsets, 0)
    cache = empty_cache(config, rows=rows, tokens=space)
    hidden, cache = decoder(tokens, positions, prefill_mask, cache, 0)
    first = _Loop(
        step=jnp.int32(0),
        logits=last_logits(hidden),
        ids=jnp.zeros((rows, max_new_tokens), jnp.int32),
        counts=jnp.zeros(rows, jnp.int32),
        stopped=lengths == 0,
        cache=cache,
    )
    final = jax.lax.while_loop(unfinished, write_one, first)
    return final.ids, final.counts, final.stopped
