"""A dataset from a generator."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice

import msgspec

from tunix_eval.data.building.datasets import build_dataset
from tunix_eval.digest import prompt_digest
from tunix_eval.errors import DataError
from tunix_eval.records import Dataset, Generator, Trace

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
"""What the manifests of the shipped datasets say; a clock would change their bytes."""


def generate_dataset(
    generator: Generator,
    generator_name: str,
    dataset_name: str,
    dataset_version: str,
    *,
    seed: int | None = None,
    count: int | None = None,
    created_at: datetime | None = None,
) -> Dataset:
    """Build a dataset of what a generator makes; its provenance says by which generator, version, seed and count.

    Args:
        generator: what makes the traces.
        generator_name: the name that it is registered under.
        dataset_name: letters, digits, `.`, `_`, `-`.
        dataset_version: the same without `-`.
        seed: at least 0; by default the generator's own.
        count: at least 1; by default the generator's own.
        created_at: an aware time; now by default.

    Raises:
        DataError: a count or seed out of range, fewer distinct prompts than asked for, or a trace that breaks its
            format.
    """
    seed = generator.seed if seed is None else seed
    traces = distinct_traces(generator, generator_name, seed=seed, count=generator.count if count is None else count)
    return build_dataset(
        dataset_name,
        dataset_version,
        traces,
        seed=seed,
        provenance={
            "source": f"generator:{generator_name}",
            "generator_version": generator.version,
            "seed": seed,
            "count": len(traces),
        },
        created_at=created_at,
    )


def distinct_traces(generator: Generator, name: str, *, seed: int, count: int) -> list[Trace]:
    """Return so many traces of a generator, and hold it to what it promises of their prompts.

    Raises:
        DataError: a count or seed out of range, or fewer distinct prompts; names the greatest count it reached.
    """
    if count < 1:
        raise DataError(f"generator '{name}': count is {count}; expected 1 or more")
    # random.Random drops the sign of a seed: -1 would give the traces of 1.
    if seed < 0:
        raise DataError(f"generator '{name}': seed is {seed}; expected 0 or more")
    traces = list(islice(generator.traces(seed, count), count))
    reached = len({prompt_digest(trace.prompt) for trace in traces})
    if reached < count:
        raise DataError(
            f"generator '{name}': reached {reached} of {count} distinct prompts with seed {seed}; "
            "lower the count, or take another seed"
        )
    return traces


def of_dataset(traces: Iterable[Trace], key: str) -> list[Trace]:
    """Return the traces with the dataset's key in their meta."""
    return [msgspec.structs.replace(trace, meta={**(trace.meta or {}), "dataset": key}) for trace in traces]
