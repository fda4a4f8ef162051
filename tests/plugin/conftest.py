"""Fixtures of the tests that run pytest inside pytest."""

from __future__ import annotations

import pytest
from projects import WORKERS, Project


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """A fresh project."""
    return Project(pytester)


@pytest.fixture(params=[(), WORKERS], ids=["serial", "xdist"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options for one process, and for two workers.

    A test takes it where the session that starts workers and the workers could do different things: what travels
    between them, what they lock or write together, how they stop, what is selected in each. The text of one more
    message on a way that another test takes with workers is tested in one process.
    """
    options: tuple[str, ...] = request.param
    return options
