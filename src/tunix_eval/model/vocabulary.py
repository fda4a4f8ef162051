"""Which ids may be written."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Vocabulary(NamedTuple):
    """The ids that may be written: those of the tokenizer without the pad id."""

    size: int
    """The tokenizer's; the model may have more."""
    pad_id: int
    """Never written."""


def writable(logits: jax.Array, vocabulary: Vocabulary) -> jax.Array:
    """Return float32[N, V] logits with minus infinity for ids that are never written."""
    ids = jnp.arange(logits.shape[-1])[None]
    return jnp.where((ids != vocabulary.pad_id) & (ids < vocabulary.size), logits, -jnp.inf)
