"""Keys with dots, which lead into the objects that an object holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def keys_to(table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the keys that lead from one object into the next to what a key with dots names; none where it is absent.

    A key that holds dots itself comes first, and a shorter one before a longer one.

    >>> keys_to({"a": {"b.c": 1}}, "a.b.c"), keys_to({"a.b": 1, "a": {"b": 2}}, "a.b"), keys_to({"a": 1}, "a.b")
    (('a', 'b.c'), ('a.b',), ())
    """
    if key in table:
        return (key,)
    for k, character in enumerate(key):
        inner = table.get(key[:k]) if character == "." else None
        if isinstance(inner, dict) and (rest := keys_to(inner, key[k + 1 :])):
            return (key[:k], *rest)
    return ()


def value_at(table: Mapping[str, Any], key: str) -> Any:
    """Return what a key with dots names, or UNSET."""
    value: Any = table if (keys := keys_to(table, key)) else msgspec.UNSET
    for step in keys:
        value = value[step]
    return value


def remove_at(table: dict[str, Any], key: str) -> None:
    """Remove what a key with dots names, and the objects that it leaves empty."""
    if keys := keys_to(table, key):
        first = keys[0]
        if len(keys) > 1:
            remove_at(table[first], key[len(first) + 1 :])
        if len(keys) == 1 or not table[first]:
            del table[first]
