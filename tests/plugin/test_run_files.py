"""Run files as test files: no Python needed."""

from __future__ import annotations

import pytest
from projects import GATES, RUN_FILE, Project

NO_WORSE = '\n[[gates]]\nrule = "no_worse"\nmetric = "prefix"\n'


def test_a_named_run_file_is_collected_as_items(project: Project, workers: tuple[str, ...]) -> None:
    project.write("words.toml", RUN_FILE + GATES + NO_WORSE)
    result = project.run(
        "--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1", "words.toml", "-v", *workers
    )
    result.assert_outcomes(passed=6)
    for name in ("data", "format", "train", "eval[[]word-ending-heldout[]]", "gate[[]at_least-exact[]]"):
        result.stdout.fnmatch_lines_random([f"*words.toml::{name}*"])
    project.run("words.toml").assert_outcomes(passed=6)


def test_without_train_what_needs_a_run_is_skipped(project: Project) -> None:
    project.write("words.toml", RUN_FILE + GATES)
    result = project.run("words.toml", "-rs")
    result.assert_outcomes(passed=2, skipped=3)


def test_a_gate_that_fails_fails_its_item_with_a_reason(project: Project) -> None:
    project.write("words.toml", RUN_FILE + GATES.replace("at_least", "at_most").replace("0.9", "0.5"))
    result = project.run("--tunix-train", "words.toml")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        ["words/exact: 1.000 over 70 items (95% interval 0.948 to 1.000), at most 0.5 was asked for"]
    )


def test_two_gates_of_one_rule_have_names_of_their_own(project: Project) -> None:
    project.write("words.toml", RUN_FILE + GATES + GATES)
    result = project.run("words.toml", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["words.toml::gate[[]at_least-exact[]]", "words.toml::gate[[]at_least-exact-2[]]"])


def test_a_gate_may_compare_with_another_run_file(project: Project) -> None:
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace("order = 8", "order = 1"))
    project.write("words.toml", RUN_FILE + '\n[[gates]]\nrule = "better"\nmetric = "exact"\nthan = "short.toml"\n')
    result = project.run("--tunix-train", "words.toml")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["tunix-eval: 2 runs to train, 44 steps; 0 reused; 1 evalset; 1 gate"])


def test_run_files_are_collected_where_the_ini_option_says(project: Project) -> None:
    project.run("--collect-only", "-q").stdout.no_fnmatch_line("*words.toml*")
    result = project.run("-o", "tunix_run_files=*.toml !pyproject", "--collect-only", "-q", "--ignore=pyproject.toml")
    result.stdout.fnmatch_lines(["words.toml::data"])


def test_a_toml_file_that_is_no_run_file_is_refused_in_one_line(project: Project) -> None:
    project.write("other.toml", "[tool]\n")
    result = project.run("other.toml")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    assert "other.toml: 'name' is missing" in text
    assert "Traceback" not in text


def test_epochs_count_steps_from_the_packed_rows(project: Project) -> None:
    project.write("words.toml", RUN_FILE.replace("epochs = 1", "epochs = 0.5"))
    project.run("--tunix-train", "words.toml").stdout.fnmatch_lines(["tunix-eval: 1 run to train, 11 steps*"])


def test_the_smoke_of_every_trace_through_every_stage(project: Project) -> None:
    project.write("words.toml", RUN_FILE + GATES)
    result = project.run("--tunix-train", "--tunix-max-steps", "2", "words.toml")
    result.assert_outcomes(passed=4, skipped=1)
