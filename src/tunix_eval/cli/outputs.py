"""What commands write: refused where something is there, aside and renamed otherwise."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tunix_eval.aside import held_aside, put
from tunix_eval.cli.terminal import remark
from tunix_eval.data import evalset_text, trace_line, written_aside
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.figures import printable
from tunix_eval.records import Evalset, Trace

STREAM = "-"


def add_overwrite_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that writes a file."""
    parser.add_argument("--force", action="store_true", help="write over what is there")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")


def add_out_argument(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """Add --out, --force and --dry-run."""
    parser.add_argument("--out", metavar="PATH", required=required, help=what)
    add_overwrite_arguments(parser)


def check_free(path: Path, *, force: bool, dry_run: bool = False) -> None:
    """Refuse a path that something stands at already, or that no file can stand at.

    Raises:
        SpecError: naming the path.
    """
    if path.is_dir():
        raise SpecError(f"{path}: is a folder, expected the name of a file")
    if not force and (path.exists() or path.is_symlink()):
        would = "would refuse: " if dry_run else ""
        raise SpecError(f"{would}{path}: is there already; name another, or write over it with --force")


def out_path(reference: str, *, force: bool, dry_run: bool) -> Path | None:
    """Return the file of traces to write, or None for stdout.

    Raises:
        SpecError: its name says no format, or something stands there.
    """
    if reference == STREAM:
        return None
    path = Path(reference)
    check_suffix(path)
    check_free(path, force=force, dry_run=dry_run)
    return path


def would_write(path: Path | None) -> str:
    """Return what --dry-run says of a file, or of stdout."""
    if path is None:
        return "would write to stdout"
    return f"would write {printable(str(path))}{', over what is there' if path.exists() else ''}"


@contextlib.contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, which is renamed to it at the end; an error leaves nothing.

    The name ends as that of `path`, because readers and writers go by it.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    try:
        with held_aside(path, is_folder=True) as folder:
            made = folder / path.name
            yield made
            put(made, path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from None


def printed(traces: Iterable[Trace], remarks: Sequence[str]) -> Iterator[bytes]:
    """Return the lines of traces for stdout; what is said of them goes to stderr."""
    remark(remarks)
    return (f"{trace_line(trace)}\n".encode() for trace in traces)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with aside(path) as made:
        made.write_text(text, encoding="utf-8", newline="\n")


def check_suffix(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        SpecError: naming the path.
    """
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        raise SpecError(f"{path}: expected a name that ends in .jsonl, .jsonl.gz or .parquet")


def check_evalset_path(path: Path | None) -> None:
    """Refuse a name that no evalset is written under.

    Raises:
        SpecError: naming the path.
    """
    if path and path.suffix == ".parquet":
        raise SpecError(f"{path}: an evalset is written as .jsonl or .jsonl.gz")


def evalset_written(
    evalset: Evalset, path: Path | None, what: str, remarks: Sequence[str], *, dry_run: bool
) -> list[str] | list[bytes]:
    """Write an evalset to a file, or return its lines for stdout, and say what there is to say of it."""
    if dry_run:
        return [*remarks, f"{would_write(path)}: {what}"]
    data = evalset_text(evalset).encode()
    if path is None:
        remark(remarks)
        return [data]
    with written_aside(path) as file:
        file.write(data)
    return [*remarks, f"wrote {printable(str(path))}: {what}"]
