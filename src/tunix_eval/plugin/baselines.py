"""Baselines at the edge: found, held against what is gated, and written from runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tunix_eval.digest import sha256_text
from tunix_eval.errors import BaselineError, SpecError
from tunix_eval.gate import (
    DEFAULT_RUNS,
    NEARLY_NONE,
    Baseline,
    RunOrigin,
    baseline_text,
    check_answered,
    check_comparable,
    describe_change,
    make_baseline,
    read_baseline,
    same_content,
    update_command,
)
from tunix_eval.plugin.evaluation import Evaluation
from tunix_eval.plugin.prepare import prompts_sha256
from tunix_eval.plugin.rows import BaselineRow, Note
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.sources import PredictionsFile, Source
from tunix_eval.records import Completion, Evalset, Scorer
from tunix_eval.scoring import better_rules, rules_that_find, scorer_digest
from tunix_eval.specs import AnySpec, RunSpec
from tunix_eval.store import EvalManifest, RunManifest, Store, write_atomic, writing


def baseline_path(session: Session, spec: AnySpec, evalset: Evalset) -> Path:
    """Return where the baseline of a run and an evalset is committed."""
    return session.root / session.settings.baselines / spec.name / f"{evalset.name}.json"


def comparable_baseline(session: Session, spec: AnySpec, evalset: Evalset, metric: str) -> Baseline:
    """Read a baseline and check that it was made with the same prompts, evalset and scorer.

    Raises:
        BaselineError: it is missing, damaged, foreign, or of replies without an answer.
    """
    return _comparable(session, spec, evalset, metric, baseline_path(session, spec, evalset))


def _comparable(
    session: Session, spec: AnySpec, evalset: Evalset, metric: str, file: Path, path: Path | None = None
) -> Baseline:
    """Read a baseline from a file, which may be the copy of another path, and check it."""
    path, trains = path or file, isinstance(spec, RunSpec)
    baseline = read_baseline(file, trains=trains)
    scorer = session.scorer(spec, metric)
    check_comparable(
        baseline,
        run_name=spec.name,
        evalset_sha256=evalset.sha256,
        prompts_sha256=_prompts_sha256(session, spec, evalset),
        scorer_sha256=scorer_digest(scorer, spec.answer, spec.thinking),
        metric=metric,
        item_ids=[str(item.id) for item in evalset.items],
        path=path,
        lower_is_better=scorer.lower_is_better,
        trains=trains,
    )
    advice = f"say in the run file where the answer stands (answer = ..), then {update_command(trains=trains)}"
    check_answered(baseline, metric, bounds=bounds_of(scorer), where=path, advice=advice)
    return baseline


def bounds_of(scorer: Scorer) -> tuple[float, float] | None:
    """Return the least and the greatest value of a metric, where its scorer declares them."""
    bounds: tuple[float, float] | None = getattr(scorer, "bounds", None)
    return bounds


def _prompts_sha256(session: Session, spec: AnySpec, evalset: Evalset) -> str:
    """Return the digest of the prompts, before anything is trained."""
    if isinstance(spec, RunSpec):
        return prompts_sha256(evalset, session.prepared(spec).format.prompts(evalset))
    return session.source(spec).prompts_sha256(evalset)


@dataclass(frozen=True)
class Update:
    """A baseline that a session wrote or found as it should be, and what it was before the session."""

    baseline: Baseline
    before: Baseline | None
    """None where there was none, or one with which nothing can be compared."""


def update_baseline(session: Session, spec: AnySpec, evalset: Evalset, metric: str) -> Update:
    """Write the baseline of a run and an evalset from the runs that it shall hold, unless nothing changed.

    Raises:
        BaselineError: nearly no reply has an answer, so that a gate on the metric could never fail.
    """
    path = baseline_path(session, spec, evalset)
    copy = session.directory / "replaced_baselines" / spec.name / path.name
    with session.store.lock(f"baseline-{sha256_text(str(path))[:16]}"):
        sources = baseline_sources(session, spec, evalset)
        scorers = session.scorers(spec)
        evaluations = [session.evaluation(one, evalset) for one in sources]
        new = make_baseline(
            run_name=spec.name,
            evalset=evalset.name,
            evalset_sha256=evalset.sha256,
            prompts_sha256=evaluations[0].prompts_sha256,
            scorers={
                name: (scorer_digest(one, spec.answer, spec.thinking), one.lower_is_better)
                for name, one in scorers.items()
            },
            runs=[(_origin(one), found.scored) for one, found in zip(sources, evaluations, strict=True)],
            created_at=datetime.now(UTC).replace(microsecond=0),
        )
        _refuse_unanswered(new, metric, scorers[metric], sources, evaluations)
        if not copy.exists():
            # What the session found, for the gates that are decided after the first one has replaced it.
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                shutil.copyfile(path, copy)
            else:
                copy.touch()
        _write(session, path, new)
    if not copy.stat().st_size:
        return Update(new, None)
    try:
        return Update(new, _comparable(session, spec, evalset, metric, copy, path))
    except BaselineError as error:
        reason = str(error).removeprefix(f"{copy}: ").removeprefix(f"{path}: ").partition(";")[0]
        session.rows.append(Note(f"{path}: what it held cannot be compared with: {reason}"))
        return Update(new, None)


def _write(session: Session, path: Path, new: Baseline) -> None:
    """Write a baseline and say what changes."""
    try:
        old = _held_baseline(path)
    except BaselineError:
        old = None
    if same_content(old, new):
        session.rows.append(BaselineRow(str(path), "unchanged"))
        return
    write_atomic(path, baseline_text(new), place=_place_for(path, session.store))
    session.rows.append(BaselineRow(str(path), "written"))
    session.rows += [Note(line) for line in (f"wrote {path}", *describe_change(old, new))]


def _refuse_unanswered(
    new: Baseline, metric: str, scorer: Scorer, sources: Sequence[Source], evaluations: Sequence[Evaluation]
) -> None:
    """Refuse to write a baseline of replies in which the answer is looked for in a wrong place.

    Raises:
        BaselineError: naming the rule that finds answers in these replies.
    """
    completions = [scored.completion for one in evaluations for scored in one.scored]
    where, source, bounds = f"{new.run_name} on {new.evalset}", sources[0], bounds_of(scorer)
    check_answered(new, metric, bounds=bounds, where=where, advice=_where_answers_are(source, completions))
    worst = bounds and bounds[1 if scorer.lower_is_better else 0]
    if worst is None or source.rule.open or source.rule.kind != "mark" or not rules_that_find(completions, whole=False):
        return
    values = [value for row in new.metrics[metric].scores.values() for value in row]
    if sum(value == worst for value in values) > (1 - NEARLY_NONE) * len(values):
        raise BaselineError(
            f"{where}: (nearly) no reply has another {metric} than {worst:g}, so that a gate on it could not fail; "
            f"{_where_answers_are(source, completions)}"
        )


def _where_answers_are(source: Source, completions: Sequence[Completion]) -> str:
    """Say which rule looked for answers, and which one finds some."""
    mark = "text" if isinstance(source, PredictionsFile) else f"{source.rule.open or source.rule.kind} (the style's)"
    said = [f"no baseline is written. The answer rule is {source.spec.answer or mark}"]
    cut, total = sum(one.stop_reason == "length" for one in completions), len(completions)
    if 2 * cut > total:
        said.append(f"{cut:,} of {total:,} replies were cut, raise max_new_tokens")
    if found := better_rules(completions):
        rule = next(iter(rules_that_find(completions)))
        said.append(f'{found}: write answer = "{rule}" in the run file or the marker')
    elif 2 * cut <= total:
        said.append("no other rule finds answers in most of them")
    return "; ".join(said)


def _place_for(path: Path, store: Store) -> Path | None:
    """Return where a baseline is written before it is renamed: where git does not look, if that is the same disk.

    What a kill leaves beside the baseline would be committed with it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return store.root if store.root.stat().st_dev == path.parent.stat().st_dev else None


