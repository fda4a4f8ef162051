"""Qwen's editions: ChatML, with Qwen 3's thinking sections.

`<think>` and `</think>` are plain text here; they are no special tokens of Qwen's tokenizer, which may still have an
id for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from tunix_eval.data.renderers.chatml import ChatmlRenderer
from tunix_eval.data.renderers.edition import Edition
from tunix_eval.data.renderers.styles import Section
from tunix_eval.records import Span, Turn

_SECTION = "<think>\n{}\n</think>\n\n"


class Qwen25Renderer(ChatmlRenderer):
    """Qwen 2.5 (`qwen2_5`): ChatML; where no system text comes first, Qwen's own does.

    Source: the `chat_template` of Qwen/Qwen2.5-*-Instruct.
    """

    name = "qwen2_5"
    default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

    def _begin(self, system: str | None) -> tuple[Sequence[Span], str]:
        return super()._begin(self.default_system if system is None else system)


class Qwen3Renderer(ChatmlRenderer):
    r"""Qwen 3 (`qwen3`, `qwen`): replies after the last question think first, earlier thinking goes.

    A reply after the last user turn is printed as `<think>\n{thought}\n</think>\n\n{text}`, with an empty section
    where it has no thought; the thought is `reasoning_content` or stands in the content. Of earlier replies only what
    follows their thinking is printed, so that a conversation rewrites its own history.

    Source: the `chat_template` of Qwen/Qwen3-8B as it stands now (2025-07 and later).
    """

    name = "qwen3"
    default_style = "tagged"
    thinking_section: ClassVar[Section | None] = "always"
    append_only = False
    advice = "train on qwen3_instruct_2507 or leave out earlier thinking"
    options = {"enable_thinking": True}  # noqa: RUF012
    without_thinking = "qwen3_nothink"

    def with_options(self, **options: Any) -> Edition:
        """Return this edition; with `enable_thinking=False` the one that asks for replies without thought."""
        chosen = super().with_options(**options)
        assert isinstance(chosen, Qwen3Renderer)
        return chosen if chosen.chosen["enable_thinking"] else NOTHINK[self.without_thinking]()

    def _render(self, system: str | None, turns: Sequence[Turn], first: int, generation_prompt: bool) -> list[Span]:
        last = len(turns) - 1
        asked = next((k for k in range(last, first - 1, -1) if _is_question(turns[k])), last)
        printed = [
            self._printed(turn, after_question=k > asked, is_last=k == last) if turn.role == "assistant" else turn
            for k, turn in enumerate(turns)
        ]
        return super()._render(system, printed, first, generation_prompt)

    def _printed(self, turn: Turn, *, after_question: bool, is_last: bool) -> Turn:
        content, thought = turn.content, turn.reasoning_content
        if thought is None:
            thought = ""
            if "</think>" in content:
                parts = content.split("</think>")
                thought = parts[0].rstrip("\n").split("<think>")[-1].lstrip("\n")
                content = parts[-1].lstrip("\n")
        if after_question and (is_last or thought):
            content = _SECTION.format(thought.strip("\n")) + content.lstrip("\n")
        return turn if content is turn.content else msgspec.structs.replace(turn, content=content)


class Qwen3NothinkRenderer(Qwen3Renderer):
    """Qwen 3 with `enable_thinking=False` (`qwen3_nothink`): a prompt ends with an empty thinking section.

    A reply that thinks does not begin with that section: it is refused for training.
    """

    name = "qwen3_nothink"
    default_style = "numbered"
    thinking_section = None
    prefill = _SECTION.format("")
    advice = "train on qwen3 or leave the thinking out"
    options = {"enable_thinking": False}  # noqa: RUF012
    with_thinking: type[Qwen3Renderer] = Qwen3Renderer

    def with_options(self, **options: Any) -> Edition:
        """Return this edition; with `enable_thinking=True` the one whose prompts leave the thinking to the model."""
        chosen = Edition.with_options(self, **options)
        return self.with_thinking() if chosen.chosen["enable_thinking"] else self


class Qwen3ReleaseRenderer(Qwen3Renderer):
    """Qwen 3 as released (`qwen3_release`): differs from `qwen3` only for contents that are no text.

    Source: the `chat_template` of Qwen/Qwen3-0.6B of 2025-04.
    """

    name = "qwen3_release"
    without_thinking = "qwen3_release_nothink"


class Qwen3ReleaseNothinkRenderer(Qwen3NothinkRenderer):
    """Qwen 3 as released with `enable_thinking=False` (`qwen3_release_nothink`)."""

    name = "qwen3_release_nothink"
    with_thinking = Qwen3ReleaseRenderer


class Qwen3Instruct2507Renderer(ChatmlRenderer):
    """Qwen 3 Instruct 2507 (`qwen3_instruct_2507`): prints what ChatML does; no thinking sections, history stays.

    Source: the `chat_template` of Qwen/Qwen3-*-Instruct-2507.
    """

    name = "qwen3_instruct_2507"


NOTHINK: dict[str, type[Qwen3NothinkRenderer]] = {
    edition.name: edition for edition in (Qwen3NothinkRenderer, Qwen3ReleaseNothinkRenderer)
}


def _is_question(turn: Turn) -> bool:
    """Whether a user asks; what a tool answered also stands in a user turn."""
    content = turn.content
    answered = content.startswith("<tool_response>") and content.endswith("</tool_response>")
    return turn.role == "user" and not answered
