"""Run files: read, overridden, their paths resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tunix_eval.digest import sha256_text
from tunix_eval.errors import SpecError
from tunix_eval.specs import AnySpec, CheckpointSpec, PredictionsSpec, RunSpec
from tunix_eval.tables import check_plain, is_path, read_table, resolve_path, resolve_reference, validated

_LABEL_LIMIT = 150


def read_run_file(
    path: Path, overrides: Mapping[str, Any] | None = None, *, overrides_folder: Path | None = None
) -> AnySpec:
    """Read and validate a run file.

    Paths in it (values with `/` or a file suffix) become absolute, relative to the file; those of overrides,
    relative to the folder of the file that says them. Overrides nest (`training={"steps": 100}`) and rename
    the run: `addition[style=none]`.

    Raises:
        SpecError: one line a mistake, with the file and, for TOML errors, line and column.
    """
    table = read_table(path, "run file")
    check_plain(table, where=str(path))
    if overrides:
        said = f"overrides of {path}"
        check_plain(overrides, where=said)
        table = _merge(table, _with_absolute_paths(overrides, overrides_folder or path.parent, where=said))
        table["name"] = f"{table.get('name', path.stem)}[{_override_label(overrides)}]"
    if "scorer_options" in table:
        # The specs hold the keys of scorers so; a file has one way to say them.
        example = 'scorers = [{ name = "numeric", relative = 1e-3 }]'
        raise SpecError(f"{path}: scorer_options: unknown key; the keys of a scorer stand beside its name: {example}")
    table = _with_absolute_paths(table, path.parent, where=str(path))
    return validated(_kind(table, path), table, where=str(path))


def run_file_path(reference: str, folder: Path) -> Path:
    """Return the run file that a marker or gate names: a path relative to the folder, or a name in it."""
    path = Path(reference) if is_path(reference) else Path(f"{reference}.toml")
    return path if path.is_absolute() else resolve_path(str(path), folder)


def _kind(table: Mapping[str, Any], path: Path) -> type[AnySpec]:
    """Return what a run file is about: a training, unless it names a checkpoint or predictions."""
    trains = [key for key in ("dataset", "model", "training", "trainer") if key in table]
    for key, kind in (("predictions", PredictionsSpec), ("checkpoint", CheckpointSpec)):
        if key in table:
            other = next((one for one in ("checkpoint", *trains) if one in table and one != key), None)
            if other:
                raise SpecError(
                    f"{path}: has both {key} and {other}; completions come from one source: a training (dataset, "
                    "model, training), a checkpoint, or predictions"
                )
            return kind
    return RunSpec


def _with_absolute_paths(table: Mapping[str, Any], folder: Path, *, where: str) -> dict[str, Any]:
    """Resolve what a run file's table names by path; what has another type than it should is left for validation.

    Raises:
        SpecError: the key of what is no path.
    """

    def resolved(value: Any, key: str, resolve: Callable[[str, Path], object] = resolve_reference) -> Any:
        if isinstance(value, list | tuple):
            return [resolved(one, key) for one in value]
        try:
            return str(resolve(value, folder)) if isinstance(value, str) else value
        except SpecError as error:
            raise SpecError(f"{where}: {key}: {error}") from None

    out = dict(table)
    for key in ("dataset", "holdout", "renderer", "tokenizer", "evalsets", "checkpoint"):
        if key in out:
            out[key] = resolved(out[key], key)
    if isinstance(out.get("model"), dict) and "init_from" in out["model"]:
        out["model"] = out["model"] | {"init_from": resolved(out["model"]["init_from"], "model.init_from")}
    if isinstance(out.get("predictions"), str):
        out["predictions"] = resolved(out["predictions"], "predictions", resolve_path)
    if isinstance(out.get("gates"), list):
        paths = ("evalset", "than")
        out["gates"] = [
            {key: resolved(value, f"gates, {key}") if key in paths else value for key, value in gate.items()}
            if isinstance(gate, dict)
            else gate
            for gate in out["gates"]
        ]
    return out


def _merge(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _override_label(overrides: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for key, value in sorted(overrides.items()):
        name = f"{prefix}{key}"
        parts.append(_override_label(value, f"{name}.") if isinstance(value, Mapping) else f"{name}={value}")
    label = re.sub(r"[^A-Za-z0-9._\-=,]", "_", ",".join(parts))
    # With the name of the run before it this is the name of a folder, which may have 255 characters.
    return label if len(label) <= _LABEL_LIMIT else f"{label[: _LABEL_LIMIT - 20]}...{sha256_text(label)[:16]}"
