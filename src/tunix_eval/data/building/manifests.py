"""What a dataset's manifest says, and whether a manifest that was read says all of it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tunix_eval.digest import prompt_digest
from tunix_eval.errors import DataError
from tunix_eval.figures import printable
from tunix_eval.records import Trace

SCHEMA_VERSION = "1.0"
STRATEGIES = ("latest", "random", "all", "stratified", "quality")
BUILD_NAMESPACE = uuid.UUID("c0f4a5de-52c9-5c0e-8d0b-7f9b5a3a6e42")
"""Names in it are a dataset key and the digest of its content."""

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_TEXT_OR_NULL = (str, type(None))
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "dataset_key": str,
    "build_id": str,
    "dataset_name": str,
    "dataset_version": str,
    "dataset_schema_version": str,
    "created_at": str,
    "filters": dict,
    "selection_strategy": str,
    "seed": (int, type(None)),
    "trace_ids": list,
    "trace_count": int,
    "stats": dict,
    "session_id": _TEXT_OR_NULL,
    "parent_dataset_id": _TEXT_OR_NULL,
    "training_run_id": _TEXT_OR_NULL,
    "provenance": dict,
    "content_sha256": str,
    "duplicates": int,
}
_STATS = ("trace_count", "avg_step_count", "min_step_count", "max_step_count", "avg_total_chars")


def dataset_key(name: str, version: str) -> str:
    """Return `<name>-<version>`.

    >>> dataset_key("dev-reasoning", "v2")
    'dev-reasoning-v2'

    Raises:
        DataError: a part that no key is made of.
    """
    for part, text in (("name", name), ("version", version)):
        if not is_key(text):
            raise DataError(
                f"dataset {part} '{printable(text)}' is no key; use letters, digits, '_', '-' and, not first, '.'"
            )
    if "-" in version:
        raise DataError(f"dataset version '{version}' holds '-'; a key is split at its last one")
    return f"{name}-{version}"


def is_key(text: str) -> bool:
    """Tell whether a text may be a key: it stands in file names, and is no path and not hidden."""
    return bool(_PART.fullmatch(text))


def manifest_fields(
    name: str,
    version: str,
    *,
    seed: int | None,
    provenance: Mapping[str, Any],
    created_at: datetime,
    filters: Mapping[str, Any],
    selection_strategy: str,
    content: Mapping[str, Any],
    parents: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return a whole manifest.

    Args:
        name: of the dataset.
        version: of the dataset.
        seed: what the traces were made or drawn with.
        provenance: the user's own keys, and what else we say of the selection.
        created_at: an aware time.
        filters: what the traces were chosen by.
        selection_strategy: one of STRATEGIES.
        content: what `content_fields` says of the traces.
        parents: session_id, parent_dataset_id and training_run_id.

    Source: docs/formats.md, "Dataset".
    """
    key = dataset_key(name, version)
    created = created_at.astimezone(UTC).isoformat()
    filled = {
        "schema_version": SCHEMA_VERSION,
        "build_timestamp": created,
        "trace_count": content["trace_count"],
        "selection_strategy": selection_strategy,
    }
    return {
        "dataset_key": key,
        "build_id": str(uuid.uuid5(BUILD_NAMESPACE, f"{key}\n{content['content_sha256']}")),
        "dataset_name": name,
        "dataset_version": version,
        "dataset_schema_version": SCHEMA_VERSION,
        "created_at": created,
        "filters": {key: list(value) if isinstance(value, tuple) else value for key, value in filters.items()},
        "selection_strategy": selection_strategy,
        "seed": seed,
        **content,
        **parents,
        "provenance": {"source": "tunix-eval", **provenance, **filled, **({} if seed is None else {"seed": seed})},
    }


