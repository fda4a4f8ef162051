"""The decoder's layers: RMSNorm, RoPE, attention with query-key norm, SwiGLU.

Axes: B rows, T tokens, S tokens that can be attended to, W width, H heads, D width of a head.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from tunix_eval.model.config import DecoderConfig

NORM_EPSILON = 1e-6

Angles = tuple[jax.Array, jax.Array]
"""Cosines and signed sines, float32[B, 1, T, 2, D/2] each."""

LayerCache = tuple[jax.Array, jax.Array]
"""Keys and values, float32[B, H, S, D] each."""


def weight(std: float, *shape: int) -> nnx.Param[jax.Array]:
    """Declare a weight that `initial_params` draws with this standard deviation around zero."""
    return nnx.Param(jnp.zeros(shape, jnp.float32), mean=0.0, std=std)


class RMSNorm(nnx.Module):
    """Scale the last axis to a root mean square of one, then by a learned factor.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jnp.ones(width, jnp.float32), mean=1.0, std=0.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape of x."""
        scale = jnp.expand_dims(self.scale[...], tuple(range(x.ndim - 1)))
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def rotary_angles(positions: jax.Array, *, width: int, theta: float) -> Angles:
    """Return cosines and signed sines for `rotate`, float32[B, 1, T, 2, D/2] each.

    Args:
        positions: int32[B, T].
        width: D.
        theta: base of the geometric series of wave lengths.

    Source: Su et al. 2021, "RoFormer"; dimension i turns together with dimension i + D/2.
    """
    frequencies = theta ** (-jnp.arange(width // 2, dtype=jnp.float32) * (2.0 / width))
    angles = positions.astype(jnp.float32)[:, None, :, None] * frequencies[None, None, None, :]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.stack([cos, cos], axis=-2), jnp.stack([-sin, sin], axis=-2)


def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
    """Turn queries or keys, float32[B, H, T, D], by the angles of their positions."""
    halves = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    # Swapping the halves by `rev` fuses with the products around it; a concatenation takes several times as long.
    return (halves * cos + jax.lax.rev(halves, (halves.ndim - 2,)) * sin).reshape(x.shape)


class Attention(nnx.Module):
    """Causal multi-head attention under a mask that the caller gives."""

    def __init__(self, config: DecoderConfig) -> None:
        self.config = config
        std, width = config.init_std, config.width
        self.query = weight(std, width, width)
        self.key = weight(std, width, width)
        self.value = weight(std, width, width)
        self.out = weight(std / math.sqrt(2 * config.layers), width, width)
        self.query_norm = RMSNorm(config.head_width) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_width) if config.qk_norm else None

    def __call__(
        self,
        x: jax.Array,
        angles: Angles,
        mask: jax.Array,
        cache: LayerCache | None,
        start: jax.Array | int,
    ) -> tuple[jax.Array, LayerCache]:
        """Attend; x is float32[B * T, W]. Returns the same shape, and keys and values."""
        query, key, value = (self._heads(x @ part[...], mask) for part in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = rotate(query, *angles), rotate(key, *angles)
        if cache is not None:
            key = jax.lax.dynamic_update_slice_in_dim(cache[0], key, start, axis=2)
            value = jax.lax.dynamic_update_slice_in_dim(cache[1], value, start, axis=2)
        # Scaled before the product: T * D numbers instead of T * S.
        scores = jnp.einsum("bhtd,bhsd->bhts", query * (self.config.head_width**-0.5), key)
        # A finite floor, so that a row with nothing to attend to stays finite.
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e30), axis=-1)
        mixed = jnp.einsum("bhts,bhsd->bhtd", weights, value).transpose(0, 2, 1, 3)
        return mixed.reshape(x.shape) @ self.out[...], (key, value)

    def _heads(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Reshape float32[B * T, W] to float32[B, H, T, D]."""
        rows, tokens = mask.shape[:2]
        return x.reshape(rows, tokens, self.config.heads, self.config.head_width).transpose(0, 2, 1, 3)


class Mlp(nnx.Module):
    """SwiGLU. Source: Shazeer 2020, "GLU Variants Improve Transformer"."""

    def __init__(self, config: DecoderConfig) -> None:
        std, width, inner = config.init_std, config.width, config.mlp_width
        self.gate = weight(std, width, inner)
        self.up = weight(std, width, inner)
        # Stored as [out, in]: on CPU its gradient takes half as long that way round.
        self.down = weight(std / math.sqrt(2 * config.layers), width, inner)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape of x, float32[B * T, W]."""
        inner = jax.nn.silu(x @ self.gate[...]) * (x @ self.up[...])
        return jnp.einsum("ni,wi->nw", inner, self.down[...])


class Block(nnx.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config: DecoderConfig) -> None:
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width)
        self.mlp = Mlp(config)

    def __call__(
        self,
        x: jax.Array,
        angles: Angles,
        mask: jax.Array,
        cache: LayerCache | None,
        start: jax.Array | int,
    ) -> tuple[jax.Array, LayerCache]:
        """Return the shape of x, float32[B * T, W], and keys and values."""
        mixed, cache = self.attention(self.attention_norm(x), angles, mask, cache, start)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), cache
