"""Baselines as committed files: one item a line, sorted, so that git shows what changed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunix_eval.encodings import foreign_encoding
from tunix_eval.errors import BaselineError
from tunix_eval.gate.baseline import DEFAULT_RUNS, Baseline, update_command

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_ROW = re.compile(r"^ *\"(?:[^\"\\\n]|\\.)*\": \[((?:null|[-+.\deE]+)(?:, (?:null|[-+.\deE]+))*)\]", re.MULTILINE)
"""An item's scores, as they are written on one line."""
_FORMAT_VERSION = 1


def read_baseline(path: Path, *, trains: bool = True) -> Baseline:
    """Read a baseline.

    Args:
        path: where it is committed.
        trains: whether its runs are trained here, for the command that a message names.

    Raises:
        BaselineError: the file is missing, damaged, in conflict after a merge, of a newer format,
            inconsistent, or mixed from several.
    """
    try:
        data = path.read_bytes()
        if reason := foreign_encoding(data):
            raise BaselineError(f"{path}: {reason}")
        text = data.decode("utf-8")
    except FileNotFoundError:
        seeds = f" of {DEFAULT_RUNS} training seeds" if trains else ""
        raise BaselineError(f"{path}: no such baseline; {update_command(trains=trains)} to make one{seeds}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: cannot be read: {error}; {_replace(None, trains)}") from None
    replace = _replace(text, trains)
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise BaselineError(f"{path}:{line}: merge conflict; restore one side whole, or {replace}")
    try:
        table = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise BaselineError(f"{where}: {error.msg}; restore it from git, or {replace}") from None
    except RecursionError:
        raise BaselineError(f"{path}: lists or tables nested too deep; {replace}") from None
    except ValueError:
        # Python converts no integer of more than 4,300 digits.
        raise BaselineError(f"{path}: an integer has too many digits; {replace}") from None
    except _DuplicateKeyError as error:
        raise BaselineError(f"{path}: key '{error}' stands twice; {replace}") from None
    return _validated(table, path, replace)


def _replace(text: str | None, trains: bool) -> str:
    """Return the advice to replace a file that cannot be read, with as many runs as its rows of scores show."""
    rows = Counter(row.count(",") + 1 for row in _ROW.findall(text or ""))
    runs = rows.most_common(1)[0][0] if rows else DEFAULT_RUNS
    return f"{update_command(trains=trains, runs=runs)} to replace it"


def baseline_text(baseline: Baseline) -> str:
    """Write a baseline as JSON with sorted keys and each item's k scores on one line."""
    return _json(baseline.model_dump(mode="json"), "") + "\n"


class _DuplicateKeyError(Exception):
    """A key that stands twice in one JSON object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return table


def _validated(table: object, path: Path, replace: str) -> Baseline:
    version = table.get("format_version") if isinstance(table, dict) else None
    if isinstance(version, int) and version > _FORMAT_VERSION:
        known = f"this tunix-eval reads {_FORMAT_VERSION}"
        raise BaselineError(f"{path}: format_version {version} is newer, {known}; upgrade tunix-eval")
    if isinstance(version, bool):
        raise BaselineError(f"{path}: format_version is {str(version).lower()}, no number; {replace}")
    try:
        return Baseline.model_validate(table)
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        more = f" (and {len(rest)} more)" if rest else ""
        where = f"{path}: {key}" if key else str(path)
        raise BaselineError(f"{where}: {reason}{more}; restore it from git, or {replace}") from None


def _json(value: Any, indent: str) -> str:
    """Write sorted keys over lines, and a list of plain values on one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{_scalar(str(key))}: {_json(value[key], inner)}" for key in sorted(value)]
        return _block("{", rows, "}", indent)
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        return _block("[", [inner + _json(one, inner) for one in value], "]", indent)
    if isinstance(value, list):
        return f"[{', '.join(_scalar(one) for one in value)}]"
    return _scalar(value)


def _block(opening: str, rows: Iterable[str], closing: str, indent: str) -> str:
    return "\n".join([opening, ",\n".join(rows), indent + closing])


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
