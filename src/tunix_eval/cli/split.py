"""`tunix-eval split`: train and holdout, so that a prompt never stands on both sides."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from tunix_eval.cli.inputs import add_files_argument, joined, open_all, summary
from tunix_eval.cli.outputs import add_out_argument, aside, check_free, would_write
from tunix_eval.cli.terminal import counted
from tunix_eval.data import split, write_traces
from tunix_eval.errors import DataError, SpecError
from tunix_eval.figures import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_files_argument(parser)
    parser.add_argument("--holdout", metavar="SHARE", type=float, required=True, help="held out, such as 0.1")
    add_out_argument(parser, "folder for train.jsonl and holdout.jsonl")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Write both sides, and return their sizes."""
    if not 0 < arguments.holdout < 1:
        raise SpecError(f"--holdout {arguments.holdout:g}: expected a share between 0 and 1, such as 0.1")
    folder = Path(arguments.out)
    paths = [folder / "train.jsonl", folder / "holdout.jsonl"]
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: is no folder; name another")
    for path in paths:
        check_free(path, force=arguments.force, dry_run=arguments.dry_run)
    given = open_all(arguments.files)
    traces = joined(given)
    sides = split(traces, holdout=arguments.holdout)
    lines = [f"read {printable(summary(given))}"]
    for path, side in zip(paths, sides, strict=True):
        if not side:
            raise DataError(f"{path}: none of {counted(len(traces), 'trace')} falls on this side; change --holdout")
    if not arguments.dry_run:
        with contextlib.ExitStack() as renames:
            # Renamed in the reverse order, train.jsonl last: where it stands, both are there.
            for path, side in zip(paths, sides, strict=True):
                write_traces(side, renames.enter_context(aside(path)))
    for path, side in zip(paths, sides, strict=True):
        verb = would_write(path) if arguments.dry_run else f"wrote {printable(str(path))}"
        lines.append(f"{verb}: {counted(len(side), 'trace')}, {100 * len(side) / len(traces):.1f}%")
    return lines, 0
