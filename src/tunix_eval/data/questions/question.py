"""What an item is written as."""

from __future__ import annotations

from tunix_eval.records import EvalItem


def core(name: str, category: str, difficulty: str, prompt: str, answer: str, *aliases: str) -> EvalItem:
    """Return an item of the section `core`: one or two plain steps."""
    return _item("core", name, category, difficulty, prompt, answer, aliases)


def trace_sensitive(name: str, category: str, difficulty: str, prompt: str, answer: str, *aliases: str) -> EvalItem:
    """Return an item of the section `trace_sensitive`: who skips a step gets a wrong answer that looks right."""
    return _item("trace_sensitive", name, category, difficulty, prompt, answer, aliases)


def edge_case(name: str, category: str, difficulty: str, prompt: str, answer: str, *aliases: str) -> EvalItem:
    """Return an item of the section `edge_case`: odd in its form or its numbers, not in what it asks."""
    return _item("edge_case", name, category, difficulty, prompt, answer, aliases)


def _item(
    section: str, name: str, category: str, difficulty: str, prompt: str, answer: str, aliases: tuple[str, ...]
) -> EvalItem:
    return EvalItem(
        id=name,
        prompt=prompt,
        expected_answer=answer,
        aliases=aliases,
        category=category,
        difficulty=difficulty,
        section=section,
    )
