"""`tunix-eval contamination`: prompts of an evalset that a dataset would train on."""

from __future__ import annotations

import argparse

from tunix_eval.cli.inputs import NATURAL, add_dataset_argument, open_evalset, open_traces
from tunix_eval.cli.terminal import counted, cut, listed
from tunix_eval.data import contamination
from tunix_eval.figures import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset_argument(parser)
    parser.add_argument("evalset", metavar="EVALSET", help="evalset file or registered name")
    parser.add_argument("--allowed", metavar="N", type=NATURAL, default=0, help="so many are no mistake; default 0")
    parser.add_argument("--items", metavar="N", type=NATURAL, default=10, help="items listed of each kind; default 10")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return how many prompts are in both, and which; 1 where there are more than allowed."""
    given, evalset = open_traces(arguments.dataset), open_evalset(arguments.evalset)
    found = contamination(given.traces, evalset.items)
    lines = [
        f"{printable(given.name)} against {printable(evalset.name)}: {len(found):,} of "
        f"{counted(found.n_items, 'prompt')} in both"
    ]
    for kind, items in (("exact", found.exact), ("normalised", found.normalised)):
        if items:
            lines.append(f"{kind}: {len(items):,}")
            lines += cut([printable(f"  {one.item_id}: {listed(one.trace_ids, 3)}") for one in items], arguments.items)
    return lines, 1 if len(found) > arguments.allowed else 0
