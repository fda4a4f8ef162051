"""Compiled programs, kept from process to process by JAX's own persistent cache, in the artifacts directory.

    compiled/<machine>/<crc>-<program>-cache  whole; shared by all processes
    compiled/<machine>/.<pid>-<random>/       what one process reads and writes: links to those, and its new ones

JAX writes an entry in place and never mends a torn one: it warns of it in every process and compiles in vain. Its own
bound on the size breaks when it is killed between two files. So each process has a folder of its own. What it compiled
is linked into the shared one when it is whole, under a name that begins with its checksum; what no longer has that
checksum, as after a power cut or a copy that broke off, is deleted where it would be read.
No JAX is imported here: the cache is opened after a trainer has done so.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from tunix_eval.digest import sha256_json
from tunix_eval.errors import ArtifactError
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.device import Device
from tunix_eval.store import is_left, remove

MOST_BYTES = 2**30
"""Beyond this, what was read least recently is deleted."""
_ENTRIES = "*-cache"
_SETTINGS = {
    # Small programs are many: without them a second process compiles for as long again as it loads.
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    # A cache of XLA's own, whose path would be part of every key.
    "jax_persistent_cache_enable_xla_caches": "none",
    # Programs say which line of which file they are of. Keys leave that out; the paths are nobody else's business.
    "jax_hlo_source_file_canonicalization_regex": r".*[\\/]",
}


class CompiledPrograms:
    """The cache of this process. A user who has set one up, or switched JAX's off, keeps to that."""

    def __init__(self, folder: Path, device: Device) -> None:
        self._folder, self._device = folder, device
        self._shared = folder
        self._own: Path | None = None
        self._held: filelock.BaseFileLock | None = None
        self._before: dict[str, Any] = {}
        self._published = 0

    def open(self) -> None:
        """Let JAX find and keep programs here, if it is imported and no cache is set up."""
        jax = sys.modules.get("jax")
        if self._own is not None or jax is None or not jax.config.jax_enable_compilation_cache:
            return
        if jax.config.jax_compilation_cache_dir:
            return
        self._shared = self._folder / machine_digest(self._device)
        # Where nothing can be written, training says so.
        with contextlib.suppress(OSError):
            self._own = self._made()
        if self._own is not None:
            values = {"jax_compilation_cache_dir": str(self._own)} | _chosen(_SETTINGS)
            self._before = {name: getattr(jax.config, name) for name in values}
            for name, value in values.items():
                jax.config.update(name, value)

    def publish(self) -> None:
        """Share what this process has compiled so far; costs nothing where that is nothing new."""
        if self._own is None:
            return
        with contextlib.suppress(OSError):
            changed = self._own.stat().st_mtime_ns
            if changed != self._published:
                there = {_program(path) for path in self._shared.glob(_ENTRIES)}
                for path in self._own.glob(_ENTRIES):
                    if path.name not in there and _is_whole(path):
                        _link(path, self._shared / f"{_checksum(path)}-{path.name}")
                self._published = changed
                _prune(self._folder)

    def close(self) -> None:
        """Share what is new, and leave JAX as it was."""
        if self._own is None or self._held is None:
            return
        self.publish()
        for name, value in self._before.items():
            sys.modules["jax"].config.update(name, value)
        # JAX looks at its settings once.
        sys.modules["jax._src.compilation_cache"].reset_cache()
        self._held.release()
        shutil.rmtree(self._own, ignore_errors=True)
        self._own = None

    def _made(self) -> Path:
        """Make this process's folder, with a link to each program."""
        self._shared.mkdir(parents=True, exist_ok=True)
        for left in filter(is_left, list(self._shared.glob(".*"))):
            with contextlib.suppress(ArtifactError):
                remove(left)
        own = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}-", dir=self._shared))
        self._held = filelock.FileLock(own / "lock")
        self._held.acquire()
        for path in self._shared.glob(_ENTRIES):
            # Another process may delete it just now, as the one that was read least recently.
            with contextlib.suppress(FileNotFoundError, ArtifactError):
                if path.name == f"{_checksum(path)}-{_program(path)}":
                    _link(path, own / _program(path))
                else:
                    remove(path)
        self._published = own.stat().st_mtime_ns
        return own


def machine_digest(device: Device) -> str:
    """Name the machines that may share programs.

    JAX's keys know neither the size of the thread pool nor the number of host devices, by which a program is laid out.
    """
    described = {
        "packages": [importlib.metadata.version(name) for name in ("jax", "jaxlib")],
        "platform": device.platform,
        "devices": device.count,
        "threads": devices.cpu_threads(),
        "cpu": devices.describe(device)["cpu_features"],
    }
    return sha256_json(described)[:16]


def _chosen(settings: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the user has set."""
    return {name: value for name, value in settings.items() if name.upper() not in os.environ}


def _is_whole(path: Path) -> bool:
    """Tell whether JAX wrote an entry to its end; where the disk is full it warns, and leaves what it has."""
    cache = sys.modules["jax._src.compilation_cache"]
    codec = getattr(cache, "zstd", None) or getattr(cache, "zstandard", None)
    torn = codec.ZstdError if codec else zlib.error
    try:
        return bool(cache.decompress_executable(path.read_bytes()))
    except torn:
        return False


def _checksum(path: Path) -> str:
    """Return eight hex digits that tell a damaged entry; they are no help against a forged one."""
    return f"{zlib.crc32(path.read_bytes()):08x}"


def _program(path: Path) -> str:
    """Return JAX's name of an entry that is shared."""
    return path.name.partition("-")[2]


def _link(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without links.
        aside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            shutil.copyfile(path, aside)
            aside.replace(target)
        except OSError:
            aside.unlink(missing_ok=True)
            raise


def _prune(folder: Path) -> None:
    """Delete what was read least recently, on any machine, until the rest is small enough."""
    entries = sorted(_entries(folder), reverse=True)
    total = 0
    for _, size, path in entries:
        total += size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    for path in folder.glob(f"[!.]*/{_ENTRIES}"):
        # Another process may do the same.
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            yield max(found.st_atime, found.st_mtime), found.st_size, path
