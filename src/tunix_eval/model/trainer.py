"""The built-in trainer: a small decoder, trained from scratch, that goes on after a kill to the same bits."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from tunix_eval.errors import SpecError, TrainingError
from tunix_eval.model import checkpoints
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import abstract_params, initial_params
from tunix_eval.model.generation import FlaxModel
from tunix_eval.model.metrics import MetricLine, append_metrics, read_metrics, rewrite_metrics
from tunix_eval.model.order import row_indices
from tunix_eval.model.steps import StackedBatches, StepMetrics, TrainState, initial_state, train_steps
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Model, Progress, TrainingJob, TrainingResult

FINAL = "checkpoint-final"
NAMED_TRACES = 100
"""An error names at most so many traces."""


class FlaxTrainer:
    """Trains the decoder of this package with optax.

    Rows come in permutation after permutation, drawn from seed and epoch. Dispatches lie on a fixed grid, and
    checkpoints at their ends, so that a resumed run does what the uninterrupted one would have done.
    """

    name = "flax"
    version = "1"

    def train(self, job: TrainingJob, *, on_progress: Callable[[Progress], None]) -> TrainingResult:
        """Train, or go on from the newest sound checkpoint in the job's directory, or from the one that is asked for.

        `on_progress` is called after every dispatch. A truncated run writes checkpoint-final/ too; one that is stopped
        on request writes a checkpoint to go on from.

        Raises:
            SpecError: an optimizer or option that does not exist.
            TrainingError: rows that cannot be trained on; a loss or gradient that is not finite, naming the
                step and the traces of that batch.
            ArtifactError: the directory cannot be written, or has no room for the checkpoints; no checkpoint of the
                step to go on from, or one of another shape.
        """
        _check(job)
        run = _Run(job)
        started = time.perf_counter()
        state, lines = run.start()
        resumed_from = len(lines) or None
        earlier_seconds = lines[-1].wall_seconds if lines else 0.0
        stop = None
        with checkpoints.Writer(run.checkpoints, keep=job.training.keep_checkpoints, on_saved=job.on_saved) as writer:
            for measured in run.dispatches(state, len(lines)):
                wall_seconds = earlier_seconds + time.perf_counter() - started
                new = run.log(measured, wall_seconds=wall_seconds)
                state = measured.state
                lines.extend(new)
                # Nothing is left to stop after the last step.
                stop = job.stop_requested() if len(lines) < run.last_step else None
                run.save_checkpoint(measured, writer, stopping=stop is not None)
                on_progress(Progress(len(lines), run.total_steps, new[-1].loss, new[-1].tokens_per_second))
                if stop is not None:
                    break
        if stop is None:
            checkpoints.save(run.final, {"params": state.params})
        return TrainingResult(
            steps=len(lines),
            total_steps=run.total_steps,
            tokens=sum(line.tokens for line in lines),
            wall_seconds=earlier_seconds + time.perf_counter() - started,
            weights_sha256=weights_sha256(state.params),
            parameter_count=sum(array.size for array in state.params.values()),
            model_config=asdict(run.config),
            resumed_from=resumed_from,
            ended="complete" if stop is None else "stopped",
        )

    def load(self, job: TrainingJob, weights: Literal["initial", "final"]) -> Model:
        """Return the model as the seed draws it, or as checkpoint-final/ holds it; needs none of the job's rows.

        Raises:
            ArtifactError: checkpoint-final/ is missing, damaged, or of another model.
        """
        config = _config(job)
        if weights == "initial":
            params = initial_params(config, job.seed)
        else:
            params = checkpoints.restore(job.directory / FINAL, {"params": abstract_params(config)})["params"]
        return FlaxModel(config, params, pad_id=job.pad_id)


@dataclass(frozen=True, slots=True)
class _Dispatch:
    """What one compiled call did."""

    first: int
    """Steps done before it."""
    state: TrainState
    metrics: StepMetrics
    tokens: list[int]
    """Tokens of each step's batch, padding apart."""
    seconds: float


