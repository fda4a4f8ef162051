"""`tunix-eval validate`: hold files against their formats, one line each."""

from __future__ import annotations

import argparse
from pathlib import Path

from tunix_eval.cli.contents import KINDS, Kind, check_lines, kind_of
from tunix_eval.cli.inputs import given_file
from tunix_eval.cli.outputs import STREAM
from tunix_eval.cli.terminal import Progress, complain, counted
from tunix_eval.data import read_dataset, read_evalset, read_predictions, validate_traces
from tunix_eval.errors import SpecError, TunixEvalError, unknown_name
from tunix_eval.figures import printable
from tunix_eval.run_files import read_run_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="file or dataset folder, or - for stdin")
    parser.add_argument("--kind", metavar="KIND", help=f"{', '.join(KINDS)}; by default found out by content")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return a line a sound file; what is wrong with the others goes to stderr, and 1 is returned."""
    if arguments.kind is not None and arguments.kind not in KINDS:
        raise unknown_name("kind of file", arguments.kind, KINDS)
    if arguments.files.count(STREAM) > 1:
        raise SpecError("- is named twice; stdin can be read once")
    lines = []
    references = [one for reference in arguments.files for one in _datasets_in(reference)]
    for reference in references:
        try:
            with given_file(reference) as (path, name):
                kind: Kind | None = arguments.kind or ("run" if path.suffix == ".toml" else None)
                if kind != "run":
                    check_lines(path, name, kind or "traces, an evalset or predictions")
                found = _validated(path, name, kind or kind_of(path, name))
            lines.append(f"{printable(name)}: {found}, ok")
        except TunixEvalError as error:
            complain(str(error))
    return lines, 0 if len(lines) == len(references) else 1


def _datasets_in(reference: str) -> list[str]:
    """Return the datasets of a folder of them, and anything else as it is."""
    path = Path(reference)
    if reference == STREAM or (path / "manifest.json").exists():
        return [reference]
    return sorted(str(manifest.parent) for manifest in path.glob("[!.]*/manifest.json")) or [reference]


def _validated(path: Path, name: str, kind: Kind) -> str:
    """Return what a file holds.

    Raises:
        TunixEvalError: every line of it that breaks its format, up to 20, and a count of the rest.
    """
    if kind == "run":
        return f"run file '{printable(read_run_file(path).name)}'"
    if kind == "dataset":
        dataset = read_dataset(path)
        if path.is_dir() and (folder := path.resolve().name) != dataset.key:
            complain(f"warning: {name}: the folder is '{folder}', its manifest says {dataset.key}; rename one of them")
        return f"dataset {printable(dataset.key)}, {counted(len(dataset.traces), 'trace')}"
    if kind == "evalset":
        return counted(len(read_evalset(path).items), "item")
    if kind == "predictions":
        predictions = read_predictions(path)
        taken = f"ids from '{predictions.id_key}', texts from '{predictions.text_key}'"
        return f"{counted(len(predictions.rows), 'prediction')} ({printable(taken)})"
    with Progress(f"reading {name}") as progress:
        return counted(validate_traces(path, source=name, on_progress=progress).traces, "trace")
