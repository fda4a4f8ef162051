"""The renderer for small models of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from tunix_eval.data.renderers.edition import InsetSystem
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span, Turn


class PlainRenderer(InsetSystem):
    r"""A prompt, a newline, a reply: as short as it can be, for small models.

        text        <bos>  {system}\n\n{prompt}\n  {reply}  <eos>
        control     1      0                       0        1
        reply       -      -                       1        1

    A further exchange follows as `\n{prompt}\n`, reply and `<eos>`.
    """

    name = "plain"
    control_tokens = ("<bos>", "<eos>")
    bos_token = "<bos>"  # noqa: S105
    stop_token = "<eos>"  # noqa: S105
    default_style = "plain"
    user = "\n{}\n"
    assistant = "{}<eos>"

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans.

        Raises:
            RenderError: turns do not alternate, or a generation prompt would follow a reply.
        """
        spans = super().render(conversation, generation_prompt=generation_prompt)
        turns = conversation.turns
        if not turns or turns[-1].role == "system":
            raise RenderError("plain: the conversation has no turn; expected at least a user turn")
        if generation_prompt and turns[-1].role == "assistant":
            raise RenderError("plain: the last turn is the assistant's; a reply can only follow a user turn")
        return spans

    def _render(self, system: str | None, turns: Sequence[Turn], first: int, generation_prompt: bool) -> list[Span]:
        spans = super()._render(system, turns, first, generation_prompt)
        # Only a later question begins on a line of its own.
        spans[1:2] = [Span(span.text[1:]) for span in spans[1:2]]
        return spans
