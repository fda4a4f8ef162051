"""What each stage takes on the quickstart's data, in one process: the best of several calls.

python benchmarks/parts.py --rounds 5
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunix_eval import data
from tunix_eval.gate import decide
from tunix_eval.model import FlaxTrainer
from tunix_eval.records import EvalItem, RunScores, TrainingJob
from tunix_eval.run_files import read_run_file
from tunix_eval.scoring import ExactScorer, complete, make_scorecard, score_items
from tunix_eval.specs import GateSpec, GenerationSpec

ROOT = Path(__file__).resolve().parents[1]
EXACT = {"exact": ExactScorer()}
RUN_FILE = ROOT / "examples" / "quickstart" / "addition.toml"
ITEMS = 100_000
STEPS = 60


def best(rounds: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least wall time of several calls in seconds, and what the last gave."""
    times, result = [], None
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def show(part: str, size: int, unit: str, seconds: float) -> None:
    """Print a row."""
    print(f"{part:<44} {1000 * seconds:>9.1f} ms  {size / seconds:>12,.0f} {unit}/s")


def data_stage(rounds: int) -> tuple[data.ByteTokenizer, Any]:
    """Measure the way from a generator to packed rows."""
    renderer = data.PlainRenderer()
    tokenizer = data.ByteTokenizer(renderer.control_tokens)
    seconds, dataset = best(rounds, data.addition_dataset)
    count = len(dataset.traces)
    show("generate addition-v1", count, "traces", seconds)
    seconds, _ = best(rounds, lambda: data.read_dataset(ROOT / "fixtures" / "addition-v1"))
    show("read and check fixtures/addition-v1", count, "traces", seconds)

    def encode() -> list[Any]:
        one = {"renderer": renderer, "tokenizer": tokenizer, "style": "plain"}
        return [data.encode_trace(trace, **one) for trace in dataset.traces]

    seconds, sequences = best(rounds, encode)
    show("render, tokens and mask", count, "traces", seconds)
    seconds, _ = best(rounds, lambda: data.sequences_sha256(sequences))
    show("digest of tokens and masks", count, "traces", seconds)
    seconds, rows = best(rounds, lambda: data.pack(sequences, row_tokens=48, pad_id=tokenizer.pad_id))
    show(f"pack (fill {data.fill(rows):.3f})", count, "traces", seconds)
    return tokenizer, rows


def verdict_stage(rounds: int) -> None:
    """Measure extraction, scoring, the scorecard and a gate."""
    items = [EvalItem(id=str(i), prompt=f"{i}+1=", expected_answer=str(i + 1)) for i in range(ITEMS)]
    mark = data.answer_mark("plain")

    def extract() -> list[Any]:
        return [
            complete(str(i), f"{i}\n#### {i + i % 2}", rule=mark, stop_reason="stop", tokens=9) for i in range(ITEMS)
        ]

    seconds, completions = best(rounds, extract)
    show("extract answers", ITEMS, "items", seconds)
    seconds, scored = best(rounds, lambda: score_items(items, completions, EXACT))
    show("score exact", ITEMS, "items", seconds)
    seconds, _ = best(rounds, lambda: make_scorecard("bench", scored, EXACT))
    show("scorecard", ITEMS, "items", seconds)
    values = {one.completion.item_id: one.scores["exact"].value for one in scored}
    run = RunScores(run_id="a" * 16, seed=0, weights_sha256="a", values=values)
    gate = GateSpec(rule="no_worse", metric="exact")
    sides: dict[str, Any] = {"current": [run], "reference": [run]}
    seconds, _ = best(rounds, lambda: decide(gate, run_name="b", evalset="c", lower_is_better=False, **sides))
    show("decide no_worse item by item", ITEMS, "items", seconds)


def model_stage(tokenizer: data.ByteTokenizer, rows: Any) -> None:
    """Measure training steps and decoding, compiled."""
    spec = read_run_file(RUN_FILE)
    with tempfile.TemporaryDirectory() as folder:
        training = spec.training.model_copy(update={"steps": STEPS, "checkpoint_steps": STEPS})
        job = TrainingJob(
            rows, spec.model, training, 0, tokenizer.vocab_size, tokenizer.pad_id, None, Path(folder) / "run"
        )
        job.directory.mkdir()
        ticks: list[tuple[float, float]] = []
        FlaxTrainer().train(job, on_progress=lambda _: ticks.append((time.perf_counter(), cpu())))
        steps = STEPS - training.steps_per_dispatch
        show("training step, 16 rows of 48", 1, "steps", (ticks[-1][0] - ticks[0][0]) / steps)
        print(f"{'  CPU time of a step':<44} {1000 * (ticks[-1][1] - ticks[0][1]) / steps:>9.1f} ms")
        evalset = data.addition_heldout()
        prompts = [
            data.encode_prompt(item, renderer=data.PlainRenderer(), tokenizer=tokenizer) for item in evalset.items
        ]
        model = FlaxTrainer().load(job, "initial")
        settings = GenerationSpec(max_new_tokens=40)
        once, _ = best(1, lambda: model.generate(prompts, settings, stop_ids=(tokenizer.vocab_size - 1,)))
        again, written = best(3, lambda: model.generate(prompts, settings, stop_ids=(tokenizer.vocab_size - 1,)))
        tokens = sum(len(one.ids) for one in written)
        show("decode 200 prompts, 40 new tokens each", tokens, "tokens", again)
        print(f"{'  the first call compiles':<44} {1000 * (once - again):>9.1f} ms")


def cpu() -> float:
    """Return this process's CPU seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds = parser.parse_args().rounds
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tunix-eval", "jax", "numpy"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {versions}; best of {rounds}")
    tokenizer, rows = data_stage(rounds)
    verdict_stage(min(rounds, 3))
    model_stage(tokenizer, rows)


if __name__ == "__main__":
    main()
