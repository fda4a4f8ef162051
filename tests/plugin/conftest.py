"""Fixtures of the tests that run pytest inside pytest."""

from __future__ import annotations

import pytest
from projects import Project


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """A fresh project."""
    return Project(pytester)


@pytest.fixture(params=[(), ("-n", "2")], ids=["serial", "xdist"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options for one process, and for two workers."""
    options: tuple[str, ...] = request.param
    return options
