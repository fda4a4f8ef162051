"""What a file holds, told by its beginning."""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec

from tunix_eval.data import ID_KEYS, TEXT_KEYS
from tunix_eval.encodings import foreign_encoding
from tunix_eval.errors import DataError

Kind = Literal["traces", "evalset", "predictions", "dataset", "run"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SURELY_TRACES = {"trace_version", "steps"}
_PREDICTIONS = set(TEXT_KEYS) - {"final_answer"}
_NOUNS = {"traces": "traces", "evalset": "evalset items", "predictions": "predictions"}
_HEAD_BYTES = 1 << 20
_LOOKED_AT = 20
"""Lines, as many as a reader would complain of."""
_decode = msgspec.json.Decoder().decode
_NO_JSON = (ValueError, RecursionError)
"""What decoding bytes raises: malformed JSON and what is no UTF-8 are both ValueErrors."""


def kind_of(path: Path, name: str) -> Kind:
    """Tell what a path holds, by its kind and the keys of its first record.

    Raises:
        DataError: none of our formats has such keys.
    """
    if path.is_dir():
        return "dataset"
    if path.suffix == ".toml":
        return "run"
    keys, whole = _first_record(path)
    if not keys or keys & _SURELY_TRACES:
        return "traces"
    if keys & _PREDICTIONS:
        return "predictions"
    if "expected_answer" in keys:
        return "evalset"
    if "final_answer" in keys and not keys & set(ID_KEYS):
        return "traces"
    if "final_answer" in keys and "prompt" not in keys:
        return "predictions"
    if not whole:
        # Its reader says what is wrong with the line; no advice on its keys would mend it.
        return "traces"
    if "final_answer" in keys:
        raise DataError(
            f"{name}: has prompt and final_answer without steps: say what it holds, traces or predictions, with --kind"
        )
    raise DataError(
        f"{name}: no format of ours has the keys {', '.join(sorted(keys)[:8])}; say which one with --kind, or make "
        "traces of it with `tunix-eval ingest --map prompt=KEY`"
    )


def check_kind(path: Path, name: str, expected: Kind, advice: Mapping[Kind, str]) -> None:
    """Refuse a file that surely holds something else, in one line.

    Args:
        path: what to look at; of what cannot be told, the reader says what is wrong.
        name: what messages call it.
        expected: what it should hold.
        advice: what to do about what it may hold instead.

    Raises:
        DataError: it holds something else.
    """
    # A file without keys, such as one in another encoding, holds nothing surely: its reader says what is wrong.
    if path.is_file() and path.suffix != ".toml" and not first_keys(path):
        return
    try:
        found = kind_of(path, name)
    except DataError:
        return
    wanted = _NOUNS[expected]
    if found == "dataset":
        found = "traces"
    if found != expected and found in _NOUNS:
        more = f"; {advice[found]}" if found in advice else ""
        raise DataError(f"{name}: holds {_NOUNS[found]}, expected {wanted}{more}")


def check_lines(path: Path, name: str, expected: str, *, lenient: bool = False) -> None:
    """Refuse in one line a file that holds no JSON lines at all, of which a reader would name every line.

    Args:
        path: what to look at; of what cannot be read, its reader tells.
        name: what messages call it.
        expected: what its lines should be.
        lenient: let pass what may have good lines further down.

    Raises:
        DataError: it is a run file, one JSON array or object, or none of its first lines is an object.
    """
    if path.suffix == ".toml":
        raise DataError(f"{name}: is a run file, expected {expected}; `tunix-eval validate {name}` checks it")
    head = b"" if path.suffix == ".parquet" else _readable_head(path)
    lines = [line for line in head.split(b"\n") if line.strip()]
    # The reader names another encoding, of which no line is an object.
    if foreign_encoding(head) or (len(lines) < 2 and not head.lstrip().startswith(b"[")):
        return
    if (whole := _whole(lines, head)) is not None:
        if (flaw := _utf8_flaw(head)) is not None:
            raise DataError(f"{name}:{flaw}")
        what, query = ("array", ".[]") if whole is list else ("object on several lines", ".")
        raise DataError(
            f"{name}: holds one JSON {what}, expected one object a line: jq -c '{query}' turns it into lines"
        )
    looked_at = lines[:_LOOKED_AT]
    if not lenient and not any(line.lstrip(b" \t").startswith(b"{") for line in looked_at):
        raise DataError(
            f"{name}: holds no JSON lines, expected {expected}: none of its first {len(looked_at)} lines is an object"
        )


def _whole(lines: list[bytes], head: bytes) -> type | None:
    """Return list or dict where a file is one JSON value, which lines are not."""
    try:
        whole = _decode(head.decode("utf-8", "replace"))
    except _NO_JSON:
        # Of a large file only the beginning is here.
        cut = len(head) >= _HEAD_BYTES and lines[0].lstrip().startswith(b"[")
        return list if cut and not _decodes(lines[0]) else None
    return type(whole) if isinstance(whole, list | dict) else None


def _decodes(line: bytes) -> bool:
    try:
        _decode(line)
    except _NO_JSON:
        return False
    return True


def _utf8_flaw(head: bytes) -> str | None:
    """Return the line of the first bytes that are no UTF-8, and what is wrong with them."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        before = head[: error.start]
        place = error.start - before.rfind(b"\n")
        return f"{before.count(10) + 1}: is not UTF-8 at byte {place}; save the file as UTF-8"
    return None


def first_keys(path: Path) -> set[str]:
    """Return the keys of the first record; none where it cannot be read, which is for its reader to say."""
    return _first_record(path)[0]


def _first_record(path: Path) -> tuple[set[str], bool]:
    """Return the keys of the first record, and whether it could be read."""
    if path.suffix == ".parquet":
        return _column_names(path), True
    line = next((line for line in _readable_head(path).split(b"\n") if line.strip()), b"")
    try:
        record = _decode(line)
    except _NO_JSON:
        # A line that is cut or broken still says what it was to be.
        return {key.decode() for key in re.findall(rb'"([a-z_]{1,40})"\s*:', line)}, False
    return {key for key in record if isinstance(key, str)} if isinstance(record, dict) else set(), True


def _readable_head(path: Path) -> bytes:
    try:
        # Anything but a regular file could block here.
        return _head(path) if path.is_file() else b""
    except (OSError, zlib.error):
        return b""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES) if head[:2] == b"\x1f\x8b" else head


def _column_names(path: Path) -> set[str]:
    """Return which keys of ours stand in the footer of a Parquet file, without the library that reads it.

    Source: https://parquet.apache.org/docs/file-format, "File Metadata": its length in 4 bytes, and PAR1, come last.
    """
    known = {"expected_answer", "prompt", *_SURELY_TRACES, *TEXT_KEYS, *ID_KEYS}
    with contextlib.suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - 8 - length))
        footer = file.read(min(length, _HEAD_BYTES))
        return {key for key in known if key.encode() in footer}
    return set()
