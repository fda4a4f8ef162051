"""Every option, and under xdist those that workers hear of."""

from __future__ import annotations

import json
import re

import pytest
from projects import WORKERS, Project

RUN_TEST = "def test_run(tunix_run):\n    assert tunix_run.metrics\n"
GATE_TEST = """
@pytest.mark.tunix_gate("at_least", metric="exact", value=0.9)
def test_gate(tunix_gate):
    tunix_gate.check()
"""


def test_a_run_that_is_missing_is_trained_once_and_then_reused(project: Project) -> None:
    project.test(RUN_TEST + "def test_again(tunix_run):\n    assert tunix_run.manifest.steps == 22\n")
    first = project.run("--tunix-train")
    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(["tunix-eval: 1 run to train, 22 steps; 0 reused; 0 evalsets; 0 gates"])
    (manifest,) = project.manifests()
    before = manifest.stat().st_mtime_ns
    second = project.run()
    second.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["tunix-eval: 0 runs to train; 1 reused; 0 evalsets; 0 gates", "*reused"])
    assert manifest.stat().st_mtime_ns == before


def test_two_workers_that_need_one_run_train_it_once(project: Project) -> None:
    for name in ("test_a.py", "test_b.py", "test_c.py", "test_d.py"):
        project.test(RUN_TEST, name)
    result = project.run("--tunix-train", "-n", "2")
    result.assert_outcomes(passed=4)
    assert result.stdout.str().count("trained") == 1
    assert len(project.manifests()) == 1


def test_without_train_a_missing_run_skips_and_says_what_to_type(project: Project, workers: tuple[str, ...]) -> None:
    project.test(RUN_TEST)
    result = project.run("-rs", *workers)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*run 'words' (????????????????) is not recorded; train it with: pytest --tunix-train*"]
    )
    assert not project.manifests()


def test_retrain_replaces_what_is_recorded_once_a_session(project: Project, workers: tuple[str, ...]) -> None:
    for name in ("test_a.py", "test_b.py", "test_c.py"):
        project.test(RUN_TEST, name)
    project.run("--tunix-train").assert_outcomes(passed=3)
    (manifest,) = project.manifests()
    weights = json.loads(manifest.read_text())["weights_sha256"]
    before = manifest.stat().st_mtime_ns
    result = project.run("--tunix-retrain", *workers)
    result.assert_outcomes(passed=3)
    assert result.stdout.str().count(" trained") == 1
    (manifest,) = project.manifests()
    assert manifest.stat().st_mtime_ns > before
    assert json.loads(manifest.read_text())["weights_sha256"] == weights


def test_plan_says_what_would_happen_and_does_nothing(project: Project, workers: tuple[str, ...]) -> None:
    project.test(RUN_TEST + GATE_TEST + "def test_more(tunix_train):\n    tunix_train('words.toml', seed=3)\n")
    result = project.run("--tunix-train", "--tunix-plan", *workers)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "tunix-eval: 1 run to train, 22 steps; 0 reused; 1 evalset; 1 gate; plus what test bodies ask for",
            "  train  words  ????????????????  22 steps",
            "  eval   word-ending-heldout",
            "  gate   at_least(exact) of words on word-ending-heldout",
        ]
    )
    assert not (project.path / "artifacts").exists()


def test_plan_lists_every_mistake_and_fails(project: Project, workers: tuple[str, ...]) -> None:
    project.test(
        "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
    )
    result = project.run("--tunix-train", "--tunix-plan", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "tunix-eval: 0 runs to train; 0 reused; *1 test that cannot run",
            "  error  test_words.py::test_gate: *no such baseline*",
        ]
    )


def test_the_table_begins_below_its_heading(project: Project) -> None:
    project.test("def test_loss(tunix_run):\n    assert tunix_run.manifest.steps\n")
    lines = project.run("--tunix-train").outlines + project.run().outlines
    headings = [place for place, line in enumerate(lines) if "= tunix-eval =" in line]
    assert [lines[place + 1].split()[0] for place in headings] == ["runs", "runs"]


def test_plan_of_a_session_without_tests_of_ours_says_so(project: Project) -> None:
    project.write("test_other.py", "def test_other():\n    assert True\n")
    project.run("--tunix-plan").stdout.fnmatch_lines(["tunix-eval: no test uses it; nothing to do"])


