"""The plan: what every item needs, what is recorded already, and every mistake that can be known before training."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tunix_eval.errors import ArtifactError, TrainingError, TunixEvalError
from tunix_eval.plugin.gating import baseline_path, baseline_specs, check_metric, comparable_baseline, gate_evalset
from tunix_eval.plugin.items import fixtures_of
from tunix_eval.plugin.needs import Need, need_of
from tunix_eval.plugin.prepare import make_format
from tunix_eval.plugin.runs import missing_run, run_file_path
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.training import Identity
from tunix_eval.specs import RunSpec

_CHECKPOINTS_AT_ONCE = 3
_COPIES_IN_TRAINING = 4


@dataclass
class Plan:
    """What a session will do."""

    needs: dict[str, Need] = field(default_factory=dict)
    training: dict[str, tuple[RunSpec, int]] = field(default_factory=dict)
    """Run id -> spec and steps, of runs that will be trained."""
    reused: dict[str, RunSpec] = field(default_factory=dict)
    evalsets: set[str] = field(default_factory=set)
    gates: list[str] = field(default_factory=list)
    bodies: bool = False
    """Whether a test body may ask for more."""

    def line(self) -> str:
        """Say in one line what will happen."""
        steps = sum(count for _, count in self.training.values())
        parts = [
            f"{_count(len(self.training), 'run')} to train{f', {steps} steps' if steps else ''}",
            f"{len(self.reused)} reused",
            _count(len(self.evalsets), "evalset"),
            _count(len(self.gates), "gate"),
        ]
        errors = Counter(bool(need.error) for need in self.needs.values())[True]
        if errors:
            parts.append(_count(errors, "test") + " that cannot run")
        skipped = sum(bool(need.skip) for need in self.needs.values())
        if skipped:
            parts.append(_count(skipped, "test") + " skipped, -rs says why")
        if self.bodies:
            parts.append("plus what test bodies ask for")
        return "tunix-eval: " + "; ".join(parts)

    def lines(self) -> list[str]:
        """Say line by line what will happen, for --tunix-plan."""
        lines = [self.line()]
        lines += [f"  train  {spec.name}  {run_id}  {steps} steps" for run_id, (spec, steps) in self.training.items()]
        lines += [f"  reuse  {spec.name}  {run_id}" for run_id, spec in self.reused.items()]
        lines += [f"  eval   {name}" for name in sorted(self.evalsets)]
        lines += [f"  gate   {gate}" for gate in self.gates]
        lines += [f"  skip   {node}: {need.skip}" for node, need in self.needs.items() if need.skip]
        lines += [f"  error  {node}: {need.error}" for node, need in self.needs.items() if need.error]
        return lines


def make_plan(session: Session, items: Sequence[pytest.Item]) -> Plan:
    """Resolve what the items' markers and run files ask for against the registry and the records."""
    plan = Plan()
    checked: dict[Any, Need] = {}
    told: dict[str, str] = {}
    for item in items:
        need = need_of(session, item)
        # Specs are cached by the session, so that equal ones are one object.
        key = (
            need.folder,
            id(need.spec),
            need.run,
            need.dataset,
            need.renderer,
            need.evalset,
            repr(need.gates),
            need.gated,
            need.error,
        )
        if key not in checked:
            checked[key] = _checked(session, need)
            _add(session, plan, checked[key])
        plan.needs[item.nodeid] = _told_once(_with_device(session, item, checked[key]), item.nodeid, told)
        plan.bodies = plan.bodies or "tunix_train" in fixtures_of(item)
    return plan


def broken_plan(items: Sequence[pytest.Item], error: TunixEvalError) -> Plan:
    """Return a plan under which every item fails with the same line: nothing of ours can work."""
    return Plan({item.nodeid: Need(item.path.parent, error=str(error)) for item in items})


def _checked(session: Session, need: Need) -> Need:
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
    if need.spec is not None:
        session.registry.scorers(need.spec.scorers)
        session.prepared(need.spec)
        for reference in need.spec.evalsets:
            session.evalset(reference)
    if need.dataset is not None:
        session.dataset(need.dataset)
    if need.renderer is not None:
        make_format(session.registry, renderer=need.renderer, tokenizer="bytes", style=None)
    if need.evalset is not None:
        evalset = session.evalset(need.evalset)
        if need.spec is not None:
            session.prepared(need.spec).check_contamination(evalset)


def _check_run(session: Session, need: Need, spec: RunSpec) -> Need:
    identity = session.identity(spec)
    truncated = identity.stop_after is not None
    for gate in need.gates:
        check_metric(spec, gate)
        evalset = gate_evalset(session, spec, gate, need.evalset)
        session.prepared(spec).check_contamination(evalset)
        if gate.than:
            other = session.spec(run_file_path(gate.than, need.folder), {})
            if session.recorded(other) is None and not session.options.train:
                return _skipped(session, need, missing_run(other, session.identity(other)))
        if gate.rule == "no_worse" and not truncated:
            if session.options.update_baselines:
                baseline_specs(session, spec, evalset)
            else:
                comparable_baseline(session, spec, evalset, gate.metric)
    if session.recorded(spec) is not None:
        return need
    if not session.options.train:
        return _skipped(session, need, missing_run(spec, identity))
    _check_room(session, spec, identity)
    return need


