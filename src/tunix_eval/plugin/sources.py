"""Where completions come from: a run trained here, the checkpoint of one, or a predictions file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tunix_eval.data import Predictions, match_predictions, read_predictions
from tunix_eval.digest import sha256_file, sha256_json, sha256_text
from tunix_eval.errors import ArtifactError, DataError, SpecError
from tunix_eval.platforms import with_promise
from tunix_eval.plugin.prepare import Format, Prepared, make_format, prompts_sha256
from tunix_eval.plugin.registry import Registry, is_built_in
from tunix_eval.records import AnswerRule, Batch, Completion, Evalset, TrainingJob
from tunix_eval.scoring import ANSWER_RULES, complete
from tunix_eval.specs import CheckpointSpec, GenerationSpec, ModelSpec, PredictionsSpec, RunSpec, TrainingSpec
from tunix_eval.store import RunManifest, Store, read_manifest
from tunix_eval.tables import is_path
from tunix_eval.thinking import closes_unopened

Kind = Literal["training", "checkpoint", "predictions"]


@dataclass(frozen=True)
class Run:
    """A finished training run, or the checkpoint of one: weights that can write."""

    kind: Kind
    spec: RunSpec | CheckpointSpec
    manifest: RunManifest
    directory: Path
    """Where its records are written; a checkpoint from elsewhere stays as it is."""
    checkpoint: Path
    """The directory that holds `checkpoint-final/`."""
    format: Format
    job: TrainingJob
    """What its trainer is told to load it."""
    trainer: str
    prepared: Prepared | None
    """Its training data, where the run is of this project."""

    def __repr__(self) -> str:
        return f"Run({self.spec.name!r}, {self.run_id})"

    @property
    def run_id(self) -> str:
        """The 16 hex digits that name what the run was made from."""
        return self.manifest.run_id

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.manifest.seed

    @property
    def weights_sha256(self) -> str:
        """Digest over the arrays."""
        return self.manifest.weights_sha256

    @property
    def packages(self) -> dict[str, str]:
        """Library versions that it was trained with."""
        return self.manifest.packages

    @property
    def device(self) -> dict[str, Any]:
        """What it was trained on, and why that does not promise the same bits, where it does not."""
        return with_promise(self.manifest.device, self.manifest.xla_flags)

    @property
    def recipe_sha256(self) -> str | None:
        """Digest of what the user asked for, the seed apart: runs that share it are retrainings of one another."""
        return self.manifest.recipe.get("sha256")

    @property
    def truncated(self) -> bool:
        """Tell whether --tunix-max-steps stopped it early."""
        return self.manifest.status == "truncated"

    @property
    def generation(self) -> GenerationSpec:
        """How it writes completions."""
        return self.spec.generation

    @property
    def rule(self) -> AnswerRule:
        """Where the answer stands in a completion."""
        rule = ANSWER_RULES[self.spec.answer] if self.spec.answer else self.format.mark
        return replace(rule, thinking=self.spec.thinking)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One mapping a logged step: step, epoch, loss, learning_rate, grad_norm, tokens and more."""
        path = self.checkpoint / "metrics.jsonl"
        recorded = self.manifest.artifacts.get(path.name)
        if path.is_file() and recorded != sha256_file(path):
            raise ArtifactError(f"{path}: is not what the manifest recorded; train the run again with --tunix-retrain")
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path}: damaged: {error}; train the run again with --tunix-retrain") from None

    @property
    def loss(self) -> Losses:
        """Training losses in nats per supervised token, one a logged step; skipped steps may have had no finite one."""
        return Losses(tuple(float(line["loss"]) for line in self.metrics if line["loss"] is not None))

    def prompts_sha256(self, evalset: Evalset) -> str:
        """Return the digest of the token ids of every item's prompt."""
        return prompts_sha256(evalset, self.format.prompts(evalset))


