"""Baselines as committed files: one item a line, sorted, so that git shows what changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunix_eval.errors import BaselineError
from tunix_eval.gate.baseline import UPDATE, Baseline

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_FORMAT_VERSION = 1


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BaselineError: the file is missing, damaged, in conflict after a merge, of a newer format or
            inconsistent.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BaselineError(
            f"{path}: no such baseline; {UPDATE} to make it (with --tunix-baseline-runs 5 it shows seed noise)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: cannot be read: {error}") from None
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise BaselineError(f"{path}:{line}: merge conflict; restore one side, or {UPDATE} to replace it")
    try:
        table = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise BaselineError(f"{where}: {error.msg}; restore it from git, or {UPDATE} to replace it") from None
    except RecursionError:
        raise BaselineError(f"{path}: lists or tables nested too deep; {UPDATE} to replace it") from None
    except ValueError:
        # Python converts no integer of more than 4,300 digits.
        raise BaselineError(f"{path}: an integer has too many digits; {UPDATE} to replace it") from None
    except _DuplicateKeyError as error:
        raise BaselineError(f"{path}: key '{error}' stands twice; {UPDATE} to replace it") from None
    return _validated(table, path)


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


def _validated(table: object, path: Path) -> Baseline:
    version = table.get("format_version") if isinstance(table, dict) else None
    if isinstance(version, int) and version > _FORMAT_VERSION:
        known = f"this tunix-eval reads {_FORMAT_VERSION}"
        raise BaselineError(f"{path}: format_version {version} is newer, {known}; upgrade tunix-eval")
    if isinstance(version, bool):
        raise BaselineError(f"{path}: format_version is {str(version).lower()}, no number; {UPDATE} to replace it")
    try:
        return Baseline.model_validate(table)
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        more = f" (and {len(rest)} more)" if rest else ""
        where = f"{path}: {key}" if key else str(path)
        raise BaselineError(f"{where}: {reason}{more}; {UPDATE} to replace it") from None


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
