import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from conftest import EOS, TINY, VOCAB, counting_rows
from tunix_eval.errors import ArtifactError, SpecError, TrainingError
from tunix_eval.model import FlaxTrainer, initial_params, restore, weights_sha256
from tunix_eval.model.checkpoints import finished_steps
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import abstract_params, decoder_with
from tunix_eval.model.holdout import Holdout, best_measurement, is_stale
from tunix_eval.model.loss import next_token_nll
from tunix_eval.model.metrics import MetricLine, read_metrics
from tunix_eval.specs import ModelSpec, TrainingSpec

CONFIG = DecoderConfig.from_spec(TINY, vocab_size=VOCAB)


def train(job):
    return FlaxTrainer().train(job, on_progress=lambda progress: None)


def lines_of(job):
    return read_metrics(job.directory / "metrics.jsonl")


def measured(job):
    """The metrics without what depends on the clock."""
    names = ("step", "loss", "grad_norm", "learning_rate", "tokens", "holdout_loss", "skipped")
    return [tuple(getattr(line, name) for name in names) for line in lines_of(job)]


def contrary_rows():
    """Rows `<bos> a b <eos>` where b is five after a: what is learned of the training rows makes them less likely."""
    rows = counting_rows(5)
    digit = rows.loss_mask & (rows.tokens != EOS)
    return dataclasses.replace(rows, tokens=np.where(digit, (rows.tokens + 4) % 10, rows.tokens).astype(np.int32))


@pytest.fixture
def watched(make_job):
    """A job whose holdout gets worse after a while. Dispatches end at 4, 8, 12, ..."""

    def make(directory="run", **training):
        defaults = {"steps": 60, "holdout_steps": 6, "schedule": "constant", "checkpoint_steps": 4}
        job = make_job(directory=directory, **defaults | training)
        return dataclasses.replace(job, holdout=contrary_rows())

    return make


def test_the_loss_is_the_mean_over_all_tokens_however_the_rows_are_batched():
    rows = counting_rows(7)
    mask = rows.loss_mask & (np.random.default_rng(0).random(rows.loss_mask.shape) < 0.6)
    rows = dataclasses.replace(rows, loss_mask=mask)
    params = initial_params(CONFIG, 0)
    decoder = decoder_with(CONFIG, params)
    hidden, _ = decoder(rows.tokens, rows.positions, rows.segment_ids)
    nats, count = next_token_nll(decoder.logits(hidden), rows.tokens, rows.loss_mask, rows.segment_ids)
    for shape in ({"rows": 7}, {"rows": 3}, {"rows": 8, "accumulate": 4}):
        training = TrainingSpec.model_validate({"steps": 1, "row_tokens": 12} | shape)
        assert Holdout(rows, CONFIG, training).loss(params) == pytest.approx(float(nats / count), rel=1e-5)


