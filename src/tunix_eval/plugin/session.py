"""One session's state: its runs, and what their completions are worth, composed on first use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tunix_eval.digest import canonical_json
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.platforms import unpromised_values
from tunix_eval.plugin import device as devices
from tunix_eval.plugin.evaluation import (
    Evaluation,
    Question,
    Weights,
    evaluated,
    item_means,
    needs_logprobs,
    record,
    written,
)
from tunix_eval.plugin.library import Library
from tunix_eval.plugin.options import Options
from tunix_eval.plugin.prepare import prompts_sha256, refuse_contamination
from tunix_eval.plugin.progress import shown
from tunix_eval.plugin.registry import Registry, offered
from tunix_eval.plugin.reporting import say
from tunix_eval.plugin.rows import Note, Row, eval_rows, run_row, sample_of, warnings_of
from tunix_eval.plugin.runs import Runs
from tunix_eval.plugin.sources import PredictionsFile, Run, Source
from tunix_eval.plugin.state import SESSION_KEY
from tunix_eval.plugin.stopping import Stopping
from tunix_eval.plugin.training import check_supported, environment
from tunix_eval.records import Evalset, Model, Scorer
from tunix_eval.report import delta_report
from tunix_eval.scoring import unmeasured
from tunix_eval.settings import read_settings
from tunix_eval.specs import AnySpec, PredictionsSpec
from tunix_eval.store import Store, verify_run, write_atomic


@dataclass
class Session(Runs):
    """What a process knows: its runs, and beside them their evaluations, each made once."""

    _models: dict[tuple[str, Weights], Model] = field(default_factory=dict)
    _evaluations: dict[str, Evaluation] = field(default_factory=dict)
    needs: dict[Any, Any] = field(default_factory=dict)
    """What tests ask for, by what decides it; kept by plugin/needs.py."""

    @classmethod
    def open(cls, config: pytest.Config) -> Session:
        """Return the process's session, made at first use."""
        if SESSION_KEY not in config.stash:
            options = Options.of(config.option)
            settings = read_settings(config.rootpath)
            artifacts = Path(options.artifacts) if options.artifacts else config.rootpath / settings.artifacts
            registry, rows = Registry(config), list[Row]()
            config.stash[SESSION_KEY] = cls(
                config=config,
                options=options,
                settings=settings,
                registry=registry,
                root=config.rootpath,
                store=Store(artifacts.resolve()),
                notify=say(config),
                rows=rows,
                library=Library(config.rootpath, registry, options.seed, rows.append),
            )
        return config.stash[SESSION_KEY]

    def evaluation(self, source: Source, evalset: Evalset, weights: Weights = "final") -> Evaluation:
        """Return what a source's completions are worth on an evalset, and write it into its records.

        Raises:
            RunStoppedError: something asked its generation to stop.
        """
        spec = source.spec
        judged_by = {"generation", "scorers", "scorer_options", "answer", "thinking", "repeats"}
        asked = spec.model_dump(mode="json", include=judged_by)
        where = [source.run_id, source.kind, spec.name, source.seed, source.weights_sha256]
        key = canonical_json([where, evalset.name, evalset.sha256, asked, weights])
        if key not in self._evaluations:
            scorers = self.scorers(spec)
            self.check_needs(spec)
            computed: list[str] = []
            if isinstance(source, PredictionsFile):
                completions, settings = source.completions(evalset), {}
                prompts = source.prompts_sha256(evalset)
            else:
                self.check_contamination(source, evalset)
                settings = environment(self.device)
                question = Question(source, weights, evalset, settings, self.registry.trainer_source(source.trainer))
                with self.on_device(f"completions of '{spec.name}' on {evalset.name}"):
                    completions = written(
                        question,
                        store=self.store,
                        load=lambda: self._model(source, weights),
                        logprobs=bool(needs_logprobs(scorers)),
                        progress=partial(self._computing, question, computed),
                    )
                prompts = prompts_sha256(evalset, question.item_prompts)
                self._programs.publish()
            self._evaluations[key] = evaluated(
                source, weights, evalset, completions, scorers, prompts_sha256=prompts, environment=settings
            )
            record(self._evaluations[key])
            if computed:
                Stopping.of(self.config).end_if_late(f"{computed[-1]} are there")
        return self._evaluations[key]

    @contextlib.contextmanager
    def _computing(
        self, question: Question, computed: list[str], unit: str, total: int
    ) -> Iterator[Callable[[int], None]]:
        """Show what a model computes, and let it be stopped; note what was computed."""
        spec, evalset = question.run.spec, question.evalset
        before = ", before its training," if question.weights == "initial" else ""
        run = f"run '{spec.name}' ({question.run.run_id}) on {evalset.name}{before}"
        doing = "generating" if unit == "completion" else "measuring"
        key = f"{doing}-{question.key()[:16]}"
        with (
            Stopping.of(self.config).generating(run, key, doing=doing, total=total, unit=unit) as check,
            shown(self.config, f"{spec.name} on {evalset.name}", unit=unit, total=total) as update,
        ):

            def told(done: int) -> None:
                update(done)
                check(done)

            yield told
        computed.append(f"{unit}s of {run.removesuffix(',')}")

    def scorers(self, spec: AnySpec) -> dict[str, Scorer]:
        """Return the scorers that a run file asks for, by name."""
        return self.registry.scorers(spec.scorers, spec.scorer_options)

    def scorer(self, spec: AnySpec, metric: str) -> Scorer:
        """Return the scorer behind a metric, as the run file has it."""
        return self.registry.scorers((metric,), spec.scorer_options)[metric]

    def unmeasured(self, spec: AnySpec, metric: str, evalset: Evalset) -> str | None:
        """Say which items the scorer behind a metric cannot measure whatever is answered; None where it can all."""
        with offered(f"scorer '{metric}' on {evalset.name}"):
            return unmeasured(self.scorer(spec, metric), evalset)

    def note_unmeasured(self, spec: AnySpec, evalset: Evalset) -> None:
        """Say at the end which items some metric cannot have a value for; a gate on it is refused."""
        found = [(name, self.unmeasured(spec, name, evalset)) for name in spec.scorers]
        notes = [Note(f"{spec.name}/{name}: {reason}") for name, reason in found if reason]
        self.rows += [note for note in notes if note not in self.rows]

    def check_needs(self, spec: AnySpec) -> None:
        """Refuse a scorer that needs log-probabilities where there is no model to ask."""
        needing = needs_logprobs(self.scorers(spec))
        if needing and isinstance(spec, PredictionsSpec):
            raise SpecError(
                f"scorer '{needing[0]}' needs log-probabilities, which a predictions file does not have; take it out "
                f"of the scorers of '{spec.name}', or judge a checkpoint"
            )

    def check_contamination(self, run: Run, evalset: Evalset) -> None:
        """Refuse an evalset of which a prompt was trained on; where the training data is not here, say so."""
        if run.prepared is not None:
            run.prepared.check_contamination(evalset)
            return
        key = run.manifest.dataset_key
        known = key in self.registry.names("dataset") and self.library.dataset(key)
        if known and known.content_sha256 == run.manifest.dataset_sha256:
            refuse_contamination(known, evalset)
        else:
            self.rows.append(
                Note(
                    f"{run.spec.name} on {evalset.name}: the dataset {key} that the checkpoint was trained on is not "
                    "here, so that contamination was not looked for"
                )
            )

    def before_and_after(self, source: Source, evalset: Evalset) -> Evaluation:
        """Evaluate a source, a run before its training too, report it, and return what it is worth now."""
        after = self.evaluation(source, evalset)
        trained = isinstance(source, Run) and source.kind == "training"
        before = self.evaluation(source, evalset, "initial") if trained else None
        if isinstance(source, Run) and before is not None:
            text = delta_report(
                run=run_row(source, "reused"),
                evalset=evalset.name,
                before=item_means(before.scored),
                after=item_means(after.scored),
                before_card=before.card,
                after_card=after.card,
                unpromised_bits=unpromised_values(source.device, after.environment),
            )
            path = source.directory / f"delta_report.{evalset.name}.md"
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_atomic(path, text)
            run_file = self.library.run_files()[source.spec.name][0]
            self.rows.append(sample_of(before, after, report=str(path), run_file=run_file))
        self.rows.extend(eval_rows(after, before))
        self.rows.extend(Note(text) for text in warnings_of(after))
        return after

    def _model(self, run: Run, weights: Weights) -> Model:
        key = (run.run_id, weights)
        if key not in self._models:
            if weights == "final":
                verify_run(run.checkpoint, run.manifest)
            trainer = self.trainer(run.trainer)
            check_supported(trainer, run.job, run.spec.generation)
            model = trainer.load(run.job, weights)
            devices.confirm(self.device)
            if weights == "final" and model.weights_sha256 != run.weights_sha256:
                raise ArtifactError(
                    f"{run.checkpoint / 'checkpoint-final'}: digest mismatch: the weights are "
                    f"{model.weights_sha256[:16]}, the manifest has {run.weights_sha256[:16]}; "
                    "the run is damaged, train it again with --tunix-retrain"
                )
            self._models[key] = model
        return self._models[key]

    def take_rows(self) -> list[dict[str, Any]]:
        """Return what happened since the last call, as plain values."""
        rows = [{"row": type(row).__name__, **msgspec.to_builtins(row)} for row in self.rows]
        self.rows.clear()
        return rows
