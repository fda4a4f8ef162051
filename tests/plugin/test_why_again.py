"""Why a session trains a run of which one is recorded: it names what is new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import RUN_FILE, Project

TEST = """
def test_run(tunix_run):
    assert tunix_run.run_id
"""
TRACE = {"trace_version": "1.0", "steps": [{"i": 0, "type": "note", "content": "b"}]}
AGAIN = "words is trained again: "


def trained(project: Project, run_file: str = RUN_FILE) -> str:
    """Train the run of a run file, and return the first digits of its id."""
    project.write("words.toml", run_file)
    project.test(TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    return max(project.manifests(), key=lambda path: path.stat().st_mtime_ns).parent.name[:8]


def planned(project: Project, *options: str) -> str:
    """Return what the plan says of the run that is to be trained."""
    lines = project.run("--tunix-train", "--tunix-plan", *options).outlines
    (place,) = [number for number, line in enumerate(lines) if line.startswith("  train  words")]
    return lines[place + 1].removeprefix("         for ")


def test_changed_key_is_named_with_both_values(project: Project) -> None:
    first = trained(project)
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 7"))
    assert planned(project) == f"options.order 8 -> 7 (since {first})"
    session = project.run("--tunix-train")
    session.stdout.fnmatch_lines([f"*{AGAIN}options.order 8 -> 7 (since {first})"])
    assert AGAIN not in project.run("--tunix-train", "-q").stdout.str()


def test_changed_trace_is_counted_and_named(project: Project) -> None:
    lines = [
        json.dumps(TRACE | {"id": f"t-{number}", "prompt": f"p{number}", "final_answer": "a"}) for number in range(80)
    ]
    path = project.write("data/traces.jsonl", "\n".join(lines))
    first = trained(project, RUN_FILE.replace('"word-ending-v1"', '"data/traces.jsonl"'))
    path.write_text("\n".join(lines).replace('"p7"', '"q"'), encoding="utf-8")
    assert planned(project) == f"traces: 1 of 80 changed (t-7) (since {first})"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('scorers = ["exact", "prefix"]', 'scorers = ["exact"]\nstyle = "tagged"', "style plain -> tagged"),
        ("rows = 8", "rows = 4", "rows 8 -> 4"),
        ('evalsets = ["word-ending-heldout"]', "seed = 3", "seed 0 -> 3"),
    ],
)
def test_what_trains_otherwise_is_the_reason(project: Project, old: str, new: str, said: str) -> None:
    first = trained(project)
    project.write("words.toml", RUN_FILE.replace(old, new))
    assert said in planned(project)
    assert planned(project).endswith(f"(since {first})")


def test_thread_pool_is_a_reason(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPROC", "3")
    first = trained(project)
    monkeypatch.setenv("NPROC", "5")
    assert planned(project) == f"thread pool 3 -> 5 (since {first})"


def test_first_run_and_retraining_have_no_reason(project: Project) -> None:
    project.test(TEST)
    assert AGAIN not in project.run("--tunix-train").stdout.str()
    again = project.run("--tunix-retrain", "--tunix-train")
    again.assert_outcomes(passed=1)
    assert AGAIN not in again.stdout.str()
    assert list(Path(project.path).glob("artifacts/runs/*/traces.jsonl"))
