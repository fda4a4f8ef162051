"""Trace files, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from tunix_eval.data.reading.files import written_aside
from tunix_eval.data.reading.jsonl import encode
from tunix_eval.data.reading.parquet import write_rows
from tunix_eval.errors import DataError
from tunix_eval.records import Trace


def write_traces(traces: Iterable[Trace], path: Path) -> None:
    """Write a trace file by its suffix: `.jsonl`, `.jsonl.gz` or `.parquet`, all of it or nothing.

    Equal traces give equal bytes (those of `.gz` and `.parquet` under one version of zlib and of pyarrow).

    Raises:
        DataError: another suffix; Parquet without pyarrow; a trace that cannot be written.
        ArtifactError: the file cannot be written.
    """
    write = next((write for suffix, write in _WRITERS.items() if path.name.endswith(suffix)), None)
    if write is None:
        raise DataError(f"{path}: traces cannot be written under this suffix; known: {', '.join(_WRITERS)}")
    with written_aside(path) as file:
        write(traces, file)


def _write_lines(traces: Iterable[Trace], file: BinaryIO) -> None:
    for trace in traces:
        file.write(encode(trace) + b"\n")


_WRITERS: Mapping[str, Callable[[Iterable[Trace], BinaryIO], None]] = {
    ".jsonl": _write_lines,
    ".jsonl.gz": _write_lines,
    ".parquet": write_rows,
}
