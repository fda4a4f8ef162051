"""What fixtures hand to tests: one evalset item, and the gates of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from tunix_eval.errors import SpecError, unknown_name
from tunix_eval.plugin.gating import compared_run, gate_evalset, judge, skip_truncated
from tunix_eval.plugin.needs import Need, need_of
from tunix_eval.plugin.prepare import Format, make_format
from tunix_eval.plugin.reporting import with_short_paths
from tunix_eval.plugin.runs import Run, run_file_path
from tunix_eval.plugin.session import Session
from tunix_eval.records import Completion, EvalItem, Evalset, ScoredItem, Verdict
from tunix_eval.specs import GateSpec
from tunix_eval.tables import validated


@dataclass(frozen=True)
class Case:
    """One evalset item."""

    session: Session
    evalset: Evalset
    item: EvalItem
    node: pytest.Item | None = None

    def bound(self, node: pytest.Item) -> Case:
        """Return the case as seen by one test, whose markers name the run."""
        return replace(self, node=node)

    @property
    def id(self) -> str:
        """The item's id."""
        return str(self.item.id)

    @property
    def prompt(self) -> str:
        """The item's prompt."""
        return self.item.prompt

    @property
    def expected_answer(self) -> str:
        """The answer that is expected."""
        return self.item.expected_answer

    @property
    def scored(self) -> ScoredItem:
        """The item with its completion and scores; the whole evalset is completed at first use."""
        if self.node is None:
            raise SpecError("a case belongs to a test; take the fixture tunix_case")
        need = need_of(self.session, self.node)
        evaluation = self.session.evaluation(self.session.run(need.the_spec()), self.evalset)
        return next(scored for scored in evaluation.scored if scored.item.id == self.item.id)

    @property
    def completion(self) -> Completion:
        """What the trained model wrote for the item."""
        return self.scored.completion

    def score(self, metric: str = "exact") -> float | None:
        """Return the item's value under one of the run file's scorers; None where it could not be measured."""
        scores = self.scored.scores
        if metric not in scores:
            raise unknown_name("metric", metric, scores)
        return scores[metric].value

    def __repr__(self) -> str:
        return f"Case({self.id!r})"


@dataclass
class Gate:
    """The gates of a test's run. A gate that fails fails the test with its reason."""

    session: Session
    run: Run
    need: Need
    checked: bool = False
    """Whether the marked gates have been decided; a test that leaves them undecided fails."""

    def check(self) -> list[Verdict]:
        """Decide every gate that the test's markers name."""
        if not self.need.gates:
            raise SpecError("no gate: mark the test with @pytest.mark.tunix_gate(rule, metric=...)")
        self.checked = True
        verdicts = [self._verdict(gate, compared_run(self.session, gate, self.need.folder)) for gate in self.need.gates]
        enforce(self.session, verdicts)
        return verdicts

    def no_worse(self, metric: str, **arguments: Any) -> Verdict:
        """Fail if the run is proven worse than its baseline; arguments: evalset, alpha, margin."""
        return self._decide(self._gate("no_worse", metric, arguments))

    def better(self, metric: str, *, than: Run | str, **arguments: Any) -> Verdict:
        """Fail unless the run is proven better than another run, or a run file's; arguments: evalset, alpha."""
        if isinstance(than, str):
            than = self.session.run(self.session.spec(run_file_path(than, self.need.folder), {}))
        return self._decide(self._gate("better", metric, arguments | {"than": than.spec.name}), than)

    def at_least(self, metric: str, value: float | None = None, **arguments: Any) -> Verdict:
        """Fail if the metric's mean is below the value."""
        return self._decide(self._gate("at_least", metric, arguments | {"value": value}))

    def __repr__(self) -> str:
        return f"Gate({self.run.spec.name!r})"

    def _gate(self, rule: str, metric: str, arguments: dict[str, Any]) -> GateSpec:
        return validated(GateSpec, {"rule": rule, "metric": metric} | arguments, where=f"tunix_gate.{rule}")

    def _decide(self, gate: GateSpec, than: Run | None = None) -> Verdict:
        verdict = self._verdict(gate, than)
        enforce(self.session, [verdict])
        return verdict

    def _verdict(self, gate: GateSpec, than: Run | None) -> Verdict:
        evalset = gate_evalset(self.session, self.run.spec, gate, self.need.evalset)
        return verdict_of(self.session, self.run, gate, evalset, than)


def verdict_of(session: Session, run: Run, gate: GateSpec, evalset: Evalset, than: Run | None) -> Verdict:
    """Decide a gate; one of a truncated run is skipped."""
    if run.truncated or (than is not None and than.truncated):
        return skip_truncated(session, run, gate, evalset)
    session.before_and_after(run, evalset)
    return judge(session, run, gate, evalset, than=than)


def enforce(session: Session, verdicts: list[Verdict]) -> None:
    """Fail the test with the reason of every failed gate; a skipped one skips it, or fails it under --tunix-require."""
    failed = [verdict.reason for verdict in verdicts if verdict.outcome == "failed"]
    skipped = [verdict.reason for verdict in verdicts if verdict.outcome == "skipped"]
    if skipped and session.options.require:
        failed.append(f"{skipped[0]} (--tunix-require: a gate may not be skipped)")
    if failed:
        pytest.fail(with_short_paths(session.config, "\n".join(failed)), pytrace=False)
    if skipped:
        pytest.skip(skipped[0])


def format_of(session: Session, need: Need) -> Format:
    """Return renderer, tokenizer and style: the marker's renderer, else the run file's."""
    if need.renderer is not None:
        tokenizer = need.spec.tokenizer if need.spec else "bytes"
        style = need.spec.style if need.spec else None
        return make_format(session.registry, renderer=need.renderer, tokenizer=tokenizer, style=style)
    if need.spec is None and need.dataset is not None:
        return make_format(session.registry, renderer="plain", tokenizer="bytes", style=None)
    return session.prepared(need.the_spec()).format
