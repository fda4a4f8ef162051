"""Whether gates can be trusted: their error rates, honest retrainings, real regressions, and what they cost.

python benchmarks/gates.py --only calibration,intervals,seeds,retrainings,regressions,cost --draws 2000

Each section prints a Markdown table. The exit code is 1 where a line is not within what is asked of it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import calibration
import costs
import honest_seeds
import intervals
import regressions

PACKAGES = ("tunix-eval", "pytest", "numpy", "scipy", "jax")


@dataclass(frozen=True, slots=True)
class Table:
    """Its columns, and what gives its rows."""

    columns: tuple[str, ...]
    rows: Callable[[], Iterator[tuple[str, ...]]]


def show(table: Table) -> bool:
    """Print a table as its rows come; return whether every row is within."""
    print(f"\n| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}", flush=True)
    within = True
    for row in table.rows():
        print(f"| {' | '.join(row)} |", flush=True)
        within &= not row[-1].startswith("not within")
    return within


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="SECTIONS", help="sections with commas between them; by default all")
    parser.add_argument("--draws", type=int, default=2000, metavar="N", help="simulated sessions a line of calibration")
    parser.add_argument("--artifacts", type=Path, metavar="DIR", help="where runs are kept; by default nowhere")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    with tempfile.TemporaryDirectory() as folder:
        artifacts = (options.artifacts or Path(folder) / "artifacts").resolve()
        sections = {
            "calibration": [
                Table(calibration.SAME_WEIGHTS_COLUMNS, partial(calibration.same_weights, options.draws)),
                Table(calibration.RETRAINED_COLUMNS, partial(calibration.retrained, options.draws)),
                Table(calibration.FEW_COLUMNS, partial(calibration.few_runs, options.draws)),
                Table(calibration.PROOF_COLUMNS, partial(calibration.proofs, options.draws)),
            ],
            "intervals": [Table(intervals.COLUMNS, partial(intervals.intervals, options.draws))],
            "seeds": [Table(honest_seeds.COLUMNS, honest_seeds.honest_seeds)],
            "retrainings": [
                Table(regressions.RETRAINING_COLUMNS, partial(regressions.retrainings, Path(folder), artifacts))
            ],
            "regressions": [
                Table(regressions.REGRESSION_COLUMNS, partial(regressions.regressions, Path(folder), artifacts))
            ],
            "cost": [Table(costs.COLUMNS, partial(costs.costs, Path(folder)))],
        }
        names = options.only.split(",") if options.only else list(sections)
        if unknown := [name for name in names if name not in sections]:
            parser.error(f"no section named '{unknown[0]}'; known: {', '.join(sections)}")
        within = True
        for name in names:
            start = time.perf_counter()
            print(f"\n{name}; load before: {os.getloadavg()[0]:.1f}")
            for table in sections[name]:
                within &= show(table)
            print(f"\n{name}: {time.perf_counter() - start:.0f} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
