"""Every mistake that can be known before anything is trained: what an item needs, held against data and records."""

from __future__ import annotations

from dataclasses import replace

from tunix_eval.errors import TunixEvalError
from tunix_eval.gate import baseline_runs
from tunix_eval.plugin.baselines import baseline_specs, comparable_baseline
from tunix_eval.plugin.gating import (
    AGAINST_BASELINE,
    check_gate,
    check_measurable,
    check_reference,
    compared_spec,
    gate_evalset,
    seeds_of,
)
from tunix_eval.plugin.needs import Need
from tunix_eval.plugin.prepare import make_format
from tunix_eval.plugin.room import check_resume, check_training
from tunix_eval.plugin.rows import missing_run
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.sources import PredictionsFile
from tunix_eval.records import Evalset
from tunix_eval.specs import AnySpec, GateSpec, RunSpec


def checked(session: Session, need: Need) -> Need:
    """Find every mistake that can be known now; a need with an error trains nothing."""
    if need.error:
        return need
    try:
        _check_data(session, need)
        if need.run:
            return _check_run(session, need, need.the_spec())
        return need
    except TunixEvalError as error:
        return replace(need, error=str(error))


def _check_data(session: Session, need: Need) -> None:
    spec = need.spec
    if spec is not None:
        session.check_needs(spec)
        if isinstance(spec, RunSpec):
            session.prepared(spec)
        for reference in spec.evalsets:
            session.note_unmeasured(spec, session.library.evalset(reference))
    if need.dataset is not None:
        session.library.dataset(need.dataset, folder=need.folder)
    if need.renderer is not None:
        make_format(session.registry, renderer=need.renderer, tokenizer="bytes", style=None)
    if need.evalset is not None:
        _check_evalset(session, spec, session.library.evalset(need.evalset, folder=need.folder))


def _check_evalset(session: Session, spec: AnySpec | None, evalset: Evalset) -> None:
    """Find out now whether a spec may be judged on an evalset, and whether predictions are of its items."""
    if isinstance(spec, RunSpec):
        session.prepared(spec).check_contamination(evalset)
    elif spec is not None:
        source = session.source(spec)
        if isinstance(source, PredictionsFile):
            source.completions(evalset)


def _check_run(session: Session, need: Need, spec: AnySpec) -> Need:
    truncated = isinstance(spec, RunSpec) and session.identity(spec).stop_after is not None
    specs = [spec]
    for gate in need.gates:
        check_gate(session, spec, gate, compared_spec(session, gate, need.folder))
        evalset = gate_evalset(session, spec, gate, need.evalset)
        _check_evalset(session, spec, evalset)
        check_measurable(session, spec, gate, evalset)
        if gate.rule in AGAINST_BASELINE and not truncated:
            if session.options.update_baselines:
                baseline_specs(session, spec, evalset)
            else:
                baseline = comparable_baseline(session, spec, evalset, gate.metric)
                check_reference(session, spec, gate, baseline_runs(baseline, gate.metric))
        specs += gate_specs(session, need, spec, gate)
    for one in specs:
        if not isinstance(one, RunSpec):
            session.source(one)
        elif session.recorded(one) is None:
            if not session.options.train:
                reason = missing_run(one, session.identity(one), session.store)
                return replace(skipped(session, need, reason), trains=True)
            check_training(session, one)
            check_resume(session, one)
    return need


def gate_specs(session: Session, need: Need, spec: AnySpec, gate: GateSpec) -> list[AnySpec]:
    """Return the specs whose completions a gate looks at for certain; no_worse may ask for fresh seeds beside them."""
    other = compared_spec(session, gate, need.folder)
    return [*seeds_of(spec, gate.seeds), *(seeds_of(other, gate.seeds) if other else [])]


def skipped(session: Session, need: Need, reason: str) -> Need:
    """Return a need that is skipped, or an error where a gate may not be."""
    if session.options.require and need.gated:
        return replace(need, error=f"{reason} (--tunix-require: a gate may not be skipped)")
    return replace(need, skip=reason)