def content_fields(traces: Sequence[Trace], sha256: str) -> dict[str, Any]:
    """Return the manifest's fields that follow from the traces alone."""
    steps = [len(trace.steps) for trace in traces]
    chars = [
        len(trace.prompt) + len(trace.final_answer) + sum(len(step.content) for step in trace.steps) for trace in traces
    ]
    return {
        "trace_ids": [trace.id for trace in traces],
        "trace_count": len(traces),
        "stats": {
            "trace_count": len(traces),
            "avg_step_count": sum(steps) / len(steps),
            "min_step_count": min(steps),
            "max_step_count": max(steps),
            "avg_total_chars": sum(chars) / len(chars),
        },
        "content_sha256": sha256,
        "duplicates": repeated_prompts(traces),
    }


def repeated_prompts(traces: Sequence[Trace]) -> int:
    """Count the traces whose normalised prompt an earlier one has."""
    return len(traces) - len({prompt_digest(trace.prompt) for trace in traces})


def check_readable(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest of another version of the format, or one whose names are none.

    Raises:
        DataError: naming what was found.
    """
    version = manifest.get("dataset_schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        found = printable(str(version))
        raise DataError(
            f"{where}: dataset_schema_version is {found}, this tunix-eval reads {SCHEMA_VERSION}; use the version "
            "that wrote the dataset, or build it again"
        )
    key = manifest.get("dataset_key")
    if not isinstance(key, str) or not is_key(key):
        raise DataError(
            f"{where}: dataset_key is {printable(repr(key))}; expected `<name>-<version>` of letters, digits, '_', "
            "'-' and, not first, '.'"
        )
    for field in ("dataset_name", "dataset_version"):
        part = manifest.get(field)
        if part is not None and not (isinstance(part, str) and is_key(part)):
            raise DataError(
                f"{where}: {field} is {printable(repr(part))}; expected letters, digits, '_', '-' and, not first, '.'"
            )
    name, number = manifest.get("dataset_name"), manifest.get("dataset_version")
    if name is not None and number is not None and f"{name}-{number}" != key:
        raise DataError(
            f"{where}: dataset_key is '{key}', its name and version say '{name}-{number}'; mend one of them"
        )


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return the text of manifest.json.

    Raises:
        DataError: a value, in filters or provenance, that JSON cannot hold.
    """
    try:
        return json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"manifest of {manifest['dataset_key']}: {error}") from None


def manifest_flaws(manifest: Mapping[str, Any], traces: Sequence[Trace]) -> list[str]:
    """Return where a manifest breaks the format or contradicts its traces, field by field."""
    absent = [key for key in _FIELDS if key not in manifest]
    flaws = [f"lacks the keys {', '.join(absent)}"] if absent else []
    for key, kind in _FIELDS.items():
        # bool is an int to isinstance, but no number here.
        if key in manifest and (not isinstance(manifest[key], kind) or isinstance(manifest[key], bool)):
            flaws.append(f"{key} is of type {type(manifest[key]).__name__}")
    if isinstance(manifest.get("build_id"), str) and not _is_uuid(manifest["build_id"]):
        flaws.append(f"build_id '{manifest['build_id']}' is no UUID")
    if manifest.get("selection_strategy", "all") not in STRATEGIES:
        flaws.append(f"selection_strategy '{manifest['selection_strategy']}' is not among {', '.join(STRATEGIES)}")
    stats = manifest.get("stats")
    if isinstance(stats, dict) and (missing := [key for key in _STATS if key not in stats]):
        flaws.append(f"stats lacks the keys {', '.join(missing)}")
    repeated = repeated_prompts(traces)
    if manifest.get("duplicates", repeated) != repeated:
        flaws.append(f"duplicates is {manifest['duplicates']}, counted were {repeated}")
    elif "duplicates" in absent and repeated:
        flaws.append(f"counted were {repeated} repeated prompt{'' if repeated == 1 else 's'}")
    if "trace_ids" in manifest and manifest["trace_ids"] != [trace.id for trace in traces]:
        flaws.append("trace_ids are not the ids of the traces")
    return flaws


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