def _skipped(session: Session, need: Need, reason: str) -> Need:
    if session.options.require and need.gated:
        return replace(need, error=f"{reason} (--tunix-require: a gate may not be skipped)")
    return replace(need, skip=reason)


def _told_once(need: Need, nodeid: str, told: dict[str, str]) -> Need:
    """Shorten an error of many lines where an earlier item has it in full."""
    if need.error is None or "\n" not in need.error:
        return need
    first = told.setdefault(need.error, nodeid)
    return need if first == nodeid else replace(need, error=f"{need.error.splitlines()[0]} (more: see {first})")


def _with_device(session: Session, item: pytest.Item, need: Need) -> Need:
    mark = item.get_closest_marker("tunix_device")
    if mark is None or need.error:
        return need
    unknown = mark.kwargs.keys() - {"kind", "min_count"}
    if unknown:
        named = ", ".join(sorted(unknown))
        return replace(need, error=f"marker tunix_device takes kind and min_count, found {named}")
    kind = mark.args[0] if mark.args else mark.kwargs.get("kind")
    count = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("min_count", 1)
    if kind not in {"cpu", "gpu", "tpu"} or not isinstance(count, int):
        return replace(
            need, error=f"marker tunix_device takes cpu, gpu or tpu and a min_count, found {kind!r}, {count!r}"
        )
    if session.device.platform == kind and session.device.count >= count:
        return need
    here = f"{session.device.count} of {session.device.platform}"
    return _skipped(session, need, f"needs {count} of {kind}; the session has {here}")


def _check_room(session: Session, spec: RunSpec, identity: Identity) -> None:
    """Refuse a training that cannot fit: no place to write, too little disk, too little memory for the weights."""
    folder = session.store.root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ArtifactError(
            f"{session.store.root}: cannot be written: {folder} is "
            f"{'read-only' if folder.is_dir() else 'no directory'}; name another with --tunix-artifacts DIR"
        )
    if spec.trainer != "flax":
        return  # Only the built-in decoder's size is known from its spec.
    weights = 4 * _parameters(spec, session.prepared(spec).format.tokenizer.vocab_size)
    needed, free = weights * 3 * _CHECKPOINTS_AT_ONCE, shutil.disk_usage(folder).free
    if needed > free:
        raise ArtifactError(
            f"{folder}: run '{spec.name}' ({identity.run_id}) needs about {_size(needed)} for checkpoints, "
            f"{_size(free)} are free; free space or name another directory with --tunix-artifacts DIR"
        )
    needed = weights * _COPIES_IN_TRAINING
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if session.device.platform == "cpu" and needed > memory:
        raise TrainingError(
            f"run '{spec.name}' ({identity.run_id}) needs at least {_size(needed)} of memory for weights, gradients "
            f"and optimizer state, the machine has {_size(memory)}; make width or layers smaller"
        )


def _parameters(spec: RunSpec, vocab_size: int) -> int:
    """Return the parameter count of the decoder's matrices."""
    sizes = spec.model.sizes()
    width, mlp = sizes["width"], sizes["mlp_width"]
    return sizes["layers"] * (4 * width * width + 3 * width * mlp) + vocab_size * width


def _add(session: Session, plan: Plan, need: Need) -> None:
    """Count what a need that can be met will cause."""
    if need.error or need.skip or need.spec is None or not need.run:
        return
    specs = [need.spec]
    for gate in need.gates:
        if gate.than:
            specs.append(session.spec(run_file_path(gate.than, need.folder), {}))
        if gate.rule == "no_worse" and session.options.update_baselines and not session.identity(need.spec).stop_after:
            specs += baseline_specs(session, need.spec, gate_evalset(session, need.spec, gate, need.evalset))
    for spec in specs:
        identity = session.identity(spec)
        if session.recorded(spec) is not None:
            plan.reused[identity.run_id] = spec
        else:
            plan.training[identity.run_id] = (spec, identity.stop_after or session.prepared(spec).total_steps)
    plan.evalsets |= {session.evalset(need.evalset).name} if need.evalset else set()
    for gate in need.gates:
        evalset = gate_evalset(session, need.spec, gate, need.evalset)
        plan.evalsets.add(evalset.name)
        text = f"{gate.rule}({gate.metric}) of {need.spec.name} on {evalset.name}"
        if gate.rule == "no_worse":
            path = baseline_path(session, need.spec, evalset)
            text += f", baseline {path.relative_to(session.root) if path.is_relative_to(session.root) else path}"
        if text not in plan.gates:
            plan.gates.append(text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
