"""The decoder: tokens to logits, and its weights by name.

Layers are unrolled: a scan over them is slower on CPU. Activations have the dtype of the configuration; weights,
norms, softmax, angles and logits are float32.

Axes: B rows, T tokens, V vocabulary, W width.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.layers import Angles, Block, KeysValues, RMSNorm, rotary_angles, weight

Params = dict[str, jax.Array]
"""Arrays by dotted name, such as `blocks.0.attention.query`."""


class Decoder(nnx.Module):
    """Tokens to hidden states to logits. Built without weights: see `decoder_with`."""

    def __init__(self, config: DecoderConfig) -> None:
        self.config = config
        self.embedding = weight(config.init_std, config.vocab_size, config.width)
        self.blocks = nnx.List([Block(config) for _ in range(config.layers)])
        self.final_norm = RMSNorm(config.width)
        self.unembedding = None if config.tied else weight(config.init_std, config.vocab_size, config.width)

    def __call__(
        self, tokens: jax.Array, positions: jax.Array, segment_ids: jax.Array
    ) -> tuple[jax.Array, tuple[KeysValues, ...]]:
        """Return hidden states, [B, T, W], and the keys and values of every layer.

        Args:
            tokens: int32[B, T].
            positions: int32[B, T].
            segment_ids: int32[B, T]; a token attends to itself and to what stands before it in its segment.
        """
        config = self.config
        angles = rotary_angles(positions, width=config.head_width, theta=config.rope_theta)
        # Rows and tokens are one axis: weight gradients are then plain matrix products.
        x = self.embedding[...][tokens.reshape(-1)].astype(config.activations)
        layers: list[KeysValues] = []
        if config.remat:
            x, layers = self._one_after_another(x, angles, segment_ids)
        else:
            for block in self.blocks:
                x, layer = block(x, angles, segment_ids)
                layers.append(layer)
        return self.final_norm(x).reshape(*tokens.shape, config.width), tuple(layers)

    def _one_after_another(
        self, x: jax.Array, angles: Angles, segment_ids: jax.Array
    ) -> tuple[jax.Array, list[KeysValues]]:
        """Run the blocks so that the backward pass computes each of them again, from its input alone."""
        graphs, states = zip(*map(nnx.split, self.blocks), strict=True)

        def run(x: jax.Array, state: Any) -> tuple[jax.Array, KeysValues]:
            found: tuple[jax.Array, KeysValues] = nnx.merge(graphs[0], state)(x, angles, segment_ids)
            return found

        # In a scan: of blocks side by side, XLA on CPU computes none again, since it has them already.
        x, (keys, values) = jax.lax.scan(
            jax.checkpoint(run), x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        )
        return x, list(zip(keys, values, strict=True))

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Return float32[..., V] for hidden states, [..., W]."""
        flat = hidden.reshape(-1, self.config.width)
        logits = jnp.matmul(flat, self.output_weights().T, preferred_element_type=jnp.float32)
        return logits.reshape(*hidden.shape[:-1], self.config.vocab_size)

    def output_weights(self) -> jax.Array:
        """Return the matrix that hidden states are multiplied with, [V, W], in the dtype of activations."""
        matrix = self.embedding if self.unembedding is None else self.unembedding
        return matrix[...].astype(self.config.activations)


def initial_params(config: DecoderConfig, seed: int) -> Params:
    """Draw the weights for a seed, in order of name."""
    # NumPy's generator: to compile JAX's takes longer than fifty steps of the tiny preset.
    generator = np.random.default_rng(seed)
    params = {}
    for name, variable in sorted(_declared(config).items()):
        noise = generator.standard_normal(variable.shape, np.float32)
        params[name] = jnp.asarray(np.float32(variable.mean) + np.float32(variable.std) * noise)
    return params


def abstract_params(config: DecoderConfig) -> dict[str, jax.ShapeDtypeStruct]:
    """Return names, shapes and dtypes of the weights without computing any."""
    return {name: variable.get_value() for name, variable in _declared(config).items()}


def decoder_with(config: DecoderConfig, params: Params) -> Decoder:
    """Return a decoder that holds these weights; works on traced arrays."""
    graph, state = _skeleton(config)
    flat = [(path, variable.replace(params[_dotted(path)])) for path, variable in nnx.to_flat_state(state)]
    decoder: Decoder = nnx.merge(graph, nnx.from_flat_state(flat))
    return decoder


@functools.cache
def _skeleton(config: DecoderConfig) -> tuple[Any, Any]:
    """Return graph and state of a decoder that holds shapes in place of arrays."""
    return nnx.split(nnx.eval_shape(lambda: Decoder(config)))


def _declared(config: DecoderConfig) -> dict[str, Any]:
    return {_dotted(path): variable for path, variable in nnx.to_flat_state(_skeleton(config)[1])}


def _dotted(path: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in path)
