"""Kill trainings at random moments, go on, and compare the weights with those of a run that nobody disturbed.

python benchmarks/soak.py --kills 50 --terms 10

A kill is a SIGKILL to a process that trains, at a random step or inside a save; the run then goes on, perhaps to the
next kill, and at last to its end. A term is a SIGTERM to a pytest session that trains, which must end with a checkpoint
and exit code 143; sessions follow until the run is recorded. Runs take turns in how they are trained: the last weights
kept or the best ones, with accumulation, stopped early. Exits with 1 where a single weight or metric differs.
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
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Before JAX wakes: XLA splits sums by the size of its thread pool, and on the CPU this is about bits.
os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": "2"}

import numpy as np

from tunix_eval.digest import sha256_json
from tunix_eval.model import FlaxTrainer
from tunix_eval.model.metrics import read_metrics
from tunix_eval.records import Batch, TrainingJob
from tunix_eval.specs import ModelSpec, TrainingSpec

ROOT = Path(__file__).resolve().parents[1]
STEPS, VOCAB, ROW_TOKENS = 96, 64, 48
# With each: packed rows, and what of the training differs. The holdout's loss falls, wavers and rises: with `best` the
# lowest is at step 80; with `early` at 60, and at 76 training has gone on for as long as it may without a lower one.
SPECS: dict[str, tuple[int, dict[str, Any]]] = {
    "last": (24, {"learning_rate": 1e-2}),
    "best": (96, {"learning_rate": 5e-3, "holdout_steps": 8, "keep": "best", "accumulate": 2}),
    "early": (64, {"learning_rate": 3e-3, "holdout_steps": 4, "early_stopping": 4}),
}
SESSIONS = {
    "last": {"training": {"steps": 200, "checkpoint_steps": 20}},
    "best": {
        "training": {"steps": 200, "checkpoint_steps": 20, "holdout_steps": 10, "keep": "best", "accumulate": 2},
        "holdout": 0.02,
    },
}
TEST = """
import pytest

@pytest.mark.tunix_train("addition.toml", model={{"layers": 1}}, **{overrides})
def test_run(tunix_run):
    assert [line["step"] for line in tunix_run.metrics] == list(range(1, 201))
"""


def packed(count: int, draws: np.random.Generator) -> Batch:
    """Return rows of tokens that go up by five, but for three of ten, which are anything."""
    tokens = (draws.integers(0, VOCAB, (count, 1)) + 5 * np.arange(ROW_TOKENS)) % VOCAB
    noise = draws.integers(0, VOCAB, tokens.shape)
    tokens = np.where(draws.random(tokens.shape) < 0.3, noise, tokens).astype(np.int32)
    ones, places = np.ones_like(tokens), np.tile(np.arange(ROW_TOKENS, dtype=np.int32), (count, 1))
    return Batch(tokens, ones.astype(np.bool_), ones, places)


def job(directory: Path, spec: str, *, checkpoint_steps: int = 8) -> TrainingJob:
    """Return a training of a few seconds, by default inside a save for most of its time."""
    count, changed = SPECS[spec]
    draws = np.random.default_rng(0)
    rows, holdout = packed(count, draws), packed(8, draws)
    training: dict[str, Any] = {"steps": STEPS, "rows": 8, "row_tokens": ROW_TOKENS, "steps_per_dispatch": 4}
    return TrainingJob(
        rows=rows,
        holdout=holdout if "holdout_steps" in changed else None,
        model=ModelSpec(layers=2, width=64, heads=2, mlp_width=128),
        training=TrainingSpec(**training, **changed, checkpoint_steps=checkpoint_steps),
        seed=0,
        vocab_size=VOCAB,
        pad_id=0,
        stop_after=None,
        directory=directory,
    )


@dataclass(frozen=True)
class Trained:
    """What a run came to."""

    digest: str
    """Over the weights, and over all that was measured on the way."""
    steps: int


def trained(directory: Path, spec: str) -> Trained:
    """Train to the end, or go on to it."""
    result = FlaxTrainer().train(job(directory, spec), on_progress=lambda progress: None)
    lines = [[one.loss, one.grad_norm, one.holdout_loss] for one in read_metrics(directory / "metrics.jsonl")]
    return Trained(sha256_json([result.weights_sha256, result.ended, result.best_step, lines]), result.steps)


def child(directory: Path, spec: str, *, checkpoint_steps: int) -> subprocess.Popen[bytes]:
    """Train in a process of its own."""
    order = directory.with_suffix(".pickle")
    order.write_bytes(pickle.dumps(job(directory, spec, checkpoint_steps=checkpoint_steps)))
    return subprocess.Popen([sys.executable, __file__, "--train", str(order)], stdout=subprocess.DEVNULL)


def steps_done(directory: Path) -> int:
    """Return how many steps metrics.jsonl has."""
    with contextlib.suppress(OSError):
        return (directory / "metrics.jsonl").read_bytes().count(b"\n")
    return 0


def half_written(directory: Path) -> set[tuple[str, int, int]]:
    """Return the checkpoints that are begun and not finished; another try at one is another."""
    found = set()
    for pattern in ("checkpoints/*", "best/*", "checkpoint-final*"):
        # Folders come and go while they are looked at.
        with contextlib.suppress(OSError):
            for path in directory.glob(pattern):
                if not (path / "digests.json").exists():
                    found.add((str(path), path.stat().st_ino, path.stat().st_ctime_ns))
    return found


def until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
    """Wait for a moment; tell whether the process lived to see it."""
    while not reached():
        if process.poll() is not None:
            return False
        time.sleep(0.0005)
    return True


@dataclass
class Soak:
    """The kills so far, and what came of the runs."""

    folder: Path
    draws: random.Random
    expected: dict[str, Trained] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By spec, and by "kills", "inside" (a save), "runs" and "wrong"."""

    def total(self, what: str) -> int:
        """Return a count over all specs."""
        return sum(count for (_, name), count in self.counts.items() if name == what)

    def run(self, spec: str, kills: int) -> None:
        """Kill a run so often, go on to its end, and compare."""
        if spec not in self.expected:
            self.expected[spec] = trained(self.folder / f"whole-{spec}", spec)
            whole = self.expected[spec]
            print(f"{spec}, undisturbed: {whole.digest[:16]} after {whole.steps} steps", flush=True)
        directory = self.folder / "run"
        done = sum(self.kill(directory, spec) for _ in range(kills))
        if done:
            found = trained(directory, spec)
            wrong = found != self.expected[spec]
            self.counts[spec, "runs"] += 1
            self.counts[spec, "wrong"] += wrong
            print(f"{spec}: {'OTHER BITS: ' if wrong else ''}{found.digest[:16]} after {done} kills", flush=True)
        shutil.rmtree(directory, ignore_errors=True)

    def kill(self, directory: Path, spec: str) -> bool:
        """Train up to a random moment and kill; tell whether there was something left to kill."""
        in_save, before = self.draws.random() < 0.5, half_written(directory)
        last = self.expected[spec].steps
        step = self.draws.randrange(min(steps_done(directory), last - 1), last)
        delay = self.draws.uniform(0, 0.03 if in_save else 0.1)
        process = child(directory, spec, checkpoint_steps=8 if in_save else 24)
        alive = until(process, lambda: steps_done(directory) >= step)
        if in_save:
            alive = alive and until(process, lambda: bool(half_written(directory) - before))
        time.sleep(delay if alive else 0)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            return False
        inside = bool(half_written(directory) - before)
        self.counts[spec, "kills"] += 1
        self.counts[spec, "inside"] += inside
        where = f"step {steps_done(directory)}{', inside a save' if inside else ''}"
        print(f"  kill {self.total('kills')}: {spec} at {where}", flush=True)
        return True

    def summary(self) -> list[str]:
        """Return a line for each spec, and one for all."""
        names = ("kills", "inside", "runs", "wrong")
        rows = [(f"  {spec}: ", [self.counts[spec, name] for name in names]) for spec in self.expected]
        rows.append(("SIGKILL: ", [self.total(name) for name in names]))
        return [
            f"{start}{kills} kills, {inside} inside a save, {runs} runs, {wrong} with other weights or metrics"
            for start, (kills, inside, runs, wrong) in rows
        ]