def test_a_seed_makes_another_run_of_the_same_name(project: Project) -> None:
    project.test(
        "def test_seed(tunix_run):\n    assert (tunix_run.manifest.seed, tunix_run.spec.name) == (7, 'words')\n"
    )
    project.run("--tunix-train", "--tunix-seed", "7").assert_outcomes(passed=1)
    project.run("--tunix-train", "--tunix-seed=8").assert_outcomes(failed=1)
    assert len(project.manifests()) == 2


def test_a_truncated_run_is_never_the_full_one_and_its_gates_are_skipped(project: Project) -> None:
    project.test(RUN_TEST + GATE_TEST)
    result = project.run("--tunix-train", "--tunix-max-steps", "2", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*run 'words' stopped at 2 of 22 steps (--tunix-max-steps); a truncated run is not gated*"]
    )
    (manifest,) = project.manifests()
    recorded = json.loads(manifest.read_text())
    assert (recorded["steps"], recorded["total_steps"], recorded["status"]) == (2, 22, "truncated")
    full = project.run("--tunix-train")
    full.assert_outcomes(passed=2)
    full.stdout.fnmatch_lines(["tunix-eval: 1 run to train, 22 steps; 0 reused*"])


def test_a_truncated_run_needs_no_baseline(project: Project) -> None:
    project.test(
        "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
    )
    project.run("--tunix-train", "--tunix-max-steps", "2").assert_outcomes(skipped=1)


def test_max_steps_beyond_the_end_changes_nothing(project: Project) -> None:
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    result = project.run("--tunix-train", "--tunix-max-steps", "22")
    result.stdout.fnmatch_lines(["tunix-eval: 0 runs to train; 1 reused*"])


def test_a_mistake_that_tests_share_is_planned_once_with_their_number(project: Project) -> None:
    project.write("words.toml", (project.path / "words.toml").read_text().replace("epochs = 1", "epochs = true"))
    project.test("".join(RUN_TEST.replace("test_run", f"test_run_{number}") for number in range(4)))
    result = project.run("--tunix-plan")
    errors = [line for line in result.stdout.lines if line.startswith("  error")]
    mistake = "words.toml: training.epochs: found true, expected a number"
    assert errors == [f"  error  test_words.py::test_run_0 (4 items): {mistake}"]
    result.stdout.fnmatch_lines(["*4 tests that cannot run"])


def test_artifacts_go_where_the_option_says(project: Project) -> None:
    project.test(RUN_TEST)
    project.run("--tunix-train", "--tunix-artifacts=elsewhere/deep").assert_outcomes(passed=1)
    assert len(list(project.path.glob("elsewhere/deep/runs/*/run_manifest.json"))) == 1
    assert not (project.path / "artifacts").exists()


def test_settings_name_the_directories(project: Project) -> None:
    text = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", text + '\n[tool.tunix_eval]\nartifacts = "out"\nbaselines = "committed"\n')
    project.test(
        "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
    )
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1").assert_outcomes(passed=1)
    assert (project.path / "committed" / "words" / "word-ending-heldout.json").is_file()
    assert list(project.path.glob("out/runs/*/run_manifest.json"))


def test_update_baselines_writes_k_seeds_and_leaves_an_unchanged_file_alone(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.test(
        "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
    )
    update = ("--tunix-train", "--tunix-update-baselines")
    result = project.run(*update, "--tunix-baseline-runs", "3", *workers)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["tunix-eval: 3 runs to train, 66 steps; 0 reused; 1 evalset; 1 gate", "*new, 3 runs"])
    path = project.path / "baselines" / "words" / "word-ending-heldout.json"
    text = path.read_text()
    assert [run["seed"] for run in json.loads(text)["runs"]] == [0, 1, 2]
    before = path.stat().st_mtime_ns
    # Without a number it holds as many runs as before; nothing is new, so nothing is written.
    again = project.run(*update, *workers)
    again.assert_outcomes(passed=1)
    again.stdout.no_fnmatch_line("*wrote *")
    assert path.stat().st_mtime_ns == before
    project.run("--tunix-train").assert_outcomes(passed=1)


def test_require_turns_a_skipped_gate_red_and_leaves_other_skips(project: Project) -> None:
    project.test(RUN_TEST + GATE_TEST)
    missing = project.run("--tunix-require")
    missing.assert_outcomes(skipped=1, errors=1)
    missing.stdout.fnmatch_lines(["*is not recorded*(--tunix-require: a gate may not be skipped)*"])
    truncated = project.run("--tunix-require", "--tunix-train", "--tunix-max-steps", "2")
    truncated.assert_outcomes(passed=1, failed=1)


