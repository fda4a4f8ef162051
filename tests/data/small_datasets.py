"""Datasets of one or two sums, built at a time that is known."""

from datetime import UTC, datetime

from tunix_eval.data import build_dataset
from tunix_eval.records import Step, Trace

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def trace(prompt="1+1=", **changes):
    steps = changes.pop("steps", (Step(0, "sum", "1+1=2"),))
    return Trace(trace_version="1.0", prompt=prompt, final_answer="2", steps=steps, **changes)


def build(*traces, **options):
    return build_dataset("sums", "v1", traces or [trace(id="a")], created_at=CREATED, **options)
