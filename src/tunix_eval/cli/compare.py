"""`tunix-eval compare`: recorded runs side by side. Nothing is decided and nothing is written."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from tunix_eval.cli.changes import Change
from tunix_eval.cli.recorded import (
    Evaluation,
    RecordedRun,
    add_record_arguments,
    check_same_items,
    differences,
    open_runs,
    terminal_width,
)
from tunix_eval.cli.terminal import json_lines
from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.report import (
    ComparedRuns,
    ComparisonReport,
    EvalsetComparison,
    comparison_json,
    comparison_lines,
)


@dataclass(frozen=True)
class _Side:
    """A run, or several that share a recipe."""

    letter: str
    runs: Sequence[RecordedRun]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="id, first digits of it, directory, or name of a run. The others are compared with the first; runs of "
        "one name and recipe stand on one side",
    )
    parser.add_argument("--metric", metavar="M", help="only this metric; by default every one that all have")
    parser.add_argument(
        "--alpha", metavar="A", type=float, default=0.025, help="one-sided; 0.025 (default) gives 95%% intervals"
    )
    parser.add_argument("--items", metavar="N", type=int, default=5, help="items listed, each way; default 5")
    add_record_arguments(parser)


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return what to print."""
    if len(arguments.runs) < 2:
        raise SpecError("compare: one run alone; name two or more")
    if arguments.items < 0:
        raise SpecError(f"compare: --items {arguments.items}, expected 0 or more")
    reference, *others = _sides(open_runs(arguments, arguments.runs))
    report = ComparisonReport(
        runs=tuple(_introduced(side) for side in (reference, *others)),
        comparisons=tuple(
            _compared(reference, other, evalset, arguments)
            for other in others
            for evalset in _shared_evalsets(reference, other)
        ),
    )
    if arguments.json:
        return json_lines(comparison_json(report)), 0
    return comparison_lines(report, width=max(80, terminal_width())), 0


def _sides(runs: Sequence[RecordedRun]) -> list[_Side]:
    """Put runs of one name and recipe on one side; where that leaves a single side, each run is one."""
    groups: dict[object, list[RecordedRun]] = defaultdict(list)
    for one in runs:
        held = one.manifest
        groups[(held.run_name, held.recipe_sha256) if held.recipe_sha256 else held.run_id].append(one)
    sides = list(groups.values()) if len(groups) > 1 else [[one] for one in runs]
    return [_Side(ascii_uppercase[i % 26] * (i // 26 + 1), side) for i, side in enumerate(sides)]


def _introduced(side: _Side) -> ComparedRuns:
    held = [one.manifest for one in side.runs]
    return ComparedRuns(
        letter=side.letter,
        name=held[0].run_name,
        run_ids=tuple(one.run_id for one in held),
        seeds=tuple(one.seed for one in held),
    )


def _shared_evalsets(reference: _Side, other: _Side) -> list[str]:
    runs = (*reference.runs, *other.runs)
    shared = sorted(set.intersection(*(set(one.evaluations) for one in runs)))
    if not shared:
        seen = "; ".join(f"{one.manifest.run_id} on {', '.join(one.evaluations)}" for one in runs)
        raise ArtifactError(f"no evalset that all were evaluated on: {seen}")
    return shared


def _compared(reference: _Side, other: _Side, evalset: str, arguments: argparse.Namespace) -> EvalsetComparison:
    theirs, ours = ([run.evaluations[evalset] for run in side.runs] for side in (reference, other))
    evaluations = [*theirs, *ours]
    for one in evaluations:
        check_same_items(theirs[0], one)
    metrics = _metrics(evaluations, arguments.metric)
    changes = [Change(metric, theirs, ours) for metric in metrics]
    return EvalsetComparison(
        evalset=evalset,
        reference=reference.letter,
        current=other.letter,
        metrics=tuple(change.summary(arguments.alpha) for change in changes),
        groups=tuple(changes[0].groups()),
        worse=tuple(changes[0].worse(arguments.items)),
        better=tuple(changes[0].better(arguments.items)),
        notes=tuple(_warnings(evaluations, metrics)),
    )


def _metrics(evaluations: Sequence[Evaluation], metric: str | None) -> list[str]:
    """Return the metric that was asked for, or those that all have, the primary one of the first run first."""
    first, names = evaluations[0], [set(one.manifest.scorers) for one in evaluations]
    if metric:
        for one in evaluations:
            one.check_metric(metric)
    metrics = [metric] if metric else sorted(set.intersection(*names))
    if not metrics:
        raise ArtifactError(f"{first.where}: no metric in common with the other runs; evaluate them by one")
    for name in metrics:
        if len({one.manifest.scorers[name].lower_is_better for one in evaluations}) > 1:
            raise ArtifactError(f"{first.where}: another run has '{name}' the other way round; evaluate both again")
    return sorted(metrics, key=lambda name: name != (metric or first.primary))


def _warnings(evaluations: Sequence[Evaluation], metrics: Sequence[str]) -> list[str]:
    """Say once each what the runs do not share beside their weights, and which were stopped before their last step."""
    first, *others = [one.manifest for one in evaluations]
    found = {text: None for other in others for text in differences(first, other, metrics)}
    texts = [f"compared all the same: {'; '.join(found)}"] if found else []
    cut = [one.where for one in evaluations if one.manifest.status == "truncated"]
    return texts + [f"{where} was stopped before its last step" for where in cut]
