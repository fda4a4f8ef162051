"""Rules: what passes, what fails, and what the verdict says."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import SpecError
from tunix_eval.gate import decide
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

N = 200


def run(right, run_id, *, weights=None, start=0, n=N):
    """A run that has `right` of n items right, from item `start` on."""
    values = {f"i{index:03d}": float((index - start) % n < right) for index in range(n)}
    return RunScores(run_id=run_id, seed=0, weights_sha256=weights or run_id, values=values)


def graded(values, run_id, weights=None):
    pairs = {f"i{index}": value for index, value in enumerate(values)}
    return RunScores(run_id=run_id, seed=0, weights_sha256=weights or run_id, values=pairs)


def judge(rule, current, reference=(), *, lower_is_better=False, clusters=None, **arguments):
    gate = GateSpec(rule=rule, metric="exact", **arguments)
    return decide(
        gate,
        run_name="addition",
        evalset="heldout",
        current=current,
        reference=reference,
        lower_is_better=lower_is_better,
        clusters=clusters,
    )


BASELINE = [run(right, f"b{right}") for right in (192, 190, 194, 191, 193)]


# ---------------------------------------------------------------------------------------------- unchanged weights


def test_unchanged_weights_are_compared_item_by_item_with_the_run_that_has_them():
    verdict = judge("no_worse", [run(186, "now", weights="b194")], BASELINE)
    assert (verdict.unit, verdict.method) == ("items", "mid-p McNemar, Tango's interval")
    assert verdict.reference == pytest.approx(194 / N)
    assert verdict.n_runs == 1
    assert "same weights as baseline run b194" in verdict.notes


def test_unchanged_weights_with_eight_lost_items_and_none_won_fail():
    verdict = judge("no_worse", [run(186, "now", weights="b194")], BASELINE)
    assert verdict.outcome == "failed"
    assert verdict.p_value == pytest.approx(0.5**9)
    assert verdict.delta == pytest.approx(-0.04)
    assert verdict.interval[0] < -0.04 < verdict.interval[1] < 0


def test_unchanged_weights_with_the_same_scores_pass():
    verdict = judge("no_worse", [run(194, "now", weights="b194")], BASELINE)
    assert (verdict.outcome, verdict.delta, verdict.p_value) == ("passed", 0.0, 0.5)


def test_a_margin_allows_the_drop_and_is_tested_by_tangos_score():
    verdict = judge("no_worse", [run(186, "now", weights="b194")], BASELINE, margin=0.05)
    assert (verdict.outcome, verdict.method, verdict.margin) == ("passed", "Tango's score test", 0.05)


def test_graded_scores_are_compared_by_paired_t():
    before = [0.5 + 0.01 * (index % 7) for index in range(30)]
    after = [value - 0.05 - 0.002 * (index % 3) for index, value in enumerate(before)]
    verdict = judge("no_worse", [graded(after, "now", "w")], [graded(before, "then", "w")])
    assert (verdict.outcome, verdict.method) == ("failed", "paired t")


def test_clustered_items_are_compared_by_cluster_t():
    clusters = {f"i{index:03d}": f"c{index // 10}" for index in range(N)}
    plain = judge("no_worse", [run(186, "now", weights="b194")], BASELINE)
    verdict = judge("no_worse", [run(186, "now", weights="b194")], BASELINE, clusters=clusters)
    assert (plain.outcome, verdict.outcome) == ("failed", "passed")
    assert verdict.method == "cluster t, 20 clusters"


# ----------------------------------------------------------------------------------------------------- retrained


def test_a_retrained_run_is_compared_by_run_means():
    verdict = judge("no_worse", [run(191, "now", start=50)], BASELINE)
    assert (verdict.outcome, verdict.unit, verdict.n_runs) == ("passed", "runs", 5)
    assert verdict.reference == pytest.approx(192 / N)


def test_a_retrained_run_far_below_the_baseline_runs_fails():
    # sd of the means is sqrt(2.5) / 200; t = 12 / sqrt(2.5 * 1.2) = 6.93 on 4 degrees of freedom, p 0.0011.
    verdict = judge("no_worse", [run(180, "now")], BASELINE)
    assert verdict.outcome == "failed"
    assert verdict.p_value == pytest.approx(0.00114, abs=1e-5)


def test_a_margin_shifts_the_comparison_of_runs():
    assert judge("no_worse", [run(180, "now")], BASELINE, margin=0.06).outcome == "passed"


def test_five_perfect_runs_do_not_condemn_a_run_with_one_mistake():
    perfect = [run(200, f"b{seed}") for seed in range(5)]
    verdict = judge("no_worse", [run(199, "now")], perfect)
    assert (verdict.outcome, verdict.unit) == ("passed", "items")
    assert any("noise cannot be seen" in note for note in verdict.notes)
    assert judge("no_worse", [run(190, "now")], perfect).outcome == "failed"


def test_one_baseline_run_proves_nothing_and_says_so():
    verdict = judge("no_worse", [run(150, "now")], BASELINE[:1])
    assert verdict.outcome == "passed"
    assert verdict.p_value < 1e-6
    assert any("seeds is unknown" in note for note in verdict.notes)
    assert "seeds is unknown" in verdict.reason


def test_one_baseline_run_fails_only_with_an_explicit_margin():
    assert judge("no_worse", [run(150, "now")], BASELINE[:1], margin=0.0).outcome == "failed"
    assert judge("no_worse", [run(150, "now")], BASELINE[:1], margin=0.3).outcome == "passed"


# ------------------------------------------------------------------------------------------------- lower is better


def test_a_rise_fails_where_lower_is_better():
    before = [1.0 + 0.01 * (index % 5) for index in range(20)]
    after = [value + 0.2 + 0.01 * (index % 3) for index, value in enumerate(before)]
    worse = judge("no_worse", [graded(after, "now", "w")], [graded(before, "then", "w")], lower_is_better=True)
    assert worse.outcome == "failed"
    assert worse.delta == pytest.approx(0.2095, abs=1e-3)
    assert worse.interval[0] < worse.delta < worse.interval[1]
    assert "rise 0.209" in worse.reason
    better = judge("no_worse", [graded(before, "now", "w")], [graded(after, "then", "w")], lower_is_better=True)
    assert better.outcome == "passed"
    assert "fall 0.209" in better.reason


def test_at_least_refuses_a_metric_that_is_better_when_lower():
    with pytest.raises(SpecError, match="lower is better for 'exact'"):
        judge("at_least", [run(190, "now")], value=0.9, lower_is_better=True)


# -------------------------------------------------------------------------------------------- better and at_least


def test_better_passes_when_the_gain_is_proven():
    verdict = judge("better", [run(190, "now")], [run(4, "other")], than="other.toml")
    assert (verdict.outcome, verdict.margin) == ("passed", None)
    assert verdict.delta == pytest.approx(0.93)
    assert verdict.interval[0] < 0.93 < verdict.interval[1]
    assert "lost 0, won 186; gain 0.930" in verdict.reason


def test_better_fails_without_proof_and_for_the_same_scores():
    assert judge("better", [run(191, "now")], [run(190, "other")], than="x").outcome == "failed"
    assert judge("better", [run(190, "now")], [run(190, "other")], than="x").outcome == "failed"
    assert judge("better", [run(100, "now")], [run(190, "other")], than="x").outcome == "failed"


def test_better_reads_a_lower_value_as_better_where_that_is_declared():
    low, high = graded([0.1, 0.12, 0.11, 0.13], "now"), graded([0.9, 0.95, 0.8, 0.85], "other")
    assert judge("better", [low], [high], than="x", lower_is_better=True).outcome == "passed"
    assert judge("better", [high], [low], than="x", lower_is_better=True).outcome == "failed"


def test_better_compares_run_means_where_a_side_has_several_runs():
    verdict = judge("better", BASELINE, [run(100, "o1"), run(104, "o2")], than="x")
    assert (verdict.outcome, verdict.unit, verdict.n_runs) == ("passed", "runs", 2)


def test_at_least_holds_at_the_threshold_itself():
    assert judge("at_least", [run(180, "now")], value=0.9).outcome == "passed"
    verdict = judge("at_least", [run(179, "now")], value=0.9)
    assert (verdict.outcome, verdict.unit, verdict.p_value) == ("failed", "none", None)
    assert verdict.reason == "addition/exact: 0.895 over 200 items, at least 0.9 was asked for"


# ------------------------------------------------------------------------------------------------------ fail closed


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("side", ["current", "reference"])
@pytest.mark.parametrize("rule", ["no_worse", "better"])
def test_an_item_without_a_value_fails_the_gate_and_is_named(rule, side, value):
    sound, broken = run(190, "sound"), run(190, "broken")
    broken.values["i007"] = value
    sides = ([broken], [sound]) if side == "current" else ([sound], [broken])
    verdict = judge(rule, *sides, **({"than": "x"} if rule == "better" else {}))
    assert verdict.outcome == "failed"
    assert f"1 item (i007) of 200 without a value in {side} run broken" in verdict.reason


def test_at_least_fails_where_a_value_is_missing():
    broken = run(200, "now")
    broken.values["i000"] = None
    assert judge("at_least", [broken], value=0.5).outcome == "failed"


def test_other_items_fail_the_gate_and_are_named():
    verdict = judge("no_worse", [run(190, "now")], [run(190, "b", n=195)])
    assert verdict.outcome == "failed"
    assert "5 items (i195, i196, i197, ..)" in verdict.reason


def test_no_items_and_no_baseline_never_pass():
    assert judge("at_least", [graded([], "now")], value=0.0).outcome == "failed"
    assert judge("at_least", [], value=0.0).outcome == "failed"
    verdict = judge("no_worse", [run(190, "now")], [])
    assert verdict.outcome == "failed"
    assert "--tunix-update-baselines" in verdict.reason


def test_one_graded_item_never_passes_no_worse():
    assert judge("no_worse", [graded([0.9], "now", "w")], [graded([0.9], "b", "w")]).outcome == "failed"


# ----------------------------------------------------------------------------------------------------------- wording


def test_the_reason_is_one_paragraph_with_every_figure():
    before = run(196, "b", weights="w")
    values = dict(before.values)
    lost, won = [f"i{index:03d}" for index in range(17)], [f"i{index:03d}" for index in range(196, 199)]
    values |= dict.fromkeys(lost, 0.0) | dict.fromkeys(won, 1.0)
    now = RunScores(run_id="now", seed=0, weights_sha256="w", values=values)
    assert judge("no_worse", [now], [before]).reason == (
        "addition/exact: 0.980 -> 0.910 over 200 items (lost 17, won 3; drop 0.070, 90% interval 0.036 to 0.110, "
        "p 0.0007, allowed 0); mid-p McNemar, Tango's interval; a drop of 0.055 would be found 80 times in 100; "
        "same weights as baseline run b"
    )


def test_the_reason_for_run_means_counts_the_runs():
    reason = judge("no_worse", [run(180, "now"), run(182, "more")], BASELINE).reason
    assert reason.startswith(
        "addition/exact: 0.960 -> 0.905 over 200 items, 2 runs against 5 (drop 0.055, 90% interval"
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=5), st.integers(0, 40), st.sampled_from([0.01, 0.05, 0.2]))
def test_no_worse_fails_exactly_when_the_p_value_reaches_alpha(rights, right, alpha):
    reference = [run(one, f"b{index}", n=40) for index, one in enumerate(rights)]
    verdict = judge("no_worse", [run(right, "now", n=40)], reference, alpha=alpha)
    assert (verdict.outcome == "failed") == (verdict.p_value <= alpha)
    assert verdict.interval[0] <= verdict.delta + 1e-12
    assert verdict.delta - 1e-12 <= verdict.interval[1]
    assert verdict.delta == pytest.approx(verdict.current - verdict.reference)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.integers(0, 30))
def test_the_order_of_items_and_runs_changes_nothing(rights, right):
    reference = [run(one, f"b{index}", n=30) for index, one in enumerate(rights)]
    turned = [
        RunScores(run_id=one.run_id, seed=0, weights_sha256=one.run_id, values=dict(reversed(one.values.items())))
        for one in reversed(reference)
    ]
    assert judge("no_worse", [run(right, "now", n=30)], reference) == judge(
        "no_worse", [run(right, "now", n=30)], turned
    )