def baseline_sources(session: Session, spec: AnySpec, evalset: Evalset) -> list[Source]:
    """Return the runs that an updated baseline will hold; those that are missing are trained."""
    if session.options.runs and isinstance(spec, RunSpec):
        return [session.recorded_run(spec, one) for one in named_runs(session, spec, evalset)]
    return [session.source(one) for one in baseline_specs(session, spec, evalset)]


def baseline_specs(session: Session, spec: AnySpec, evalset: Evalset) -> list[AnySpec]:
    """Return the spec under every training seed that an updated baseline will hold; none where runs are named."""
    if session.options.runs and isinstance(spec, RunSpec):
        named_runs(session, spec, evalset)
        return []
    count = session.options.baseline_runs
    if not isinstance(spec, RunSpec):
        if session.options.runs:
            raise SpecError(
                f"--tunix-run names runs of a training, and '{spec.name}' judges completions from elsewhere; its "
                "baseline is made from them: leave the option out"
            )
        if count is not None and count > 1:
            raise SpecError(
                f"--tunix-baseline-runs {count} trains seeds, and '{spec.name}' trains nothing; its baseline holds "
                "one run: leave the option out"
            )
        return [spec]
    if count is None:
        path = baseline_path(session, spec, evalset)
        try:
            old = _held_baseline(path)
        except BaselineError as error:
            raise BaselineError(f"{error}; say with --tunix-baseline-runs how many runs it shall hold") from None
        count = len(old.runs) if old else DEFAULT_RUNS
    return [spec.model_copy(update={"seed": spec.seed + offset}) for offset in range(count)]


