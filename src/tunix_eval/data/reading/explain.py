"""Why a line is no record: slow, exact, and in words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from tunix_eval.errors import suggestion
from tunix_eval.records import Step, Turn

MAX_DEPTH = 100
"""Levels of nesting in one line."""
MAX_DIGITS = 308
"""Of an integer; with more it is no finite double, and most programs read it as infinity or not at all."""

_INNER: dict[str, type[Any]] = {"steps": Step, "messages": Turn}
_PLACE = re.compile(r" - at `\$\.?([\w.\[\]]*)`\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONG_INTEGER = re.compile(rb"[0-9]{%d}" % (MAX_DIGITS + 1))
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"


def explain(line: bytes, error: Exception, record: type[Any]) -> str:
    """Return why a line could not be decoded as a record."""
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"is not UTF-8 at byte {broken.start + 1}; save the file as UTF-8"
    if isinstance(error, msgspec.ValidationError):
        return _explain_schema(str(error), text, record)
    if "\0" in text:
        return f"holds a NUL byte at column {text.index(chr(0)) + 1}; the file is damaged, or no UTF-8 text"
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as broken:
        return f"is not JSON at column {broken.colno}: {broken.msg}"
    except (ValueError, RecursionError) as broken:
        return f"is not JSON: {broken}"
    if _SURROGATE.search(text):
        return "is not JSON: holds half of a surrogate pair, which is no character"
    return f"is not JSON: {error}"


def structural_flaw(line: bytes) -> str | None:
    """Return what the schema does not see in a line that fits it: repeated keys, depth, integers without end."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        noted = dict(pairs)
        if len(noted) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return noted

    try:
        value = json.loads(line, object_pairs_hook=note)
    except RecursionError:
        return _TOO_DEEP
    if depth(value) > MAX_DEPTH:
        return _TOO_DEEP
    if repeated:
        return f"{one_line(repeated[0])}: occurs more than once in one object"
    return _long_integer(value) if _LONG_INTEGER.search(line) else None


def depth(value: Any) -> int:
    """Return how many levels of lists and objects a decoded value has, and one for what they hold."""
    levels, level = 0, [value]
    while level:
        levels += 1
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return levels


def _long_integer(value: Any, path: str = "") -> str | None:
    """Name the first integer that has too many digits."""
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        return f"{one_line(path)}: has {len(str(abs(value)))} digits, limit {MAX_DIGITS}; write it as a text"
    if isinstance(value, dict):
        inner = ((f"{path}.{key}" if path else key, held) for key, held in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[{k}]", held) for k, held in enumerate(value))
    else:
        return None
    return next(filter(None, (_long_integer(held, place) for place, held in inner)), None)


def first_blank(record: Any, fields: Sequence[str]) -> str | None:
    """Return the flaw of the first of the fields that holds only white space."""
    for field in fields:
        value = getattr(record, field)
        if value is not None and (not value or value.isspace()):
            return f"{field}: holds only white space" if value else f"{field}: is empty"
    return None


def message_flaw(messages: Sequence[Turn]) -> str | None:
    """Return what is wrong with the earlier messages of a trace or an item."""
    for k, turn in enumerate(messages):
        if turn.role == "system":
            return f"messages[{k}].role: is system; expected user or assistant, and the system text under system"
        if reason := first_blank(turn, ("content", "reasoning_content")):
            return f"messages[{k}].{reason}"
    return None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; use null")


def _explain_schema(message: str, text: str, record: type[Any]) -> str:
    place = _PLACE.search(message)
    reason, path = (message[: place.start()], place[1]) if place else (message, "")
    prefix = f"{path}." if path else ""
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        known = _INNER.get(path.partition("[")[0], record).__struct_fields__
        key = one_line(match[1])
        return f"{prefix}{key}: unknown key; known: {', '.join(known)}.{suggestion(key, known)}"
    if match := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return f"{prefix}{match[1]}: is missing"
    if reason == "Expected `str` of length >= 1":
        return f"{path}: is empty"
    if match := re.fullmatch(r"Expected `(str|array)` of length <= (\d+)", reason):
        unit, size = "characters" if match[1] == "str" else "entries", _size_at(text, path)
        return f"{path}: has {size if size > int(match[2]) else 'too many'} {unit}, limit {match[2]}"
    reason = one_line(reason[0].lower() + reason[1:].replace("`", ""))
    return f"{path}: {reason}" if path else reason


def one_line(text: str) -> str:
    r"""Write what would leave the line, or hide in it, as an escape, and cut a long text.

    >>> one_line("a\nb\x1b[1m")
    'a\\nb\\x1b[1m'
    """
    shown = text if len(text) <= 100 else f"{text[:100]}.."
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in shown)


def _size_at(text: str, path: str) -> int:
    """Return the length of what stands at a path, or 0 where that cannot be told."""
    try:
        value = json.loads(text)
        for key, index in re.findall(r"([A-Za-z_]+)|\[(\d+)\]", path):
            value = value[key] if key else value[int(index)]
        return len(value)
    except (ValueError, RecursionError, TypeError, LookupError):
        # What follows the misfit was never looked at: it may be no JSON, or give the key once more.
        return 0
