"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from tunix_eval.aside import held_aside, put
from tunix_eval.errors import ArtifactError
from tunix_eval.figures import bytes_text, cut


def write_atomically(path: Path, data: bytes) -> None:
    """Write aside, fsync, rename.

    Raises:
        ArtifactError: the file cannot be written.
    """
    try:
        with held_aside(path) as aside:
            aside.write_bytes(data)
            put(aside, path)
    except OSError as error:
        raise cannot_write(path, error) from None


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file and fsync; a kill may leave a part of `data`.

    Raises:
        ArtifactError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: Exception, *, needed: int | None = None) -> ArtifactError:
    """Build the error for a full, read-only or missing disk; `needed` is in bytes."""
    # TensorStore raises ValueError with the system's code deep in its text.
    code = re.search(r"os_error_code='(\d+)'", str(error))
    reason = getattr(error, "strerror", None) or (os.strerror(int(code[1])) if code else cut(str(error)))
    room = (
        f" (about {bytes_text(needed)} are needed, {bytes_text(free_bytes(path))} are free)"
        if needed is not None
        else ""
    )
    return ArtifactError(f"{path}: cannot be written: {reason}{room}; free space or choose another artifacts directory")


def find_room(folder: Path, count: int) -> None:
    """Allocate so many bytes in a folder and give them back.

    Raises:
        OSError: the disk is full, or a quota or limit is reached.
    """
    # A file without a name, so that a kill leaves nothing.
    with tempfile.TemporaryFile(dir=folder) as file:
        # macOS has no such call; there a full disk is noticed while arrays are written.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, count)


def free_bytes(path: Path) -> int:
    """Return how many bytes may be written where a path is or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free
