"""The built-in trainer: a small decoder, trained from scratch, that goes on after a kill to the same bits."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import msgspec
import numpy as np

from tunix_eval.errors import ArtifactError, SpecError, TrainingError
from tunix_eval.model import checkpoints
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, abstract_params, initial_params
from tunix_eval.model.generation import FlaxModel
from tunix_eval.model.holdout import Holdout, best_measurement, is_stale
from tunix_eval.model.mesh import placement
from tunix_eval.model.metrics import MetricLine, append_metrics, read_metrics, rewrite_metrics
from tunix_eval.model.order import row_indices
from tunix_eval.model.shapes import weights_differ
from tunix_eval.model.steps import StackedBatches, StepMetrics, TrainState, initial_state, train_steps
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Batch, Model, Progress, TrainingJob, TrainingResult, unheard

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
    supports = ("holdout", "init_from", "mesh", "filters")

    def train(self, job: TrainingJob, *, on_progress: Callable[[Progress], None]) -> TrainingResult:
        """Train, or go on from the newest sound checkpoint in the job's directory, or from the one that is asked for.

        `on_progress` is called after every dispatch. A truncated run writes checkpoint-final/ too; one that is stopped
        on request writes a checkpoint to go on from.

        Raises:
            SpecError: an optimizer or option that does not exist.
            TrainingError: rows that cannot be trained on; a loss that is not finite, or over the others, where such
                a step is to stop training: with the step, the gradient's norm, and the traces of that batch.
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
        with run.writers() as writers:
            for done in run.dispatches(state, lines):
                wall_seconds = earlier_seconds + time.perf_counter() - started
                new = run.log(done, lines, writers, wall_seconds=wall_seconds)
                state = done.state
                lines.extend(new)
                # Nothing is left to stop after the last step.
                stop = None if run.is_over(lines) else job.stop_requested()
                run.save_checkpoint(done, writers, stopping=stop is not None)
                loss = math.nan if new[-1].loss is None else new[-1].loss
                on_progress(Progress(len(lines), run.total_steps, loss, new[-1].tokens_per_second))
                if stop is not None:
                    break
        params, kept = run.kept(state, lines)
        if stop is None:
            checkpoints.save(run.final, {"params": params})
        return TrainingResult(
            steps=len(lines),
            total_steps=run.total_steps,
            tokens=sum(line.tokens for line in lines),
            wall_seconds=earlier_seconds + time.perf_counter() - started,
            weights_sha256=weights_sha256(params),
            parameter_count=sum(array.size for array in params.values()),
            model_config=asdict(run.config),
            resumed_from=resumed_from,
            ended="stopped" if stop is not None else "complete" if len(lines) == run.last_step else "early_stopping",
            best_step=kept.step if job.training.keep == "best" else None,
            holdout_loss=kept.holdout_loss,
            skipped_steps=tuple(line.step for line in lines if line.skipped),
        )

    def load(self, job: TrainingJob, weights: Literal["initial", "final"]) -> Model:
        """Return the model as training begins, or as checkpoint-final/ holds it; needs none of the job's rows.

        Raises:
            ArtifactError: the checkpoint is missing, damaged, or of another model.
        """
        config = _config(job)
        if weights == "initial":
            params = _initial_params(config, job)
        else:
            params = checkpoints.restore(job.directory / FINAL, {"params": abstract_params(config)})["params"]
        return FlaxModel(config, params, pad_id=job.pad_id, vocab_size=job.vocab_size)


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

    @property
    def end(self) -> int:
        """Steps done after it."""
        return self.first + len(self.tokens)


class _Writers(NamedTuple):
    """What writes in the background, never both at once."""

    checkpoints: checkpoints.Writer
    best: checkpoints.Writer


