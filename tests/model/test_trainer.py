import dataclasses
import math
import shutil

import numpy as np
import pytest

from conftest import counting_rows
from tunix_eval.errors import ArtifactError, SpecError, TrainingError
from tunix_eval.model import FlaxTrainer, initial_params, weights_sha256
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.metrics import read_metrics
from tunix_eval.model.order import row_indices
from tunix_eval.records import Batch, Generation
from tunix_eval.specs import GenerationSpec

BOS, EOS = 14, 13


def train(job):
    progress = []
    return FlaxTrainer().train(job, on_progress=progress.append), progress


def lines_of(job):
    return read_metrics(job.directory / "metrics.jsonl")


def measured(job):
    """The metrics without what depends on the clock."""
    names = ("step", "epoch", "loss", "grad_norm", "learning_rate", "tokens")
    return [tuple(getattr(line, name) for name in names) for line in lines_of(job)]


def files(directory):
    return sorted(path.name for path in directory.iterdir())


def test_it_learns_what_the_rows_show_and_writes_it(make_job):
    job = make_job(steps=150)
    result, _ = train(job)
    losses = [line.loss for line in lines_of(job)]
    # Digits and <eos> in turn; guessing one of sixteen costs log 16 a token, knowing the rule nothing.
    assert losses[0] == pytest.approx(math.log(16), rel=0.1)
    assert np.mean(losses[-10:]) < 0.05
    prompts = [np.array([BOS, digit], np.int32) for digit in range(10)]
    model = FlaxTrainer().load(job, "final")
    assert model.weights_sha256 == result.weights_sha256
    written = model.generate(prompts, GenerationSpec(max_new_tokens=4, rows=4), stop_ids=(EOS,))
    assert written == [Generation(((digit + 1) % 10,), "stop") for digit in range(10)]


def with_weights(job, answer, stop, directory):
    """The same rows with a weight for the digit and one for the <eos> after it."""
    rows = job.rows
    weights = np.where(rows.loss_mask, np.where(rows.tokens == EOS, stop, answer), 0).astype(np.float32)
    rows = dataclasses.replace(rows, loss_weights=weights)
    return dataclasses.replace(job, rows=rows, directory=job.directory.parent / directory)


def test_one_weight_for_all_is_the_loss_without_weights_at_any_scale(make_job):
    # Of the 150 steps that the tests beside this one train, so that nothing is compiled for these six.
    job = make_job(steps=150, stop_after=6)
    plain, light = job, with_weights(job, 0.01, 0.01, "light")
    train(plain)
    train(light)
    assert [line.loss for line in lines_of(light)] == pytest.approx([line.loss for line in lines_of(plain)], rel=1e-4)


def test_what_has_no_weight_is_not_learned_and_what_has_some_is(make_job):
    job = with_weights(make_job(steps=150), 0.0, 0.1, "weighted")
    train(job)
    assert lines_of(job)[-1].loss < 0.05
    model = FlaxTrainer().load(job, "final")
    written = model.generate([np.array([BOS, 3], np.int32)], GenerationSpec(max_new_tokens=4, rows=4), stop_ids=(EOS,))
    # The stop is all that it learned: it writes it in place of the digit, which is less likely than before training.
    assert written == [Generation((), "stop")]
    rows = [np.array([BOS, 3, 4, EOS], np.int32)]
    before, after = FlaxTrainer().load(job, "initial").token_logprobs(rows)[0], model.token_logprobs(rows)[0]
    assert after[2] > math.log(0.9) > before[2]
    assert after[1] < before[1] - 1


@pytest.mark.parametrize("optimizer", ["prodigy", "galore"])
def test_an_optimizer_that_remembers_the_first_weights_or_empty_arrays_goes_on_to_the_same_bits(make_job, optimizer):
    def made(directory):
        job = make_job(directory=directory, optimizer=optimizer, steps=8, checkpoint_steps=4)
        return dataclasses.replace(job, model=job.model.model_copy(update={"layers": 1}))

    whole, _ = train(made("whole"))
    assert train(dataclasses.replace(made("stopped"), stop_requested=lambda: "enough"))[0].ended == "stopped"
    again, _ = train(made("stopped"))
    assert (again.resumed_from, again.weights_sha256) == (4, whole.weights_sha256)


TEN_STEPS = {"epochs": 3.25, "learning_rate": 0.5, "warmup_steps": 2, "schedule": "constant"}
"""Of 12 rows, 4 a step; the same for the tests that follow, so that it is compiled once."""


def test_the_result_says_what_was_done(make_job):
    job = make_job(**TEN_STEPS)
    result, progress = train(job)
    block = 4 * 16 * 16 + 3 * 16 * 32 + 2 * 16 + 2 * 8
    assert (result.steps, result.total_steps, result.resumed_from) == (10, 10, None)
    assert result.tokens == 10 * 4 * 12
    assert result.parameter_count == 16 * 16 + 2 * block + 16
    assert result.model_config["mlp_width"] == 32
    assert result.model_config["vocab_size"] == 16
    assert [p.step for p in progress] == [4, 8, 10]
    assert {p.total_steps for p in progress} == {10}
    assert [p.loss for p in progress] == [lines_of(job)[step - 1].loss for step in (4, 8, 10)]


