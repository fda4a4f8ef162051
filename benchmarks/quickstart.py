"""Wall time of the quickstart: cold (nothing recorded yet) and warm (everything recorded, nothing changed).

python benchmarks/quickstart.py --rounds 3
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = "examples/quickstart"


def session(artifacts: str) -> tuple[float, str]:
    """Run the quickstart against an artifacts directory; return wall seconds and pytest's closing line."""
    command = [sys.executable, "-m", "pytest", "--tunix-train", EXAMPLE, f"--tunix-artifacts={artifacts}"]
    start = time.perf_counter()
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - start
    closing = (run.stdout.strip().splitlines() or [run.stderr.strip()])[-1]
    if run.returncode != 0:
        raise SystemExit(f"{run.stdout}{run.stderr}\npytest --tunix-train {EXAMPLE}: exit {run.returncode}, expected 0")
    return elapsed, closing.strip("= ")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="a round is one cold and one warm session")
    rounds = parser.parse_args().rounds
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tunix-eval", "pytest", "jax"))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; {rounds} rounds"
    )
    print(f"load before: {os.getloadavg()[0]:.1f}")
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as artifacts:
            for state, measured in times.items():
                elapsed, closing = session(artifacts)
                measured.append(elapsed)
                print(f"  {state}: {elapsed:.1f} s ({closing})", flush=True)
    for state, measured in times.items():
        print(f"{state}: {statistics.median(measured):.1f} s (median; {min(measured):.1f} to {max(measured):.1f})")


if __name__ == "__main__":
    main()
