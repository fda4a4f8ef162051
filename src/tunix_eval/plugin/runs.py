"""The runs of a session: which one a spec asks for, whether it is recorded, and the training of it, once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pytest

from tunix_eval.digest import canonical_json
from tunix_eval.errors import ArtifactError, RunMissingError, SpecError, TrainingError
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.again import Changes, changes
from tunix_eval.plugin.compiled import CompiledPrograms
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.library import Library
from tunix_eval.plugin.options import Options
from tunix_eval.plugin.prepare import Prepared, format_of_spec
from tunix_eval.plugin.progress import shown, training_detail
from tunix_eval.plugin.registry import Registry
from tunix_eval.plugin.room import check_training, size_text
from tunix_eval.plugin.rows import Note, Row, missing_run, predictions_row, run_row
from tunix_eval.plugin.sources import PredictionsFile, Run, Source, open_checkpoint, open_predictions
from tunix_eval.plugin.state import DEVICE_KEY, SESSION_ID_KEY
from tunix_eval.plugin.stopping import Stopping
from tunix_eval.plugin.training import Identity, identify, initial_run, job_of, notes_of, train
from tunix_eval.plugin.watch import Watch
from tunix_eval.records import Progress, Trainer
from tunix_eval.settings import Settings
from tunix_eval.specs import AnySpec, CheckpointSpec, RunSpec
from tunix_eval.store import RunManifest, StartedRun, Store, write_atomic


@dataclass
class Runs:
    """What a process knows of runs. Everything is looked up once; nothing is trained that is already recorded."""

    config: pytest.Config
    options: Options
    settings: Settings
    registry: Registry
    root: Path
    store: Store
    notify: Callable[[str], None]
    rows: list[Row]
    """What happened since the last test report; the reporter takes it along."""
    library: Library
    """The run files, datasets and evalsets that were read."""
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _sources: dict[str, Source] = field(default_factory=dict)

    @property
    def device(self) -> Device:
        """What the session runs on, chosen at first use unless the command line has chosen already."""
        if DEVICE_KEY not in self.config.stash:
            request = self.options.device or self.settings.device
            self.config.stash[DEVICE_KEY] = devices.choose(request, self.options.host_devices, self.options.mesh)
        return self.config.stash[DEVICE_KEY]

    def prepared(self, spec: RunSpec) -> Prepared:
        """Return a spec with its data."""
        judging = {"evalsets", "gates", "generation", "scorers", "scorer_options", "answer", "thinking", "correction"}
        key = canonical_json(spec.model_dump(mode="json", exclude=judging))
        if key not in self._prepared:
            holdout = self.library.dataset(spec.holdout) if isinstance(spec.holdout, str) else None
            form = format_of_spec(self.registry, spec)
            self._prepared[key] = Prepared(spec, self.library.dataset(spec.dataset), form, holdout)
        return self._prepared[key]

    def identity(self, spec: RunSpec) -> Identity:
        """Return the identity of the run that a spec asks for."""
        return identify(
            self.prepared(spec),
            registry=self.registry,
            device=self.device,
            max_steps=self.options.max_steps,
            mesh=self.options.mesh,
            initial=initial_run(spec, self.store),
        )

    def recorded(self, spec: RunSpec) -> RunManifest | None:
        """Return the manifest of the run that a spec asks for, if this session may use it."""
        identity = self.identity(spec)
        if self.options.retrain and not self._retrained(identity.run_id).exists():
            return None
        return self.store.find_run(identity.run_id)

    def changes(self, spec: RunSpec) -> Changes | None:
        """Say in what a run that is not recorded differs from the newest recorded one of its name."""
        identity = self.identity(spec)
        # Of a run to be trained again the record is not read: it may be the damaged one that is to be replaced.
        known = self.options.retrain or self.store.find_run(identity.run_id)
        return None if known else changes(self.prepared(spec), identity, self.store, self.root)

    def source(self, spec: AnySpec) -> Source:
        """Return what writes the completions that a spec judges; a run that is missing is trained.

        Raises:
            RunMissingError: it is a run, not recorded, and --tunix-train was not given.
        """
        if isinstance(spec, RunSpec):
            return self.run(spec)
        key = canonical_json([type(spec).__name__, spec.model_dump(mode="json", exclude={"gates", "evalsets"})])
        if key not in self._sources:
            if isinstance(spec, CheckpointSpec):
                run = open_checkpoint(spec, self.store, self.registry, self.root)
                self._sources[key] = run
                self.rows.append(run_row(run, "checkpoint"))
            else:
                predictions = open_predictions(spec, self.store)
                self._sources[key] = predictions
                self.rows += [predictions_row(predictions), Note(predictions.keys_taken)]
        return self._sources[key]

    def weights(self, spec: AnySpec) -> Run:
        """Return the run or checkpoint that a spec judges.

        Raises:
            SpecError: it judges predictions, which have no weights.
        """
        source = self.source(spec)
        if isinstance(source, PredictionsFile):
            raise SpecError(
                f"'{spec.name}' judges predictions, behind which there is no run here; take tunix_completions, "
                "tunix_scorecard, tunix_case or tunix_gate"
            )
        return source

    def recorded_run(self, spec: RunSpec, manifest: RunManifest) -> Run:
        """Return a run that is recorded, as one of a spec's seeds."""
        own = spec.model_copy(update={"seed": manifest.seed})
        return self._kept(own, manifest.run_id, lambda: (manifest, "reused"))

    def run(self, spec: RunSpec) -> Run:
        """Return the run that a spec asks for; train it, once whatever the number of processes, if it is missing.

        Raises:
            RunMissingError: it is not recorded and --tunix-train was not given.
        """
        identity = self.identity(spec)

        def find() -> tuple[RunManifest, str]:
            manifest = self.recorded(spec)
            if manifest is not None:
                return manifest, "reused"
            if not self.options.train:
                raise RunMissingError(missing_run(spec, identity, self.store))
            return self._train(spec, identity)

        return self._kept(spec, identity.run_id, find)

    def _kept(self, spec: RunSpec, run_id: str, find: Callable[[], tuple[RunManifest, str]]) -> Run:
        """Return a spec's run, found and reported once."""
        key = canonical_json([run_id, spec.name, spec.generation.model_dump(mode="json"), spec.answer, spec.thinking])
        if key not in self._sources:
            manifest, action = find()
            self._sources[key] = run = self._opened(spec, manifest)
            self.rows += [run_row(run, action), *map(Note, notes_of(manifest, spec.name))]
        found = self._sources[key]
        assert isinstance(found, Run)
        return found

    def _opened(self, spec: RunSpec, manifest: RunManifest) -> Run:
        prepared = self.prepared(spec)
        directory = self.store.run_directory(manifest.run_id)
        return Run(
            kind="training",
            spec=spec,
            manifest=manifest,
            directory=self.store.records_directory(manifest.run_id, spec.name, manifest.recipe["name"]),
            checkpoint=directory,
            format=prepared.format,
            job=replace(job_of(prepared, self.identity(spec), self.store), directory=directory),
            trainer=spec.trainer,
            prepared=prepared,
        )

    def _train(self, spec: RunSpec, identity: Identity) -> tuple[RunManifest, str]:
        named = f"run '{spec.name}' ({identity.run_id})"
        again = f"run again{' without --tunix-retrain' if self.options.retrain else ''} to go on"
        stopping = Stopping.of(self.config)
        before = self.store.written_at(identity.run_id)
        with contextlib.ExitStack() as held:
            left = stopping.seconds_left()
            try:
                held.enter_context(self.store.lock(f"run-{identity.run_id}", wait=True if left is None else left))
            except ArtifactError:
                # Another session trains it, for longer than this one has time.
                stopping.refuse(named, identity.run_id, again)
                raise
            if self.options.retrain and self.store.written_at(identity.run_id) not in (None, before):
                # Another session has trained it again while this one waited, and evaluates it now: as fresh as ours.
                write_atomic(self._retrained(identity.run_id), "")
            manifest = self.recorded(spec)
            if manifest is not None:
                return manifest, "reused"
            # The plan has judged what it saw; what a test's body asks for comes here first.
            check_training(self, spec)
            held.enter_context(self._failing_once(identity.run_id))
            with stopping.training(named, identity.run_id, again=again) as watch:
                manifest = self._train_now(spec, identity, watch)
        return manifest, "resumed" if manifest.resumed_from else "trained"

    def _train_now(self, spec: RunSpec, identity: Identity, watch: Watch) -> RunManifest:
        if self.options.retrain:
            self.store.set_aside(identity.run_id)
        prepared = self.prepared(spec)
        total = f"{prepared.total_steps} steps on {self.device.platform}"
        steps = f"{identity.stop_after} of {total}" if identity.stop_after else total
        size = size_text(self, spec)
        sized = f"; {size}" if size else ""
        first_line = f"training {spec.name} ({identity.run_id}): seed {spec.seed}, {steps}{sized}"
        planned = identity.stop_after or prepared.total_steps
        source = spec.model.init_from and Path(spec.model.init_from).name
        started = StartedRun(name=spec.name, seed=spec.seed, steps=planned, init_from=source)
        self.store.record_start(identity.run_id, started)
        if prepared.holdout_rows is not None:
            watch.foresee_holdout(len(prepared.holdout_rows.tokens) / spec.training.rows)
        with shown(self.config, f"training {spec.name}", unit="step", total=planned, started=False) as update:

            def on_started(step: int) -> None:
                self.notify(f"{first_line}; goes on from step {step}" if step else first_line)
                update.started(step)

            def on_progress(now: Progress) -> None:
                watch.on_step(now.step)
                update(now.step, *training_detail(now.loss, now.tokens_per_second))
                self._programs.publish()

            with self.on_device(f"training of '{spec.name}' ({identity.run_id})"):
                manifest = train(
                    prepared,
                    identity,
                    store=self.store,
                    trainer=self.trainer(spec.trainer),
                    source_sha256=self.registry.trainer_source(spec.trainer),
                    device=self.device,
                    root=self.root,
                    on_started=on_started,
                    on_progress=on_progress,
                    watch=watch,
                    resume_from=self.options.resume_from,
                )
        if self.options.retrain:
            write_atomic(self._retrained(identity.run_id), "")
        return manifest

    @contextlib.contextmanager
    def on_device(self, what: str) -> Iterator[None]:
        """Compute on the device, alone where workers share it; what goes wrong with it is one line."""
        alone = self.store.lock(self.device.lock) if self.device.lock else contextlib.nullcontext()
        with alone, devices.failures_in_one_line(what, self.device):
            yield

    def trainer(self, name: str) -> Trainer:
        """Return a trainer; what JAX compiles for it is kept."""
        trainer = self.registry.trainer(name)
        if self.settings.compilation_cache:
            self._programs.open()
        return trainer

    @cached_property
    def _programs(self) -> CompiledPrograms:
        made = CompiledPrograms(self.store.root / "compiled", self.device)
        self.config.add_cleanup(made.close)
        return made

    @contextlib.contextmanager
    def _failing_once(self, run_id: str) -> Iterator[None]:
        """Fail in every test and worker as the first training of this session did, and train no more."""
        mark = self.directory / "failed" / run_id
        if mark.is_file():
            raise TrainingError(mark.read_text(encoding="utf-8"))
        try:
            yield
        except TrainingError as error:
            write_atomic(mark, str(error))
            raise

    def _retrained(self, run_id: str) -> Path:
        """Return the mark that this session has trained a run again."""
        return self.directory / "retrained" / run_id

    @property
    def directory(self) -> Path:
        """Where this session's own records go; workers share it."""
        return self.store.root / "sessions" / self.config.stash[SESSION_ID_KEY]