def test_every_step_has_a_line_of_metrics(make_job):
    job = make_job(**TEN_STEPS)
    train(job)
    lines = lines_of(job)
    assert [line.step for line in lines] == list(range(1, 11))
    assert [line.epoch for line in lines] == pytest.approx([step / 3 for step in range(1, 11)])
    assert [line.learning_rate for line in lines] == pytest.approx([0.25, *[0.5] * 9])
    assert {line.tokens for line in lines} == {48}
    assert {line.device for line in lines} == {"cpu:0"}
    assert all(line.grad_norm > 0 and line.tokens_per_second > 0 for line in lines)
    seconds = [line.wall_seconds for line in lines]
    assert seconds == sorted(seconds)


def test_epochs_are_passes_over_the_rows(make_job):
    result, _ = train(make_job(**TEN_STEPS))
    # 9.75, and none is left out.
    assert result.total_steps == result.steps == 10


def test_a_step_of_more_rows_than_there_are_is_refused(make_job):
    job = make_job(rows=30)
    few = dataclasses.replace(job, rows=counting_rows(29))
    with pytest.raises(SpecError, match=r"training\.rows: a step takes 30 rows, but the dataset is packed in 29"):
        train(few)


def test_equal_jobs_give_equal_bits_and_other_seeds_do_not(make_job):
    first, again, other = make_job(directory="a"), make_job(directory="b"), make_job(directory="c", seed=1)
    digests = [train(job)[0].weights_sha256 for job in (first, again, other)]
    assert digests[0] == digests[1] != digests[2]
    assert measured(first) == measured(again) != measured(other)


def test_a_truncated_run_is_the_beginning_of_the_full_one(make_job):
    full, short = make_job(directory="full"), make_job(directory="short", stop_after=7)
    train(full)
    result, progress = train(short)
    assert (result.steps, result.total_steps) == (7, 20)
    assert measured(short) == measured(full)[:7]
    assert progress[-1].step == 7
    assert FlaxTrainer().load(short, "final").weights_sha256 == result.weights_sha256


def test_stopping_after_more_steps_than_there_are_truncates_nothing(make_job):
    result, _ = train(make_job(stop_after=99))
    assert result.steps == result.total_steps == 20


def test_the_size_of_a_dispatch_does_not_change_what_is_learned(make_job):
    fours, threes = make_job(directory="a", steps_per_dispatch=4), make_job(directory="b", steps_per_dispatch=3)
    train(fours)
    train(threes)
    assert [line.loss for line in lines_of(fours)] == pytest.approx([line.loss for line in lines_of(threes)], rel=1e-4)


def test_the_initial_model_is_what_the_seed_draws(make_job):
    job = make_job(seed=5)
    config = DecoderConfig.from_spec(job.model, vocab_size=16)
    assert FlaxTrainer().load(job, "initial").weights_sha256 == weights_sha256(initial_params(config, 5))
    assert not job.directory.exists()


def test_a_loss_that_is_not_a_number_names_the_step_and_the_traces(make_job):
    job = make_job(learning_rate=1e30, optimizer="sgd", clip_norm=None, schedule="constant")
    with pytest.raises(TrainingError) as caught:
        train(job)
    done = len(lines_of(job))
    assert 0 < done < 20
    message = str(caught.value)
    assert message.startswith(f"step {done + 1} of 20: loss ")
    named = message.rpartition(": ")[2].split(", ")
    assert len(named) == 4 * 3
    batch = row_indices(job.seed, rows=12, start=done * 4, count=4)
    assert named == [trace for row in batch for trace in job.rows.trace_ids[row]]
    assert not (job.directory / "checkpoint-final").exists()


def test_checkpoints_are_written_where_a_dispatch_passes_a_multiple_and_two_are_kept(make_job):
    job = make_job(steps=30)
    train(job)
    # Dispatches end at 4, 8, 12, ...; multiples of 6 are passed at 8, 12, 20, 24 and at the end.
    assert files(job.directory / "checkpoints") == ["20", "24"]
    assert files(job.directory) == ["checkpoint-final", "checkpoints", "metrics.jsonl"]


@pytest.fixture
def stopped(make_job):
    """A full run, and the same job's directory as a kill would have left it after checkpoint 12."""
    full = make_job(directory="full")
    result, _ = train(full)
    job = make_job(directory="stopped")
    train(dataclasses.replace(job, stop_after=15))
    shutil.rmtree(job.directory / "checkpoint-final")
    return job, full, result


