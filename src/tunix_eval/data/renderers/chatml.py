"""ChatML's editions."""

from __future__ import annotations

from collections.abc import Sequence

from tunix_eval.data.renderers.edition import Edition
from tunix_eval.records import Span, Turn


class ChatmlRenderer(Edition):
    """ChatML (`chatml`): every turn between `<|im_start|>` and `<|im_end|>`, nothing stripped, no BOS.

    Source: the `chat_template` of teknium/OpenHermes-2.5-Mistral-7B.
    """

    name = "chatml"
    control_tokens = ("<|im_start|>", "<|im_end|>")
    stop_token: str | None = "<|im_end|>"  # noqa: S105
    user = "<|im_start|>user\n{}<|im_end|>\n"
    opening = "<|im_start|>assistant\n"
    assistant = "<|im_start|>assistant\n{}<|im_end|>\n"
    system = "<|im_start|>system\n{}<|im_end|>\n"


class ChatmlVllmRenderer(ChatmlRenderer):
    """vLLM's ChatML (`chatml_vllm`): the last turn stays open, so that there is no stop token to learn.

    For prompting only. A generation prompt closes the last turn, and opens none after an assistant's.

    Source: `examples/template_chatml.jinja` of vLLM.
    """

    name = "chatml_vllm"
    stop_token = None
    append_only = False
    advice = "train on chatml"

    def _render(self, system: str | None, turns: Sequence[Turn], first: int, generation_prompt: bool) -> list[Span]:
        spans = super()._render(system, turns, first, generation_prompt)
        if not generation_prompt:
            return spans[:-2]
        return spans[: -len(self._prompt)] if turns and turns[-1].role == "assistant" else spans
