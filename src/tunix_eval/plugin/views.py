"""What fixtures hand to tests: one evalset item, and the gates of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tunix_eval.errors import SpecError, unknown_name
from tunix_eval.plugin.evaluation import item_means
from tunix_eval.plugin.gating import AGAINST_BASELINE, compared_spec, gate_evalset, judge
from tunix_eval.plugin.needs import Need, need_of
from tunix_eval.plugin.prepare import Format, format_of_spec, make_format
from tunix_eval.plugin.reporting import with_short_paths
from tunix_eval.plugin.rows import eval_rows
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.sources import Source
from tunix_eval.plugin.state import PLAN_KEY
from tunix_eval.records import Completion, EvalItem, Evalset, ScoredItem, Verdict
from tunix_eval.run_files import run_file_path
from tunix_eval.specs import AnySpec, GateSpec, RunSpec
from tunix_eval.tables import validated


class CaseSet:
    """The items of an evalset, as the tests of one function see them."""

    def __init__(self, session: Session, evalset: Evalset) -> None:
        self.session = session
        self.evalset = evalset
        self._scored: dict[int, Mapping[str, tuple[ScoredItem, ...]]] = {}

    def scored(self, node: pytest.Item, item_id: str) -> tuple[ScoredItem, ...]:
        """Return an item's completions and scores; the whole evalset is completed at first use."""
        spec = self._spec(node)
        # The session keeps its specs, so that one spec is one object.
        if id(spec) not in self._scored:
            by_item: dict[str, tuple[ScoredItem, ...]] = {}
            evaluation = self.session.evaluation(self.session.source(spec), self.evalset)
            self.session.rows.extend(eval_rows(evaluation, None))
            for one in evaluation.scored:
                by_item[one.completion.item_id] = (*by_item.get(one.completion.item_id, ()), one)
            self._scored[id(spec)] = by_item
        return self._scored[id(spec)][item_id]

    def is_scored(self, node: pytest.Item) -> bool:
        """Tell whether the evalset was completed for a test, so that asking again cannot fail."""
        return bool(self._scored) and id(self._spec(node)) in self._scored

    def _spec(self, node: pytest.Item) -> AnySpec:
        plan = node.config.stash.get(PLAN_KEY, None)
        need = plan.needs.get(node.nodeid) if plan else None
        return (need or need_of(self.session, node)).the_spec()


