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


def test_the_command_decides_as_the_session_did_and_writes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("words.toml", f'correction = "holm"\n{RUN_FILE}{GATES}')
    project.write("weak.toml", RUN_FILE.replace('"words"', '"weak"').replace("order = 8", "order = 1"))
    result = project.run_apart("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "2", "words.toml")
    assert result.ret == 0
    session = json.loads(next(project.path.glob("artifacts/sessions/*/verdicts.json")).read_text(encoding="utf-8"))
    before = {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()}
    monkeypatch.chdir(project.path)
    capsys.readouterr()

    words = next(run["run_id"] for run in session["runs"] if run["name"] == "words" and run["seed"] == 0)
    assert main(["gate", words, "--gates", "words.toml", "--json"]) == 0
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert [one["rule"] for one in verdicts] == ["no_worse", "at_least", "better"]
    assert [one["adjusted_p"] is None for one in verdicts] == [False, True, False]
    assert verdicts == session["verdicts"]

    assert main(["compare", "weak", words]) == 0
    assert "B against A on word-ending-heldout, 70 items\n" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in project.path.rglob("*") if path.is_file()} == before
