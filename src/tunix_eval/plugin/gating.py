"""Gates: what a run is compared with, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from tunix_eval.errors import DataError, SpecError, unknown_name
from tunix_eval.gate import (
    Baseline,
    baseline_runs,
    check_drop,
    check_equal_scores,
    check_scale,
    completions_sha256,
    decide,
    family_of,
    foreseen,
    not_decided,
    run_scores,
)
from tunix_eval.platforms import unpromised_values
from tunix_eval.plugin.baselines import baseline_path, bounds_of, comparable_baseline, update_baseline
from tunix_eval.plugin.rows import Note
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.sources import Run, Source
from tunix_eval.plugin.stopping import RunStoppedError
from tunix_eval.records import Evalset, RunScores, Verdict
from tunix_eval.report import second_look
from tunix_eval.run_files import run_file_path
from tunix_eval.specs import AnySpec, EvalSpec, GateSpec, RunSpec
from tunix_eval.statistics import mean

AGAINST_BASELINE = frozenset({"no_worse", "non_inferior", "max_drop"})
"""The rules that compare with a committed baseline."""
NAMED_ITEMS = 8


def gate_evalset(session: Session, spec: AnySpec, gate: GateSpec, marked: str | None) -> Evalset:
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
    return session.library.evalset(reference)


def check_gate(session: Session, spec: AnySpec, gate: GateSpec, than: AnySpec | None = None) -> None:
    """Refuse a gate that can be known to be wrong: a metric that is not measured, a wrong scale, seeds for nothing.

    Raises:
        SpecError: what is wrong, and what would do.
    """
    for one in (spec, than):
        if one is not None and gate.metric not in one.scorers:
            if gate.metric not in session.registry.names("scorer"):
                raise unknown_name(f"metric measured by run '{one.name}'", gate.metric, one.scorers)
            raise SpecError(
                f"no metric measured by run '{one.name}' named '{gate.metric}'; known: {', '.join(one.scorers)}; add "
                "it to scorers in the run file"
            )
    if isinstance(than, EvalSpec) and _keys(than, gate.metric) != _keys(spec, gate.metric):
        raise SpecError(
            f"runs '{spec.name}' and '{than.name}' measure {gate.metric} with other keys ({_keys(spec, gate.metric)}, "
            f"{_keys(than, gate.metric)}); give both the same"
        )
    scorer = session.scorer(spec, gate.metric)
    check_scale(gate, bounds_of(scorer), where=f"{spec.name}/{gate.metric}", lower_is_better=scorer.lower_is_better)
    if (gate.runs or 1) > 1 and not isinstance(spec, RunSpec):
        raise SpecError(
            f"{spec.name}/{gate.metric}: {gate.rule} asks for {gate.runs} training seeds, and '{spec.name}' trains "
            "nothing; take out runs = ..., or gate a run file that trains"
        )


def check_measurable(session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset) -> None:
    """Refuse items that the gate's scorer cannot measure whatever is answered: one of them fails every gate.

    Raises:
        DataError: the first of them, with the scorer's reason, and how many.
    """
    if found := session.unmeasured(spec, gate.metric, evalset):
        raise DataError(
            f"{spec.name}/{gate.metric}: {found}; a gate needs a value for every item: mend these, take them out, or "
            "gate another metric"
        )


def _keys(spec: EvalSpec, metric: str) -> dict[str, object]:
    return spec.scorer_options.get(metric, {})


def check_reference(session: Session, spec: AnySpec, gate: GateSpec, reference: Sequence[RunScores]) -> None:
    """Refuse a gate that no run can fail against this baseline.

    Raises:
        SpecError: what is allowed, and what can be.
    """
    values = [[value for value in run.values.values() if value is not None] for run in reference]
    if not values or not all(values):
        return  # The gate fails for what is missing.
    scorer, where = session.scorer(spec, gate.metric), f"{spec.name}/{gate.metric}"
    bounds = bounds_of(scorer) or (-math.inf, math.inf)
    of_baseline = mean([mean(one) for one in values])
    check_drop(gate, of_baseline, bounds, where=where, lower_is_better=scorer.lower_is_better)


def seeds_of(spec: AnySpec, count: int) -> list[AnySpec]:
    """Return a spec under so many training seeds, from its own on."""
    if not isinstance(spec, RunSpec):
        return [spec]
    return [spec.model_copy(update={"seed": spec.seed + offset}) for offset in range(count)]


def compared_spec(session: Session, gate: GateSpec, folder: Path) -> AnySpec | None:
    """Return the spec that a `better` gate compares with, where it names one."""
    return session.library.spec(run_file_path(gate.than, folder), {}) if gate.than else None


def judge(
    session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset, *, than: AnySpec | Source | None = None
) -> Verdict:
    """Decide a gate from records. One of a truncated run is skipped.

    Args:
        session: what is known.
        spec: whose completions are judged.
        gate: the rule.
        evalset: on what.
        than: what a `better` gate compares with.

    Raises:
        RunStoppedError: a run or its completions were stopped; that is reported as the gate's verdict.
    """
    try:
        return _judged(session, spec, gate, evalset, than)
    except RunStoppedError as error:
        about = {"rule": gate.rule, "metric": gate.metric, "evalset": evalset.name, "run_name": spec.name}
        session.rows.append(not_decided("stopped", str(error), run_id=run_id_of(session, spec), **about))
        raise


def run_id_of(session: Session, spec: AnySpec) -> str:
    """Return the id of the run that a spec asks for, trained or not."""
    return session.identity(spec).run_id if isinstance(spec, RunSpec) else session.source(spec).run_id


def _judged(
    session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset, than: AnySpec | Source | None
) -> Verdict:
    check_gate(session, spec, gate, than if than is None or isinstance(than, AnySpec) else than.spec)
    check_measurable(session, spec, gate, evalset)
    sources = [session.source(one) for one in seeds_of(spec, gate.seeds)]
    others: list[Source] = []
    if isinstance(than, RunSpec):
        others = [session.source(one) for one in seeds_of(than, gate.seeds)]
    elif than is not None:
        others = [session.source(than) if isinstance(than, AnySpec) else than]
    for source in (*sources, *others):
        if isinstance(source, Run) and source.truncated:
            return _skipped(source, gate, evalset, updating=session.options.update_baselines)
    session.before_and_after(sources[0], evalset)
    current = [scores_of(session, source, gate.metric, evalset) for source in sources]
    if gate.rule in AGAINST_BASELINE and session.options.update_baselines:
        return _updating(session, spec, gate, evalset, current)
    if gate.rule in AGAINST_BASELINE:
        baseline = comparable_baseline(session, spec, evalset, gate.metric)
        _check_equal_scores(session, spec, evalset, baseline, sources, current, gate.metric)
        reference = baseline_runs(baseline, gate.metric)
    else:
        reference = [scores_of(session, source, gate.metric, evalset) for source in others]

    def fresh(count: int) -> list[RunScores]:
        seen = _decided(session, spec, gate.model_copy(update={"confirm": 0}), evalset, tuple(current), reference)
        added = _fresh_sources(session, spec, reference, gate, count, seen)
        current.extend(scores_of(session, source, gate.metric, evalset) for source in added)
        return current[len(sources) :]

    verdict = _decided(session, spec, gate, evalset, tuple(current), reference, fresh)
    if verdict.outcome == "failed" and verdict.delta is not None and gate.rule in AGAINST_BASELINE:
        lost = _most_lost(current, reference, sign=-1 if session.scorer(spec, gate.metric).lower_is_better else 1)
        session.rows += [Note(f"{spec.name}/{gate.metric} on {evalset.name}: {lost}")] if lost else []
    return verdict


def _decided(
    session: Session,
    spec: AnySpec,
    gate: GateSpec,
    evalset: Evalset,
    current: Sequence[RunScores],
    reference: Sequence[RunScores],
    fresh: Callable[[int], list[RunScores]] | None = None,
) -> Verdict:
    scorer = session.scorer(spec, gate.metric)
    return decide(
        gate,
        run_name=spec.name,
        evalset=evalset.name,
        current=current,
        reference=reference,
        lower_is_better=scorer.lower_is_better,
        clusters={str(item.id): item.cluster for item in evalset.items if item.cluster},
        bounds=bounds_of(scorer),
        fresh=fresh if fresh and _fresh_can_be_had(session, spec, reference, gate) else None,
        family=_family(spec, gate),
    )


def _updating(
    session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset, current: Sequence[RunScores]
) -> Verdict:
    """Write the baseline, and hold what it holds now against what it held when the session began.

    A gate that fails against the replaced baseline is shown as failed and does not fail its test: the user asked for
    the new one. What cannot be decided at all, such as an item without a value, does.
    """
    update = update_baseline(session, spec, evalset, gate.metric)
    new = baseline_runs(update.baseline, gate.metric)
    if text := foreseen_of(session, spec, gate, evalset, new):
        session.rows.append(Note(f"{spec.name}/{gate.metric} on {evalset.name}: {gate.rule} {text}"))
    alone = _decided(session, spec, gate, evalset, current, new)
    if update.before is None or alone.delta is None:
        return alone
    old = baseline_runs(update.before, gate.metric)
    known = {one.weights_sha256 for one in old}
    # Runs that both hold would make the two sides alike; where both hold the same runs, items are compared.
    fresh = [one for one in new if one.weights_sha256 not in known] or new
    verdict = _decided(session, spec, gate, evalset, fresh, old)
    if verdict.outcome not in ("passed", "skipped"):
        path = baseline_path(session, spec, evalset)
        session.rows.append(Note(f"{path}: replaced as asked, against what it held: {verdict.reason}"))
    return verdict


def _check_equal_scores(
    session: Session,
    spec: AnySpec,
    evalset: Evalset,
    baseline: Baseline,
    sources: Sequence[Source],
    current: Sequence[RunScores],
    metric: str,
) -> None:
    """Refuse a baseline that gives other scores to what is judged here."""
    path, trains = baseline_path(session, spec, evalset), isinstance(spec, RunSpec)
    for source, scores in zip(sources, current, strict=True):
        written = completions_sha256(session.evaluation(source, evalset).scored)
        check_equal_scores(baseline, metric, scores, written, path=path, trains=trains)


def scores_of(session: Session, source: Source, metric: str, evalset: Evalset) -> RunScores:
    """Return what a source's completions score, as gates take it."""
    evaluation = session.evaluation(source, evalset)
    return run_scores(
        evaluation.scored,
        metric,
        run_id=source.run_id,
        seed=source.seed,
        weights_sha256=source.weights_sha256,
        unpromised_bits=unpromised_values(source.device, evaluation.environment),
    )


