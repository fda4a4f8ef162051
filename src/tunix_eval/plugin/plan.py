"""The plan: what every item needs, what is recorded already, and what a session will do for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tunix_eval.errors import BaselineError, TunixEvalError
from tunix_eval.gate import baseline_runs, needed
from tunix_eval.plugin.again import Changes
from tunix_eval.plugin.baselines import baseline_path, baseline_specs, comparable_baseline
from tunix_eval.plugin.checks import checked, gate_specs, skipped
from tunix_eval.plugin.determinism import Twice, twice_of
from tunix_eval.plugin.estimates import BaselineRuns, baseline_runs_of
from tunix_eval.plugin.gating import AGAINST_BASELINE, foreseen_of, gate_evalset
from tunix_eval.plugin.items import fixtures_of, is_gate
from tunix_eval.plugin.left_out import gates_left_out
from tunix_eval.plugin.markers import arguments
from tunix_eval.plugin.needs import Need, need_of
from tunix_eval.plugin.room import check_training, size_text, steps_done
from tunix_eval.plugin.rows import Note
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.state import TWICE_KEY
from tunix_eval.records import Evalset
from tunix_eval.specs import AnySpec, GateSpec, RunSpec

_SHOWN = 3
"""Runs of which a session says at its start why they are trained again."""
NOTHING_TO_WRITE = (
    "--tunix-update-baselines: no gate that compares with a baseline (no_worse, non_inferior, max_drop) is among the "
    "tests, so that none would be written; leave the option out, or choose tests with such a gate"
)
MOST_ERRORS = 10
"""Errors that are shown below the plan's line."""


@dataclass(frozen=True)
class Training:
    """A run that will be trained."""

    spec: RunSpec
    steps: int
    done: int
    """Of these steps, those that an earlier session has done."""
    size: str | None
    """`0.5M parameters, about 60 MB`, where that is known."""
    changes: Changes | None
    """In what it differs from the newest recorded run of its name, where there is one."""

    def line(self, run_id: str) -> str:
        """Say what is trained, and from where."""
        steps = f"{self.steps} steps" + (f", from step {self.done} on" if self.done else "")
        return "  ".join(filter(None, (self.spec.name, run_id, steps, self.size)))

    @property
    def is_another_seed(self) -> bool:
        """Whether nothing but its seed is new."""
        return self.changes is not None and [one.what for one in self.changes.found] == ["seed"]


@dataclass
class Plan:
    """What a session will do."""

    needs: dict[str, Need] = field(default_factory=dict)
    training: dict[str, Training] = field(default_factory=dict)
    """By run id."""
    reused: dict[str, RunSpec] = field(default_factory=dict)
    judged: dict[str, None] = field(default_factory=dict)
    """Names of the checkpoints and predictions that are judged."""
    evalsets: set[str] = field(default_factory=set)
    gates: list[str] = field(default_factory=list)
    baselines: dict[tuple[str, str], BaselineRuns] = field(default_factory=dict)
    """Run and evalset -> the runs of the baseline that will be written."""
    truncated: list[str] = field(default_factory=list)
    """What truncation does to the traces of runs that will be trained."""
    twice: dict[str, Twice] = field(default_factory=dict)
    """Item -> the training that it does twice."""
    bodies: bool = False
    """Whether a test body may ask for more."""

    def line(self) -> str:
        """Say in one line what will happen."""
        steps = sum(one.steps - one.done for one in self.training.values())
        parts = [
            f"{_count(len(self.training), 'run')} to train{f', {steps} steps' if steps else ''}",
            f"{len(self.reused)} reused",
            *([f"{_count(len(self.judged), 'other source')}"] if self.judged else []),
            _count(len(self.evalsets), "evalset"),
            _count(len(self.gates), "gate"),
        ]
        errors = Counter(bool(need.error) for need in self.needs.values())[True]
        if errors:
            parts.append(_count(errors, "test") + " that cannot run")
        skipped = sum(bool(need.skip) for need in self.needs.values())
        if skipped:
            parts.append(_count(skipped, "test") + " skipped, -rs says why")
        if self.twice:
            parts.append(f"{_count(len(self.twice), 'test')} that train{'s' if len(self.twice) == 1 else ''} twice")
        if self.bodies:
            parts.append("plus what test bodies ask for")
        return "tunix-eval: " + "; ".join(parts)

    def head(self) -> list[str]:
        """Say before anything is trained what will happen, why a run is trained again, and which tests cannot run."""
        again = [one for one in self.training.values() if one.changes is not None and not one.is_another_seed]
        lines = [f"  {one.spec.name} is trained again: {one.changes}" for one in again[:_SHOWN]]
        more = [f"  and {_count(len(again) - _SHOWN, 'run')} more, see --tunix-plan"] if len(again) > _SHOWN else []
        return [self.line(), *lines, *more, *self._baseline_lines(), *_shortened(self._error_lines())]

    def _baseline_lines(self) -> list[str]:
        return [f"  baseline  {run} on {evalset}: {one.text()}" for (run, evalset), one in self.baselines.items()]

    def lines(self) -> list[str]:
        """Say line by line what will happen, for --tunix-plan."""
        lines = [self.line()]
        for run_id, one in self.training.items():
            lines += [f"  train  {one.line(run_id)}", *([f"         for {one.changes}"] if one.changes else [])]
        lines += [f"  twice  {one.spec.name}  {one.steps} steps, by {node}" for node, one in self.twice.items()]
        lines += [f"  cut    {note}" for note in self.truncated]
        lines += [f"  reuse  {spec.name}  {run_id}" for run_id, spec in self.reused.items()]
        lines += [f"  judge  {name}" for name in self.judged]
        lines += [f"  eval   {name}" for name in sorted(self.evalsets)]
        lines += [f"  gate   {gate}" for gate in self.gates]
        lines += self._baseline_lines()
        lines += [f"  skip   {node}: {need.skip}" for node, need in self.needs.items() if need.skip]
        return lines + self._error_lines()

    def _error_lines(self) -> list[str]:
        """Say each error once, with the first item that has it and how many have."""
        items = Counter(need.same_as or node for node, need in self.needs.items() if need.error)
        return [
            f"  error  {node}{f' ({count} items)' if count > 1 else ''}: {self.needs[node].error}"
            for node, count in items.items()
        ]


