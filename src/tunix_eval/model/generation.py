"""Greedy completions: prefill and cached decoding in one compiled loop.

Every prompt is padded on the left to a power of two that depends on its own length alone, and every batch to the
same number of rows. So a completion never depends on what else is asked for, and another number of prompts
compiles nothing.

    bucket 16   pad ... pad <bos> 1 + 2 =  | 3 <eos>
    position    0   ...  0   0    1 2 3 4  | 5 6
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tunix_eval.errors import RenderError
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Cache, Params, decoder_with, empty_cache
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Generation
from tunix_eval.specs import GenerationSpec

if TYPE_CHECKING:
    from tunix_eval.records import TokenArray

SMALLEST_BUCKET = 16


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

        Raises:
            RenderError: a prompt without tokens, or with ids outside the vocabulary.
        """
        for number, prompt in enumerate(prompts):
            _check(prompt, number, self.config.vocab_size)
        stops = jnp.array(stop_ids, jnp.int32)
        written: dict[int, Generation] = {}
        for places, tokens, lengths in _batches(prompts, rows=settings.rows, pad_id=self.pad_id):
            ids, counts, stopped = greedy(
                self.params,
                tokens,
                lengths,
                stops,
                config=self.config,
                max_new_tokens=settings.max_new_tokens,
                pad_id=self.pad_id,
            )
            ids, counts, stopped = np.asarray(ids), np.asarray(counts), np.asarray(stopped)
            for row, place in enumerate(places):
                text = tuple(ids[row, : counts[row]].tolist())
                written[place] = Generation(ids=text, stop_reason="stop" if stopped[row] else "length")
        return [written[place] for place in range(len(prompts))]


def bucket(tokens: int) -> int:
    """Return the power of two that a prompt of so many tokens is padded to.

    >>> [bucket(tokens) for tokens in (1, 16, 17, 100)]
    [16, 16, 32, 128]
    """
    return max(SMALLEST_BUCKET, 1 << (tokens - 1).bit_length())


def _check(prompt: TokenArray, number: int, vocab_size: int) -> None:
    if not len(prompt):
        raise RenderError(f"prompt {number}: no tokens; the renderer must give at least one")
    if prompt.min() < 0 or prompt.max() >= vocab_size:
        raise RenderError(f"prompt {number}: token {prompt.max()}, but the model knows ids 0 to {vocab_size - 1}")


def _batches(
    prompts: Sequence[TokenArray], *, rows: int, pad_id: int
) -> Iterator[tuple[list[int], TokenArray, TokenArray]]:
    """Give places in `prompts`, tokens int32[rows, bucket] padded on the left, and lengths int32[rows]."""
    by_bucket: defaultdict[int, list[int]] = defaultdict(list)
    for place, prompt in enumerate(prompts):
        by_bucket[bucket(len(prompt))].append(place)
    for width in sorted(by_bucket):
        for first in range(0, len(by_bucket[width]), rows):
            places = by_bucket[width][first : first + rows]
            tokens = np.full((rows, width), pad_id, np.int32)
            lengths = np.zeros(rows, np.int32)
            for row, place in enumerate(places):
                lengths[row] = len(prompts[place])
                tokens[row, width - lengths[row] :] = prompts[place]
            yield places, tokens, lengths


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
def greedy(
    params: Params,
    tokens: jax.Array,
    lengths: jax.Array,
    stop_ids: jax.Array,
    *,
    config: DecoderConfig,
    max_new_tokens: int,
    pad_id: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take the likeliest token until every row has stopped or is full.

    Args:
        params: the weights.
        tokens: int32[B, T], prompts padded on the left.
        lengths: int32[B]; a row of length 0 is filler.
        stop_ids: int32[K]; any of them ends a row.
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
        logits = decoder.logits(hidden[:, -1:])[:, 0]
        return jnp.where(jnp.arange(config.vocab_size)[None] == pad_id, -jnp.inf, logits)

    def unfinished(loop: _Loop) -> jax.Array:
        return (loop.step < max_new_tokens) & ~jnp.all(loop.stopped)

    def write_one(loop: _Loop) -> _Loop:
        token = jnp.argmax(loop.logits, axis=-1).astype(jnp.int32)
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
