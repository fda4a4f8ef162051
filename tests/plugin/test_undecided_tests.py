"""Tests and gates that would decide nothing: red, or said."""

from __future__ import annotations

import pytest
from projects import GATES, RUN_FILE, WORKERS, Project

GATE = "@pytest.mark.tunix_gate('at_least', metric='exact', value=0.5)\n"


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (
            "@pytest.mark.tunix_evalset('word-ending-heldout')\n@pytest.mark.tunix_evalset('addition-heldout')\n",
            "test_two is marked tunix_evalset('addition-heldout') and tunix_evalset('word-ending-heldout'), and *",
        ),
        (
            "@pytest.mark.tunix_train('words.toml')\n@pytest.mark.tunix_predictions('replies.jsonl')\n",
            "test_two is marked tunix_predictions('replies.jsonl') and tunix_train('words.toml'), and *",
        ),
        ("@pytest.mark.tunix_renderer('qa')\n@pytest.mark.tunix_renderer(name_or_path='plain')\n", "test_two is*"),
    ],
    ids=["evalset", "source", "renderer"],
)
def test_two_markers_of_one_kind_are_refused(project: Project, marks: str, said: str) -> None:
    project.test(f"{GATE}{marks}def test_two(tunix_gate, tunix_renderer):\n    tunix_gate.check()\n")
    result = project.run("--tunix-train")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
    assert not project.manifests()


def test_a_function_may_replace_what_its_module_says(project: Project) -> None:
    mark = "@pytest.mark.tunix_evalset('word-ending-heldout')\n"
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"'))
    source = "@pytest.mark.tunix_train('short.toml')\n"
    body = "    assert tunix_gate.spec.name == 'short'\n    tunix_gate.check()\n"
    project.test(f"{GATE}{source}{mark}{mark}def test_one(tunix_gate):\n{body}")
    project.run("--tunix-train").assert_outcomes(passed=1)


@pytest.mark.parametrize("body", ["pass", "assert repr(tunix_gate)"])
def test_a_gate_fixture_that_decides_nothing_fails(project: Project, body: str) -> None:
    project.test(
        f"def test_idle(tunix_gate):\n    {body}\n"
        "def test_called(tunix_gate):\n    tunix_gate.at_least('exact', 0.5)\n"
        "@pytest.mark.xfail(strict=True)\ndef test_broken(tunix_gate):\n    assert False\n"
    )
    result = project.run("--tunix-train")
    result.assert_outcomes(passed=1, failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["takes tunix_gate and decides no gate; mark the test with tunix_gate(rule, metric*"])


@pytest.mark.parametrize("place", ["class", "module"])
def test_a_marker_that_no_test_decides_fails(project: Project, place: str, workers: tuple[str, ...]) -> None:
    tests = "def test_plain():\n    pass\ndef test_card(tunix_scorecard):\n    pass\n"
    if place == "class":
        tests = f"{GATE}class TestGate:\n" + tests.replace("def ", "    def ").replace("()", "(self)").replace(
            "(tunix", "(self, tunix"
        ).replace("    pass", "        pass")
    else:
        tests = f"pytestmark = [pytestmark, {GATE.strip().removeprefix('@')}]\n{tests}"
    project.test(tests)
    result = project.run("--tunix-train", *workers)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["* is marked tunix_gate and none of its tests takes the fixture tunix_gate, which *"])
    # Of single tests that are named, nothing is said of the others.
    name = "TestGate::" if place == "class" else ""
    project.run(f"test_words.py::{name}test_card", *workers).assert_outcomes(passed=1)


def test_gates_of_files_that_are_not_collected_are_named(project: Project, workers: tuple[str, ...]) -> None:
    project.write("words.toml", RUN_FILE + GATES)
    project.test("def test_card(tunix_scorecard):\n    pass\n")
    project.test(f"{GATE}def test_gate(tunix_gate):\n    tunix_gate.check()\n", "test_gates.py")
    project.write("test_other.py", "def test_other():\n    assert 'tunix_gate'\n")
    said = "note: test_gates.py: holds gates of run 'words' and is not among the tests, so that they are not decided"
    text = " ".join(project.run("--tunix-train", "words.toml").stdout.str().split())
    assert said in text
    assert "test_words.py: holds" not in text
    assert "test_other.py: holds" not in text
    text = " ".join(project.run("test_words.py", "-k", "card", *workers).stdout.str().split())
    assert said in text
    assert "words.toml: its [[gates]] at_least(exact) are decided only where the file itself is named" in text
    assert "holds gates" not in project.run("-k", "card").stdout.str()


def test_a_pattern_that_matches_no_run_file_is_said(project: Project, workers: tuple[str, ...]) -> None:
    project.write("build/lost.toml", RUN_FILE)
    text = (project.path / "pyproject.toml").read_text()
    ini = '[tool.pytest.ini_options]\ntunix_run_files = ["run/*.toml", "words.toml", "lost.toml"]\n'
    project.write("pyproject.toml", text.replace("[tool.pytest.ini_options]\n", ini))
    project.write("test_other.py", "def test_other():\n    pass\n")
    said = "tunix-eval: tunix_run_files: '{}' matches no run file below the root directory"
    result = project.run("-q", "test_other.py")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([said.format("run/[*].toml"), said.format("lost.toml")])
    result.stdout.no_fnmatch_line(said.format("words.toml"))
    assert project.run("test_other.py", "--tunix-require", *workers).ret == pytest.ExitCode.TESTS_FAILED
    assert not (project.path / "artifacts").exists()


@pytest.mark.parametrize(
    ("marker", "workers"),
    [(False, ()), (True, ()), (True, WORKERS)],
    ids=["run-file", "marker", "marker-xdist"],
)
def test_a_gate_that_cannot_be_decided_is_said_before_training(
    project: Project, marker: bool, workers: tuple[str, ...]
) -> None:
    wrong = "words/exact: value 95 is on the wrong scale: exact lies from 0 to 1, so that 95 points are 0.95"
    if marker:
        mark = "@pytest.mark.tunix_gate('at_least', metric='exact', value=95)\n"
        project.test(
            f"def test_card(tunix_scorecard):\n    pass\n{mark}def test_gate(tunix_gate):\n    tunix_gate.check()\n"
        )
    else:
        project.write(
            "words.toml",
            RUN_FILE
            + GATES.replace("0.9", "95")
            + '[[gates]]\nrule = "non_inferior"\nmetric = "exact"\nmargin = 0.1\nruns = 3\n',
        )
    files = ("test_words.py",) if marker else ("words.toml",)
    result = project.run("--tunix-train", *files, *workers)
    assert result.parseoutcomes()["errors"] == 2 - marker
    lines = result.stdout.lines
    at = next(number for number, line in enumerate(lines) if line.startswith("  error  ") and wrong in line)
    assert at < next(number for number, line in enumerate(lines) if line.startswith("training words"))
    if not marker:
        assert any("no such baseline; run `pytest --tunix-train --tun" in line for line in lines[at - 1 : at + 2])
    # Two more seeds are what the gate alone would have needed.
    assert len(project.manifests()) == 1
