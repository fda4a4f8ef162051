"""Several optimizer steps in one compiled call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, decoder_with
from tunix_eval.model.loss import batch_nll
from tunix_eval.model.mesh import Placement
from tunix_eval.model.optimizer import build_optimizer, learning_rates
from tunix_eval.specs import TrainingSpec

SPIKE_WINDOW = 50
"""Losses that the running mean reaches back over, about."""


class TrainState(NamedTuple):
    """What a step changes. The data position is the step."""

    step: jax.Array
    """int32 scalar; steps done, those that changed nothing among them."""
    params: Params
    optimizer: Any
    mean_loss: jax.Array
    """float32 scalar; running mean of the losses so far, not a number before the first."""


class StackedBatches(NamedTuple):
    """The batches of one dispatch, [N, A, B, T] each: N steps of A micro-batches of B rows.

    Places behind the last step hold anything. Of one step, and of one micro-batch, the leading axes are gone.
    """

    tokens: Any
    loss_mask: Any
    segment_ids: Any
    positions: Any
    loss_weights: Any = None
    """None where every supervised token weighs 1, which has a program of its own."""


class StepMetrics(NamedTuple):
    """What each step of a dispatch measured, [N] each."""

    loss: Any
    """float32; nats per supervised token."""
    learning_rate: Any
    """float32"""
    grad_norm: Any
    """float32; global norm before clipping."""
    mean_loss: Any
    """float32; the running mean of the losses before."""
    spiked: Any
    """bool; whether the loss is over spike_factor times that mean."""
    skipped: Any
    """bool; whether the step changed nothing."""


TrainSteps = Callable[[TrainState, StackedBatches, jax.Array], tuple[TrainState, StepMetrics]]
TotalNats = Callable[[Params, StackedBatches], tuple[jax.Array, jax.Array]]
_Summed = tuple[tuple[jax.Array, jax.Array], Params]
"""Nats and count of supervised tokens, and the gradient of the nats."""


def initial_state(params: Params, training: TrainingSpec, total_steps: int) -> TrainState:
    """Return the state before the first step."""
    optimizer = build_optimizer(training, learning_rates(training, total_steps))
    with jax.numpy_dtype_promotion("standard"):
        state = TrainState(jnp.int32(0), params, optimizer.init(params), jnp.float32(jnp.nan))
    leaves, structure = jax.tree.flatten(state)
    # Some optimizers remember the first weights by the very arrays, and none can be donated twice.
    places = {id(leaf): place for place, leaf in reversed(list(enumerate(leaves)))}
    own = [leaf if places[id(leaf)] == place else jnp.copy(leaf) for place, leaf in enumerate(leaves)]
    given: TrainState = jax.tree.unflatten(structure, own)
    return given


def train_steps(
    config: DecoderConfig, training: TrainingSpec, total_steps: int, placed: Placement | None = None
) -> TrainSteps:
    """Return the function that does the first `count` steps of the stacked batches.

    `count` is data, so that a shorter last dispatch runs the same program and compiles nothing.
    The given state is donated. With a placement, state and batches lie where it says.
    """
    return _train_steps(config, training.model_dump_json(), total_steps, placed)


@functools.lru_cache(maxsize=8)
def total_nats(config: DecoderConfig, chunk: int | None, placed: Placement | None = None) -> TotalNats:
    """Return the function that sums nats and count of the supervised tokens of a batch, [B, T].

    `chunk` is how many tokens' logits are held at once, as of training.loss_chunk.
    """
    return jax.jit(functools.partial(_total_nats, config, chunk), **_results(placed))


@functools.lru_cache(maxsize=8)
def _train_steps(config: DecoderConfig, training_json: str, total_steps: int, placed: Placement | None) -> TrainSteps:
    """Compile once for all runs that differ in data or seed alone."""
    training = TrainingSpec.model_validate_json(training_json)
    schedule = learning_rates(training, total_steps)

    def one_step(state: TrainState, batch: StackedBatches) -> tuple[TrainState, StepMetrics]:
        loss, gradients, measured = _mean_and_gradients(config, training.loss_chunk, state.params, batch)
        rate = schedule(state.step)
        with jax.numpy_dtype_promotion("standard"):
            norm = optax.tree.norm(gradients)
            # The rate of the step, not of the optimizer's own count, which stands still at steps that are skipped.
            optimizer = build_optimizer(training, lambda _: rate)
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
        limit = training.spike_factor * state.mean_loss
        spiked = loss > limit
        skipped = jnp.bool_(False)
        if training.not_finite == "skip":
            skipped |= ~(jnp.isfinite(loss) & jnp.isfinite(norm))
        if training.spike == "skip":
            skipped |= spiked
        if "skip" in {training.not_finite, training.spike}:
            before = state.params, state.optimizer
            params, optimizer_state = _where(skipped, before, (params, optimizer_state))
        metrics = StepMetrics(loss, rate, norm, state.mean_loss, spiked, skipped)
        mean_loss = jnp.where(measured, _next_mean(state, loss, limit), state.mean_loss)
        return TrainState(state.step + 1, params, optimizer_state, mean_loss), metrics

    @functools.partial(jax.jit, donate_argnums=0, **_results(placed))
    def several_steps(state: TrainState, batches: StackedBatches, count: jax.Array) -> tuple[TrainState, StepMetrics]:
        def body(index: jax.Array, carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
            state, log = carry
            batch = jax.tree.map(lambda array: jax.lax.dynamic_index_in_dim(array, index, keepdims=False), batches)
            state, metrics = one_step(state, batch)
            return state, jax.tree.map(lambda array, value: array.at[index].set(value), log, metrics)

        size = batches.tokens.shape[0]
        numbers, flags = jnp.zeros(size, jnp.float32), jnp.zeros(size, jnp.bool_)
        log = StepMetrics(numbers, numbers, numbers, numbers, spiked=flags, skipped=flags)
        done: tuple[TrainState, StepMetrics] = jax.lax.fori_loop(0, count, body, (state, log))
        return done

    return several_steps


def _total_nats(
    config: DecoderConfig, chunk: int | None, params: Params, batch: StackedBatches
) -> tuple[jax.Array, jax.Array]:
    """Return nats and count of the supervised tokens of a batch, [B, T]."""
    decoder = decoder_with(config, params)
    hidden, _ = decoder(batch.tokens, batch.positions, batch.segment_ids)
    return batch_nll(decoder, hidden, batch, chunk=chunk)


def _mean_and_gradients(
    config: DecoderConfig, chunk: int | None, params: Params, batch: StackedBatches
) -> tuple[jax.Array, Params, jax.Array]:
    """Return the mean loss over all micro-batches, [A, B, T], its gradient, and whether any token is in it.

    Sums are added up and divided once, so that every token weighs the same, whatever its micro-batch holds. Of no
    tokens both are 0.
    """

    def summed(micro: StackedBatches) -> _Summed:
        total = functools.partial(_total_nats, config, chunk, batch=micro)
        found: _Summed = jax.value_and_grad(total, has_aux=True)(params)
        return found

    first = jax.tree.map(lambda array: array[0], batch)
    if batch.tokens.shape[0] == 1:
        (nats, count), gradients = summed(first)
    else:
        zeros = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), jax.eval_shape(summed, first))
        (nats, count), gradients = jax.lax.scan(
            lambda carry, micro: (jax.tree.map(jnp.add, carry, summed(micro)), None), zeros, batch
        )[0]
    measured = count > 0
    # Weights may add up to less than 1; without any, the count is a whole number.
    count = jnp.maximum(count, 1.0 if batch.loss_weights is None else 1e-30)
    return nats / count, jax.tree.map(lambda leaf: leaf / count, gradients), measured


def _next_mean(state: TrainState, loss: jax.Array, limit: jax.Array) -> jax.Array:
    """Return the running mean with this step's loss in it.

    A spike counts as much as the limit that it is over, so that a lasting rise becomes the new mean; a loss that is
    not finite counts for nothing.
    """
    weight = 1.0 / jnp.minimum(state.step + 1, SPIKE_WINDOW).astype(jnp.float32)
    mean = jnp.where(jnp.isnan(state.mean_loss), loss, state.mean_loss)
    mean = mean + weight * (jnp.where(loss > limit, limit, loss) - mean)
    return jnp.where(jnp.isfinite(loss), mean, state.mean_loss)


def _where(condition: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def _results(placed: Placement | None) -> dict[str, Any]:
    """Return jit's arguments by which what it gives lies where it was taken from."""
    return {} if placed is None else {"out_shardings": placed.weights}
