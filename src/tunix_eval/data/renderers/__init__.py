"""Renderers: conversations as spans, the way one edition of a chat template prints them."""

from __future__ import annotations

from collections.abc import Mapping

from tunix_eval.data.renderers.chatml import ChatmlRenderer, ChatmlVllmRenderer
from tunix_eval.data.renderers.edition import Edition
from tunix_eval.data.renderers.gemma import Gemma2Renderer, GemmaRenderer
from tunix_eval.data.renderers.hf import HfRenderer
from tunix_eval.data.renderers.llama import Llama3Renderer, Llama31Renderer, Llama32Renderer
from tunix_eval.data.renderers.mistral import (
    MistralV1Renderer,
    MistralV1SystemRenderer,
    MistralV3Renderer,
    MistralV3TekkenRenderer,
    MistralV7Renderer,
)
from tunix_eval.data.renderers.phi import (
    Phi3Renderer,
    Phi4FirstRenderer,
    Phi4MiniRenderer,
    Phi4Renderer,
    Phi35Renderer,
)
from tunix_eval.data.renderers.pieces import generation_prompt, model_turn, system_instruction, turn, user_turn
from tunix_eval.data.renderers.plain import PlainRenderer
from tunix_eval.data.renderers.qwen import (
    Qwen3Instruct2507Renderer,
    Qwen3NothinkRenderer,
    Qwen3ReleaseNothinkRenderer,
    Qwen3ReleaseRenderer,
    Qwen3Renderer,
    Qwen25Renderer,
)

EDITIONS: Mapping[str, Edition] = {
    edition.name: edition
    for edition in (
        ChatmlRenderer(),
        ChatmlVllmRenderer(),
        Gemma2Renderer(),
        Llama3Renderer(),
        Llama31Renderer(),
        Llama32Renderer(),
        MistralV1Renderer(),
        MistralV1SystemRenderer(),
        MistralV3Renderer(),
        MistralV3TekkenRenderer(),
        MistralV7Renderer(),
        Phi3Renderer(),
        Phi35Renderer(),
        Phi4Renderer(),
        Phi4FirstRenderer(),
        Phi4MiniRenderer(),
        Qwen25Renderer(),
        Qwen3Renderer(),
        Qwen3Instruct2507Renderer(),
        Qwen3NothinkRenderer(),
        Qwen3ReleaseRenderer(),
        Qwen3ReleaseNothinkRenderer(),
    )
} | {"gemma3": GemmaRenderer()}
"""Editions of published templates."""

FAMILIES: Mapping[str, str] = {
    "gemma": "gemma3",
    "llama": "llama3_2",
    "mistral": "mistral_v7",
    "phi": "phi4",
    "qwen": "qwen3",
}
"""Which edition the name of a family stands for."""

BUILTIN_RENDERERS: Mapping[str, Edition] = {
    **EDITIONS,
    **{family: EDITIONS[edition] for family, edition in FAMILIES.items()},
    "plain": PlainRenderer(),
}

__all__ = [
    "BUILTIN_RENDERERS",
    "EDITIONS",
    "FAMILIES",
    "Edition",
    "GemmaRenderer",
    "HfRenderer",
    "PlainRenderer",
    "generation_prompt",
    "model_turn",
    "system_instruction",
    "turn",
    "user_turn",
]