def assert_resumed(job, full, result, step):
    again, _ = train(job)
    assert again.resumed_from == step
    assert again.weights_sha256 == result.weights_sha256
    assert again.tokens == result.tokens
    assert measured(job) == measured(full)


def test_training_goes_on_from_the_newest_checkpoint_to_the_same_bits(stopped):
    assert files(stopped[0].directory / "checkpoints") == ["12", "8"]
    assert_resumed(*stopped, step=12)


def test_a_damaged_checkpoint_is_passed_over(stopped):
    directory = stopped[0].directory / "checkpoints" / "12"
    largest = max((path for path in directory.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-7] + b"damaged")
    assert_resumed(*stopped, step=8)


def test_a_run_that_is_to_stop_at_a_checkpoint_takes_it_as_it_is(stopped):
    job, full, _ = stopped
    result, progress = train(dataclasses.replace(job, stop_after=12))
    assert (result.steps, result.resumed_from, progress) == (12, 12, [])
    assert measured(job) == measured(full)[:12]
    assert FlaxTrainer().load(job, "final").weights_sha256 == result.weights_sha256


def test_an_unfinished_checkpoint_is_passed_over(stopped):
    (stopped[0].directory / "checkpoints" / "12" / "digests.json").unlink()
    assert_resumed(*stopped, step=8)


def test_without_a_sound_checkpoint_training_begins_anew(stopped):
    for step in ("8", "12"):
        (stopped[0].directory / "checkpoints" / step / "digests.json").write_text("{}")
    assert_resumed(*stopped, step=None)


def test_a_checkpoint_whose_metrics_are_lost_is_passed_over(stopped):
    path = stopped[0].directory / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]) + b'{"step":11,')
    assert_resumed(*stopped, step=8)


def test_a_model_is_loaded_without_the_rows_that_it_was_trained_on(make_job):
    job = make_job(stop_after=4)
    train(job)
    bare = dataclasses.replace(job, rows=Batch.empty())
    prompts = [np.array([BOS, digit], np.int32) for digit in range(3)]
    settings = GenerationSpec(max_new_tokens=4, rows=4)
    for weights in ("initial", "final"):
        model, again = FlaxTrainer().load(job, weights), FlaxTrainer().load(bare, weights)
        assert again.weights_sha256 == model.weights_sha256
        written = model.generate(prompts, settings, stop_ids=(EOS,))
        assert again.generate(prompts, settings, stop_ids=(EOS,)) == written


def test_a_damaged_final_checkpoint_is_an_error_with_its_file(make_job):
    job = make_job(stop_after=4)
    train(job)
    final = job.directory / "checkpoint-final"
    (final / "manifest.ocdbt").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=r"checkpoint-final/manifest\.ocdbt: damaged"):
        FlaxTrainer().load(job, "final")
    shutil.rmtree(final)
    with pytest.raises(ArtifactError, match=r"checkpoint-final/digests\.json: missing"):
        FlaxTrainer().load(job, "final")


def test_a_final_checkpoint_of_another_model_is_an_error(make_job):
    job = make_job(stop_after=4)
    train(job)
    other = dataclasses.replace(job, model=job.model.model_copy(update={"width": 32}))
    with pytest.raises(ArtifactError, match=r"the run spec wants float32\["):
        FlaxTrainer().load(other, "final")


def test_options_are_refused(make_job):
    with pytest.raises(SpecError, match=r"training\.options: the flax trainer takes none, found depth; remove them"):
        train(make_job(options={"depth": 3}))


def test_an_unknown_optimizer_is_refused(make_job):
    with pytest.raises(SpecError, match=r"Did you mean 'adam'\?"):
        train(make_job(optimizer="addam"))


def test_ids_outside_the_vocabulary_are_refused(make_job):
    job = dataclasses.replace(make_job(), vocab_size=12)
    with pytest.raises(TrainingError, match="token ids 0 to 14 in the rows, but the vocabulary has 12"):
        train(job)


def test_rows_without_a_supervised_token_are_refused(make_job):
    job = make_job()
    rows = dataclasses.replace(job.rows, loss_mask=np.zeros_like(job.rows.loss_mask))
    with pytest.raises(TrainingError, match="no row has a supervised token"):
        train(dataclasses.replace(job, rows=rows))


def test_a_directory_that_cannot_be_written_is_an_error_with_its_path(make_job):
    job = make_job()
    job.directory.parent.mkdir(parents=True, exist_ok=True)
    job.directory.write_text("in the way")
    with pytest.raises(ArtifactError, match=r"run/metrics\.jsonl: cannot be written"):
        train(job)


def test_weights_that_are_no_numbers_are_refused(make_job):
    with pytest.raises(TrainingError, match="loss weights must be finite"):
        train(with_weights(make_job(), float("nan"), 1.0, "bad"))
    with pytest.raises(TrainingError, match="not all 0"):
        train(with_weights(make_job(), 0.0, 0.0, "none"))
