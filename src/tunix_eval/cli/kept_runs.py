"""What the artifacts directory holds of each run, and what refers to it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tunix_eval.cli.references import Reference, references
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.store import (
    RunManifest,
    StartedRun,
    Store,
    checkpoint_steps,
    files_below,
    is_run_id,
    read_eval_manifest,
    read_manifest,
    read_started,
)

Status = Literal["complete", "truncated", "unfinished", "training", "damaged", "predictions", "checkpoint", "replaced"]
_LISTED = 10


@dataclass(frozen=True)
class KeptRun:
    """A run as the artifacts directory holds it: trained, being trained, judged only, or replaced by a later one."""

    run_id: str
    directory: Path
    status: Status
    name: str | None
    seed: int | None
    steps: int | None
    """Done; of a training that is not finished, as many as its newest checkpoint has."""
    total_steps: int | None
    created_at: datetime
    size_bytes: int
    init_from: str | None
    """The run whose weights it began from."""
    manifest: RunManifest | None = None
    referred_by: tuple[str, ...] = ()
    """What would miss it."""

    @property
    def status_text(self) -> str:
        """The status as people read it.

        Of a training that was stopped: `stopped at 300 of 800`.
        """
        if self.status not in ("unfinished", "truncated"):
            return self.status
        return f"{'stopped' if self.status == 'unfinished' else 'cut'} at {self.steps} of {self.total_steps or '?'}"

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints of it."""
        return {
            "run_id": self.run_id,
            "name": self.name,
            "status": self.status,
            "seed": self.seed,
            "steps": self.steps,
            "total_steps": self.total_steps,
            "created_at": self.created_at.isoformat(timespec="seconds"),
            "bytes": self.size_bytes,
            "directory": str(self.directory),
            "referred_by": list(self.referred_by),
        }


def kept_runs(store: Store, baselines: Path, project: Path) -> list[KeptRun]:
    """Return every run that the artifacts directory holds, the newest first; run files are those below the project."""
    runs = [_kept(path, store) for path in _run_folders(store.root / "runs")]
    old = [replace(_kept(path, store), status="replaced") for path in _run_folders(store.root / "replaced")]
    naming, asking = _baseline_texts(baselines), references(project, besides=store.root)
    found = [_with_references(run, runs, naming, asking) for run in runs] + old
    return sorted(found, key=lambda run: (-run.created_at.timestamp(), run.run_id, run.status))


def unfinished_runs(store: Store) -> list[KeptRun]:
    """Return the runs whose training was begun and is not at its end: stopped, killed, or going on."""
    begun = [path for path in _run_folders(store.root / "runs") if not (path / "run_manifest.json").exists()]
    return [run for path in begun if (run := _kept(path, store)).status in ("unfinished", "training")]


def finished_runs(store: Store) -> list[KeptRun]:
    """Return the runs that were trained to their end, evaluated or not."""
    ended = [path for path in _run_folders(store.root / "runs") if (path / "run_manifest.json").exists()]
    return [run for path in ended if (run := _kept(path, store)).manifest is not None]


