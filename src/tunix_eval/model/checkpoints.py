"""Orbax checkpoints with a digest of every file, so that damage is found before anything is loaded.

    checkpoints/<step>/   {"step", "params", "optimizer"}, written by Orbax, then digests.json
    checkpoint-final/     {"params"}, the same way

A directory without digests.json was not finished and counts as absent.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import msgspec
import orbax.checkpoint as ocp  # type: ignore[import-untyped]

from tunix_eval.digest import sha256_file
from tunix_eval.errors import ArtifactError
from tunix_eval.model.files import cannot_write, write_atomically

DIGESTS = "digests.json"
KEPT = 2

Tree = Mapping[str, Any]
"""Nested dicts of arrays, or of shapes."""


class Digests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint holds."""

    arrays: dict[str, str]
    """Name -> `float32[2,3]`."""
    files: dict[str, str]
    """Relative path -> SHA-256."""


def save(directory: Path, arrays: Tree) -> None:
    """Write arrays to a directory, in place of what it held.

    Raises:
        ArtifactError: the disk refuses.
    """
    try:
        # What a kill left half written stands beside it, under a longer name.
        for old in directory.parent.glob(f"{directory.name}*"):
            if old.name == directory.name or old.name.startswith(f"{directory.name}.orbax-checkpoint-tmp"):
                shutil.rmtree(old)
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _raised_not_logged(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(directory.absolute(), args=ocp.args.StandardSave(arrays))
        files = {path.relative_to(directory).as_posix(): sha256_file(path) for path in _files(directory)}
    except (OSError, ValueError) as error:
        raise cannot_write(directory, error) from None
    digests = Digests(arrays=_described(arrays), files=files)
    write_atomically(directory / DIGESTS, msgspec.json.format(msgspec.json.encode(digests, order="sorted")) + b"\n")


def restore(directory: Path, like: Tree) -> dict[str, Any]:
    """Return the arrays of a checkpoint, in the structure of `like` (nested dicts of shapes).

    Raises:
        ArtifactError: the first file that is missing or damaged, or arrays of another model.
    """
    digests = _read_digests(directory)
    for name, digest in digests.files.items():
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{path}: missing from the checkpoint; train the run again")
        if sha256_file(path) != digest:
            raise ArtifactError(f"{path}: damaged, its SHA-256 is not that in {DIGESTS}; train the run again")
    expected = _described(like)
    if digests.arrays != expected:
        name = min(item[0] for item in digests.arrays.items() ^ expected.items())
        found, wanted = digests.arrays.get(name, "nothing"), expected.get(name, "nothing")
        raise ArtifactError(f"{directory}: holds {found} as {name}, the run spec wants {wanted}; train the run again")
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),  # type: ignore[no-untyped-call]
        like,
    )
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        arrays: dict[str, Any] = checkpointer.restore(directory.absolute(), args=ocp.args.StandardRestore(target))
    return arrays


def newest(folder: Path, like: Tree, *, at_most: int) -> tuple[int, dict[str, Any]] | None:
    """Return step and arrays of the newest sound checkpoint of up to `at_most` steps; damaged ones are passed over."""
    for step in sorted((step for step in _steps(folder) if step <= at_most), reverse=True):
        try:
            return step, restore(folder / str(step), like)
        except ArtifactError:
            continue
    return None


def prune(folder: Path) -> None:
    """Delete all but the newest checkpoints, and what a kill left half written."""
    kept = {str(step) for step in sorted(_steps(folder))[-KEPT:]}
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _raised_not_logged() -> Iterator[None]:
    """Keep Orbax from logging the tracebacks of errors that it raises as well."""
    logger = logging.getLogger("absl")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _read_digests(directory: Path) -> Digests:
    path = directory / DIGESTS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Digests)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: missing, so the checkpoint was not finished; train the run again") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ArtifactError(f"{path}: damaged: {error}; train the run again") from None


def _described(arrays: Tree) -> dict[str, str]:
    leaves = jax.tree.leaves_with_path(arrays)
    return {
        ".".join(str(key.key) for key in path): f"{leaf.dtype}[{','.join(str(size) for size in leaf.shape)}]"
        for path, leaf in leaves
    }
