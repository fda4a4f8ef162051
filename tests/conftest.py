"""Fixtures of every test."""

from __future__ import annotations

import signal

import pytest

collect_ignore = ["conftest.py"]
"""It holds no doctests, and as a module it would have the name of the others."""

# What pytest and terminals read: CI and BUILD_NUMBER print failures whole in the summary.
READ_BY_TERMINALS = ("CI", "BUILD_NUMBER", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS")


@pytest.fixture(autouse=True, scope="session")
def heeded_interrupts() -> None:
    """Heed SIGINT, which is ignored where the tests are a shell's background job; children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print the same in CI, on a desk and in a pipe."""
    for name in READ_BY_TERMINALS:
        monkeypatch.delenv(name, raising=False)
