"""Whether gates can be trusted: their error rates, honest retrainings, real regressions, and what they cost.

python benchmarks/gates.py --only calibration,seeds,retrainings,regressions,cost --draws 2000

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
from pathlib import Path

from calibration import COLUMNS as CALIBRATION_COLUMNS
from calibration import calibration
from costs import COLUMNS as COST_COLUMNS
from costs import costs
from honest_seeds import COLUMNS as SEED_COLUMNS
from honest_seeds import honest_seeds
from regressions import REGRESSION_COLUMNS, RETRAINING_COLUMNS, regressions, retrainings

PACKAGES = ("tunix-eval", "pytest", "numpy", "scipy", "jax")


@dataclass(frozen=True, slots=True)
class Section:
    """A table: its columns, and what gives its rows."""

    columns: tuple[str, ...]
    rows: Callable[[], Iterator[tuple[str, ...]]]


def show(name: str, section: Section) -> bool:
    """Print a section's table as its rows come; return whether every row is within."""
    print(f"\n{name}, load {os.getloadavg()[0]:.1f} before\n\n| {' | '.join(section.columns)} |")
    print(f"|{'---|' * len(section.columns)}", flush=True)
    start, within = time.perf_counter(), True
    for row in section.rows():
        print(f"| {' | '.join(row)} |", flush=True)
        within &= row[-1] != "not within"
    print(f"\n{time.perf_counter() - start:.0f} s")
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
            "calibration": Section(CALIBRATION_COLUMNS, lambda: calibration(options.draws)),
            "seeds": Section(SEED_COLUMNS, honest_seeds),
            "retrainings": Section(RETRAINING_COLUMNS, lambda: retrainings(Path(folder), artifacts)),
            "regressions": Section(REGRESSION_COLUMNS, lambda: regressions(Path(folder), artifacts)),
            "cost": Section(COST_COLUMNS, lambda: costs(Path(folder))),
        }
        names = options.only.split(",") if options.only else list(sections)
        if unknown := [name for name in names if name not in sections]:
            parser.error(f"no section named '{unknown[0]}'; known: {', '.join(sections)}")
        results = [show(name, sections[name]) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
