"""Digests: equal values give equal digests, others do not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.digest import canonical_json, normalised_prompt, prompt_digest, sha256_file, sha256_json, sha256_source

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_of_keys_does_not_count(table: dict[str, object]) -> None:
    assert sha256_json(table) == sha256_json(dict(reversed(table.items())))


@given(JSON, JSON)
def test_different_values_have_different_canonical_text(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def test_nan_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        sha256_json({"loss": float("nan")})


@pytest.mark.parametrize(
    "same",
    [
        "what is 2+2?",
        " What  is\n2+2? ",
        "WHAT IS 2+2?",
        "what is\u00a02+2?",
        "What is \uff12+2?",
        "What is 2+2\ufe56",
        "What\u200b is 2+2?",
    ],
)
def test_prompts_that_differ_in_form_only_are_one(same: str) -> None:
    assert prompt_digest(same) == prompt_digest("What is 2+2?")


def test_quotes_and_dashes_do_not_make_another_prompt() -> None:
    assert prompt_digest("Is \u201c\u22125\u201d Tom\u2019s?") == prompt_digest('Is "-5" Tom\'s?')


def test_prompts_that_differ_are_two() -> None:
    assert prompt_digest("What is 2+3?") != prompt_digest("What is 2+2?")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalised_prompt(text)
    assert normalised_prompt(once) == once


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_a_package_has_one_digest_wherever_it_lies_and_another_once_a_line_changes(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("a = 1\n")
        (tmp_path / name / "inner" / "b.py").write_text("b = 2\n")
    before = sha256_source(tmp_path / "here")
    assert before == sha256_source(tmp_path / "there")
    (tmp_path / "here" / "inner" / "b.py").write_text("b = 3\n")
    assert sha256_source(tmp_path / "here") != before
    assert sha256_source(tmp_path / "here" / "__init__.py") == sha256_source(tmp_path / "there" / "__init__.py")
