"""One recorded run as people read it, and in what two differ: `tunix-eval runs show`, `tunix-eval runs diff`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import msgspec

from tunix_eval.cli.kept_files import KeptFile, totals
from tunix_eval.cli.kept_runs import KeptRun, sizes
from tunix_eval.cli.recorded import terminal_width
from tunix_eval.cli.terminal import columns, counted, json_lines
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.figures import bytes_text, decimals, fixed, interval_text, printable
from tunix_eval.records import MetricSummary, Scorecard
from tunix_eval.run_inputs import RunInputs, differences, recorded_inputs
from tunix_eval.specs import TrainingSpec
from tunix_eval.store import RunManifest, read_eval_manifest

_AGES = (("day", 86_400), ("hour", 3600), ("minute", 60))
_TRAINING = ("optimizer", "learning_rate", "schedule", "rows", "row_tokens")
"""Keys that are shown whatever they say; others where they are not the default."""


class Scores(NamedTuple):
    """What a run was worth on one evalset."""

    evalset: str
    name: str
    """Under which it was judged."""
    metrics: Mapping[str, MetricSummary]
    """Empty where the scorecard is missing or damaged."""

    def __str__(self) -> str:
        worth = [f"{metric} {_mean(summary)} over {summary.n_items} items" for metric, summary in self.metrics.items()]
        return f"{self.evalset} as {self.name}" + (f": {'; '.join(worth)}" if worth else "")

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints of it."""
        metrics = {
            metric: {"mean": summary.mean, "ci95": summary.ci95, "n_items": summary.n_items}
            for metric, summary in self.metrics.items()
        }
        return {"evalset": self.evalset, "name": self.name, "metrics": metrics}


def shown(one: KeptRun, files: Sequence[KeptFile], *, as_json: bool) -> list[str]:
    """Return everything that is recorded of one run."""
    scores = list(_scores(one))
    held = sizes(one.directory)
    cached = [file for file in files if one.run_id in file.run_ids]
    if as_json:
        manifest = one.manifest.model_dump(mode="json") if one.manifest else None
        more = {"sizes": held, "completions": [str(file.path) for file in cached], "manifest": manifest}
        return as_json_lines({**one.as_json(), "evaluations": [each.as_json() for each in scores], **more})
    rows = [
        ("run", one.run_id),
        ("name", one.name or "?"),
        ("state", one.status_text),
        ("age", f"{age_text(one.created_at)} ({one.created_at.isoformat(timespec='seconds')})"),
        *_from_manifest(one),
        ("size", ", ".join(f"{bytes_text(size)} {part or 'records'}" for part, size in sorted(held.items()) if size)),
        *(("cached", text) for text in totals(cached)),
        ("directory", str(one.directory)),
        *(("evaluated", str(each)) for each in scores),
        *(("referred to by", text) for text in one.referred_by),
    ]
    return _table(rows)


def run_differences(before: KeptRun, after: KeptRun, *, as_json: bool) -> list[str]:
    """Return in what two runs differ, and their scores side by side.

    Raises:
        SpecError: one run is named twice.
        ArtifactError: one was not trained to its end, or not here.
    """
    if before.run_id == after.run_id:
        raise SpecError(f"run {before.run_id} is named twice; name two")
    found = differences(_inputs(before), _inputs(after))
    both = list(_shared_scores(before, after))
    if as_json:
        return as_json_lines(
            {
                "before": before.run_id,
                "after": after.run_id,
                "differences": [vars(one) for one in found],
                "scores": [
                    {"evalset": evalset, "metric": metric, "before": one.mean, "after": other.mean}
                    for evalset, metric, one, other in both
                ],
            }
        )
    rows = [
        *(
            (side, f"{one.run_id} {one.name}, seed {one.seed}, {age_text(one.created_at)}")
            for side, one in (("before", before), ("after", after))
        ),
        *((one.what, one.change) for one in found),
        *((f"{evalset} {metric}", _change(one, other)) for evalset, metric, one, other in both),
    ]
    return _table(rows)


def _inputs(one: KeptRun) -> RunInputs:
    if one.manifest is None:
        raise ArtifactError(
            f"run {one.run_id} ({one.name}, {one.status_text}): what it was made from is recorded at the end of its "
            "training; name a run that was trained here to its end"
        )
    return recorded_inputs(one.directory, one.manifest)


def _scores(one: KeptRun) -> Iterator[Scores]:
    """Give what a run was worth on each evalset that it was judged on, under each name that it was judged under."""
    pattern = "eval_manifest.*.json"
    for path in sorted([*one.directory.glob(pattern), *one.directory.glob(f"as/*/{pattern}")]):
        held = read_eval_manifest(path)
        if held is not None:
            yield Scores(held.evalset, held.run_name, _metrics(path.with_name(f"scorecard.{held.evalset}.json")))


