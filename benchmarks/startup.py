"""What tunix-eval adds to pytest's start when it is installed and unused.

Runs `pytest --collect-only -q` on an empty folder in fresh processes: in each round once with everything, once without
tunix-eval and once without syrupy, in an order that rotates, so that a slow minute hits all of them alike. Prints the
median of the paired differences with the middle half of them, as wall and as CPU time, and the ratio of the median
walls. Hypothesis's own plugin, which takes longer than all the rest, is left out.

    python benchmarks/startup.py --rounds 40
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WITHOUT = {"tunix_eval": ["-p", "no:tunix_eval"], "syrupy": ["-p", "no:syrupy"]}
HEAVY = ("jax", "numpy", "pydantic")
COMMAND = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
LISTING = f"""
import json, sys, pytest
pytest.main({COMMAND!r})
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


Times = tuple[float, float]
"""Milliseconds of wall and of CPU time."""


def once(arguments: list[str], folder: Path) -> Times:
    """Return the times of one fresh pytest process, which finds no tests."""
    command = [sys.executable, "-m", "pytest", *COMMAND, *arguments]
    start, cpu = time.perf_counter(), children_cpu()
    status = subprocess.run(command, cwd=folder, capture_output=True, check=False, env=environment()).returncode
    times = 1000 * (time.perf_counter() - start), 1000 * (children_cpu() - cpu)
    if status != 5:
        raise SystemExit(f"{' '.join(command)}: exit {status}, expected 5 (no tests collected)")
    return times


def children_cpu() -> float:
    """Return the CPU seconds of all ended child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def environment() -> dict[str, str]:
    """Return the environment without what changes pytest's start; bytecode is kept, as pip leaves it."""
    changing = ("PYTEST_", "COV", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(changing)}


def measure(rounds: int, folder: Path) -> dict[str, list[Times]]:
    """Return the times of every variant, one pair a round; the first round warms the disk and is dropped."""
    variants: dict[str, list[str]] = {"everything": [], **WITHOUT}
    times: dict[str, list[Times]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        names = list(variants)
        names = names[number % len(names) :] + names[: number % len(names)]
        for name in names:
            measured = once(variants[name], folder)
            if number:
                times[name].append(measured)
    return times


def imported(folder: Path) -> list[str]:
    """Return which heavy modules an idle pytest imports."""
    run = subprocess.run(
        [sys.executable, "-c", LISTING], cwd=folder, capture_output=True, text=True, check=True, env=environment()
    )
    return json.loads(run.stdout.splitlines()[-1])


def difference(everything: list[Times], without: list[Times], unit: int) -> str:
    """Return the median of the paired differences and their middle half, as text."""
    pairs = [full[unit] - less[unit] for full, less in zip(everything, without, strict=True)]
    low, median, high = statistics.quantiles(pairs, n=4)
    return f"{median:.1f} ms (middle half {low:.1f} to {high:.1f})"


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
    wall = {name: statistics.median(wall for wall, _ in measured) for name, measured in times.items()}
    print(f"pytest --collect-only with everything: {wall['everything']:.0f} ms (median)")
    for name in WITHOUT:
        added = [difference(times["everything"], times[name], unit) for unit in (0, 1)]
        print(f"{name} adds {added[0]} wall, {added[1]} CPU; ratio {wall['everything'] / wall[name]:.3f}")
    print(f"imported when idle, of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