def _fresh_specs(spec: AnySpec, reference: Sequence[RunScores], count: int) -> list[RunSpec]:
    if not isinstance(spec, RunSpec):
        return []
    first = max({scores.seed for scores in reference} | {spec.seed}) + 1
    return [spec.model_copy(update={"seed": first + offset}) for offset in range(count)]


def _fresh_can_be_had(session: Session, spec: AnySpec, reference: Sequence[RunScores], gate: GateSpec) -> bool:
    """Tell whether a second look can be made: what a gate could have found depends on it."""
    specs = _fresh_specs(spec, reference, gate.confirm) if gate.rule == "no_worse" else []
    return bool(specs) and (session.options.train or all(session.recorded(one) is not None for one in specs))


def foreseen_of(
    session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset, reference: Sequence[RunScores]
) -> str | None:
    """Say what a gate against this baseline will be able to find, before anything is trained."""
    scorer = session.scorer(spec, gate.metric)
    return foreseen(
        gate,
        reference=reference,
        clusters={str(item.id): item.cluster for item in evalset.items if item.cluster},
        bounds=bounds_of(scorer) or (-math.inf, math.inf),
        lower_is_better=scorer.lower_is_better,
        trains=isinstance(spec, RunSpec),
        family=_family(spec, gate),
    )


