"""When a baseline may be written, and from which runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import RUN_FILE, WORKERS, Project

UPDATE = ("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1")
TWO_GATES = """
@pytest.mark.tunix_gate("no_worse", metric="exact")
def test_no_worse(tunix_gate):
    tunix_gate.check()

@pytest.mark.tunix_gate("at_least", metric="exact", value=0.5)
def test_at_least(tunix_gate):
    tunix_gate.check()

def test_card(tunix_scorecard):
    pass
"""
BASELINE = Path("baselines/words/word-ending-heldout.json")


@pytest.fixture
def gated(project: Project) -> Project:
    project.test(TWO_GATES)
    return project


def baseline(project: Project) -> dict[str, object]:
    return dict(json.loads((project.path / BASELINE).read_text()))


@pytest.mark.parametrize(
    ("selection", "workers"),
    [
        (("-k", "no_worse"), ()),
        (("-k", "no_worse"), WORKERS),
        (("--deselect", "test_words.py::test_at_least"), ()),
    ],
)
def test_a_baseline_is_not_written_where_a_gate_of_its_run_is_deselected(
    gated: Project, selection: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    result = gated.run(*UPDATE, *selection, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["--tunix-update-baselines: gate test_words.py::test_at_least of run 'words' is deselected or skipped; *"]
    )
    assert not (gated.path / BASELINE).exists()


@pytest.mark.parametrize("mark", ["skip", "skipif(True, reason='no')"])
def test_a_baseline_is_not_written_where_a_gate_of_its_run_is_skipped(gated: Project, mark: str) -> None:
    gated.test(TWO_GATES.replace("def test_at_least", f"@pytest.mark.{mark}\ndef test_at_least"))
    result = gated.run(*UPDATE)
    result.stdout.fnmatch_lines(["--tunix-update-baselines: gate test_words.py::test_at_least of run 'words' is*"])
    assert not (gated.path / BASELINE).exists()


def test_a_test_that_is_no_gate_may_be_deselected(gated: Project) -> None:
    gated.run(*UPDATE, "-k", "not card").assert_outcomes(passed=2, deselected=1)
    assert (gated.path / BASELINE).exists()


def test_a_gate_of_another_run_may_be_deselected(gated: Project) -> None:
    gated.write("other.toml", RUN_FILE.replace('"words"', '"other"'))
    gated.write(
        "test_other.py",
        'import pytest\n@pytest.mark.tunix_train("other.toml")\n@pytest.mark.tunix_gate("no_worse", metric="exact")\n'
        "def test_other(tunix_gate):\n    tunix_gate.check()\n",
    )
    gated.run(*UPDATE, "-k", "not other").assert_outcomes(passed=3, deselected=1)


def test_single_tests_by_id_write_no_baseline(gated: Project, workers: tuple[str, ...]) -> None:
    result = gated.run(*UPDATE, "test_words.py::test_no_worse", *workers)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["--tunix-update-baselines: single tests of test_words.py were named*"])
    assert not (gated.path / BASELINE).exists()


def test_without_an_update_gates_may_be_chosen_freely(gated: Project) -> None:
    gated.run(*UPDATE).assert_outcomes(passed=3)
    gated.run("-k", "no_worse").assert_outcomes(passed=1, deselected=2)
    gated.run("test_words.py::test_no_worse").assert_outcomes(passed=1)


# ------------------------------------------------------------------------------------------------- runs by name


@pytest.fixture
def seeds(gated: Project) -> list[str]:
    """Run ids of three seeds, all judged."""
    for seed in range(3):
        gated.run("--tunix-train", "--tunix-seed", str(seed), "-k", "card").assert_outcomes(passed=1, deselected=2)
    manifests = [json.loads(path.read_text()) for path in gated.manifests()]
    return [one["run_id"] for one in sorted(manifests, key=lambda one: one["seed"])]


def named(ids: list[str]) -> list[str]:
    return [word for run_id in ids for word in ("--tunix-run", run_id)]


def test_a_baseline_is_made_from_named_runs_without_training(gated: Project, seeds: list[str]) -> None:
    result = gated.run("--tunix-update-baselines", *named([one[:6] for one in seeds]))
    result.assert_outcomes(passed=3)
    assert [run["run_id"] for run in baseline(gated)["runs"]] == seeds
    assert len(gated.manifests()) == 3


def test_the_best_of_several_is_no_baseline(gated: Project, seeds: list[str]) -> None:
    result = gated.run("--tunix-update-baselines", *named(seeds[1:2]))
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["--tunix-run: 1 of 3 runs of 'words' that were judged on word-ending-heldout are named; the best of several*"]
    )
    assert not (gated.path / BASELINE).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order = 8": "order = 3"}, "*none was made from 'words' as its run file stands*"),
        ({}, "run 'ffff': no such run is recorded in *"),
    ],
)
def test_a_foreign_or_missing_run_is_refused(
    gated: Project, seeds: list[str], change: dict[str, str], message: str
) -> None:
    text = RUN_FILE
    for old, new in change.items():
        text = text.replace(old, new)
    gated.write("words.toml", text)
    result = gated.run("--tunix-update-baselines", *named(seeds if change else ["ffff"]))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([message])
    assert not (gated.path / BASELINE).exists()


def test_a_truncated_run_is_no_baseline(gated: Project) -> None:
    gated.run("--tunix-train", "--tunix-max-steps", "5", "-k", "card").assert_outcomes(passed=1, deselected=2)
    (path,) = gated.manifests()
    result = gated.run("--tunix-update-baselines", *named([path.parent.name]))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*stopped at 5 of 22 steps; a truncated run is no baseline*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tunix-update-baselines", "--lf"), "--tunix-update-baselines with --lf or --sw: *"),
        (("--tunix-run", "abc"), "--tunix-run is for writing baselines; add --tunix-update-baselines"),
        (
            ("--tunix-update-baselines", "--tunix-run", "abc", "--tunix-baseline-runs", "2"),
            "--tunix-run names the runs of a baseline, --tunix-baseline-runs trains them; give one",
        ),
    ],
)
def test_options_that_contradict_are_refused(gated: Project, options: tuple[str, ...], message: str) -> None:
    result = gated.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}"])


def test_a_folder_of_artifacts_that_pytest_would_take_for_tests_is_refused(gated: Project) -> None:
    (gated.path / "there").mkdir()
    result = gated.run("--tunix-artifacts", "there")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*write --tunix-artifacts=there: *"])
    gated.run("--tunix-artifacts=there").assert_outcomes(skipped=2, errors=1)


# ------------------------------------------------------------------------------------------- rules and corrections


FOUR_GATES = """
[[gates]]
rule = "no_worse"
metric = "exact"
margin = 0.0

