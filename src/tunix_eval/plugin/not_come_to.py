"""Tests that a session does not come to: under --tunix-plan, or because a signal has ended it. Light."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def keep_snapshots(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Have syrupy take items for skipped: else it calls their snapshots unused, and --snapshot-update deletes them."""
    syrupy = config.pluginmanager.get_plugin("syrupy")
    if syrupy is None:
        return
    for item in items:
        report = pytest.TestReport(item.nodeid, item.location, {}, outcome="skipped", longrepr=None, when="setup")
        syrupy.pytest_runtest_logreport(report)
