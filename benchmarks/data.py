"""What the data stage costs beside its peers: parse, export, tokens and masks, packing, memory.

    python benchmarks/data.py [--traces 100000] [--rounds 3] [--only parse --only packing]

One process, one thread, the garbage collector on; rates are of CPU time, which leaves out waiting for the disk. The
sides take turns, and keep what they make. A rate is the best of the rounds, beside it their median; a ratio is the
median of the rounds' own. Every target has a line that says whether it was reached.
"""

from __future__ import annotations

import argparse
import bisect
import functools
import gc
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunix_eval.data import (
    BUILTIN_RENDERERS,
    EXPORT_FORMATS,
    ByteTokenizer,
    conversation,
    encode_traces,
    export_lines,
    fill,
    pack,
    scan_traces,
    write_export,
)
from tunix_eval.data.reading.traces import parse_traces
from tunix_eval.records import Supervision, Text1M, Text64, TokenSequence
from tunix_eval.records import Trace as OurTrace

GEMMA = BUILTIN_RENDERERS["gemma"]
TOKENIZER = ByteTokenizer(GEMMA.control_tokens)
CREATED = "2026-01-01T00:00:00+00:00"
MANY = 1_000_000
"""Traces of the file whose memory is measured."""


def trace_lines(count: int) -> bytes:
    """Return a trace file of so many traces of about 500 bytes, the same at every call."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(500)]

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length))

    def line(number: int) -> str:
        trace: dict[str, Any] = {
            "trace_version": "1.0",
            "prompt": text(13),
            "final_answer": str(rng.randrange(10**6)),
            "steps": [{"i": i, "type": "work", "content": text(8)} for i in range(3)],
            "meta": {"category": rng.choice(words), "seed": number, "source": "bench"},
        }
        return json.dumps(trace | {"id": f"trace-{number}"})

    return "".join(f"{line(number)}\n" for number in range(count)).encode()


Sides = Mapping[str, Callable[[], Any]]


def measured(sides: Sides, rounds: int, *, twice: bool = False) -> dict[str, list[float]]:
    """Return CPU seconds of every side, round by round.

    Where each works `twice`, the second time counts: the first finds the memory as the side before has left it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            if twice:
                side()
            gc.collect()
            started = time.process_time()
            made = side()
            seconds[name].append(time.process_time() - started)
            del made
    return seconds


