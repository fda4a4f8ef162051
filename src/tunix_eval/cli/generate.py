"""`tunix-eval generate`: a dataset of what a generator makes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from tunix_eval.cli.build import add_folder_argument, written
from tunix_eval.cli.inputs import NATURAL, POSITIVE, key_parts
from tunix_eval.cli.terminal import Progress
from tunix_eval.data import generate_dataset
from tunix_eval.records import Dataset, Trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("generator", metavar="NAME", help="a registered one: tunix-eval list generator")
    parser.add_argument("--as", metavar="NAME-VERSION", dest="key", required=True, help="the dataset's key")
    parser.add_argument(
        "--count", metavar="N", type=POSITIVE, help="so many traces; by default as the generator has it"
    )
    parser.add_argument("--seed", metavar="N", type=NATURAL, help="by default as the generator has it")
    add_folder_argument(parser)


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Generate, write, and return what was made."""
    from tunix_eval.cli.bridge import Catalogue, offered, with_registry

    name, version = key_parts(arguments.key)

    def generated(registry: Catalogue) -> Dataset:
        generator = registry.generator(arguments.generator)
        with offered(f"generator '{arguments.generator}'"), Progress("generating", "traces") as progress:
            watched = replace(generator, traces=partial(_watched, generator.traces, progress))
            return generate_dataset(
                watched, arguments.generator, name, version, seed=arguments.seed, count=arguments.count
            )

    return written(with_registry(generated), Path(arguments.out), dry_run=arguments.dry_run), 0


def _watched(
    traces: Callable[[int, int], Iterable[Trace]], progress: Progress, seed: int, count: int
) -> Iterator[Trace]:
    """Yield what a generator makes, and say how far it is."""
    for made, trace in enumerate(traces(seed, count), 1):
        progress(made, count)
        yield trace
