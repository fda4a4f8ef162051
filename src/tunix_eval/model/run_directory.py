"""What a training leaves in its directory as it goes, and takes up again: metrics, checkpoints, the best weights."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np

from tunix_eval.errors import TrainingError
from tunix_eval.model import checkpoints
from tunix_eval.model.decoder import Params, abstract_params
from tunix_eval.model.dispatches import Dispatch, Loop
from tunix_eval.model.holdout import Holdout, best_measurement
from tunix_eval.model.metrics import MetricLine, append_metrics, read_metrics, rewrite_metrics
from tunix_eval.model.steps import TrainState
from tunix_eval.records import unheard

FINAL = "checkpoint-final"


class Writers(NamedTuple):
    """What writes in the background, never both at once."""

    checkpoints: checkpoints.Writer
    best: checkpoints.Writer


class RunDirectory:
    """The files of a job."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.job = job = loop.job
        self.metrics: Path = job.directory / "metrics.jsonl"
        self.checkpoints: Path = job.directory / "checkpoints"
        self.best: Path = job.directory / "best"
        self.final: Path = job.directory / FINAL
        self.holdout = None
        if job.holdout is not None:
            self.holdout = Holdout(job.holdout, loop.config, job.training, loop.placed)

    def start(self, state: TrainState) -> tuple[TrainState, list[MetricLine]]:
        """Return the state to go on from with the metrics up to it, or the given initial one without any."""
        shutil.rmtree(self.final, ignore_errors=True)
        lines = read_metrics(self.metrics)
        # A checkpoint beyond the metrics cannot be gone on from: some steps would have no line.
        at_most, like = min(len(lines), self.loop.last_step), _as_arrays(state)
        if self.job.resume_from is None:
            found = checkpoints.newest(
                self.checkpoints, like, at_most=at_most, check=lambda step: self._check_best(lines[:step])
            )
        else:
            found = checkpoints.of_step(self.checkpoints, like, self.job.resume_from, at_most=at_most)
            self._check_best(lines[: found[0]])
        training = self.job.training
        best = self.best if training.keep == "best" else None
        checkpoints.check_room(self.checkpoints, like, keep=training.keep_checkpoints, best=best)
        step, state = (0, state) if found is None else (found[0], _from_arrays(found[1], like=state))
        rewrite_metrics(self.metrics, lines[:step])
        # Steps that are done again measure again, and where the bits differ other ones are the best.
        checkpoints.prune_best(self.best, checkpoints=self.checkpoints, upto=step)
        # What a checkpoint held has its place, what was drawn has none; a state of both compiles the program twice.
        place = jax.devices()[0] if self.loop.placed is None else self.loop.placed.weights
        return jax.device_put(state, place), lines[:step]

    @contextlib.contextmanager
    def writers(self) -> Iterator[Writers]:
        """Return what writes checkpoints and the best weights; all is on disk at the end."""
        keep, job = self.job.training.keep_checkpoints, self.job
        with (
            checkpoints.Writer(self.checkpoints, keep=keep, on_saved=job.on_saved) as every,
            checkpoints.Writer(self.best, keep=1, on_saved=unheard, best_of=self.checkpoints) as best,
        ):
            yield Writers(every, best)

    def log(
        self, dispatch: Dispatch, lines: Sequence[MetricLine], writers: Writers, *, wall_seconds: float
    ) -> list[MetricLine]:
        """Append a line for every step, up to the first that stops training, which raises; measure the holdout."""
        new, bad = self.loop.lines(dispatch, wall_seconds=wall_seconds), self.loop.first_bad(dispatch)
        if bad is not None:
            append_metrics(self.metrics, new[:bad])
            raise self.loop.stopped_at(dispatch, bad)
        measures = dispatch.passes(self.job.training.holdout_steps) or dispatch.end == self.loop.last_step
        if self.holdout is not None and measures:
            new[-1] = self._with_holdout_loss(new[-1], self.holdout, dispatch.state)
            best = best_measurement([*lines, *new])
            if self.job.training.keep == "best" and best is new[-1]:
                writers.checkpoints.wait()
                writers.best.save(best.step, {"params": dispatch.state.params})
        append_metrics(self.metrics, new)
        return new

    def save_checkpoint(self, dispatch: Dispatch, writers: Writers, *, stopping: bool) -> None:
        """Begin to write a checkpoint where a dispatch reached or passed a multiple of checkpoint_steps, or stops.

        It comes after the metrics of its steps, for one beyond them cannot be gone on from.

        Raises:
            ArtifactError: this one or the one before could not be written.
        """
        writers.checkpoints.check()
        writers.best.check()
        # After the last step comes checkpoint-final/.
        is_due = dispatch.passes(self.job.training.checkpoint_steps) and dispatch.end < self.loop.last_step
        if stopping or is_due:
            # Training that goes on from here counts on the best weights so far.
            writers.best.wait()
            writers.checkpoints.save(dispatch.end, _as_arrays(dispatch.state))

    def kept(self, state: TrainState, lines: Sequence[MetricLine]) -> tuple[Params, MetricLine]:
        """Return the weights that the run ends with, and the line of the step that they are of."""
        best = best_measurement(lines) if self.job.training.keep == "best" else None
        if best is None or best is lines[-1]:
            return state.params, lines[-1]
        like = {"params": abstract_params(self.loop.config)}
        return checkpoints.restore(self.best / str(best.step), like)["params"], best

    def save_final(self, params: Params, lines: Sequence[MetricLine]) -> None:
        """Write the weights that the run ends with.

        Args:
            params: the weights.
            lines: the metrics up to the step that they are of.

        Raises:
            TrainingError: weights that are not finite, which no loss has shown: naming the step that made them so.
            ArtifactError: the disk refuses.
        """
        bad = {name: int(np.count_nonzero(~np.isfinite(array))) for name, array in params.items()}
        if any(bad.values()):
            step = next((line.step for line in reversed(lines) if not line.skipped), 0)
            first = next(name for name in params if bad[name])
            raise TrainingError(
                f"step {step} of {self.loop.total_steps}: after it {sum(bad.values())} of "
                f"{sum(array.size for array in params.values())} weights are not finite, the first in '{first}'; "
                "lower learning_rate"
            )
        checkpoints.save(self.final, {"params": params})

    def _check_best(self, lines: Sequence[MetricLine]) -> None:
        """Refuse to go on without the best weights so far: a run may end with them, hours later.

        Raises:
            ArtifactError: they are missing or damaged.
        """
        best = best_measurement(lines) if self.job.training.keep == "best" else None
        if best is not None:
            checkpoints.check_files(self.best / str(best.step))

    def _with_holdout_loss(self, line: MetricLine, holdout: Holdout, state: TrainState) -> MetricLine:
        loss = holdout.loss(state.params)
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {line.step} of {self.loop.total_steps}: the holdout's loss is {loss} after it, expected a "
                "finite number; lower learning_rate"
            )
        return msgspec.structs.replace(line, holdout_loss=loss)


def _as_arrays(state: TrainState) -> dict[str, Any]:
    """Name every array of a state; the optimizer's are numbered, but for empty ones, which Orbax refuses."""
    leaves = jax.tree.leaves(state.optimizer)
    numbered = {f"{number:04d}": leaf for number, leaf in enumerate(leaves) if leaf.size}
    return {"step": state.step, "params": state.params, "optimizer": numbered, "mean_loss": state.mean_loss}


def _from_arrays(arrays: dict[str, Any], *, like: TrainState) -> TrainState:
    leaves, structure = jax.tree.flatten(like.optimizer)
    held = [arrays["optimizer"].get(f"{number:04d}", leaf) for number, leaf in enumerate(leaves)]
    optimizer = jax.tree.unflatten(structure, held)
    return TrainState(arrays["step"], arrays["params"], optimizer, arrays["mean_loss"])
