import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conftest import TINY, VOCAB, counting_rows
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import initial_params
from tunix_eval.model.optimizer import optimizer_names
from tunix_eval.model.steps import StackedBatches, initial_state, train_steps
from tunix_eval.specs import TrainingSpec

# One layer, for what takes time here is to compile.
CONFIG = DecoderConfig.from_spec(TINY.model_copy(update={"layers": 1}), vocab_size=VOCAB)
ROWS = counting_rows(8)
PLAIN = {"optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant", "clip_norm": None}


def spec(**fields):
    return TrainingSpec.model_validate({"steps": 9, "rows": 8, "row_tokens": 12} | PLAIN | fields)


def stacked(training, *batches):
    """Batches of eight rows each as one dispatch; each a mapping of what differs from the counting rows."""
    parts = training.accumulate

    def stack(field):
        arrays = [batch.get(field, getattr(ROWS, field)) for batch in batches]
        if arrays[0] is None:
            return None
        return jnp.asarray(np.stack([array.reshape(parts, 8 // parts, 12) for array in arrays]))

    return StackedBatches(*(stack(field) for field in StackedBatches._fields))


def state_of(training):
    return initial_state(initial_params(CONFIG, 0), training, 9)


def do(training, state, *batches):
    return train_steps(CONFIG, training, 9)(state, stacked(training, *batches), jnp.int32(len(batches)))


masks = hnp.arrays(np.bool_, (8, 12)).filter(lambda mask: mask[:, 1:4].any())
weights = hnp.arrays(np.float32, (8, 12), elements=st.sampled_from([0.125, 0.5, 1.0, 4.0]))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(mask=masks, weight=st.just(np.ones((8, 12), np.float32)) | weights)
def test_micro_batches_add_up_to_the_batch_whatever_each_of_them_supervises(mask, weight):
    found = []
    for training in (spec(), spec(accumulate=4)):
        state, metrics = do(training, state_of(training), {"loss_mask": mask, "loss_weights": weight})
        found.append((state.params, metrics.loss[0], metrics.grad_norm[0]))
    # With SGD at a rate of 1 the weights have moved by the gradient.
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-6)


def test_a_micro_batch_without_a_supervised_token_weighs_nothing():
    mask = ROWS.loss_mask.copy()
    mask[4:] = False
    half = {"loss_mask": mask}
    state, metrics = do(spec(accumulate=2), state_of(spec(accumulate=2)), half)
    alone, expected = do(spec(rows=4), state_of(spec(rows=4)), half)
    assert float(metrics.loss[0]) == pytest.approx(float(expected.loss[0]), rel=1e-5)
    for name, array in state.params.items():
        np.testing.assert_allclose(array, alone.params[name], rtol=2e-4, atol=2e-6)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


BROKEN = {"loss_weights": np.where(ROWS.loss_mask, np.inf, 0).astype(np.float32)}
SOUND = {"loss_weights": np.where(ROWS.loss_mask, 1, 0).astype(np.float32)}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_is_not_finite_changes_nothing_where_it_is_skipped(optimizer):
    training = spec(optimizer=optimizer, learning_rate=0.01, not_finite="skip", schedule="linear")
    before, _ = do(training, state_of(training), SOUND)
    kept = bits((before.params, before.optimizer, before.mean_loss))
    after, metrics = do(training, before, BROKEN)
    assert bits((after.params, after.optimizer, after.mean_loss)) == kept
    assert metrics.skipped[0]
    # The step counts: the next has the rate of its place in the schedule.
    assert int(after.step) == 2
    again, later = do(training, after, SOUND)
    assert not later.skipped[0]
    assert float(later.learning_rate[0]) == pytest.approx(0.01 * (1 - 0.95 * 2 / 8), rel=1e-5)
    assert bits(again.params) != kept


def test_the_rate_that_is_applied_after_a_skipped_step_is_the_one_that_is_measured():
    training = spec(not_finite="skip", schedule="linear", final_learning_rate=0.0)
    skipped, _ = do(training, state_of(training), BROKEN, BROKEN)
    untouched = state_of(training).params
    after, metrics = do(training, skipped, SOUND)
    moved = {name: np.asarray(untouched[name] - after.params[name]) for name in untouched}
    norm = np.sqrt(sum((array**2).sum() for array in moved.values()))
    # SGD moves by rate times gradient.
    assert norm == pytest.approx(float(metrics.learning_rate[0] * metrics.grad_norm[0]), rel=1e-3)
    assert float(metrics.learning_rate[0]) == pytest.approx(0.75)


def test_a_step_that_is_not_finite_goes_through_where_it_is_to_stop_training():
    training = spec()
    state, metrics = do(training, state_of(training), BROKEN)
    assert not metrics.skipped[0]
    assert not np.isfinite(metrics.loss[0])
    assert any(not np.isfinite(leaf).all() for leaf in state.params.values())


def shuffled(seed):
    """Tokens that nothing can predict."""
    return {"tokens": np.random.default_rng(seed).integers(0, 10, (8, 12)).astype(np.int32)}


def after_nine(training):
    """The state after nine steps on the counting rows, and their losses and running means."""
    state, losses, means = state_of(training), [], []
    for _ in range(9):
        state, metrics = do(training, state, {})
        assert not metrics.skipped[0]
        losses.append(float(metrics.loss[0]))
        means.append(float(metrics.mean_loss[0]))
    return state, losses, means


def test_a_loss_over_the_mean_before_it_is_a_spike_and_changes_nothing_where_it_is_skipped():
    training = spec(optimizer="adamw", learning_rate=0.05, spike="skip", spike_factor=1.5)
    state, losses, means = after_nine(training)
    # The running mean of fewer than fifty losses is the plain one.
    assert np.isnan(means[0])
    np.testing.assert_allclose(means[1:], [np.mean(losses[:n]) for n in range(1, 9)], rtol=1e-5)
    kept, mean = bits((state.params, state.optimizer)), float(state.mean_loss)
    after, metrics = do(training, state, shuffled(0))
    assert float(metrics.loss[0]) > 1.5 * mean
    assert metrics.spiked[0]
    assert metrics.skipped[0]
    assert bits((after.params, after.optimizer)) == kept
    # It enters the mean as no more than the limit that it is over.
    assert float(after.mean_loss) == pytest.approx(mean + (1.5 - 1) * mean / 10, rel=1e-5)


def test_a_batch_without_a_supervised_token_is_no_part_of_the_mean_before_a_spike():
    training = spec(learning_rate=0.01, spike="skip", spike_factor=1.5)
    nothing = {"loss_mask": np.zeros_like(ROWS.loss_mask)}
    state, metrics = do(training, state_of(training), nothing, {}, {}, nothing, {})
    assert metrics.loss[:5].tolist()[0::3] == [0, 0]
    assert not metrics.skipped.any()
    # Steps count, whatever they measured: the third one weighs a third.
    first, second = metrics.loss[1:3].tolist()
    mean = first + (second - first) / 3
    np.testing.assert_allclose(metrics.mean_loss[2:5].tolist(), [first, mean, mean], rtol=1e-5)
    assert float(state.mean_loss) > 1


@pytest.mark.parametrize("optimizer", optimizer_names())
def test_no_array_of_a_state_is_there_twice(optimizer):
    state = state_of(spec(optimizer=optimizer))
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state) if leaf.size]
    assert len(set(places)) == len(places)


def test_a_spike_goes_through_where_it_is_ignored_and_is_told():
    training = spec(optimizer="adamw", learning_rate=0.05, spike_factor=1.5)
    state, _, _ = after_nine(training)
    kept = bits(state.params)
    after, metrics = do(training, state, shuffled(0))
    assert metrics.spiked[0]
    assert not metrics.skipped[0]
    assert bits(after.params) != kept


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adamw", 0.02), ("adafactor", 0.1), ("lion", 0.01), ("muon", 0.02), ("sgd", 0.5)]
)
def test_the_usual_optimizers_learn_the_rows(optimizer, rate):
    _, losses, _ = after_nine(spec(optimizer=optimizer, learning_rate=rate, clip_norm=1.0))
    assert losses[-1] < 0.8 * losses[0]
