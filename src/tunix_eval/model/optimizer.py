"""Optax by name, with a learning-rate schedule and clipping."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]
import optax.contrib  # type: ignore[import-untyped]

from tunix_eval.errors import SpecError, suggestion
from tunix_eval.figures import printable
from tunix_eval.specs import TrainingSpec
from tunix_eval.tables import shown

UNUSABLE = {
    "dpsgd": "wants the gradient of every trace by itself",
    "lbfgs": "wants the loss as a function",
    "momo": "wants the loss beside the gradients",
    "momo_adam": "wants the loss beside the gradients",
    "noisy_sgd": "wants a random key",
    "optimistic_adam": "is deprecated in favour of optimistic_adam_v2",
    "rprop": "takes no schedule",
    "schedule_free_adamw": "trains other weights than those to be judged",
    "schedule_free_sgd": "trains other weights than those to be judged",
    "sm3": "takes no schedule",
    "sophia": "wants the loss as a function",
}
"""Optimizers of optax and optax.contrib that cannot be asked for by name, and why."""
EMBEDDINGS = ("embedding", "unembedding")
OUTPUT_FIRST = ("down",)
"""Matrices that are stored as [out, in]; all others are [in, out]."""
_MASKS = ("mask", "weight_decay_mask")
"""What optax calls the argument that says which weights decay."""
_DECAYS = ("weight_decay", "weight_decay_rate")
"""What it calls the one that says by how much."""

_REFUSALS = (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, AssertionError, RuntimeError)
"""What optax and JAX raise for an option that is no use: each optimizer has checks of its own, or none."""

Schedule = Callable[[jax.Array], jax.Array]
"""Steps done (int32 scalar) to learning rate (float32 scalar)."""


@functools.cache
def optimizer_names() -> tuple[str, ...]:
    """Return the names of optax optimizers that take a learning-rate schedule and need nothing but gradients."""
    return tuple(sorted({name for name in (*dir(optax), *dir(optax.contrib)) if _is_optimizer(name)}))


def _is_optimizer(name: str) -> bool:
    function = _function(name)
    if name.startswith(("_", "scale")) or name in UNUSABLE:
        return False
    if not inspect.isfunction(function) and not isinstance(function, functools.partial):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "learning_rate"


def _function(name: str) -> Any:
    """Return what optax, or else optax.contrib, has under a name."""
    # Not by attribute: optax warns of names that have moved.
    return vars(optax).get(name) or vars(optax.contrib).get(name)


def learning_rates(training: TrainingSpec, total_steps: int) -> Schedule:
    """Return the schedule: a linear warm-up, then from the peak to `final_learning_rate` of it at the last step.

    Step w of a warm-up of n steps (w from 1) has w/n of the peak, so that no step has a rate of zero. `wsd` stays at
    the peak until the last `decay_steps` steps (a tenth of all, where nobody says), over which it falls linearly.

    >>> spec = TrainingSpec(steps=5, learning_rate=1.0, schedule="linear", final_learning_rate=0.0, warmup_steps=2)
    >>> schedule = learning_rates(spec, 5)
    >>> [round(float(schedule(jnp.int32(step))), 3) for step in range(5)]
    [0.5, 1.0, 0.667, 0.333, 0.0]
    """
    warmup, peak, floor = training.warmup_steps, training.learning_rate, training.final_learning_rate
    last_at_peak = max(warmup - 1, 0)
    if training.schedule == "wsd":
        # Where nobody says how many, warm-up goes before decay, and one step at least has the peak.
        tenth = min(max(total_steps // 10, 1), total_steps - max(warmup, 1))
        last_at_peak = total_steps - 1 - (training.decay_steps or tenth)
    decay_steps = max(total_steps - 1 - last_at_peak, 1)

    def schedule(step: jax.Array) -> jax.Array:
        done = jnp.asarray(step).astype(jnp.float32)
        rise = jnp.minimum((done + 1.0) / max(warmup, 1), 1.0)
        progress = jnp.clip((done - last_at_peak) / decay_steps, 0.0, 1.0)
        shapes = {
            "constant": jnp.ones_like(progress),
            "linear": 1.0 - progress,
            "wsd": 1.0 - progress,
            "cosine": 0.5 * (1.0 + jnp.cos(math.pi * progress)),
        }
        fall = 1.0 if training.schedule == "constant" else floor + (1.0 - floor) * shapes[training.schedule]
        return peak * rise * fall

    return schedule


def build_optimizer(training: TrainingSpec, schedule: Schedule) -> optax.GradientTransformation:
    """Return clipping by the global norm, then the named optimizer at the schedule's rate.

    Muon is given the matrices of the layers; embeddings, norms and biases go to the Adam beside it.

    Raises:
        SpecError: optax has no such optimizer, it refuses the options, or it has no weight decay to mask.
    """
    name = training.optimizer
    known = optimizer_names()
    if name not in known:
        if name in UNUSABLE:
            raise SpecError(f"training.optimizer: {name} {UNUSABLE[name]}; choose one of {', '.join(known)}")
        listed = suggestion(name, known) or f" Known: {', '.join(known)}."
        raise SpecError(f"training.optimizer: optax has no optimizer '{name}'.{listed}")
    _check_options(name, training.optimizer_options)
    options = training.optimizer_options | _masks(training)
    try:
        optimizer: optax.GradientTransformation = _function(name)(schedule, **options)
        _try(optimizer)
    except _REFUSALS as error:
        reason = printable(str(error).partition("\n")[0]) or type(error).__name__
        raise SpecError(
            f"training.optimizer_options: {name} refuses {shown(training.optimizer_options)}: {reason}"
        ) from None
    if training.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(training.clip_norm), optimizer)


def are_matrices(params: Any) -> Any:
    """Return the tree with True for the matrices of the layers, False for embeddings, norms and biases."""
    return jax.tree.map_with_path(
        lambda path, leaf: leaf.ndim == 2 and str(path[-1].key).rpartition(".")[2] not in EMBEDDINGS, params
    )


def _masks(training: TrainingSpec) -> dict[str, Any]:
    """Return the optimizer's arguments that say which weights are treated in which way."""
    name, masks = training.optimizer, dict[str, Any]()
    if name == "muon":
        masks["muon_weight_dimension_numbers"] = _muon_axes
    if training.decay_mask == "all":
        return masks
    argument = next((one for one in _MASKS if one in inspect.signature(_function(name)).parameters), None)
    if argument is None:
        raise SpecError(
            f"training.decay_mask: {name} has no weight decay that could be masked; take decay_mask out, or choose an "
            "optimizer such as adamw"
        )
    if not any(_option(training, decay) for decay in _DECAYS):
        taken = next(decay for decay in _DECAYS if decay in inspect.signature(_function(name)).parameters)
        raise SpecError(
            f"training.decay_mask: {name} decays no weight by itself; give optimizer_options.{taken}, or take "
            "decay_mask out"
        )
    if argument in training.optimizer_options:
        raise SpecError(f"training.decay_mask and optimizer_options.{argument} are both given; take one")
    return masks | {argument: are_matrices}


