"""`tunix-eval build`: a dataset version, written once."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.cli.inputs import (
    NATURAL,
    POSITIVE,
    add_files_argument,
    filter_values,
    joined,
    key_parts,
    open_all,
    open_traces,
    summary,
)
from tunix_eval.cli.terminal import counted, listed, shortened
from tunix_eval.data import STRATEGIES, build_dataset, select, value_at, write_dataset
from tunix_eval.digest import canonical_json
from tunix_eval.errors import SpecError, unknown_name
from tunix_eval.figures import printable
from tunix_eval.records import Dataset, Trace

_TIMES = ("created_at", "timestamp")
"""Of meta: what `select` goes by under the strategy latest."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("key", metavar="NAME-VERSION", help="the dataset's key, such as sums-v1")
    add_files_argument(parser)
    parser.add_argument(
        "--filter",
        metavar="KEY=VALUE",
        action="append",
        help="only traces with this in meta; KEY=A,B takes either, a.b is the key b of a; may be repeated",
    )
    parser.add_argument(
        "--strategy", metavar="S", default="all", help=f"{', '.join(STRATEGIES)}; default all, in file order"
    )
    parser.add_argument("--limit", metavar="N", type=POSITIVE, help="at most so many traces, after filters and order")
    parser.add_argument("--seed", metavar="N", type=NATURAL, help="of random and stratified")
    parser.add_argument("--by", metavar="KEY", help="the key of meta that stratified and quality go by")
    parser.add_argument("--lower-is-better", action="store_true", help="of quality: the smallest values first")
    parser.add_argument("--parent", metavar="DATASET", help="the dataset that this one is a new version of")
    parser.add_argument("--source", metavar="NAME", help="where the traces come from, for the manifest")
    add_folder_argument(parser)


def add_folder_argument(parser: argparse.ArgumentParser) -> None:
    """Add where dataset folders go."""
    parser.add_argument("--out", metavar="DIR", default="datasets", help="where its folder goes; default datasets/")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Build, write, and return what was made."""
    name, version = key_parts(arguments.key)
    filters = filter_values(arguments.filter)
    _check_strategy(arguments)
    parent = open_traces(arguments.parent).as_dataset() if arguments.parent else None
    given = open_all(arguments.files)
    traces = joined(given)
    dataset = build_dataset(
        name,
        version,
        traces,
        filters=filters,
        selection_strategy=arguments.strategy,
        limit=arguments.limit,
        seed=arguments.seed,
        by=arguments.by,
        lower_is_better=arguments.lower_is_better,
        parent=parent,
        provenance={"source": arguments.source} if arguments.source else {},
    )
    lines = [f"read {printable(summary(given))}", *_selected(traces, filters, dataset.traces, arguments)]
    return [*lines, *written(dataset, Path(arguments.out), dry_run=arguments.dry_run)], 0


def _check_strategy(arguments: argparse.Namespace) -> None:
    strategy = arguments.strategy
    if strategy not in STRATEGIES:
        raise unknown_name("strategy", strategy, STRATEGIES)
    for option, needed_by in (("seed", ("random", "stratified")), ("by", ("stratified", "quality"))):
        given = getattr(arguments, option) is not None
        if given != (strategy in needed_by):
            verb = "goes with" if given else "is missing: name it for"
            raise SpecError(f"--{option} {verb} --strategy {' or '.join(needed_by)}")


def _selected(
    traces: Sequence[Trace], filters: Mapping[str, Any], chosen: Sequence[Trace], arguments: argparse.Namespace
) -> Iterator[str]:
    """Yield what filters and strategy made of the traces, where that is not seen from the counts."""
    passing: Sequence[Trace] = select(traces, filters=filters)
    if filters:
        yield f"{len(passing):,} of {counted(len(traces), 'trace')} pass the filters"
    if arguments.strategy == "stratified":
        sizes, taken = (Counter(_stratum(trace, arguments.by) for trace in side) for side in (passing, chosen))
        strata = [f"{name} ({taken[name]:,} of {size:,})" for name, size in sizes.most_common()]
        yield f"by {printable(arguments.by)}: {listed(strata)}"
    if arguments.strategy == "latest":
        timed = sum(any((trace.meta or {}).get(key) is not None for key in _TIMES) for trace in passing)
        if timed < len(passing):
            what = f"{timed:,} of {counted(len(passing), 'trace')} have a time in meta ({', '.join(_TIMES)})"
            yield f"{what}; those without are older, and of them the last in the file is the newest"


def _stratum(trace: Trace, key: str) -> str:
    value = value_at(trace.meta or {}, key)
    if value is None or value is msgspec.UNSET:
        return "absent"
    whole = isinstance(value, float) and value.is_integer()
    return shortened(value if isinstance(value, str) else canonical_json(int(value) if whole else value), 40)


def written(dataset: Dataset, folder: Path, *, dry_run: bool) -> list[str]:
    """Write a dataset, unless this is a dry run, and return what there is to say of it."""
    target = folder / dataset.key
    there = target.exists()
    if there or not dry_run:
        # What is there is compared, and never changed.
        write_dataset(dataset, folder)
    verb = "unchanged" if there else "would write" if dry_run else "wrote"
    manifest = dataset.manifest
    repeated = manifest["duplicates"]
    more = f", {counted(repeated, 'repeated prompt')}" if repeated else ""
    return [
        f"{verb} {printable(str(target))}: {counted(len(dataset.traces), 'trace')}{more}",
        f"  sha256 {dataset.content_sha256}",
        f"  build  {manifest['build_id']}",
    ]
