"""What markers say: their arguments by name, and one line where there is one too many or one that nobody reads."""

from __future__ import annotations

from typing import Any

import pytest

from tunix_eval.errors import SpecError, suggestion
from tunix_eval.specs import GenerationSpec, ModelSpec, RunSpec, TrainingSpec
from tunix_eval.tables import Table

_ARGUMENTS = {
    "tunix_dataset": ("name_or_path",),
    "tunix_renderer": ("name_or_path",),
    "tunix_train": ("path_or_name",),
    "tunix_predictions": ("path",),
    "tunix_repeat": ("n",),
    "tunix_evalset": ("name_or_path",),
    "tunix_gate": ("rule", "metric"),
    "tunix_deterministic": ("steps",),
    "tunix_device": ("kind", "min_count"),
}
_OPEN = frozenset({"tunix_train", "tunix_predictions", "tunix_gate"})
"""They take more by name; what that may be is for the table to say that it goes into."""
_TABLES: dict[str, type[Table]] = {"generation": GenerationSpec, "training": TrainingSpec, "model": ModelSpec}


def arguments(mark: pytest.Mark) -> dict[str, Any]:
    """Return a marker's arguments by name.

    Raises:
        SpecError: too many of them, one given twice, or one that the marker does not take.
    """
    names = _ARGUMENTS[mark.name]
    takes = f"marker {mark.name} takes {'one ' if len(names) == 1 else ''}{' and '.join(names)}"
    if len(mark.args) > len(names):
        more = ", then arguments by name" if mark.name in _OPEN else ""
        raise SpecError(f"{takes}{more}; found {len(mark.args)}: {', '.join(map(repr, mark.args))}")
    given = dict(zip(names, mark.args, strict=False))
    for name in mark.kwargs:
        if name in given:
            raise SpecError(f"{takes}, found {name} twice: {given[name]!r} and {mark.kwargs[name]!r}")
    odd = [name for name in mark.kwargs if name not in names and mark.name not in _OPEN]
    if odd:
        raise SpecError(f"{takes}, found {', '.join(odd)}{_way(odd[0], mark.kwargs[odd[0]], names)}")
    return {**given, **mark.kwargs}


def _way(name: str, value: object, names: tuple[str, ...]) -> str:
    """Return where an argument can be said, or which one may be meant."""
    meant = suggestion(name, names)
    if meant:
        return f".{meant}"
    said = next(
        (f"{table}={{{name!r}: {value!r}}}" for table, kind in _TABLES.items() if name in kind.model_fields), ""
    )
    if name in RunSpec.model_fields:
        said = f"{name}={value!r}"
    return f"; say it in the run file, or with tunix_train(..., {said})" if said else "; take it out"