def _shortened(errors: list[str]) -> list[str]:
    """Return the first line of the first errors; each test says its own in full."""
    more = [f"  and {len(errors) - MOST_ERRORS} more, --tunix-plan lists them"] if len(errors) > MOST_ERRORS else []
    return [*(error.splitlines()[0] for error in errors[:MOST_ERRORS]), *more]


def make_plan(session: Session, items: Sequence[pytest.Item], deselected: Sequence[pytest.Item] = ()) -> Plan:
    """Resolve what the items' markers and run files ask for against the registry and the records."""
    plan = Plan()
    known: dict[Any, Need] = {}
    told: dict[str, str] = {}
    updating = session.options.update_baselines
    refused = _update_refusals(session, items, deselected) if updating else {}
    nothing = updating and not any(_may_write(session, item) for item in items)
    for item in items:
        need = need_of(session, item)
        if nothing and not need.error:
            need = replace(need, error=NOTHING_TO_WRITE)
        if need.gated and need.spec is not None and need.spec.name in refused:
            need = replace(need, error=refused[need.spec.name])
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
        if key not in known:
            known[key] = checked(session, need)
            _add(session, plan, known[key])
        need = _with_twice(session, plan, item, _with_device(session, item, known[key]))
        plan.needs[item.nodeid] = _told_once(need, item.nodeid, told)
        plan.bodies = plan.bodies or "tunix_train" in fixtures_of(item)
    decided = {
        (need.spec.name, gate.rule, gate.metric) for need in plan.needs.values() if need.spec for gate in need.gates
    }
    collected = {item.path for item in (*items, *deselected)}
    session.rows += map(Note, gates_left_out(session, decided, collected))
    return plan


def _update_refusals(
    session: Session, items: Sequence[pytest.Item], deselected: Sequence[pytest.Item]
) -> dict[str, str]:
    """Return run name -> why its baseline may not be written: some gate of it may not be decided."""
    refused: dict[str, str] = {}
    for item in [*deselected, *(item for item in items if _is_skipped(item))]:
        if name := _gated_run(session, item):
            refused[name] = (
                f"--tunix-update-baselines: gate {item.nodeid} of run '{name}' is deselected or skipped; a baseline is "
                "written only where all gates of its run are decided. Leave out -k, -m and what else chooses tests"
            )
    named = {argument.split("::")[0] for argument in session.config.args if "::" in argument}
    files = {(session.config.invocation_params.dir / name).resolve() for name in named}
    for item in items:
        if item.path in files and (name := _gated_run(session, item)):
            refused[name] = (
                f"--tunix-update-baselines: single tests of {item.path} were named, so that other gates of run "
                f"'{name}' may not be decided on what becomes its baseline; name the file"
            )
    return refused


def _may_write(session: Session, item: pytest.Item) -> bool:
    """Tell whether an item may decide a gate that compares with a baseline; what a body decides is not known yet."""
    if not is_gate(item):
        return False
    gates = need_of(session, item).gates
    return not gates or any(gate.rule in AGAINST_BASELINE for gate in gates)


def _is_skipped(item: pytest.Item) -> bool:
    """Tell whether a marker skips an item for certain, or by a condition that is no text."""
    skips = item.get_closest_marker("skip") is not None
    return skips or any(mark.args[:1] == (True,) for mark in item.iter_markers("skipif"))


def _gated_run(session: Session, item: pytest.Item) -> str | None:
    """Return the name of the run that an item gates."""
    need = need_of(session, item)
    return need.spec.name if need.gated and need.spec is not None else None


def broken_plan(items: Sequence[pytest.Item], error: TunixEvalError) -> Plan:
    """Return a plan under which every item fails with the same line: nothing of ours can work."""
    told: dict[str, str] = {}
    needs = {item.nodeid: Need(item.path.parent, error=str(error)) for item in items}
    return Plan({nodeid: _told_once(need, nodeid, told) for nodeid, need in needs.items()})