class _Run:
    """A job with what follows from it: sizes, steps, files."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.config = _config(job)
        self.rows = len(job.rows.tokens)
        self.total_steps = job.training.total_steps(self.rows)
        self.last_step = min(self.total_steps, job.stop_after or self.total_steps)
        self.placed = placement(job.mesh)
        self.metrics: Path = job.directory / "metrics.jsonl"
        self.checkpoints: Path = job.directory / "checkpoints"
        self.best: Path = job.directory / "best"
        self.final: Path = job.directory / FINAL
        self.holdout = None
        if job.holdout is not None:
            self.holdout = Holdout(job.holdout, self.config, job.training, self.placed)

    @contextlib.contextmanager
    def writers(self) -> Iterator[_Writers]:
        """Return what writes checkpoints and the best weights; all is on disk at the end."""
        keep, job = self.job.training.keep_checkpoints, self.job
        with (
            checkpoints.Writer(self.checkpoints, keep=keep, on_saved=job.on_saved) as every,
            checkpoints.Writer(self.best, keep=1, on_saved=unheard) as best,
        ):
            yield _Writers(every, best)

    def start(self) -> tuple[TrainState, list[MetricLine]]:
        """Return the state to go on from with the metrics up to it, or the initial one without any."""
        shutil.rmtree(self.final, ignore_errors=True)
        params = _initial_params(self.config, self.job)
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
        # What a checkpoint held has its place, what was drawn has none; a state of both compiles the program twice.
        place = jax.devices()[0] if self.placed is None else self.placed.weights
        return jax.device_put(state, place), lines[:step]

    def is_over(self, lines: Sequence[MetricLine]) -> bool:
        """Tell whether these metrics are those of all steps that will be done."""
        return len(lines) == self.last_step or is_stale(lines, self.job.training.early_stopping)

    def dispatches(self, state: TrainState, lines: Sequence[MetricLine]) -> Iterator[_Dispatch]:
        """Train until it is over, giving every dispatch; the caller adds its metrics to the lines."""
        if self.is_over(lines):
            return
        program = train_steps(self.config, self.job.training, self.total_steps, self.placed)
        # A dispatch of no steps compiles, so that the first rate is the machine's and not the compiler's.
        state, _ = program(state, self._batches(len(lines), 0)[0], jnp.int32(0))
        size = self.job.training.steps_per_dispatch
        while not self.is_over(lines):
            step = len(lines)
            # On a fixed grid, wherever training was taken up.
            end = min((step // size + 1) * size, self.last_step)
            started = time.perf_counter()
            batches, tokens = self._batches(step, end - step)
            state, metrics = program(state, batches, jnp.int32(end - step))
            metrics = StepMetrics(*(np.asarray(values)[: end - step] for values in metrics))
            yield _Dispatch(step, state, metrics, tokens, time.perf_counter() - started)

    def log(
        self, dispatch: _Dispatch, lines: Sequence[MetricLine], writers: _Writers, *, wall_seconds: float
    ) -> list[MetricLine]:
        """Append a line for every step, up to the first that stops training, which raises; measure the holdout."""
        new = self._lines(dispatch, wall_seconds)
        bad = np.zeros(len(new), np.bool_)
        if self.job.training.not_finite == "stop":
            bad |= ~(np.isfinite(dispatch.metrics.loss) & np.isfinite(dispatch.metrics.grad_norm))
        if self.job.training.spike == "stop":
            bad |= dispatch.metrics.spiked
        if bad.any():
            first = int(np.argmax(bad))
            append_metrics(self.metrics, new[:first])
            raise self._stopped_at(dispatch, first)
        if self.holdout is not None and self._measures(dispatch):
            new[-1] = self._with_holdout_loss(new[-1], self.holdout, dispatch.state)
            best = best_measurement([*lines, *new])
            if self.job.training.keep == "best" and best is new[-1]:
                writers.checkpoints.wait()
                writers.best.save(best.step, {"params": dispatch.state.params})
        append_metrics(self.metrics, new)
        return new

    def _lines(self, dispatch: _Dispatch, wall_seconds: float) -> list[MetricLine]:
        device, training = jax.devices()[0], self.job.training
        measured = [values.tolist() for values in dispatch.metrics]
        return [
            MetricLine(
                step=step,
                epoch=step * training.rows / self.rows,
                loss=loss if math.isfinite(loss) else None,
                learning_rate=learning_rate,
                grad_norm=grad_norm if math.isfinite(grad_norm) else None,
                tokens=tokens,
                tokens_per_second=sum(dispatch.tokens) / dispatch.seconds,
                wall_seconds=wall_seconds,
                device=f"{device.platform}:{device.id}",
                skipped=skipped,
            )
            for step, tokens, loss, learning_rate, grad_norm, _, _, skipped in zip(
                itertools.count(dispatch.first + 1), dispatch.tokens, *measured, strict=False
            )
        ]

    def _measures(self, dispatch: _Dispatch) -> bool:
        """Tell whether a dispatch reached or passed a multiple of holdout_steps, or the last step."""
        every = self.job.training.holdout_steps
        return dispatch.end // every > dispatch.first // every or dispatch.end == self.last_step

    def _with_holdout_loss(self, line: MetricLine, holdout: Holdout, state: TrainState) -> MetricLine:
        loss = holdout.loss(state.params)
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {line.step} of {self.total_steps}: the holdout's loss is {loss} after it, expected a finite "
                "number; lower learning_rate"
            )
        return msgspec.structs.replace(line, holdout_loss=loss)

    def kept(self, state: TrainState, lines: Sequence[MetricLine]) -> tuple[Params, MetricLine]:
        """Return the weights that the run ends with, and the line of the step that they are of."""
        best = best_measurement(lines) if self.job.training.keep == "best" else None
        if best is None or best is lines[-1]:
            return state.params, lines[-1]
        like = {"params": abstract_params(self.config)}
        return checkpoints.restore(self.best / str(best.step), like)["params"], best

    def save_checkpoint(self, dispatch: _Dispatch, writers: _Writers, *, stopping: bool) -> None:
        """Begin to write a checkpoint where a dispatch reached or passed a multiple of checkpoint_steps, or stops.

        It comes after the metrics of its steps, for one beyond them cannot be gone on from.

        Raises:
            ArtifactError: this one or the one before could not be written.
        """
        writers.checkpoints.check()
        end, every = dispatch.end, self.job.training.checkpoint_steps
        # After the last step comes checkpoint-final/.
        if stopping or (end // every > dispatch.first // every and end < self.last_step):
            # Training that goes on from here counts on the best weights so far.
            writers.best.wait()
            writers.checkpoints.save(end, _as_arrays(dispatch.state))

    def _batches(self, step: int, count: int) -> tuple[StackedBatches, list[int]]:
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

    def _rows_of(self, step: int, count: int) -> Any:
        size = self.job.training.rows
        return row_indices(self.job.seed, rows=self.rows, start=step * size, count=count * size)

    def _stopped_at(self, dispatch: _Dispatch, place: int) -> TrainingError:
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


def _config(job: TrainingJob) -> DecoderConfig:
    return DecoderConfig.from_spec(job.model, vocab_size=job.vocab_size)


def _initial_params(config: DecoderConfig, job: TrainingJob) -> Params:
    """Return the weights that training begins from: another run's, or those that the seed draws."""
    if job.initial is None:
        return initial_params(config, job.seed)
    found = {name.removeprefix("params."): text for name, text in checkpoints.arrays_of(job.initial).items()}
    if differing := weights_differ(found, config):
        raise ArtifactError(f"model.init_from: {job.initial}: {differing}")
    params: Params = checkpoints.restore(job.initial, {"params": abstract_params(config)})["params"]
    return params


