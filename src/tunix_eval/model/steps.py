"""Several optimizer steps in one compiled call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, decoder_with, training_mask
from tunix_eval.model.loss import next_token_nll
from tunix_eval.model.optimizer import build_optimizer, learning_rates
from tunix_eval.specs import TrainingSpec


class TrainState(NamedTuple):
    """What a step changes. The data position is the step."""

    step: jax.Array
    """int32 scalar; steps done."""
    params: Params
    optimizer: Any


class StackedBatches(NamedTuple):
    """The batches of one dispatch, [N, B, T] each; places behind the last step hold anything."""

    tokens: Any
    loss_mask: Any
    segment_ids: Any
    positions: Any
    loss_weights: Any = None
    """None where every supervised token weighs 1, which has a program of its own."""


class StepMetrics(NamedTuple):
    """What each step of a dispatch measured, float32[N] each."""

    loss: Any
    """Nats per supervised token."""
    learning_rate: Any
    grad_norm: Any
    """Global norm before clipping."""


TrainSteps = Callable[[TrainState, StackedBatches, jax.Array], tuple[TrainState, StepMetrics]]


def initial_state(params: Params, training: TrainingSpec, total_steps: int) -> TrainState:
    """Return the state before the first step."""
    optimizer = build_optimizer(training, learning_rates(training, total_steps))
    with jax.numpy_dtype_promotion("standard"):
        return TrainState(jnp.int32(0), params, optimizer.init(params))


def train_steps(config: DecoderConfig, training: TrainingSpec, total_steps: int) -> TrainSteps:
    """Return the function that does the first `count` steps of the stacked batches.

    `count` is data, so that a shorter last dispatch runs the same program and compiles nothing.
    The given state is donated.
    """
    return _train_steps(config, training.model_dump_json(), total_steps)


@functools.lru_cache(maxsize=8)
def _train_steps(config: DecoderConfig, training_json: str, total_steps: int) -> TrainSteps:
    """Compile once for all runs that differ in data or seed alone."""
    training = TrainingSpec.model_validate_json(training_json)
    schedule = learning_rates(training, total_steps)
    optimizer = build_optimizer(training, schedule)

    def mean_nats(params: Params, batch: StackedBatches) -> jax.Array:
        decoder = decoder_with(config, params)
        hidden, _ = decoder(batch.tokens, batch.positions, training_mask(batch.segment_ids))
        logits = decoder.logits(hidden)
        nats, count = next_token_nll(logits, batch.tokens, batch.loss_mask, batch.segment_ids, batch.loss_weights)
        # Weights may add up to less than 1; without any, the count is a whole number.
        least = 1.0 if batch.loss_weights is None else 1e-30
        return nats / jnp.maximum(count, least)

    def one_step(state: TrainState, batch: StackedBatches) -> tuple[TrainState, StepMetrics]:
        loss, gradients = jax.value_and_grad(mean_nats)(state.params, batch)
        with jax.numpy_dtype_promotion("standard"):
            norm = optax.tree.norm(gradients)
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
        metrics = StepMetrics(loss, schedule(state.step), norm)
        return TrainState(state.step + 1, params, optimizer_state), metrics

    @functools.partial(jax.jit, donate_argnums=0)
    def several_steps(state: TrainState, batches: StackedBatches, count: jax.Array) -> tuple[TrainState, StepMetrics]:
        size = batches.tokens.shape[0]

        def body(index: jax.Array, carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
            state, log = carry
            batch = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), batches)
            state, metrics = one_step(state, batch)
            return state, jax.tree.map(lambda array, value: array.at[index].set(value), log, metrics)

        log = StepMetrics(*(jnp.zeros(size, jnp.float32) for _ in StepMetrics._fields))
        done: tuple[TrainState, StepMetrics] = jax.lax.fori_loop(0, count, body, (state, log))
        return done

    return several_steps