def _told_once(need: Need, nodeid: str, told: dict[str, str]) -> Need:
    """Name the earlier item that has the same error, and shorten one of many lines."""
    if need.error is None:
        return need
    first = told.setdefault(need.error, nodeid)
    if first == nodeid:
        return need
    head, *more = need.error.splitlines()
    return replace(need, error=f"{head} (more: see {first})" if more else head, same_as=first)


def _with_device(session: Session, item: pytest.Item, need: Need) -> Need:
    mark = item.get_closest_marker("tunix_device")
    if mark is None or need.error:
        return need
    said = arguments(mark)
    kind, count = said.get("kind"), said.get("min_count", 1)
    if kind not in {"cpu", "gpu", "tpu"} or not isinstance(count, int) or isinstance(count, bool):
        return replace(
            need, error=f"marker tunix_device takes cpu, gpu or tpu and a min_count, found {kind!r}, {count!r}"
        )
    if session.device.platform == kind and session.device.count >= count:
        return need
    here = f"{session.device.count} of {session.device.platform}"
    return skipped(session, need, f"needs {count} of {kind}; the session has {here}")


def _with_twice(session: Session, plan: Plan, item: pytest.Item, need: Need) -> Need:
    """Note what an item with the marker tunix_deterministic trains, which is never recorded."""
    if need.error or need.skip:
        return need
    try:
        asked = twice_of(session, item)
        if asked is None:
            return need
        if not session.options.train:
            reason = f"trains '{asked.spec.name}' twice; do it with: pytest --tunix-train"
            return replace(skipped(session, need, reason), trains=True)
        check_training(session, asked.spec)
    except TunixEvalError as error:
        return replace(need, error=str(error))
    item.stash[TWICE_KEY] = plan.twice[item.nodeid] = asked
    return need


def _add(session: Session, plan: Plan, need: Need) -> None:
    """Count what a need that can be met will cause."""
    if need.error or need.skip or need.spec is None or not need.run:
        return
    specs: list[AnySpec] = [need.spec]
    for gate in need.gates:
        specs += gate_specs(session, need, need.spec, gate)
        truncated = isinstance(need.spec, RunSpec) and session.identity(need.spec).stop_after
        if gate.rule in AGAINST_BASELINE and session.options.update_baselines and not truncated:
            specs += _note_baseline(session, plan, need.spec, gate_evalset(session, need.spec, gate, need.evalset))
    for spec in specs:
        if not isinstance(spec, RunSpec):
            plan.judged[spec.name] = None
            continue
        identity = session.identity(spec)
        if session.recorded(spec) is not None:
            plan.reused[identity.run_id] = spec
        else:
            _note_truncation(session, plan, spec)
            steps = identity.stop_after or session.prepared(spec).total_steps
            done = steps_done(session, spec)
            plan.training[identity.run_id] = Training(
                spec, steps, done, size_text(session, spec), session.changes(spec)
            )
    plan.evalsets |= {session.library.evalset(need.evalset).name} if need.evalset else set()
    for gate in need.gates:
        evalset = gate_evalset(session, need.spec, gate, need.evalset)
        plan.evalsets.add(evalset.name)
        text = _gate_line(session, need.spec, gate, evalset)
        if text not in plan.gates:
            plan.gates.append(text)


def _note_baseline(session: Session, plan: Plan, spec: AnySpec, evalset: Evalset) -> list[AnySpec]:
    """Say which runs a baseline will hold, where they are trained here; return them."""
    specs = baseline_specs(session, spec, evalset)
    seeds = [one for one in specs if isinstance(one, RunSpec)]
    if seeds and (spec.name, evalset.name) not in plan.baselines:
        chosen = session.options.baseline_runs is not None or baseline_path(session, spec, evalset).exists()
        plan.baselines[spec.name, evalset.name] = baseline_runs_of(session, seeds, chosen=chosen)
    return specs


def _note_truncation(session: Session, plan: Plan, spec: RunSpec) -> None:
    """Say once at the end that traces are left out or cut."""
    note = session.prepared(spec).truncation_note
    if note is not None and note not in plan.truncated:
        plan.truncated.append(note)
        session.rows.append(Note(note))


def _gate_line(session: Session, spec: AnySpec, gate: GateSpec, evalset: Evalset) -> str:
    """Say what a gate compares with, and how much it needs."""
    text = f"{gate.rule}({gate.metric}) of {spec.name} on {evalset.name}"
    if gate.rule not in AGAINST_BASELINE:
        return text
    path = baseline_path(session, spec, evalset)
    text += f", baseline {path.relative_to(session.root) if path.is_relative_to(session.root) else path}"
    try:
        baseline = comparable_baseline(session, spec, evalset, gate.metric)
    except BaselineError:
        return text  # It is about to be written.
    reference = baseline_runs(baseline, gate.metric)
    finds = foreseen_of(session, spec, gate, evalset, reference)
    needs = needed(
        gate,
        reference=reference,
        n_items=len(evalset.items),
        lower_is_better=baseline.metrics[gate.metric].lower_is_better,
    )
    return "; ".join(filter(None, (text, finds, needs)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
