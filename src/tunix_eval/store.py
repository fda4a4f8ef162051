"""Records on disk: atomic files, locks, run directories, completions. Everything below one artifacts directory.

Source: docs/formats.md, "Run directory".
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import filelock
import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunix_eval.aside import held_aside, left_in, put
from tunix_eval.digest import sha256_file, sha256_json, sha256_text
from tunix_eval.errors import ArtifactError

_Line = TypeVar("_Line")
_KEY = re.compile(r"[0-9a-f]{16,64}")
_SEAL = "manifest_sha256"
"""The key of the digest over the canonical JSON of everything else in a manifest."""
_LEFT_SECONDS = 3600
"""What is written aside and is older than this belongs to a process that was killed."""


class RunManifest(BaseModel):
    """What one training run was made from and what came out: run_manifest.json, written once."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), validate_by_name=True, serialize_by_alias=True
    )

    format_version: Literal[1] = 1
    run_id: str
    inputs: dict[str, Any]
    """What the id is the digest of."""
    created_at: str
    dataset_key: str
    dataset_sha256: str
    sequences_sha256: str
    recipe: dict[str, Any]
    training_config: dict[str, Any]
    model: dict[str, Any] = Field(alias="model_config")
    """The model as built; pydantic keeps the format's own name for itself."""
    trainer: dict[str, str]
    renderer: dict[str, str]
    tokenizer: dict[str, str]
    """Name and version, as of the renderer; the name under which it is registered, or its path from the root."""
    truncation: dict[str, Any] | None = None
    """mode, and how many traces were dropped or cut; None in manifests from before it was recorded."""
    holdout: dict[str, Any] | None = None
    """dataset_key, share, sequences_sha256, and how many traces and rows; None where nothing was held out."""
    initial: dict[str, Any] | None = None
    """run_id, weights_sha256, renderer and tokenizer of the run that the weights began from."""
    mesh: dict[str, int] = Field(default_factory=dict)
    """Axis -> devices that the rows of a step were split over."""
    seed: int
    git_sha: str | None
    git_dirty: bool | None
    packages: dict[str, str]
    device: dict[str, Any]
    xla_flags: str
    steps: int
    total_steps: int
    parameter_count: int
    tokens: int
    wall_seconds: float
    resumed_from: int | None
    status: Literal["complete", "truncated"]
    ended: Literal["complete", "early_stopping"] = "complete"
    """Why there are no more steps: these are all, or the holdout's loss brought no new best."""
    best_step: int | None = None
    """The step whose weights were kept, with keep = "best"."""
    holdout_loss: float | None = None
    """Of the weights that the run ended with."""
    skipped_steps: tuple[int, ...] = ()
    """Steps that changed nothing."""
    weights_sha256: str
    artifacts: dict[str, str]


class StartedRun(BaseModel):
    """What a training that is not finished will be: started.json. The manifest says all of it, and more, at the end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    seed: int
    steps: int
    """Optimizer steps that it will do."""
    init_from: str | None
    """The run that it began from."""


class ScorerRecord(BaseModel):
    """A scorer as it was when a metric was measured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    """Over name, version and parameters."""
    lower_is_better: bool
    bounds: tuple[float | None, float | None] | None = None
    """The least and the greatest value; None where there is none."""


