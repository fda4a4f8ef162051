"""How a training went, told truly: what was not measured, what changed nothing, weights that no loss has judged."""

import dataclasses
import json

import numpy as np
import pytest

from conftest import counting_rows
from tunix_eval.errors import TrainingError
from tunix_eval.model import FlaxTrainer
from tunix_eval.model.metrics import read_metrics
from tunix_eval.model.order import row_indices


@pytest.fixture
def small_job(make_job):
    def make(packed=None, *, init_std=0.02, **settings):
        job = make_job(steps_per_dispatch=4, schedule="constant", **settings)
        model = job.model.model_copy(update={"layers": 1, "init_std": init_std})
        return dataclasses.replace(job, model=model, rows=packed or job.rows)

    return make


def rows_of_which_some_predict_nothing(*, weighted):
    """The even ones: no token is supervised, or only those that open a trace; or all weigh 0."""
    rows = counting_rows(12)
    mask, weights = rows.loss_mask.copy(), None
    if weighted:
        weights = rows.loss_mask.astype(np.float32)
        weights[::2] = 0
    else:
        mask[::4] = False
        mask[2::4] = rows.positions[2::4] == 0
    return dataclasses.replace(rows, loss_mask=mask, loss_weights=weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_that_predicts_nothing_has_neither_loss_nor_gradient(small_job, weighted):
    job = small_job(
        rows_of_which_some_predict_nothing(weighted=weighted), rows=1, steps=12, spike="skip", not_finite="skip"
    )
    told = []
    FlaxTrainer().train(job, on_progress=told.append)
    empty = [row % 2 == 0 for row in row_indices(0, rows=12, start=0, count=12)]
    raw = [json.loads(line) for line in (job.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] is None for line in raw] == [line["grad_norm"] is None for line in raw] == empty
    assert all(line["loss"] > 0 for line in raw if line["loss"] is not None)
    assert not any("skipped" in line for line in raw)
    assert [now.loss for now in told] == [raw[step - 1]["loss"] for step in (4, 8, 12)]


def test_a_run_of_which_every_step_was_skipped_fails_with_the_norms_of_its_first_and_last(small_job):
    rows = counting_rows(12)
    # Each of them is finite, and their sum is not.
    rows = dataclasses.replace(rows, loss_weights=np.where(rows.loss_mask, 3e38, 0).astype(np.float32))
    job = small_job(rows, steps=6, not_finite="skip")
    with pytest.raises(TrainingError) as caught:
        FlaxTrainer().train(job, on_progress=lambda now: None)
    assert str(caught.value) == (
        "none of the 6 steps changed anything: 6 were skipped, for their loss or gradient was not finite, or a spike; "
        "gradient norm not finite at step 1, not finite at step 6; lower learning_rate, or have the traces of the "
        'first one named, with not_finite = "stop"'
    )
    assert len(read_metrics(job.directory / "metrics.jsonl")) == 6
    assert not (job.directory / "checkpoint-final").exists()


def test_a_last_update_to_infinity_is_named(small_job):
    wild = {"learning_rate": 1e30, "optimizer_options": {"weight_decay": 1e30}}
    job = small_job(**wild, steps=1)
    with pytest.raises(
        TrainingError, match=r"^step 1 of 1: after it \d+ of \d+ weights are not finite, the first in '"
    ):
        FlaxTrainer().train(job, on_progress=lambda now: None)
    (line,) = read_metrics(job.directory / "metrics.jsonl")
    assert line.loss is not None
    assert not (job.directory / "checkpoint-final").exists()


def test_a_training_tells_once_and_before_its_first_step_where_it_begins(small_job):
    job, heard = small_job(steps=8), []

    def train(stop=None):
        FlaxTrainer().train(
            dataclasses.replace(job, stop_requested=lambda: stop, on_started=heard.append),
            on_progress=lambda now: heard.append(f"at {now.step}"),
        )

    train(stop="enough")
    train()
    assert heard == [0, "at 4", 4, "at 8"]
