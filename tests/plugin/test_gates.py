"""Gates between retrained runs: the run is the unit, and a near drop is confirmed by fresh training seeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import RUN_FILE, Project

from tunix_eval.store import manifest_text, read_manifest

# Keeps its answers to a share of the prompts that varies with the training seed, as real runs' accuracies do.
NOISY = """
import random
from dataclasses import replace
from tunix_eval.records import Generation
from tunix_eval_template.ngram import NgramTrainer


class NoisyTrainer:
    name, version = "noisy", "1"

    def train(self, job, *, on_progress):
        result = NgramTrainer().train(_plain(job), on_progress=on_progress)
        # Runs that answer otherwise have other weights.
        return replace_weights(result, job)

    def load(self, job, weights):
        return NoisyModel(NgramTrainer().load(_plain(job), weights), job)


def replace_weights(result, job):
    import msgspec
    return msgspec.structs.replace(result, weights_sha256=weights_of(result.weights_sha256, job))


def weights_of(sha256, job):
    return f"{sha256[:32]}{job.seed:016x}{round(1000 * job.training.options['lost']):016x}"


def _plain(job):
    return replace(job, training=job.training.model_copy(update={"options": {}}))


class NoisyModel:
    def __init__(self, model, job):
        self.model, self.job = model, job
        self.weights_sha256 = weights_of(model.weights_sha256, job)

    def generate(self, prompts, settings, *, stop_ids, seeds=()):
        lost = self.job.training.options["lost"] + 0.01 * (self.job.seed % 3)
        draw = random.Random(self.job.seed)
        written = self.model.generate(prompts, settings, stop_ids=stop_ids, seeds=seeds)
        return [Generation((), "stop") if draw.random() < lost else one for one in written]
"""

CONFTEST = """
from tunix_eval_template.hooks import *
def pytest_tunix_trainers():
    return {"noisy": "noisy:NoisyTrainer"}
"""

GATE = "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"


def noisy(lost: float) -> str:
    return RUN_FILE.replace('"ngram"', '"noisy"').replace("order = 8", f"lost = {lost}")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the first test that needs it has trained."""
    return tmp_path_factory.mktemp("kept") / "project"


@pytest.fixture
def retrained(project: Project, kept: Path) -> Project:
    """A project with a baseline of five seeds at about 0.89; a copy, for its tests train and write more."""
    if kept.exists():
        shutil.copytree(kept, project.path, dirs_exist_ok=True)
        return project
    project.write("noisy.py", NOISY)
    text = (project.path / "pyproject.toml").read_text().replace("pythonpath = [", 'pythonpath = [".", ')
    project.write("pyproject.toml", text)
    project.write("conftest.py", CONFTEST)
    project.write("words.toml", noisy(0.1))
    project.test(GATE)
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "5").assert_outcomes(passed=1)
    shutil.copytree(project.path, kept, ignore=shutil.ignore_patterns("__pycache__"))
    return project


def verdict(project: Project) -> dict[str, object]:
    newest = max(project.path.glob("artifacts/sessions/*/verdicts.json"), key=lambda path: path.stat().st_mtime_ns)
    (found,) = json.loads(newest.read_text())["verdicts"]
    return dict(found)


def test_an_honest_retraining_passes_and_runs_are_the_unit(retrained: Project) -> None:
    retrained.run("--tunix-train", "--tunix-seed", "11").assert_outcomes(passed=1)
    found = verdict(retrained)
    assert (found["unit"], found["n_runs"], found["outcome"]) == ("runs", 5, "passed")


def test_a_real_drop_is_confirmed_by_two_fresh_seeds_and_fails(retrained: Project, workers: tuple[str, ...]) -> None:
    before = len(retrained.manifests())
    retrained.write("words.toml", noisy(0.5))
    result = retrained.run("--tunix-train", *workers)
    result.assert_outcomes(failed=1)
    assert len(retrained.manifests()) == before + 3
    found = verdict(retrained)
    assert (found["unit"], found["outcome"]) == ("runs", "failed")
    assert "3 runs" in str(found["reason"])
    result.stdout.fnmatch_lines(["note: words/exact on word-ending-heldout: * items got worse: *"])
    result.stdout.fnmatch_lines(["next: *runs show *", "      if the change is meant: *"], consecutive=True)
    assert float(str(found["p_value"])) < 0.001