def named(reference: str, runs: list[KeptRun], store: Store) -> KeptRun:
    """Return the run with this id, these first digits of one, or this name; what it replaced does not count.

    Raises:
        SpecError: there is none, or there are several; the message lists them.
    """
    current = [run for run in runs if run.status != "replaced"]
    found = [run for run in current if reference and (run.run_id.startswith(reference) or run.name == reference)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{run.run_id} ({run.name})" if run.name else run.run_id for run in (found or current)[:_LISTED])
    what = f"{len(found)} runs have such an id or name" if found else "no such run"
    raise SpecError(f"run '{reference}': {what} in {store.root}; there are: {listed or 'none'}")


def sizes(directory: Path) -> dict[str, int]:
    """Return the bytes of each folder in a run's directory, and of its files together under an empty name."""
    held = {"": 0}
    for path, size in files_below(directory):
        parts = path.relative_to(directory).parts
        part = parts[0] if len(parts) > 1 else ""
        held[part] = held.get(part, 0) + size
    return held


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _run_folders(parent: Path) -> list[Path]:
    """Return the folders that are named as a run is; others are somebody else's."""
    return [path for path in _folders(parent) if is_run_id(path.name)]


def _kept(directory: Path, store: Store) -> KeptRun:
    try:
        manifest, damaged = read_manifest(directory / "run_manifest.json"), False
    except ArtifactError:
        manifest, damaged = None, True
    if manifest is not None:
        return _trained(directory, manifest)
    started = read_started(directory / "started.json")
    if damaged or started is not None or (directory / "metrics.jsonl").exists():
        status: Status = "training" if store.is_held(f"run-{directory.name}") else "unfinished"
        return _unfinished(directory, started, "damaged" if damaged else status)
    return _judged(directory)


def _trained(directory: Path, manifest: RunManifest) -> KeptRun:
    return KeptRun(
        run_id=directory.name,
        directory=directory,
        status=manifest.status,
        name=manifest.recipe.get("name"),
        seed=manifest.seed,
        steps=manifest.steps,
        total_steps=manifest.total_steps,
        created_at=_aware(manifest.created_at) or _changed(directory),
        size_bytes=sum(sizes(directory).values()),
        init_from=(manifest.initial or {}).get("run_id"),
        manifest=manifest,
    )


def _unfinished(directory: Path, started: StartedRun | None, status: Status) -> KeptRun:
    return KeptRun(
        run_id=directory.name,
        directory=directory,
        status=status,
        name=started.name if started else None,
        seed=started.seed if started else None,
        steps=max(checkpoint_steps(directory), default=0),
        total_steps=started.steps if started else None,
        created_at=_changed(directory),
        size_bytes=sum(sizes(directory).values()),
        init_from=started.init_from if started else None,
    )


def _judged(directory: Path) -> KeptRun:
    """Return a run that was trained elsewhere, or predictions: only evaluations of it are here."""
    found = [read_eval_manifest(path) for path in sorted(directory.glob("as/*/eval_manifest.*.json"))]
    held = next((one for one in found if one is not None), None)
    return KeptRun(
        run_id=directory.name,
        directory=directory,
        status="damaged" if held is None else "predictions" if held.source == "predictions" else "checkpoint",
        name=held.run_name if held else None,
        seed=held.seed if held else None,
        steps=None,
        total_steps=None,
        created_at=_changed(directory),
        size_bytes=sum(sizes(directory).values()),
        init_from=None,
    )


def _with_references(run: KeptRun, runs: list[KeptRun], naming: dict[str, str], asking: Sequence[Reference]) -> KeptRun:
    """Find who would miss a run: baselines and run files that name it, records under other names, runs from it."""
    found = [f"baseline {name}" for name, text in naming.items() if run.run_id in text]
    found += [f"run file {one.said_in}" for one in asking if one.means(run.run_id, run.directory)]
    if run.status not in ("predictions", "checkpoint"):
        found += [f"evaluated as {path.name}" for path in _folders(run.directory / "as")]
    for other in runs:
        if other.init_from and run.run_id.startswith(other.init_from):
            found.append(f"run {other.run_id} began from it")
    return replace(run, referred_by=tuple(found))


def _baseline_texts(folder: Path) -> dict[str, str]:
    """Return the name and text of every baseline; a damaged one still names its runs."""
    paths = sorted(folder.glob("*/*.json"))
    return {f"{path.parent.name}/{path.stem}": path.read_text(encoding="utf-8", errors="replace") for path in paths}


def _aware(text: str) -> datetime | None:
    """Return a moment as a manifest says it; None where somebody has put something else there."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _changed(directory: Path) -> datetime:
    """Return when a file of a run was last written."""
    moments = []
    for path in [
        directory,
        *(Path(top, name) for top, folders, names in os.walk(directory) for name in folders + names),
    ]:
        # It may be a run in training, whose files come and go.
        with contextlib.suppress(FileNotFoundError):
            moments.append(path.lstat().st_mtime)
    return datetime.fromtimestamp(max(moments, default=0.0), tz=UTC)
