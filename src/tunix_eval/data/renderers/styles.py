"""How the steps of a trace are written into the model's turn, and where the answer stands in it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal, NamedTuple

from tunix_eval.errors import unknown_name
from tunix_eval.records import AnswerRule, Conversation, EvalItem, Trace, Turn


class Piece(NamedTuple):
    """A piece of the model's turn."""

    text: str
    kind: Literal["scaffold", "step", "answer"]
    step_type: str | None = None
    """The type of the step, where it is one."""


_RULES: Mapping[str, AnswerRule] = {
    "numbered": AnswerRule("Answer:"),
    "plain": AnswerRule("####"),
    "tagged": AnswerRule("<answer>", "</answer>"),
    "none": AnswerRule(""),
}

# What comes first, before each step (its number filled in), before the answer and after it.
_AROUND: Mapping[str, tuple[str, str, str, str]] = {
    "numbered": ("Reasoning:\n", "{}. ", "Answer: ", ""),
    "plain": ("", "", "#### ", ""),
    "tagged": ("<think>\n", "", "</think>\n<answer>", "</answer>"),
}

STYLES = tuple(_RULES)
"""numbered, plain, tagged; none writes the answer alone."""


def model_text(trace: Trace, style: str) -> str:
    r"""Return the model's turn.

    >>> from tunix_eval.records import Step
    >>> trace = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))
    >>> [model_text(trace, style) for style in ("numbered", "plain", "none")]
    ['Reasoning:\n1. 1+1=2\nAnswer: 2', '1+1=2\n#### 2', '2']
    >>> model_text(trace, "tagged")
    '<think>\n1+1=2\n</think>\n<answer>2</answer>'
    """
    if style not in _AROUND:
        answer_mark(style)
        return trace.final_answer
    # Filled in one go: of all that is done to a trace before its tokens, to join its lines took the longest.
    return _layout(style, len(trace.steps)) % (*[step.content for step in trace.steps], trace.final_answer)


def reply_at_answer(trace: Trace, style: str) -> tuple[str, str]:
    """Return the model's turn in two: up to the answer, and from it on."""
    text = model_text(trace, style)
    after = _AROUND[style][3] if style in _AROUND else ""
    start = len(text) - len(trace.final_answer) - len(after)
    return text[:start], text[start:]


def reasoning_pieces(trace: Trace, style: str) -> tuple[Piece, ...]:
    r"""Return the model's turn in pieces: joined, they are `model_text`.

    A step is its content with the number and the line break around it; the answer is its text alone.

    >>> from tunix_eval.records import Step
    >>> trace = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))
    >>> [tuple(piece) for piece in reasoning_pieces(trace, "numbered")][1:]
    [('1. 1+1=2\n', 'step', 'sum'), ('Answer: ', 'scaffold', None), ('2', 'answer', None)]
    """
    if style not in _AROUND:
        answer_mark(style)
        return (Piece(trace.final_answer, "answer"),)
    first, before, mark, after = _AROUND[style]
    pieces = [Piece(first, "scaffold")] if first else []
    for number, step in enumerate(trace.steps, 1):
        pieces.append(Piece(f"{before.format(number)}{step.content}\n", "step", step.type))
    pieces += [Piece(mark, "scaffold"), Piece(trace.final_answer, "answer")]
    return (*pieces, Piece(after, "scaffold")) if after else tuple(pieces)


def reasoning_steps(trace: Trace, style: str) -> str:
    """Return the model's turn up to its answer, mark included; empty where the style writes the answer alone."""
    return reply_at_answer(trace, style)[0]


def conversation(trace: Trace, style: str) -> Conversation:
    """Return a trace as a conversation: earlier messages, the prompt, the model's turn."""
    turns = (*trace.messages, Turn("user", trace.prompt), Turn("assistant", model_text(trace, style)))
    return Conversation(turns, trace.system)


def prompt_conversation(item: EvalItem) -> Conversation:
    """Return an item as a conversation that the model is to answer."""
    return Conversation((*item.messages, Turn("user", item.prompt)), item.system)


def answer_mark(style: str) -> AnswerRule:
    """Return where a model turn of this style holds its answer."""
    if style not in _RULES:
        raise unknown_name("style", style, _RULES)
    return _RULES[style]


@functools.lru_cache(1024)
def _layout(style: str, steps: int) -> str:
    """Return the model's turn with a `%s` for each step and for the answer."""
    first, before, mark, after = _AROUND[style]
    lines = "".join(f"{before.format(number)}%s\n" for number in range(1, steps + 1))
    return f"{first}{lines}{mark}%s{after}"
