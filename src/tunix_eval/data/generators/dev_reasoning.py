"""A small mixed dataset of worked problems, for development and smoke runs.

category      traces  held out  what
reasoning     385     35        word problems of several steps
synthetic     110     10        arithmetic, strings, logic
golden_style  35      3         text patterns
edge_case     20      2         odd prompts
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

from tunix_eval.data.datasets import build_dataset, on_holdout_side
from tunix_eval.data.evalsets import make_evalset
from tunix_eval.data.generators.counts import COUNTS
from tunix_eval.data.generators.edge_cases import EDGE_CASES
from tunix_eval.data.generators.measures import MEASURES
from tunix_eval.data.generators.money import MONEY
from tunix_eval.data.generators.patterns import PATTERNS
from tunix_eval.data.generators.problem import Draw, Generator, Problem
from tunix_eval.data.generators.symbols import SYMBOLS
from tunix_eval.digest import prompt_digest
from tunix_eval.records import Dataset, EvalItem, Evalset, Step, Trace

SEED = 42
HOLDOUT = 0.1
_ATTEMPTS = 50
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
_CATEGORIES: tuple[tuple[str, tuple[Generator, ...], int, int], ...] = (
    ("reasoning", (*MONEY, *COUNTS, *MEASURES), 385, 35),
    ("synthetic", SYMBOLS, 110, 10),
    ("golden_style", PATTERNS, 35, 3),
    ("edge_case", EDGE_CASES, 20, 2),
)
_SECTIONS = {"reasoning": "trace_sensitive", "edge_case": "edge_case"}


def dev_reasoning_dataset() -> Dataset:
    """Return `dev-reasoning-v2`: 550 traces with distinct prompts, none on the holdout side."""
    return build_dataset(
        "dev-reasoning",
        "v2",
        [_trace(index, *made) for index, made in enumerate(_problems(holdout=False))],
        seed=SEED,
        provenance={"source": "dev_reasoning", "holdout": HOLDOUT},
        created_at=_CREATED,
    )


def dev_reasoning_heldout() -> Evalset:
    """Return `dev-reasoning-heldout`: 50 items of the same generators, all on the holdout side."""
    items = [_item(index, category, problem) for index, (category, _, problem) in enumerate(_problems(holdout=True))]
    return make_evalset("dev-reasoning-heldout", items)


def _problems(*, holdout: bool) -> Iterator[tuple[str, str, Problem]]:
    """Yield category, task type and problem."""
    draw = Draw(SEED)
    seen: set[str] = set()
    for category, generators, traces, held_out in _CATEGORIES:
        left = held_out if holdout else traces
        for generator in itertools.cycle(generators):
            problem = _new_problem(generator, draw, seen, holdout=holdout)
            if problem is not None:
                yield category, generator.__name__, problem
                left -= 1
            if not left:
                break


def _new_problem(generator: Generator, draw: Draw, seen: set[str], *, holdout: bool) -> Problem | None:
    """Return a problem whose prompt is new and on the right side, or None: some generators have few prompts."""
    for _ in range(_ATTEMPTS):
        problem = generator(draw)
        digest = prompt_digest(problem.prompt)
        if digest not in seen and on_holdout_side(problem.prompt, HOLDOUT) == holdout:
            seen.add(digest)
            return problem
    return None


def _trace(index: int, category: str, task_type: str, problem: Problem) -> Trace:
    return Trace(
        trace_version="1.0",
        prompt=problem.prompt,
        final_answer=problem.answer,
        steps=tuple(
            Step(i, "calculation" if " = " in content else "reasoning", content)
            for i, content in enumerate(problem.steps)
        ),
        meta={
            "category": category,
            "dataset": "dev-reasoning-v2",
            "generator": "dev_reasoning",
            "index": index,
            "seed": SEED,
            "task_type": task_type,
        },
        id=f"dev-reasoning-{index:03d}",
    )


def _item(index: int, category: str, problem: Problem) -> EvalItem:
    steps = len(problem.steps)
    return EvalItem(
        id=f"dev-reasoning-heldout-{index:02d}",
        prompt=problem.prompt,
        expected_answer=problem.answer,
        category=category,
        difficulty="easy" if steps <= 2 else "medium" if steps == 3 else "hard",
        section=_SECTIONS.get(category, "core"),
    )
