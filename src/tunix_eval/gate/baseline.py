"""The committed file that gates compare with: the scores of k runs, and what they were made with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from tunix_eval.digest import sha256_json
from tunix_eval.errors import BaselineError, suggestion
from tunix_eval.platforms import unpromised_values
from tunix_eval.records import RunScores, ScoredItem
from tunix_eval.statistics import measured_mean
from tunix_eval.tables import Table

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]

DEFAULT_RUNS = 5
"""Training seeds of a baseline that is made for the first time: with one, the noise between them would be unknown."""


def update_command(*, trains: bool, runs: int | None = None) -> str:
    """Return what to type to write a baseline.

    Args:
        trains: whether its runs are trained here; completions from elsewhere are one run, for which nothing is trained.
        runs: how many it held, where its file cannot say so any more; a sound file keeps its number.
    """
    train = " --tunix-train" if trains else ""
    count = f" --tunix-baseline-runs {runs}" if trains and runs is not None else ""
    return f"run `pytest{train} --tunix-update-baselines{count}`"


class RunOrigin(Table):
    """Where one run's scores come from."""

    run_id: str
    seed: int
    weights_sha256: str
    packages: dict[str, str]
    """Library versions."""
    device: dict[str, Any]
    """platform, kind, count, cpu_features, and why they do not promise the same bits, where they do not."""


class BaselineRun(RunOrigin):
    """One run of a baseline, bound to its scores."""

    completions_sha256: str
    """Over what the run wrote: each item's texts, why they ended, and log-probabilities where they were measured."""
    replies: int = Field(ge=1)
    """Completions, repeats included."""
    answered: int = Field(ge=0)
    """How many of them have an answer."""
    made_with_sha256: str
    """Over the digests of evalset, prompts and scorers."""
    scores_sha256: dict[str, str]
    """Metric -> digest over the run's scores and every field above but packages and device, so that lines which a merge
    took from two baselines do not pass for one."""


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
        for index, run in enumerate(self.runs):
            self._check_run(index, run)
        return self

    def _check_run(self, index: int, run: BaselineRun) -> None:
        """Refuse scores that were not written with this run."""
        if run.answered > run.replies:
            raise ValueError(f"run {run.run_id} has {run.answered} answers in {run.replies} replies")
        for name in sorted(self.metrics.keys() | run.scores_sha256.keys()):
            metric = self.metrics.get(name)
            column = {item_id: values[index] for item_id, values in metric.scores.items()} if metric else {}
            if run.scores_sha256.get(name) != _scores_sha256(name, column, run.model_dump()):
                raise ValueError(
                    f"the scores of run {run.run_id} under {name} are not what was written with it: a line was "
                    "changed, or comes from another baseline by a merge"
                )