def named_runs(session: Session, spec: RunSpec, evalset: Evalset) -> list[RunManifest]:
    """Return the recorded runs that --tunix-run names, if they may be this spec's baseline.

    Raises:
        SpecError: a run is not there, was stopped before its last step, was made from something else, or is a choice
            among runs that were judged on this evalset: the best of several is too good to be a baseline.
    """
    wanted = session.identity(spec).recipe_sha256
    found: dict[str, RunManifest] = {}
    for reference in session.options.runs:
        manifest = session.store.named_run(reference)
        if manifest.recipe.get("sha256") != wanted:
            continue
        if manifest.status == "truncated":
            raise SpecError(
                f"--tunix-run {reference}: stopped at {manifest.steps} of {manifest.total_steps} steps; a truncated "
                "run is no baseline"
            )
        found[manifest.run_id] = manifest
    if not found:
        listed = ", ".join(session.options.runs)
        raise SpecError(
            f"--tunix-run {listed}: none was made from '{spec.name}' as its run file stands (data, format, model and "
            "training); name runs of it, or leave --tunix-run out and its seeds are trained"
        )
    passed_over = _passed_over(session, spec, evalset, set(found))
    if passed_over:
        seeds = [*(one.seed for one in found.values()), *(one.seed for one in passed_over)]
        listed = ", ".join(one.run_id for one in passed_over[:5]) + (", .." if len(passed_over) > 5 else "")
        raise SpecError(
            f"--tunix-run: {len(found)} of {len(seeds)} runs of '{spec.name}' that were judged on {evalset.name} are "
            f"named; the best of several is too good to be a baseline. Name the others too ({listed}), train fresh "
            f"seeds (--tunix-seed {1 + max(seeds)} --tunix-baseline-runs {max(5, len(found))}), or judge on items that "
            "were not used to choose"
        )
    return sorted(found.values(), key=lambda one: one.seed)


def _passed_over(session: Session, spec: RunSpec, evalset: Evalset, named: set[str]) -> list[EvalManifest]:
    """Return the runs under this name that were judged on the same items and are not named, whatever their recipe."""
    return [
        one
        for _, one in session.store.evaluations(evalset.name)
        if one.run_name == spec.name and one.evalset_sha256 == evalset.sha256
        if one.status == "complete" and one.run_id not in named
    ]


def _origin(source: Source) -> RunOrigin:
    return RunOrigin(
        run_id=source.run_id,
        seed=source.seed,
        weights_sha256=source.weights_sha256,
        packages=source.packages,
        device=source.device,
    )


def _held_baseline(path: Path) -> Baseline | None:
    """Return the baseline that is there, or None where there is none."""
    return read_baseline(path) if path.exists() else None
