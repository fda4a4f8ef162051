"""Holm's correction: statsmodels, and what may change."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from statsmodels.stats.multitest import multipletests

from tunix_eval.gate import corrected, decide, family_of
from tunix_eval.records import RunScores, Verdict
from tunix_eval.specs import GateSpec


def verdict(p, rule="no_worse", outcome=None, alpha=0.05):
    """A verdict as its own p value has it, unless another outcome is said."""
    if outcome is None:
        outcome = "failed" if (p <= alpha) == (rule == "no_worse") else "passed"
    return Verdict(
        rule=rule,
        metric="exact",
        run_name="addition",
        run_id="r",
        evalset="heldout",
        outcome=outcome,
        reason="why",
        unit="items",
        method="m",
        p_value=p,
        alpha=alpha,
    )


@settings(deadline=None, max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_are_those_of_statsmodels(ps):
    found = [one.adjusted_p for one in corrected([verdict(p) for p in ps], "holm")]
    assert found == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["no_worse", "better", "non_inferior"])), min_size=1))
def test_alarms_become_rarer_and_proofs_harder(pairs):
    before = [verdict(p, rule) for p, rule in pairs]
    for old, new in zip(before, corrected(before, "holm"), strict=True):
        assert new.adjusted_p >= old.p_value
        assert (new.outcome == "failed") == ((new.adjusted_p <= 0.05) == (new.rule == "no_worse"))
        assert new.outcome == old.outcome or (old.outcome, new.rule) in {
            ("failed", "no_worse"),
            ("passed", "better"),
            ("passed", "non_inferior"),
        }


def test_three_gates_by_hand():
    found = corrected([verdict(0.03), verdict(0.001), verdict(0.9)], "holm")
    assert [one.adjusted_p for one in found] == pytest.approx([0.06, 0.003, 0.9])
    assert [one.outcome for one in found] == ["passed", "failed", "passed"]
    assert found[0].reason == "why; p 0.060 after Holm over 3 gates"


def scores(name, right, n=40):
    values = {f"i{i:02d}": float(i < right) for i in range(n)}
    return RunScores(run_id=name, seed=0, weights_sha256=name, values=values)


def decided(right, count, baselines):
    """The verdict of a model with so many of 40 right, 16 before, where so many gates share a correction."""
    return decide(
        GateSpec(rule="no_worse", metric="exact"),
        run_name="addition",
        evalset="heldout",
        current=[scores("now", right)],
        reference=[scores(f"before{i}", 16) for i in range(baselines)],
        lower_is_better=False,
        bounds=(0.0, 1.0),
        family=count,
    )


@pytest.mark.parametrize(
    ("count", "baselines", "outcome"),
    [(1, 1, "failed"), (10, 1, "undecided"), (10, 5, "failed")],
)
def test_what_no_corrected_gate_finds_is_undecided(count, baselines, outcome):
    """Of one baseline run a collapse has p 0.04, which ten gates take away; no drop could have failed it then."""
    found = corrected([decided(2, count, baselines), *[verdict(0.9)] * (count - 1)], "holm")[0]
    assert found.outcome == outcome
    assert ("undecided because" in found.reason) == (outcome == "undecided")


def test_passing_is_judged_by_the_corrected_level():
    alone, one_of_ten = decided(16, 1, 2), decided(16, 10, 2)
    assert (alone.outcome, one_of_ten.outcome) == ("passed", "undecided")
    assert alone.p_value == one_of_ten.p_value


def test_gates_that_test_share_a_correction():
    gates = [GateSpec(rule="no_worse", metric="exact"), GateSpec(rule="at_least", metric="exact", value=0.5)]
    assert family_of(gates * 3, "holm") == 3
    assert family_of(gates, None) == family_of(gates[1:], "holm") == 1


def test_an_alarm_that_passed_by_its_rule_stays_passed():
    blind = verdict(0.0001, outcome="passed")
    assert [one.outcome for one in corrected([blind, verdict(0.5)], "holm")] == ["passed", "passed"]


def test_a_skipped_proof_stays_skipped():
    assert corrected([verdict(0.2, "non_inferior", "skipped"), verdict(0.5)], "holm")[0].outcome == "skipped"


def test_a_non_inferior_beyond_its_margin_stays_failed():
    assert corrected([verdict(0.99, "non_inferior", "failed"), verdict(0.5)], "holm")[0].outcome == "failed"


def test_verdicts_without_a_p_value_stay_and_do_not_count():
    threshold, missing = verdict(None, "at_least", "passed"), verdict(None, "no_worse", "failed")
    found = corrected([threshold, verdict(0.04), missing], "holm")
    assert found[0] == threshold
    assert found[2] == missing
    assert (found[1].adjusted_p, found[1].outcome) == (0.04, "failed")


def test_without_a_correction_nothing_changes():
    verdicts = [verdict(0.04), verdict(0.04)]
    assert corrected(verdicts, None) == verdicts


@pytest.mark.parametrize(("unproven", "outcome"), [("fail", "failed"), ("skip", "skipped")])
def test_a_proof_that_the_correction_takes_away_is_unproven(unproven, outcome):
    proven = replace(verdict(0.04, "non_inferior"), unproven=unproven)
    first, _ = corrected([proven, verdict(0.5)], "holm")
    assert (proven.outcome, first.outcome, first.adjusted_p) == ("passed", outcome, 0.08)
