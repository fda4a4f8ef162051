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


def test_wsd_stays_at_the_peak_and_falls_over_the_last_steps():
    found = rates(
        spec(steps=8, learning_rate=1.0, schedule="wsd", warmup_steps=2, decay_steps=3, final_learning_rate=0.1), 8
    )
    np.testing.assert_allclose(found, [0.5, 1, 1, 1, 1, 0.7, 0.4, 0.1], rtol=1e-6)


def test_wsd_falls_over_a_tenth_where_nobody_says():
    found = rates(spec(steps=40, learning_rate=1.0, schedule="wsd", final_learning_rate=0.0), 40)
    np.testing.assert_allclose(found, [*[1.0] * 36, 0.75, 0.5, 0.25, 0.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "warmup_steps", "expected"), [(1, 0, [1]), (2, 0, [1, 0]), (3, 3, [1 / 3, 2 / 3, 1]), (3, 2, [0.5, 1, 0])]
)
def test_wsd_has_a_step_at_the_peak_however_short_the_run(steps, warmup_steps, expected):
    training = spec(steps=steps, learning_rate=1.0, schedule="wsd", warmup_steps=warmup_steps, final_learning_rate=0.0)
    np.testing.assert_allclose(rates(training, steps), expected, rtol=1e-6)


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


def layers():
    """Weights of every kind that a decoder has, and gradients of them."""
    draw = np.random.default_rng(0).standard_normal
    shapes = {"embedding": (8, 4), "blocks.0.mlp.up": (4, 6), "blocks.0.mlp.down": (4, 6), "final_norm.scale": (4,)}
    weights = {name: jnp.asarray(draw(shape, np.float32)) for name, shape in shapes.items()}
    return weights, jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape, np.float32)), weights)


DECAYING = {
    "adamw": {"weight_decay": 0.5},
    "lion": {"weight_decay": 0.5},
    "adafactor": {"weight_decay_rate": 0.5},
    "muon": {"weight_decay": 0.5},
}


@pytest.mark.parametrize("name", DECAYING)
def test_a_mask_leaves_the_decay_of_matrices_alone(name):
    weights, gradients = layers()
    common = {"optimizer": name, "schedule": "constant", "learning_rate": 0.1}
    none = first_update(spec(**common, optimizer_options=dict.fromkeys(DECAYING[name], 0.0)), weights, gradients)
    masked = first_update(spec(**common, optimizer_options=DECAYING[name], decay_mask="matrices"), weights, gradients)
    changed = {key for key in weights if (np.asarray(none[key]) != np.asarray(masked[key])).any()}
    assert changed == {"blocks.0.mlp.up", "blocks.0.mlp.down"}


@pytest.mark.parametrize(
    ("name", "options", "argument"),
    [
        ("muon", {}, "weight_decay"),
        ("adafactor", {}, "weight_decay_rate"),
        ("adamw", {"weight_decay": 0}, "weight_decay"),
    ],
)
def test_a_mask_where_nothing_decays_is_refused(name, options, argument):
    training = spec(optimizer=name, optimizer_options=options, decay_mask="matrices")
    said = rf"training\.decay_mask: {name} decays no weight by itself; give optimizer_options\.{argument}, or take "
    with pytest.raises(SpecError, match=said):
        build_optimizer(training, learning_rates(training, 10))


def test_without_a_mask_every_weight_decays():
    weights, gradients = layers()
    common = {"schedule": "constant", "learning_rate": 0.1}
    none, all_of_them = (
        first_update(spec(**common, optimizer_options={"weight_decay": decay}), weights, gradients)
        for decay in (0.0, 0.5)
    )
    assert all((np.asarray(none[key]) != np.asarray(all_of_them[key])).any() for key in weights)


def test_a_mask_without_weight_decay_is_refused():
    training = spec(optimizer="sgd", decay_mask="matrices")
    with pytest.raises(SpecError, match=r"training\.decay_mask: sgd has no weight decay that could be masked; take"):
        build_optimizer(training, learning_rates(training, 10))


def test_a_mask_of_the_users_own_and_ours_are_refused_together():
    training = spec(decay_mask="matrices", optimizer_options={"mask": True})
    with pytest.raises(SpecError, match=r"training\.decay_mask and optimizer_options\.mask are both given; take one"):
        build_optimizer(training, learning_rates(training, 10))


def test_muon_makes_the_updates_of_matrices_orthogonal_and_scales_them_by_output_over_input():
    weights, gradients = layers()
    training = spec(optimizer="muon", learning_rate=1.0, schedule="constant", clip_norm=None)
    update = first_update(training, weights, gradients)
    # up is [in 4, out 6], down [out 4, in 6]; sqrt(max(1, out / in)) is the scale.
    for name, scale in (("up", np.sqrt(6 / 4)), ("down", 1.0)):
        singular = np.linalg.svd(np.asarray(update[f"blocks.0.mlp.{name}"]), compute_uv=False)
        # Five Newton-Schulz steps bring singular values near 1, to about 0.7 to 1.2.
        assert (0.6 * scale < singular).all()
        assert (singular < 1.3 * scale).all()
    # Adam's first step goes by the gradient's sign alone.
    for name in ("embedding", "final_norm.scale"):
        size = np.abs(np.asarray(update[name]))
        np.testing.assert_allclose(size, size.flat[0], rtol=1e-3)


@pytest.mark.parametrize("name", optimizer_names())
def test_every_listed_optimizer_updates(name):
    weights = {"embedding": jnp.ones((3, 2)), "matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    update = first_update(spec(optimizer=name), weights, weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(update))


def test_the_usual_optimizers_are_listed():
    assert {"adam", "adamw", "sgd", "lion", "lamb", "adafactor", "nadamw", "muon"} <= set(optimizer_names())
    assert all(hasattr(optax, name) or hasattr(optax.contrib, name) for name in optimizer_names())


def test_an_unknown_optimizer_gets_a_suggestion():
    with pytest.raises(
        SpecError, match=r"training\.optimizer: optax has no optimizer 'adamwx'\. Did you mean 'adamw'\?"
    ):
        build_optimizer(spec(optimizer="adamwx"), learning_rates(spec(), 10))


def test_an_optax_function_that_is_no_optimizer_is_refused():
    with pytest.raises(SpecError, match=r"optax has no optimizer 'apply_updates'\. Known: acprop, adabelief, "):
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
