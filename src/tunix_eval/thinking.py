"""What of a reply is thinking and what is the answer: told once, for every answer rule and every scorer.

A section runs from its opening to its closing mark, marks included. A closing mark without an opening one ends what
the prompt began (current reasoning templates print `<think>` themselves): all before it is thinking. An opening mark
within a section is text of the thinking; a section that never closes runs to the end. Marks in backticks are named,
not used. Case does not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

KNOWN = "known"
"""Every form of `FORMS`."""
NONE = "none"
Spans = tuple[tuple[int, int], ...]
"""Start and end of each section in a text, in order, none touching another's inside."""


class Form(NamedTuple):
    """The marks of one kind of section."""

    open: str
    """A pattern."""
    close: str
    """A pattern."""
    end: str
    """A closing mark as a model writes it."""


def _tag(name: str) -> Form:
    return Form(rf"<{re.escape(name)}(?:\s[^<>]*+)?>", rf"</{re.escape(name)}\s*+>", f"</{name}>")


# Sources: the chat templates and model cards of the families named, as of 2026.
FORMS: Mapping[str, Form] = {
    # DeepSeek R1, Qwen 3, QwQ, GLM, Nemotron, and the style `tagged`.
    "think": _tag("think"),
    # Prompts of evaluations and of reinforcement learning.
    "thinking": _tag("thinking"),
    "thought": _tag("thought"),
    "reasoning": _tag("reasoning"),
    "seed": _tag("seed:think"),
    "magistral": Form(r"\[THINK\]", r"\[/THINK\]", "[/THINK]"),
    "kimi": Form("◁think▷", "◁/think▷", "◁/think▷"),
    # gpt-oss. Where a server leaves out control tokens, the names of the channels stay, run together with the text.
    "harmony": Form(
        r"<\|channel\|>(?:analysis|commentary)\b(?:[^<]*+<\|message\|>)?|\Aanalysis(?=(?-i:[A-Z]))",
        r"<\|channel\|>final\b[^<]*+<\|message\|>|assistantfinal",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    "gemma4": Form(r"<\|channel>(?:thought\b)?", r"<channel\|>", "<channel|>"),
    "cohere": Form(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>", "<|END_THINKING|>"),
    "openthinker": Form(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", "<|end_of_thought|>"),
}
"""The kinds of section that are known by name."""
TAG = re.compile(r"[A-Za-z_][\w.:-]*")
"""A name that is none of those: of the tags that a section stands between."""


class Thinking(NamedTuple):
    """The sections of a reply."""

    spans: Spans
    close: str = ""
    """What would end the last of them, where the reply ends inside it."""

    @property
    def open(self) -> bool:
        """Whether the reply ends inside a section."""
        return bool(self.close)


_NOTHING = Thinking(())


def find_thinking(text: str, form: str | tuple[str, str] = KNOWN, *, opened: bool = False) -> Thinking:
    """Find the thinking sections of a reply.

    Args:
        text: the reply.
        form: a name of `FORMS`, any other tag's name, the two marks as text, `known` or `none`.
        opened: whether the prompt ends with an opening mark, so that the reply begins inside a section.

    >>> find_thinking("<think>12?</think> 22")
    Thinking(spans=((0, 18),), close='')
    >>> find_thinking("12?</think> 22").spans, find_thinking("22 <think>or").open
    (((0, 11),), True)
    """
    if not (opened and form != NONE) and not _may_hold(text, form):
        return _NOTHING
    spans: list[tuple[int, int]] = []
    start, kind = (0, -1) if opened else (-1, -1)
    for mark in _marks(form).finditer(text):
        number = (mark.lastindex or 1) - 1
        if number % 2 == 0:
            if start < 0:
                start, kind = mark.start(), number
        elif start < 0 or kind in (-1, number - 1):
            begin = start if start >= 0 else spans[-1][1] if spans else 0
            spans.append((begin, mark.end()))
            start = kind = -1
    if start >= 0:
        spans.append((start, len(text)))
    return Thinking(tuple(spans), _forms(form)[max(kind, 0) // 2].end if start >= 0 else "")


def opens_thinking(prompt: str, form: str | tuple[str, str] = KNOWN) -> bool:
    r"""Tell whether a prompt ends with an opening mark, white space aside.

    >>> opens_thinking("<|im_start|>assistant\n<think>\n"), opens_thinking("<think>\n\n</think>\n\n")
    (True, False)
    """
    marks = list(_marks(form).finditer(prompt)) if _may_hold(prompt, form) else []
    return bool(marks) and (marks[-1].lastindex or 1) % 2 == 1 and not prompt[marks[-1].end() :].strip()


def closes_unopened(text: str, form: str | tuple[str, str] = KNOWN) -> bool:
    """Tell whether a reply closes a section that it did not open: its prompt opened it."""
    first = _marks(form).search(text) if _may_hold(text, form) else None
    return first is not None and (first.lastindex or 1) % 2 == 0


def without(text: str, spans: Spans, start: int = 0, end: int | None = None) -> str:
    """Return a text, or the part of it from start to end, with a line break in place of each section.

    >>> without("<think>a</think>b", ((0, 16),))
    '\\nb'
    """
    if not spans:
        return text[start:end]
    pieces, at, stop = [], start, len(text) if end is None else end
    for first, last in spans:
        if last > at and first < stop:
            pieces.append(text[at : max(first, at)])
            at = last
    pieces.append(text[at:stop])
    return "\n".join(pieces)


def unmarked(text: str, form: str | tuple[str, str] = KNOWN) -> str:
    """Return a text whose thinking lost its marks, a line break in place of each.

    >>> unmarked("<think>a</think>b")
    '\\na\\nb'
    """
    return _marks(form).sub("\n", text) if _may_hold(text, form) else text


def blanked(text: str, spans: Spans) -> str:
    """Return a text of the same length with a line break for every character of the sections, and of blanks behind.

    Places in it are places in the text, and what follows a section begins a line.
    """
    if not spans:
        return text
    pieces, at = [], 0
    for start, end in spans:
        pieces.append(text[at:start])
        at = end
        while text[at : at + 1] in (" ", "\t"):
            at += 1
        pieces.append("\n" * (at - start))
    return "".join([*pieces, text[at:]])


def _may_hold(text: str, form: str | tuple[str, str]) -> bool:
    if form != KNOWN:
        return form != NONE
    # Of all known marks; written out, for this is asked of every reply and takes a tenth of a loop's time.
    return "<" in text or "[" in text or "◁" in text or "analysis" in text or "assistantfinal" in text


@lru_cache(64)
def _marks(form: str | tuple[str, str]) -> re.Pattern[str]:
    """Return a pattern whose groups are opening and closing marks in turn, two a form."""
    marks = "|".join(f"({one.open})|({one.close})" for one in _forms(form))
    return re.compile(rf"(?<!`)(?:{marks})", re.IGNORECASE)


def _forms(form: str | tuple[str, str]) -> Sequence[Form]:
    if form == KNOWN:
        return tuple(FORMS.values())
    if isinstance(form, str):
        return (FORMS.get(form) or _tag(form),)
    return (Form(re.escape(form[0]), re.escape(form[1]), form[1]),)
