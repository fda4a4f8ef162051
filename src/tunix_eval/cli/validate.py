"""`tunix-eval validate`: hold files against their formats, one line each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from tunix_eval.cli.contents import KINDS, Kind, check_lines, kind_of
from tunix_eval.cli.inputs import given_file
from tunix_eval.cli.names import unknown_names
from tunix_eval.cli.outputs import STREAM
from tunix_eval.cli.terminal import Progress, complain, counted, listed, shortened
from tunix_eval.data import read_dataset, read_evalset, read_predictions, read_traces_leniently, validate_traces
from tunix_eval.errors import DataError, SpecError, TunixEvalError, unknown_name
from tunix_eval.figures import printable
from tunix_eval.run_files import read_run_file
from tunix_eval.specs import AnySpec

_LISTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="file or dataset folder, or - for stdin")
    parser.add_argument("--kind", metavar="KIND", help=f"{', '.join(KINDS)}; by default found out by content")
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="unknown keys of a trace are no mistake; which ones `ingest --lenient` moves into meta is said",
    )


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
                    check_lines(path, name, kind or "traces, an evalset or predictions", lenient=arguments.lenient)
                kind = kind or kind_of(path, name)
                found = _validated_leniently(path, name, kind) if arguments.lenient else _validated(path, name, kind)
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
        return f"run file '{printable(_checked_spec(path, name).name)}'"
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


def _checked_spec(path: Path, name: str) -> AnySpec:
    """Return a run file's spec, of which every name is known."""
    from tunix_eval.cli.bridge import library_of, with_registry

    spec, whole = read_run_file(path), path.resolve()
    flaws = with_registry(lambda registry: unknown_names(whole, spec, registry, library_of(registry, whole.parent)))
    if flaws:
        raise SpecError("\n".join(f"{name}: {line}" for flaw in flaws for line in flaw.split("\n")))
    return spec


def _validated_leniently(path: Path, name: str, kind: Kind) -> str:
    """Return what a trace file holds, and which unknown keys.

    Raises:
        DataError: it holds something else, or every line that is bad for another reason, up to 20, and a count.
    """
    if kind != "traces":
        raise DataError(f"{name}: is of kind {kind}; --lenient is for trace files, so leave it out here")
    with Progress(f"reading {name}") as progress:
        read = read_traces_leniently(path, source=name, on_progress=progress)
    if read.rejected:
        at = f"{name}: row " if path.suffix == ".parquet" else f"{name}:"
        lines = [f"{at}{flaw.line}: {flaw.reason}" for flaw in read.rejected]
        rest = len(lines) - _LISTED
        raise DataError("\n".join(lines[:_LISTED] + ([f"and {counted(rest, 'more bad line')}"] if rest > 0 else [])))
    traces = counted(len(read.traces), "trace")
    return f"{traces}, {moved_keys(read.moved)}" if read.moved else traces


def moved_keys(moved: Mapping[str, int]) -> str:
    """Say which unknown keys a lenient reader moves into meta.

    >>> moved_keys({"url": 12, "steps[].score": 1})
    'unknown keys go into meta: url (12 traces), steps[].score (1 trace)'
    """
    keys = [f"{shortened(key, 40)} ({counted(count, 'trace')})" for key, count in moved.items()]
    return f"unknown keys go into meta: {listed(keys)}"
