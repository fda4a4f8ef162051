"""Three-digit addition with a scratchpad.

prompt  358+467=
steps   8+7+0=15    5+6+1=12    3+4+1=08     (digits and carry, sum on two digits; ones first)
answer  825
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from tunix_eval.data.building.datasets import build_dataset, on_holdout_side
from tunix_eval.data.generators.generated import CREATED, distinct_traces, of_dataset
from tunix_eval.data.reading.evalsets import make_evalset
from tunix_eval.records import Dataset, EvalItem, Evalset, Generator, Step, Trace

_SEED = 0
_HOLDOUT = 0.1
_ITEMS = 200
_ATTEMPTS = 1_000
"""Draws in a row without a new pair, after which there are taken to be no more; there are 810,000 in all."""


def addition_traces(seed: int, count: int) -> Iterator[Trace]:
    """Yield `count` traces with distinct prompts off the holdout side; fewer where there are no more."""
    for index, pair in enumerate(islice(_pairs(seed, holdout=False), count)):
        yield _trace(index, seed, *pair)


ADDITION = Generator(addition_traces, version="1", count=2_000, seed=_SEED)


def addition_dataset() -> Dataset:
    """Return `addition-v1`: 2,000 traces with distinct prompts, none on the holdout side."""
    traces = distinct_traces(ADDITION, "addition", seed=_SEED, count=ADDITION.count)
    return build_dataset(
        "addition",
        "v1",
        of_dataset(traces, "addition-v1"),
        seed=_SEED,
        provenance={"source": "addition", "holdout": _HOLDOUT},
        created_at=CREATED,
    )


def addition_heldout() -> Evalset:
    """Return `addition-heldout`: 200 items on the holdout side; the category is the number of carries."""
    pairs = islice(_pairs(_SEED, holdout=True), _ITEMS)
    return make_evalset("addition-heldout", [_item(index, *pair) for index, pair in enumerate(pairs)])


def _pairs(seed: int, *, holdout: bool) -> Iterator[tuple[int, int]]:
    # Only random() is drawn from: its sequence is the same in every Python version.
    rng = random.Random(seed)  # noqa: S311
    seen: set[tuple[int, int]] = set()
    fruitless = 0
    while fruitless < _ATTEMPTS:
        pair = (100 + int(900 * rng.random()), 100 + int(900 * rng.random()))
        fruitless += 1
        if pair not in seen and on_holdout_side(_prompt(*pair), _HOLDOUT) == holdout:
            seen.add(pair)
            fruitless = 0
            yield pair


def _prompt(a: int, b: int) -> str:
    return f"{a}+{b}="


def _columns(a: int, b: int) -> list[tuple[int, int, int]]:
    """Return (digit, digit, carry) per column, ones first."""
    columns, carry = [], 0
    for power in (1, 10, 100):
        x, y = a // power % 10, b // power % 10
        columns.append((x, y, carry))
        carry = (x + y + carry) // 10
    return columns


def _trace(index: int, seed: int, a: int, b: int) -> Trace:
    steps = tuple(
        Step(i, "column", f"{x}+{y}+{carry}={x + y + carry:02d}") for i, (x, y, carry) in enumerate(_columns(a, b))
    )
    meta = {"category": _category(a, b), "index": index, "seed": seed}
    return Trace(
        trace_version="1.0",
        prompt=_prompt(a, b),
        final_answer=str(a + b),
        steps=steps,
        meta=meta,
        id=f"addition-{index:04d}",
    )


def _item(index: int, a: int, b: int) -> EvalItem:
    return EvalItem(
        id=f"addition-heldout-{index:03d}",
        prompt=_prompt(a, b),
        expected_answer=str(a + b),
        category=_category(a, b),
        difficulty=("easy", "medium", "medium", "hard")[_carries(a, b)],
        section="core",
    )


def _carries(a: int, b: int) -> int:
    return sum(x + y + carry >= 10 for x, y, carry in _columns(a, b))


def _category(a: int, b: int) -> str:
    carries = _carries(a, b)
    return f"{carries} carry" if carries == 1 else f"{carries} carries"
