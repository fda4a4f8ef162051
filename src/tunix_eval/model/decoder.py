"""The decoder: RMSNorm, RoPE, query-key norm, SwiGLU, tied embeddings. Layers are unrolled: a scan is slower on CPU.

Axes: B rows, T tokens, S tokens that can be attended to, V vocabulary, W width, H heads, D width of a head.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from tunix_eval.specs import ModelSpec

NORM_EPSILON = 1e-6

Params = dict[str, jax.Array]
"""Arrays by dotted name, such as `blocks.0.attention.query`."""

Cache = tuple[tuple[jax.Array, jax.Array], ...]
"""Keys and values of every layer, float32[B, H, S, D] each."""


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The sizes of a decoder, presets resolved."""

    vocab_size: int
    layers: int
    width: int
    heads: int
    mlp_width: int
    rope_theta: float
    qk_norm: bool
    init_std: float

    @classmethod
    def from_spec(cls, spec: ModelSpec, *, vocab_size: int) -> DecoderConfig:
        """Resolve a model spec for a vocabulary."""
        return cls(
            vocab_size=vocab_size,
            rope_theta=spec.rope_theta,
            qk_norm=spec.qk_norm,
            init_std=spec.init_std,
            **spec.sizes(),
        )

    @property
    def head_width(self) -> int:
        """D: width over heads."""
        return self.width // self.heads


def _normal(rngs: nnx.Rngs, std: float, *shape: int) -> nnx.Param[jax.Array]:
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))


class RMSNorm(nnx.Module):
    """Scale the last axis to a root mean square of one, then by a learned factor.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    def __init__(self, width: int) -> None:
        self.scale = nnx.Param(jnp.ones(width, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape of x."""
        scale = jnp.expand_dims(self.scale[...], tuple(range(x.ndim - 1)))
        return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + NORM_EPSILON) * scale


def rotary_angles(positions: jax.Array, *, width: int, theta: float) -> tuple[jax.Array, jax.Array]:
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

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        std, width = config.init_std, config.width
        self.query = _normal(rngs, std, width, width)
        self.key = _normal(rngs, std, width, width)
        self.value = _normal(rngs, std, width, width)
        self.out = _normal(rngs, std / math.sqrt(2 * config.layers), width, width)
        self.query_norm = RMSNorm(config.head_width) if config.qk_norm else None
        self.key_norm = RMSNorm(config.head_width) if config.qk_norm else None

    def __call__(
        self,
        x: jax.Array,
        angles: tuple[jax.Array, jax.Array],
        mask: jax.Array,
        cache: tuple[jax.Array, jax.Array] | None,
        start: jax.Array | int,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Attend; x is float32[B * T, W]. Returns the same shape, and keys and values."""
        query, key, value = (self._heads(x @ weight[...], mask) for weight in (self.query, self.key, self.value))
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

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        std, width, inner = config.init_std, config.width, config.mlp_width
        self.gate = _normal(rngs, std, width, inner)
        self.up = _normal(rngs, std, width, inner)
        # Stored as [out, in]: on CPU its gradient takes half as long that way round.
        self.down = _normal(rngs, std / math.sqrt(2 * config.layers), width, inner)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the shape of x, float32[B * T, W]."""
        inner = jax.nn.silu(x @ self.gate[...]) * (x @ self.up[...])
        return jnp.einsum("ni,wi->nw", inner, self.down[...])


class Block(nnx.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config.width)
        self.mlp = Mlp(config, rngs)

    def __call__(
        self,
        x: jax.Array,
        angles: tuple[jax.Array, jax.Array],
        mask: jax.Array,
        cache: tuple[jax.Array, jax.Array] | None,
        start: jax.Array | int,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Return the shape of x, float32[B * T, W], and keys and values."""
        mixed, cache = self.attention(self.attention_norm(x), angles, mask, cache, start)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), cache


class Decoder(nnx.Module):
    """Tokens to hidden states to logits."""

    def __init__(self, config: DecoderConfig, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embedding = _normal(rngs, config.init_std, config.vocab_size, config.width)
        self.blocks = nnx.List([Block(config, rngs) for _ in range(config.layers)])
        self.final_norm = RMSNorm(config.width)

    def __call__(
        self,
        tokens: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        cache: Cache | None = None,
        start: jax.Array | int = 0,
    ) -> tuple[jax.Array, Cache]:
        """Return hidden states, float32[B, T, W], and the keys and values that were attended to.

        Args:
            tokens: int32[B, T].
            positions: int32[B, T].
            mask: bool[B, T, S]; True where token t may attend to s. Without a cache S is T.
            cache: keys and values from before; those of these tokens are written to `start` and on.
            start: where in S the first of these tokens stands.
        """
        config = self.config
        angles = rotary_angles(positions, width=config.head_width, theta=config.rope_theta)
        # Rows and tokens are one axis: weight gradients are then plain matrix products.
        x = self.embedding[...][tokens.reshape(-1)]
        layers = []
        for index, block in enumerate(self.blocks):
            x, layer = block(x, angles, mask, None if cache is None else cache[index], start)
            layers.append(layer)
        return self.final_norm(x).reshape(*tokens.shape, config.width), tuple(layers)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Return float32[B, T, V] for hidden states, float32[B, T, W]."""
        flat = hidden.reshape(-1, self.config.width)
        return (flat @ self.embedding[...].T).reshape(*hidden.shape[:-1], self.config.vocab_size)


def training_mask(segment_ids: jax.Array) -> jax.Array:
    """Return bool[B, T, T]: a token attends to itself and to what stands before it in its segment (int32[B, T])."""
    tokens = segment_ids.shape[1]
    causal = jnp.tril(jnp.ones((tokens, tokens), bool))
    return (segment_ids[:, :, None] == segment_ids[:, None, :]) & causal[None]


def empty_cache(config: DecoderConfig, *, rows: int, tokens: int) -> Cache:
    """Return a cache of zeros for `rows` rows that can hold `tokens` tokens each."""
    zeros = jnp.zeros((rows, config.heads, tokens, config.head_width), jnp.float32)
    return tuple((zeros, zeros) for _ in range(config.layers))


@functools.partial(jax.jit, static_argnames="config")
def initial_params(config: DecoderConfig, seed: jax.Array) -> Params:
    """Draw the weights for a seed (uint32 scalar)."""
    decoder = Decoder(config, nnx.Rngs(params=jax.random.key(seed)))
    return {_dotted(path): variable[...] for path, variable in nnx.to_flat_state(nnx.state(decoder, nnx.Param))}


def abstract_params(config: DecoderConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Return names, shapes and dtypes of the weights without computing any."""
    shapes: dict[str, jax.ShapeDtypeStruct] = jax.eval_shape(functools.partial(initial_params, config), jnp.uint32(0))
    return shapes


def decoder_with(config: DecoderConfig, params: Params) -> Decoder:
    """Return a decoder that holds these weights; works on traced arrays."""
    graph, state = nnx.split(nnx.eval_shape(lambda: Decoder(config, nnx.Rngs(params=0))))
    flat = [(path, variable.replace(params[_dotted(path)])) for path, variable in nnx.to_flat_state(state)]
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _dotted(path: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in path)
