"""Llama 3's editions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunix_eval.data.renderers.edition import Edition, Layout
from tunix_eval.records import Span


class Llama3Renderer(Edition):
    """Llama 3 (`llama3`): every turn is stripped and stands under a header.

    Source: the `chat_template` of meta-llama/Meta-Llama-3-*-Instruct.
    """

    name = "llama3"
    control_tokens = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    bos_token = "<|begin_of_text|>"  # noqa: S105
    stop_token = "<|eot_id|>"  # noqa: S105
    strips = True
    user = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    opening = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    assistant = "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>"
    system = "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>"


class Llama31Renderer(Llama3Renderer):
    """Llama 3.1 (`llama3_1`): Llama 3's turns; a first system turn with two dates always stands there.

    The template prints the date of today unless it is told one; here it is the option `date`, with the template's own
    fallback for a default, never the clock.

    Source: the `chat_template` of meta-llama/Llama-3.1-*-Instruct.
    """

    name = "llama3_1"
    options = {"date": "26 Jul 2024"}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        plain = self._turns["system"]
        dates = f"Cutting Knowledge Date: December 2023\nToday Date: {self.chosen['date']}\n\n"
        self._first = Layout(plain.before, plain.lead + dates, plain.trail, plain.after)

    def _begin(self, system: str | None) -> tuple[Sequence[Span], str]:
        before, lead, trail, after = self._first
        return (*before, Span(f"{lead}{(system or '').strip()}{trail}"), *after), ""


class Llama32Renderer(Llama31Renderer):
    """Llama 3.2 (`llama3_2`, `llama`): prints what Llama 3.1 does, with another default for the option `date`.

    Source: the `chat_template` of meta-llama/Llama-3.2-*-Instruct.
    """

    name = "llama3_2"
    options = {"date": "02 Jan 2025"}  # noqa: RUF012