[[gates]]
rule = "no_worse"
metric = "prefix"
margin = 0.0

[[gates]]
rule = "max_drop"
metric = "exact"
drop = "2%"

[[gates]]
rule = "non_inferior"
metric = "exact"
margin = 0.05
unproven = "skip"
"""


def test_the_plan_says_what_a_proof_needs(project: Project) -> None:
    project.write("words.toml", RUN_FILE + FOUR_GATES)
    project.run(*UPDATE, "words.toml").assert_outcomes(passed=8)
    result = project.run("--tunix-plan", "words.toml")
    result.stdout.fnmatch_lines(
        ["*gate   non_inferior(exact) of words on word-ending-heldout, baseline *; to exclude*"]
    )


def test_a_correction_is_over_all_gates_of_the_file_whichever_are_selected(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write("words.toml", 'correction = "holm"\n' + RUN_FILE + FOUR_GATES)
    project.run(*UPDATE, "words.toml").assert_outcomes(passed=8)

    def verdicts(*selection: str) -> dict[tuple[str, str], tuple[str, float]]:
        project.run("words.toml", *selection, *workers)
        newest = max(project.path.glob("artifacts/sessions/*/verdicts.json"), key=lambda path: path.stat().st_mtime_ns)
        found = json.loads(newest.read_text())["verdicts"]
        return {(one["rule"], one["metric"]): (one["outcome"], one["adjusted_p"]) for one in found}

    every = verdicts()
    assert len(every) == 4
    assert every["no_worse", "exact"][1] == 1.0
    assert verdicts("-k", "prefix") == {("no_worse", "prefix"): every["no_worse", "prefix"]}


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            'rule = "no_worse"\nmetric = "exact"\nmargin = 5',
            "words/exact: margin 5 is on the wrong scale: exact lies from 0 to 1, so that 5 points are 0.05",
        ),
        ('rule = "at_least"\nmetric = "exact"\nvalue = 90', "words/exact: value 90 is on the wrong scale: *"),
    ],
)
def test_a_figure_on_the_wrong_scale_is_refused_before_training(project: Project, gate: str, message: str) -> None:
    project.write("words.toml", f"{RUN_FILE}\n[[gates]]\n{gate}\n")
    result = project.run("--tunix-train", "words.toml", "-k", "gate")
    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines([message])
    assert not project.manifests()


def test_gates_of_a_run_file_that_nothing_decides_are_named(project: Project) -> None:
    project.write("words.toml", RUN_FILE + FOUR_GATES)
    project.test("def test_card(tunix_scorecard):\n    pass\n")
    result = project.run("--tunix-train")
    text = " ".join(line.strip() for line in result.stdout.lines)
    assert (
        "words.toml: its [[gates]] no_worse(exact), no_worse(prefix), max_drop(exact), non_inferior(exact) are" in text
    )
    assert "are decided only" not in project.run(*UPDATE, "words.toml").stdout.str()
