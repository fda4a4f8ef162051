"""One session's state: what was asked, what is known, and every stage composed on first use."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tunix_eval.data import DataWarning
from tunix_eval.digest import canonical_json
from tunix_eval.errors import ArtifactError, DataError, RunMissingError, SpecError
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.evaluation import Evaluation, Question, Weights, evaluate, record
from tunix_eval.plugin.options import Options
from tunix_eval.plugin.prepare import Prepared, make_format
from tunix_eval.plugin.progress import every_ten_seconds
from tunix_eval.plugin.registry import Registry
from tunix_eval.plugin.reporting import say
from tunix_eval.plugin.runs import Note, Row, Run, eval_rows, missing_run, run_row, warnings_of
from tunix_eval.plugin.settings import Settings, read_settings
from tunix_eval.plugin.state import DEVICE_KEY, SESSION_ID_KEY, SESSION_KEY
from tunix_eval.plugin.training import Identity, environment, identify, job_of, train
from tunix_eval.records import Dataset, Evalset, Model, Progress
from tunix_eval.report import delta_report
from tunix_eval.run_files import read_run_file
from tunix_eval.specs import RunSpec
from tunix_eval.store import RunManifest, Store, write_atomic
from tunix_eval.tables import KEY


@dataclass
class Session:
    """What a process knows. Everything is looked up once; nothing is trained that is already recorded."""

    config: pytest.Config
    options: Options
    settings: Settings
    registry: Registry
    root: Path
    store: Store
    notify: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    """What happened since the last test report; the reporter takes it along."""
    _specs: dict[tuple[str, str], RunSpec] = field(default_factory=dict)
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _evalsets: dict[str, Evalset] = field(default_factory=dict)
    _prepared: dict[str, Prepared] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)
    _models: dict[tuple[str, Weights], Model] = field(default_factory=dict)
    _evaluations: dict[tuple[str, str, str, str, str, Weights], Evaluation] = field(default_factory=dict)

    @classmethod
    def open(cls, config: pytest.Config) -> Session:
        """Return the process's session, made at first use."""
        if SESSION_KEY not in config.stash:
            options = Options.of(config.option)
            settings = read_settings(config.rootpath)
            artifacts = Path(options.artifacts) if options.artifacts else config.rootpath / settings.artifacts
            config.stash[SESSION_KEY] = cls(
                config=config,
                options=options,
                settings=settings,
                registry=Registry(config),
                root=config.rootpath,
                store=Store(artifacts.resolve()),
                notify=say(config),
            )
        return config.stash[SESSION_KEY]

    @property
    def device(self) -> Device:
        """What the session runs on, chosen at first use unless the command line has chosen already."""
        if DEVICE_KEY not in self.config.stash:
            request = self.options.device or self.settings.device
            self.config.stash[DEVICE_KEY] = devices.choose(request, self.options.host_devices)
        return self.config.stash[DEVICE_KEY]

    # ------------------------------------------------------------------------------------------------- what is asked

    def spec(self, path: Path, overrides: Mapping[str, Any], *, folder: Path | None = None) -> RunSpec:
        """Return a run file's spec with overrides said in a folder; --tunix-seed replaces the run file's seed."""
        try:
            key = (str(path), canonical_json([overrides, str(folder)]))
        except (TypeError, ValueError) as error:
            raise SpecError(f"overrides of {path}: {error}; expected finite numbers, texts, lists and tables") from None
        if key not in self._specs:
            spec = read_run_file(path, overrides, overrides_folder=folder)
            if self.options.seed is not None and "seed" not in overrides:
                spec = spec.model_copy(update={"seed": self.options.seed})
            for (other, _), known in self._specs.items():
                if other != str(path) and known.name == spec.name:
                    raise SpecError(f"{path}: the name '{spec.name}' is taken by {other}; give one of the two another")
            self._specs[key] = spec
        return self._specs[key]

    def dataset(self, reference: str) -> Dataset:
        """Return a dataset by registered name or absolute path."""
        if reference not in self._datasets:
            with self._warnings_as_notes():
                self._datasets[reference] = self.registry.dataset(reference)
        return self._datasets[reference]

    def evalset(self, reference: str) -> Evalset:
        """Return an evalset by registered name or absolute path."""
        if reference not in self._evalsets:
            with self._warnings_as_notes():
                evalset = self.registry.evalset(reference)
            if not KEY.fullmatch(evalset.name):
                raise DataError(f"evalset {reference}: its name {evalset.name!r} is no key; use letters, digits, . _ -")
            for other, known in self._evalsets.items():
                if known.name == evalset.name and known.sha256 != evalset.sha256:
                    raise DataError(f"two evalsets are named '{evalset.name}': {other} and {reference}; rename one")
            self._evalsets[reference] = evalset
        return self._evalsets[reference]

    @contextlib.contextmanager
    def _warnings_as_notes(self) -> Iterator[None]:
        """Show data warnings at the end, whatever the session's filters make of warnings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            yield
        for warning in caught:
            if issubclass(warning.category, DataWarning):
                self.rows.append(Note(str(warning.message)))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

    def prepared(self, spec: RunSpec) -> Prepared:
        """Return a spec with its data."""
        key = canonical_json(spec.model_dump(mode="json", exclude={"evalsets", "gates", "generation", "scorers"}))
        if key not in self._prepared:
            form = make_format(self.registry, renderer=spec.renderer, tokenizer=spec.tokenizer, style=spec.style)
            self._prepared[key] = Prepared(spec, self.dataset(spec.dataset), form)
        return self._prepared[key]

    # ------------------------------------------------------------------------------------------------------- runs

    def identity(self, spec: RunSpec) -> Identity:
        """Return the identity of the run that a spec asks for."""
        return identify(
            self.prepared(spec), registry=self.registry, device=self.device, max_steps=self.options.max_steps
        )

    def recorded(self, spec: RunSpec) -> RunManifest | None:
        """Return the manifest of the run that a spec asks for, if this session may use it."""
        identity = self.identity(spec)
        if self.options.retrain and not self._retrained(identity.run_id).exists():
            return None
        return self.store.find_run(identity.run_id)

    def run(self, spec: RunSpec) -> Run:
        """Return the run that a spec asks for; train it, once whatever the number of processes, if it is missing.

        Raises:
            RunMissingError: it is not recorded and --tunix-train was not given.
        """
        identity = self.identity(spec)
        key = canonical_json([identity.run_id, spec.name])
        if key not in self._runs:
            manifest, action = self.recorded(spec), "reused"
            if manifest is None:
                if not self.options.train:
                    raise RunMissingError(missing_run(spec, identity))
                manifest, action = self._train(spec, identity)
            directory = self.store.run_directory(identity.run_id)
            self._runs[key] = Run(spec, manifest, directory, self.prepared(spec), identity)
            self.rows.append(run_row(self._runs[key], action))
        return self._runs[key]

    def _train(self, spec: RunSpec, identity: Identity) -> tuple[RunManifest, str]:
        with self.store.lock(f"run-{identity.run_id}"):
            manifest = self.recorded(spec)
            if manifest is not None:
                return manifest, "reused"
            if self.options.retrain:
                self.store.set_aside(identity.run_id)
            prepared = self.prepared(spec)
            total = f"{prepared.total_steps} steps on {self.device.platform}"
            steps = f"{identity.stop_after} of {total}" if identity.stop_after else total
            self.notify(f"training {spec.name} ({identity.run_id}): {steps}")
            manifest = train(
                prepared,
                identity,
                store=self.store,
                trainer=self.registry.trainer(spec.trainer),
                source_sha256=self.registry.trainer_source(spec.trainer),
                device=self.device,
                root=self.root,
                on_progress=self._progress(spec.name),
            )
            if self.options.retrain:
                write_atomic(self._retrained(identity.run_id), "")
        return manifest, "resumed" if manifest.resumed_from else "trained"

    def _retrained(self, run_id: str) -> Path:
        """Return the mark that this session has trained a run again."""
        return self.directory / "retrained" / run_id

    @property
    def directory(self) -> Path:
        """Where this session's own records go; workers share it."""
        return self.store.root / "sessions" / self.config.stash[SESSION_ID_KEY]

    def _progress(self, name: str) -> Callable[[Progress], None]:
        return every_ten_seconds(name, self.notify)

    # ------------------------------------------------------------------------------------------------- evaluation

    def evaluation(self, run: Run, evalset: Evalset, weights: Weights = "final") -> Evaluation:
        """Return what the run's model is worth on an evalset, and write it into the run's records."""
        spec = run.spec
        generation = canonical_json(spec.generation.model_dump(mode="json"))
        key = (run.run_id, evalset.name, evalset.sha256, generation, canonical_json(spec.scorers), weights)
        if key not in self._evaluations:
            run.prepared.check_contamination(evalset)
            question = Question(
                manifest=run.manifest,
                weights=weights,
                evalset=evalset,
                format=run.prepared.format,
                generation=spec.generation,
                environment=environment(self.device),
                trainer_source=self.registry.trainer_source(spec.trainer),
            )
            found = evaluate(
                question, self.registry.scorers(spec.scorers), store=self.store, load=lambda: self._model(run, weights)
            )
            self._evaluations[key] = found
            record(found, run.directory)
        return self._evaluations[key]

    def before_and_after(self, run: Run, evalset: Evalset) -> Evaluation:
        """Evaluate a run before and after its training, report both, and return the latter."""
        before, after = self.evaluation(run, evalset, "initial"), self.evaluation(run, evalset)
        # Another spec of the same training may have left its own records since.
        record(before, run.directory)
        record(after, run.directory)
        text = delta_report(
            run=run_row(run, "reused"),
            evalset=evalset.name,
            before=before.scored,
            after=after.scored,
            before_card=before.card,
            after_card=after.card,
        )
        path = run.directory / f"delta_report.{evalset.name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomic(path, text)
        self.rows.extend(eval_rows(run, after, before))
        self.rows.extend(Note(text) for text in warnings_of(run, after))
        return after

    def _model(self, run: Run, weights: Weights) -> Model:
        key = (run.run_id, weights)
        if key not in self._models:
            if weights == "final":
                self.store.verify_run(run.manifest)
            model = self.registry.trainer(run.spec.trainer).load(
                job_of(run.prepared, run.identity, self.store), weights
            )
            devices.confirm(self.device)
            if weights == "final" and model.weights_sha256 != run.manifest.weights_sha256:
                raise ArtifactError(
                    f"{run.directory / 'checkpoint-final'}: digest mismatch: the weights are "
                    f"{model.weights_sha256[:16]}, the manifest has {run.manifest.weights_sha256[:16]}; "
                    "the run is damaged, train it again with --tunix-retrain"
                )
            self._models[key] = model
        return self._models[key]

    def take_rows(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, as plain values."""
        rows, self.rows = self.rows, []
        return [{"row": type(row).__name__, **msgspec.to_builtins(row)} for row in rows]
