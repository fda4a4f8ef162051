"""`tunix-eval diff`: what one dataset has that another has not."""

from __future__ import annotations

import argparse

from tunix_eval.cli.inputs import NATURAL, add_dataset_argument, open_all
from tunix_eval.data import diff_datasets, difference_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset_argument(parser, "old", "A")
    add_dataset_argument(parser, "new", "B")
    parser.add_argument("--items", metavar="N", type=NATURAL, default=20, help="traces listed of each kind; default 20")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return counts, and a line a trace that differs."""
    old, new = (one.as_dataset() for one in open_all([arguments.old, arguments.new]))
    return difference_text(diff_datasets(old, new), listed=arguments.items), 0
