"""The loop of a training: dispatches on a fixed grid of steps, and what each of them measured."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from tunix_eval.errors import TrainingError
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.holdout import is_stale
from tunix_eval.model.mesh import placement
from tunix_eval.model.metrics import MetricLine
from tunix_eval.model.order import row_indices
from tunix_eval.model.steps import StackedBatches, StepMetrics, TrainState, train_steps
from tunix_eval.records import Batch, TrainingJob

NAMED_TRACES = 100
"""An error names at most so many traces."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What one compiled call did."""

    first: int
    """Steps done before it."""
    state: TrainState
    metrics: StepMetrics
    tokens: list[int]
    """Tokens of each step's batch, padding apart."""
    seconds: float

    @property
    def end(self) -> int:
        """Steps done after it."""
        return self.first + len(self.tokens)

    def passes(self, every: int) -> bool:
        """Tell whether it reached or passed a multiple."""
        return self.end // every > self.first // every


class Loop:
    """A job's steps."""

    def __init__(self, job: TrainingJob, config: DecoderConfig) -> None:
        self.job = job
        self.config = config
        self.rows = len(job.rows.tokens)
        self.has_loss: npt.NDArray[np.bool_] = np.any(supervised(job.rows), axis=1)
        """bool[rows]; a step of other rows alone has no loss, though the program says 0."""
        self.total_steps = job.training.total_steps(self.rows)
        self.last_step = min(self.total_steps, job.stop_after or self.total_steps)
        self.placed = placement(job.mesh)

    def is_over(self, lines: Sequence[MetricLine]) -> bool:
        """Tell whether these metrics are those of all steps that will be done."""
        return len(lines) == self.last_step or is_stale(lines, self.job.training.early_stopping)

    def dispatches(self, state: TrainState, lines: Sequence[MetricLine]) -> Iterator[Dispatch]:
        """Train until it is over, giving every dispatch; the caller adds its metrics to the lines."""
        if self.is_over(lines):
            return
        program = train_steps(self.config, self.job.training, self.total_steps, self.placed)
        # A dispatch of no steps compiles, so that the first rate is the machine's and not the compiler's.
        state, _ = program(state, self.batches(len(lines), 0)[0], jnp.int32(0))
        size = self.job.training.steps_per_dispatch
        while not self.is_over(lines):
            step = len(lines)
            # On a fixed grid, wherever training was taken up.
            end = min((step // size + 1) * size, self.last_step)
            started = time.perf_counter()
            batches, tokens = self.batches(step, end - step)
            state, metrics = program(state, batches, jnp.int32(end - step))
            metrics = StepMetrics(*(np.asarray(values)[: end - step] for values in metrics))
            yield Dispatch(step, state, metrics, tokens, time.perf_counter() - started)

    def batches(self, step: int, count: int) -> tuple[StackedBatches, list[int]]:
        """Return the batches of `count` steps, padded to a full dispatch, and the tokens in each."""
        training, rows = self.job.training, self.job.rows
        steps, parts = training.steps_per_dispatch, training.accumulate
        shape = (steps, parts, training.rows // parts, rows.tokens.shape[1])
        chosen = self._rows_of(step, count)

        def stacked(array: Any) -> Any:
            out = np.zeros(shape, array.dtype)
            out[:count] = array[chosen].reshape(count, *shape[1:])
            return out

        arrays = (getattr(rows, field) for field in StackedBatches._fields)
        batches = StackedBatches(*(None if array is None else stacked(array) for array in arrays))
        tokens = np.count_nonzero(batches.segment_ids[:count], axis=(1, 2, 3)).tolist()
        return batches if self.placed is None else jax.device_put(batches, self.placed.batches), tokens

    def lines(self, dispatch: Dispatch, *, wall_seconds: float) -> list[MetricLine]:
        """Return the metrics of every step of a dispatch."""
        device, training = jax.devices()[0], self.job.training
        measured = [values.tolist() for values in dispatch.metrics]
        has_loss = self.has_loss[self._rows_of(dispatch.first, len(dispatch.tokens))].reshape(-1, training.rows)
        return [
            MetricLine(
                step=step,
                epoch=step * training.rows / self.rows,
                loss=loss if counts and math.isfinite(loss) else None,
                learning_rate=learning_rate,
                grad_norm=grad_norm if counts and math.isfinite(grad_norm) else None,
                tokens=tokens,
                tokens_per_second=sum(dispatch.tokens) / dispatch.seconds,
                wall_seconds=wall_seconds,
                device=f"{device.platform}:{device.id}",
                skipped=skipped,
            )
            for step, tokens, counts, loss, learning_rate, grad_norm, _, _, skipped in zip(
                itertools.count(dispatch.first + 1),
                dispatch.tokens,
                has_loss.any(axis=1).tolist(),
                *measured,
                strict=False,
            )
        ]

    def first_bad(self, dispatch: Dispatch) -> int | None:
        """Return the place in a dispatch of the first step that stops training, or None."""
        metrics, bad = dispatch.metrics, np.zeros(len(dispatch.tokens), np.bool_)
        if self.job.training.not_finite == "stop":
            bad |= ~(np.isfinite(metrics.loss) & np.isfinite(metrics.grad_norm))
        if self.job.training.spike == "stop":
            bad |= metrics.spiked
        return int(np.argmax(bad)) if bad.any() else None

    def stopped_at(self, dispatch: Dispatch, place: int) -> TrainingError:
        """Return the error for a step whose loss or gradient is to stop training."""
        step, names = dispatch.first + place + 1, self.job.rows.trace_ids
        loss, norm, mean = (
            float(values[place])
            for values in (dispatch.metrics.loss, dispatch.metrics.grad_norm, dispatch.metrics.mean_loss)
        )
        traces = [trace for row in self._rows_of(step - 1, 1) for trace in names[row]] if names else []
        named = ", ".join(traces[:NAMED_TRACES]) + (", ..." if len(traces) > NAMED_TRACES else "")
        if math.isfinite(loss) and math.isfinite(norm):
            factor = self.job.training.spike_factor
            found = f"loss {loss:.4g} is over {factor:g} times {mean:.4g}, the mean before it; gradient norm {norm:.4g}"
        else:
            found = f"loss {loss}, gradient norm {norm}, expected finite numbers"
        return TrainingError(
            f"step {step} of {self.total_steps}: {found}; lower learning_rate or look at the {len(traces)} traces of "
            f"the batch: {named}"
        )

    def check_changes(self, lines: Sequence[MetricLine]) -> None:
        """Refuse a training of which every step was skipped.

        Raises:
            TrainingError: with the gradient's norm at the first and at the last of them.
        """
        tried = [line for line in lines if line.skipped or line.loss is not None]
        if tried and all(line.skipped for line in tried):
            norms = [
                f"{'not finite' if line.grad_norm is None else f'{line.grad_norm:.4g}'} at step {line.step}"
                for line in (tried[0], tried[-1])
            ]
            raise TrainingError(
                f"none of the {len(lines)} steps changed anything: {len(tried)} were skipped, for their loss or "
                f"gradient was not finite, or a spike; gradient norm {norms[0]}, {norms[1]}; lower learning_rate, or "
                'have the traces of the first one named, with not_finite = "stop"'
            )

    def _rows_of(self, step: int, count: int) -> Any:
        size = self.job.training.rows
        return row_indices(self.job.seed, rows=self.rows, start=step * size, count=count * size)


def supervised(rows: Batch) -> npt.NDArray[np.bool_]:
    """Tell which tokens from the second on are predicted under loss and weigh something, bool[B, T - 1]."""
    # The first token of a trace has none before it that could predict it.
    same_trace = rows.segment_ids[:, 1:] == rows.segment_ids[:, :-1]
    found: npt.NDArray[np.bool_] = rows.loss_mask[:, 1:] & (rows.segment_ids[:, 1:] > 0) & same_trace
    return found if rows.loss_weights is None else found & (rows.loss_weights[:, 1:] > 0)
