"""Tables that users write, validated: every mistake in one line with its dotted key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli
from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from tunix_eval.encodings import foreign_encoding
from tunix_eval.errors import SpecError, suggestion
from tunix_eval.figures import SHOWN_LIMIT, bytes_text, cut, printable
from tunix_eval.nearby import near_file

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
            raise ValueError(f"found {shown(value)}, expected {words}") from None

    return WrapValidator(check)


def is_path(reference: str) -> bool:
    """Tell whether a reference is a path (it has a `/` or a file suffix) rather than a registered name.

    >>> is_path("addition.toml"), is_path("sets/dev"), is_path("addition-v1"), is_path("golden-v1.2")
    (True, True, False, False)
    """
    return "/" in reference or Path(reference).suffix in {".jsonl", ".toml", ".json", ".gz", ".parquet", ".model"}


def resolve_reference(reference: str, folder: Path) -> str:
    """Return a registered name as it is, and a path as an absolute path relative to the folder."""
    return str(resolve_path(reference, folder)) if is_path(reference) else reference


def resolve_path(path: str, folder: Path) -> Path:
    """Return an absolute path, relative to the folder. Nothing need be there.

    Raises:
        SpecError: the system can have no such path.
    """
    try:
        found = (folder / path).resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            found.stat()
    # A NUL and half a surrogate pair are ValueErrors, a loop of links is a RuntimeError before Python 3.13.
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{shown(path)} is no path that this system can have: {printable(reason)}") from None
    return found


_MOST_BYTES = 2**20
"""Of a TOML file. The time of parsing grows with the square of what it holds."""


def read_table(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file; `what` names its kind.

    Raises:
        SpecError: there is none, or it is no TOML, with line and column where the parser says them.
    """
    try:
        if path.exists() and not path.is_file():
            raise SpecError(f"{path}: is no file; expected a {what}")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise SpecError(f"{path}: is longer than {bytes_text(_MOST_BYTES)}; a {what} is shorter")
        if reason := foreign_encoding(data):
            raise SpecError(f"{path}: {reason}")
        return tomli.loads(data.decode("utf-8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: no such {what}.{near_file(path)}".removesuffix(".")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}: {printable(str(error))}") from None
    except RecursionError:
        raise SpecError(f"{path}: {_TOO_DEEP}") from None
    except ValueError:
        # The parser leaves this one to Python, which converts no integer of more than 4,300 digits.
        raise SpecError(f"{path}: an integer has more than 4,300 digits; {_INTEGERS}") from None


_MOST_LEVELS = 32
_TOO_DEEP = f"lists or tables are nested deeper than {_MOST_LEVELS} levels"
_INTEGERS = "integers have 64 bits"


def check_plain(table: Any, *, where: str) -> None:
    """Refuse what no later stage has a place for: deep nesting, and integers that TOML does not have.

    Raises:
        SpecError: naming the key.
    """
    inside: list[tuple[tuple[Any, ...], Any]] = [((), table)]
    while inside:
        parts, value = inside.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            place, location = _place(parts)
            digits = int(value.bit_length() * 0.30103) + 1
            raise SpecError(f"{where}: {place}{location}: an integer of about {digits} digits; {_INTEGERS}")
        if isinstance(value, Mapping | list | tuple) and len(parts) > _MOST_LEVELS:
            raise SpecError(f"{where}: {printable(str(parts[0]))}: {_TOO_DEEP}")
        items: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, Mapping):
            items = value.items()
        elif isinstance(value, list | tuple):
            items = enumerate(value)
        inside += [((*parts, key), one) for key, one in items]


def validated(model: type[_Model], table: Mapping[str, Any], *, where: str) -> _Model:
    """Validate a table, and say every mistake in it with its dotted key, and a suggestion for unknown keys."""
    check_plain(table, where=where)
    try:
        return model.model_validate(table)
    except ValidationError as error:
        # A misspelt key is the cause where another is missing, so it comes first.
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        lines = [_explain(model, detail) for detail in details[:_SHOWN_MISTAKES]]
        if more := len(details) - len(lines):
            lines.append(f"and {more:,} more mistake{'s'[: more != 1]}")
        raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None


_SHOWN_MISTAKES = 20
"""Of one file, as many as of a data file."""
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
_LENGTHS = {"too_long": ("most", "max_length"), "too_short": ("least", "min_length")}
"""Of lists."""
_LIMITS = {
    "greater_than": "greater than",
    "greater_than_equal": "greater than or equal to",
    "less_than": "less than",
    "less_than_equal": "less than or equal to",
}


def _explain(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    place, location = _place(detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])[:SHOWN_LIMIT]
        return f"{place}unknown key '{location}'.{suggestion(key, _known_keys(model, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{place}'{location}' is missing"
    place += f"{location}: " if location else ""
    found = shown(detail["input"])
    if detail["type"] == "literal_error":
        known = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        meant = f".{suggestion(detail['input'], known)}" if known and isinstance(detail["input"], str) else ""
        return f"{place}found {found}, expected {', '.join(known) or detail['ctx']['expected']}{meant}"
    if detail["type"] in _EXPECTED:
        return f"{place}found {found}, expected {_EXPECTED[detail['type']]}"
    if detail["type"] in _LENGTHS:
        word, key = _LENGTHS[detail["type"]]
        return f"{place}found {found}, expected at {word} {detail['ctx'][key]} of them"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in _LIMITS:
        # Pydantic writes 1e30 with all of its digits.
        (limit,) = detail["ctx"].values()
        message = f"Input should be {_LIMITS[detail['type']]} {f'{limit:g}' if isinstance(limit, float) else limit}"
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
            keys.append(cut(str(part)))
    return place, ".".join(keys)


def shown(value: Any) -> str:
    """Write a value as a run file would, and cut a long one."""
    return cut(str(value).lower() if isinstance(value, bool) else repr(value))


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys of the table at a dotted path."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
    return list(model.model_fields)
