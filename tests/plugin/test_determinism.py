"""The marker tunix_deterministic trains twice and compares bits."""

from __future__ import annotations

import pytest
from projects import CONFTEST, RUN_FILE, Project

MARKED = """
@pytest.mark.tunix_deterministic(steps=3)
def test_same_bits():
    pass
"""
TRAINERS = """
import itertools
import os

import numpy as np
from tunix_eval_template.ngram import NgramTrainer

calls = itertools.count()

class Noisy(NgramTrainer):
    # Has more to go by than the seed, from the second step on.
    name = "noisy"

    def train(self, job, *, on_progress):
        result = super().train(job, on_progress=on_progress)
        path = job.directory / "metrics.jsonl"
        first, second, *more = path.read_text().splitlines()
        path.write_text("\\n".join([first, second.replace('"loss":', f'"loss":{os.getpid()}'), *more]) + "\\n")
        return result

class Drifting(NgramTrainer):
    # Logs the same and ends with other weights.
    name = "drifting"

    def load(self, job, weights):
        model = super().load(job, weights)
        model.params = {"a": np.zeros(2), "b.scale": np.full(2, next(calls)), "c": np.full(2, next(calls))}
        model.learn([1], 65 + next(calls))
        return model
"""
OFFERED = "\ndef pytest_tunix_trainers():\n    return {'noisy': 'trainers:Noisy', 'drifting': 'trainers:Drifting'}\n"


@pytest.fixture
def marked(project: Project) -> Project:
    """A project with a test that trains twice."""
    project.test(MARKED)
    return project


def test_a_deterministic_trainer_passes_and_leaves_no_run(marked: Project, workers: tuple[str, ...]) -> None:
    result = marked.run_apart("--tunix-train", *workers)
    result.assert_outcomes(passed=1)
    assert marked.manifests() == []
    result.stdout.fnmatch_lines(
        ["tunix-eval: 0 runs to train; 0 reused; 0 evalsets; 0 gates; 1 test that trains twice"]
    )


def test_the_built_in_trainer_gives_the_same_bits_in_another_process_on_one_core(project: Project) -> None:
    model = (
        "[model]\nlayers = 1\nwidth = 16\nheads = 2\nmlp_width = 32\n[training]\nsteps = 9\nrows = 2\nrow_tokens = 48"
    )
    project.write("sums.toml", f'name = "sums"\ndataset = "addition-v1"\nrenderer = "plain"\n{model}\n')
    project.write(
        "test_sums.py",
        "import pytest\n@pytest.mark.tunix_train('sums.toml')\n@pytest.mark.tunix_deterministic\n"
        "def test_same_bits():\n    pass\n",
    )
    plan = project.run("--tunix-train", "--tunix-plan")
    plan.stdout.fnmatch_lines(["  twice  sums  9 steps, by test_sums.py::test_same_bits"])
    project.run_apart("--tunix-train").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ("noisy", "trained twice for 3 steps, the second time in another process*: step 2 has loss * and *; expected*"),
        ("drifting", "*every step has the same loss, but weight b.scale differs after the last; expected*"),
    ],
)
def test_the_first_step_or_weight_that_differs_is_named(marked: Project, trainer: str, message: str) -> None:
    marked.write("trainers.py", TRAINERS)
    marked.write("conftest.py", f"{CONFTEST}{OFFERED}")
    marked.write("words.toml", RUN_FILE.replace('trainer = "ngram"', f'trainer = "{trainer}"'))
    result = marked.run_apart("--tunix-train")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"run 'words' (seed 0), {message}"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_without_leave_to_train_it_is_skipped_with_the_reason(marked: Project) -> None:
    result = marked.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*trains 'words' twice; do it with: pytest --tunix-train"])


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ("@pytest.mark.tunix_deterministic(steps=0)", "*takes steps, a whole number from 1 on, found 0"),
        ("@pytest.mark.tunix_deterministic(step=5)", "*takes one steps, found step. Did you mean 'steps'?"),
        (
            "@pytest.mark.tunix_deterministic\n@pytest.mark.tunix_predictions('p.jsonl')",
            "*trains twice and names no training*",
        ),
    ],
)
def test_a_marker_that_cannot_be_meant_is_one_line(project: Project, marks: str, message: str) -> None:
    project.write("p.jsonl", "")
    project.test(f"{marks}\ndef test_same_bits():\n    pass\n")
    result = project.run("--tunix-train")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"marker tunix_deterministic {message}"])


def test_what_cannot_be_trained_once_is_a_mistake_of_the_plan(marked: Project) -> None:
    marked.write("words.toml", RUN_FILE.replace("rows = 8", "rows = 4000"))
    result = marked.run("--tunix-train", "--tunix-plan")
    result.stdout.fnmatch_lines(["  error *test_same_bits: training.rows: a step takes 4000 rows, but *"])


def test_the_marker_is_listed(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.tunix_deterministic(steps=20): train the run's first*"]
    )
