"""Which token comes next: the likeliest, or one that is drawn.

A drawn token depends on the row's key, its step and its logits alone. The order of what narrows the choice is that of
Hugging Face's `generate`: temperature, then top-k, then top-p over what top-k left, then min-p. Tokens of equal
logits stay or go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from tunix_eval.errors import SpecError
from tunix_eval.specs import GenerationSpec

KeyWords = npt.NDArray[np.uint32]
"""uint32[N, 2]: the upper and the lower half of every seed, which are a threefry key."""


class Filters(NamedTuple):
    """Which tokens are drawn from; None narrows nothing, and costs nothing."""

    top_k: jax.Array | None
    """float32 scalar."""
    top_p: jax.Array | None
    """float32 scalar."""
    min_p: jax.Array | None
    """float32 scalar."""


class Draws(NamedTuple):
    """What tokens are drawn by."""

    keys: jax.Array
    """uint32[B, 2]; a threefry key for each row."""
    temperature: jax.Array
    """float32 scalar."""
    filters: Filters


def key_words(seeds: Sequence[int], prompts: int, temperature: float) -> KeyWords:
    """Return the key of every seed: uint32[N, 2].

    Raises:
        SpecError: not one seed for each prompt, or a seed outside 64 bits.
    """
    if len(seeds) != prompts:
        raise SpecError(f"temperature {temperature:g}: {len(seeds)} seeds for {prompts} prompts; give each its own")
    for number, seed in enumerate(seeds):
        if not 0 <= seed < 2**64:
            raise SpecError(f"seed {number} is {seed}, expected a whole number from 0 to 2**64 - 1")
    return np.array([(seed >> 32, seed & 0xFFFF_FFFF) for seed in seeds], np.uint32).reshape(prompts, 2)


def filters_of(settings: GenerationSpec) -> Filters:
    """Return the filters that settings ask for, apart from those that keep every token."""

    def given(value: float | None, keeps_all: float) -> jax.Array | None:
        return None if value is None or value == keeps_all else jnp.float32(value)

    return Filters(given(settings.top_k, np.inf), given(settings.top_p, 1.0), given(settings.min_p, 0.0))


def next_tokens(logits: jax.Array, draws: Draws | None, steps: jax.Array) -> jax.Array:
    """Return the next token of every row, int32[B].

    Args:
        logits: float32[B, V]; minus infinity for what is never written.
        draws: None takes the likeliest token, by a program without random numbers.
        steps: int32[B]; how many tokens each row has written.
    """
    if draws is None:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    # The argument of the maximum is a draw from softmax(logits / temperature); scaled noise is exact near 0, too.
    # Source: Gumbel 1954, "Statistical Theory of Extreme Values and Some Practical Applications".
    noise = draws.temperature * gumbel_noise(draws.keys, steps, logits.shape[-1])
    kept = filtered(logits, draws.temperature, draws.filters)
    return jnp.argmax(kept + noise, axis=-1).astype(jnp.int32)


def gumbel_noise(keys: jax.Array, steps: jax.Array, vocab_size: int) -> jax.Array:
    """Return standard Gumbel noise, float32[B, V], that depends on a row's key (uint32[2]) and its step alone."""

    def of_row(words: jax.Array, step: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.wrap_key_data(words, impl="threefry2x32"), step)
        return jax.random.gumbel(key, (vocab_size,), jnp.float32)

    return jax.vmap(of_row)(keys, steps)


def filtered(logits: jax.Array, temperature: jax.Array, filters: Filters) -> jax.Array:
    """Return float32[B, V] logits with minus infinity for every token that is not drawn from.

    Source: Fan et al. 2018, "Hierarchical Neural Story Generation" (top-k); Holtzman et al. 2020, "The Curious Case
    of Neural Text Degeneration" (top-p); Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling" (min-p).
    """
    if filters.top_k is not None:
        logits = _likeliest(logits, jnp.ones_like(logits), filters.top_k)
    if filters.top_p is not None:
        weights = jnp.exp(_below_top(logits) / temperature)
        logits = _likeliest(logits, weights, filters.top_p * jnp.sum(weights, axis=-1, keepdims=True))
    if filters.min_p is not None:
        logits = jnp.where(_below_top(logits) >= temperature * jnp.log(filters.min_p), logits, -jnp.inf)
    return logits


def _below_top(logits: jax.Array) -> jax.Array:
    """Return how far each logit is below its row's largest, float32[B, V]."""
    return logits - jnp.max(logits, axis=-1, keepdims=True)


def _likeliest(logits: jax.Array, weights: jax.Array, limit: jax.Array) -> jax.Array:
    """Keep a token if those with larger logits weigh less than `limit` together; float32[B, V].

    The smallest logit that is kept is found bit by bit in 32 passes; to sort takes longer, and parts equal logits.
    """
    bits = jax.lax.bitcast_convert_type(jnp.where(logits == 0, jnp.float32(0), logits), jnp.int32)
    # Of negative numbers the larger has the smaller bits: with those turned over, whole numbers order as floats do.
    order = bits ^ ((bits >> 31) & 0x7FFF_FFFF)

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low & high) + ((low ^ high) >> 1)
        weight = jnp.sum(jnp.where(order > middle, weights, jnp.float32(0)), axis=-1, keepdims=True)
        enough = weight < limit
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    ends = (jnp.full_like(order[:, :1], -(2**31)), jnp.full_like(order[:, :1], 2**31 - 1))
    smallest, _ = jax.lax.fori_loop(0, 32, halve, ends)
    return jnp.where(order >= smallest, logits, -jnp.inf)