@dataclass(frozen=True)
class Losses:
    """Losses in step order."""

    values: tuple[float, ...]

    def first(self, count: int) -> float:
        """Return the mean of the first losses."""
        return sum(self.values[:count]) / len(self.values[:count])

    def last(self, count: int) -> float:
        """Return the mean of the last losses."""
        return sum(self.values[-count:]) / len(self.values[-count:])


@dataclass(frozen=True)
class PredictionsFile:
    """Completions that something else wrote."""

    spec: PredictionsSpec
    directory: Path
    """Where the records of its evaluations are written."""
    predictions: Predictions

    kind: Kind = "predictions"
    truncated: bool = False
    recipe_sha256: str | None = None

    def __repr__(self) -> str:
        return f"PredictionsFile({self.spec.name!r}, {self.run_id})"

    @property
    def run_id(self) -> str:
        """The first 16 hex digits of the file's digest."""
        return self.predictions.sha256[:16]

    @property
    def seed(self) -> int:
        """The training seed, as the run file states it."""
        return self.spec.seed

    @property
    def weights_sha256(self) -> str:
        """Digest of the name of the weights; of the file, where they have none."""
        return sha256_text(f"weights {self.spec.weights}") if self.spec.weights else self.predictions.sha256

    @property
    def packages(self) -> dict[str, str]:
        """Library versions, of which nothing is known."""
        return {}

    @property
    def device(self) -> dict[str, Any]:
        """The device, of which nothing is known."""
        return {}

    @property
    def rule(self) -> AnswerRule:
        """Where the answer stands in a completion: by default all of it is the answer."""
        return replace(ANSWER_RULES[self.spec.answer or "text"], thinking=self.spec.thinking)

    @cached_property
    def keys_taken(self) -> str:
        """Say which keys of the file were read."""
        taken = self.predictions
        return f"{self.spec.predictions}: ids from '{taken.id_key}', texts from '{taken.text_key}'"

    def completions(self, evalset: Evalset) -> list[Completion]:
        """Return every item's completions with the answers found in them.

        Where replies end a thinking section that they did not begin, their prompts began it: a reply that was cut
        before it ended one was cut inside it.

        Raises:
            DataError: predictions for unknown items, or items without a prediction.
        """
        source, repeats = self.spec.predictions, self.spec.repeats
        try:
            matched = match_predictions(self.predictions, evalset, repeats=repeats, source=source)
        except DataError as error:
            if not is_built_in(evalset):
                raise
            raise DataError(
                f"{error}; '{evalset.name}' is built in: for a set of your own by that name, give its path"
            ) from None
        rule = self.rule
        prompted = any(closes_unopened(one.text, rule.thinking) for one in matched)
        return [
            complete(
                one.item_id,
                one.text,
                rule=rule,
                stop_reason=one.stop_reason,
                tokens=None,
                repeat=one.repeat,
                opened=prompted and one.stop_reason == "length",
            )
            for one in matched
        ]

    def prompts_sha256(self, evalset: Evalset) -> str:
        """Return the digest of every item's prompt as text: what tokens were made of it is not known."""
        texts = [
            [str(item.id), item.system, [[turn.role, turn.content] for turn in item.messages], item.prompt]
            for item in evalset.items
        ]
        return sha256_json(sorted(texts, key=lambda row: str(row[0])))


Source = Run | PredictionsFile


def open_predictions(spec: PredictionsSpec, store: Store) -> PredictionsFile:
    """Read a predictions file.

    Raises:
        DataError: naming the file and line.
    """
    predictions = read_predictions(Path(spec.predictions))
    return PredictionsFile(spec, store.records_directory(predictions.sha256[:16], spec.name), predictions)


