"""Three-digit addition with a scratchpad.

prompt  358+467=
steps   8+7+0=15    5+6+1=12    3+4+1=08     (digits and carry, sum on two digits; ones first)
answer  825
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from tunix_eval.data.datasets import build_dataset, on_holdout_side
from tunix_eval.data.evalsets import make_evalset
from tunix_eval.records import Dataset, EvalItem, Evalset, Step, Trace

SEED = 0
HOLDOUT = 0.1
TRACES = 2_000
ITEMS = 200
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def addition_dataset() -> Dataset:
    """Return `addition-v1`: 2,000 traces with distinct prompts, none on the holdout side."""
    return build_dataset(
        "addition",
        "v1",
        [_trace(index, *pair) for index, pair in enumerate(_pairs(TRACES, holdout=False))],
        seed=SEED,
        provenance={"source": "addition", "holdout": HOLDOUT},
        created_at=_CREATED,
    )


def addition_heldout() -> Evalset:
    """Return `addition-heldout`: 200 items on the holdout side; the category is the number of carries."""
    pairs = _pairs(ITEMS, holdout=True)
    return make_evalset("addition-heldout", [_item(index, *pair) for index, pair in enumerate(pairs)])


def _pairs(count: int, *, holdout: bool) -> Iterator[tuple[int, int]]:
    # Only random() is drawn from: its sequence is the same in every Python version.
    rng = random.Random(SEED)  # noqa: S311
    seen: set[tuple[int, int]] = set()
    while len(seen) < count:
        pair = (100 + int(900 * rng.random()), 100 + int(900 * rng.random()))
        if pair not in seen and on_holdout_side(_prompt(*pair), HOLDOUT) == holdout:
            seen.add(pair)
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


def _trace(index: int, a: int, b: int) -> Trace:
    steps = tuple(
        Step(i, "column", f"{x}+{y}+{carry}={x + y + carry:02d}") for i, (x, y, carry) in enumerate(_columns(a, b))
    )
    meta = {"category": _category(a, b), "dataset": "addition-v1", "index": index, "seed": SEED}
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