def session(folder: Path, spec: str, artifacts: str) -> subprocess.Popen[bytes]:
    """Run a pytest session that trains."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tunix-train", f"test_{spec}.py"]
    return subprocess.Popen([*command, f"--tunix-artifacts={artifacts}"], cwd=folder, stdout=subprocess.DEVNULL)


def recorded(folder: Path, artifacts: str) -> str | None:
    """Return the weights of the run that the sessions recorded."""
    found = list(folder.glob(f"{artifacts}/runs/*/run_manifest.json"))
    return json.loads(found[0].read_text(encoding="utf-8"))["weights_sha256"] if found else None


def terminated(folder: Path, draws: random.Random, count: int) -> tuple[int, list[tuple[str, str]]]:
    """End so many sessions by SIGTERM; return how many ended so, and spec and weights of each run that came of them."""
    ended, weights = 0, list[tuple[str, str]]()
    for number, spec in enumerate(itertools.cycle(SESSIONS)):
        artifacts = f"terms{number}"
        runs, found = folder / artifacts / "runs", None
        while found is None:
            process = session(folder, spec, artifacts)
            before = max((steps_done(path) for path in runs.glob("*")), default=0)
            step = before + draws.randrange(0, 60)
            if ended < count and until(process, lambda r=runs, s=step: any(steps_done(p) > s for p in r.glob("*"))):
                process.terminate()
            code = process.wait()
            if code not in {0, 143}:
                raise SystemExit(f"a session that was sent SIGTERM ended with {code}, expected 143")
            ended += code == 143
            print(f"  term {ended}: {spec}, exit code {code}", flush=True)
            found = recorded(folder, artifacts)
        weights.append((spec, found))
        if ended >= count:
            break
    return ended, weights


def terms(folder: Path, draws: random.Random, count: int) -> int:
    """Disturb sessions, and print; return how many runs have other weights."""
    user = shutil.copytree(ROOT / "examples" / "quickstart", folder, ignore=shutil.ignore_patterns("artifacts"))
    for spec, overrides in SESSIONS.items():
        (user / f"test_{spec}.py").write_text(TEST.format(overrides=overrides), encoding="utf-8")
        if session(user, spec, f"whole-{spec}").wait() != 0:
            raise SystemExit(f"{spec}: the undisturbed session failed")
    ended, found = terminated(user, draws, count)
    differ = sum(weights != recorded(user, f"whole-{spec}") for spec, weights in found)
    by_spec = ", ".join(f"{count} {spec}" for spec, count in Counter(spec for spec, _ in found).items())
    print(f"SIGTERM: {ended} sessions ended with 143, {len(found)} runs ({by_spec}), {differ} with other weights")
    return differ


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
    draws, started = random.Random(asked.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soak = Soak(folder, draws)
        specs = itertools.cycle(SPECS)
        while soak.total("kills") < asked.kills or soak.total("inside") < asked.inside:
            soak.run(next(specs), min(draws.choice([1, 1, 2, 3]), max(asked.kills, 1)))
        for line in soak.summary():
            print(line, flush=True)
        wrong = soak.total("wrong")
        if asked.terms:
            wrong += terms(folder / "user", draws, asked.terms)
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
