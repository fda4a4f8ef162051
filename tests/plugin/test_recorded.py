"""What a session recorded is enough for the command to decide again and to compare."""

from __future__ import annotations

import json

import pytest
from projects import RUN_FILE, Project

from tunix_eval.cli import main

GATES = """
[[gates]]
rule = "no_worse"
metric = "exact"

[[gates]]
rule = "at_least"
metric = "prefix"
value = 0.5

[[gates]]
rule = "better"
metric = "exact"
than = "weak.toml"
"""


@pytest.fixture
def recorded(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project after the session that made its baseline."""
    project.write("words.toml", f'correction = "holm"\n{RUN_FILE}{GATES}')
    project.write("weak.toml", RUN_FILE.replace('"words"', '"weak"').replace("order = 8", "order = 1"))
    result = project.run_apart("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "2", "words.toml")
    assert result.ret == 0
    monkeypatch.chdir(project.path)
    return project


def test_the_command_comes_to_the_verdicts_of_the_session(
    recorded: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = json.loads(next(recorded.path.glob("artifacts/sessions/*/verdicts.json")).read_text())["runs"][0]["run_id"]
    before = {path: path.stat().st_mtime_ns for path in recorded.path.rglob("*") if path.is_file()}
    assert main(["gate", run_id, "--gates", "words.toml", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)["verdicts"]
    session = json.loads(next(recorded.path.glob("artifacts/sessions/*/verdicts.json")).read_text())["verdicts"]
    assert [one["rule"] for one in ours] == ["no_worse", "at_least", "better"]
    assert ours == session
    assert {path: path.stat().st_mtime_ns for path in recorded.path.rglob("*") if path.is_file()} == before


def test_the_command_compares_runs_of_a_session(recorded: Project, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [path.parent.name for path in recorded.manifests()]
    assert main(["compare", "weak", *(one for one in ids if main(["gate", one, "--rule", "better", "--than", "weak"]) == 0)]) == 0
    assert "B against A on word-ending-heldout, " in capsys.readouterr().out
