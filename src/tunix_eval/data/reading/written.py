"""Numbers as a file writes them, which a double or a shorter form would not keep."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tunix_eval.data.reading.dotted import value_at

_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def is_number(value: Any) -> bool:
    """Tell whether a decoded value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number_text(line: bytes, key: str) -> str:
    """Return a number as the line has it, below a key that may have dots.

    >>> number_text(b'{"a": {"b": 1.50}}', "a.b")
    '1.50'
    """
    found: str = _as_texts(line, key)
    return found


def number_texts(line: bytes, key: str) -> list[Any]:
    """Return a list in which numbers are as the line has them.

    >>> number_texts(b'{"a": [1.50, "2"]}', "a")
    ['1.50', '2']
    """
    found: list[Any] = _as_texts(line, key)
    return found


def _as_texts(line: bytes, key: str) -> Any:
    return value_at(json.loads(line, parse_int=str, parse_float=str), key)


def with_texts(line: bytes, texts: tuple[str, ...], lists: tuple[str, ...] = ()) -> bytes | None:
    """Return a line in which numbers are texts that stand under these keys or in the lists under those.

    None where there are no such numbers, or no object. Of a key that is there twice the last is kept: look for such
    keys before.

    >>> with_texts(b'{"a": 12345678901234567890.50, "b": [1, "2"]}', ("a",), ("b",))
    b'{"a":"12345678901234567890.50","b":["1","2"]}'
    """
    try:
        parts = _decode_parts(line)
    except (ValueError, RecursionError):
        # It is no object, or no JSON: who asks has an error that says so.
        return None
    changed = {key: _quoted(parts[key]) for key in texts if key in parts and _is_raw_number(parts[key])}
    for key in lists:
        if key in parts and bytes(parts[key]).startswith(b"["):
            entries = _decode_list(parts[key])
            if any(map(_is_raw_number, entries)):
                changed[key] = msgspec.Raw(
                    msgspec.json.encode([_quoted(one) if _is_raw_number(one) else one for one in entries])
                )
    return msgspec.json.encode({**parts, **changed}) if changed else None


def _is_raw_number(raw: msgspec.Raw) -> bool:
    return bytes(raw)[:1] in b"-0123456789"


def _quoted(raw: msgspec.Raw) -> msgspec.Raw:
    return msgspec.Raw(b'"' + bytes(raw) + b'"')
