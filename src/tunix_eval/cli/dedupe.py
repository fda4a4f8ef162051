"""`tunix-eval dedupe`: leave out traces that stand there twice."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from tunix_eval.cli.inputs import NATURAL, add_files_argument, open_all, summary
from tunix_eval.cli.outputs import add_out_argument, out_path, printed, would_write
from tunix_eval.cli.terminal import counted, cut
from tunix_eval.data import checked_traces, dedupe, write_traces
from tunix_eval.errors import SpecError, unknown_name
from tunix_eval.figures import printable

WAYS = ("exact", "prompt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_files_argument(parser)
    parser.add_argument(
        "--by", metavar="WAY", default="exact", help="exact (default): all but the id; prompt: the normalised prompt"
    )
    parser.add_argument("--items", metavar="N", type=NATURAL, default=5, help="dropped traces listed; default 5")
    add_out_argument(parser, "where what is kept goes: .jsonl, .jsonl.gz or .parquet, or - for stdout", required=False)


def run(arguments: argparse.Namespace) -> tuple[Iterable[str] | Iterable[bytes], int]:
    """Keep the first of equal traces, and return what was dropped."""
    if arguments.by not in WAYS:
        raise unknown_name("way to tell duplicates", arguments.by, WAYS)
    if not arguments.out and not arguments.dry_run:
        raise SpecError("dedupe: name what to write with --out, or look first with --dry-run")
    out = out_path(arguments.out, force=arguments.force, dry_run=arguments.dry_run) if arguments.out else None
    given = open_all(arguments.files)
    kept, dropped = dedupe([trace for one in given for trace in one.traces], by=arguments.by)
    # Two files may use one id for different traces.
    kept = checked_traces(kept, "kept")
    lines = [f"read {printable(summary(given))}: {counted(len(dropped), 'duplicate')}"]
    lines += cut([printable(f"  {old} repeats {first}") for old, first in dropped], arguments.items)
    what = counted(len(kept), "trace")
    if arguments.dry_run:
        return [*lines, f"{would_write(out)}: {what}" if arguments.out else f"would keep {what}"], 0
    if out is None:
        return printed(kept, lines), 0
    write_traces(kept, out)
    return [*lines, f"wrote {printable(str(out))}: {what}"], 0