def make_baseline(
    *,
    run_name: str,
    evalset: str,
    evalset_sha256: str,
    prompts_sha256: str,
    scorers: Mapping[str, tuple[str, bool]],
    runs: Sequence[tuple[RunOrigin, Sequence[ScoredItem]]],
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
    metrics = {
        name: BaselineMetric(scorer_sha256=sha256, lower_is_better=lower, scores=_scores(name, runs))
        for name, (sha256, lower) in scorers.items()
    }
    made_with = _made_with_sha256(evalset_sha256, prompts_sha256, metrics)
    return Baseline(
        run_name=run_name,
        evalset=evalset,
        evalset_sha256=evalset_sha256,
        prompts_sha256=prompts_sha256,
        metrics=metrics,
        runs=tuple(_bound_run(origin, items, metrics, made_with) for origin, items in runs),
        created_at=created_at,
    )


def completions_sha256(scored: Sequence[ScoredItem]) -> str:
    """Return the digest of what a run wrote: equal ones have equal scores under one scorer."""
    completions = [one.completion for one in scored]
    return sha256_json(
        sorted([one.item_id, one.repeat, one.text, one.stop_reason, one.answer_logprobs] for one in completions)
    )


def _bound_run(
    origin: RunOrigin, scored: Sequence[ScoredItem], metrics: Collection[str], made_with: str
) -> BaselineRun:
    """Return a run bound to its scores."""
    facts = origin.model_dump() | {
        "completions_sha256": completions_sha256(scored),
        "replies": len(scored),
        "answered": sum(one.completion.answer is not None for one in scored),
        "made_with_sha256": made_with,
    }
    digests = {name: _scores_sha256(name, _item_values(name, scored), facts) for name in metrics}
    return BaselineRun(**facts, scores_sha256=digests)


def _made_with_sha256(evalset: str, prompts: str, metrics: Mapping[str, BaselineMetric]) -> str:
    scorers = {name: [metric.scorer_sha256, metric.lower_is_better] for name, metric in metrics.items()}
    return sha256_json([evalset, prompts, scorers])


_BOUND = ("run_id", "seed", "weights_sha256", "completions_sha256", "replies", "answered", "made_with_sha256")


def _scores_sha256(name: str, column: Mapping[str, float | None], facts: Mapping[str, Any]) -> str:
    """Return the digest that binds one run's scores under one metric to the run and to what they were made with."""
    # The file writes 1.0 as 1 and -0.0 as 0; both are read back as floats.
    scores = {item_id: None if value is None else float(value) + 0.0 for item_id, value in column.items()}
    return sha256_json([[facts[key] for key in _BOUND], name, scores])


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
    run_name: str,
    evalset_sha256: str,
    prompts_sha256: str,
    scorer_sha256: str,
    metric: str,
    item_ids: Sequence[str],
    path: object,
    lower_is_better: bool | None = None,
    trains: bool = True,
) -> None:
    """Refuse a baseline that was made with something else.

    Raises:
        BaselineError: names what differs, and the command that replaces the baseline.
    """
    if baseline.run_name != run_name:
        # One evalset has equal digests under every run, so that no other check sees a file of another run.
        raise BaselineError(
            f"{path}: is the baseline of run '{baseline.run_name}', not of '{run_name}'; restore it from git, write "
            f"the new name as its run_name where the run was renamed, or {update_command(trains=trains)} to replace it"
            f"{_as_many(baseline)}"
        )
    held = _metric(baseline, metric, where=str(path), trains=trains)
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
        raise BaselineError(
            f"{path}: made with {', '.join(differences)}; {update_command(trains=trains)} to replace it"
            f"{_as_many(baseline)}"
        )
    found = _made_with_sha256(baseline.evalset_sha256, baseline.prompts_sha256, baseline.metrics)
    if odd := [run.run_id for run in baseline.runs if run.made_with_sha256 != found]:
        raise BaselineError(
            f"{path}: run {odd[0]} was not made with the evalset, prompts and scorers that the file names: a line was "
            f"changed, or comes from another baseline by a merge; restore it from git, or "
            f"{update_command(trains=trains)} to replace it{_as_many(baseline)}"
        )


def check_equal_scores(
    baseline: Baseline, metric: str, current: RunScores, completions: str, *, path: object, trains: bool = True
) -> None:
    """Refuse a baseline that gives other scores to the very completions that are judged.

    Weights of one digest may write differently under other generation settings; equal texts cannot have other scores
    under one scorer.

    Args:
        baseline: what is compared with; comparable.
        metric: one of its metrics.
        current: the run that is judged.
        completions: the digest of what it wrote, as `completions_sha256` gives it.
        path: where the baseline is.
        trains: whether the run is trained here.

    Raises:
        BaselineError: naming the run and the first item.
    """
    for run, held in zip(baseline.runs, baseline_runs(baseline, metric), strict=True):
        if (held.weights_sha256, run.completions_sha256) != (current.weights_sha256, completions):
            continue
        odd = sorted(one for one, value in held.values.items() if value != current.values.get(one))
        if odd:
            raise BaselineError(
                f"{path}: run {run.run_id} has the weights and the completions that are judged here, and other scores "
                f"for {len(odd)} of {len(held.values)} items ({odd[0]}: {held.values[odd[0]]}, now "
                f"{current.values.get(odd[0])}); restore it from git, or where scorer '{metric}' changed, give it "
                f"another version and {update_command(trains=trains)}"
            )


def _as_many(baseline: Baseline) -> str:
    """Say that an update keeps the number of runs, where there are several."""
    return f"; it keeps its {len(baseline.runs)} runs" if len(baseline.runs) > 1 else ""


def _metric(baseline: Baseline, metric: str, *, where: str, trains: bool = True) -> BaselineMetric:
    if metric not in baseline.metrics:
        known = ", ".join(sorted(baseline.metrics))
        close = suggestion(metric, baseline.metrics)
        command = update_command(trains=trains)
        raise BaselineError(
            f"{where}: no metric '{metric}', it holds {known}.{close} To add it, {command}{_as_many(baseline)}"
        )
    return baseline.metrics[metric]


def _scores(metric: str, runs: Sequence[tuple[RunOrigin, Sequence[ScoredItem]]]) -> dict[str, tuple[float | None, ...]]:
    columns = [_item_values(metric, items) for _, items in runs]
    return {item_id: tuple(column[item_id] for column in columns) for item_id in sorted(columns[0])}


def _item_values(metric: str, scored: Sequence[ScoredItem]) -> dict[str, float | None]:
    completions: dict[str, list[float | None]] = defaultdict(list)
    for one in scored:
        completions[one.completion.item_id].append(one.scores[metric].value)
    return {item_id: measured_mean(values) for item_id, values in completions.items()}
