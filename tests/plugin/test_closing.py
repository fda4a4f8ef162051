"""The end of a session's table: an item before and after training, and what to do next."""

from __future__ import annotations

import re

import pytest
from projects import RUN_FILE, Project

GATED = """
@pytest.mark.tunix_evalset("word-ending-heldout")
@pytest.mark.tunix_gate("no_worse", metric="exact")
def test_no_worse(tunix_gate):
    tunix_gate.check()
"""
SCORED = """
@pytest.mark.tunix_evalset("word-ending-heldout")
def test_learns(tunix_scorecard):
    assert tunix_scorecard["exact"].mean > 0.5
"""


def ending(result: pytest.RunResult) -> list[str]:
    """Return the lines of the table behind the last empty one."""
    lines = result.outlines
    (first,) = [number for number, line in enumerate(lines) if re.fullmatch("=+ tunix-eval =+", line)]
    last = next(number for number in range(len(lines) - 1, 0, -1) if lines[number].startswith("="))
    table = lines[first + 1 : last]
    return table[len(table) - table[::-1].index("") :] if "" in table else table


def test_reply_is_shown_before_and_after_training(project: Project, workers: tuple[str, ...]) -> None:
    project.test(SCORED)
    lines = ending(project.run("--tunix-train", *workers))
    head, *shown = lines
    assert re.match(r"words: 1 of its \d+ items, \S+$", head)
    prompt, before, after, report = (
        next(line for line in shown if line.startswith(f"  {name}")) for name in ("prompt", "before", "after", "report")
    )
    assert prompt.split(None, 1)[1]
    assert before.split()[1:] != after.split()[1:]
    assert (project.path / report.split()[1]).is_file()
    assert shown[-2] == 'next: hold it there with a gate, rule = "no_worse", in words.toml'
    assert shown[-1] == "      and --tunix-update-baselines once"
    # Nothing was trained, so that there is no news.
    assert not any(line.startswith(("next:", "  before")) for line in project.run("--tunix-train").outlines)


def test_gated_session_says_how_to_go_on(project: Project) -> None:
    project.test(GATED)
    project.run("--tunix-train", "--tunix-update-baselines").assert_outcomes(passed=1)
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 9"))
    result = project.run("--tunix-train", "-q")
    assert not any(line.startswith(("next:", "  before")) for line in result.outlines)
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 10"))
    assert ending(project.run("--tunix-train"))[-1].startswith("next: change a key of words.toml")


def test_skipped_session_says_what_to_type(project: Project, workers: tuple[str, ...]) -> None:
    project.test(SCORED)
    result = project.run("test_words.py", *workers)
    lines = ending(result)
    assert re.fullmatch(r"1 test skipped: run 'words' \([0-9a-f]{16}\) is not recorded", lines[-2])
    options = " ".join(["test_words.py", *workers])
    # The session that the test starts in a process of its own gets a --basetemp from pytester.
    assert re.sub(r"--basetemp=\S+ ", "", lines[-1]) == f"next: pytest --tunix-train {options}"
    assert not (project.path / "artifacts").exists() or not list(project.path.glob("artifacts/**/verdicts.json"))
    reasons = project.run("-rs").stdout
    reasons.fnmatch_lines(["SKIPPED*is not recorded; train it with: pytest --tunix-train"])
