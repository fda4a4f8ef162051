import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tunix_eval.errors import SpecError
from tunix_eval.model.optimizer import build_optimizer, learning_rates, optimizer_names
from tunix_eval.specs import TrainingSpec


def spec(**fields):
    return TrainingSpec.model_validate({"steps": 10} | fields)


def rates(training, steps):
    schedule = learning_rates(training, steps)
    return [float(schedule(jnp.int32(step))) for step in range(steps)]


def first_update(training, weights, gradients):
    optimizer = build_optimizer(training, learning_rates(training, 10))
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(gradients, optimizer.init(weights), weights)
    return updates


def test_cosine_rises_to_the_peak_and_ends_at_its_fraction():
    found = rates(spec(learning_rate=2.0, warmup_steps=4, final_learning_rate=0.1), 9)
    fall = [0.1 + 0.9 * (1 + np.cos(np.pi * step / 5)) / 2 for step in range(6)]
    np.testing.assert_allclose(found, [0.5, 1.0, 1.5, *(2 * part for part in fall)], rtol=1e-6)
    assert found[-1] == pytest.approx(0.2)


def test_linear_falls_evenly():
    found = rates(spec(learning_rate=1.0, schedule="linear", final_learning_rate=0.2), 5)
    np.testing.assert_allclose(found, [1.0, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)


def test_constant_stays_at_the_peak_after_the_warm_up():
    found = rates(spec(learning_rate=1.0, schedule="constant", warmup_steps=2), 5)
    np.testing.assert_allclose(found, [0.5, 1, 1, 1, 1])


def test_adamw_takes_the_step_of_its_formula():
    training = spec(
        learning_rate=0.1,
        schedule="constant",
        clip_norm=None,
        optimizer_options={"b1": 0.9, "b2": 0.98, "weight_decay": 0.01},
    )
    update = first_update(training, {"w": jnp.array([2.0])}, {"w": jnp.array([0.5])})
    # After bias correction the first step is gradient / |gradient|; decay adds 0.01 * 2.
    assert float(update["w"][0]) == pytest.approx(-0.1 * (1 + 0.02), rel=1e-5)


def test_the_global_norm_is_clipped():
    training = spec(optimizer="sgd", learning_rate=1.0, schedule="constant", clip_norm=1.0)
    update = first_update(training, {"w": jnp.zeros(2)}, {"w": jnp.array([3.0, 4.0])})
    np.testing.assert_allclose(update["w"], [-0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("name", optimizer_names())
def test_every_listed_optimizer_updates(name):
    weights = {"matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    update = first_update(spec(optimizer=name), weights, weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(update))


def test_the_usual_optimizers_are_listed():
    assert {"adam", "adamw", "sgd", "lion", "lamb", "adafactor", "nadamw"} <= set(optimizer_names())
    assert all(hasattr(optax, name) for name in optimizer_names())


def test_an_unknown_optimizer_gets_a_suggestion():
    with pytest.raises(
        SpecError, match=r"training\.optimizer: optax has no optimizer 'adamwx'\. Did you mean 'adamw'\?"
    ):
        build_optimizer(spec(optimizer="adamwx"), learning_rates(spec(), 10))


def test_an_optax_function_that_is_no_optimizer_is_refused():
    with pytest.raises(SpecError, match=r"optax has no optimizer 'apply_updates'\. Known: adabelief, "):
        build_optimizer(spec(optimizer="apply_updates"), learning_rates(spec(), 10))


def test_an_optimizer_that_cannot_be_used_is_refused_with_the_reason():
    with pytest.raises(SpecError, match=r"training\.optimizer: lbfgs wants the loss as a function; choose one of "):
        build_optimizer(spec(optimizer="lbfgs"), learning_rates(spec(), 10))


def test_an_unknown_option_gets_a_suggestion():
    training = spec(optimizer_options={"weight_decy": 0.1})
    with pytest.raises(SpecError, match=r"adamw takes no 'weight_decy'\. Did you mean 'weight_decay'\?"):
        build_optimizer(training, learning_rates(training, 10))


def test_an_option_of_a_wrong_type_is_refused_before_training():
    training = spec(optimizer_options={"b2": "high"})
    with pytest.raises(SpecError, match=r"adamw refuses \{'b2': 'high'\}"):
        build_optimizer(training, learning_rates(training, 10))
