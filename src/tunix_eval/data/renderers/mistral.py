"""Mistral's editions.

`[INST]` and `[/INST]` are plain text in the tokenizer of the first generation (`mistral_v1`, `mistral_v1_system`), so
that no training text may hold them; later tokenizers have a control token for each.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tunix_eval.data.renderers.edition import Edition, InsetSystem, NoSystem
from tunix_eval.records import Span, Turn

_LATER = ("<s>", "[INST]", "[/INST]", "</s>")


class MistralV1Renderer(NoSystem):
    """Mistral's first edition (`mistral_v1`): questions between plain-text marks, no system text.

    Source: the `chat_template` of mistralai/Mixtral-8x7B-Instruct-v0.1 as released.
    """

    name = "mistral_v1"
    control_tokens = ("<s>", "</s>")
    bos_token = "<s>"  # noqa: S105
    stop_token = "</s>"  # noqa: S105
    text_markers = ("[INST]", "[/INST]")
    user = "[INST] {} [/INST]"
    assistant = "{}</s>"


class MistralV1SystemRenderer(InsetSystem):
    """Mistral's first edition with a system text (`mistral_v1_system`): inside the first question.

    Source: the `chat_template` of mistralai/Mistral-7B-Instruct-v0.2 as revised.
    """

    name = "mistral_v1_system"
    control_tokens = ("<s>", "</s>")
    bos_token = "<s>"  # noqa: S105
    stop_token = "</s>"  # noqa: S105
    text_markers = ("[INST]", "[/INST]")
    user = " [INST] {} [/INST]"
    assistant = " {}</s>"


class MistralV3Renderer(Edition):
    """Mistral v3 (`mistral_v3`): drops every system text in silence; such a conversation is refused for training.

    Source: the `chat_template` of mistralai/Mistral-7B-Instruct-v0.3.
    """

    name = "mistral_v3"
    control_tokens = _LATER
    bos_token = "<s>"  # noqa: S105
    stop_token = "</s>"  # noqa: S105
    append_only = False
    advice = "train on mistral_v7 or leave the system text out"
    user = " [INST] {} [/INST]"
    assistant = " {} </s>"

    def _add_unknown(self, k: int, role: str) -> None:
        """Print nothing of a system turn."""


class MistralV3TekkenRenderer(InsetSystem):
    """Mistral v3 with the Tekken tokenizer (`mistral_v3_tekken`): the system text stands in the last user turn.

    It moves with every exchange, and goes where a reply comes last, so that a conversation with a system text is
    refused for training.

    Source: the `chat_template` of mistralai/Mistral-Nemo-Instruct-2407.
    """

    name = "mistral_v3_tekken"
    control_tokens = _LATER
    bos_token = "<s>"  # noqa: S105
    stop_token = "</s>"  # noqa: S105
    append_only = False
    advice = "train on mistral_v7 or leave the system text out"
    user = "[INST]{}[/INST]"
    assistant = "{}</s>"

    def _render(self, system: str | None, turns: Sequence[Turn], first: int, generation_prompt: bool) -> list[Span]:
        if system is not None and len(turns) > first and turns[-1].role == "user":
            inset = msgspec.structs.replace(turns[-1], content=f"{system}\n\n{turns[-1].content}")
            turns = (*turns[:-1], inset)
        return super()._render(None, turns, first, generation_prompt)


class MistralV7Renderer(Edition):
    """Mistral v7 (`mistral_v7`, `mistral`): a system turn of its own, wherever it stands.

    Source: the `chat_template` of mistralai/Mistral-Large-Instruct-2411.
    """

    name = "mistral_v7"
    control_tokens = (*_LATER, "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
    bos_token = "<s>"  # noqa: S105
    stop_token = "</s>"  # noqa: S105
    user = "[INST] {}[/INST]"
    assistant = " {}</s>"
    system = "[SYSTEM_PROMPT] {}[/SYSTEM_PROMPT]"