class EvalManifest(BaseModel):
    """What one evaluation was made from: eval_manifest.<evalset>.json. With the lines beside it, enough to decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    run_name: str
    run_id: str
    source: Literal["training", "checkpoint", "predictions"]
    status: Literal["complete", "truncated"]
    seed: int
    weights_sha256: str
    recipe_sha256: str | None
    """Digest of what was trained on what and how, the seed apart; None where nothing is known of it."""
    evalset: str
    evalset_sha256: str
    prompts_sha256: str
    lines_sha256: str
    """Of the file eval_after.<evalset>.jsonl beside it."""
    generation: dict[str, Any] | None
    """None for completions that something else wrote."""
    answer: dict[str, str]
    """Where the answer stands in a completion: open, close and kind."""
    scorers: dict[str, ScorerRecord]
    packages: dict[str, str]
    device: dict[str, Any]
    environment: dict[str, Any]
    """Libraries, platform, XLA flags and numeric settings that the completions were written under."""
    created_at: str


class Store:
    """The artifacts directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run_directory(self, run_id: str) -> Path:
        """Return the directory of a run, which need not exist."""
        return self.root / "runs" / _checked_key(run_id)

    def find_run(self, run_id: str) -> RunManifest | None:
        """Return the manifest of a finished run, or None.

        Raises:
            ArtifactError: the manifest is there but damaged or from another run.
        """
        path = self.run_directory(run_id) / "run_manifest.json"
        manifest = read_manifest(path)
        if manifest is not None and manifest.run_id != run_id:
            raise ArtifactError(
                f"{path}: is of run {manifest.run_id}, expected {run_id}; train it again with --tunix-retrain"
            )
        return manifest

    def written_at(self, run_id: str) -> int | None:
        """Return when a run's manifest was written, in ns since the epoch; None where there is none."""
        try:
            return (self.run_directory(run_id) / "run_manifest.json").stat().st_mtime_ns
        except OSError:
            return None

    def named_run(self, reference: str) -> RunManifest:
        """Return the manifest of a recorded run by its id or the first digits of it.

        Raises:
            ArtifactError: no run or several have such an id; the message lists what is there.
        """
        ids = sorted(path.parent.name for path in self.root.glob("runs/*/run_manifest.json"))
        found = [run_id for run_id in ids if reference and run_id.startswith(reference)]
        manifest = self.find_run(found[0]) if len(found) == 1 else None
        if manifest is None:
            what = f"{len(found)} runs begin with it" if found else "no such run is recorded"
            listed = ", ".join((found or ids)[:10]) or "none"
            raise ArtifactError(f"run '{reference}': {what} in {self.root}; recorded: {listed}")
        return manifest

    def records_directory(self, run_id: str, name: str, own_name: str | None = None) -> Path:
        """Return where the evaluations of a run under a spec's name are recorded.

        Those under the run's own name stand in its directory; others, and those of predictions, beside each other
        below `as/`, so that two specs of one run never overwrite each other's.
        """
        directory = self.run_directory(run_id)
        return directory if name == own_name else directory / "as" / name

    def evaluation_paths(self, evalset: str = "*") -> list[Path]:
        """Return the manifests of every evaluation on an evalset (by default on all), in order."""
        pattern = f"eval_manifest.{evalset if evalset == '*' else glob.escape(evalset)}.json"
        return sorted([*self.root.glob(f"runs/*/{pattern}"), *self.root.glob(f"runs/*/as/*/{pattern}")])

    def evaluations(self, evalset: str) -> list[tuple[Path, EvalManifest]]:
        """Return folder and manifest of every evaluation on an evalset; those that cannot be read are left out."""
        found = [(path.parent, read_eval_manifest(path)) for path in self.evaluation_paths(evalset)]
        return [(folder, manifest) for folder, manifest in found if manifest is not None]

    def record_run(self, manifest: RunManifest) -> None:
        """Write a finished run's manifest, which makes it a run that later sessions reuse."""
        path = self.run_directory(manifest.run_id) / "run_manifest.json"
        write_atomic(path, manifest_text(manifest))

    def record_start(self, run_id: str, started: StartedRun) -> None:
        """Write what a training will be, for those who find it unfinished."""
        write_atomic(self.run_directory(run_id) / "started.json", pretty_json(started.model_dump(mode="json")))

    def remove_run(self, run_id: str, *, replaced: bool = False) -> None:
        """Delete a run with its evaluations (or what was set aside of it): all of it or, to later sessions, nothing.

        Raises:
            ArtifactError: it is being trained right now, or cannot be deleted.
        """
        directory = self.root / "replaced" / run_id if replaced else self.run_directory(run_id)
        # A kill in the middle of deleting must not leave a manifest without its weights.
        doomed = self.root / "removed" / run_id
        with self.lock("removed"), self.lock(f"run-{run_id}", wait=False), writing(directory):
            shutil.rmtree(doomed.parent, ignore_errors=True)
            doomed.parent.mkdir()
            directory.rename(doomed)
            shutil.rmtree(doomed.parent)

    def set_aside(self, run_id: str) -> None:
        """Move a run out of the way, replacing what was set aside before; one that is not finished is deleted.

        Raises:
            ArtifactError: it cannot be moved or deleted, and would be gone on from.
        """
        directory = self.run_directory(run_id)
        if not (directory / "run_manifest.json").exists():
            remove(directory)
        else:
            aside = self.root / "replaced" / run_id
            remove(aside)
            with writing(aside):
                aside.parent.mkdir(parents=True, exist_ok=True)
                directory.rename(aside)

    def cached(
        self, key: str, kind: type[_Line], count: int, make: Callable[[], list[_Line]], *, run_id: str | None = None
    ) -> list[_Line]:
        """Return the lines that are cached under a key, or make and cache them, once whatever the processes.

        The key is the digest of everything that they are made from. A damaged file, or one of another length, is
        made again. The runs that use them are noted in the file, which goes when the last of these runs has gone.
        """
        path = self.root / "completions" / f"{_checked_key(key)}.jsonl"
        lock = f"completions-{key[:16]}"
        found = _cached_lines(path, kind, count)
        if found is None:
            with self.lock(lock):
                found = _cached_lines(path, kind, count)
                if found is None:
                    found = make(), (run_id,) if run_id else ()
                    _write_lines(path, *found)
        if run_id is not None and run_id not in found[1]:
            # Where nothing can be written, what is cached can be read all the same.
            with contextlib.suppress(ArtifactError), self.lock(lock):
                _write_lines(path, found[0], (*users_of(path), run_id))
        return found[0]

    def is_held(self, name: str) -> bool:
        """Tell whether a process holds a lock right now."""
        return lock_is_held(self.root / "locks" / f"{name}.lock")

    def is_busy(self) -> bool:
        """Tell whether any session trains, generates or has compiled programs open here."""
        locks = [*self.root.glob("locks/*.lock"), *self.root.glob("compiled/*/.*/lock")]
        return any(lock_is_held(path) for path in locks)

    def left_behind(self) -> list[Path]:
        """Return what processes that were killed have left here, and nobody will look for again."""
        hidden = [path for path in self.own("sessions/*/.*") if _age_seconds(path) > _LEFT_SECONDS]
        aside = [path for folder in self._folders() for path in left_in(folder)]
        removed = [] if self.is_held("removed") else self.own("removed/*")
        own = [path for path in self.own("compiled/*/.*") if is_left(path)]
        return sorted({*own, *removed, *hidden, *aside})

    def own(self, pattern: str) -> list[Path]:
        """Return what stands here under a pattern; not what a link leads to elsewhere, which is not ours to delete."""

        def is_ours(path: Path) -> bool:
            above = path.relative_to(self.root).parents
            return not any((self.root / one).is_symlink() for one in above if one != Path())

        return [path for path in sorted(self.root.glob(pattern)) if is_ours(path)]

    def _folders(self) -> Iterator[Path]:
        """Give every folder that something may be written aside in; what is elsewhere behind a link is not ours."""
        for top, folders, _ in os.walk(self.root):
            skipped = {"compiled", "locks", "removed"} if Path(top) == self.root else set[str]()
            folders[:] = [name for name in folders if name not in skipped]
            yield Path(top)

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool | float = True) -> Iterator[None]:
        """Hold a lock that ends with its owner: the operating system frees it when a process dies.

        `wait` may be a number of seconds.

        Raises:
            ArtifactError: another process holds it, and it is not to be waited for.
        """
        path = self.root / "locks" / f"{name}.lock"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            ignored = self.root / ".gitignore"
            if not ignored.exists():
                ignored.write_text("*\n", encoding="utf-8")
            held = filelock.FileLock(path)
            try:
                held.acquire(timeout=-1 if wait is True else float(wait))
            except filelock.Timeout:
                raise ArtifactError(f"{path}: held by another process; wait until it is done") from None
        try:
            yield
        finally:
            held.release()


