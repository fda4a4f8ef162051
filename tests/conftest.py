"""Fixtures of every test."""

from __future__ import annotations

import pytest

# What pytest and terminals read: CI and BUILD_NUMBER print failures whole in the summary.
READ_BY_TERMINALS = ("CI", "BUILD_NUMBER", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS")


@pytest.fixture(autouse=True)
def same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print the same in CI, on a desk and in a pipe."""
    for name in READ_BY_TERMINALS:
        monkeypatch.delenv(name, raising=False)
