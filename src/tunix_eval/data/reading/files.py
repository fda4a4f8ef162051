"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tunix_eval.aside import held_aside, put
from tunix_eval.errors import ArtifactError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write into, which stands at `path` once the block has ended well: aside, fsync, rename.

    What is written to a `.gz` path is packed, equal bytes to equal bytes. A file that is there is replaced.

    Raises:
        ArtifactError: the folder cannot be written, or the disk is full.
    """
    try:
        with held_aside(path) as aside:
            with aside.open("wb") as file:
                if path.suffix == ".gz":
                    # A name or a time in the header would make two packings of one content differ.
                    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
                        yield cast("BinaryIO", packed)
                else:
                    yield file
            put(aside, path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be written: {error.strerror or error}") from None
