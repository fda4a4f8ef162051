"""`tunix-eval export`: a dataset in a format that others read, or as an evalset."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tunix_eval.cli.inputs import add_dataset_argument, open_traces
from tunix_eval.cli.outputs import add_out_argument, check_evalset_path, evalset_written, out_path, would_write
from tunix_eval.cli.terminal import counted
from tunix_eval.data import (
    EXPORT_FORMATS,
    evalset_of,
    export_lines,
    file_stem,
    write_export,
)
from tunix_eval.errors import SpecError, unknown_name
from tunix_eval.figures import printable

FORMATS = (*EXPORT_FORMATS, "evalset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset_argument(parser)
    parser.add_argument("--format", metavar="FORMAT", required=True, help=", ".join(FORMATS))
    parser.add_argument(
        "--style", default="numbered", help="of the steps, for messages and prompt_completion; default numbered"
    )
    add_out_argument(parser, ".jsonl or .jsonl.gz file, .parquet for training_example, or - for stdout")


def run(arguments: argparse.Namespace) -> tuple[Iterable[str] | Iterable[bytes], int]:
    """Write the export, or return its lines where they go to stdout."""
    kind = arguments.format
    if kind not in FORMATS:
        raise unknown_name("export format", kind, FORMATS)
    path = out_path(arguments.out, force=arguments.force, dry_run=arguments.dry_run)
    if kind == "evalset":
        return _evalset(arguments, path), 0
    given = open_traces(arguments.dataset)
    what = counted(len(given.traces), "trace")
    source = given.dataset if given.dataset is not None else given.traces
    if arguments.dry_run:
        return [f"{would_write(path)}: {what}"], 0
    if path is None:
        return export_lines(source, kind, style=arguments.style), 0
    write_export(source, kind, path, style=arguments.style)
    return [f"wrote {printable(str(path))}: {what} as {kind}"], 0


def _evalset(arguments: argparse.Namespace, path: Path | None) -> Iterable[str] | Iterable[bytes]:
    if arguments.style != "numbered":
        raise SpecError("format evalset takes no --style: its items have no steps")
    check_evalset_path(path)
    given = open_traces(arguments.dataset)
    evalset = evalset_of(given.traces, file_stem(path) if path else given.name)
    left_out = len(given.traces) - len(evalset.items)
    what = counted(len(evalset.items), "item")
    what += f", {counted(left_out, 'repeated prompt')} left out" if left_out else ""
    return evalset_written(evalset, path, what, [what] if left_out and path is None else (), dry_run=arguments.dry_run)
