"""What a task type draws from, and what it returns."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

NAMES = (
    *("Ada", "Ben", "Chloe", "Dan", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas"),
    *("Kira", "Liam", "Mina", "Noah", "Olga", "Pablo", "Rosa", "Samir", "Tara", "Yusuf"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its worked answer."""

    prompt: str
    answer: str
    steps: tuple[str, ...]
    """Every `a + b = c` in them holds."""


class Draw:
    """Seeded draws that are the same in every Python version: only `random()` is used, whose sequence is fixed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311

    def between(self, low: int, high: int, *, step: int = 1) -> int:
        """Return one of low, low + step, ..., up to high."""
        return low + step * int(self._random() * ((high - low) // step + 1))

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self._random() * len(options))]

    def several(self, options: Sequence[T], count: int) -> list[T]:
        """Return `count` different options, in random order."""
        left = list(options)
        return [left.pop(int(self._random() * len(left))) for _ in range(count)]


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, which gets an s unless the number is 1.

    >>> counted(1, "week"), counted(3, "week")
    ('1 week', '3 weeks')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


TaskType = Callable[[Draw], Problem]
"""Draws one problem; its name is the `task_type` in the meta of what it returns."""
