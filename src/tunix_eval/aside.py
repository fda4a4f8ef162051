"""What is written aside before it is renamed: held while its writer lives, and swept when the writer was killed.

    .<name>.<8 hex digits>    a file or folder that <name> is written in, beside it

Its writer holds the operating system's lock on it, which ends with the process, whatever ended it. So no age has to be
guessed: what nobody holds was left behind, and the next writer of <name> deletes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing can be held: there age decides
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"\..+\.[0-9a-f]{8}")
_LONG_SECONDS = 3600
"""Where locks are not to be had, as on some network drives, what is older than this was left behind."""


@contextlib.contextmanager
def held_aside(path: Path, *, is_folder: bool = False, place: Path | None = None) -> Iterator[Path]:
    """Give an empty file or folder to write `path` in, beside it or in another place, which nobody else deletes.

    What killed writers of `path` left is deleted first, and at the end what is still there under the name.

    Raises:
        OSError: the folder cannot be written.
    """
    place = place or path.parent
    place.mkdir(parents=True, exist_ok=True)
    for folder in {place, path.parent}:
        sweep(folder, of=path.name)
    made, handle = _made(place, path.name, is_folder=is_folder)
    try:
        yield made
    finally:
        os.close(handle)
        delete(made)


def put(made: Path, path: Path) -> None:
    """Rename what was written aside to its place, so that a loss of power leaves the old or the new, whole.

    Raises:
        OSError: the disk refuses.
    """
    sync(made)
    made.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Raises:
        OSError: a file cannot be written; a folder on a system that cannot sync folders is passed over.
    """
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path, *, of: str) -> None:
    """Delete what killed writers of a file left in a folder."""
    for path in _aside_in(folder):
        if path.name[1:-9] == of:
            _is_left(path, deleting=True)


def left_in(folder: Path) -> list[Path]:
    """Return what killed writers left in a folder, in order."""
    return [path for path in _aside_in(folder) if _is_left(path)]


def _aside_in(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if _NAME.fullmatch(entry.name))
    except OSError:
        return []


def delete(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, never what a link leads to; what the disk refuses stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _made(place: Path, name: str, *, is_folder: bool) -> tuple[Path, int]:
    while True:
        made = place / f".{name}.{secrets.token_hex(4)}"
        if is_folder:
            made.mkdir()
        else:
            # By a name of our own: what tempfile makes would not have the mode of other new files.
            made.touch(exist_ok=False)
        handle = os.open(made, os.O_RDONLY)
        _hold(handle, wait=True)
        # Another writer may have swept it away between its making and its holding.
        with contextlib.suppress(OSError):
            if made.stat().st_ino == os.fstat(handle).st_ino:
                return made, handle
        os.close(handle)


def _hold(handle: int, *, wait: bool) -> bool | None:
    """Take the lock on a file or folder; False where somebody has it, None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_left(path: Path, *, deleting: bool = False) -> bool:
    """Tell whether nobody holds what was written aside; delete it while it is held here, so that nobody takes it."""
    try:
        age = time.time() - path.lstat().st_mtime
        if path.is_symlink():
            return False
        handle = os.open(path, os.O_RDONLY)
        try:
            free = _hold(handle, wait=False)
            left = age > _LONG_SECONDS if free is None else free
            if left and deleting:
                delete(path)
        finally:
            os.close(handle)
    except OSError:
        return False
    return left
