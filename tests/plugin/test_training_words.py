"""What people are told of a training: where it begins, how it ended, what was not measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from displays import Recorder
from projects import Project

from tunix_eval.plugin.progress import Update
from tunix_eval.plugin.training import resume_step

RESUMING = '''
import msgspec
from tunix_eval_template.ngram import NgramTrainer


class ResumingTrainer(NgramTrainer):
    """Goes on from a step that stands in a file of the run's directory."""

    name = "resuming"

    def train(self, job, *, on_progress):
        kept = job.directory / "kept"
        begun = int(kept.read_text()) if kept.exists() else 0
        job.on_started(begun)
        result = super().train(job, on_progress=lambda now: on_progress(msgspec.structs.replace(now, loss=None)))
        return msgspec.structs.replace(result, resumed_from=begun or None)
'''
CONFTEST = """
from tunix_eval_template.hooks import *
from tunix_eval.plugin import progress
progress.SECONDS_BETWEEN_LINES = 0.0
def pytest_tunix_trainers():
    return {"resuming": "resuming:ResumingTrainer"}
"""


def test_a_training_that_goes_on_says_from_where_and_a_loss_that_is_not_there_is_a_dash(project: Project) -> None:
    project.write("resuming.py", RESUMING)
    project.write("conftest.py", CONFTEST)
    project.write("words.toml", (project.path / "words.toml").read_text().replace('"ngram"', '"resuming"'))
    project.write("pyproject.toml", (project.path / "pyproject.toml").read_text().replace('["', '[".", "', 1))
    project.test("def test_run(tunix_run):\n    pass\n")
    plan = project.run_apart("--tunix-train", "--tunix-plan").outlines
    run_id = next(line for line in plan if line.startswith("  train")).split()[2]
    project.write(f"artifacts/runs/{run_id}/kept", "7")
    result = project.run_apart("--tunix-train")
    result.assert_outcomes(passed=1)
    lines = [line for line in result.outlines if line.startswith("training words")]
    assert lines[0] == f"training words ({run_id}): seed 0, 22 steps on cpu; goes on from step 7"
    assert lines[1] == "training words: step 7 of 22"
    assert ", loss -, " in lines[2]
    result.stdout.fnmatch_lines([f"  words*{run_id[:8]}*resumed", "    went on from step 7"])


def test_a_bar_begins_where_the_training_does_and_counts_no_time_from_there() -> None:
    recorder = Recorder()
    update = Update(recorder, "training a", unit="step", total=800)
    update.started(300)
    update(310)
    assert [(task.done, task.seconds_left) for task in recorder.tasks] == [(300, None), (310, None)]


@pytest.mark.parametrize("trainer", ["flax", "ngram"])
def test_a_step_to_go_on_from_reaches_the_runs_that_hold_it_and_fresh_seeds_begin_anew(
    tmp_path: Path, trainer: str
) -> None:
    fresh, held = tmp_path / "fresh", tmp_path / "held"
    fresh.mkdir()
    (fresh / "started.json").write_text("{}")
    for step in ("4", "8"):
        (held / "checkpoints" / step).mkdir(parents=True)
    (held / "checkpoints" / "4" / "digests.json").write_text("{}")
    assert resume_step(4, held, trainer) == 4
    assert resume_step(4, fresh, trainer) is None
    assert resume_step(4, tmp_path / "nowhere", trainer) is None
    assert resume_step(None, held, trainer) is None
    # Not finished; where another trainer keeps its own, it knows itself.
    assert resume_step(8, held, trainer) == (8 if trainer == "ngram" else None)