def test_without_train_a_drop_is_decided_on_what_is_recorded(retrained: Project) -> None:
    retrained.write("words.toml", noisy(0.5))
    retrained.test("def test_run(tunix_run):\n    pass\n", "test_run.py")
    retrained.run("--tunix-train", "test_run.py").assert_outcomes(passed=1)
    before = len(retrained.manifests())
    retrained.run("test_words.py").assert_outcomes(failed=1)
    assert len(retrained.manifests()) == before


def test_fresh_seeds_that_are_recorded_confirm_without_training(retrained: Project) -> None:
    retrained.write("words.toml", noisy(0.5))
    retrained.run("--tunix-train").assert_outcomes(failed=1)
    with_training, before = verdict(retrained), len(retrained.manifests())
    retrained.run().assert_outcomes(failed=1)
    assert verdict(retrained) == with_training
    assert "3 runs" in str(with_training["reason"])
    assert len(retrained.manifests()) == before


def test_the_same_weights_are_compared_item_by_item(retrained: Project) -> None:
    retrained.run("--tunix-train").assert_outcomes(passed=1)
    found = verdict(retrained)
    assert (found["unit"], found["delta"], found["n_runs"]) == ("items", 0.0, 1)


def test_one_baseline_run_finds_a_collapse(project: Project) -> None:
    project.test(GATE)
    result = project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["note: words/exact on word-ending-heldout: no_worse finds a drop of 0.*"])
    project.write("words.toml", RUN_FILE.replace("order = 8", "order = 1"))
    project.run("--tunix-train").assert_outcomes(failed=1)
    assert verdict(project)["n_runs"] == 1


def test_an_undecided_gate_is_no_pass_and_fails_where_one_is_required(project: Project) -> None:
    """With a margin that leaves no room for a drop that could be found."""
    project.test(GATE)
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1").assert_outcomes(passed=1)
    project.test(GATE.replace("metric='exact'", "metric='exact', margin=0.99"))
    plan = project.run("--tunix-plan")
    plan.stdout.fnmatch_lines(
        ["*gate   no_worse(exact) of words *; between runs of other weights will be undecided because the largest*"]
    )
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "*  undecided no_worse exact *",
            "undecided: 1 gate could not have failed and has not passed *",
            "SKIPPED*: words/exact: *",
        ]
    )
    assert (verdict(project)["outcome"], "undecided because" in str(verdict(project)["reason"])) == ("undecided", True)
    result = project.run("--tunix-require")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*(--tunix-require: a gate may not be undecided)*"])


def test_a_run_of_a_gpu_says_so_in_its_verdict_and_records_and_keeps_its_id(project: Project) -> None:
    project.test(GATE)
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1").assert_outcomes(passed=1)
    assert verdict(project)["notes"] == ["same weights as baseline run " + str(verdict(project)["run_id"])]
    (path,) = project.manifests()
    manifest = read_manifest(path)
    assert manifest is not None
    assert "unpromised_bits" not in manifest.device
    device = manifest.device | {"platform": "gpu"}
    path.write_text(manifest_text(manifest.model_copy(update={"device": device})))

    result = project.run()
    result.assert_outcomes(passed=1)
    reason = "gpu without --xla_gpu_deterministic_ops"
    note = f"{reason}: a run trained or evaluated again may differ; this verdict is of this run alone"
    assert verdict(project)["notes"][1:] == [note]  # type: ignore[index]
    result.stdout.fnmatch_lines([f"note: words/exact no_worse: {reason}: a run*"])
    said = next(path.parent.glob("delta_report.*.md")).read_text().splitlines()[2]
    assert said.endswith(f". {reason}: trained or evaluated again, it may differ.")
    held = json.loads(next(path.parent.glob("eval_manifest.*.json")).read_text())
    assert (held["run_id"], held["device"]["unpromised_bits"]) == (path.parent.name, reason)
    # What is recorded is enough for a baseline to say so too.
    project.run("--tunix-update-baselines").assert_outcomes(passed=1)
    baseline = json.loads(next(project.path.glob("baselines/words/*.json")).read_text())
    assert baseline["runs"][0]["device"]["unpromised_bits"] == reason
