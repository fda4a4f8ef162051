"""What a verdict costs: scorecards and gates over many items, predictions files, and evalset items as test items."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tunix_eval.data import match_predictions, read_evalset, read_predictions
from tunix_eval.gate import decide
from tunix_eval.records import EvalItem, Evalset, RunScores, ScoredItem
from tunix_eval.scoring import ANSWER_RULES, BUILTIN_SCORERS, complete, make_scorecard, score_items
from tunix_eval.specs import GateSpec

COLUMNS = ("part", "size", "time", "rate or range", "asked", "verdict")
ITEMS = 100_000
EXACT = {"exact": BUILTIN_SCORERS["exact"]}
ITEMS_PER_SECOND = 200_000
ROUNDS = 5
FEW, MANY = 1_000, 10_000
MICROSECONDS_AN_ITEM = 100

CASES = """
import pytest

pytestmark = pytest.mark.tunix_predictions("predictions.jsonl", answer="answer")


@pytest.mark.tunix_evalset("items.jsonl")
def test_case(tunix_case):
    assert tunix_case.score("exact") == 1
"""
BARE = """
import pytest


@pytest.mark.parametrize("case", range({n}), ids=[f"q{{i}}" for i in range({n})])
def test_case(case):
    assert case >= 0
"""


def costs(folder: Path) -> Iterator[tuple[str, ...]]:
    """Give the rows."""
    yield from verdicts()
    yield from predictions(folder / "predictions")
    yield from cases(folder / "cases")


def best(rounds: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least CPU time of several calls in seconds, and what the last gave; all of it is one thread's."""
    times, result = [], None
    for _ in range(rounds):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def write_items(folder: Path, n: int) -> tuple[Path, Path]:
    """Write an evalset of n sums, and right predictions of about 100 bytes a line."""
    folder.mkdir(parents=True, exist_ok=True)
    items, written = folder / "items.jsonl", folder / "predictions.jsonl"
    with items.open("w") as stream:
        for i in range(n):
            line = {"id": f"q{i}", "prompt": f"{i}+{i}=", "expected_answer": str(2 * i)}
            stream.write(f"{json.dumps(line)}\n")
    with written.open("w") as stream:
        for i in range(n):
            line = {"id": f"q{i}", "prediction": f"Column by column, {i} and {i}:\nAnswer: {2 * i}"}
            stream.write(f"{json.dumps(line)}\n")
    return items, written


def verdicts() -> Iterator[tuple[str, ...]]:
    """Measure a scorecard, and no_worse item by item."""
    items = [EvalItem(id=f"q{i}", prompt=f"{i}+1=", expected_answer=str(i + 1)) for i in range(ITEMS)]
    completions = [
        complete(f"q{i}", f"Answer: {i + (i % 5 > 0)}", rule=ANSWER_RULES["answer"], stop_reason="stop", tokens=9)
        for i in range(ITEMS)
    ]
    scored = score_items(items, completions, EXACT)
    seconds, card = best(3, lambda: make_scorecard("bench", scored, EXACT))
    yield timed(f"scorecard, mean {card['exact'].mean:.2f}", seconds)
    ids, rng = [f"q{i}" for i in range(ITEMS)], np.random.default_rng(0)
    binary = (rng.random((2, ITEMS)) < 0.7).astype(float)
    graded = rng.normal(0.7, 0.15, ITEMS) + rng.normal(0, 0.1, (2, ITEMS))
    for name, values in (("0/1", binary), ("graded, 10,000 bootstrap draws", graded)):
        sides = [
            RunScores(run_id=side, seed=0, weights_sha256="w", values=dict(zip(ids, row.tolist(), strict=True)))
            for side, row in zip("ab", values, strict=True)
        ]
        gate = GateSpec(rule="no_worse", metric="exact")
        seconds, _ = best(3, partial(judge, gate, sides))
        yield timed(f"no_worse, item by item, {name}", seconds)


def judge(gate: GateSpec, sides: list[RunScores]) -> Any:
    """Decide between two evaluations of the same weights."""
    return decide(gate, run_name="a", evalset="b", current=sides[:1], reference=sides[1:], lower_is_better=False)


