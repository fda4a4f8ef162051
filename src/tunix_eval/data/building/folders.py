"""Dataset folders: written whole and once, and read back."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunix_eval.aside import held_aside, sync
from tunix_eval.data.building.manifests import check_readable, content_fields, is_key, manifest_flaws, manifest_text
from tunix_eval.data.reading.lines import file_stem, read_bytes, sha256_unpacked
from tunix_eval.data.reading.remarks import DataWarning
from tunix_eval.data.reading.traces import parse_traces, read_traces, traces_text
from tunix_eval.digest import sha256_file
from tunix_eval.errors import ArtifactError, DataError
from tunix_eval.records import Dataset


def write_dataset(dataset: Dataset, folder: Path) -> Path:
    """Write `<folder>/<key>/{manifest.json, traces.jsonl}` atomically, and return that path.

    Content that is there already is left as it is. What a build that was killed has left in the folder under this
    key is removed.

    Raises:
        DataError: the key is taken by other content, or by what is no whole dataset.
        ArtifactError: the folder cannot be written.
    """
    target = folder / dataset.key
    try:
        if target.exists():
            return _unchanged(dataset, target)
        texts = {"traces.jsonl": traces_text(dataset.traces), "manifest.json": manifest_text(dataset.manifest)}
        with held_aside(target, is_folder=True) as aside:
            _write_aside(aside / dataset.key, texts)
            try:
                (aside / dataset.key).rename(target)
            except OSError:
                # Another process may have put the same dataset there since we looked.
                if not target.exists():
                    raise
        sync(folder)
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


def _read_file(path: Path) -> Dataset:
    traces = read_traces(path)
    key = file_stem(path)
    if not is_key(key):
        raise DataError(f"{path}: '{key}' is no key; rename the file with letters, digits, '.', '_' and '-'")
    # Of a packed file's text, so that packing changes nothing; a Parquet file has no text.
    sha256 = sha256_file(path) if path.suffix == ".parquet" else sha256_unpacked(path)
    manifest = {"dataset_key": key, **content_fields(traces, sha256)}
    return Dataset(key=key, traces=tuple(traces), content_sha256=sha256, manifest=manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise DataError(f"{path}: is of type {type(manifest).__name__}; expected an object")
    check_readable(manifest, str(path))
    return manifest


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
    sync(folder)
