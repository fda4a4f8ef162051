"""Runs as tests see them, and as rows of the session's table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.digest import sha256_file
from tunix_eval.errors import ArtifactError
from tunix_eval.plugin.evaluation import Evaluation
from tunix_eval.plugin.prepare import Prepared
from tunix_eval.plugin.training import Identity
from tunix_eval.records import EvalRow, RunRow, Verdict
from tunix_eval.specs import RunSpec
from tunix_eval.store import RunManifest
from tunix_eval.tables import is_path


class Note(msgspec.Struct, frozen=True):
    """A line for the end of the session."""

    text: str


Row = RunRow | EvalRow | Verdict | Note


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    spec: RunSpec
    manifest: RunManifest
    directory: Path
    prepared: Prepared
    identity: Identity

    def __repr__(self) -> str:
        return f"Run({self.spec.name!r}, {self.run_id})"

    @property
    def run_id(self) -> str:
        """The 16 hex digits that name what the run was made from."""
        return self.manifest.run_id

    @property
    def truncated(self) -> bool:
        """Tell whether --tunix-max-steps stopped it early."""
        return self.manifest.status == "truncated"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One mapping a logged step: step, epoch, loss, learning_rate, grad_norm, tokens and more."""
        path = self.directory / "metrics.jsonl"
        recorded = self.manifest.artifacts.get(path.name)
        if path.is_file() and recorded != sha256_file(path):
            raise ArtifactError(f"{path}: is not what the manifest recorded; train the run again with --tunix-retrain")
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path}: damaged: {error}; train the run again with --tunix-retrain") from None

    @property
    def loss(self) -> Losses:
        """Training losses in nats per supervised token, one a logged step."""
        return Losses(tuple(float(line["loss"]) for line in self.metrics))


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


def missing_run(spec: RunSpec, identity: Identity) -> str:
    """Say why a test that needs a run is skipped, and what to type."""
    return f"run '{spec.name}' ({identity.run_id}) is not recorded; train it with: pytest --tunix-train"


def run_row(run: Run, action: Any) -> RunRow:
    """Return a run as the session's table shows it."""
    manifest, losses = run.manifest, run.loss
    return RunRow(
        name=run.spec.name,
        run_id=run.run_id,
        seed=manifest.seed,
        action=action,
        status=manifest.status,
        steps=manifest.steps,
        total_steps=manifest.total_steps,
        wall_seconds=manifest.wall_seconds,
        loss=losses.last(50) if losses.values else None,
    )


def eval_rows(run: Run, after: Evaluation, before: Evaluation | None) -> list[EvalRow]:
    """Return a row a metric."""
    rows = []
    for metric, summary in after.card.metrics.items():
        rows.append(
            EvalRow(
                run_name=run.spec.name,
                run_id=run.run_id,
                evalset=after.question.evalset.name,
                metric=metric,
                n_items=summary.n_items,
                n_scored=summary.n_scored,
                before=before.card.metrics[metric].mean if before else None,
                after=summary.mean,
                stderr=summary.stderr,
                ci95=summary.ci95,
            )
        )
    return rows


def warnings_of(run: Run, evaluation: Evaluation) -> list[str]:
    """Say what makes an evaluation worth less than it looks: replies that were cut, items without a value."""
    card, where = evaluation.card, f"{run.spec.name} on {evaluation.question.evalset.name}"
    found = []
    cut = card.extraction.get("truncated", 0)
    if cut:
        limit = run.spec.generation.max_new_tokens
        found.append(f"{where}: {cut} of {len(evaluation.scored)} replies were cut at max_new_tokens = {limit}")
    for metric, summary in card.metrics.items():
        if summary.n_skipped:
            scores = (one.scores[metric] for one in evaluation.scored)
            note = next(score.note for score in scores if score.value is None)
            found.append(f"{where}: {metric} has no value for {summary.n_skipped} of {summary.n_items} items: {note}")
    return found


def run_file_path(reference: str, folder: Path) -> Path:
    """Return the run file that a marker names: a path relative to the test file, or a name beside it."""
    path = Path(reference) if is_path(reference) else Path(f"{reference}.toml")
    return path if path.is_absolute() else (folder / path).resolve()