def lock_is_held(path: Path) -> bool:
    """Tell whether a process holds a lock file right now; where nothing can be written, nobody is seen to."""
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path).acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def is_left(path: Path) -> bool:
    """Tell whether the process that made a folder for itself is gone: nobody holds the lock in it.

    What has no lock was made by one that was killed before it had taken it, or half written.
    """
    lock = path / "lock"
    return not lock_is_held(lock) if lock.exists() else _age_seconds(path) > _LEFT_SECONDS


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; it may be gone already.

    Raises:
        ArtifactError: it cannot be deleted.
    """
    with writing(path), contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def checkpoint_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints in a run's directory that were written whole, the newest last."""
    found = directory.glob("checkpoints/*/digests.json")
    return sorted(int(path.parent.name) for path in found if path.parent.name.isdecimal())


def files_below(directory: Path) -> Iterator[tuple[Path, int]]:
    """Give every file in a directory with its bytes, also while it is trained there and files come and go."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                yield path, path.lstat().st_size


def _age_seconds(path: Path) -> float:
    """Return how long ago a file was written; 0 where it has gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def users_of(path: Path) -> tuple[str, ...]:
    """Return the runs that use a file of completions; none where it does not say, as those of earlier versions."""
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(file.readline().split()[1:])
    except (OSError, UnicodeDecodeError):
        return ()


