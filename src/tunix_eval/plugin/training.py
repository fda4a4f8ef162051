"""Runs: which run a spec asks for, whether it is there, and the training of it, once."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunix_eval.data import pack
from tunix_eval.digest import sha256_json, sha256_source
from tunix_eval.errors import ArtifactError, SpecError, TrainingError
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.prepare import Prepared
from tunix_eval.plugin.registry import Registry
from tunix_eval.plugin.stopping import TrainingStopped
from tunix_eval.plugin.watch import Watch
from tunix_eval.records import Progress, Renderer, Tokenizer, Trainer, TrainingJob, TrainingResult
from tunix_eval.run_inputs import record_traces
from tunix_eval.specs import OWN_TRAINER, GenerationSpec, RunSpec
from tunix_eval.store import (
    RunManifest,
    Store,
    artifact_digests,
    checkpoint_steps,
    read_manifest,
    verify_run,
    writing,
)
from tunix_eval.tables import is_path

_NUMERIC_PACKAGES = ("flax", "jax", "jaxlib", "numpy", "optax")
_RECORDED_PACKAGES = (*_NUMERIC_PACKAGES, "orbax-checkpoint", "tunix-eval")


@dataclass(frozen=True)
class InitialRun:
    """A finished run whose weights another training begins from."""

    directory: Path
    manifest: RunManifest


def initial_run(spec: RunSpec, store: Store) -> InitialRun | None:
    """Return the run that a spec's weights begin from, by id or by the path of its directory; None where none is said.

    Raises:
        ArtifactError: there is no such run.
        SpecError: its model is another one.
    """
    reference = spec.model.init_from
    if reference is None:
        return None
    try:
        named = None if is_path(reference) else store.named_run(reference)
    except ArtifactError as error:
        raise ArtifactError(f"'{spec.name}': model.init_from: {error}") from None
    directory = store.run_directory(named.run_id) if named else Path(reference)
    manifest = named or read_manifest(directory / "run_manifest.json")
    if manifest is None:
        raise ArtifactError(
            f"'{spec.name}': model.init_from: {directory} holds no finished run; name a run's id, or the path of a "
            "directory with run_manifest.json"
        )
    _check_same_model(spec, manifest)
    return InitialRun(directory, manifest)


def _check_same_model(spec: RunSpec, initial: RunManifest) -> None:
    """Refuse weights that would fit and mean something else, such as those of other heads or wave lengths."""
    wanted = spec.model.model_dump() | spec.model.sizes()
    for name in ("layers", "width", "heads", "kv_heads", "head_width", "mlp_width", "rope_theta", "qk_norm", "tied"):
        value = wanted[name]
        found = initial.model.get(name, value)
        if found != value:
            raise SpecError(
                f"'{spec.name}': model.init_from: {name} is {found} in run {initial.run_id}, but {value} here; "
                f"give [model] {name} = {str(found).lower()}"
            )


@dataclass(frozen=True)
class Identity:
    """What a run is made from. Equal inputs, equal id; names, evalsets, gates and paths are not in it."""

    run_id: str
    """The first 16 hex digits of SHA-256 over the canonical JSON of the inputs."""
    inputs: dict[str, Any]
    stop_after: int | None
    mesh: Mapping[str, int]
    """Axis -> devices; empty for a single one."""
    initial: InitialRun | None
    """The run that the weights begin from."""

    @property
    def recipe_sha256(self) -> str:
        """Digest of what the user asked for: seed, libraries, machine and the trainer's source apart."""
        apart = {"seed", "stop_after", "trainer", "environment", "mesh", "packing_sha256"}
        asked = {name: value for name, value in self.inputs.items() if name not in apart}
        return sha256_json(asked | {"trainer": self.inputs["trainer"]["name"]})


