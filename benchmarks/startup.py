"""What tunix-eval adds to pytest's start when it is installed and unused.

Runs `pytest --collect-only -q` on an empty folder in fresh processes: in each round once with everything, once without
tunix-eval and once without syrupy, in an order that rotates, so that a slow minute hits all of them alike. Prints the
median of the paired differences with the middle half of them, and the ratio of the medians.

    python benchmarks/startup.py --rounds 40
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WITHOUT = {"tunix_eval": ["-p", "no:tunix_eval"], "syrupy": ["-p", "no:syrupy"]}
HEAVY = ("jax", "numpy", "pydantic")
COMMAND = ["--collect-only", "-q", "-p", "no:cacheprovider"]
LISTING = f"""
import json, sys, pytest
pytest.main({COMMAND!r})
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def seconds(arguments: list[str], folder: Path) -> float:
    """Return the wall time of one fresh pytest process, which finds no tests."""
    command = [sys.executable, "-m", "pytest", *COMMAND, *arguments]
    start = time.perf_counter()
    status = subprocess.run(command, cwd=folder, capture_output=True, check=False, env=environment()).returncode
    elapsed = time.perf_counter() - start
    if status != 5:
        raise SystemExit(f"{' '.join(command)}: exit {status}, expected 5 (no tests collected)")
    return elapsed


def environment() -> dict[str, str]:
    """Return the environment without what changes pytest's start."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}


def measure(rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return the wall seconds of every variant, one a round; the first round warms the disk and is dropped."""
    variants = {"everything": [], **WITHOUT}
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        names = list(variants)
        names = names[number % len(names) :] + names[: number % len(names)]
        for name in names:
            elapsed = seconds(variants[name], folder)
            if number:
                times[name].append(elapsed)
    return times


def imported(folder: Path) -> list[str]:
    """Return which heavy modules an idle pytest imports."""
    run = subprocess.run(
        [sys.executable, "-c", LISTING], cwd=folder, capture_output=True, text=True, check=True, env=environment()
    )
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, metavar="N")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        heavy = imported(Path(folder))
        times = measure(rounds, Path(folder))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tunix-eval", "pytest", "syrupy"))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; {rounds} rounds"
    )
    everything = times["everything"]
    print(f"pytest --collect-only with everything: {1000 * statistics.median(everything):.0f} ms (median)")
    for name in WITHOUT:
        pairs = [1000 * (full - without) for full, without in zip(everything, times[name], strict=True)]
        low, median, high = statistics.quantiles(pairs, n=4)
        ratio = statistics.median(everything) / statistics.median(times[name])
        print(f"{name} adds {median:.1f} ms (middle half {low:.1f} to {high:.1f}), ratio {ratio:.3f}")
    print(f"imported when idle, of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