class _Run:
    """A job with what follows from it: sizes, steps, files."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.config = _config(job)
        self.rows = len(job.rows.tokens)
        self.total_steps = job.training.total_steps(self.rows)
        self.last_step = min(self.total_steps, job.stop_after or self.total_steps)
        self.metrics: Path = job.directory / "metrics.jsonl"
        self.checkpoints: Path = job.directory / "checkpoints"
        self.final: Path = job.directory / FINAL

    def start(self) -> tuple[TrainState, list[MetricLine]]:
        """Return the state to go on from with the metrics up to it, or the initial one without any."""
        shutil.rmtree(self.final, ignore_errors=True)
        params = initial_params(self.config, self.job.seed)
        state = initial_state(params, self.job.training, self.total_steps)
        lines = read_metrics(self.metrics)
        # A checkpoint beyond the metrics cannot be gone on from: some steps would have no line.
        at_most, like = min(len(lines), self.last_step), _as_arrays(state)
        if self.job.resume_from is None:
            found = checkpoints.newest(self.checkpoints, like, at_most=at_most)
        else:
            found = checkpoints.of_step(self.checkpoints, like, self.job.resume_from, at_most=at_most)
        checkpoints.check_room(self.checkpoints, like, keep=self.job.training.keep_checkpoints)
        step, state = (0, state) if found is None else (found[0], _from_arrays(found[1], like=state))
        rewrite_metrics(self.metrics, lines[:step])
        return state, lines[:step]

    def dispatches(self, state: TrainState, step: int) -> Iterator[_Dispatch]:
        """Train from a step to the last one, giving every dispatch."""
        if step == self.last_step:
            return
        program = train_steps(self.config, self.job.training, self.total_steps)
        # A dispatch of no steps compiles, so that the first rate is the machine's and not the compiler's.
        state, _ = program(state, self._batches(step, 0)[0], jnp.int32(0))
        size = self.job.training.steps_per_dispatch
        while step < self.last_step:
            # On a fixed grid, wherever training was taken up.
            end = min((step // size + 1) * size, self.last_step)
            started = time.perf_counter()
            batches, tokens = self._batches(step, end - step)
            state, metrics = program(state, batches, jnp.int32(end - step))
            metrics = StepMetrics(*(np.asarray(values)[: end - step] for values in metrics))
            yield _Dispatch(step, state, metrics, tokens, time.perf_counter() - started)
            step = end

    def log(self, dispatch: _Dispatch, *, wall_seconds: float) -> list[MetricLine]:
        """Append a line for every step, up to the first that is not finite, which raises."""
        device, job = jax.devices()[0], self.job
        rate = sum(dispatch.tokens) / dispatch.seconds
        lines = [
            MetricLine(
                step=dispatch.first + place + 1,
                epoch=(dispatch.first + place + 1) * job.training.rows / self.rows,
                loss=loss,
                learning_rate=learning_rate,
                grad_norm=grad_norm,
                tokens=tokens,
                tokens_per_second=rate,
                wall_seconds=wall_seconds,
                device=f"{device.platform}:{device.id}",
            )
            for place, (loss, learning_rate, grad_norm, tokens) in enumerate(
                zip(*(values.tolist() for values in dispatch.metrics), dispatch.tokens, strict=True)
            )
        ]
        finite = np.isfinite(dispatch.metrics.loss) & np.isfinite(dispatch.metrics.grad_norm)
        sound = len(lines) if finite.all() else int(np.argmin(finite))
        append_metrics(self.metrics, lines[:sound])
        if sound < len(lines):
            raise self._not_finite(lines[sound])
        return lines

    def save_checkpoint(self, dispatch: _Dispatch, writer: checkpoints.Writer, *, stopping: bool) -> None:
        """Begin to write a checkpoint where a dispatch reached or passed a multiple of checkpoint_steps, or stops.

        It comes after the metrics of its steps, for one beyond them cannot be gone on from.

        Raises:
            ArtifactError: this one or the one before could not be written.
        """
        writer.check()
        end, every = dispatch.first + len(dispatch.tokens), self.job.training.checkpoint_steps
        # After the last step comes checkpoint-final/.
        if stopping or (end // every > dispatch.first // every and end < self.last_step):
            writer.save(end, _as_arrays(dispatch.state))

    def _batches(self, step: int, count: int) -> tuple[StackedBatches, list[int]]:
        """Return the batches of `count` steps, padded to a full dispatch, and the tokens in each."""
        training, rows = self.job.training, self.job.rows
        shape = (training.steps_per_dispatch, training.rows, rows.tokens.shape[1])
        chosen = self._rows_of(step, count)

        def stacked(array: Any) -> Any:
            out = np.zeros(shape, array.dtype)
            out[:count] = array[chosen].reshape(count, *shape[1:])
            return out

        arrays = (getattr(rows, field) for field in StackedBatches._fields)
        batches = StackedBatches(*(None if array is None else stacked(array) for array in arrays))
        return batches, np.count_nonzero(batches.segment_ids[:count], axis=(1, 2)).tolist()

    def _rows_of(self, step: int, count: int) -> Any:
        size = self.job.training.rows
        return row_indices(self.job.seed, rows=self.rows, start=step * size, count=count * size)

    def _not_finite(self, line: MetricLine) -> TrainingError:
        names = self.job.rows.trace_ids
        traces = [trace for row in self._rows_of(line.step - 1, 1) for trace in names[row]] if names else []
        named = ", ".join(traces[:NAMED_TRACES]) + (", ..." if len(traces) > NAMED_TRACES else "")
        return TrainingError(
            f"step {line.step} of {self.total_steps}: loss {line.loss}, gradient norm {line.grad_norm}, expected "
            f"finite numbers; lower learning_rate or look at the {len(traces)} traces of the batch: {named}"
        )


def _config(job: TrainingJob) -> DecoderConfig:
    return DecoderConfig.from_spec(job.model, vocab_size=job.vocab_size)


def _check(job: TrainingJob) -> None:
    """Refuse what would train on nothing or on the wrong ids."""
    if job.training.options:
        named = ", ".join(sorted(job.training.options))
        raise SpecError(f"training.options: the flax trainer takes none, found {named}; remove them")
    rows = job.rows
    if not rows.loss_mask.any():
        raise TrainingError("no row has a supervised token; give the dataset at least one trace with an answer")
    weights = rows.loss_weights
    if weights is not None and not (
        np.isfinite(weights).all() and weights.min() >= 0 and weights[rows.loss_mask].any()
    ):
        raise TrainingError("loss weights must be finite, from 0 on and not all 0; mend what packs the rows")
    if rows.tokens.min() < 0 or rows.tokens.max() >= job.vocab_size:
        raise TrainingError(
            f"token ids {rows.tokens.min()} to {rows.tokens.max()} in the rows, but the vocabulary has "
            f"{job.vocab_size}; pack with the tokenizer that the job names"
        )


def _as_arrays(state: TrainState) -> dict[str, Any]:
    """Name every array of a state; the optimizer's are numbered."""
    leaves = jax.tree.leaves(state.optimizer)
    numbered = {f"{number:04d}": leaf for number, leaf in enumerate(leaves)}
    return {"step": state.step, "params": state.params, "optimizer": numbered}


def _from_arrays(arrays: dict[str, Any], *, like: TrainState) -> TrainState:
    numbered = arrays["optimizer"]
    leaves = [numbered[name] for name in sorted(numbered)]
    optimizer = jax.tree.unflatten(jax.tree.structure(like.optimizer), leaves)
    return TrainState(arrays["step"], arrays["params"], optimizer)
