"""The audit of pinned requirements: what fails it, and what is only said."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
SOUND = {"name": "a", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1.0)"}
VULNERABLE = {"name": "c", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}


@pytest.fixture(scope="module")
def judge() -> Callable[[list[dict[str, Any]]], int]:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.judge


@pytest.mark.parametrize(
    ("packages", "status", "line"),
    [
        ([SOUND], 0, "audit: 1 of 1 packages audited, 0 vulnerable"),
        ([SOUND, VULNERABLE], 1, "vulnerable: c 1.0: CVE-1; fixed in 1.1"),
        ([UNKNOWN, VULNERABLE], 1, "vulnerable: c 1.0: CVE-1; fixed in 1.1"),
        ([SOUND, UNKNOWN], 1, "not audited: b"),
        ([UNKNOWN, UNKNOWN], 0, "NOT AUDITED: the vulnerability service cannot be reached; no package was checked"),
        ([], 1, "audit: 0 of 0 packages audited, 0 vulnerable"),
    ],
)
def test_only_an_audit_that_reached_nothing_is_let_through_unaudited(
    judge: Callable[[list[dict[str, Any]]], int],
    capsys: pytest.CaptureFixture[str],
    packages: list[dict[str, Any]],
    status: int,
    line: str,
) -> None:
    assert judge(packages) == status
    assert line in capsys.readouterr().out