SKIPPED_GATES = """
marked = pytest.mark.tunix_gate("at_least", metric="exact", value=0.9)

@pytest.mark.skip(reason="later")
@marked
def test_marked(tunix_gate):
    tunix_gate.check()

@pytest.mark.parametrize("n", [])
@marked
def test_empty(tunix_gate, n):
    tunix_gate.check()

@marked
def test_body(tunix_gate):
    pytest.skip("not today")

@pytest.mark.skip
def test_other():
    pass

@pytest.mark.xfail(reason="known")
def test_known(tunix_gate):
    tunix_gate.at_least("exact", 1.0)
"""


def test_require_refuses_what_tests_skip_themselves(project: Project, workers: tuple[str, ...]) -> None:
    project.test(SKIPPED_GATES + RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1, skipped=4, xpassed=1)
    bound = project.run("--tunix-require", *workers)
    found = bound.parseoutcomes()
    assert (found.get("failed", 0) + found.get("errors", 0), found["skipped"], found["passed"]) == (3, 1, 1)
    for why in ("later", "got empty parameter set for (n)", "not today"):
        bound.stdout.fnmatch_lines([f"*{why} (--tunix-require: a gate may not be*"])


def test_off_skips_every_test_of_ours_and_runs_the_others(project: Project) -> None:
    project.test(RUN_TEST + GATE_TEST + "def test_case(tunix_case):\n    pass\ndef test_other():\n    pass\n")
    result = project.run("--tunix-off", "--tunix-train", "-rs")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["SKIPPED*--tunix-off"])
    assert not (project.path / "artifacts").exists()


def test_collect_only_trains_nothing(project: Project) -> None:
    project.test(RUN_TEST)
    result = project.run("--tunix-train", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    assert not (project.path / "artifacts").exists()


@pytest.mark.parametrize(
    ("argument", "meant", "workers"),
    [
        ("--tunix-trian", "--tunix-train", ()),
        ("--tunix-trian", "--tunix-train", WORKERS),
        ("--tunix-max-step=3", "--tunix-max-steps", ()),
        ("--tunix_seed", "--tunix-seed", ()),
    ],
)
def test_a_misspelt_option_gets_a_suggestion(
    project: Project, argument: str, meant: str, workers: tuple[str, ...]
) -> None:
    result = project.run(argument, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = argument.partition("=")[0]
    result.stderr.fnmatch_lines([f"ERROR: no option {name}. Did you mean '{meant}'[?]"])


@pytest.mark.parametrize("argument", ["--tunix-seed=-1", "--tunix-max-steps=0", "--tunix-host-devices=none"])
def test_a_number_out_of_range_is_a_usage_error(project: Project, argument: str) -> None:
    result = project.run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert argument.split("=")[0] in result.stderr.str()


def test_help_shows_every_option_with_an_example(project: Project) -> None:
    text = " ".join(project.run("--help").stdout.str().split())
    for name in (
        *("train", "retrain", "plan", "device", "host-devices", "seed", "max-steps", "artifacts"),
        *("update-baselines", "baseline-runs", "require", "off"),
    ):
        assert f"--tunix-{name}" in text
    assert "pytest --tunix-train examples/quickstart" in text
    assert "tunix_run_files" in text


def test_markers_are_listed(project: Project) -> None:
    text = project.run("--markers").stdout.str()
    assert len(re.findall(r"^@pytest\.mark\.tunix_\w+\(", text, re.MULTILINE)) == 9


def test_quiet_sessions_show_no_progress(project: Project) -> None:
    project.test(RUN_TEST)
    result = project.run("--tunix-train", "-q")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("training words*")
    result.stdout.no_fnmatch_line("tunix-eval: 1 run to train*")


def test_nothing_is_coloured_in_a_pipe_and_verdicts_are_on_a_terminal(project: Project) -> None:
    project.test(GATE_TEST)
    assert "\x1b" not in project.run("--tunix-train").stdout.str()
    assert re.search(r"\x1b\[32mpassed\x1b\[0m\s+at_least", project.run("--color=yes").stdout.str())


def test_baseline_runs_without_an_update_is_a_usage_error(project: Project) -> None:
    result = project.run("--tunix-baseline-runs", "3")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tunix-baseline-runs is for writing baselines; add --tunix-update-baselines"])


def test_skipped_tests_are_counted_in_the_plan(project: Project) -> None:
    project.test(RUN_TEST)
    project.run().stdout.fnmatch_lines(["tunix-eval: 0 runs to train; *; 1 test skipped, -rs says why"])


def test_artifacts_are_ignored_by_git(project: Project) -> None:
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    assert (project.path / "artifacts" / ".gitignore").read_text() == "*\n"
