"""Datasets: traces with a manifest, immutable once written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunix_eval.data.building.manifests import (
    content_fields,
    dataset_key,
    is_key,
    manifest_fields,
    manifest_flaws,
    manifest_text,
)
from tunix_eval.data.building.selection import Order, select
from tunix_eval.data.reading.evalsets import DataWarning
from tunix_eval.data.reading.files import sync_folder
from tunix_eval.data.reading.lines import file_stem, read_bytes
from tunix_eval.data.reading.traces import checked_traces, parse_traces, read_traces, traces_text
from tunix_eval.digest import prompt_digest, sha256_file
from tunix_eval.errors import ArtifactError, DataError
from tunix_eval.records import Dataset, Trace

LEFT_OVER_SECONDS = 3600
"""Age from which a hidden folder of ours is taken for that of a build that was killed."""


def build_dataset(
    name: str,
    version: str,
    traces: Iterable[Trace],
    *,
    seed: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    created_at: datetime | None = None,
    filters: Mapping[str, Any] | None = None,
    selection_strategy: str = "all",
    limit: int | None = None,
    by: str | None = None,
    order: Order | None = None,
    lower_is_better: bool = False,
    parent: Dataset | None = None,
    session_id: str | None = None,
    training_run_id: str | None = None,
) -> Dataset:
    """Build a dataset and its manifest; equal arguments give equal bytes when `created_at` is given.

    Args:
        name: letters, digits, `_`, `-` and, not first, `.`.
        version: the same without `-`.
        traces: at least one; those without an id get one.
        seed: what the traces were made or drawn with.
        provenance: `source` and keys of the user's own; the keys that we fill win.
        created_at: an aware time; now by default.
        filters: what the traces are chosen by; this and the next five as `select` takes them.
        selection_strategy: one of `manifests.STRATEGIES`.
        limit: the largest number of traces.
        by: a key of meta.
        order: values of the traces.
        lower_is_better: of those values.
        parent: the dataset that this one was made from.
        session_id: the session that built it.
        training_run_id: the run whose completions the traces are.

    Raises:
        DataError: a name that is no key, no trace, a trace that breaks its format, or what `select` refuses.
    """
    key = dataset_key(name, version)
    listed = list(traces)
    if not listed:
        raise DataError(f"dataset {key}: holds no trace")
    created = created_at or datetime.now(UTC)
    if created.tzinfo is None:
        raise DataError(f"dataset {key}: created_at {created.isoformat()} has no time zone; give an aware time")
    checked = checked_traces(listed, f"dataset {key}")
    chosen = select(
        checked,
        filters=filters,
        strategy=selection_strategy,
        limit=limit,
        seed=seed,
        by=by,
        order=order,
        lower_is_better=lower_is_better,
    )
    sha256 = _content_sha256(chosen)
    choice: dict[str, Any] = {}
    if filters or limit is not None or selection_strategy != "all":
        choice = {"source_trace_count": len(checked), "source_sha256": _content_sha256(checked)}
        choice |= {} if limit is None else {"limit": limit}
        choice |= {} if by is None else {"by": by}
        choice |= {"lower_is_better": lower_is_better} if selection_strategy == "quality" else {}
    manifest = manifest_fields(
        name,
        version,
        seed=seed,
        provenance={**(provenance or {}), **choice},
        created_at=created,
        filters=filters or {},
        selection_strategy=selection_strategy,
        content=content_fields(chosen, sha256),
        parents={
            "session_id": session_id,
            "parent_dataset_id": None if parent is None else _build_id(parent, key),
            "training_run_id": training_run_id,
        },
    )
    return Dataset(key=key, traces=tuple(chosen), content_sha256=sha256, manifest=manifest)


def write_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write `<folder>/<key>/{manifest.json, traces.jsonl}` atomically, and return that path.

    Content that is there already is left as it is. What a build that was killed has left in the folder under this
    key, hidden, is removed once it is an hour old.

    Raises:
        DataError: the key is taken by other content, or by what is no whole dataset.
        ArtifactError: the folder cannot be written.
    """
    target = folder / dataset.key
    try:
        if target.exists():
            return _unchanged(dataset, target)
        texts = {"traces.jsonl": traces_text(dataset.traces), "manifest.json": manifest_text(dataset.manifest)}
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left_over(folder, dataset.key)
        with tempfile.TemporaryDirectory(prefix=f".{dataset.key}.", dir=folder) as aside:
            _write_aside(Path(aside) / dataset.key, texts)
            try:
                (Path(aside) / dataset.key).rename(target)
            except OSError:
                # Another process may have put the same dataset there since we looked.
                if not target.exists():
                    raise
        sync_folder(folder)
    except OSError as error:
        raise ArtifactError(f"{target}: cannot be written: {error.strerror or error}") from None
    return _unchanged(dataset, target)


