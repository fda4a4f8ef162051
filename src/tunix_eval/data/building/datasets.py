"""Datasets: chosen traces, and the manifest that says what they are and how they were chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tunix_eval.data.building.manifests import content_fields, dataset_key, manifest_fields
from tunix_eval.data.building.selection import Order, select
from tunix_eval.data.reading.traces import checked_traces, traces_text
from tunix_eval.digest import prompt_digest
from tunix_eval.errors import DataError
from tunix_eval.records import Dataset, Trace


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
    created = _aware(created_at or datetime.now(UTC), key)
    checked = _checked(traces, key)
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
        choice = _choice_fields(checked, limit, by, lower_is_better if selection_strategy == "quality" else None)
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


def _aware(created_at: datetime, key: str) -> datetime:
    if created_at.tzinfo is None:
        raise DataError(f"dataset {key}: created_at {created_at.isoformat()} has no time zone; give an aware time")
    return created_at


def _checked(traces: Iterable[Trace], key: str) -> list[Trace]:
    given = list(traces)
    if not given:
        raise DataError(f"dataset {key}: holds no trace")
    return checked_traces(given, f"dataset {key}")


def _choice_fields(
    source: Sequence[Trace], limit: int | None, by: str | None, lower_is_better: bool | None
) -> dict[str, Any]:
    """Return what provenance says of a choice: what it was made from, and those of its arguments that were given."""
    given = {"limit": limit, "by": by, "lower_is_better": lower_is_better}
    return {
        "source_trace_count": len(source),
        "source_sha256": _content_sha256(source),
        **{name: value for name, value in given.items() if value is not None},
    }


def _build_id(parent: Dataset, key: str) -> str:
    build_id = parent.manifest.get("build_id")
    if not isinstance(build_id, str):
        raise DataError(f"dataset {key}: its parent {parent.key} has no build_id; build a dataset of it first")
    return build_id


def _content_sha256(traces: Sequence[Trace]) -> str:
    return hashlib.sha256(traces_text(traces).encode("utf-8")).hexdigest()
