"""The sizes of a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from tunix_eval.specs import ModelSpec


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
