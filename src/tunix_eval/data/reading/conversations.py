"""Conversations of other people's files: the last question, the reply to it, and what stood before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunix_eval.data.reading.explain import one_line
from tunix_eval.errors import DataError

CONVERSATION = "conversation"
"""What `--map` calls the key of a list of turns."""
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""What files call the roles: OpenAI's messages, ShareGPT's conversations, Gemma's turns."""
_CALLS = ("tool_calls", "function_call")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a conversation is made of."""

    prompt: str
    reply: str | None
    """None where the conversation ends with the prompt."""
    reasoning: str | None
    """What the reply's turn holds under reasoning_content."""
    system: str | None
    history: tuple[dict[str, str], ...]
    """The turns between the system text and the prompt, as a trace's `messages`."""
    rest: tuple[dict[str, Any], ...]
    """What is left of each turn; empty where nothing is left of any."""

    def fields(self) -> dict[str, Any]:
        """Return the fields of a trace or an item that the conversation gives besides its answer."""
        made: dict[str, Any] = {"prompt": self.prompt}
        if self.system is not None:
            made["system"] = self.system
        return made | ({"messages": list(self.history)} if self.history else {})


def parts_of(value: Any) -> Parts:
    """Take a conversation apart.

    Args:
        value: a list of turns, each `{role, content}` or `{from, value}`; the content is a text, or a list of parts
            that are all text. The system text comes first, if there is one; the last turn is the reply to the one
            before it, or the user's.

    Raises:
        DataError: it is no such list, or a turn has no place in a trace, by its number from 1: a tool's, one that
            calls tools, one without content, and one of an unknown role.

    >>> parts = parts_of([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    >>> parts.prompt, parts.reply, parts.history
    ('2+2?', '4', ())
    """
    if not isinstance(value, list) or not value:
        raise DataError("expected a list of turns, [{role, content}, ..] or [{from, value}, ..]")
    turns, rest = [], []
    for number, entry in enumerate(value, 1):
        turn, left = _turn(number, entry)
        turns.append(turn)
        rest.append(left)
    system = turns.pop(0)["content"] if turns[0]["role"] == "system" else None
    before = 1 + (system is not None)
    for number, turn in enumerate(turns, before):
        if turn["role"] == "system":
            raise DataError(f"turn {number} is the system's; expected it to come first")
    last = turns.pop() if turns and turns[-1]["role"] == "assistant" else None
    if not turns or turns[-1]["role"] != "user":
        raise DataError(
            f"turn {before + len(turns)} is a reply, and no user's turn stands before it"
            if last
            else "holds no user's turn; expected a question and the reply to it"
        )
    prompt = turns.pop()["content"]
    reply, reasoning = (last["content"], last.get("reasoning_content")) if last else (None, None)
    return Parts(prompt, reply, reasoning, system, tuple(turns), tuple(rest) if any(rest) else ())


def _turn(number: int, entry: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Return role, content and reasoning of a turn, and what is left of it."""
    if not isinstance(entry, dict):
        raise DataError(f"turn {number} is no object; expected {{role, content}} or {{from, value}}")
    left = {key: value for key, value in entry.items() if value is not None}
    name, text = ("role", "content") if "role" in left else ("from", "value")
    if name not in left:
        raise DataError(f"turn {number} has neither role nor from; its keys: {', '.join(map(one_line, entry))}")
    said = left.pop(name)
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        found = one_line(said) if isinstance(said, str) else "no text"
        expected = ", ".join(_ROLES)
        raise DataError(f"turn {number}: {name} is {found}, which has no place in a trace; expected one of {expected}")
    if calls := next((key for key in _CALLS if left.get(key)), None):
        raise DataError(f"turn {number} calls tools ({calls}), which have no place in a trace; leave such lines out")
    turn = {"role": role, "content": _text(number, text, left.pop(text, None))}
    if role == "assistant" and (thought := left.pop("reasoning_content", None)):
        turn["reasoning_content"] = _text(number, "reasoning_content", thought)
    return turn, left


def _text(number: int, key: str, value: Any) -> str:
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        value = "".join(part["text"] for part in value)
    if isinstance(value, str):
        return value
    found = "null or absent" if value is None else "no text"
    raise DataError(f"turn {number}: {key} is {found}; expected a text, or parts that are all of the type text")


def _is_text_part(part: Any) -> bool:
    """Tell whether an entry is what OpenAI's messages call a text part, and nothing besides."""
    return (
        isinstance(part, Mapping)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )
