"""Tables that users write, validated: every mistake in one line with its dotted key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from tunix_eval.errors import SpecError, suggestion

_Model = TypeVar("_Model", bound=BaseModel)
KEY = re.compile(r"[A-Za-z0-9._\-\[\]=,]+")
"""What names of runs and evalsets are made of: they are names of folders and files too."""


class Table(BaseModel):
    """A table whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class StrictTable(Table):
    """A table that takes no value for another: neither true for 1 nor "1" for it. A whole number is a number, though.

    Fields of tuples are declared with `strict=False`, since TOML has lists.
    """

    model_config = ConfigDict(strict=True)


def expected(words: str) -> WrapValidator:
    """Return a validator that says one thing about a value that may be of several types."""

    def check(value: Any, accept: ValidatorFunctionWrapHandler) -> Any:
        try:
            return accept(value)
        except ValidationError:
            raise ValueError(f"found {_shown(value)}, expected {words}") from None

    return WrapValidator(check)


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


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
"""What pydantic's types of errors are about, in words of TOML."""
_SHOWN_LIMIT = 80


def _explain(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    place, location = _place(detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"{place}unknown key '{location}'.{suggestion(key, _known_keys(model, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{place}'{location}' is missing"
    place += f"{location}: " if location else ""
    found = _shown(detail["input"])
    if detail["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        meant = f".{suggestion(detail['input'], known)}" if known and isinstance(detail["input"], str) else ""
        return f"{place}found {found}, expected {', '.join(known) or detail['ctx']['expected']}{meant}"
    if detail["type"] in _EXPECTED:
        return f"{place}found {found}, expected {_EXPECTED[detail['type']]}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}{message}" if detail["type"] == "value_error" else f"{place}{message}, found {found}"


def _place(parts: tuple[Any, ...]) -> tuple[str, str]:
    """Return which entry of a list a location is in, counted from 1, and the dotted key within.

    >>> _place(("gates", 0, "rule")), _place(("training", "steps"))
    (('gates, number 1: ', 'rule'), ('', 'training.steps'))
    """
    place, keys = "", list[str]()
    for part in parts:
        if isinstance(part, int):
            place, keys = f"{place}{'.'.join(keys)}, number {part + 1}: ", []
        else:
            keys.append(str(part))
    return place, ".".join(keys)


def _shown(value: Any) -> str:
    """Write a value as a run file would, and cut a long one."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN_LIMIT else f"{text[:_SHOWN_LIMIT]}..."


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys of the table at a dotted path."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
    return list(model.model_fields)