def _family(spec: AnySpec, gate: GateSpec) -> int:
    """Return how many gates share a gate's correction: that of a run file is over the gates that stand in it."""
    return family_of(spec.gates, spec.correction) if gate in spec.gates else 1


def _fresh_sources(
    session: Session, spec: AnySpec, reference: Sequence[RunScores], gate: GateSpec, count: int, seen: Verdict
) -> list[Source]:
    """Return runs under training seeds that neither the baseline nor the run itself has."""
    specs = _fresh_specs(spec, reference, count)
    missing = [one for one in specs if session.recorded(one) is None]
    if missing:
        manifest = session.recorded(spec) if isinstance(spec, RunSpec) else None
        seconds = manifest.wall_seconds if manifest else None
        for line in second_look(seen, len(missing), seconds, share=max(gate.confirm_below, gate.alpha)):
            session.notify(line)
    return [session.run(one) for one in specs]


def _skipped(source: Run, gate: GateSpec, evalset: Evalset, *, updating: bool) -> Verdict:
    """Return the verdict of a gate that is not decided, because a run was stopped before its last step."""
    steps = f"{source.manifest.steps} of {source.manifest.total_steps} steps"
    written = ", nor made a baseline" if updating else ""
    asked = " (--tunix-max-steps)" if source.kind == "training" else ""
    return not_decided(
        "skipped",
        f"run '{source.spec.name}' stopped at {steps}{asked}; a truncated run is not gated{written}",
        rule=gate.rule,
        metric=gate.metric,
        run_name=source.spec.name,
        run_id=source.run_id,
        evalset=evalset.name,
    )


def _most_lost(current: Sequence[RunScores], reference: Sequence[RunScores], *, sign: int) -> str:
    """Name the items that got worse by most, as means over the runs of each side; an empty string where none did."""

    def mean(runs: Sequence[RunScores], item: str) -> float:
        return sum(run.values[item] or 0.0 for run in runs) / len(runs)

    drops = {item: sign * (mean(reference, item) - mean(current, item)) for item in current[0].values}
    worst = sorted((item for item in drops if drops[item] > 0), key=lambda item: (-drops[item], item))
    named = ", ".join(
        f"{item} ({mean(reference, item):.2f} -> {mean(current, item):.2f})" for item in worst[:NAMED_ITEMS]
    )
    if not worst:
        return ""
    return f"{len(worst)} items got worse: {named}{', ...' if len(worst) > NAMED_ITEMS else ''}"