def _check(job: TrainingJob) -> None:
    """Refuse what would train on nothing or on the wrong ids."""
    if job.training.options:
        named = ", ".join(sorted(job.training.options))
        raise SpecError(f"training.options: the flax trainer takes none, found {named}; remove them")
    if job.holdout is None and (job.training.early_stopping or job.training.keep == "best"):
        raise SpecError('training: early_stopping and keep = "best" go by the holdout\'s loss; give a holdout')
    _check_batch(job.rows, "row", job.vocab_size)
    if job.holdout is not None:
        _check_batch(job.holdout, "holdout row", job.vocab_size)
    job.training.check_rows(len(job.rows.tokens), devices=math.prod(job.mesh.values()))


def _check_batch(rows: Batch, name: str, vocab_size: int) -> None:
    if not rows.loss_mask.any():
        raise TrainingError(f"no {name} has a supervised token; give the dataset at least one trace with an answer")
    weights = rows.loss_weights
    if weights is not None and not (
        np.isfinite(weights).all() and weights.min() >= 0 and weights[rows.loss_mask].any()
    ):
        raise TrainingError("loss weights must be finite, from 0 on and not all 0; mend what packs the rows")
    if rows.tokens.min() < 0 or rows.tokens.max() >= vocab_size:
        raise TrainingError(
            f"token ids {rows.tokens.min()} to {rows.tokens.max()} in the {name}s, but the vocabulary has "
            f"{vocab_size}; pack with the tokenizer that the job names"
        )


def _as_arrays(state: TrainState) -> dict[str, Any]:
    """Name every array of a state; the optimizer's are numbered."""
    leaves = jax.tree.leaves(state.optimizer)
    numbered = {f"{number:04d}": leaf for number, leaf in enumerate(leaves)}
    return {"step": state.step, "params": state.params, "optimizer": numbered, "mean_loss": state.mean_loss}


def _from_arrays(arrays: dict[str, Any], *, like: TrainState) -> TrainState:
    numbered = arrays["optimizer"]
    leaves = [numbered[name] for name in sorted(numbered)]
    optimizer = jax.tree.unflatten(jax.tree.structure(like.optimizer), leaves)
    return TrainState(arrays["step"], arrays["params"], optimizer, arrays["mean_loss"])