def open_checkpoint(spec: CheckpointSpec, store: Store, registry: Registry, root: Path) -> Run:
    """Open the checkpoint of a run that was trained before.

    Raises:
        ArtifactError: there is no such run, or it was recorded by an older version.
        SpecError: the run file asks for another renderer, tokenizer or style than the run was trained with.
    """
    named = None if is_path(spec.checkpoint) else store.named_run(spec.checkpoint)
    directory = store.run_directory(named.run_id) if named else Path(spec.checkpoint)
    manifest = read_manifest(directory / "run_manifest.json")
    if manifest is None:
        raise ArtifactError(
            f"{directory}: holds no finished run; name a run's id, or the path of a directory with run_manifest.json"
        )
    form = _format_of(spec, manifest, registry, root)
    if "model" not in manifest.recipe:
        raise ArtifactError(
            f"{directory}: was recorded by an older tunix-eval, without its model table; train it again"
        )
    return Run(
        kind="checkpoint",
        spec=spec,
        manifest=manifest,
        directory=store.records_directory(manifest.run_id, spec.name),
        checkpoint=directory,
        format=form,
        job=_loading_job(manifest, form, directory),
        trainer=manifest.recipe["trainer"],
        prepared=None,
    )


def _format_of(spec: CheckpointSpec, manifest: RunManifest, registry: Registry, root: Path) -> Format:
    """Return the format that a run was trained with.

    Raises:
        SpecError: the run file asks for another, or it is not here as it was.
    """
    options = manifest.recipe.get("renderer_options") or {}
    if spec.style is not None and spec.style != manifest.recipe["style"]:
        raise _other(spec, "style", f"'{manifest.recipe['style']}'", f"'{spec.style}'")
    if spec.renderer_options and spec.renderer_options != options:
        raise _other(spec, "renderer_options", str(options), str(spec.renderer_options))
    form = make_format(
        registry,
        renderer=_reference(spec, "renderer", manifest.renderer, root),
        tokenizer=_reference(spec, "tokenizer", manifest.tokenizer, root),
        style=manifest.recipe["style"],
        renderer_options=options,
    )
    for part, known in ((form.renderer, manifest.renderer), (form.tokenizer, manifest.tokenizer)):
        if (part.name, part.version) != (known["name"], known["version"]):
            raise SpecError(
                f"checkpoint {spec.checkpoint}: was trained with version {known['version']} of '{known['name']}', "
                f"version {part.version} of '{part.name}' is here; train it again"
            )
    return form


def _reference(
    spec: CheckpointSpec, key: Literal["renderer", "tokenizer"], recorded: dict[str, str], root: Path
) -> str:
    """Return the name or path under which a run's renderer or tokenizer is found now.

    A run file may say where a model directory stands today; whether it is the same one, its version tells.
    """
    asked: str | None = getattr(spec, key)
    path = recorded.get("path")
    if path is None:
        names = {recorded["name"], recorded.get("registered", recorded["name"])}
        if asked is not None and asked not in names:
            raise _other(spec, key, f"'{recorded['name']}'", f"'{asked}'")
        return recorded.get("registered", recorded["name"])
    if asked is not None and not is_path(asked):
        raise _other(spec, key, path, f"'{asked}'")
    found = asked or str((root / path).resolve())
    if not Path(found).exists():
        raise SpecError(
            f"checkpoint {spec.checkpoint}: was trained with {key} {path}, which is not here; say where it stands: "
            f'{key} = "path"'
        )
    return found


def _other(spec: CheckpointSpec, key: str, trained: str, asked: str) -> SpecError:
    return SpecError(
        f"checkpoint {spec.checkpoint}: was trained with {key} {trained}, '{spec.name}' asks for {asked}; "
        f"take {key} out of the run file"
    )


def _loading_job(manifest: RunManifest, form: Format, directory: Path) -> TrainingJob:
    """Return a job that loads a run's weights; it has nothing to train on."""
    return TrainingJob(
        rows=Batch.empty(),
        model=ModelSpec.model_validate(manifest.recipe["model"]),
        training=TrainingSpec.model_validate(manifest.training_config),
        seed=manifest.seed,
        vocab_size=form.tokenizer.vocab_size,
        pad_id=form.tokenizer.pad_id,
        stop_after=None,
        directory=directory,
    )
