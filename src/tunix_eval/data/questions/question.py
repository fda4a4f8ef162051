"""What an item is written as."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tunix_eval.records import EvalItem

_HOW_MANY = re.compile(r"how many\s+(?:more )?(?!of |do |percent )([a-z]+)", re.IGNORECASE)
_SIGNS: Mapping[str, str] = {
    "euros": "€{}",
    "dollars": "${}",
    "degrees": "{}°",
    "grams": "{} g",
    "kilograms": "{} kg",
    "litres": "{} l",
    "hectares": "{} ha",
    "centimetres": "{} cm",
    "metres": "{} m",
    "kilometres": "{} km",
    "seconds": "{} s",
    "minutes": "{} min",
    "hours": "{} h",
}
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


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
        aliases=tuple(dict.fromkeys((*aliases, *_written_otherwise(prompt, (answer, *aliases))))),
        category=category,
        difficulty=difficulty,
        section=section,
    )


def _written_otherwise(prompt: str, answers: tuple[str, ...]) -> Iterator[str]:
    """Yield a small number in words, and numbers with the unit that the question names.

    >>> list(_written_otherwise("How many euros?", ("9", "nine")))
    ['nine', '9 euros', '€9']
    """
    number = answers[0]
    if number.isdecimal() and int(number) < len(_WORDS):
        yield _WORDS[int(number)]
    units = _HOW_MANY.findall(prompt)
    if not units:
        return
    for number in answers:
        if re.fullmatch(r"[\d.,]*\d", number):
            yield f"{number} {units[-1]}"
            if units[-1] in _SIGNS:
                yield _SIGNS[units[-1]].format(number)
