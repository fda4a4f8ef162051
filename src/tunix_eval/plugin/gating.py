"""Gates: what a run is compared with, and the verdict. Baselines are read, checked and written here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tunix_eval.digest import sha256_text
from tunix_eval.errors import BaselineError, SpecError, unknown_name
from tunix_eval.gate import (
    Baseline,
    BaselineRun,
    baseline_runs,
    baseline_text,
    check_comparable,
    decide,
    describe_change,
    make_baseline,
    read_baseline,
    run_scores,
    same_content,
)
from tunix_eval.plugin.prepare import prompts_sha256
from tunix_eval.plugin.runs import Note, Run, run_file_path
from tunix_eval.plugin.session import Session
from tunix_eval.records import Evalset, RunScores, Verdict
from tunix_eval.scoring import scorer_digest
from tunix_eval.specs import GateSpec, RunSpec
from tunix_eval.store import write_atomic

CONFIRM_RUNS = 2
"""Training seeds that are added before a drop between retrained runs is believed."""
NAMED_ITEMS = 8
CONFIRM_BELOW = 0.2
"""The one-sided p of the first look from which on they are trained."""


def gate_evalset(session: Session, spec: RunSpec, gate: GateSpec, marked: str | None) -> Evalset:
    """Return the evalset that a gate is about: its own, the marker's, or the run file's only one."""
    reference = gate.evalset or marked
    if reference is None and len(spec.evalsets) == 1:
        reference = spec.evalsets[0]
    if reference is None:
        listed = ", ".join(spec.evalsets) or "none"
        raise SpecError(
            f"gate {gate.rule}({gate.metric}) of run '{spec.name}' names no evalset, and the run file lists {listed}; "
            "add evalset = ... to the gate or the marker tunix_evalset"
        )
    return session.evalset(reference)


def check_metric(spec: RunSpec, gate: GateSpec) -> None:
    """Refuse a gate whose metric the run file does not measure."""
    if gate.metric not in spec.scorers:
        raise unknown_name(f"metric measured by run '{spec.name}'", gate.metric, spec.scorers)


def baseline_path(session: Session, spec: RunSpec, evalset: Evalset) -> Path:
    """Return where the baseline of a run and an evalset is committed."""
    return session.root / session.settings.baselines / spec.name / f"{evalset.name}.json"


def comparable_baseline(session: Session, spec: RunSpec, evalset: Evalset, metric: str) -> Baseline:
    """Read a baseline and check that it was made with the same prompts, evalset and scorer.

    Raises:
        BaselineError: it is missing, damaged or foreign.
    """
    path = baseline_path(session, spec, evalset)
    baseline = read_baseline(path)
    scorer = session.registry.scorers((metric,))[metric]
    check_comparable(
        baseline,
        evalset_sha256=evalset.sha256,
        prompts_sha256=prompts_sha256(evalset, session.prepared(spec).format.prompts(evalset)),
        scorer_sha256=scorer_digest(scorer),
        metric=metric,
        item_ids=[str(item.id) for item in evalset.items],
        path=path,
        lower_is_better=scorer.lower_is_better,
    )
    return baseline


def judge(session: Session, run: Run, gate: GateSpec, evalset: Evalset, *, than: Run | None = None) -> Verdict:
    """Decide a gate from records, and report the verdict."""
    check_metric(run.spec, gate)
    if gate.rule == "no_worse":
        verdict = _no_worse(session, run, gate, evalset)
    else:
        reference = [_scores(session, than, gate.metric, evalset)] if than else []
        verdict = _decide(session, run, gate, evalset, [_scores(session, run, gate.metric, evalset)], reference)
    session.rows.append(verdict)
    return verdict


def _most_lost(current: list[RunScores], reference: list[RunScores], *, sign: int) -> str:
    """Name the items that got worse by most, as means over the runs of each side."""

    def mean(runs: list[RunScores], item: str) -> float:
        return sum(run.values[item] or 0.0 for run in runs) / len(runs)

    drops = {item: sign * (mean(reference, item) - mean(current, item)) for item in current[0].values}
    worst = sorted((item for item in drops if drops[item] > 0), key=lambda item: (-drops[item], item))
    named = ", ".join(
        f"{item} ({mean(reference, item):.2f} -> {mean(current, item):.2f})" for item in worst[:NAMED_ITEMS]
    )
    return f"{len(worst)} items got worse: {named}{', ...' if len(worst) > NAMED_ITEMS else ''}"


def skip_truncated(session: Session, run: Run, gate: GateSpec, evalset: Evalset) -> Verdict:
    """Report a gate that is not decided, because the run was stopped early."""
    verdict = Verdict(
        rule=gate.rule,
        metric=gate.metric,
        run_name=run.spec.name,
        run_id=run.run_id,
        evalset=evalset.name,
        outcome="skipped",
        reason=(
            f"run '{run.spec.name}' stopped at {run.manifest.steps} of {run.manifest.total_steps} steps "
            "(--tunix-max-steps); a truncated run is not gated"
        ),
        unit="none",
        method="",
    )
    session.rows.append(verdict)
    return verdict


def compared_run(session: Session, gate: GateSpec, folder: Path) -> Run | None:
    """Return the run that a `better` gate compares with, where it names one."""
    return session.run(session.spec(run_file_path(gate.than, folder), {})) if gate.than else None


def _no_worse(session: Session, run: Run, gate: GateSpec, evalset: Evalset) -> Verdict:
    if session.options.update_baselines:
        update_baseline(session, run, evalset)
    reference = baseline_runs(comparable_baseline(session, run.spec, evalset, gate.metric), gate.metric)
    current = [_scores(session, run, gate.metric, evalset)]
    verdict = _decide(session, run, gate, evalset, current, reference)
    if verdict.n_runs > 1 and verdict.p_value is not None and verdict.p_value <= CONFIRM_BELOW:
        specs = _fresh_specs(run, reference)
        if session.options.train or all(session.recorded(spec) is not None for spec in specs):
            current += [_scores(session, session.run(spec), gate.metric, evalset) for spec in specs]
            verdict = _decide(session, run, gate, evalset, current, reference)
    if verdict.outcome == "failed" and verdict.delta is not None:
        sign = -1 if session.registry.scorers((gate.metric,))[gate.metric].lower_is_better else 1
        lost = _most_lost(current, reference, sign=sign)
        session.rows.append(Note(f"{run.spec.name}/{gate.metric} no_worse: {lost}"))
    return verdict


def _fresh_specs(run: Run, reference: list[RunScores]) -> list[RunSpec]:
    """Return the spec under training seeds that neither the baseline nor the run itself has.

    One run against five alarms falsely 9 to 12 times in 100; the two looks together, 5 times, and a fifth of
    unchanged sessions train more. Source: docs/decisions/0004-confirm-before-alarm.md.
    """
    first = max({scores.seed for scores in reference} | {run.spec.seed}) + 1
    return [run.spec.model_copy(update={"seed": first + offset}) for offset in range(CONFIRM_RUNS)]


def _decide(
    session: Session,
    run: Run,
    gate: GateSpec,
    evalset: Evalset,
    current: list[RunScores],
    reference: list[RunScores],
) -> Verdict:
    return decide(
        gate,
        run_name=run.spec.name,
        evalset=evalset.name,
        current=current,
        reference=reference,
        lower_is_better=session.registry.scorers((gate.metric,))[gate.metric].lower_is_better,
        clusters={str(item.id): item.cluster for item in evalset.items if item.cluster},
    )


def _scores(session: Session, run: Run, metric: str, evalset: Evalset) -> RunScores:
    manifest = run.manifest
    return run_scores(
        session.evaluation(run, evalset).scored,
        metric,
        run_id=manifest.run_id,
        seed=manifest.seed,
        weights_sha256=manifest.weights_sha256,
    )


def update_baseline(session: Session, run: Run, evalset: Evalset) -> None:
    """Write the baseline of a run and an evalset from as many training seeds as are wanted."""
    path = baseline_path(session, run.spec, evalset)
    with session.store.lock(f"baseline-{sha256_text(str(path))[:16]}"):
        runs = [session.run(spec) for spec in baseline_specs(session, run.spec, evalset)]
        scorers = session.registry.scorers(run.spec.scorers)
        evaluations = [session.evaluation(one, evalset) for one in runs]
        new = make_baseline(
            run_name=run.spec.name,
            evalset=evalset.name,
            evalset_sha256=evalset.sha256,
            prompts_sha256=evaluations[0].prompts_sha256,
            scorers={name: (scorer_digest(one), one.lower_is_better) for name, one in scorers.items()},
            runs=[(_provenance(one), found.scored) for one, found in zip(runs, evaluations, strict=True)],
            created_at=datetime.now(UTC).replace(microsecond=0),
        )
        try:
            old = _held_baseline(path)
        except BaselineError:
            old = None
        if not same_content(old, new):
            write_atomic(path, baseline_text(new))
            session.rows += [Note(line) for line in (f"wrote {path}", *describe_change(old, new))]


def baseline_specs(session: Session, spec: RunSpec, evalset: Evalset) -> list[RunSpec]:
    """Return the spec under every training seed that an updated baseline will hold."""
    count = session.options.baseline_runs
    if count is None:
        path = baseline_path(session, spec, evalset)
        try:
            old = _held_baseline(path)
        except BaselineError as error:
            raise BaselineError(f"{error}; say with --tunix-baseline-runs how many runs it shall hold") from None
        count = len(old.runs) if old else 1
    return [spec.model_copy(update={"seed": spec.seed + offset}) for offset in range(count)]


def _provenance(run: Run) -> BaselineRun:
    manifest = run.manifest
    return BaselineRun(
        run_id=manifest.run_id,
        seed=manifest.seed,
        weights_sha256=manifest.weights_sha256,
        packages=manifest.packages,
        device=manifest.device,
    )


def _held_baseline(path: Path) -> Baseline | None:
    """Return the baseline that is there, or None where there is none."""
    return read_baseline(path) if path.exists() else None
