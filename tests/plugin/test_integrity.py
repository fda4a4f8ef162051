"""What a record may be used for, and what a failure leaves behind: runs, completions, gates and baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from projects import GATES, RUN_FILE, Project
from test_bad_input import CARD_TEST, NO_WORSE, RUN_TEST, check_line

# A trainer in a package of its own, whose rules stand in a module beside it.
TRAINER = """
import msgspec
from pathlib import Path
from mine import rules
from tunix_eval.errors import TrainingError
from tunix_eval_template.ngram import NgramModel, NgramTrainer


class Trainer(NgramTrainer):
    name, version = "mine", "1"

    def train(self, job, *, on_progress):
        if Path("broken").exists():
            (job.directory / "half").write_text("of a run")
            raise TrainingError("the disk of this trainer is gone")
        result = super().train(job, on_progress=on_progress)
        return msgspec.structs.replace(result, steps=result.steps - rules.MISSING, weights_sha256="0" * 64)

    def load(self, job, weights):
        model = super().load(job, weights)
        model.__class__ = Model
        return model


class Model(NgramModel):
    # Its digest does not see the options.
    weights_sha256 = "0" * 64
"""
MINE = RUN_FILE.replace('"ngram"', '"mine"')
CONFTEST = """
from tunix_eval_template.hooks import *
def pytest_tunix_trainers():
    return {"mine": "mine.trainer:Trainer", "ngram": "tunix_eval_template.ngram:NgramTrainer"}
