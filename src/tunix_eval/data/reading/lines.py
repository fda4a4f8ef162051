"""Where records come from: files read as chunks of whole lines, so that no file has to fit into memory."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from tunix_eval.data.reading.marks import line_ends
from tunix_eval.encodings import foreign_encoding
from tunix_eval.errors import DataError
from tunix_eval.nearby import near_file

BLOCK_BYTES = 1 << 18
"""Read at once. What is decoded of so much is still in the processor's cache when it is checked; of less, the checks
of whole chunks would cost more than they save."""
MAX_LINE_BYTES = 64 << 20
UNPACKED_BYTES, MAX_RATIO = 256 << 20, 250
"""A packed file may unpack to so much, or to so many times its size. gzip itself ends at about 1,030 times."""
SHOWN_BYTES = 1_000
"""What is kept of a line that is too long."""

Progress = Callable[[int, int], None]
"""Takes the bytes of the file that are done, and all of them."""
_GZIP = b"\x1f\x8b"
_FIELD = re.compile(r"(\w+)[\w.\[\]]*(?=[: ])")


class Refused(NamedTuple):
    """A line of which it is known already that no record comes from it."""

    number: int
    line: bytes
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Whole lines; a blank one holds nothing, or stands where one was refused."""

    data: bytes
    first: int
    """The number of its first line, from 1."""
    refused: tuple[Refused, ...] = ()

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where the line ends stand."""
        return line_ends(self.data)

    def lines(self) -> list[tuple[int, bytes]]:
        """Return the lines that are not blank, without their ends, and their numbers."""
        lines = enumerate(self.data.split(b"\n"), self.first)
        return [(number, line) for number, line in lines if line and not line.isspace()]


@dataclass(frozen=True, slots=True)
class Source:
    """Lines, and what errors call them. They can be read more than once."""

    name: str
    chunks: Callable[[], Iterator[Chunk]]
    unit: str = "line"
    separator: str = ":"
    """Between the name and a line's number."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """What the file calls the fields of a record, where it has its own keys."""
    remarked: bool = True
    """Whether there is something to say of its records; not of those that were read from a file before."""

    def where(self, number: int) -> str:
        """Name a line."""
        return f"{self.name}{self.separator}{number}"

    def in_own_words(self, reason: str) -> str:
        """Name the file's own key in a reason that begins with a field.

        >>> Source("a.jsonl", lambda: iter(()), renamed={"prompt": "question"}).in_own_words("prompt: is empty")
        'question (as prompt): is empty'
        """
        match = _FIELD.match(reason)
        own = self.renamed.get(match[1]) if match else None
        return f"{own} (as {match[0]}){reason[match.end() :]}" if match and own else reason


def file_source(path: Path, name: str | None = None, on_progress: Progress | None = None) -> Source:
    """Return the lines of a `.jsonl` or `.jsonl.gz` file; `name` is what errors call it, by default the path.

    Reading them raises DataError where the file cannot be read. A line over MAX_LINE_BYTES is refused without being
    held.
    """
    called = name or str(path)
    return Source(called, lambda: _chunks(blocks(path, called, on_progress), called))


def bytes_source(data: bytes, name: str) -> Source:
    """Return the lines of a file's bytes."""
    return Source(name, lambda: _chunks(_cut(data), name))


