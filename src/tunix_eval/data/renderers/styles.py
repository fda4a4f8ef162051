"""How the steps of a trace are written into the model's turn, and where the answer stands in it.

Where an edition's replies have a thinking section, the steps go into it and the answer stands behind:

| style | in the section | behind it |
|---|---|---|
| numbered | `Reasoning:`, numbered steps | `Answer: 825` |
| plain | steps | `#### 825` |
| tagged | steps | `<answer>825</answer>` |
| none | nothing | `825` |
"""

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

_BEHIND = {"numbered": 2, "plain": 2, "tagged": 3}
"""How many pieces stand behind the section: the mark, the answer, and what the style writes after it."""
# In a thinking section the edition writes the tags around the steps itself.
_AROUND_THOUGHTS = {**_AROUND, "tagged": ("", "", "<answer>", "</answer>")}

Section = Literal["always", "tagged"]
"""Whose reasoning goes into an edition's thinking section: of every style, since its replies always have one; or of
`tagged` alone, since a reply without a thought has none."""

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


def uses_section(style: str, section: Section | None) -> bool:
    """Tell whether a style's reasoning goes into the edition's thinking section."""
    return section == "always" or (section == "tagged" and style == "tagged")


def thought_and_reply(trace: Trace, style: str) -> tuple[str, str]:
    r"""Return the model's turn for an edition with a thinking section: what stands in it, and what follows it.

    >>> from tunix_eval.records import Step
    >>> trace = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))
    >>> [thought_and_reply(trace, style) for style in ("plain", "tagged", "none")]
    [('1+1=2', '#### 2'), ('1+1=2', '<answer>2</answer>'), ('', '2')]
    """
    thought, reply = pieces_around_section(trace, style)
    return "".join([piece.text for piece in thought]).removesuffix("\n"), "".join([piece.text for piece in reply])


def pieces_around_section(trace: Trace, style: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return the pieces of the thinking section, and those that follow it."""
    pieces, behind = _pieces(trace, style, _AROUND_THOUGHTS), _BEHIND.get(style, 1)
    return pieces[:-behind] if trace.steps else (), pieces[-behind:]


def reasoning_pieces(trace: Trace, style: str) -> tuple[Piece, ...]:
    r"""Return the model's turn in pieces: joined, they are `model_text`.

    A step is its content with the number and the line break around it; the answer is its text alone.

    >>> from tunix_eval.records import Step
    >>> trace = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))
    >>> [tuple(piece) for piece in reasoning_pieces(trace, "numbered")][1:]
    [('1. 1+1=2\n', 'step', 'sum'), ('Answer: ', 'scaffold', None), ('2', 'answer', None)]
    """
    return _pieces(trace, style, _AROUND)


def _pieces(trace: Trace, style: str, around: Mapping[str, tuple[str, str, str, str]]) -> tuple[Piece, ...]:
    if style not in around:
        answer_mark(style)
        return (Piece(trace.final_answer, "answer"),)
    first, before, mark, after = around[style]
    pieces = [Piece(first, "scaffold")] if first else []
    for number, step in enumerate(trace.steps, 1):
        pieces.append(Piece(f"{before.format(number)}{step.content}\n", "step", step.type))
    pieces += [Piece(mark, "scaffold"), Piece(trace.final_answer, "answer")]
    return (*pieces, Piece(after, "scaffold")) if after else tuple(pieces)


def reasoning_steps(trace: Trace, style: str) -> str:
    """Return the model's turn up to its answer, mark included; empty where the style writes the answer alone."""
    return reply_at_answer(trace, style)[0]


def conversation(trace: Trace, style: str, section: Section | None = None) -> Conversation:
    """Return a trace as a conversation: earlier messages, the prompt, the model's turn.

    `section` is the renderer's `thinking_section`; reasoning that goes into it is the turn's `reasoning_content`.
    """
    if uses_section(style, section):
        thought, reply = thought_and_reply(trace, style)
        answered = Turn("assistant", reply, thought or None)
    else:
        answered = Turn("assistant", model_text(trace, style))
    return Conversation((*trace.messages, Turn("user", trace.prompt), answered), trace.system)


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
