"""Training that is stopped or killed goes on to the same bits. `make soak` does the same 50 times."""

from __future__ import annotations

import dataclasses
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MakeJob
from tunix_eval.errors import ArtifactError
from tunix_eval.model import FlaxTrainer
from tunix_eval.model.checkpoints import finished_steps
from tunix_eval.model.metrics import read_metrics
from tunix_eval.records import TrainingJob, TrainingResult

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def train(job: TrainingJob, **changes: object) -> TrainingResult:
    return FlaxTrainer().train(dataclasses.replace(job, **changes), on_progress=lambda progress: None)


def steps(job: TrainingJob) -> list[int]:
    return finished_steps(job.directory / "checkpoints")


@pytest.fixture
def whole(make_job: MakeJob) -> TrainingResult:
    """The run that nobody disturbed."""
    return train(make_job(directory="whole"))


def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_and_goes_on_to_the_same_bits(
    make_job: MakeJob, whole: TrainingResult
) -> None:
    job, asked = make_job(), []

    def after_the_fourth() -> str | None:
        asked.append(len(read_metrics(job.directory / "metrics.jsonl")))
        return "because" if len(asked) == 4 else None

    stopped = train(job, stop_requested=after_the_fourth)
    assert (stopped.ended, stopped.steps, stopped.total_steps) == ("stopped", 16, 20)
    assert asked == [4, 8, 12, 16]
    # A multiple of 6 was passed at 8 and 12; 16 is no such step.
    assert steps(job) == [12, 16]
    assert not (job.directory / "checkpoint-final").exists()
    resumed = train(job)
    assert (resumed.ended, resumed.resumed_from, resumed.steps) == ("complete", 16, 20)
    assert resumed.weights_sha256 == whole.weights_sha256


def test_nothing_is_asked_after_the_last_step(make_job: MakeJob) -> None:
    asked = []
    result = train(make_job(stop_after=6), stop_requested=lambda: asked.append(None))
    assert (result.ended, len(asked)) == ("complete", 1)


def test_the_trainer_says_how_long_each_checkpoint_took(make_job: MakeJob) -> None:
    took: list[float] = []
    job = make_job(keep_checkpoints=9)
    train(job, on_saved=took.append)
    assert len(took) == len(steps(job)) == 2
    assert min(took) > 0


def test_a_run_goes_on_from_the_step_that_is_asked_for_to_the_same_bits(
    make_job: MakeJob, whole: TrainingResult
) -> None:
    job = make_job(keep_checkpoints=9)
    train(job)
    assert steps(job) == [8, 12]
    with pytest.raises(ArtifactError, match=r"checkpoints: no checkpoint of step 7 to go on from; there are: 8, 12$"):
        train(job, resume_from=7)
    resumed = train(job, resume_from=8)
    assert (resumed.resumed_from, resumed.weights_sha256) == (8, whole.weights_sha256)
    assert [line.step for line in read_metrics(job.directory / "metrics.jsonl")] == list(range(1, 21))


# Orbax gives a save up at the first write that fails; those that fail later may find its event loop closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_fills_up_stops_training_with_the_last_good_checkpoint_to_go_on_from(
    make_job: MakeJob, whole: TrainingResult
) -> None:
    job = make_job(checkpoint_steps=4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filled(progress: object) -> None:
        if steps(job):
            # Room for a few lines of metrics, none for arrays.
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))

    try:
        with pytest.raises(ArtifactError) as caught:
            FlaxTrainer().train(job, on_progress=filled)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = steps(job)
    assert kept
    assert re.search(
        rf"checkpoints/\d+.*: cannot be written: File too large.*; free space or choose .*\. Training stopped; "
        rf"the checkpoint of step {kept[-1]} is kept, and the same command goes on from it$",
        str(caught.value),
    )
    resumed = train(job)
    assert (resumed.resumed_from, resumed.weights_sha256) == (kept[-1], whole.weights_sha256)


def test_a_directory_with_a_checkpoint_of_another_shape_is_left_as_it_is(make_job: MakeJob) -> None:
    job = make_job()
    train(job)
    wider = dataclasses.replace(job, model=job.model.model_copy(update={"mlp_width": 64}))
    with pytest.raises(ArtifactError, match=r"checkpoints/\d+: a checkpoint of another shape: it holds float32\["):
        train(wider)
    assert steps(job)
    assert len(read_metrics(job.directory / "metrics.jsonl")) == 20


def test_three_kills_one_of_them_inside_a_save_end_with_the_same_bits() -> None:
    command = [sys.executable, str(SOAK), "--kills", "3", "--inside", "1", "--terms", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(r"SIGKILL: (\d+) kills, (\d+) inside a save, \d+ runs, 0 with other weights", result.stdout)
    assert found
    assert int(found[1]) >= 3
    assert int(found[2]) >= 1
