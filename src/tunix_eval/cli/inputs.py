"""What commands read: files, stdin, dataset folders, and what is registered under a name."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_eval.cli.contents import check_kind, check_lines
from tunix_eval.cli.outputs import STREAM
from tunix_eval.cli.terminal import Progress, counted
from tunix_eval.data import dataset_key, read_dataset, read_evalset, scan_traces, traces_text
from tunix_eval.digest import sha256_text
from tunix_eval.errors import DataError, SpecError, TunixEvalError, UnknownNameError
from tunix_eval.records import Dataset, Evalset, Trace
from tunix_eval.tables import is_path

STDIN = "<stdin>"
_TRACE_HELP = "trace file (.jsonl, .jsonl.gz, .parquet), dataset folder, registered name, or - for stdin"


def add_dataset_argument(parser: argparse.ArgumentParser, name: str = "dataset", metavar: str = "DATASET") -> None:
    """Add an argument that `open_traces` takes."""
    parser.add_argument(name, metavar=metavar, help=_TRACE_HELP)


def add_files_argument(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Add any number of arguments that `open_traces` takes."""
    parser.add_argument("files", metavar="FILE", nargs=nargs, help=_TRACE_HELP)


@dataclass(frozen=True)
class Given:
    """Traces that an argument names."""

    name: str
    """What messages and provenance call them."""
    traces: tuple[Trace, ...]
    dataset: Dataset | None
    """None for a plain file, which has no manifest."""

    def as_dataset(self) -> Dataset:
        """Return the dataset, or one that knows no more than the traces."""
        if self.dataset is not None:
            return self.dataset
        sha256 = sha256_text(traces_text(self.traces))
        return Dataset(key=self.name, traces=self.traces, content_sha256=sha256, manifest={"dataset_key": self.name})


@contextlib.contextmanager
def given_file(reference: str) -> Iterator[tuple[Path, str]]:
    """Give the path to read and what to call it; stdin is spooled to a file that goes away again."""
    if reference != STREAM:
        yield Path(reference), reference
        return
    with tempfile.TemporaryDirectory(prefix="tunix-eval.") as folder:
        start = sys.stdin.buffer.read(4)
        # Readers go by the name.
        suffix = ".parquet" if start == b"PAR1" else ".jsonl.gz" if start[:2] == b"\x1f\x8b" else ".jsonl"
        path = Path(folder) / f"stdin{suffix}"
        with path.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path, STDIN
        except TunixEvalError as error:
            raise type(error)(str(error).replace(str(path), STDIN)) from None


def open_traces(reference: str) -> Given:
    """Read the traces that an argument names.

    Raises:
        DataError: they break their format.
        SpecError: nothing is registered under the name.
    """
    if reference != STREAM and not is_path(reference):
        dataset = _registered("dataset", reference)
        return Given(reference, dataset.traces, dataset)
    if Path(reference).is_dir():
        dataset = read_dataset(Path(reference))
        return Given(reference, dataset.traces, dataset)
    traces: list[Trace] = []
    with given_file(reference) as (path, name), Progress(f"reading {name}", "traces") as progress:
        check_lines(path, name, "traces")
        check_kind(path, name, "traces", {})
        for chunk in scan_traces(path, source=name):
            traces += chunk
            progress(len(traces))
    return Given(name, tuple(traces), None)


def open_all(references: Sequence[str]) -> list[Given]:
    """Read several arguments; stdin may be one of them, once."""
    if references.count(STREAM) > 1:
        raise SpecError("- is named twice; stdin can be read once")
    return [open_traces(reference) for reference in references]


def joined(given: Sequence[Given]) -> list[Trace]:
    """Return the traces of several arguments, one after another.

    Raises:
        DataError: two of them have one id, which leaves open which is meant.
    """
    owners: dict[str, Given] = {}
    for one in given:
        for trace in one.traces:
            other = owners.setdefault(str(trace.id), one)
            if other is not one:
                raise DataError(
                    f"{other.name} and {one.name} both have a trace '{trace.id}'; where it is the same one, leave it "
                    "out with `tunix-eval dedupe`, else give one of them another id"
                )
    return [trace for one in given for trace in one.traces]


def open_evalset(reference: str) -> Evalset:
    """Read the evalset that a path or registered name stands for."""
    if is_path(reference):
        path = Path(reference)
        check_lines(path, reference, "evalset items")
        make = f"make them with `tunix-eval export {reference} --format evalset --out evalset.jsonl`"
        check_kind(path, reference, "evalset", {"traces": make})
        return read_evalset(path)
    found: Evalset = _registered("evalset", reference)
    return found


def _registered(kind: str, name: str) -> Any:
    from tunix_eval.cli.bridge import with_registry

    try:
        return with_registry(lambda registry: getattr(registry, kind)(name))
    except UnknownNameError as error:
        for path, written in ((Path(name), f"./{name}"), (Path("datasets", name), f"datasets/{name}")):
            if path.exists():
                raise SpecError(f"no {kind} is registered as '{name}'; for the path, write {written}") from None
        raise SpecError(f"{str(error).rstrip('.')}; a path has a / or a suffix") from None


def whole_number(least: int) -> Callable[[str], int]:
    """Return an argument type: a whole number from `least` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value}, expected {least} or more")
        return value

    number.__name__ = "whole number"
    return number


NATURAL, POSITIVE = whole_number(0), whole_number(1)


def assignments(words: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    """Split `key=value` words.

    Raises:
        SpecError: a word without `=`.
    """
    pairs = []
    for word in words or ():
        key, mark, value = word.partition("=")
        if not (key and mark and value):
            raise SpecError(f"{option} {word}: expected KEY=VALUE")
        pairs.append((key, value))
    return pairs


def filter_values(words: Sequence[str] | None) -> dict[str, Any]:
    """Return the filters that `key=a,b` words ask for.

    A value is a number, true, false or null where it reads as one in JSON, and a text otherwise; a text that reads as
    a number is written in quotes: `level="3"`.

    >>> filter_values(["category=reasoning", "level=1,2", 'grade="3"'])
    {'category': 'reasoning', 'level': [1, 2], 'grade': '3'}

    Raises:
        SpecError: a word without `=`, or a key twice.
    """
    filters: dict[str, Any] = {}
    for key, text in assignments(words, "--filter"):
        if key in filters:
            raise SpecError(f"--filter {key} is given twice; several values of one key go into one: {key}=a,b")
        values = [plain_value(part) for part in text.split(",")]
        filters[key] = values if len(values) > 1 else values[0]
    return filters


def plain_value(text: str) -> Any:
    """Return a number, true, false or null as what it is in JSON, and anything else as a text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def key_parts(key: str) -> tuple[str, str]:
    """Split `<name>-<version>`.

    Raises:
        SpecError: there is no version, or no key is made of such letters.
    """
    name, mark, version = key.rpartition("-")
    if not (name and mark and version):
        raise SpecError(f"'{key}' is no NAME-VERSION, such as sums-v1")
    try:
        dataset_key(name, version)
    except DataError as error:
        raise SpecError(str(error)) from None
    return name, version


def summary(given: Sequence[Given]) -> str:
    """Say what was read."""
    total = counted(sum(len(one.traces) for one in given), "trace")
    return f"{total} of {', '.join(one.name for one in given[:3])}{', ..' if len(given) > 3 else ''}"
