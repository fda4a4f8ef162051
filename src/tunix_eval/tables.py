"""Tables that users write, validated: every mistake in one line with its dotted key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tunix_eval.errors import SpecError, suggestion

_Model = TypeVar("_Model", bound=BaseModel)
KEY = re.compile(r"[A-Za-z0-9._\-\[\]=,]+")
"""What names of runs and evalsets are made of: they are names of folders and files too."""


class Table(BaseModel):
    """A table whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def is_path(reference: str) -> bool:
    """Tell whether a reference is a path (it has a `/` or a file suffix) rather than a registered name.

    >>> is_path("addition.toml"), is_path("sets/dev"), is_path("addition-v1"), is_path("golden-v1.2")
    (True, True, False, False)
    """
    return "/" in reference or Path(reference).suffix in {".jsonl", ".toml", ".json", ".gz", ".parquet", ".model"}


def resolve_reference(reference: str, folder: Path) -> str:
    """Return a registered name as it is, and a path as an absolute path relative to the folder."""
    return str((folder / reference).resolve()) if is_path(reference) else reference


def validated(model: type[_Model], table: Mapping[str, Any], *, where: str) -> _Model:
    """Validate a table, and say every mistake in it with its dotted key, and a suggestion for unknown keys."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        # A misspelt key is the cause where another is missing, so it comes first.
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        lines = [_explain(model, detail) for detail in details]
        raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"unknown key '{location}'.{suggestion(key, _known_keys(model, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"'{location}' is missing"
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        known = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        found = detail["input"]
        return f"{location}: found '{found}', expected {', '.join(known)}.{suggestion(found, known)}"
    message = detail["msg"].removeprefix("Value error, ")
    found = "" if detail["type"] == "value_error" else f", found {detail['input']!r}"
    return f"{location}: {message}{found}" if location else message


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys of the table at a dotted path."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
    return list(model.model_fields)