def _write_lines(path: Path, lines: list[Any], users: tuple[str, ...]) -> None:
    text = msgspec.json.Encoder().encode_lines(lines).decode()
    write_atomic(path, f"{' '.join([sha256_text(text), *sorted({*users})])}\n{text}")


def _cached_lines(path: Path, kind: type[_Line], count: int) -> tuple[list[_Line], tuple[str, ...]] | None:
    """Return lines and the runs that use them."""
    try:
        first, _, text = path.read_text(encoding="utf-8").partition("\n")
        digest, *users = first.split()
        lines = msgspec.json.Decoder(kind).decode_lines(text) if digest == sha256_text(text) else None
    except (OSError, ValueError):
        return None
    return None if lines is None or len(lines) != count else (lines, tuple(users))


def read_manifest(path: Path) -> RunManifest | None:
    """Return a run's manifest, or None where there is none.

    Raises:
        ArtifactError: it is there but damaged.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from None
    damaged = ArtifactError(f"{path}: damaged; train the run again with --tunix-retrain")
    try:
        table = json.loads(text)
        said = table.pop(_SEAL, None)
        manifest = RunManifest.model_validate(table)
    except (ValidationError, ValueError, RecursionError, AttributeError, TypeError):
        raise damaged from None
    if said != sha256_json(table):
        raise ArtifactError(
            f"{path}: changed since it was written: its {_SEAL} is not that of what it holds; restore it, or train the "
            "run again with --tunix-retrain"
        )
    return manifest


def manifest_text(manifest: RunManifest) -> str:
    """Write a run's manifest, with a digest over all of it."""
    # As it will be read: a trainer of another package may describe its model by what JSON writes otherwise.
    table = json.loads(pretty_json(manifest.model_dump(mode="json")))
    return pretty_json(table | {_SEAL: sha256_json(table)})


def read_started(path: Path) -> StartedRun | None:
    """Return what a training that is not finished will be, or None where nothing readable says so."""
    try:
        return StartedRun.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def read_eval_manifest(path: Path) -> EvalManifest | None:
    """Return an evaluation's manifest, or None where there is none, or one of another format."""
    try:
        return EvalManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def verify_run(directory: Path, manifest: RunManifest) -> None:
    """Compare every file of a run with the digest in its manifest.

    Raises:
        ArtifactError: a file is missing or differs; the message names it and both digests.
    """
    for name, expected in manifest.artifacts.items():
        path = directory / name
        found = sha256_file(path) if path.is_file() else "no file"
        if found != expected:
            raise ArtifactError(
                f"{path}: digest mismatch: found {found[:16]}, the manifest has {expected[:16]}; "
                "the run is damaged, train it again with --tunix-retrain"
            )


def artifact_digests(directory: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 for metrics.jsonl and every file of checkpoint-final/."""
    files = [directory / "metrics.jsonl", *sorted((directory / "checkpoint-final").rglob("*"))]
    return {path.relative_to(directory).as_posix(): sha256_file(path) for path in files if path.is_file()}


def write_atomic(path: Path, text: str, *, place: Path | None = None) -> None:
    """Write a text file whole or not at all: aside, in a place on the same disk or beside it, fsync, rename.

    Raises:
        ArtifactError: the directory cannot be written or the disk is full.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with held_aside(path, place=place) as aside:
            aside.write_text(text, encoding="utf-8", newline="")
            put(aside, path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write below the block into one line that names the path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(
            f"{path}: cannot be written: {reason}; free space or name another directory with --tunix-artifacts=DIR"
        ) from error


def pretty_json(value: Any) -> str:
    """Write JSON with sorted keys and two spaces, ending in a newline."""
    text = msgspec.json.encode(msgspec.to_builtins(value), order="sorted")
    return msgspec.json.format(text, indent=2).decode() + "\n"


def is_run_id(name: str) -> bool:
    """Tell whether a folder's name is that of a run."""
    return _KEY.fullmatch(name) is not None


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ArtifactError(f"'{key}' is no run id; expected 16 hex digits")
    return key
