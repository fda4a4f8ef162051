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

from tunix_eval.errors import SpecError, suggestion
from tunix_eval.specs import TrainingSpec

UNUSABLE = {
    "lbfgs": "wants the loss as a function",
    "noisy_sgd": "wants a random key",
    "optimistic_adam": "is deprecated in favour of optimistic_adam_v2",
    "rprop": "takes no schedule",
    "sm3": "takes no schedule",
}
"""Optimizers of optax that cannot be asked for by name, and why."""

Schedule = Callable[[jax.Array], jax.Array]
"""Steps done (int32 scalar) to learning rate (float32 scalar)."""


@functools.cache
def optimizer_names() -> tuple[str, ...]:
    """Return the names of optax optimizers that take a learning-rate schedule and need nothing but gradients."""
    return tuple(sorted(name for name in dir(optax) if _is_optimizer(name)))


def _is_optimizer(name: str) -> bool:
    function = getattr(optax, name)
    if name.startswith(("_", "scale")) or name in UNUSABLE:
        return False
    if not inspect.isfunction(function) and not isinstance(function, functools.partial):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "learning_rate"


def learning_rates(training: TrainingSpec, total_steps: int) -> Schedule:
    """Return the schedule: a linear warm-up, then from the peak to `final_learning_rate` of it at the last step.

    Step w of a warm-up of n steps (w from 1) has w/n of the peak, so that no step has a rate of zero.

    >>> spec = TrainingSpec(steps=5, learning_rate=1.0, schedule="linear", final_learning_rate=0.0, warmup_steps=2)
    >>> schedule = learning_rates(spec, 5)
    >>> [round(float(schedule(jnp.int32(step))), 3) for step in range(5)]
    [0.5, 1.0, 0.667, 0.333, 0.0]
    """
    warmup, peak, floor = training.warmup_steps, training.learning_rate, training.final_learning_rate
    last_of_warmup = max(warmup - 1, 0)
    decay_steps = max(total_steps - 1 - last_of_warmup, 1)

    def schedule(step: jax.Array) -> jax.Array:
        done = jnp.asarray(step).astype(jnp.float32)
        rise = jnp.minimum((done + 1.0) / max(warmup, 1), 1.0)
        progress = jnp.clip((done - last_of_warmup) / decay_steps, 0.0, 1.0)
        shapes = {
            "constant": jnp.ones_like(progress),
            "linear": 1.0 - progress,
            "cosine": 0.5 * (1.0 + jnp.cos(math.pi * progress)),
        }
        fall = 1.0 if training.schedule == "constant" else floor + (1.0 - floor) * shapes[training.schedule]
        return peak * rise * fall

    return schedule


def build_optimizer(training: TrainingSpec, schedule: Schedule) -> optax.GradientTransformation:
    """Return clipping by the global norm, then the named optimizer at the schedule's rate.

    Raises:
        SpecError: optax has no such optimizer, or it refuses the options.
    """
    name, options = training.optimizer, training.optimizer_options
    known = optimizer_names()
    if name not in known:
        if name in UNUSABLE:
            raise SpecError(f"training.optimizer: {name} {UNUSABLE[name]}; choose one of {', '.join(known)}")
        listed = suggestion(name, known) or f" Known: {', '.join(known)}."
        raise SpecError(f"training.optimizer: optax has no optimizer '{name}'.{listed}")
    _check_options(name, options)
    try:
        optimizer: optax.GradientTransformation = getattr(optax, name)(schedule, **options)
        _try(optimizer)
    except (TypeError, ValueError, AttributeError) as error:
        raise SpecError(f"training.optimizer_options: {name} refuses {options}: {error}") from None
    if training.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(training.clip_norm), optimizer)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    takes = [option for option in inspect.signature(getattr(optax, name)).parameters if option != "learning_rate"]
    for option in options:
        if option not in takes:
            hint = suggestion(option, takes) or f" It takes: {', '.join(takes)}."
            raise SpecError(f"training.optimizer_options: {name} takes no '{option}'.{hint}")


def _try(optimizer: optax.GradientTransformation) -> None:
    """Trace one update on shapes alone, so that an option of a wrong type is found before training."""
    weights = {"matrix": jnp.zeros((2, 2)), "vector": jnp.zeros(2)}
    with jax.numpy_dtype_promotion("standard"):
        jax.eval_shape(lambda w: optimizer.update(w, optimizer.init(w), w), weights)
