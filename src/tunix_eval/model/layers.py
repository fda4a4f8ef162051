"""The decoder's layers: RMSNorm, RoPE, attention with query-key norm, SwiGLU.

Axes: B rows, T tokens, S tokens that can be attended to, W width, H heads, K heads of keys and values, D width of a
head. Activations, `[...]` without a dtype, have that of the configuration.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from tunix_eval.model.attention import attend
from tunix_eval.model.config import DecoderConfig

NORM_EPSILON = 1e-6

Angles = tuple[jax.Array, jax.Array]
"""Cosines and signed sines, float32[B, 1, T, 2, D/2] each."""

KeysValues = tuple[jax.Array, jax.Array]
"""Keys and values, [B, K, S, D] each."""


def weight(std: float, *shape: int) -> nnx.Param[jax.Array]:
    """Declare a weight that `initial_params` draws with this standard deviation around zero."""
    return nnx.Param(jnp.zeros(shape, jnp.float32), mean=0.0, std=std)


def product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return x @ matrix in the dtype of x; the matrix is float32."""
    return x @ matrix.astype(x.dtype)


class RMSNorm(nnx.Module):
    """Scale the last axis to a root mean square of one, then by a learned factor.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jnp.ones(width, jnp.float32), mean=1.0, std=0.0)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape and dtype of x."""
        scale = jnp.expand_dims(self.scale[...], tuple(range(x.ndim - 1)))
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + NORM_EPSILON) * scale
        return wide.astype(x.dtype)


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
    """Turn queries or keys, [B, H, T, D], by the angles of their positions; the same shape and dtype."""
    halves = x.astype(jnp.float32).reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    # Swapping the halves by `rev` fuses with the products around it; a concatenation takes several times as long.
    turned = halves * cos + jax.lax.rev(halves, (halves.ndim - 2,)) * sin
    return turned.reshape(x.shape).astype(x.dtype)


class Attention(nnx.Module):
    """Causal attention within segments; several heads may share keys and values.

    Source: Ainslie et al. 2023, "GQA: Training Generalized Multi-Query Transformer Models".
    """

    def __init__(self, config: DecoderConfig) -> None:
        self.config = config
        std, width, head_width = config.init_std, config.width, config.head_width
        self.query = weight(std, width, config.heads * head_width)
        self.key = weight(std, width, config.kv_heads * head_width)
        self.value = weight(std, width, config.kv_heads * head_width)
        self.out = weight(std / math.sqrt(2 * config.layers), config.heads * head_width, width)
        self.query_norm = RMSNorm(head_width) if config.qk_norm else None
        self.key_norm = RMSNorm(head_width) if config.qk_norm else None

    def __call__(
        self,
        x: jax.Array,
        angles: Angles,
        segment_ids: jax.Array,
    ) -> tuple[jax.Array, KeysValues]:
        """Attend; x is [B * T, W]. Returns the same shape, and keys and values."""
        query, key, value = self.projections(x, angles, rows=segment_ids.shape[0])
        return self.projected_back(attend(query, key, value, segment_ids)), (key, value)

    def projections(self, x: jax.Array, angles: Angles, *, rows: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return queries [B, H, T, D], keys and values [B, K, T, D] for x, [B * T, W]."""
        query, key, value = (self._heads(product(x, part[...]), rows) for part in (self.query, self.key, self.value))
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        return rotate(query, *angles), rotate(key, *angles), value

    def projected_back(self, mixed: jax.Array) -> jax.Array:
        """Return [B * T, W] for what heads have gathered, [B, H, T, D]."""
        return product(mixed.transpose(0, 2, 1, 3).reshape(-1, self.out.shape[0]), self.out[...])

    def _heads(self, x: jax.Array, rows: int) -> jax.Array:
        """Reshape [B * T, heads * D] to [B, heads, T, D]."""
        return x.reshape(rows, x.shape[0] // rows, -1, self.config.head_width).transpose(0, 2, 1, 3)


class Mlp(nnx.Module):
    """SwiGLU. Source: Shazeer 2020, "GLU Variants Improve Transformer"."""

    def __init__(self, config: DecoderConfig) -> None:
        std, width, inner = config.init_std, config.width, config.mlp_width
        self.gate = weight(std, width, inner)
        self.up = weight(std, width, inner)
        # Stored as [out, in]: on CPU its gradient takes half as long that way round.
        self.down = weight(std / math.sqrt(2 * config.layers), width, inner)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape of x, [B * T, W]."""
        inner = gated(product(x, self.gate[...]), product(x, self.up[...]))
        return jnp.einsum("ni,wi->nw", inner, self.down[...].astype(x.dtype))


@jax.custom_vjp
def gated(gate: jax.Array, up: jax.Array) -> jax.Array:
    """Return silu(gate) * up; of what leads there, the gradient keeps these two alone."""
    return jax.nn.silu(gate) * up


def _gated_forwards(gate: jax.Array, up: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return gated(gate, up), (gate, up)


def _gated_backwards(held: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    gate, up = held
    opened = jax.nn.sigmoid(gate)
    return gradient * up * opened * (1 + gate * (1 - opened)), gradient * gate * opened


gated.defvjp(_gated_forwards, _gated_backwards)


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
        segment_ids: jax.Array,
    ) -> tuple[jax.Array, KeysValues]:
        """Return the shape of x, [B * T, W], and keys and values."""
        mixed, held = self.attention(self.attention_norm(x), angles, segment_ids)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), held
