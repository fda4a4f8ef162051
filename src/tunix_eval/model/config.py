"""The sizes of a decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from tunix_eval.errors import SpecError
from tunix_eval.specs import ModelSpec


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The sizes of a decoder, presets resolved."""

    vocab_size: int
    """Rows of the embedding; the tokenizer may have fewer ids."""
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    rope_theta: float
    qk_norm: bool
    tied: bool
    dtype: Literal["float32", "bfloat16"]
    """Of activations; weights are float32."""
    remat: bool
    init_std: float

    @classmethod
    def from_spec(cls, spec: ModelSpec, *, vocab_size: int) -> DecoderConfig:
        """Resolve a model spec for a tokenizer's vocabulary, and for the device that JAX found.

        Raises:
            SpecError: an embedding with fewer rows than the tokenizer has ids.
        """
        rows = vocab_size if spec.vocab_size is None else spec.vocab_size
        if rows < vocab_size:
            raise SpecError(f"model.vocab_size: {rows}, but the tokenizer has {vocab_size} ids; give at least those")
        if spec.dtype == "auto":
            # On CPU bfloat16 products are slower than float32 ones wherever there is no hardware for them.
            dtype: Literal["float32", "bfloat16"] = "float32" if jax.default_backend() == "cpu" else "bfloat16"
        else:
            dtype = spec.dtype
        return cls(
            vocab_size=rows,
            rope_theta=spec.rope_theta,
            qk_norm=spec.qk_norm,
            tied=spec.tied,
            dtype=dtype,
            remat=spec.remat,
            init_std=spec.init_std,
            **spec.sizes(),
        )

    @property
    def activations(self) -> jnp.dtype:
        """Return the dtype of activations."""
        return jnp.dtype(self.dtype)
