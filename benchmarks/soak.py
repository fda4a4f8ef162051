"""Kill trainings at random moments, go on, and compare the weights with those of a run that nobody disturbed.

python benchmarks/soak.py --kills 50 --terms 10

A kill is a SIGKILL to a process that trains, at a random step or inside a save; the run then goes on, perhaps to the
next kill, and at last to its end. A term is a SIGTERM to a pytest session that trains, which must end with a checkpoint
and exit code 143; sessions follow until the run is recorded. Exits with 1 where a single weight differs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Before JAX wakes: XLA splits sums by the size of its thread pool, and on the CPU this is about bits.
os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": "2"}

import numpy as np

from tunix_eval.model import FlaxTrainer
from tunix_eval.records import Batch, TrainingJob
from tunix_eval.specs import ModelSpec, TrainingSpec

ROOT = Path(__file__).resolve().parents[1]
STEPS, VOCAB = 96, 64
TEST = """
import pytest

@pytest.mark.tunix_train("addition.toml", training={"steps": 200, "checkpoint_steps": 20}, model={"layers": 1})
def test_run(tunix_run):
    assert [line["step"] for line in tunix_run.metrics] == list(range(1, 201))
"""


def job(directory: Path, *, checkpoint_steps: int = 8) -> TrainingJob:
    """Return a training of a few seconds, by default inside a save for most of its time."""
    draws = np.random.default_rng(0)
    tokens = draws.integers(0, VOCAB, (24, 48)).astype(np.int32)
    ones, places = np.ones_like(tokens), np.tile(np.arange(48, dtype=np.int32), (24, 1))
    return TrainingJob(
        rows=Batch(tokens, ones.astype(np.bool_), ones, places),
        model=ModelSpec(layers=2, width=64, heads=2, mlp_width=128),
        training=TrainingSpec(
            steps=STEPS,
            rows=8,
            row_tokens=48,
            steps_per_dispatch=4,
            checkpoint_steps=checkpoint_steps,
            learning_rate=1e-2,
        ),
        seed=0,
        vocab_size=VOCAB,
        pad_id=0,
        stop_after=None,
        directory=directory,
    )


def trained(directory: Path) -> str:
    """Train to the end, or go on to it, and return the digest of the weights."""
    return FlaxTrainer().train(job(directory), on_progress=lambda progress: None).weights_sha256


def child(directory: Path, *, checkpoint_steps: int) -> subprocess.Popen[bytes]:
    """Train in a process of its own."""
    order = directory.with_suffix(".pickle")
    order.write_bytes(pickle.dumps(job(directory, checkpoint_steps=checkpoint_steps)))
    return subprocess.Popen([sys.executable, __file__, "--train", str(order)], stdout=subprocess.DEVNULL)


def steps_done(directory: Path) -> int:
    """Return how many steps metrics.jsonl has."""
    with contextlib.suppress(OSError):
        return (directory / "metrics.jsonl").read_bytes().count(b"\n")
    return 0


def inside_a_save(directory: Path) -> bool:
    """Tell whether a checkpoint is begun and not finished."""
    with contextlib.suppress(OSError):
        found = [*(directory / "checkpoints").iterdir(), *directory.glob("checkpoint-final*")]
        return any(not (path / "digests.json").exists() for path in found)
    return False


def until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
    """Wait for a moment; tell whether the process lived to see it."""
    while not reached():
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    return True


def kill(directory: Path, draws: random.Random, *, in_save: bool) -> bool:
    """Train up to a random moment and kill; tell whether there was something left to kill."""
    process = child(directory, checkpoint_steps=8 if in_save else 24)
    step = draws.randrange(steps_done(directory), STEPS)
    delay = draws.uniform(0, 0.1)
    alive = until(process, lambda: steps_done(directory) >= step)
    if in_save:
        alive = alive and until(process, lambda: inside_a_save(directory))
    time.sleep(delay if alive else 0)
    process.kill()
    return process.wait() == -signal.SIGKILL


def rounds(folder: Path, draws: random.Random, count: int) -> Iterator[tuple[int, int, str]]:
    """Yield for each run without end: its kills (up to a count), those inside a save, and the weights at its end."""
    for number in itertools.count():
        directory = folder / f"run{number}"
        kills = inside = 0
        for _ in range(min(draws.choice([1, 1, 2, 3]), count)):
            if not kill(directory, draws, in_save=draws.random() < 0.5):
                break
            kills += 1
            inside += inside_a_save(directory)
        if kills:
            yield kills, inside, trained(directory)
        shutil.rmtree(directory, ignore_errors=True)


def session(folder: Path, artifacts: str) -> subprocess.Popen[bytes]:
    """Run a pytest session that trains."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tunix-train", "test_soak.py"]
    return subprocess.Popen([*command, f"--tunix-artifacts={artifacts}"], cwd=folder, stdout=subprocess.DEVNULL)


