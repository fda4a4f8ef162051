"""Keys with dots: what they name, and what is left when that is taken out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tunix_eval.data.reading.dotted import keys_to, remove_at, value_at


@pytest.mark.parametrize(
    ("table", "key", "keys", "left"),
    [
        ({"a": 1, "b": 2}, "a", ("a",), {"b": 2}),
        ({"a": {"b": 1}}, "a.b", ("a", "b"), {}),
        ({"a": {"b": 1, "c": 2}}, "a.b", ("a", "b"), {"a": {"c": 2}}),
        ({"a": {"a": {"a": 1}}, "b": 2}, "a.a.a", ("a", "a", "a"), {"b": 2}),
        ({"a.b": 1, "a": {"b": 2}}, "a.b", ("a.b",), {"a": {"b": 2}}),
        ({"a.b": {"c": 1}, "a": {}}, "a.b.c", ("a.b", "c"), {"a": {}}),
        ({"a": {"b.c": 1}}, "a.b.c", ("a", "b.c"), {}),
        ({"a": {"": {"": 1}}}, "a..", ("a", "", ""), {}),
        ({"a": [1]}, "a.0", (), {"a": [1]}),
        ({"a": {"b": None}}, "a.b.c", (), {"a": {"b": None}}),
        ({}, "", (), {}),
    ],
)
def test_a_key_leads_to_its_value_and_removing_it_leaves_no_empty_object(
    table: dict[str, Any], key: str, keys: tuple[str, ...], left: dict[str, Any]
) -> None:
    assert keys_to(table, key) == keys
    value = value_at(table, key)
    assert value is msgspec.UNSET if not keys else value is not msgspec.UNSET
    remove_at(table, key)
    assert table == left
