"""The built-in trainer: a small decoder, trained from scratch, that goes on after a kill to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from tunix_eval.errors import ArtifactError, SpecError, TrainingError
from tunix_eval.model import checkpoints
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params, abstract_params, initial_params
from tunix_eval.model.dispatches import Loop, supervised
from tunix_eval.model.generation import FlaxModel
from tunix_eval.model.run_directory import FINAL, RunDirectory
from tunix_eval.model.shapes import weights_differ
from tunix_eval.model.steps import initial_state
from tunix_eval.model.weights import weights_sha256
from tunix_eval.records import Batch, Model, Progress, TrainingJob, TrainingResult


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

        `on_progress` is called after every dispatch, `job.on_started` before the first. A truncated run writes
        checkpoint-final/ too; one that is stopped on request writes a checkpoint to go on from.

        Raises:
            SpecError: an optimizer or option that does not exist.
            TrainingError: rows that cannot be trained on; a loss that is not finite, or over the others, where such
                a step is to stop training: with the step, the gradient's norm, and the traces of that batch; no step
                that changed anything; weights that are not finite at the end.
            ArtifactError: the directory cannot be written, or has no room for the checkpoints; no checkpoint of the
                step to go on from, or one of another shape.
        """
        _check(job)
        loop = Loop(job, _config(job))
        run = RunDirectory(loop)
        started = time.perf_counter()
        params = _initial_params(loop.config, job)
        state, lines = run.start(initial_state(params, job.training, loop.total_steps))
        resumed_from = len(lines) or None
        job.on_started(len(lines))
        earlier_seconds = lines[-1].wall_seconds if lines else 0.0
        stop = None
        with run.writers() as writers:
            for done in loop.dispatches(state, lines):
                wall_seconds = earlier_seconds + time.perf_counter() - started
                new = run.log(done, lines, writers, wall_seconds=wall_seconds)
                state = done.state
                lines.extend(new)
                # Nothing is left to stop after the last step.
                stop = None if loop.is_over(lines) else job.stop_requested()
                run.save_checkpoint(done, writers, stopping=stop is not None)
                on_progress(Progress(len(lines), loop.total_steps, new[-1].loss, new[-1].tokens_per_second))
                if stop is not None:
                    break
        # Stopped, it needs no best weights, and a signal leaves little time.
        params, kept = run.kept(state, lines) if stop is None else (state.params, lines[-1])
        if stop is None:
            loop.check_changes(lines)
            run.save_final(params, lines[: kept.step])
        return TrainingResult(
            steps=len(lines),
            total_steps=loop.total_steps,
            tokens=sum(line.tokens for line in lines),
            wall_seconds=earlier_seconds + time.perf_counter() - started,
            weights_sha256=weights_sha256(params),
            parameter_count=sum(array.size for array in params.values()),
            model_config=asdict(loop.config),
            resumed_from=resumed_from,
            ended="stopped" if stop is not None else "complete" if len(lines) == loop.last_step else "early_stopping",
            best_step=kept.step if job.training.keep == "best" and stop is None else None,
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
    if not supervised(replace(rows, loss_weights=None)).any():
        raise TrainingError(f"no {name} has a supervised token; give the dataset at least one trace with an answer")
    weights = rows.loss_weights
    if weights is not None and not (np.isfinite(weights).all() and weights.min() >= 0 and supervised(rows).any()):
        raise TrainingError("loss weights must be finite, from 0 on and not all 0; mend what packs the rows")
    if rows.tokens.min() < 0 or rows.tokens.max() >= vocab_size:
        raise TrainingError(
            f"token ids {rows.tokens.min()} to {rows.tokens.max()} in the {name}s, but the vocabulary has "
            f"{vocab_size}; pack with the tokenizer that the job names"
        )