def ratio(first: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times as long the other takes."""
    return statistics.median(theirs / ours for ours, theirs in zip(first, other, strict=True))


def show(title: str, seconds: Mapping[str, list[float]], count: int) -> None:
    """Print rates, and how many times as long each side takes as the first."""
    first = next(iter(seconds.values()))
    print(f"\n{title}")
    for name, values in seconds.items():
        best, median = count / min(values), count / statistics.median(values)
        print(
            f"  {name:<36}{best:>10,.0f}/s  (median {median:>9,.0f})  takes {ratio(first, values):5.2f} times as long"
        )


def judge(what: str, found: float, wanted: float, unit: str = "/s", *, at_most: bool = False) -> None:
    """Print whether a target was reached."""
    reached = found <= wanted if at_most else found >= wanted
    digits = 0 if wanted >= 100 else 2
    limit = f"{'at most' if at_most else 'at least'} {wanted:,g}{unit}"
    print(f"  {'reached    ' if reached else 'NOT reached'}  {what}: {found:,.{digits}f}{unit}, asked for {limit}")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A step as bare msgspec reads it."""

    i: Annotated[int, msgspec.Meta(ge=0)]
    type: Text64
    content: Text1M


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A trace as bare msgspec reads it."""

    trace_version: Text64
    prompt: Text1M
    final_answer: Text1M
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=100_000)]
    meta: msgspec.Raw = msgspec.Raw()
    id: str | int | None = None


class StepModel(BaseModel):
    """A step as pydantic reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    i: int = Field(ge=0)
    type: str = Field(min_length=1, max_length=64)
    content: str = Field(min_length=1, max_length=1_000_000)


class TraceModel(BaseModel):
    """A trace as pydantic reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace_version: str = Field(min_length=1, max_length=64)
    prompt: str = Field(min_length=1, max_length=1_000_000)
    final_answer: str = Field(min_length=1, max_length=1_000_000)
    steps: list[StepModel] = Field(min_length=1, max_length=100_000)
    meta: dict[str, Any] | None = None
    id: str | int | None = None

    @field_validator("steps")
    @classmethod
    def _indices_are_unique(cls, steps: list[StepModel]) -> list[StepModel]:
        if len({step.i for step in steps}) != len(steps):
            raise ValueError("step indices must be unique")
        return steps


_DECODER = msgspec.json.Decoder(Trace)


def bare_msgspec(data: bytes) -> Sequence[Any]:
    """Read with msgspec's fastest settings, and check that step indices are unique."""
    traces = _DECODER.decode_lines(data)
    if not all(len({step.i for step in trace.steps}) == len(trace.steps) for trace in traces):
        raise ValueError("step indices must be unique")
    return traces


def parse(data: bytes, count: int, rounds: int) -> None:
    """Bytes of a file to checked traces, all kept."""
    sides: Sides = {
        "tunix_eval": lambda: parse_traces(data, "bench"),
        "bare msgspec, unique steps": lambda: bare_msgspec(data),
        "pydantic validate_json a line": lambda: [TraceModel.model_validate_json(line) for line in data.splitlines()],
        "orjson, nothing checked": lambda: [orjson.loads(line) for line in data.splitlines()],
    }
    seconds = measured(sides, rounds, twice=True)
    show("parse and validate, traces", seconds, count)
    ours, bare, pydantic, _ = seconds.values()
    judge("faster than the pydantic loop", ratio(ours, pydantic), 8, " times")
    judge("slower than bare msgspec", ratio(bare, ours), 1.6, " times", at_most=True)


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


def export(data: bytes, count: int, rounds: int) -> None:
    """A file to checked traces to a file that a trainer takes."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "traces.jsonl", Path(folder) / "out.jsonl"
        source.write_bytes(data)

        def write(kind: str) -> None:
            write_export(chain.from_iterable(scan_traces(source)), kind, target, created_at=CREATED)

        kinds = ("tunix_sft", *(kind for kind in EXPORT_FORMATS if kind != "tunix_sft"))
        sides: Sides = {
            **{f"file -> checked -> {kind} file": functools.partial(write, kind) for kind in kinds},
            "json.loads, json.dumps -> tunix_sft": lambda: with_json(source, target),
            "file -> checked, nothing written": lambda: sum(map(len, scan_traces(source))),
        }
        seconds = measured(sides, rounds)
        show("export, traces", seconds, count)
        judge("file to tunix_sft file", count / min(next(iter(seconds.values()))), 200_000)
        with_json(source, target)
        with target.open("rb") as theirs:
            expected = [json.loads(next(theirs)) for _ in range(3)]
        first = parse_traces(b"".join(data.splitlines(keepends=True)[:3]), "bench")
        same = b"".join(export_lines(first, "tunix_sft", created_at=CREATED)).splitlines()
        if [json.loads(line) for line in same] != expected:
            raise SystemExit("the peer writes other records")


def encoded(traces: Sequence[OurTrace], supervision: Supervision | None = None) -> list[TokenSequence]:
    """Tokens and masks, every law checked."""
    return encode_traces(
        traces, renderer=GEMMA, tokenizer=TOKENIZER, style="numbered", supervision=supervision or Supervision()
    )


def loop(traces: Sequence[OurTrace]) -> list[tuple[Any, Any]]:
    """Tokens and masks as a training script makes them."""
    made = []
    for trace in traces:
        ids: list[int] = []
        mask: list[bool] = []
        for span in GEMMA.render(conversation(trace, "numbered"), generation_prompt=False):
            piece = [TOKENIZER.control_id(span.text)] if span.control else TOKENIZER.encode(span.text)
            ids += piece
            mask += [span.reply is not None] * len(piece)
        made.append((np.array(ids, np.int32), np.array(mask, np.bool_)))
    return made


def tokens(traces: Sequence[OurTrace], rounds: int) -> None:
    """Traces to token ids and loss masks."""
    sides: Sides = {
        "tunix_eval": lambda: encoded(traces),
        "a trace at a time, nothing checked": lambda: loop(traces),
        "tunix_eval, answer only": lambda: encoded(traces, Supervision("answer")),
        "tunix_eval, reasoning at 0.3": lambda: encoded(traces, Supervision(step_weight=0.3)),
        "tunix_eval, weights by type of step": lambda: encoded(traces, Supervision(step_weight={"work": 0.5})),
    }
    seconds = measured(sides, rounds)
    show("tokens and mask with gemma and bytes, traces", seconds, len(traces))
    judge("tokens and mask", len(traces) / min(seconds["tunix_eval"]), 100_000)
    for one, theirs in zip(encoded(traces[:50]), loop(traces[:50]), strict=True):
        if one.ids.tolist() != theirs[0].tolist() or one.loss_mask[:-1].tolist() != theirs[1][:-1].tolist():
            raise SystemExit("the peer makes other tokens")


def best_fit(sequences: Sequence[TokenSequence], row_tokens: int) -> list[dict[str, list[int]]]:
    """Rows as lists: each sequence, longest first, into the row whose room fits it best."""
    rooms: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index].ids)):
        length = len(sequences[index].ids)
        place = bisect.bisect_left(rooms, (length, -1))
        room, row = rooms.pop(place) if place < len(rooms) else (row_tokens, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        bisect.insort(rooms, (room - length, row))
    return [
        {
            "input_ids": [one for index in row for one in sequences[index].ids.tolist()],
            "labels": [one for index in row for one in sequences[index].loss_mask.tolist()],
            "position_ids": [one for index in row for one in range(len(sequences[index].ids))],
        }
        for row in rows
    ]


def packing(sequences: Sequence[TokenSequence], rounds: int) -> None:
    """Sequences to rows."""
    for most, row_tokens in ((60, 512), (150, 1024), (None, 2048)):
        some = [TokenSequence(one.trace_id, (), one.ids[:most], one.loss_mask[:most]) for one in sequences]
        sides: Sides = {
            "tunix_eval, first-fit decreasing": functools.partial(pack, some, row_tokens=row_tokens, pad_id=256),
            "best-fit decreasing, lists": functools.partial(best_fit, some, row_tokens),
        }
        seconds = measured(sides, rounds, twice=True)
        mean = sum(len(one.ids) for one in some) / len(some)
        filled = fill(pack(some, row_tokens=row_tokens, pad_id=256))
        show(f"packing {mean:.0f} tokens a sequence into rows of {row_tokens}, {filled:.1%} full", seconds, len(some))
        judge("packing", len(some) / min(next(iter(seconds.values()))), 300_000)


_CHILD = """
import resource, sys
from pathlib import Path
from tunix_eval.data.reading.traces import validate_traces
count = validate_traces(Path(sys.argv[1])) if len(sys.argv) > 1 else None
# On Linux ru_maxrss begins with that of the process that started this one.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else ()
peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
print(count.traces if count else 0, peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory(data: bytes, count: int) -> None:
    """What `tunix-eval validate` holds of a file, in a process of its own."""
    peaks = {0: peak_bytes()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.jsonl"
        for many in (MANY // 10, MANY):
            with path.open("wb") as file:
                for block in range(-(-many // count)):
                    lines = data.replace(b'"id": "trace-', b'"id": "trace-%d-' % block)
                    left = many - block * count
                    file.write(lines if left >= count else b"".join(lines.splitlines(keepends=True)[:left]))
            peaks[many] = peak_bytes(str(path), expected=many)
    print("\nmemory of validating, peak of the process")
    for many, peak in peaks.items():
        print(f"  {many:>9,} traces  {peak / 1e6:6.0f} MB")
    judge(f"{MANY:,} traces", peaks[MANY] / 1e6, 300, " MB", at_most=True)
    growth = (peaks[MANY] - peaks[MANY // 10]) / (MANY - MANY // 10)
    judge("growth", growth, 100, " bytes a trace", at_most=True)


def peak_bytes(*path: str, expected: int = 0) -> int:
    """Return the peak of memory of a process that validates a file, or only imports what that needs."""
    command = [sys.executable, "-c", _CHILD, *path]
    traces, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    if traces != expected:
        raise SystemExit(f"{traces} traces were validated, expected {expected}")
    return peak


SECTIONS = ("parse", "export", "tokens", "packing", "memory")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given several times")
    arguments = parser.parse_args()
    count, rounds, wanted = arguments.traces, arguments.rounds, arguments.only or SECTIONS
    names = ("tunix-eval", "msgspec", "numpy", "pydantic", "orjson")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    data = trace_lines(count)
    print(f"{count:,} traces of {len(data) / count:.0f} bytes, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    if "parse" in wanted:
        parse(data, count, rounds)
    if "export" in wanted:
        export(data, count, rounds)
    if "memory" in wanted:
        memory(data, count)
    if {"tokens", "packing"} & set(wanted):
        traces = parse_traces(data, "bench")
        if "tokens" in wanted:
            tokens(traces, rounds)
        if "packing" in wanted:
            packing(encoded(traces), rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
