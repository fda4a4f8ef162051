"""What an export costs: from a trace file over validation and layout to a file of training texts, in one thread.

python benchmarks/data_export.py --traces 100000 --rounds 5

The peer reads each line with json, checks nothing, formats the text and writes with json.dumps. All take turns in one
process; the best of the rounds counts, and ratios are those of one run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from tunix_eval.data import EXPORT_FORMATS, export_lines, scan_traces, traces_text, write_export
from tunix_eval.records import Step, Trace

CREATED = "2026-01-01T00:00:00+00:00"


def make_traces(count: int) -> list[Trace]:
    """Return traces of about 500 bytes."""
    return [
        Trace(
            trace_version="1.0",
            prompt=f"A shop sells {n} pens a day. How many does it sell in {n % 30 + 2} days?",
            final_answer=str(n * (n % 30 + 2)),
            steps=tuple(
                Step(i, "compute", f"Step {i}: {n} pens times day {i} is {n * i}; add it up.") for i in range(4)
            ),
            id=f"trace-{n}",
            meta={"category": "reasoning", "difficulty": "easy", "seed": n},
        )
        for n in range(count)
    ]


def with_json(source: Path, target: Path) -> None:
    """Export as a plain loop does it."""
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as out:
        for line in lines:
            trace = json.loads(line)
            steps = "\n".join(f"{k}. {step['content']}" for k, step in enumerate(trace["steps"], 1))
            text = (
                f"<start_of_turn>user\n{trace['prompt']}<end_of_turn>\n<start_of_turn>model\n"
                f"Reasoning:\n{steps}\nAnswer: {trace['final_answer']}<end_of_turn>"
            )
            metadata = {**trace["meta"], "created_at": CREATED, "trace_version": "1.0", "format": "tunix_sft"}
            record = {"id": trace["id"], "prompts": text, "final_answer": trace["final_answer"], "metadata": metadata}
            out.write(json.dumps(record, ensure_ascii=False) + "\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "traces.jsonl", Path(folder) / "out.jsonl"
        source.write_text(traces_text(make_traces(arguments.traces)), encoding="utf-8")
        print(f"{arguments.traces:,} traces of {source.stat().st_size / arguments.traces:.0f} bytes")

        def scan() -> None:
            for _ in scan_traces(source):
                pass

        def export(kind: str) -> Callable[[], None]:
            return lambda: write_export(chain.from_iterable(scan_traces(source)), kind, target, created_at=CREATED)

        works: dict[str, Callable[[], None]] = {
            "json, nothing checked -> tunix_sft": lambda: with_json(source, target),
            "scan_traces alone": scan,
            **{f"file -> checked -> {kind} file": export(kind) for kind in EXPORT_FORMATS},
        }
        best = dict.fromkeys(works, float("inf"))
        for _ in range(arguments.rounds):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                best[name] = min(best[name], time.perf_counter() - start)
        peer = next(iter(best.values()))
        for name, seconds in best.items():
            print(f"{name:<42} {arguments.traces / seconds:>9,.0f} traces/s  {peer / seconds:>5.2f} of the peer")
        same = [
            json.loads(line)
            for line in b"".join(export_lines(make_traces(3), "tunix_sft", created_at=CREATED)).splitlines()
        ]
        with_json(source, target)
        expected = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()[:3]]
        if same != expected:
            raise SystemExit("the peer writes other records")


if __name__ == "__main__":
    main()