def identify(
    prepared: Prepared,
    *,
    registry: Registry,
    device: Device,
    max_steps: int | None,
    mesh: Mapping[str, int] | None = None,
    initial: InitialRun | None = None,
) -> Identity:
    """Compute a run's identity without importing JAX.

    Raises:
        SpecError: what cannot be trained in any case.
    """
    spec = prepared.spec
    prepared.check_holdout()
    # One device computes the same bits in a mesh and out of it.
    mesh = {axis: count for axis, count in (mesh or {}).items() if count > 1}
    stop_after = max_steps if max_steps is not None and max_steps < prepared.total_steps else None
    inputs = {
        "sequences": prepared.sequences_sha256,
        "holdout": prepared.holdout_sha256,
        "packing_sha256": sha256_source(Path(inspect.getfile(pack))),
        "vocab_size": prepared.format.tokenizer.vocab_size,
        "pad_id": prepared.format.tokenizer.pad_id,
        "model": spec.model.model_dump(mode="json", exclude={"preset", "init_from"}) | spec.model.sizes(),
        "initial_weights": initial.manifest.weights_sha256 if initial else None,
        "training": spec.training.model_dump(mode="json", exclude={"checkpoint_steps", "keep_checkpoints", "epochs"})
        | {"steps": prepared.total_steps},
        "seed": spec.seed,
        "stop_after": stop_after,
        "trainer": {"name": spec.trainer, "source_sha256": registry.trainer_source(spec.trainer)},
        "environment": environment(device),
        "mesh": mesh,
    }
    return Identity(sha256_json(inputs)[:16], inputs, stop_after, mesh, initial)


def environment(device: Device) -> dict[str, Any]:
    """Return what can change numbers without any change in the spec: libraries, platform, XLA flags."""
    return {
        "packages": _versions(_NUMERIC_PACKAGES),
        "platform": device.platform,
        # An accelerator's programs run on one device but in a mesh; how many a worker or session sees changes no bit.
        "devices": device.count if device.platform == "cpu" else 1,
        "cpu_threads": devices.cpu_threads() if device.platform == "cpu" else None,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "variables": devices.numeric_settings(),
    }


def job_of(prepared: Prepared, identity: Identity, store: Store) -> TrainingJob:
    """Return what the trainer is told."""
    return TrainingJob(
        rows=prepared.rows,
        model=prepared.spec.model,
        training=prepared.spec.training,
        seed=prepared.spec.seed,
        vocab_size=prepared.format.tokenizer.vocab_size,
        pad_id=prepared.format.tokenizer.pad_id,
        stop_after=identity.stop_after,
        directory=store.run_directory(identity.run_id),
        holdout=prepared.holdout_rows,
        initial=identity.initial.directory / "checkpoint-final" if identity.initial else None,
        mesh=identity.mesh,
    )


def check_supported(trainer: Trainer, job: TrainingJob, generation: GenerationSpec) -> None:
    """Refuse what a trainer would pass over in silence.

    Raises:
        SpecError: the run file or the command line asks for what the trainer does not say that it supports.
    """
    filters = [name for name in ("top_k", "top_p", "min_p") if getattr(generation, name) is not None]
    asked = {
        "holdout": ["holdout"] if job.holdout is not None else [],
        "init_from": ["model.init_from"] if job.initial is not None else [],
        "mesh": ["--tunix-mesh"] if job.mesh else [],
        "filters": [f"generation.{name}" for name in filters],
    }
    known = getattr(trainer, "supports", ())
    for feature, names in asked.items():
        if names and feature not in known:
            raise SpecError(
                f"trainer '{trainer.name}' takes no {names[0]}: '{feature}' is not in its `supports`; take it out, or "
                "choose another trainer"
            )


