"""Phi's editions."""

from __future__ import annotations

from tunix_eval.data.renderers.edition import Edition

_NAMED = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")
_MARKED = ("<|im_start|>", "<|im_sep|>", "<|im_end|>")


class Phi3Renderer(Edition):
    """Phi 3 (`phi3`): a control token for each role; `<|endoftext|>` ends what is no prompt.

    Source: the `chat_template` of microsoft/Phi-3-mini-4k-instruct as revised.
    """

    name = "phi3"
    control_tokens = _NAMED
    stop_token = "<|end|>"  # noqa: S105
    user = "<|user|>\n{}<|end|>\n"
    opening = "<|assistant|>\n"
    assistant = "<|assistant|>\n{}<|end|>\n"
    system = "<|system|>\n{}<|end|>\n"
    end = "<|endoftext|>"


class Phi35Renderer(Phi3Renderer):
    """Phi 3.5 (`phi3_5`): prints what Phi 3 does, but no empty system turn.

    Source: the `chat_template` of microsoft/Phi-3.5-mini-instruct.
    """

    name = "phi3_5"
    skips_empty_system = True


class Phi4Renderer(Edition):
    """Phi 4 (`phi4`, `phi`): ChatML with `<|im_sep|>` after the role and no line breaks.

    Source: the `chat_template` of microsoft/phi-4 as revised in 2025-01.
    """

    name = "phi4"
    control_tokens = _MARKED
    stop_token = "<|im_end|>"  # noqa: S105
    user = "<|im_start|>user<|im_sep|>{}<|im_end|>"
    opening = "<|im_start|>assistant<|im_sep|>"
    assistant = "<|im_start|>assistant<|im_sep|>{}<|im_end|>"
    system = "<|im_start|>system<|im_sep|>{}<|im_end|>"


class Phi4FirstRenderer(Edition):
    """Phi 4 as released (`phi4_first`): every user turn opens a reply, asked for or not.

    Source: the `chat_template` of microsoft/phi-4 of 2024-12.
    """

    name = "phi4_first"
    control_tokens = _MARKED
    stop_token = "<|im_end|>"  # noqa: S105
    user = "<|im_start|>user<|im_sep|>{}<|im_end|><|im_start|>assistant<|im_sep|>"
    assistant = "{}<|im_end|>"
    system = Phi4Renderer.system


class Phi4MiniRenderer(Edition):
    """Phi 4 mini (`phi4_mini`): Phi 3 without line breaks.

    Source: the `chat_template` of microsoft/Phi-4-mini-instruct.
    """

    name = "phi4_mini"
    control_tokens = _NAMED
    stop_token = "<|end|>"  # noqa: S105
    user = "<|user|>{}<|end|>"
    opening = "<|assistant|>"
    assistant = "<|assistant|>{}<|end|>"
    system = "<|system|>{}<|end|>"
    end = "<|endoftext|>"
