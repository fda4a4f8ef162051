"""A renderer: conversations as questions and answers, with no BOS."""

from __future__ import annotations

from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Span

END = "<eos>"


class QaRenderer:
    r"""Lays a conversation out as `Q: ` and `A: ` lines.

    text       Q: 2+2?  \nA:   4     <eos>
    control    0  0     0      0     1
    reply      -  -     -      1     1
    """

    name = "qa"
    version = "1"
    control_tokens: tuple[str, ...] = (END,)
    stop_token = END
    default_style = "plain"

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans; with `generation_prompt` they end after `A: `.

        Raises:
            RenderError: users and assistants do not take turns, or the last turn is the wrong one's.
        """
        turns = conversation.turns
        expected = [("user", "assistant")[i % 2] for i in range(len(turns))]
        if [turn.role for turn in turns] != expected or len(turns) % 2 != generation_prompt:
            roles = ", ".join(turn.role for turn in turns) or "no turn"
            last = "user" if generation_prompt else "assistant"
            raise RenderError(f"renderer 'qa': found {roles}; expected user and assistant in turn, {last} last")
        spans = [Span(f"{conversation.system}\n\n")] if conversation.system else []
        for number, turn in enumerate(turns):
            if turn.role == "user":
                opening = "\nQ: " if number else "Q: "
                spans += [Span(opening), Span(turn.content), Span("\nA: ")]
            else:
                spans += [Span(turn.content, reply=number), Span(END, control=True, reply=number)]
        return tuple(spans)
