"""Whether a run can be trained: its settings, room on disk and in memory, something to go on from."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, cast

from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.figures import bytes_text
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.prepare import Prepared
from tunix_eval.sizes import (
    check_memory,
    disk_bytes,
    memory_bytes,
    parameter_count,
    shown_bytes,
    shown_parameters,
)
from tunix_eval.specs import OWN_TRAINER, RunSpec, TrainingSpec
from tunix_eval.store import checkpoint_steps, files_below

if TYPE_CHECKING:
    from tunix_eval.plugin.runs import Runs


def check_training(session: Runs, spec: RunSpec) -> None:
    """Find out now whether a run can be trained.

    Raises:
        TunixEvalError: one of many; nothing is trained.
    """
    session.identity(spec)
    if spec.trainer == OWN_TRAINER:
        _check_optimizer(spec.training)
    session.prepared(spec).check_rows(session.options.mesh or {})
    check_room(session, spec)


def _check_optimizer(training: TrainingSpec) -> None:
    """Let optax judge an optimizer, its options and its mask, but for the default, of which nothing can be wrong.

    Optax brings JAX, which trains a moment later; a run that is recorded does not come here.
    """
    chosen = {"optimizer", "optimizer_options"}
    if training.model_dump(include=chosen) == TrainingSpec(steps=1).model_dump(include=chosen):
        return
    from tunix_eval.model import build_optimizer, learning_rates

    build_optimizer(training, learning_rates(training, training.steps or 1))


def check_room(session: Runs, spec: RunSpec) -> None:
    """Refuse a training that cannot fit: no place to write, too little disk, too little memory.

    Raises:
        ArtifactError: the artifacts directory is no place, or too small.
        SpecError: the device has less memory; the message says which settings would help.
    """
    folder = session.store.root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ArtifactError(
            f"{session.store.root}: cannot be written: {folder} is "
            f"{'read-only' if folder.is_dir() else 'no directory'}; name another with --tunix-artifacts=DIR"
        )
    if spec.trainer != OWN_TRAINER:
        # Of others neither the size nor the checkpoints are known from the run file.
        return
    prepared, run_id = session.prepared(spec), session.identity(spec).run_id
    needed = disk_bytes(training=spec.training, **_model(prepared))
    run, free = session.store.run_directory(run_id), shutil.disk_usage(folder).free
    if needed > free + sum(size for _, size in files_below(run)):
        raise ArtifactError(
            f"{folder}: run '{spec.name}' ({run_id}) needs about {bytes_text(needed)} for checkpoints, "
            f"{bytes_text(free)} are free; free space or name another directory with --tunix-artifacts=DIR"
        )
    available = devices.memory_bytes(session.device)
    if available is not None:
        try:
            asked = _asked(prepared, session.device, session.options.mesh)
            check_memory(memory_bytes(**asked), available, **asked)
        except SpecError as error:
            raise SpecError(f"run '{spec.name}' ({run_id}): {error}") from None


def check_resume(session: Runs, spec: RunSpec) -> None:
    """Refuse a step that no checkpoint is of."""
    step = session.options.resume_from
    if step is None or spec.trainer != OWN_TRAINER:
        return
    run_id = session.identity(spec).run_id
    steps = checkpoint_steps(session.store.run_directory(run_id))
    if step not in steps or session.options.retrain:
        there = f"there are: {', '.join(map(str, steps))}" if steps else "there is none"
        there = "--tunix-retrain begins at step 0; leave it out" if session.options.retrain else there
        raise ArtifactError(
            f"--tunix-resume-from: run '{spec.name}' ({run_id}) has no checkpoint of step {step} to go on from; {there}"
        )


def steps_done(session: Runs, spec: RunSpec) -> int:
    """Return the step that a training goes on from, 0 where nothing is there; of our own trainer alone is it known."""
    if spec.trainer != OWN_TRAINER or session.options.retrain:
        return 0
    steps = checkpoint_steps(session.store.run_directory(session.identity(spec).run_id))
    asked = session.options.resume_from
    return asked if asked in steps else max(steps, default=0)


def size_text(session: Runs, spec: RunSpec) -> str | None:
    """Say how large a training is: `0.5M parameters, about 60 MB`; None where nobody knows before it is trained."""
    if spec.trainer != OWN_TRAINER:
        return None
    prepared = session.prepared(spec)
    needed = memory_bytes(**_asked(prepared, session.device, session.options.mesh))
    return f"{shown_parameters(parameter_count(**_model(prepared)))}, about {shown_bytes(needed)}"


def _model(prepared: Prepared) -> dict[str, Any]:
    return {"model": prepared.spec.model, "vocab_size": prepared.format.tokenizer.vocab_size}


def _asked(prepared: Prepared, device: Device, mesh: dict[str, int] | None) -> dict[str, Any]:
    """Return what decides how much one device holds: its share of the rows, where it has memory of its own."""
    training = prepared.spec.training
    if mesh and device.platform != "cpu":
        rows = max(training.rows // mesh["data"], training.accumulate)
        training = training.model_copy(update={"rows": rows})
    return _model(prepared) | {"training": training, "platform": cast("Any", device.platform)}
