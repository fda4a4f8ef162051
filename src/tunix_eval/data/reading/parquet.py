"""Parquet: rows as the lines of a trace file, and traces as rows. pyarrow is loaded where it is needed."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tunix_eval.data.optional import optional_library
from tunix_eval.data.reading.explain import MAX_DEPTH, depth, explain, one_line
from tunix_eval.data.reading.jsonl import encode, encode_lines
from tunix_eval.data.reading.lines import Chunk, Progress, Refused, Source, file_source, open_regular
from tunix_eval.data.reading.parquet_pages import check_pages
from tunix_eval.errors import DataError
from tunix_eval.records import Trace

_ROWS = 500
"""Rows that are turned into Python objects at once."""
_PART_BYTES = 32 << 20
"""Of columns that are turned into Python objects at once."""
_NO_PYTHON = (KeyError, TypeError, ValueError, OverflowError)
"""What pyarrow raises for values that Python does not have, such as a date in the year 100,000."""
_decode_any = msgspec.json.Decoder().decode


def record_source(path: Path, name: str | None = None, on_progress: Progress | None = None) -> Source:
    """Return the lines or rows of a `.jsonl`, `.jsonl.gz` or `.parquet` file; `name` is what errors call it."""
    read = row_source if path.suffix == ".parquet" else file_source
    return read(path, name, on_progress)


def row_source(path: Path, name: str | None = None, on_progress: Progress | None = None) -> Source:
    """Return the rows of a Parquet file as JSON lines; `name` is what errors call it, by default the path.

    A null in an optional column, or in a field of a struct, is a key that is not there. A text in the column `meta`
    is the JSON of an object.

    Raises:
        DataError: pyarrow is not installed.
    """
    pyarrow()
    called = name or str(path)
    return Source(called, lambda: _chunks(path, called, on_progress), "row", ": row ")


def write_rows(traces: Iterable[Trace], file: BinaryIO) -> None:
    """Write traces as Parquet, meta as JSON text; equal traces give equal bytes under one version of pyarrow.

    Raises:
        DataError: pyarrow is not installed, or a trace does not fit into the columns.
    """
    arrow, parquet = pyarrow()
    turn = arrow.struct([("role", arrow.string()), ("content", arrow.string()), ("reasoning_content", arrow.string())])
    step = arrow.struct([("i", arrow.int64()), ("type", arrow.string()), ("content", arrow.string())])
    required = [(field, arrow.string()) for field in ("trace_version", "prompt", "final_answer")]
    optional = [(field, arrow.string()) for field in ("meta", "id", "system")]
    schema = arrow.schema([*required, ("steps", arrow.list_(step)), *optional, ("messages", arrow.list_(turn))])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        left = iter(traces)
        while some := list(islice(left, 10 * _ROWS)):
            try:
                writer.write_table(arrow.Table.from_pylist(list(map(_row, some)), schema))
            except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise DataError(f"cannot be written as Parquet: {one_line(str(error))}") from None


def _row(trace: Trace) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(trace)
    if trace.meta is not None:
        row["meta"] = encode(trace.meta).decode("utf-8")
    if trace.id is not None:
        row["id"] = str(trace.id)
    return row


def pyarrow() -> tuple[Any, Any]:
    """Return pyarrow and pyarrow.parquet.

    Raises:
        DataError: they are not installed.
    """
    arrow, parquet = (
        optional_library(name, extra="parquet", needed_by="Parquet") for name in ("pyarrow", "pyarrow.parquet")
    )
    return arrow, parquet


def _chunks(path: Path, name: str, on_progress: Progress | None) -> Iterator[Chunk]:
    arrow, parquet = pyarrow()
    first = 1
    try:
        with open_regular(path, name) as raw, parquet.ParquetFile(raw) as file:
            _check_columns(file.schema_arrow.names, name)
            total, size = file.metadata.num_rows, path.stat().st_size
            plain = _is_plain(arrow.struct(file.schema_arrow), arrow.types)
            with path.open("rb") as pages:
                rows = min(_ROWS, check_pages(pages, file.metadata, name))
            for batch in _bounded(file.iter_batches(batch_size=rows)):
                lines = _by_columns(batch, arrow) if plain else None
                yield _by_rows(_rows(batch), first) if lines is None else Chunk(lines, first)
                first += batch.num_rows
                if on_progress:
                    on_progress(size * (first - 1) // total, size)
    except (OSError, arrow.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        place = f"{name}: row {first} or one of the next" if first > 1 else name
        raise DataError(f"{place}: cannot be read as Parquet: {one_line(str(reason))}") from None


def _bounded(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches in parts of at most _PART_BYTES, or of one row: as Python objects and JSON they take five times."""
    for batch in batches:
        rows = max(1, batch.num_rows * _PART_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _check_columns(columns: Sequence[str], name: str) -> None:
    # Of two columns of one name pyarrow would give the last alone.
    if twice := next((column for k, column in enumerate(columns) if column in columns[:k]), None):
        raise DataError(f"{name}: has two columns '{one_line(twice)}'; rename one of them")


def _is_plain(kind: Any, types: Any) -> bool:
    """Tell whether all values of a type, but for floats that are not finite, are ones that JSON has."""
    if types.is_struct(kind):
        names = {field.name for field in kind}
        return len(names) == kind.num_fields > 0 and all(_is_plain(field.type, types) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_plain(kind.value_type, types)
    text = types.is_string(kind) or types.is_large_string(kind)
    number = types.is_integer(kind) or types.is_float32(kind) or types.is_float64(kind)
    return bool(text or number or types.is_boolean(kind) or types.is_null(kind))


def _by_columns(batch: Any, arrow: Any) -> bytes | None:
    """Return the lines of a batch of plain types in a quarter of the time; None where one of them may be refused."""
    try:
        columns = {name: _values(column, arrow.types) for name, column in zip(batch.schema.names, batch, strict=True)}
        if "meta" in columns:
            columns["meta"] = [_json_text(meta) if isinstance(meta, str) else meta for meta in columns["meta"]]
        return encode_lines(_records(columns))
    except (DataError, arrow.ArrowException, *_NO_PYTHON):
        return None


def _values(array: Any, types: Any) -> list[Any]:
    """Return an array's values as `_plain` would."""
    if types.is_struct(array.type):
        names = [field.name for field in array.type]
        records = _records(dict(zip(names, (_values(field, types) for field in array.flatten()), strict=True)))
        return [record if valid else None for record, valid in zip(records, array.is_valid().to_pylist(), strict=True)]
    if types.is_list(array.type) or types.is_large_list(array.type):
        inner = iter(_values(array.flatten(), types))
        return [None if size is None else list(islice(inner, size)) for size in array.value_lengths().to_pylist()]
    values: list[Any] = array.to_pylist() if array.null_count else array.to_numpy(zero_copy_only=False).tolist()
    if types.is_floating(array.type) and not all(value is None or math.isfinite(value) for value in values):
        raise DataError("a float is not finite")
    return values


def _records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the rows of columns without their nulls."""
    rows = zip(*columns.values(), strict=True)
    return [{name: value for name, value in zip(columns, row, strict=True) if value is not None} for row in rows]


def _rows(batch: Any) -> list[dict[str, Any] | str]:
    """Return the rows; in place of one that pyarrow cannot turn into Python values, why not."""
    try:
        return list(batch.to_pylist(maps_as_pydicts="strict"))
    except _NO_PYTHON:
        if batch.num_rows > 1:
            return [row for k in range(batch.num_rows) for row in _rows(batch.slice(k, 1))]
        return [_why_none(batch)]


def _why_none(row: Any) -> str:
    for column, values in zip(row.schema.names, row.columns, strict=True):
        try:
            values.to_pylist(maps_as_pydicts="strict")
        except KeyError:
            return f"{column}: a map holds one key twice; keys of an object are unique"
        except UnicodeDecodeError:
            return f"{column}: holds a text that is not UTF-8"
        except _NO_PYTHON as error:
            return f"{column}: holds a value that cannot be read: {one_line(str(error))}"
    return "cannot be read"


def _by_rows(rows: Sequence[dict[str, Any] | str], first: int) -> Chunk:
    lines, refused = [], []
    for number, row in enumerate(rows, first):
        try:
            lines.append(encode(_record(row)))
        except DataError as error:
            lines.append(b"")
            refused.append(Refused(number, b"" if isinstance(row, str) else one_line(repr(row)).encode(), str(error)))
    return Chunk(b"".join(line + b"\n" for line in lines), first, tuple(refused))


def _record(row: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(row, str):
        raise DataError(row)
    record = {field: _plain(value, field) for field, value in row.items() if value is not None}
    if isinstance(row.get("meta"), str):
        record["meta"] = _json_text(row["meta"])
    return record


def _json_text(text: str) -> msgspec.Raw:
    """Return the JSON in a text as it stands, so that what is wrong in it is found as in a line."""
    data = text.encode("utf-8")
    try:
        value = _decode_any(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"meta: the text {explain(data, error, Trace)}") from None
    # How deep a decoder goes before it gives up depends on the Python that runs it.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise DataError(f"meta: the text is nested deeper than {MAX_DEPTH} levels")
    # Outside of texts, which hold it as an escape, a line end is but a space.
    return msgspec.Raw(data.replace(b"\n", b" "))


def _plain(value: Any, path: str) -> Any:
    """Return a value of a column as one that JSON has; nulls in structs and maps are left out."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list):
        return [_plain(inner, f"{path}[{k}]") for k, inner in enumerate(value)]
    if isinstance(value, dict):
        held = {_key(key, path): inner for key, inner in value.items()}
        return {key: _plain(inner, f"{path}.{key}") for key, inner in held.items() if inner is not None}
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    found = value if isinstance(value, float) else f"a value of type {type(value).__name__}"
    raise DataError(
        f"{path}: found {found}, which JSON does not have; expected text, a finite number, a list or a struct"
    )


def _key(key: Any, path: str) -> str:
    plain = _plain(key, path)
    if not isinstance(plain, str):
        raise DataError(f"{path}: found the key {plain!r}; expected keys that are text")
    return plain
