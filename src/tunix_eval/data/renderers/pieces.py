"""The pieces of a rendered conversation, one by one."""

from __future__ import annotations

from tunix_eval.data.renderers.edition import Edition
from tunix_eval.records import Conversation, Span


def turn(edition: Edition, role: str, text: str, *, reply: int = 0) -> tuple[Span, ...]:
    """Return a turn as the edition prints it after others; an assistant's is the reply with the index `reply`."""
    return tuple(edition.turn(role, text, reply))


def user_turn(edition: Edition, text: str) -> tuple[Span, ...]:
    """Return a user's turn."""
    return turn(edition, "user", text)


def model_turn(edition: Edition, text: str, *, reply: int = 0) -> tuple[Span, ...]:
    """Return the model's turn; `reply` is its index in `Conversation.turns`."""
    return turn(edition, "assistant", text, reply=reply)


def system_instruction(edition: Edition, text: str) -> tuple[Span, ...]:
    """Return what a system text prints before every turn, BOS first; plain text where it goes into the first one.

    Raises:
        RenderError: the edition refuses a system text.
    """
    return edition.beginning(text)


def generation_prompt(edition: Edition, conversation: Conversation) -> tuple[Span, ...]:
    """Return a conversation up to where the model's reply would begin.

    Raises:
        RenderError: the edition refuses the conversation.
    """
    return edition.render(conversation, generation_prompt=True)
