"""What a session that writes baselines says and keeps, and what it refuses to write."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from projects import RUN_FILE, WORKERS, Project

UPDATE = ("--tunix-train", "--tunix-update-baselines")
BASELINE = Path("baselines/words/word-ending-heldout.json")
GATE = "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
NO_WORSE = '\n[[gates]]\nrule = "no_worse"\nmetric = "numeric"\nmargin = 0.0\n'
SERVED = 'name = "served"\npredictions = "replies.jsonl"\nevalsets = ["sums.jsonl"]\nscorers = ["numeric"]\n'


def seeds(project: Project) -> list[int]:
    return [run["seed"] for run in json.loads((project.path / BASELINE).read_text())["runs"]]


def follow(project: Project, result: pytest.RunResult) -> pytest.RunResult:
    """Run the command that a message names."""
    found = re.search(r"run `pytest ([^`]*)`", " ".join(result.stdout.lines))
    assert found is not None, result.stdout.str()
    return project.run(*shlex.split(found[1]))


def served(project: Project, reply: str = "So {n} and {n} are {m}, I think.", count: int = 40) -> Project:
    items = [{"id": f"q{n}", "prompt": f"{n}+{n}=", "expected_answer": str(2 * n)} for n in range(count)]
    replies = [{"id": f"q{n}", "prediction": reply.format(n=n, m=2 * n)} for n in range(count)]
    project.write("sums.jsonl", "\n".join(map(json.dumps, items)))
    project.write("replies.jsonl", "\n".join(map(json.dumps, replies)))
    project.write("served.toml", f"{SERVED}answer = 'last_number'\n{NO_WORSE}")
    text = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", text.replace("addopts = [", 'addopts = ["served.toml", '))
    return project


# ------------------------------------------------------------------------------------------- how many runs it holds


def test_a_first_baseline_has_five_runs_and_says_so_before(project: Project) -> None:
    project.test(GATE)
    result = follow(project, project.run("--tunix-train"))
    result.assert_outcomes(passed=1)
    assert seeds(project) == [0, 1, 2, 3, 4]
    # Another recipe: the file says how many, and earlier runs how long.
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 7"))
    plan = project.run(*UPDATE, "--tunix-plan", "--tunix-baseline-runs", "1")
    plan.stdout.fnmatch_lines(["  baseline  words on word-ending-heldout: 1 run (seed 0), 1 to train, about 0:0? *"])
    project.run(*UPDATE).assert_outcomes(passed=1)
    assert seeds(project) == [0, 1, 2, 3, 4]
    assert len(project.manifests()) == 10


def test_the_plan_of_a_first_baseline_says_seeds_and_the_choice(project: Project) -> None:
    project.test(GATE)
    result = project.run(*UPDATE, "--tunix-max-steps", "3", "--tunix-plan")
    result.stdout.no_fnmatch_line("*baseline  words*")
    said = (
        "  baseline  words on word-ending-heldout: 5 runs (seeds 0 to 4), 5 to train; --tunix-baseline-runs 1 makes it*"
    )
    project.run(*UPDATE, "--tunix-plan").stdout.fnmatch_lines(["tunix-eval: 5 runs to train, *", said])
    result = project.run(*UPDATE)
    result.stdout.fnmatch_lines(["tunix-eval: 5 runs to train, *", said])


@pytest.mark.parametrize("damage", ["foreign", "torn", "conflict", "changed"])
def test_a_repair_that_is_printed_keeps_the_number(project: Project, damage: str) -> None:
    project.test(GATE)
    project.run(*UPDATE, "--tunix-baseline-runs", "3").assert_outcomes(passed=1)
    path = project.path / BASELINE
    text = path.read_text()
    damaged = {
        "foreign": text,
        "torn": text[: len(text) // 2],
        "conflict": text.replace('  "metrics"', '<<<<<<< ours\n  "metrics"'),
        "changed": text.replace("[1, 1, 1]", "[1, 0, 1]", 1),
    }[damage]
    path.write_text(damaged)
    if damage == "foreign":
        project.write("words.toml", RUN_FILE.replace("renderer =", 'answer = "hashes"\nrenderer ='))
    else:
        assert damaged != text
    result = project.run("--tunix-train")
    result.assert_outcomes(errors=1)
    follow(project, result).assert_outcomes(passed=1)
    assert seeds(project) == [0, 1, 2]


def test_a_missing_baseline_of_predictions_is_made_as_the_message_says(project: Project) -> None:
    served(project)
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    assert "--tunix-train" not in result.stdout.str()
    assert "--tunix-baseline-runs" not in result.stdout.str()
    follow(project, result).assert_outcomes(passed=2)
    project.run().assert_outcomes(passed=2)


# -------------------------------------------------------------------------------------------- replies without answers


def test_replies_without_an_answer_make_no_baseline(project: Project) -> None:
    served(project)
    project.write("served.toml", f"{SERVED}answer = 'hashes'\n{NO_WORSE}")
    result = project.run("--tunix-update-baselines")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "served on sums: 0 of 40 replies have an answer, so that a gate on numeric could not fail; no baseline is "
            "written. The answer rule is hashes; `last_number` finds one in 40 of 40: write answer = *",
            "note: served on sums: replies without an answer, of 40: 40 none; `last_number`*",
        ]
    )
    assert not (project.path / "baselines").exists()


def test_whole_replies_that_are_never_right_make_no_baseline(project: Project) -> None:
    """Without a rule the whole reply is the answer."""
    served(project)
    project.write("served.toml", (SERVED + NO_WORSE).replace("numeric", "exact"))
    result = project.run("--tunix-update-baselines")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["served on sums: (nearly) no reply has another exact than 0, *; `last_number` finds one in *"]
    )
    assert not (project.path / "baselines").exists()


def test_a_trained_run_without_answers_makes_no_baseline(project: Project) -> None:
    project.write(
        "words.toml",
        RUN_FILE.replace("renderer =", 'answer = "boxed"\nrenderer =') + NO_WORSE[:-1].replace("numeric", "exact"),
    )
    result = project.run(*UPDATE, "--tunix-baseline-runs", "1", "words.toml")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(
        ["words on word-ending-heldout: 0 of * replies have an answer, * answer rule is boxed*"]
    )
    assert not (project.path / "baselines").exists()


# ------------------------------------------------------------------------------------------ writes that are asked


DESELECTED = (
    GATE + "def test_card(tunix_scorecard):\n    pass\n",
    ("--tunix-train", "-k", "card"),
    {"errors": 1, "deselected": 1},
)


@pytest.mark.parametrize(
    ("tests", "options", "outcomes", "workers"),
    [
        ("def test_card(tunix_scorecard):\n    pass\n", ("--tunix-train",), {"errors": 1}, ()),
        (
            GATE.replace("'no_worse', metric='exact'", "'at_least', metric='exact', value=0.5"),
            ("--tunix-train",),
            {"errors": 1},
            (),
        ),
        (*DESELECTED, ()),
        (*DESELECTED, WORKERS),
        (GATE, (), {"skipped": 1}, ()),
        (GATE, (), {"skipped": 1}, WORKERS),
        ("def test_other():\n    pass\n", ("--tunix-train",), {"passed": 1}, ()),
        ("def test_other():\n    pass\n", ("--tunix-train",), {"passed": 1}, WORKERS),
    ],
    ids=[
        *("no-gate", "other-rule", "deselected", "deselected-xdist"),
        *("skipped", "skipped-xdist", "other-tests", "other-tests-xdist"),
    ],
)
def test_an_update_that_writes_nothing_is_red(
    project: Project, tests: str, options: tuple[str, ...], outcomes: dict[str, int], workers: tuple[str, ...]
) -> None:
    project.test(tests)
    if "def test_other" in tests:
        project.write("test_words.py", tests)
    result = project.run("--tunix-update-baselines", *options, *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    if workers:
        # What workers deselect, the session that started them does not count.
        outcomes = {name: count for name, count in outcomes.items() if name != "deselected"}
    assert result.parseoutcomes() == outcomes | ({"warnings": 1} if "warnings" in result.parseoutcomes() else {})
    text = " ".join(result.stdout.str().split())
    at_once = "error" in " ".join(outcomes)
    said = "no gate that compares with a baseline" if at_once else "no baseline was written: no gate that compares with"
    assert f"--tunix-update-baselines: {said}" in text
    assert not project.manifests()


def test_an_update_compares_with_what_it_replaces(project: Project, workers: tuple[str, ...]) -> None:
    project.test(GATE + GATE.replace("exact", "prefix").replace("test_gate", "test_prefix"))
    one = ("--tunix-baseline-runs", "1")
    project.run(*UPDATE, *one).assert_outcomes(passed=2)
    project.run(*UPDATE).stdout.fnmatch_lines([f"note: {BASELINE}: unchanged"])
    project.test(
        GATE.replace("metric='exact'", "metric='exact', margin=0.0")
        + GATE.replace("'exact'", "'prefix', margin=0.0").replace("test_gate", "test_prefix")
        + "\ndef test_broken(tunix_run):\n    assert not tunix_run\n"
    )
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 5"))
    result = project.run(*UPDATE, *workers)
    result.assert_outcomes(passed=2, failed=1)
    text = " ".join(result.stdout.str().split())
    assert "failed no_worse exact 1.000 -> 0." in text
    assert "failed no_worse prefix 1.000 -> 0." in text
    assert f"note: {BASELINE}: replaced as asked, against what it held: words/exact: 1.000 -> 0." in text
    assert "note: baselines were written in a session in which test_words.py::test_broken failed; look before" in text
    # The next session compares with what was written.
    project.run("-k", "gate or prefix").stdout.fnmatch_lines(["*no_worse exact * 0.071 -> 0.071 *"])