def file_stem(path: Path) -> str:
    """Return a data file's name without what says how it is packed.

    >>> [file_stem(Path(name)) for name in ("a.jsonl", "b.v2.jsonl.gz", "c.parquet")]
    ['a', 'b.v2', 'c']
    """
    return path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, those of a `.gz` file unpacked.

    Raises:
        DataError: there is no such file, it is no regular file, it cannot be read, or a line is over MAX_LINE_BYTES.
    """
    pieces, line_bytes, number = [], 0, 1
    for block in blocks(path, str(path)):
        pieces.append(block)
        end = block.rfind(b"\n")
        number += len(line_ends(block))
        line_bytes = len(block) - end - 1 if end >= 0 else line_bytes + len(block)
        if line_bytes > MAX_LINE_BYTES:
            raise DataError(f"{path}:{number}: {TOO_LONG}")
    return b"".join(pieces)


def sha256_unpacked(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex, those of a `.gz` file unpacked, without holding them.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    for block in blocks(path, str(path)):
        digest.update(block)
    return digest.hexdigest()


def blocks(path: Path, name: str, on_progress: Progress | None = None) -> Iterator[bytes]:
    """Yield a file's bytes in blocks, those of a `.gz` file unpacked; `name` is what errors call it."""
    done = 0
    try:
        with open_regular(path, name) as raw, _unpacked(path, raw) as file:
            total = os.fstat(raw.fileno()).st_size
            while block := file.read(BLOCK_BYTES):
                yield block
                done += len(block)
                if done > UNPACKED_BYTES and done > MAX_RATIO * total:
                    raise DataError(
                        f"{name}: unpacks to {done >> 20} MiB and more from {total:,} bytes, over {MAX_RATIO} times "
                        "their number; unpack the file yourself if you trust it"
                    )
                if on_progress:
                    on_progress(min(raw.tell(), total), total)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        count = _line_count(path, done)
        behind = f" behind line {count}" if count else ""
        raise DataError(f"{name}: cannot be read{behind}: {reason}") from None


def _line_count(path: Path, done: int) -> int:
    """Count the lines in the bytes that could be read, once more: to count as they come costs what a check does."""
    count = 0
    failures = contextlib.suppress(OSError, EOFError, zlib.error, DataError)
    with failures, open_regular(path, "") as raw, _unpacked(path, raw) as file:
        while done > 0 and (block := file.read(min(done, BLOCK_BYTES))):
            count, done = count + len(line_ends(block)), done - len(block)
    return count


def open_regular(path: Path, name: str) -> IO[bytes]:
    """Open a file to read.

    Raises:
        DataError: there is no such file, or it is a directory, a pipe or a device.
        OSError: it cannot be opened.
    """
    try:
        # Looked at before it is opened: to open a pipe waits for its other end.
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{name}: no such file.{near_file(path)}".removesuffix(".")) from None
    except ValueError as error:
        raise DataError(f"{name!r}: is no path: {error}") from None
    if stat.S_ISDIR(mode):
        raise DataError(f"{name}: is a directory; expected a .jsonl file")
    if not stat.S_ISREG(mode):
        raise DataError(f"{name}: is no regular file but a pipe or a device; copy what it gives into a file")
    return path.open("rb")


TOO_LONG = f"is longer than {MAX_LINE_BYTES >> 20} MiB; expected one JSON object a line"


def _cut(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        end = data.rfind(b"\n", at, at + BLOCK_BYTES) + 1 or at + BLOCK_BYTES
        yield data[at:end]
        at = end


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def _chunks(pieces: Iterator[bytes], name: str) -> Iterator[Chunk]:
    """Cut a file's bytes behind line ends."""
    number, held, held_bytes, skipping = 1, list[bytes](), 0, False
    for k, block in enumerate(pieces):
        if k == 0:
            _refuse_marks(block, name)
        end = block.find(b"\n")
        if not skipping and held_bytes + (end if end >= 0 else len(block)) > MAX_LINE_BYTES:
            yield Chunk(b"\n", number, (Refused(number, b"".join((*held[:2], block))[:SHOWN_BYTES], TOO_LONG),))
            held, held_bytes, skipping = [], 0, True
        if skipping and end < 0:
            continue
        if skipping:
            block, number, skipping = block[end + 1 :], number + 1, False
        cut = block.rfind(b"\n") + 1
        if cut:
            whole = not held_bytes and cut == len(block)
            data = block if whole else b"".join((*held, memoryview(block)[:cut]))
            chunk = Chunk(data, number)
            yield chunk
            number, held, held_bytes = number + len(chunk.ends), [], 0
        held.append(block[cut:])
        held_bytes += len(block) - cut
    if held_bytes:
        yield Chunk(b"".join(held), number)


def _refuse_marks(start: bytes, name: str) -> None:
    if reason := foreign_encoding(start):
        raise DataError(f"{name}:1: {reason}")
    if start.startswith(_GZIP):
        raise DataError(f"{name}:1: is packed with gzip; give the file a name that ends in .gz")
