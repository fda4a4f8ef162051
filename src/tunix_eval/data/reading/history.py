"""Earlier turns that give an answer away: they ask what the prompt asks, or hold what is to be found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tunix_eval.folding import normalised_prompt
from tunix_eval.records import EvalItem, Trace, Turn


def given_away(prompt: str, answer: str, turns: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """Return which earlier turn asks what the prompt asks, and which later one answers it; None where none does.

    Args:
        prompt: what is asked.
        answer: what is to be answered.
        turns: role and content of each.
    """
    asked = _asked(prompt, turns)
    told = next((k for k in _told(answer, turns) if asked is not None and k > asked), None)
    return None if asked is None or told is None else (asked, told)


def history_remark(prompt: str, answer: str, messages: Sequence[Turn]) -> str | None:
    """Return what the earlier turns of a trace or an item give away, or None.

    >>> turns = (Turn("user", "2+2?"), Turn("assistant", "It is 4."))
    >>> history_remark("And 2+3?", "5", turns), history_remark("And 2+2?", "4", turns)
    (None, 'an earlier reply holds the answer')
    """
    if not messages:
        return None
    turns = [(turn.role, f"{turn.content}\n{turn.reasoning_content or ''}") for turn in messages]
    repeats, holds = _asked(prompt, turns) is not None, next(_told(answer, turns), None) is not None
    if repeats and holds:
        return "an earlier turn asks what the prompt asks, and one holds its answer: the prompt gives the answer away"
    if repeats:
        return "an earlier turn asks what the prompt asks"
    return "an earlier reply holds the answer" if holds else None


def trace_remarks(traces: Sequence[Trace]) -> Iterator[tuple[int, str]]:
    """Yield the places of traces whose earlier turns give something away, and what."""
    for k, trace in enumerate(traces):
        if trace.messages and (text := history_remark(trace.prompt, trace.final_answer, trace.messages)):
            yield k, text


def item_remarks(items: Sequence[EvalItem]) -> Iterator[tuple[int, str]]:
    """Yield the places of items whose earlier turns give something away, and what."""
    for k, item in enumerate(items):
        if item.messages and (text := history_remark(item.prompt, item.expected_answer, item.messages)):
            yield k, text


def _asked(prompt: str, turns: Sequence[tuple[str, str]]) -> int | None:
    wanted = normalised_prompt(prompt)
    return next(
        (k for k, (role, text) in enumerate(turns) if role == "user" and normalised_prompt(text) == wanted), None
    )


def _told(answer: str, turns: Sequence[tuple[str, str]]) -> Iterator[int]:
    # Not in the middle of a word or a number: 4 is not in 14, 4.5 or x4.
    found = re.compile(rf"(?<!\w)(?<!\d[.,]){re.escape(answer.strip())}(?!\w|[.,]\d)")
    return (k for k, (role, text) in enumerate(turns) if role == "assistant" and found.search(text))