def train(
    prepared: Prepared,
    identity: Identity,
    *,
    store: Store,
    trainer: Trainer,
    source_sha256: str,
    device: Device,
    root: Path,
    on_started: Callable[[int], None],
    on_progress: Callable[[Progress], None],
    watch: Watch,
    resume_from: int | None = None,
) -> RunManifest:
    """Train a run, or go on with it, and record it. The caller holds the run's lock.

    `on_started` is called once, with the steps that were done before: as soon as that is known. `resume_from` is the
    step to go on from, where the run has a checkpoint of it; else that is the newest.

    Raises:
        TrainingStopped: before its last step, as the watch asked for; nothing is recorded.
    """
    started = _Once(on_started)
    job = job_of(prepared, identity, store)
    job = replace(
        job,
        resume_from=resume_step(resume_from, job.directory, prepared.spec.trainer),
        stop_requested=watch.stop_requested,
        on_saved=watch.on_saved,
        on_started=started,
    )
    check_supported(trainer, job, prepared.spec.generation)
    if identity.initial is not None:
        verify_run(identity.initial.directory, identity.initial.manifest)

    def progressed(now: Progress) -> None:
        # For trainers that do not tell where they begin.
        started(0)
        on_progress(now)

    with writing(job.directory):
        job.directory.mkdir(parents=True, exist_ok=True)
        if not _is_begun(job.directory):
            started(0)
        watch.begin()
        try:
            result = trainer.train(job, on_progress=progressed)
        except TrainingError as error:
            # A trainer does not know the run's name, and a session may train several.
            raise TrainingError(f"run '{prepared.spec.name}' ({identity.run_id}): {error}") from None
        started(result.resumed_from or 0)
        devices.confirm(device)
        expected = identity.stop_after or prepared.total_steps
        if result.ended == "stopped":
            raise TrainingStopped(result.steps, expected)
        if result.steps != expected and result.ended != "early_stopping":
            raise TrainingError(
                f"run '{prepared.spec.name}': trainer '{trainer.name}' did {result.steps} of {expected} steps and "
                "gave no reason; the run is not recorded"
            )
        manifest = _manifest(prepared, identity, result, trainer, source_sha256, device, job.directory, root)
        record_traces(job.directory, prepared.trace_digests)
    store.record_run(manifest)
    return manifest


class _Once:
    """Calls a function with the first number that it is called with, and passes over the others."""

    def __init__(self, function: Callable[[int], None]) -> None:
        self._function: Callable[[int], None] | None = function

    def __call__(self, number: int) -> None:
        function, self._function = self._function, None
        if function is not None:
            function(number)


def resume_step(asked: int | None, directory: Path, trainer: str) -> int | None:
    """Return the step that a run is to go on from: the one that is asked for, where it has a checkpoint of that.

    One option is for all runs of a session, also for those that nobody thought of: the fresh seeds of a gate.
    """
    if asked is None:
        return None
    # Where a trainer of another package keeps its checkpoints is its own affair.
    held = asked in checkpoint_steps(directory) if trainer == OWN_TRAINER else _is_begun(directory)
    return asked if held else None


def _is_begun(directory: Path) -> bool:
    """Tell whether a trainer has left anything in a run's directory."""
    return directory.is_dir() and any(path.name != "started.json" for path in directory.iterdir())


def _manifest(
    prepared: Prepared,
    identity: Identity,
    result: TrainingResult,
    trainer: Trainer,
    source_sha256: str,
    device: Device,
    directory: Path,
    root: Path,
) -> RunManifest:
    spec, form, initial = prepared.spec, prepared.format, identity.initial
    git_sha, git_dirty = _git_state(root)
    return RunManifest(
        run_id=identity.run_id,
        inputs=identity.inputs,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset_key=prepared.dataset.key,
        dataset_sha256=prepared.dataset.content_sha256,
        sequences_sha256=prepared.sequences_sha256,
        recipe={
            "name": spec.name,
            "style": form.style,
            "renderer_options": spec.renderer_options,
            "supervise": spec.supervise,
            "step_weight": spec.step_weight,
            "trainer": spec.trainer,
            "model": spec.model.model_dump(mode="json") | {"init_from": initial.manifest.run_id if initial else None},
            "sha256": identity.recipe_sha256,
        },
        training_config=spec.training.model_dump(mode="json"),
        model=result.model_config,
        trainer={"name": trainer.name, "version": trainer.version, "source_sha256": source_sha256},
        renderer=described_part(spec.renderer, form.renderer, root),
        tokenizer=described_part(spec.tokenizer, form.tokenizer, root),
        truncation={
            "mode": spec.truncation,
            "dropped": len(prepared.truncated.dropped),
            "cut": prepared.truncated.cut,
        },
        holdout=_holdout(prepared),
        initial=_initial(initial),
        mesh=dict(identity.mesh),
        seed=spec.seed,
        git_sha=git_sha,
        git_dirty=git_dirty,
        packages=_versions(_RECORDED_PACKAGES),
        device=devices.describe(device),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        steps=result.steps,
        total_steps=result.total_steps,
        parameter_count=result.parameter_count,
        tokens=result.tokens,
        wall_seconds=round(result.wall_seconds, 3),
        resumed_from=result.resumed_from,
        status="truncated" if identity.stop_after else "complete",
        ended="early_stopping" if result.ended == "early_stopping" else "complete",
        best_step=result.best_step,
        holdout_loss=result.holdout_loss,
        skipped_steps=result.skipped_steps,
        weights_sha256=result.weights_sha256,
        artifacts=artifact_digests(directory),
    )


