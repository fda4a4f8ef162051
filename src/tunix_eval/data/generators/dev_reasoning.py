"""Small mixed datasets of worked problems, for development and smoke runs.

category      basic  full  held out  what
reasoning     140    385   35        word problems of several steps
synthetic     60     110   10        arithmetic, strings, logic
golden_style         35    3         text patterns
edge_case            20    2         odd prompts
"""

from __future__ import annotations

from functools import partial

from tunix_eval.data.building.datasets import build_dataset
from tunix_eval.data.generators.counts import COUNTS
from tunix_eval.data.generators.edge_cases import EDGE_CASES
from tunix_eval.data.generators.generated import CREATED, distinct_traces, generate_dataset, of_dataset
from tunix_eval.data.generators.measures import MEASURES
from tunix_eval.data.generators.mixture import HOLDOUT, Category, Drawn, draw_problems, worked_traces
from tunix_eval.data.generators.money import MONEY
from tunix_eval.data.generators.patterns import PATTERNS
from tunix_eval.data.generators.symbols import SYMBOLS
from tunix_eval.data.reading.evalsets import make_evalset
from tunix_eval.records import Dataset, EvalItem, Evalset, Generator

_SEED = 42
_ITEMS = 50
_WORD_PROBLEMS = (*MONEY, *COUNTS, *MEASURES)
_BASIC = (Category("reasoning", _WORD_PROBLEMS, 140), Category("synthetic", SYMBOLS, 60))
_FULL = (
    Category("reasoning", _WORD_PROBLEMS, 385),
    Category("synthetic", SYMBOLS, 110),
    Category("golden_style", PATTERNS, 35),
    Category("edge_case", EDGE_CASES, 20),
)
_SECTIONS = {"reasoning": "trace_sensitive", "edge_case": "edge_case"}

DEV_REASONING = Generator(partial(worked_traces, "dev-reasoning", _FULL), version="2", count=550, seed=_SEED)
DEV_REASONING_BASIC = Generator(
    partial(worked_traces, "dev-reasoning-basic", _BASIC), version="1", count=200, seed=_SEED
)


def dev_reasoning_basic_dataset() -> Dataset:
    """Return `dev-reasoning-v1`: 200 traces; its word problems are among those of v2."""
    return generate_dataset(DEV_REASONING_BASIC, "dev-reasoning-basic", "dev-reasoning", "v1", created_at=CREATED)


def dev_reasoning_dataset() -> Dataset:
    """Return `dev-reasoning-v2`: 550 traces with distinct prompts, none on the holdout side."""
    traces = distinct_traces(DEV_REASONING, "dev-reasoning", seed=_SEED, count=DEV_REASONING.count)
    return build_dataset(
        "dev-reasoning",
        "v2",
        of_dataset(traces, "dev-reasoning-v2"),
        seed=_SEED,
        provenance={"source": "dev_reasoning", "holdout": HOLDOUT},
        created_at=CREATED,
    )


def dev_reasoning_heldout() -> Evalset:
    """Return `dev-reasoning-heldout`: 50 items of the same task types, all on the holdout side."""
    drawn = draw_problems(_FULL, _SEED, _ITEMS, holdout=True)
    return make_evalset("dev-reasoning-heldout", [_item(index, one) for index, one in enumerate(drawn)])


def _item(index: int, drawn: Drawn) -> EvalItem:
    steps = len(drawn.problem.steps)
    return EvalItem(
        id=f"dev-reasoning-heldout-{index:02d}",
        prompt=drawn.problem.prompt,
        expected_answer=drawn.problem.answer,
        category=drawn.category,
        difficulty="easy" if steps <= 2 else "medium" if steps == 3 else "hard",
        section=_SECTIONS.get(drawn.category, "core"),
    )
