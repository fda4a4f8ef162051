"""What happened, as rows and notes of the session's table."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import msgspec

from tunix_eval.plugin.evaluation import Evaluation, item_means
from tunix_eval.plugin.sources import PredictionsFile, Run
from tunix_eval.plugin.training import Identity
from tunix_eval.records import EvalRow, RunRow, ScoredItem, Verdict
from tunix_eval.scoring import better_rules
from tunix_eval.specs import RunSpec
from tunix_eval.store import Store, checkpoint_steps, read_started


class Note(msgspec.Struct, frozen=True):
    """A line for the end of the session."""

    text: str


class BaselineRow(msgspec.Struct, frozen=True):
    """A baseline that the session was asked to write."""

    path: str
    action: Literal["written", "unchanged"]


class Missing(msgspec.Struct, frozen=True):
    """A test that was skipped, for the run that it needs is not recorded."""

    text: str
    """Why, and after a semicolon what to type."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a run wrote for one item, before and after its training."""

    run_name: str
    run_id: str
    n_items: int
    item_id: str
    prompt: str
    before: str
    after: str
    report: str
    """The path of its delta report."""
    run_file: str


Row = RunRow | EvalRow | Verdict | Note | BaselineRow | Missing | Sample


def missing_run(spec: RunSpec, identity: Identity, store: Store) -> str:
    """Say why a test that needs a run is skipped, and what to type."""
    named = f"run '{spec.name}' ({identity.run_id})"
    directory = store.run_directory(identity.run_id)
    started, steps = read_started(directory / "started.json"), checkpoint_steps(directory)
    if started is None or not steps:
        return f"{named} is not recorded; train it with: pytest --tunix-train"
    return f"{named} is at step {steps[-1]} of {started.steps}; go on with: pytest --tunix-train"


def predictions_row(source: PredictionsFile) -> RunRow:
    """Return a predictions file as the session's table shows it."""
    return RunRow(name=source.spec.name, run_id=source.run_id, seed=source.seed, action="predictions")


def run_row(run: Run, action: Any) -> RunRow:
    """Return a run as the session's table shows it."""
    manifest = run.manifest
    # A checkpoint from elsewhere may have come without its metrics.
    values = run.loss.values if run.kind == "training" else ()
    return RunRow(
        name=run.spec.name,
        run_id=run.run_id,
        seed=manifest.seed,
        action=action,
        status=manifest.status,
        steps=manifest.steps,
        total_steps=manifest.total_steps,
        wall_seconds=manifest.wall_seconds,
        loss=run.loss.last(50) if values else None,
        ended=manifest.ended,
        best_step=_best_step(run),
        resumed_from=manifest.resumed_from if action == "resumed" else None,
    )


def _best_step(run: Run) -> int | None:
    """Return the step of the lowest holdout loss, where the training chose its weights or its end by it."""
    if run.manifest.best_step is not None or run.manifest.ended == "complete" or run.kind != "training":
        return run.manifest.best_step
    measured = [(line["holdout_loss"], line["step"]) for line in run.metrics if "holdout_loss" in line]
    return min(measured)[1] if measured else None


def eval_rows(after: Evaluation, before: Evaluation | None) -> list[EvalRow]:
    """Return a row a metric."""
    rows = []
    for metric, summary in after.card.metrics.items():
        rows.append(
            EvalRow(
                run_name=after.source.spec.name,
                run_id=after.source.run_id,
                evalset=after.evalset.name,
                metric=metric,
                n_items=summary.n_items,
                n_scored=summary.n_scored,
                before=before.card.metrics[metric].mean if before else None,
                after=summary.mean,
                stderr=summary.stderr,
                ci95=summary.ci95,
                repeats=summary.repeats,
                pass_at_k=summary.pass_at_k,
            )
        )
    return rows


def sample_of(before: Evaluation, after: Evaluation, *, report: str, run_file: str) -> Sample:
    """Return the first item that training got right, or else the first that there is."""
    metric, sign = after.card.primary, -1 if after.scorers[after.card.primary].lower_is_better else 1
    pairs = list(zip(item_means(before.scored), item_means(after.scored), strict=True))

    def gain(pair: tuple[ScoredItem, ScoredItem]) -> float:
        values = [one.scores[metric].value for one in pair]
        return sign * (values[1] - values[0]) if values[0] is not None and values[1] is not None else 0.0

    # Of equal ones the first.
    old, new = max(pairs, key=gain)
    return Sample(
        run_name=after.source.spec.name,
        run_id=after.source.run_id,
        n_items=len(pairs),
        item_id=str(new.item.id),
        prompt=new.item.prompt,
        before=old.completion.text,
        after=new.completion.text,
        report=report,
        run_file=run_file,
    )


def warnings_of(evaluation: Evaluation) -> list[str]:
    """Say what makes an evaluation worth less than it looks: replies that were cut, or without an answer or a value."""
    card, source = evaluation.card, evaluation.source
    where, total = f"{source.spec.name} on {evaluation.evalset.name}", len(evaluation.scored)
    found = []
    truncated = Counter(one.completion.stop_reason for one in evaluation.scored if one.completion.status == "truncated")
    if cut := truncated["length"]:
        limit = f" at max_new_tokens = {source.generation.max_new_tokens}" if isinstance(source, Run) else ""
        found.append(f"{where}: {cut} of {total} replies were cut{limit}")
    if ended := truncated["stop"]:
        found.append(f"{where}: {ended} of {total} replies ended inside their thinking")
    missing = [f"{card.extraction[status]} {status}" for status in ("none", "unclosed") if card.extraction.get(status)]
    if missing:
        completions = [one.completion for one in evaluation.scored]
        few = 2 * sum(one.answer is not None for one in completions) < total
        better = f"; {named}" if few and (named := better_rules(completions)) else ""
        found.append(f"{where}: replies without an answer, of {total}: {', '.join(missing)}{better}")
    for metric, summary in card.metrics.items():
        if summary.n_skipped:
            scores = (one.scores[metric] for one in evaluation.scored)
            note = next(score.note for score in scores if score.value is None)
            found.append(f"{where}: {metric} has no value for {summary.n_skipped} of {summary.n_items} items: {note}")
    return found
