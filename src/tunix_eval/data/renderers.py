"""Renderers: conversations as spans, the way one edition of a chat template prints them.

The text and the stop token of an assistant turn are what the model writes (`Span.reply`). Text spans break between
control tokens and before each reply, so that a prompt is a token-level prefix of the trace that it begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span, Turn


class PlainRenderer:
    r"""A prompt, a newline, a reply: as short as it can be, for small models.

        text        <bos>  {system}\n\n{prompt}\n  {reply}  <eos>
        control     1      0                       0        1
        reply       -      -                       1        1

    A further exchange follows as `\n{prompt}\n`, reply and `<eos>`.
    """

    name = "plain"
    version = "1"
    control_tokens: tuple[str, ...] = ("<bos>", "<eos>")
    stop_token = "<eos>"  # noqa: S105
    default_style = "plain"

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans.

        Raises:
            RenderError: turns do not alternate, or a generation prompt would follow a reply.
        """
        turns = _alternating(conversation, "plain")
        if generation_prompt and turns[-1].role == "assistant":
            raise RenderError("plain: the last turn is the assistant's; a reply can only follow a user turn")
        return tuple(self._spans(conversation))

    def _spans(self, conversation: Conversation) -> Iterator[Span]:
        yield Span("<bos>", control=True)
        opening = "" if conversation.system is None else f"{conversation.system}\n\n"
        for k, turn in enumerate(conversation.turns):
            if turn.role == "user":
                yield Span(f"{opening}{turn.content}\n")
                opening = "\n"
            else:
                yield Span(turn.content, reply=k)
                yield Span("<eos>", control=True, reply=k)


class GemmaRenderer:
    r"""Gemma 3's chat template: the system text stands in the first user turn, turns are stripped.

        text        <bos>  <start_of_turn>  user\n{system}\n\n{prompt}  <end_of_turn>  \n
        control     1      1                0                           1              0
        reply       -      -                -                           -              -

        text        <start_of_turn>  model\n  {reply}  <end_of_turn>  \n
        control     1                0        0        1              0
        reply       -                -        1        1              -

    Source: the `chat_template` of google/gemma-3-*-it.
    """

    name = "gemma"
    version = "3"
    control_tokens: tuple[str, ...] = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    stop_token = "<end_of_turn>"  # noqa: S105
    default_style = "numbered"

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans.

        Raises:
            RenderError: the template refuses the conversation (turns that do not alternate), or it would drop
                the system text (no turn).
        """
        _alternating(conversation, "gemma")
        return tuple(self._spans(conversation, generation_prompt=generation_prompt))

    def _spans(self, conversation: Conversation, *, generation_prompt: bool) -> Iterator[Span]:
        yield Span("<bos>", control=True)
        opening = "" if conversation.system is None else f"{conversation.system}\n\n"
        for k, turn in enumerate(conversation.turns):
            reply = k if turn.role == "assistant" else None
            content = turn.content.strip()
            yield Span("<start_of_turn>", control=True)
            if turn.role == "user":
                yield Span(f"user\n{opening}{content}")
                opening = ""
            else:
                yield Span("model\n")
                yield Span(content, reply=reply)
            yield Span("<end_of_turn>", control=True, reply=reply)
            yield Span("\n")
        if generation_prompt:
            yield Span("<start_of_turn>", control=True)
            yield Span("model\n")


def _alternating(conversation: Conversation, renderer: str) -> tuple[Turn, ...]:
    if not conversation.turns:
        raise RenderError(f"{renderer}: the conversation has no turn; expected at least a user turn")
    for k, turn in enumerate(conversation.turns):
        expected = ("user", "assistant")[k % 2]
        if turn.role != expected:
            found = f"turn {k + 1} is the {turn.role}'s, expected the {expected}'s"
            raise RenderError(f"{renderer}: {found}; turns must alternate user/assistant/user/assistant")
    return conversation.turns