def timed(part: str, seconds: float) -> tuple[str, ...]:
    """Return a row without a requirement."""
    return part, f"{ITEMS:,} items", f"{1000 * seconds:,.0f} ms", f"{ITEMS / seconds:,.0f} items/s", "", ""


def predictions(folder: Path) -> Iterator[tuple[str, ...]]:
    """Measure the way from a predictions file to scored items."""
    items, written = write_items(folder, ITEMS)
    evalset = read_evalset(items)
    size = written.stat().st_size / ITEMS
    for name in ("text", "answer"):
        seconds, scored = best(5, partial(score_file, written, evalset, name))
        assert scored[-1].scores["exact"].value == (name == "answer")
        rate = ITEMS / seconds
        cells = f"{1000 * seconds:,.0f} ms", f"{rate:,.0f} items/s", f"{ITEMS_PER_SECOND:,} items/s"
        part = f"predictions file to `exact`, answer = `{name}`"
        verdict = "within" if rate >= ITEMS_PER_SECOND else "not within"
        yield part, f"{ITEMS:,} lines of {size:.0f} bytes", *cells, verdict


def score_file(path: Path, evalset: Evalset, rule: str) -> list[ScoredItem]:
    """Read, match, extract and score."""
    rows = match_predictions(read_predictions(path), evalset, source=path.name)
    completions = [
        complete(row.item_id, row.text, rule=ANSWER_RULES[rule], stop_reason=row.stop_reason, tokens=None)
        for row in rows
    ]
    return score_items(evalset.items, completions, EXACT)


def cases(folder: Path) -> Iterator[tuple[str, ...]]:
    """Measure `tunix_case` beside a bare parametrised test: interleaved sessions, paired differences."""
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for n in (FEW, MANY):
        write_items(folder / str(n), n)
        (folder / str(n) / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        (folder / str(n) / "test_case.py").write_text(CASES)
        (folder / str(n) / "test_bare.py").write_text(BARE.format(n=n))
    for _ in range(ROUNDS):
        for n in (FEW, MANY):
            project = folder / str(n)
            shutil.rmtree(project / "artifacts", ignore_errors=True)
            for state, file in (("bare", "test_bare.py"), ("first", "test_case.py"), ("again", "test_case.py")):
                found.setdefault((state, n), []).append(session(project, file, n))
    names = {"first": "`tunix_case`, nothing recorded", "again": "`tunix_case`, completions recorded"}
    for state, name in names.items():
        for clock, label in ((0, "wall"), (1, "CPU")):
            over = {
                n: [one[clock] - bare[clock] for one, bare in zip(found[state, n], found["bare", n], strict=True)]
                for n in (FEW, MANY)
            }
            each = [1e6 * one / MANY for one in over[MANY]]
            slopes = [1e6 * (many - few) / (MANY - FEW) for few, many in zip(over[FEW], over[MANY], strict=True)]
            for values, what in ((each, "all of it"), (slopes, f"slope from {FEW:,}, start-up apart")):
                yield case_row(f"{name}, {label}, {what}", values, required=label == "CPU" and values is slopes)
    bare = [1e6 * wall / MANY for wall, _ in found["bare", MANY]]
    yield "bare item, wall, all of it", f"{MANY:,} items", *spread(bare), "", ""


def session(project: Path, file: str, n: int) -> tuple[float, float]:
    """Run a test file in a process of its own; return wall and CPU seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    before, start = children(), time.perf_counter()
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    if run.returncode or f"{n} passed" not in run.stdout:
        raise SystemExit(f"{run.stdout[-3000:]}{run.stderr}\n{file}: exit {run.returncode}, expected {n} passed")
    return wall, children() - before


def children() -> float:
    """Return the CPU seconds of the processes that were started and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def case_row(part: str, values: list[float], *, required: bool) -> tuple[str, ...]:
    """Return a row of microseconds an item over a bare one."""
    asked = f"{MICROSECONDS_AN_ITEM} µs" if required else ""
    verdict = "within" if statistics.median(values) <= MICROSECONDS_AN_ITEM else "not within"
    return part, f"{MANY:,} items", *spread(values), asked, verdict if required else ""


def spread(values: list[float]) -> tuple[str, str]:
    """Return median and range."""
    return f"{statistics.median(values):.0f} µs an item", f"{min(values):.0f} to {max(values):.0f}"