def _holdout(prepared: Prepared) -> dict[str, Any] | None:
    """Return what to record of the holdout: where it is from, and how much of it there is."""
    held_out, rows = prepared.truncated_holdout, prepared.holdout_rows
    if held_out is None or rows is None:
        return None
    named = prepared.named_holdout
    return {
        "dataset_key": (named or prepared.dataset).key,
        "share": None if named else prepared.spec.holdout,
        "sequences_sha256": prepared.holdout_sha256,
        "traces": len(held_out.sequences),
        "rows": len(rows.tokens),
        "dropped": len(held_out.dropped),
        "cut": held_out.cut,
    }


def _initial(run: InitialRun | None) -> dict[str, Any] | None:
    """Return what to record of the run that the weights began from."""
    if run is None:
        return None
    manifest = run.manifest
    parts = {"renderer": manifest.renderer, "tokenizer": manifest.tokenizer}
    return {"run_id": manifest.run_id, "weights_sha256": manifest.weights_sha256, **parts}


def notes_of(manifest: RunManifest, name: str) -> list[str]:
    """Say what a reader of the session's table should know of how a run went."""
    notes, skipped = [], manifest.skipped_steps
    if skipped:
        listed = ", ".join(map(str, skipped[:5])) + (", ..." if len(skipped) > 5 else "")
        notes.append(
            f"{name}: {len(skipped)} of {manifest.steps} steps changed nothing, for their loss was not finite or a "
            f"spike: {listed}"
        )
    if manifest.best_step is not None and manifest.best_step != manifest.steps:
        notes.append(
            f"{name}: its weights are those of step {manifest.best_step}, of the lowest holdout loss, "
            f"{manifest.holdout_loss:.4f}"
        )
    initial = manifest.initial or {}
    for part, here in (("renderer", manifest.renderer), ("tokenizer", manifest.tokenizer)):
        there = initial.get(part, here)
        if (there["name"], there["version"]) != (here["name"], here["version"]):
            notes.append(
                f"{name}: has {part} {here['name']}, and the run that it began from, {initial['run_id']}, had "
                f"{there['name']}{'' if there['name'] != here['name'] else ' in another version'}"
            )
    return notes


def described_part(reference: str, part: Renderer | Tokenizer, root: Path) -> dict[str, str]:
    """Return what to record of a renderer or tokenizer: what it is, and under which name or path it was found."""
    recorded = {"name": part.name, "version": part.version}
    if not is_path(reference):
        return recorded | {"registered": reference}
    return recorded | {"path": Path(os.path.relpath(reference, root)).as_posix()}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_state(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit and whether tracked files differ from it; None outside of git."""

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(  # noqa: S603
                ["git", "-C", str(root), *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    sha = git("rev-parse", "HEAD")
    return (sha, bool(git("status", "--porcelain", "--untracked-files=no"))) if sha else (None, None)