def _option(training: TrainingSpec, name: str) -> Any:
    """Return an optimizer's argument as it is given, or its default; None where it has no such argument."""
    parameter = inspect.signature(_function(training.optimizer)).parameters.get(name)
    return training.optimizer_options.get(name, None if parameter is None else parameter.default)


def _muon_axes(params: Any) -> Any:
    """Return which axes of every matrix are input and output, by which Muon scales; None for what goes to Adam."""

    def axes(path: tuple[Any, ...], matrix: bool) -> Any:
        if not matrix:
            return None
        first = str(path[-1].key).rpartition(".")[2] in OUTPUT_FIRST
        return optax.contrib.MuonDimensionNumbers(int(first), int(not first))

    return jax.tree.map_with_path(axes, are_matrices(params))


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    takes = [option for option in inspect.signature(_function(name)).parameters if option != "learning_rate"]
    for option in options:
        if option not in takes:
            hint = suggestion(option, takes) or f" It takes: {', '.join(takes)}."
            raise SpecError(f"training.optimizer_options: {name} takes no '{option}'.{hint}")


def _try(optimizer: optax.GradientTransformation) -> None:
    """Trace one update on shapes alone, so that an option of a wrong type is found before training."""
    shapes = {"embedding": (3, 2), "matrix": (2, 2), "vector": (2,)}
    # Without arrays no device wakes: a plan may ask, in every one of several processes.
    weights = {
        name: jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call]
        for name, shape in shapes.items()
    }
    with jax.numpy_dtype_promotion("standard"):
        jax.eval_shape(lambda w: optimizer.update(w, optimizer.init(w), w), weights)