def read_dataset(path: Path) -> Dataset:
    """Read a dataset folder (manifest.json beside traces.jsonl), or a plain trace file, whose stem is the key.

    A folder with `dataset.jsonl` instead, or with a manifest that lacks our digest, is read with a DataWarning
    that names what it lacks.

    Raises:
        DataError: the traces break their format, or are not what the manifest says.
    """
    if not path.is_dir():
        return _read_file(path)
    manifest_path, content_path = path / "manifest.json", path / "traces.jsonl"
    if not content_path.exists() and (path / "dataset.jsonl").exists():
        content_path = path / "dataset.jsonl"
    manifest = _read_manifest(manifest_path)
    data = read_bytes(content_path)
    sha256, stated = hashlib.sha256(data).hexdigest(), manifest.get("content_sha256")
    if stated is not None and stated != sha256:
        raise DataError(
            f"{content_path}: its SHA-256 is {sha256}, {manifest_path.name} says {stated}; restore it or build it again"
        )
    traces = parse_traces(data, str(content_path))
    if manifest.get("trace_count", len(traces)) != len(traces):
        count = manifest["trace_count"]
        raise DataError(f"{content_path}: holds {len(traces)} traces, {manifest_path.name} says {count}")
    flaws = manifest_flaws(manifest, traces)
    if content_path.name != "traces.jsonl":
        flaws.append(f"the traces are in {content_path.name}, not traces.jsonl")
    if flaws and stated is not None:
        raise DataError(f"{manifest_path}: {'; '.join(flaws)}; build the dataset again")
    if flaws:
        warnings.warn(f"{manifest_path}: read as it stands: {'; '.join(flaws)}", DataWarning, stacklevel=2)
    return Dataset(key=manifest["dataset_key"], traces=tuple(traces), content_sha256=sha256, manifest=manifest)


def on_holdout_side(prompt: str, fraction: float) -> bool:
    """Tell whether a prompt belongs to the held-out `fraction`.

    Decided by the digest of the normalised prompt alone, so that a prompt keeps its side as the set grows, and
    a larger fraction holds out everything that a smaller one does.

    >>> on_holdout_side("358+467=", 0.0), on_holdout_side("358+467=", 1.0)
    (False, True)
    """
    if not 0 <= fraction <= 1:
        raise DataError(f"holdout fraction {fraction} is outside 0 to 1")
    return int(prompt_digest(prompt)[:13], 16) < fraction * 16**13


def _read_file(path: Path) -> Dataset:
    traces = read_traces(path)
    key = file_stem(path)
    if not is_key(key):
        raise DataError(f"{path}: '{key}' is no key; rename the file with letters, digits, '.', '_' and '-'")
    # Of a packed file's text, so that packing changes nothing; a Parquet file has no text.
    sha256 = sha256_file(path) if path.suffix == ".parquet" else hashlib.sha256(read_bytes(path)).hexdigest()
    manifest = {"dataset_key": key, **content_fields(traces, sha256)}
    return Dataset(key=key, traces=tuple(traces), content_sha256=sha256, manifest=manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise DataError(f"{path}: is of type {type(manifest).__name__}; expected an object")
    key = manifest.get("dataset_key")
    if not isinstance(key, str) or not is_key(key):
        raise DataError(
            f"{path}: dataset_key is {key!r}; expected `<name>-<version>` of letters, digits, '.', '_', '-'"
        )
    return manifest


def _build_id(parent: Dataset, key: str) -> str:
    build_id = parent.manifest.get("build_id")
    if not isinstance(build_id, str):
        raise DataError(f"dataset {key}: its parent {parent.key} has no build_id; build a dataset of it first")
    return build_id


def _content_sha256(traces: Sequence[Trace]) -> str:
    return hashlib.sha256(traces_text(traces).encode("utf-8")).hexdigest()


def _remove_left_over(folder: Path, key: str) -> None:
    """Remove what killed builds of this key have left; a living one takes nowhere near an hour."""
    own = re.compile(rf"\.{re.escape(key)}\.[a-z0-9_]{{8}}")
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if own.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFT_OVER_SECONDS:
                shutil.rmtree(path)


def _unchanged(dataset: Dataset, target: Path) -> Path:
    for name in ("manifest.json", "traces.jsonl"):
        if not (target / name).exists():
            raise DataError(f"{target}: is there without {name}; move it away and build the dataset again")
    found = hashlib.sha256(read_bytes(target / "traces.jsonl")).hexdigest()
    if found != dataset.content_sha256:
        raise DataError(
            f"{target}: is there with other content (SHA-256 {found[:16]}, new {dataset.content_sha256[:16]}); "
            "a dataset version is immutable, so give the new content a new version"
        )
    return target


def _write_aside(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in texts.items():
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)
