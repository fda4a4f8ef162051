"""google-tunix's side of the benchmarks: its Qwen 3 with the sizes and the weights of our decoder.

Both are RMSNorm, RoPE, query-key norm, SwiGLU and tied embeddings without biases, so that they compute the same
numbers. It lives in an environment of its own: benchmarks/peer-requirements.txt.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from tunix.models.qwen3.model import ModelConfig, Qwen3

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params
from tunix_eval.specs import ModelSpec

VOCAB = 512
DECODER = ModelSpec(layers=4, width=256, heads=4, mlp_width=1024, dtype="float32", rope_theta=1_000_000)
"""4.3M parameters with a vocabulary of 512. In google-tunix 0.1.7 Qwen 3 has this theta, whatever its config says."""

_NAMES = {
    r"embedder\.input_embedding": "embedding",
    r"final_norm\.w": "final_norm.scale",
    r"layers\.(\d+)\.input_layernorm\.w": r"blocks.\1.attention_norm.scale",
    r"layers\.(\d+)\.post_attention_layernorm\.w": r"blocks.\1.mlp_norm.scale",
    r"layers\.(\d+)\.attn\.q_norm\.w": r"blocks.\1.attention.query_norm.scale",
    r"layers\.(\d+)\.attn\.k_norm\.w": r"blocks.\1.attention.key_norm.scale",
    r"layers\.(\d+)\.attn\.q_proj\.w": r"blocks.\1.attention.query",
    r"layers\.(\d+)\.attn\.k_proj\.w": r"blocks.\1.attention.key",
    r"layers\.(\d+)\.attn\.v_proj\.w": r"blocks.\1.attention.value",
    r"layers\.(\d+)\.attn\.o_proj\.w": r"blocks.\1.attention.out",
    r"layers\.(\d+)\.mlp\.gate_proj\.kernel": r"blocks.\1.mlp.gate",
    r"layers\.(\d+)\.mlp\.up_proj\.kernel": r"blocks.\1.mlp.up",
    r"layers\.(\d+)\.mlp\.down_proj\.kernel": r"blocks.\1.mlp.down",
}
"""The peer's name of a weight, as a pattern -> ours."""


def peer_model(config: DecoderConfig, params: Params) -> Any:
    """Return the peer's model, float32, with copies of our weights."""
    model = Qwen3(
        ModelConfig(
            num_layers=config.layers,
            vocab_size=config.vocab_size,
            embed_dim=config.width,
            hidden_dim=config.mlp_width,
            num_heads=config.heads,
            head_dim=config.head_width,
            num_kv_heads=config.kv_heads,
            rope_theta=int(config.rope_theta),
            norm_eps=1e-6,
            use_tied_embedding=True,
        ),
        rngs=nnx.Rngs(0),
    )
    state = nnx.state(model)
    held = nnx.to_flat_state(state)
    ours = {path: params[_our_name(".".join(map(str, path)))] for path, _ in held}
    if len(ours) != len(params):
        raise SystemExit(f"the peer has {len(ours)} weights, ours {len(params)}")
    flat = []
    for path, variable in held:
        # Ours is stored as [width, inner], theirs as [inner, width].
        array = ours[path].T if "down_proj" in path else ours[path]
        flat.append((path, variable.replace(jnp.array(array.reshape(variable.shape), copy=True))))
    nnx.update(model, nnx.from_flat_state(flat))
    return model


def _our_name(name: str) -> str:
    for pattern, ours in _NAMES.items():
        if re.fullmatch(pattern, name):
            return re.sub(pattern, ours, name)
    raise SystemExit(f"the peer's weight {name} is not known here")


class NumberTokenizer:
    """Texts are token ids in decimal: the peer's Sampler takes strings, and these give it exact ids."""

    def __init__(self, *, pad_id: int, eos_id: int) -> None:
        self._pad_id, self._eos_id = pad_id, eos_id

    def encode(self, text: str, **_: Any) -> list[int]:
        """Return the ids that a text lists."""
        return [int(word) for word in text.split()]

    def decode(self, ids: Any, **_: Any) -> str:
        """Return the text of ids."""
        return " ".join(str(int(number)) for number in ids)

    def bos_id(self) -> None:
        """Return nothing: prompts are taken as they are."""

    def eos_id(self) -> int:
        """Return the id that ends a text."""
        return self._eos_id

    def pad_id(self) -> int:
        """Return the id that fills rows."""
        return self._pad_id


class Compilations:
    """Counts what XLA compiles in this process, and how long it takes."""

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1
            self.seconds += seconds

    def since(self, before: tuple[int, float]) -> tuple[int, float]:
        """Return count and seconds since a call of `now`."""
        return self.count - before[0], self.seconds - before[1]

    def now(self) -> tuple[int, float]:
        """Return count and seconds so far."""
        return self.count, self.seconds
