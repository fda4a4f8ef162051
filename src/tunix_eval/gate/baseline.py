"""The committed file that gates compare with: the scores of k runs, and what they were made with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from tunix_eval.errors import BaselineError, suggestion
from tunix_eval.platforms import unpromised_values
from tunix_eval.records import RunScores, ScoredItem
from tunix_eval.statistics import measured_mean
from tunix_eval.tables import Table

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]

UPDATE = "run `pytest --tunix-train --tunix-update-baselines`"


class BaselineRun(Table):
    """Where one run's scores come from."""

    run_id: str
    seed: int
    weights_sha256: str
    packages: dict[str, str]
    """Library versions."""
    device: dict[str, Any]
    """platform, kind, count, cpu_features, and why they do not promise the same bits, where they do not."""


class BaselineMetric(Table):
    """One metric's scores."""

    scorer_sha256: str
    """Over the scorer's name, version and parameters."""
    lower_is_better: bool
    scores: dict[str, tuple[Finite | None, ...]] = Field(min_length=1)
    """Item id -> k values, one a run in the order of `runs`: with repeats the mean over the item's completions. None
    could not be measured, and fails its gate."""


class Baseline(Table):
    """What a run is compared with, for one evalset.

    Source: docs/formats.md, "Baseline".
    """

    format_version: Literal[1] = 1
    run_name: str
    evalset: str
    evalset_sha256: str
    """Over the items sorted by id."""
    prompts_sha256: str
    """Over the token ids of every item's prompt."""
    metrics: dict[str, BaselineMetric] = Field(min_length=1)
    runs: tuple[BaselineRun, ...] = Field(min_length=1)
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _is_consistent(self) -> Baseline:
        k = len(self.runs)
        ids = [run.run_id for run in self.runs]
        if len(set(ids)) < k:
            raise ValueError(f"run {next(one for one in ids if ids.count(one) > 1)} is listed twice")
        first = next(iter(self.metrics.values())).scores.keys()
        for name, metric in self.metrics.items():
            for item_id, values in metric.scores.items():
                if len(values) != k:
                    raise ValueError(f"{name}: item '{item_id}' has {len(values)} values for {k} runs")
            if metric.scores.keys() != first:
                raise ValueError(f"{name}: its items are not those of the other metrics")
        return self


def make_baseline(
    *,
    run_name: str,
    evalset: str,
    evalset_sha256: str,
    prompts_sha256: str,
    scorers: Mapping[str, tuple[str, bool]],
    runs: Sequence[tuple[BaselineRun, Sequence[ScoredItem]]],
    created_at: datetime,
) -> Baseline:
    """Make a baseline from scored runs.

    Args:
        run_name: the run file's name.
        evalset: the evalset's name.
        evalset_sha256: its digest.
        prompts_sha256: digest of the token ids of its prompts.
        scorers: metric -> the scorer's digest, and whether lower is better.
        runs: k runs with their scored items, one a completion.
        created_at: an aware time.

    Raises:
        BaselineError: no runs, or runs that were not scored on the same items by every metric.
    """
    where = f"{run_name} on {evalset}"
    ids = [{scored.completion.item_id for scored in items} for _, items in runs]
    if not ids or not ids[0] or any(one != ids[0] for one in ids):
        raise BaselineError(f"{where}: {len(runs)} runs do not have the same items; each needs the whole evalset")
    missing = sorted({m for m in scorers for _, items in runs for scored in items if m not in scored.scores})
    if missing or not scorers:
        raise BaselineError(f"{where}: no scores for {', '.join(missing) or 'any metric'}; score the runs by it first")
    return Baseline(
        run_name=run_name,
        evalset=evalset,
        evalset_sha256=evalset_sha256,
        prompts_sha256=prompts_sha256,
        metrics={
            name: BaselineMetric(scorer_sha256=sha256, lower_is_better=lower, scores=_scores(name, runs))
            for name, (sha256, lower) in scorers.items()
        },
        runs=tuple(run for run, _ in runs),
        created_at=created_at,
    )


def run_scores(
    scored: Sequence[ScoredItem],
    metric: str,
    *,
    run_id: str,
    seed: int,
    weights_sha256: str,
    unpromised_bits: str | None = None,
) -> RunScores:
    """Return one run's values for a metric, as gates take them.

    The value of an item with several completions is their mean, and None where one of them has none.
    """
    return RunScores(
        run_id=run_id,
        seed=seed,
        weights_sha256=weights_sha256,
        values=_item_values(metric, scored),
        unpromised_bits=unpromised_bits,
    )


def baseline_runs(baseline: Baseline, metric: str) -> list[RunScores]:
    """Return the k runs of a baseline for one metric.

    Raises:
        BaselineError: the baseline has no such metric.
    """
    scores = _metric(baseline, metric, where=f"baseline of {baseline.run_name} on {baseline.evalset}").scores
    return [
        RunScores(
            run_id=run.run_id,
            seed=run.seed,
            weights_sha256=run.weights_sha256,
            values={item_id: values[index] for item_id, values in scores.items()},
            unpromised_bits=unpromised_values(run.device, {}),
        )
        for index, run in enumerate(baseline.runs)
    ]


def check_comparable(
    baseline: Baseline,
    *,
    evalset_sha256: str,
    prompts_sha256: str,
    scorer_sha256: str,
    metric: str,
    item_ids: Sequence[str],
    path: object,
    lower_is_better: bool | None = None,
) -> None:
    """Refuse a baseline that was made with something else.

    Raises:
        BaselineError: names what differs, and the command that replaces the baseline.
    """
    held = _metric(baseline, metric, where=str(path))
    differences = []
    for name, old, new in (
        ("another evalset", baseline.evalset_sha256, evalset_sha256),
        ("other prompts", baseline.prompts_sha256, prompts_sha256),
        (f"another version of scorer '{metric}', or another answer rule", held.scorer_sha256, scorer_sha256),
    ):
        if old != new:
            differences.append(f"{name} ({old[:12]}, now {new[:12]})")
    if lower_is_better is not None and held.lower_is_better != lower_is_better:
        differences.append(f"'{metric}' declared as {'lower' if held.lower_is_better else 'higher'} is better")
    if odd := sorted(held.scores.keys() ^ set(item_ids)):
        differences.append(f"other items ({len(odd)} differ, such as '{odd[0]}')")
    if differences:
        raise BaselineError(f"{path}: made with {', '.join(differences)}; {UPDATE} to replace it")


def _metric(baseline: Baseline, metric: str, *, where: str) -> BaselineMetric:
    if metric not in baseline.metrics:
        known = ", ".join(sorted(baseline.metrics))
        close = suggestion(metric, baseline.metrics)
        raise BaselineError(f"{where}: no metric '{metric}', it holds {known}.{close} To add it, {UPDATE}")
    return baseline.metrics[metric]


def _scores(
    metric: str, runs: Sequence[tuple[BaselineRun, Sequence[ScoredItem]]]
) -> dict[str, tuple[float | None, ...]]:
    columns = [_item_values(metric, items) for _, items in runs]
    return {item_id: tuple(column[item_id] for column in columns) for item_id in sorted(columns[0])}


def _item_values(metric: str, scored: Sequence[ScoredItem]) -> dict[str, float | None]:
    completions: dict[str, list[float | None]] = defaultdict(list)
    for one in scored:
        completions[one.completion.item_id].append(one.scores[metric].value)
    return {item_id: measured_mean(values) for item_id, values in completions.items()}
