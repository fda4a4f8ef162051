"""Baselines at the edge: found, held against what is gated, and written from runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tunix_eval.digest import sha256_text
from tunix_eval.errors import BaselineError, SpecError
from tunix_eval.gate import (
    Baseline,
    BaselineRun,
    baseline_text,
    check_comparable,
    describe_change,
    make_baseline,
    read_baseline,
    same_content,
)
from tunix_eval.plugin.prepare import prompts_sha256
from tunix_eval.plugin.rows import Note
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.sources import Source
from tunix_eval.records import Evalset
from tunix_eval.scoring import scorer_digest
from tunix_eval.specs import AnySpec, RunSpec
from tunix_eval.store import EvalManifest, RunManifest, Store, write_atomic, writing


def baseline_path(session: Session, spec: AnySpec, evalset: Evalset) -> Path:
    """Return where the baseline of a run and an evalset is committed."""
    return session.root / session.settings.baselines / spec.name / f"{evalset.name}.json"


def comparable_baseline(session: Session, spec: AnySpec, evalset: Evalset, metric: str) -> Baseline:
    """Read a baseline and check that it was made with the same prompts, evalset and scorer.

    Raises:
        BaselineError: it is missing, damaged or foreign.
    """
    path = baseline_path(session, spec, evalset)
    baseline = read_baseline(path)
    scorer = session.scorer(spec, metric)
    check_comparable(
        baseline,
        evalset_sha256=evalset.sha256,
        prompts_sha256=_prompts_sha256(session, spec, evalset),
        scorer_sha256=scorer_digest(scorer, spec.answer, spec.thinking),
        metric=metric,
        item_ids=[str(item.id) for item in evalset.items],
        path=path,
        lower_is_better=scorer.lower_is_better,
    )
    return baseline


def _prompts_sha256(session: Session, spec: AnySpec, evalset: Evalset) -> str:
    """Return the digest of the prompts, before anything is trained."""
    if isinstance(spec, RunSpec):
        return prompts_sha256(evalset, session.prepared(spec).format.prompts(evalset))
    return session.source(spec).prompts_sha256(evalset)


def update_baseline(session: Session, spec: AnySpec, evalset: Evalset) -> None:
    """Write the baseline of a run and an evalset from the runs that it shall hold, unless nothing changed."""
    path = baseline_path(session, spec, evalset)
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
            runs=[(_provenance(one), found.scored) for one, found in zip(sources, evaluations, strict=True)],
            created_at=datetime.now(UTC).replace(microsecond=0),
        )
        try:
            old = _held_baseline(path)
        except BaselineError:
            old = None
        if not same_content(old, new):
            write_atomic(path, baseline_text(new), place=_place_for(path, session.store))
            session.rows += [Note(line) for line in (f"wrote {path}", *describe_change(old, new))]


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
        count = len(old.runs) if old else 1
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


def _provenance(source: Source) -> BaselineRun:
    return BaselineRun(
        run_id=source.run_id,
        seed=source.seed,
        weights_sha256=source.weights_sha256,
        packages=source.packages,
        device=source.device,
    )


def _held_baseline(path: Path) -> Baseline | None:
    """Return the baseline that is there, or None where there is none."""
    return read_baseline(path) if path.exists() else None
