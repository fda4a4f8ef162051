"""Traces of worked problems, drawn from categories of task types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tunix_eval.data.building.datasets import on_holdout_side
from tunix_eval.data.generators.problem import Draw, Problem, TaskType
from tunix_eval.digest import prompt_digest
from tunix_eval.records import Step, Trace

HOLDOUT = 0.1
"""The share of prompts that no trace may have: the held-out evalsets are drawn from them."""
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Category:
    """Task types that take turns, under one name."""

    name: str
    task_types: tuple[TaskType, ...]
    share: int = 1
    """Of all problems, in relation to the shares of the categories beside it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A problem and where it comes from."""

    category: str
    task_type: str
    problem: Problem


def worked_traces(name: str, categories: Sequence[Category], seed: int, count: int) -> Iterator[Trace]:
    """Yield `count` traces with distinct prompts off the holdout side; fewer where the task types have no more."""
    for index, drawn in enumerate(draw_problems(categories, seed, count, holdout=False)):
        yield Trace(
            trace_version="1.0",
            prompt=drawn.problem.prompt,
            final_answer=drawn.problem.answer,
            steps=tuple(
                Step(i, "calculation" if " = " in content else "reasoning", content)
                for i, content in enumerate(drawn.problem.steps)
            ),
            meta={
                "category": drawn.category,
                "generator": name.replace("-", "_"),
                "index": index,
                "seed": seed,
                "task_type": drawn.task_type,
            },
            id=f"{name}-{index:03d}",
        )


def draw_problems(categories: Sequence[Category], seed: int, count: int, *, holdout: bool) -> Iterator[Drawn]:
    """Yield problems category by category, each prompt once, all on one side of the holdout."""
    draw = Draw(seed)
    seen: set[str] = set()
    for category, quota in zip(categories, quotas([category.share for category in categories], count), strict=True):
        yield from islice(_of_category(category, draw, seen, holdout=holdout), quota)


def quotas(shares: Sequence[int], count: int) -> list[int]:
    """Split a count by shares, in whole numbers; what is over goes to the largest remainders.

    >>> quotas([385, 110, 35, 20], 50)
    [35, 10, 3, 2]
    """
    whole = sum(shares)
    parts = [count * share // whole for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda k: -(count * shares[k] % whole))
    for k in by_remainder[: count - sum(parts)]:
        parts[k] += 1
    return parts


def _of_category(category: Category, draw: Draw, seen: set[str], *, holdout: bool) -> Iterator[Drawn]:
    """Yield new problems until a whole round of the task types has none."""
    found = True
    while found:
        found = False
        for task_type in category.task_types:
            problem = _new_problem(task_type, draw, seen, holdout=holdout)
            if problem is not None:
                found = True
                yield Drawn(category.name, task_type.__name__, problem)


def _new_problem(task_type: TaskType, draw: Draw, seen: set[str], *, holdout: bool) -> Problem | None:
    """Return a problem whose prompt is new and on the right side, or None: some task types have few prompts."""
    for _ in range(_ATTEMPTS):
        problem = task_type(draw)
        digest = prompt_digest(problem.prompt)
        if digest not in seen and on_holdout_side(problem.prompt, HOLDOUT) == holdout:
            seen.add(digest)
            return problem
    return None