def test_it_is_measured_at_the_dispatch_ends_that_reach_a_multiple_and_after_the_last_step(watched):
    job = watched(steps=22, holdout_steps=6)
    result = train(job)
    lines = lines_of(job)
    # 6, 12 and 18 are reached at 8, 12 and 20.
    assert [line.step for line in lines if line.holdout_loss is not None] == [8, 12, 20, 22]
    assert result.holdout_loss == lines[-1].holdout_loss
    raw = [json.loads(line) for line in (job.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in raw if "holdout_loss" in line] == [8, 12, 20, 22]
    model = FlaxTrainer().load(job, "final")
    holdout = Holdout(contrary_rows(), CONFIG, job.training)
    final = restore(job.directory / "checkpoint-final", {"params": abstract_params(CONFIG)})["params"]
    assert weights_sha256(final) == model.weights_sha256
    assert holdout.loss(final) == result.holdout_loss


def test_a_holdout_changes_nothing_of_what_is_learned(make_job, watched):
    alone, beside = watched("alone", steps=12), watched("beside", steps=12)
    alone = dataclasses.replace(alone, holdout=None)
    assert train(alone).weights_sha256 == train(beside).weights_sha256


def test_training_stops_early_where_the_holdout_brings_no_new_best(watched):
    job = watched(early_stopping=2)
    result = train(job)
    losses = {line.step: line.holdout_loss for line in lines_of(job) if line.holdout_loss is not None}
    best = min(losses, key=losses.get)
    later = [step for step in losses if step > best]
    assert result.ended == "early_stopping"
    assert result.steps == later[-1] < result.total_steps == 60
    assert len(later) == 2
    assert result.holdout_loss == losses[result.steps]
    assert result.best_step is None


def test_the_best_weights_are_those_that_a_run_of_so_many_steps_ends_with(watched):
    job = watched(early_stopping=2, keep="best")
    result = train(job)
    best = best_measurement(lines_of(job))
    assert result.best_step == best.step < result.steps
    assert result.holdout_loss == best.holdout_loss
    short = train(dataclasses.replace(watched("short"), stop_after=best.step))
    assert result.weights_sha256 == short.weights_sha256
    assert FlaxTrainer().load(job, "final").weights_sha256 == short.weights_sha256


def stopping_after(job, dispatches):
    asked = iter(range(1, 1000))
    return dataclasses.replace(job, stop_requested=lambda: "enough" if next(asked) == dispatches else None)


def test_a_run_that_is_stopped_anywhere_decides_as_one_that_is_not(watched):
    # So close a limit skips some steps, by a mean that checkpoints must hold.
    how = {"early_stopping": 2, "keep": "best", "spike": "skip", "spike_factor": 1.02, "learning_rate": 0.3}
    whole = watched("whole", **how)
    expected = train(whole)
    assert expected.ended == "early_stopping"
    assert expected.skipped_steps
    for dispatches in range(1, expected.steps // 4):
        job = watched(f"stopped{dispatches}", **how)
        assert train(stopping_after(job, dispatches)).ended == "stopped"
        again = train(job)
        assert again.resumed_from == 4 * dispatches
        for name in ("weights_sha256", "best_step", "holdout_loss", "ended", "steps", "skipped_steps"):
            assert getattr(again, name) == getattr(expected, name)
        assert measured(job) == measured(whole)


@pytest.mark.parametrize("damage", [shutil.rmtree, lambda best: (best / "_METADATA").write_bytes(b"")])
def test_a_checkpoint_whose_best_weights_are_gone_or_damaged_is_passed_over(watched, damage):
    def made(directory):
        job = watched(directory, steps=16, holdout_steps=8, keep="best", keep_checkpoints=9)
        return dataclasses.replace(job, holdout=counting_rows(6))

    expected, job = train(made("whole")), made("stopped")
    train(stopping_after(job, 3))
    assert finished_steps(job.directory / "checkpoints") == [4, 8, 12]
    damage(job.directory / "best" / "8")
    with pytest.raises(ArtifactError, match="best/8"):
        train(dataclasses.replace(job, resume_from=12))
    again = train(job)
    assert (again.resumed_from, again.best_step) == (4, expected.best_step)
    assert again.weights_sha256 == expected.weights_sha256


def test_the_best_weights_at_a_checkpoint_are_kept_until_it_goes(watched):
    job = dataclasses.replace(watched(steps=24, holdout_steps=8, keep="best"), holdout=counting_rows(6))
    train(stopping_after(job, 4))
    assert sorted(path.name for path in (job.directory / "best").iterdir()) == ["16", "8"]
    assert finished_steps(job.directory / "checkpoints") == [12, 16]
    of_eight = restore(job.directory / "best" / "8", {"params": abstract_params(CONFIG)})["params"]
    shutil.rmtree(job.directory / "checkpoints" / "16")
    # As on an accelerator that does not give the same bits again: nothing behind the checkpoint is better this time.
    again = train(dataclasses.replace(job, holdout=contrary_rows()))
    assert (again.resumed_from, again.best_step) == (12, 8)
    assert again.weights_sha256 == weights_sha256(of_eight)


def test_a_holdout_that_predicts_nothing_is_refused(make_job):
    rows = counting_rows(6)
    first = dataclasses.replace(rows, loss_mask=rows.positions == 0)
    with pytest.raises(TrainingError, match="no holdout row has a supervised token"):
        train(dataclasses.replace(make_job(), holdout=first))


def test_a_run_that_was_killed_after_its_end_ends_there_again(watched):
    job = watched(early_stopping=2, keep="best", checkpoint_steps=4)
    expected = train(job)
    again = train(job)
    assert again.resumed_from is not None
    assert (again.weights_sha256, again.steps) == (expected.weights_sha256, expected.steps)


@pytest.mark.parametrize("asked", [{"early_stopping": 2}, {"keep": "best"}])
def test_decisions_by_a_holdout_that_is_not_there_are_refused(make_job, asked):
    with pytest.raises(SpecError, match=r"go by the holdout's loss; give a holdout"):
        train(make_job(**asked))


def line(step, holdout_loss=None):
    return MetricLine(
        step=step,
        epoch=0.0,
        loss=1.0,
        learning_rate=0.1,
        grad_norm=1.0,
        tokens=1,
        tokens_per_second=1.0,
        wall_seconds=1.0,
        device="cpu:0",
        holdout_loss=holdout_loss,
    )


def test_only_measurements_count_for_patience_and_an_equal_loss_is_no_new_best():
    lines = [line(step, {2: 1.5, 4: 1.0, 6: 1.0, 8: 1.2}.get(step)) for step in range(1, 10)]
    assert best_measurement(lines).step == 4
    assert is_stale(lines, 2)
    assert not is_stale(lines, 3)
    assert not is_stale(lines[:7], 2)
    assert not is_stale(lines[:1], 1)
    assert not is_stale(lines, None)


def test_steps_that_are_skipped_are_told_and_leave_finite_weights(make_job):
    wild = {"learning_rate": 1e30, "optimizer": "sgd", "clip_norm": None, "schedule": "constant"}
    job = make_job(**wild, not_finite="skip")
    result = train(job)
    lines = lines_of(job)
    assert result.steps == 20
    assert result.skipped_steps == tuple(line.step for line in lines if line.skipped) == tuple(range(2, 21))
    for raw in map(json.loads, (job.directory / "metrics.jsonl").read_text().splitlines()):
        assert raw.get("skipped", False) == (raw["step"] in result.skipped_steps)
        # Weights of 1e30 write every token alike: it is the gradient that is not finite, and it alone is null.
        assert (raw["loss"] is None, raw["grad_norm"] is None) == (False, raw["step"] > 1)
    final = restore(job.directory / "checkpoint-final", {"params": abstract_params(CONFIG)})["params"]
    assert all(np.isfinite(array).all() for array in final.values())


def test_a_spike_stops_training_with_its_step_its_traces_and_the_norm_of_its_gradient(make_job):
    wild = {"learning_rate": 10.0, "optimizer": "sgd", "clip_norm": None, "schedule": "constant"}
    job = make_job(**wild, spike="stop", spike_factor=2.0)
    with pytest.raises(TrainingError) as caught:
        train(job)
    done, message = lines_of(job), str(caught.value)
    assert message.startswith(f"step {len(done) + 1} of 20: loss ")
    mean = np.mean([line.loss for line in done])
    assert f" is over 2 times {mean:.4g}, the mean before it; gradient norm " in message
    assert len(message.rpartition(": ")[2].split(", ")) == 4 * 3
    assert not (job.directory / "checkpoint-final").exists()


def test_a_training_begins_from_the_weights_of_another(make_job):
    first, second = make_job(directory="first"), make_job(directory="second", seed=7)
    result = train(first)
    second = dataclasses.replace(second, initial=first.directory / "checkpoint-final")
    assert FlaxTrainer().load(second, "initial").weights_sha256 == result.weights_sha256
    train(second)
    assert lines_of(first)[0].loss == pytest.approx(math.log(VOCAB), rel=0.1)
    assert lines_of(second)[0].loss < 0.75 * math.log(VOCAB)


def test_weights_of_another_shape_are_refused_in_one_line(make_job):
    first, second = make_job(directory="first", steps=4), make_job(directory="second")
    train(first)
    wider = ModelSpec(layers=2, width=32, heads=2, mlp_width=32)
    second = dataclasses.replace(second, model=wider, initial=first.directory / "checkpoint-final")
    said = r"^model\.init_from: .*checkpoint-final: .* is float32\[.*its model has width 16 \(here 32\)"
    with pytest.raises(ArtifactError, match=said) as caught:
        train(second)
    assert "\n" not in str(caught.value)