@dataclass(frozen=True)
class Case:
    """One evalset item."""

    cases: CaseSet
    item: EvalItem
    node: pytest.Item | None = None

    def bound(self, node: pytest.Item) -> Case:
        """Return the case as seen by one test, whose markers name the run."""
        return Case(self.cases, self.item, node)

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
    def repeats(self) -> tuple[ScoredItem, ...]:
        """The item with each of its completions and their scores."""
        if self.node is None:
            raise SpecError("a case belongs to a test; take the fixture tunix_case")
        return self.cases.scored(self.node, self.id)

    @property
    def scored(self) -> ScoredItem:
        """The item with its first completion, and the means of its completions' scores."""
        return item_means(self.repeats)[0]

    @property
    def completion(self) -> Completion:
        """What was written for the item; the first of its repeats."""
        return self.repeats[0].completion

    def score(self, metric: str = "exact") -> float | None:
        """Return the item's value under one of the run file's scorers; None where it could not be measured."""
        scores = self.scored.scores
        if metric not in scores:
            raise unknown_name("metric", metric, scores)
        return scores[metric].value

    def story(self) -> str:
        """Write down what was asked, expected and, if it was had, written, for a test that failed."""
        lines = [f"prompt    {_indented(self.prompt)}", f"expected  {_indented(self.expected_answer)}"]
        had = self.node is not None and self.cases.is_scored(self.node)
        for one in self.repeats if had else ():
            scores = ", ".join(f"{name} {score.value}" for name, score in one.scores.items())
            lines += [
                f"wrote     {_indented(one.completion.text)}",
                f"answer    {_indented(str(one.completion.answer))} ({one.completion.status}); {scores}",
            ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Case({self.id!r})"


@dataclass
class Gate:
    """The gates of a test's run. A gate that fails fails the test with its reason."""

    session: Session
    need: Need
    checked: bool = False
    """Whether the marked gates have been decided; a test that never decides them fails."""
    decided: bool = False
    """Whether any gate has been decided; a test that takes the fixture and decides none fails."""

    @property
    def spec(self) -> AnySpec:
        """Whose completions are judged."""
        return self.need.the_spec()

    def check(self) -> list[Verdict]:
        """Decide every gate that the test's markers name."""
        if not self.need.gates:
            raise SpecError("no gate: mark the test with @pytest.mark.tunix_gate(rule, metric=...)")
        self.checked = True
        verdicts = [
            self._verdict(gate, compared_spec(self.session, gate, self.need.folder)) for gate in self.need.gates
        ]
        enforce(self.session, verdicts)
        return verdicts

    def no_worse(self, metric: str, **arguments: Any) -> Verdict:
        """Fail if a drop below the baseline is proven; arguments: evalset, alpha, margin, confirm, test."""
        return self._decide("no_worse", metric, arguments)

    def non_inferior(self, metric: str, margin: float, **arguments: Any) -> Verdict:
        """Fail unless a drop beyond the margin is excluded; arguments: evalset, alpha, runs, unproven."""
        return self._decide("non_inferior", metric, arguments | {"margin": margin})

    def better(self, metric: str, *, than: Source | str, **arguments: Any) -> Verdict:
        """Fail unless the run is proven better than another, or a run file's; arguments: evalset, alpha, runs, test."""
        if not hasattr(than, "spec") and not isinstance(than, str):
            raise SpecError(f"tunix_gate.better: than is {than!r}, expected a run (tunix_train(...)) or a run file")
        if isinstance(than, str):
            other: AnySpec | Source = self.session.library.spec(run_file_path(than, self.need.folder), {})
            return self._decide("better", metric, arguments | {"than": than}, other)
        named = arguments | {"than": than.spec.name}
        return self._decide("better", metric, named, than.spec if isinstance(than.spec, RunSpec) else than)

    def at_least(self, metric: str, value: float | None = None, **arguments: Any) -> Verdict:
        """Fail if the metric's mean is below the value."""
        return self._decide("at_least", metric, arguments | {"value": value})

    def at_most(self, metric: str, value: float | None = None, **arguments: Any) -> Verdict:
        """Fail if the metric's mean is above the value."""
        return self._decide("at_most", metric, arguments | {"value": value})

    def max_drop(self, metric: str, drop: float | str, **arguments: Any) -> Verdict:
        """Fail if the mean is worse than the baseline's by more than a share ("2%") or a number."""
        return self._decide("max_drop", metric, arguments | {"drop": drop})

    def __repr__(self) -> str:
        return f"Gate({self.spec.name!r})"

    def _decide(
        self, rule: str, metric: str, arguments: dict[str, Any], than: AnySpec | Source | None = None
    ) -> Verdict:
        gate = validated(GateSpec, {"rule": rule, "metric": metric} | arguments, where=f"tunix_gate.{rule}")
        verdict = self._verdict(gate, than)
        enforce(self.session, [verdict])
        return verdict

    def _verdict(self, gate: GateSpec, than: AnySpec | Source | None) -> Verdict:
        evalset = gate_evalset(self.session, self.spec, gate, self.need.evalset)
        self.decided = True
        return judge(self.session, self.spec, gate, evalset, than=than)


def _indented(text: str) -> str:
    """Return a text whose later lines cannot be taken for lines of the story."""
    return text.replace("\n", "\n          ")


def enforce(session: Session, verdicts: list[Verdict]) -> None:
    """Report verdicts, and fail the test with the reason of every failed one; an undecided or skipped one skips it.

    Under --tunix-require both fail. A session that writes baselines shows what does not pass against those that it
    replaces, and does what it was asked for.
    """
    session.rows.extend(verdicts)
    counted = [verdict for verdict in verdicts if not _replaced(session, verdict)]
    failed = [verdict.reason for verdict in counted if verdict.outcome == "failed"]
    # pytest has no outcome between passed and failed but this one; the table and the summary say which it is.
    skipped = [verdict.reason for word in ("undecided", "skipped") for verdict in counted if verdict.outcome == word]
    if skipped and session.options.require:
        word = "undecided" if any(verdict.outcome == "undecided" for verdict in verdicts) else "skipped"
        failed.append(f"{skipped[0]} (--tunix-require: a gate may not be {word})")
    if failed:
        pytest.fail(with_short_paths(session.config, "\n".join(failed)), pytrace=False)
    if skipped:
        pytest.skip(with_short_paths(session.config, skipped[0]))


def _replaced(session: Session, verdict: Verdict) -> bool:
    """Tell whether a verdict was decided against a baseline that this session replaces."""
    compared = verdict.rule in AGAINST_BASELINE and verdict.delta is not None
    return session.options.update_baselines and compared


def format_of(session: Session, need: Need) -> Format:
    """Return renderer, tokenizer and style: the marker's renderer, else the run file's."""
    if need.renderer is not None:
        spec = need.spec if isinstance(need.spec, RunSpec) else None
        if spec is not None:
            # Its options are those of the run file's own renderer.
            same = need.renderer == spec.renderer
            changed = spec if same else spec.model_copy(update={"renderer": need.renderer, "renderer_options": {}})
            return format_of_spec(session.registry, changed)
        return make_format(session.registry, renderer=need.renderer, tokenizer="bytes", style=None)
    if need.spec is None and need.dataset is not None:
        return make_format(session.registry, renderer="plain", tokenizer="bytes", style=None)
    if isinstance(need.the_spec(), RunSpec):
        return session.prepared(need.training()).format
    return session.weights(need.the_spec()).format
