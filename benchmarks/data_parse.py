"""How fast trace files are read: ours beside pydantic, bare msgspec and orjson, in interleaved rounds of one process.

    python benchmarks/data_parse.py [--traces 100000] [--rounds 7]

Every side starts from the bytes of one file in memory, runs on one thread with the garbage collector on, and keeps all
of its results. Bare msgspec checks the schema and that step indices are unique, and leaves meta undecoded.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunix_eval.data.traces import parse_traces
from tunix_eval.records import Text20k, Text50k, Text64


def trace_lines(count: int, *, ids: bool = True) -> bytes:
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
        return json.dumps(trace | ({"id": f"trace-{number}"} if ids else {}))

    return "".join(f"{line(number)}\n" for number in range(count)).encode()


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A step as bare msgspec reads it."""

    i: Annotated[int, msgspec.Meta(ge=0)]
    type: Text64
    content: Text20k


class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A trace as bare msgspec reads it."""

    trace_version: Text64
    prompt: Text50k
    final_answer: Text50k
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=1_000)]
    meta: msgspec.Raw = msgspec.Raw()
    id: str | int | None = None


class StepModel(BaseModel):
    """A step as pydantic reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    i: int = Field(ge=0)
    type: str = Field(min_length=1, max_length=64)
    content: str = Field(min_length=1, max_length=20_000)


class TraceModel(BaseModel):
    """A trace as pydantic reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trace_version: str = Field(min_length=1, max_length=64)
    prompt: str = Field(min_length=1, max_length=50_000)
    final_answer: str = Field(min_length=1, max_length=50_000)
    steps: list[StepModel] = Field(min_length=1, max_length=1_000)
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


Side = Callable[[bytes], Sequence[Any]]
SIDES: Mapping[str, Side] = {
    "tunix_eval": lambda data: parse_traces(data, "bench"),
    "bare msgspec": bare_msgspec,
    "pydantic": lambda data: [TraceModel.model_validate_json(line) for line in data.splitlines()],
    "orjson, no checks": lambda data: [orjson.loads(line) for line in data.splitlines()],
}


def parse_rates(data: bytes, rounds: int, sides: Mapping[str, Side] = SIDES) -> dict[str, list[float]]:
    """Return the traces a second of each side, one a round.

    Each side reads twice and the second time counts: the first finds the memory as the side before has left it.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, read in sides.items():
            read(data)
            gc.collect()
            begun = time.perf_counter()
            results = read(data)
            rates[name].append(len(results) / (time.perf_counter() - begun))
            del results
    return rates


def main() -> int:
    """Print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-ids", action="store_true", help="lines without ids, which we make")
    arguments = parser.parse_args()
    data = trace_lines(arguments.traces, ids=not arguments.without_ids)
    rates = parse_rates(data, arguments.rounds)
    size = len(data) / arguments.traces
    print(f"{arguments.traces} traces of {size:.0f} bytes, medians of {arguments.rounds} rounds")
    for name, found in rates.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["tunix_eval"], found, strict=True))
        print(f"{name:20}{statistics.median(found):12,.0f} traces/s   tunix_eval is {ratio:.2f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