def recorded(folder: Path, artifacts: str) -> str | None:
    """Return the weights of the run that the sessions recorded."""
    found = list(folder.glob(f"{artifacts}/runs/*/run_manifest.json"))
    return json.loads(found[0].read_text(encoding="utf-8"))["weights_sha256"] if found else None


def terminated(folder: Path, draws: random.Random, count: int) -> tuple[int, list[str]]:
    """End so many sessions by SIGTERM; return how many ended so, and the weights of each run that came of them."""
    ended, number, weights = 0, 0, list[str]()
    while ended < count or recorded(folder, f"terms{number}") is None:
        artifacts = f"terms{number}"
        process = session(folder, artifacts)
        if ended < count:
            runs = folder / artifacts / "runs"
            before = max((steps_done(path) for path in runs.glob("*")), default=0)
            step = before + draws.randrange(0, 60)
            if until(process, lambda r=runs, s=step: any(steps_done(path) > s for path in r.glob("*"))):
                process.terminate()
        code = process.wait()
        ended += code == 143
        if code not in {0, 143}:
            raise SystemExit(f"a session that was sent SIGTERM ended with {code}, expected 143")
        found = recorded(folder, artifacts)
        if found is not None:
            weights.append(found)
            number += ended < count
            if ended >= count:
                break
    return ended, weights


def main() -> None:
    """Disturb, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--inside", type=int, default=10, metavar="N", help="so many kills at least are inside a save")
    parser.add_argument("--terms", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.train is not None:
        FlaxTrainer().train(pickle.loads(asked.train.read_bytes()), on_progress=lambda progress: None)
        return
    draws, wrong, started = random.Random(asked.seed), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = trained(folder / "whole")
        print(f"undisturbed: {expected[:16]} after {STEPS} steps", flush=True)
        kills = inside = runs = 0
        for count, within, weights in rounds(folder, draws, asked.kills):
            kills, inside, runs, wrong = kills + count, inside + within, runs + 1, wrong + (weights != expected)
            print(f"  {kills} kills, {inside} inside a save: {weights[:16]}", flush=True)
            if kills >= asked.kills and inside >= asked.inside:
                break
        print(f"SIGKILL: {kills} kills, {inside} inside a save, {runs} runs, {wrong} with other weights")
        if asked.terms:
            user = shutil.copytree(
                ROOT / "examples" / "quickstart", folder / "user", ignore=shutil.ignore_patterns("artifacts")
            )
            (user / "test_soak.py").write_text(TEST, encoding="utf-8")
            if session(user, "whole").wait() != 0:
                raise SystemExit("the undisturbed session failed")
            ended, found = terminated(user, draws, asked.terms)
            differ = sum(weights != recorded(user, "whole") for weights in found)
            print(f"SIGTERM: {ended} sessions ended with 143, {len(found)} runs, {differ} with other weights")
            wrong += differ
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