def _metrics(scorecard: Path) -> Mapping[str, MetricSummary]:
    try:
        return msgspec.json.decode(scorecard.read_bytes(), type=Scorecard).metrics
    except (OSError, msgspec.DecodeError):
        return {}


def _shared_scores(before: KeptRun, after: KeptRun) -> Iterator[tuple[str, str, MetricSummary, MetricSummary]]:
    """Give evalset, metric and both summaries of what each run was judged on under its own name."""
    theirs, ours = (
        {one.evalset: one.metrics for one in _scores(run) if one.name == run.name} for run in (before, after)
    )
    for evalset in sorted(theirs.keys() & ours.keys()):
        for metric in sorted(theirs[evalset].keys() & ours[evalset].keys()):
            if None not in (theirs[evalset][metric].mean, ours[evalset][metric].mean):
                yield evalset, metric, theirs[evalset][metric], ours[evalset][metric]


def _mean(summary: MetricSummary) -> str:
    places = decimals(summary.mean)
    interval = f" ({interval_text(summary.ci95, places)})" if summary.ci95 else ""
    return f"{fixed(summary.mean, places) or 'without a value'}{interval}"


def _change(before: MetricSummary, after: MetricSummary) -> str:
    places = decimals(before.mean, after.mean)
    return f"{fixed(before.mean, places)} -> {fixed(after.mean, places)} over {after.n_items} items"


def _from_manifest(one: KeptRun) -> list[tuple[str, str]]:
    manifest = one.manifest
    if manifest is None:
        return []
    sizes_of = {name: value for name, value in manifest.model.items() if name != "vocab_size"}
    return [
        ("seed", str(manifest.seed)),
        ("steps", f"{manifest.steps:,} of {manifest.total_steps:,}, {manifest.wall_seconds:,.1f} s"),
        *_holdout(manifest),
        ("dataset", _dataset(one, manifest)),
        ("format", _format(manifest)),
        ("training", _listed(_said(manifest.training_config))),
        ("model", f"{manifest.parameter_count:,} parameters by {manifest.trainer['name']}"),
        *([("", _listed(sizes_of))] if sizes_of else []),
        ("device", f"{manifest.device['count']} {manifest.device['platform']} ({manifest.device['kind']})"),
        ("weights", manifest.weights_sha256[:16]),
        *([("began from", one.init_from)] if one.init_from else []),
    ]


def _dataset(one: KeptRun, manifest: RunManifest) -> str:
    traces = len(recorded_inputs(one.directory, manifest).traces)
    count = [counted(traces, "trace")] if traces else []
    return ", ".join([manifest.dataset_key, *count, f"sha256 {manifest.dataset_sha256[:16]}"])


def _format(manifest: RunManifest) -> str:
    recipe = manifest.recipe
    parts = {
        "renderer": manifest.renderer["name"],
        "tokenizer": manifest.tokenizer["name"],
        "style": recipe.get("style"),
        "supervise": recipe.get("supervise"),
        "step_weight": recipe.get("step_weight"),
        "truncation": (manifest.truncation or {}).get("mode"),
        **(recipe.get("renderer_options") or {}),
    }
    return _listed({name: value for name, value in parts.items() if value is not None})


def _said(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a training that say more than the defaults, steps apart."""
    fields = TrainingSpec.model_fields
    default = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    shown = [*_TRAINING, *sorted(training.keys() - {*_TRAINING, "steps", "epochs"})]
    return {
        name: training[name]
        for name in shown
        if name in training and (name in _TRAINING or training[name] != default.get(name))
    }


def _listed(values: Mapping[str, Any]) -> str:
    """Write values as a run file would: `rows 16, schedule cosine`."""
    texts = {key: "unset" if value is None else value for key, value in values.items()}
    return ", ".join(f"{key} {text if isinstance(text, str) else json.dumps(text)}" for key, text in texts.items())


def _holdout(manifest: RunManifest) -> list[tuple[str, str]]:
    if manifest.holdout_loss is None:
        return []
    best = "" if manifest.best_step is None else f", of the weights of step {manifest.best_step}, the best"
    return [("holdout", f"{manifest.holdout_loss:.4f} nats a token{best}")]


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lay out keys and texts, a long text on several lines."""
    room = terminal_width() - max(len(printable(key)) for key, _ in rows) - 2
    cells = []
    for key, text in rows:
        first, *more = wrap(printable(text), max(room, 30), break_long_words=False, break_on_hyphens=False) or [""]
        cells += [(printable(key), first), *(("", line) for line in more)]
    return columns(cells)


def as_json_lines(value: object) -> list[str]:
    """Return a value as lines of JSON."""
    return json_lines(json.dumps(value, indent=2))


def age_text(then: datetime) -> str:
    """Return how long ago a moment was, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - then).total_seconds()
    for unit, length in _AGES:
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return "now"
