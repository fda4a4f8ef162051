"""Fixtures of the tests of the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import Records


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Records:
    """A project without runs, and the current folder."""
    monkeypatch.chdir(tmp_path)
    return Records(tmp_path, capsys)