"""
PASSING_GATE = "@pytest.mark.tunix_gate('at_least', metric='exact', value=0.5)\n"
FAILING_GATE = "@pytest.mark.tunix_gate('at_most', metric='exact', value=0.25)\n"
CHECK = "def test_gate(tunix_gate):\n    tunix_gate.check()\n"


@pytest.fixture
def mine(project: Project) -> Project:
    """A project with a trainer of its own."""
    text = (project.path / "pyproject.toml").read_text().replace("pythonpath = [", 'pythonpath = [".", ')
    project.write("pyproject.toml", text)
    project.write("conftest.py", CONFTEST)
    project.write("mine/__init__.py", "")
    project.write("mine/trainer.py", TRAINER)
    project.write("mine/rules.py", "MISSING = 0\n")
    project.write("words.toml", MINE)
    return project


def verdicts(project: Project) -> list[dict[str, Any]]:
    newest = max(project.path.glob("artifacts/sessions/*/verdicts.json"), key=lambda path: path.stat().st_mtime_ns)
    return [dict(verdict) for verdict in json.loads(newest.read_text())["verdicts"]]


# -------------------------------------------------------------------------------------------------------- identity


def test_runs_with_equal_weights_digests_and_other_options_never_share_completions(mine: Project) -> None:
    mine.write("smooth.toml", MINE.replace('"words"', '"smooth"').replace("order = 8", "order = 8, smoothing = 1e9"))
    mine.test(
        "def test_sharp(tunix_scorecard):\n    assert tunix_scorecard['exact'].mean == 1\n"
        "@pytest.mark.tunix_train('smooth.toml')\n"
        "def test_smooth(tunix_scorecard):\n    assert tunix_scorecard['exact'].mean < 0.5\n"
    )
    mine.run("--tunix-train").assert_outcomes(passed=2)
    assert {json.loads(path.read_text())["weights_sha256"] for path in mine.manifests()} == {"0" * 64}
    written = [path.read_text() for path in mine.path.glob("artifacts/runs/*/eval_after.*.jsonl")]
    assert len(set(written)) == 2


def test_a_changed_module_beside_the_trainer_trains_again(mine: Project) -> None:
    mine.test(RUN_TEST)
    mine.run("--tunix-train").assert_outcomes(passed=1)
    mine.run().stdout.fnmatch_lines(["tunix-eval: 0 runs to train; 1 reused*"])
    mine.write("mine/rules.py", "MISSING = 0  # and a remark\n")
    mine.run("--tunix-train").stdout.fnmatch_lines(["tunix-eval: 1 run to train*"])
    assert len(mine.manifests()) == 2


def test_workers_and_one_process_have_the_same_run_under_other_xla_flags(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=true")
    project.test(RUN_TEST)
    project.run_apart("--tunix-train", "--tunix-host-devices", "2").assert_outcomes(passed=1)
    project.run_apart("--tunix-host-devices", "2", "-n", "2").assert_outcomes(passed=1)
    (manifest,) = project.manifests()
    flags = json.loads(manifest.read_text())["xla_flags"].split()
    assert flags == ["--xla_cpu_enable_fast_min_max=true", "--xla_force_host_platform_device_count=2"]


# --------------------------------------------------------------------------------------------------------- records


def test_a_trainer_that_stops_early_unasked_records_nothing(mine: Project) -> None:
    mine.write("mine/rules.py", "MISSING = 1\n")
    mine.test(RUN_TEST)
    check_line(mine.run("--tunix-train"), r"run 'words': trainer 'mine' did 21 of 22 steps and gave no reason")
    assert not mine.manifests()


def test_two_specs_of_one_training_keep_their_records_apart(project: Project) -> None:
    project.write(
        "brief.toml", RUN_FILE.replace('"words"', '"brief"').replace("max_new_tokens = 16", "max_new_tokens = 1")
    )
    project.test(
        "".join(
            f"@pytest.mark.tunix_train('{name}.toml')\ndef test_{number}(tunix_scorecard):\n    pass\n"
            for number, name in enumerate(("words", "brief", "words"))
        )
    )
    project.run("--tunix-train").assert_outcomes(passed=3)
    (manifest,) = project.manifests()
    for folder, mean, tokens in ((manifest.parent, 1.0, 16), (manifest.parent / "as" / "brief", 0.0, 1)):
        records = {path.name.split(".")[0]: path.read_text() for path in folder.glob("*.word-ending-heldout.*")}
        assert json.loads(records["eval_manifest"])["generation"]["max_new_tokens"] == tokens
        assert json.loads(records["scorecard"])["metrics"]["exact"]["mean"] == mean
        written = [json.loads(line) for line in records["eval_after"].splitlines()]
        assert [item["scores"]["exact"] for item in written] == [mean] * 70
        assert ("1.000" in records["delta_report"]) == (tokens == 16)


@pytest.mark.parametrize("damage", ["lines lost", "a token changed", "no text"])
def test_damaged_completions_are_ignored_and_made_again(project: Project, damage: str) -> None:
    project.test(CARD_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    kept = {path: path.read_bytes() for path in project.path.glob("artifacts/completions/*.jsonl")}
    assert kept
    for path, data in kept.items():
        lines = data.splitlines(keepends=True)
        path.write_bytes(
            {
                "lines lost": b"".join(lines[:-1]),
                "a token changed": data.replace(b"[", b"[66,"),
                "no text": b"\xff\xfe",
            }[damage]
        )
    project.run().assert_outcomes(passed=1)
    assert {path: path.read_bytes() for path in kept} == kept


def test_changed_metrics_of_a_run_are_named(project: Project) -> None:
    project.test(CARD_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = project.manifests()
    path = manifest.parent / "metrics.jsonl"
    path.write_text(path.read_text().replace('"step":1,', '"step":1, '))
    project.test(RUN_TEST)
    check_line(project.run(), r"metrics\.jsonl: .*--tunix-retrain")
    project.run("--tunix-retrain").assert_outcomes(passed=1)


def test_a_retraining_that_fails_twice_keeps_the_good_run(mine: Project) -> None:
    mine.test(RUN_TEST)
    mine.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = mine.manifests()
    good = manifest.read_text()
    mine.write("broken", "")
    for _ in range(2):
        check_line(mine.run("--tunix-retrain"), "the disk of this trainer is gone")
    assert not mine.manifests()
    kept = mine.path / "artifacts" / "replaced" / manifest.parent.name
    assert (kept / "run_manifest.json").read_text() == good
    assert (kept / "checkpoint-final" / "counts.npz").is_file()


def test_an_unwritable_sessions_directory_loses_no_table(project: Project) -> None:
    project.write("artifacts/sessions", "a file")
    project.test(PASSING_GATE + CHECK)
    result = project.run("--tunix-train")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*passed  at_least exact*", "*note: artifacts/sessions/*cannot be written*"])


# ----------------------------------------------------------------------------------------------------------- gates


def test_a_function_marked_with_a_gate_and_without_the_fixture_fails(project: Project) -> None:
    project.test(f"{PASSING_GATE}def test_forgotten(tunix_run):\n    pass\n" + RUN_TEST)
    result = project.run("--tunix-train")
    check_line(result, r"test_forgotten is marked tunix_gate and does not take the fixture tunix_gate")
    result.assert_outcomes(passed=1, errors=1)


def test_marked_gates_never_decided_fail(project: Project) -> None:
    project.test(f"{PASSING_GATE}def test_gate(tunix_gate):\n    pass\n")
    result = project.run("--tunix-train")
    check_line(result, r"marked tunix_gate and never decided; call tunix_gate\.check\(\)")
    result.assert_outcomes(failed=1)


def test_a_gate_of_the_module_does_nothing_to_tests_without_the_fixture(project: Project) -> None:
    gates = "pytest.mark.tunix_gate('at_most', metric='exact', value=0.25)"
    project.write(
        "test_words.py",
        f"import pytest\npytestmark = [pytest.mark.tunix_train('words.toml'), {gates}]\n"
        f"def test_plain():\n    pass\n{RUN_TEST}{CHECK}",
    )
    project.run("--tunix-train").assert_outcomes(passed=2, failed=1)


def test_check_decides_every_marked_gate_though_one_fails(project: Project) -> None:
    # Markers nearest to the function come first.
    project.test(PASSING_GATE + FAILING_GATE + CHECK)
    result = project.run("--tunix-train")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines_random(["*passed  at_least exact  0.5*", "*failed  at_most  exact  0.25*"])
    assert [verdict["outcome"] for verdict in verdicts(project)] == ["failed", "passed"]
    (reason,) = [line for line in result.stdout.lines if line.startswith("words/exact: ")]
    assert reason.endswith("at most 0.25 was asked for")


BODY_GATE = "def test_body(tunix_gate):\n    tunix_gate.at_least('exact', 0.5)\n"


def test_require_refuses_a_missing_run_of_a_gate_in_a_test_body(project: Project) -> None:
    project.test(BODY_GATE)
    project.run().assert_outcomes(skipped=1)
    result = project.run("--tunix-require")
    check_line(result, r"is not recorded.*\(--tunix-require: a gate may not be skipped\)")
    result.assert_outcomes(errors=1)


def test_require_refuses_a_missing_run_that_a_gate_in_a_test_body_compares_with(project: Project) -> None:
    project.test(
        RUN_TEST
        + "def test_body(tunix_gate, tunix_train):\n"
        + "    tunix_gate.better('exact', than=tunix_train('words.toml', seed=3))\n"
    )
    project.run("--tunix-train", "-k", "test_run").assert_outcomes(passed=1, deselected=1)
    project.run().assert_outcomes(passed=1, skipped=1)
    result = project.run("--tunix-require")
    check_line(result, r"is not recorded.*\(--tunix-require: a gate may not be skipped\)")
    result.assert_outcomes(passed=1, failed=1)


def test_require_refuses_a_missing_run_that_a_run_file_compares_with(project: Project) -> None:
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace("order = 8", "order = 1"))
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    project.write("words.toml", RUN_FILE + '\n[[gates]]\nrule = "better"\nmetric = "exact"\nthan = "short.toml"\n')
    project.run("words.toml").assert_outcomes(passed=4, skipped=1)
    result = project.run("words.toml", "--tunix-require")
    check_line(result, r"run 'short' .* is not recorded.*\(--tunix-require: a gate may not be skipped\)")
    result.assert_outcomes(passed=4, errors=1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs", "epoch", r"short\.toml: unknown key 'training\.epoch'\. Did you mean 'epochs'\?"),
        ("word-ending-v1", "word-ending-v2", r"no dataset named 'word-ending-v2'"),
        ("row_tokens = 64", "row_tokens = 8", r"longer than row_tokens = 8 \(first: 'bad' with \d+"),
    ],
)
def test_a_mistake_in_the_run_file_that_one_gate_compares_with_fails_that_gate_alone(
    project: Project, old: str, new: str, message: str
) -> None:
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace(old, new))
    project.test(
        "@pytest.mark.tunix_gate('better', metric='exact', than='short.toml')\n"
        "def test_better(tunix_gate):\n    tunix_gate.check()\n" + PASSING_GATE + CHECK + RUN_TEST
    )
    result = project.run("--tunix-train")
    check_line(result, message)
    result.assert_outcomes(passed=2, errors=1)


def test_a_truncated_session_plans_no_run_for_a_baseline_that_it_does_not_write(project: Project) -> None:
    project.test(NO_WORSE)
    project.write("baselines/words/word-ending-heldout.json", "{")
    result = project.run("--tunix-train", "--tunix-max-steps", "2", "--tunix-update-baselines")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["tunix-eval: 1 run to train, 2 steps; 0 reused; 1 evalset; 1 gate"])
    assert len(project.manifests()) == 1


@pytest.mark.parametrize("damage", ["<<<<<<< ours\n{}", "{", "\0"])
def test_a_damaged_baseline_is_replaced_only_with_a_number_of_runs(project: Project, damage: str) -> None:
    project.test(NO_WORSE + RUN_TEST)
    update = ("--tunix-train", "--tunix-update-baselines")
    project.run(*update, "--tunix-baseline-runs", "1").assert_outcomes(passed=2)
    path = project.path / "baselines" / "words" / "word-ending-heldout.json"
    path.write_text(damage)
    result = project.run(*update)
    check_line(result, r"baselines/words/word-ending-heldout\.json\S* .*say with --tunix-baseline-runs how many runs")
    result.assert_outcomes(passed=1, errors=1)
    assert path.read_text() == damage
    project.run(*update, "--tunix-baseline-runs", "2").assert_outcomes(passed=2)
    assert [run["seed"] for run in json.loads(path.read_text())["runs"]] == [0, 1]


# ---------------------------------------------------------------------------------------------- options, run files


def test_off_skips_a_run_file_that_is_named(project: Project) -> None:
    project.write("words.toml", RUN_FILE + GATES)
    project.run("words.toml", "--tunix-off").assert_outcomes(skipped=1)


def test_a_quiet_plan_is_printed_all_the_same(project: Project) -> None:
    project.test(RUN_TEST)
    result = project.run("--tunix-train", "--tunix-plan", "-q")
    result.stdout.fnmatch_lines(["tunix-eval: 1 run to train, 22 steps*", "  train  words  *  22 steps"])
    assert result.stdout.str().count("1 run to train") == 1


def test_an_option_of_another_plugin_is_not_refused(project: Project) -> None:
    project.write(
        "conftest.py",
        "from tunix_eval_template.hooks import *\n"
        "def pytest_addoption(parser):\n    parser.addoption('--tunix-judge')\n",
    )
    project.write("test_other.py", "def test_other(request):\n    assert request.config.option.tunix_judge == 'me'\n")
    project.run("--tunix-judge=me").assert_outcomes(passed=1)
    project.run("--tunix-judge", "me").assert_outcomes(passed=1)


@pytest.mark.parametrize("patterns", ["*.toml", "p1/*.toml p2/*.toml"])
def test_run_files_are_not_looked_for_outside_the_root_directory(project: Project, patterns: str) -> None:
    for name in ("p1", "p2"):
        project.write(f"{name}/{name}.toml", RUN_FILE.replace('"words"', f'"{name}"'))
        project.write(f"{name}/test_{name}.py", "def test_other():\n    pass\n")
    inner = project.write("inner/pytest.ini", f"[pytest]\ntunix_run_files = {patterns}\n")
    result = project.run("-c", str(inner), "--rootdir", str(inner.parent), "p1", "p2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_the_marker_of_the_run_file_takes_its_argument_by_name(project: Project) -> None:
    project.write(
        "test_words.py",
        "import pytest\n@pytest.mark.tunix_train(path_or_name='words.toml', seed=3)\n"
        "def test_run(tunix_run):\n    assert tunix_run.spec.name == 'words[seed=3]'\n",
    )
    project.run("--tunix-train").assert_outcomes(passed=1)


def test_paths_of_overrides_start_from_the_test_file_that_says_them(project: Project) -> None:
    trace = {"trace_version": "1.0", "id": "t", "prompt": "ending of xyz", "final_answer": "yz"}
    trace |= {"steps": [{"i": 0, "type": "cut", "content": "yz"}]}
    project.write("sub/mine.jsonl", json.dumps(trace) + "\n")
    project.write(
        "sub/test_words.py",
        "import pytest\n@pytest.mark.tunix_train('../words.toml', dataset='mine.jsonl')\n"
        "def test_marker(tunix_dataset):\n    assert [trace.id for trace in tunix_dataset.traces] == ['t']\n"
        "def test_body(tunix_train):\n"
        "    run = tunix_train('../words.toml', dataset='./mine.jsonl', training={'rows': 1})\n"
        "    assert run.manifest.dataset_key == 'mine'\n",
    )
    project.run("--tunix-train").assert_outcomes(passed=2)


def test_a_seed_said_in_a_test_wins_over_the_command_line(project: Project) -> None:
    project.test(
        "@pytest.mark.tunix_train('words.toml', seed=3)\n"
        "def test_marker(tunix_run):\n    assert tunix_run.manifest.seed == 3\n"
        "def test_body(tunix_train):\n    assert tunix_train('words.toml', seed=4).manifest.seed == 4\n"
        "def test_other(tunix_run):\n    assert tunix_run.manifest.seed == 7\n"
    )
    project.run("--tunix-train", "--tunix-seed", "7").assert_outcomes(passed=3)


@pytest.mark.parametrize("length", [150, 400])
def test_a_long_override_has_a_baseline(project: Project, length: int) -> None:
    options = {f"weight_decay_{'x' * length}": 0.5}
    project.test(f"@pytest.mark.tunix_train('words.toml', training={{'optimizer_options': {options!r}}})\n" + NO_WORSE)
    project.run("--tunix-train", "--tunix-update-baselines").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert len(list(Path(project.path / "baselines").glob("*/word-ending-heldout.json"))) == 1


# --------------------------------------------------------------------------------------------------------- batches


def test_batches_are_those_of_the_markers(project: Project) -> None:
    project.write("words.toml", RUN_FILE.replace("row_tokens = 64", "row_tokens = 256"))
    counts = "    assert int((tunix_batches.segment_ids > 0).sum()) == sum(len(one.ids) for one in tunix_sequences)\n"
    project.test(
        "PLAIN = []\n"
        f"def test_plain(tunix_batches, tunix_sequences):\n{counts}    PLAIN.append(tunix_batches)\n"
        "@pytest.mark.tunix_renderer('gemma')\n"
        f"def test_renderer(tunix_batches, tunix_sequences):\n{counts}"
        "    assert tunix_batches.trace_ids[0][0] == 'bad'\n"
        "    assert tunix_batches.tokens.sum() != PLAIN[0].tokens.sum()\n"
        "@pytest.mark.tunix_dataset('addition-v1')\n"
        f"def test_dataset(tunix_batches, tunix_sequences):\n{counts}"
        "    assert sum(len(ids) for ids in tunix_batches.trace_ids) == 2000\n"
    )
    project.run().assert_outcomes(passed=3)


def test_batches_without_a_run_file_are_refused_in_one_line(project: Project) -> None:
    project.write(
        "test_data.py",
        "import pytest\n@pytest.mark.tunix_dataset('addition-v1')\ndef test_rows(tunix_batches):\n    pass\n",
    )
    project.run("--tunix-plan").stdout.fnmatch_lines(["  error  test_data.py::test_rows: no run file: *"])
    result = project.run()
    check_line(result, r'no run file: mark the test with @pytest\.mark\.tunix_train\("name\.toml"\)')
    result.assert_outcomes(errors=1)
