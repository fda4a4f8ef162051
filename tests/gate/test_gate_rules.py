"""Rules: what passes, what fails, and what the verdict says."""

import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

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


def judge(rule, current, reference=(), *, lower_is_better=False, clusters=None, bounds=None, **arguments):
    gate = GateSpec(rule=rule, metric="exact", **arguments)
    return decide(
        gate,
        run_name="addition",
        evalset="heldout",
        current=current,
        reference=reference,
        lower_is_better=lower_is_better,
        clusters=clusters,
        bounds=bounds,
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


def test_several_runs_that_each_have_a_twin_are_compared_by_the_item_means_of_both_sides():
    # 8 of 200 items are lost by one run of two: -0.5 each.
    now = [run(186, "now", weights="b194"), run(190, "more", weights="b190")]
    verdict = judge("no_worse", now, BASELINE)
    assert (verdict.unit, verdict.n_current, verdict.n_runs) == ("items", 2, 2)
    assert verdict.method == "paired t, item means over runs"
    assert "same weights as baseline runs b194, b190" in verdict.notes
    assert (verdict.current, verdict.reference) == (pytest.approx(188 / N), pytest.approx(192 / N))
    expected = stats.ttest_1samp([0.5] * 8 + [0.0] * 192, 0, alternative="greater").pvalue
    assert verdict.p_value == pytest.approx(expected, abs=1e-9)


def test_one_twin_does_not_hide_the_other_current_runs():
    now = [run(194, "now", weights="b194"), run(0, "r1"), run(0, "r2")]
    verdict = judge("non_inferior", now, BASELINE, margin=0.05, runs=3)
    assert (verdict.outcome, verdict.unit, verdict.n_current) == ("failed", "runs", 3)
    assert verdict.current == pytest.approx(194 / 3 / N)


def test_a_run_that_was_trained_again_to_other_weights_is_no_twin_of_the_one_with_its_id_and_seed():
    verdict = judge("no_worse", [run(186, "b194", weights="other bits")], BASELINE)
    assert (verdict.unit, verdict.n_runs) == ("runs", 5)


@pytest.mark.parametrize("side", ["current", "reference"])
@pytest.mark.parametrize("rule", [{"rule": "no_worse"}, {"rule": "at_least", "value": 0.9}])
def test_a_verdict_says_what_the_platform_of_its_runs_does_not_promise(rule, side):
    reason = "gpu without --xla_gpu_deterministic_ops"
    now = run(194, "now", weights="b194")
    runs = {"current": [now], "reference": BASELINE}
    runs[side] = [msgspec.structs.replace(one, unpromised_bits=reason) for one in runs[side]]
    verdict, promised = judge(**rule, **runs), judge(**rule, current=[now], reference=BASELINE)
    note = f"{reason}: a run trained or evaluated again may differ; this verdict is of this run alone"
    # It changes what is said, and nothing that is decided.
    assert verdict == msgspec.structs.replace(
        promised, notes=(*promised.notes, note), reason=f"{promised.reason}; {note}"
    )


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
    # sd of the means is sqrt(2.5) / 200; t = 12 / sqrt(2.5 * 1.2) = 6.93 on 4 degrees of freedom would be p 0.0011.
    verdict = judge("no_worse", [run(180, "now")], BASELINE)
    assert verdict.outcome == "failed"
    assert 0.0005 < verdict.p_value < 0.002


def test_a_margin_shifts_the_comparison_of_runs():
    assert judge("no_worse", [run(180, "now")], BASELINE, margin=0.06).outcome == "passed"


def test_five_perfect_runs_do_not_condemn_a_run_with_one_mistake():
    perfect = [run(200, f"b{seed}") for seed in range(5)]
    verdict = judge("no_worse", [run(199, "now")], perfect)
    assert (verdict.outcome, verdict.unit) == ("passed", "runs")
    # One mistake in six runs falls to the last of them once in six.
    assert 0.05 < verdict.p_value < 1 / 6
    assert judge("no_worse", [run(190, "now")], perfect).outcome == "failed"


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(("before", "after"), [(73, 5), (196, 20)], ids=["0.364 -> 0.027", "0.98 -> 0.1"])
def test_few_baseline_runs_find_a_collapse(before, after, runs):
    """Once the two fresh runs that a near drop trains have collapsed as well."""
    reference = [run(before + 2 * seed, f"b{seed}", start=7 * seed) for seed in range(runs)]
    current = [run(after + seed, f"n{seed}", start=11 * seed) for seed in range(3)]
    verdict = judge("no_worse", current, reference, bounds=(0.0, 1.0))
    assert (verdict.outcome, verdict.n_runs) == ("failed", runs)


@pytest.mark.parametrize(("right", "outcome"), [(12, "failed"), (10, "failed"), (18, "passed")])
def test_twenty_items_show_a_collapse_from_one_run(right, outcome):
    """Completions from elsewhere, for which no second look can be had."""
    verdict = judge("no_worse", [run(right, "now", n=20)], [run(20, "b", n=20)], bounds=(0.0, 1.0))
    assert verdict.outcome == outcome


def test_one_baseline_run_passes_an_honest_retraining_and_says_what_it_would_find():
    verdict = judge("no_worse", [run(188, "now", start=30)], BASELINE[:1], bounds=(0.0, 1.0))
    assert (verdict.outcome, verdict.unit, verdict.n_runs) == ("passed", "runs", 1)
    assert 0.1 < verdict.detectable < 0.3
    assert "prior on the noise between seeds" in verdict.method


def test_an_interval_stays_within_what_can_change():
    free, bounded = (
        judge("no_worse", [run(5, "now", n=10)], [run(10, "b", n=10)], bounds=bounds) for bounds in (None, (0.0, 1.0))
    )
    assert free.interval[0] < -1
    assert bounded.interval[0] == -1
    assert -1 < bounded.interval[1] < free.interval[1]
    assert "to 1.000, p 0.060" in bounded.reason


def test_one_baseline_run_near_the_bad_end_decides_nothing():
    verdict = judge("no_worse", [run(30, "now", start=30)], [run(32, "b")], bounds=(0.0, 1.0))
    assert verdict.outcome == "undecided"
    assert "the largest drop that there can be is 0.160, and the least that would be found is" in verdict.undecided
    assert "give it more items, or more baseline runs where it trains" in verdict.undecided


def test_a_declared_seed_noise_takes_the_place_of_the_usual_one():
    sides = [run(170, "now")], BASELINE[:1]
    assert judge("no_worse", *sides).outcome == "passed"
    assert judge("no_worse", *sides, seed_noise=0.005).outcome == "failed"


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


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_thresholds_are_plain_whichever_side_is_better(lower_is_better):
    now = [graded([60.0, 80.0, 100.0], "now")]
    found = [
        judge(rule, now, value=value, lower_is_better=lower_is_better).outcome
        for rule, value in (("at_most", 80), ("at_most", 79.9), ("at_least", 80), ("at_least", 80.1))
    ]
    assert found == ["passed", "failed", "passed", "failed"]


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


def test_better_compares_run_means_though_one_run_has_the_same_weights():
    verdict = judge("better", [run(190, "now", weights="o1")], [run(100, "o1"), run(104, "o2")], than="x")
    assert (verdict.outcome, verdict.unit, verdict.n_runs) == ("passed", "runs", 2)


def test_at_least_holds_at_the_threshold_itself():
    assert judge("at_least", [run(180, "now")], value=0.9).outcome == "passed"
    verdict = judge("at_least", [run(179, "now")], value=0.9)
    assert (verdict.outcome, verdict.unit, verdict.p_value) == ("failed", "none", None)
    # Wilson's interval of 179 in 200.
    known = "0.895 over 200 items (95% interval 0.845 to 0.930)"
    assert verdict.reason == f"addition/exact: {known}, at least 0.9 was asked for"


def test_a_threshold_on_several_runs_has_the_interval_of_their_means():
    # Means 0.955, 0.960, 0.965: 0.96 +- 4.3027 * 0.005 / sqrt(3).
    reason = judge("at_most", [run(right, f"r{right}") for right in (191, 192, 193)], value=0.99).reason
    mean = "0.960 over 200 items, mean of 3 runs (95% interval 0.948 to 0.972)"
    assert reason == f"addition/exact: {mean}, at most 0.99 was asked for"


def test_a_threshold_on_clustered_items_has_the_interval_of_the_clusters():
    clusters = {f"i{index:03d}": f"c{index // 100}" for index in range(N)}
    # Two clusters, 100 and 90 right, whose mean has an error of 0.05: 19 trials, of which t on 1 degree of freedom
    # leaves 0.45. Wilson's interval of so few is wide, but no rate is over 1.
    reason = judge("at_least", [run(190, "now")], value=0.9, clusters=clusters).reason
    assert "0.950 over 200 items (95% interval 0.095 to 1.000)" in reason


# --------------------------------------------------------------------------------------------------- non_inferior


def test_non_inferior_passes_when_a_drop_of_the_margin_is_excluded():
    now = run(192, "now", weights="b194")
    verdict = judge("non_inferior", [now], BASELINE, margin=0.05)
    assert (verdict.outcome, verdict.method, verdict.margin) == ("passed", "Tango's score test", 0.05)
    assert verdict.interval[0] > -0.05
    assert "against a drop of 0.05, needs p at most 0.05" in verdict.reason


def test_non_inferior_fails_when_a_drop_beyond_the_margin_is_proven():
    verdict = judge("non_inferior", [run(170, "now", weights="b194")], BASELINE, margin=0.05)
    assert verdict.outcome == "failed"
    assert "proven to exceed the margin, p " in verdict.reason
    assert "not proven" not in verdict.reason


@pytest.mark.parametrize(("unproven", "outcome"), [("fail", "failed"), ("skip", "skipped")])
def test_in_between_non_inferior_proves_nothing_and_says_what_it_would_take(unproven, outcome):
    now = run(186, "now", weights="b194", start=4)
    verdict = judge("non_inferior", [now], BASELINE, margin=0.03, unproven=unproven)
    assert verdict.outcome == outcome
    assert verdict.interval[0] < -0.03 < verdict.interval[1]
    # 8 of 200 items flip; under the hypothesis q = (0.1 + sqrt(0.01 - 4 * 0.04 * 0.03 * 1.03)) / 4 are lost, so that
    # the test's variance is 2 q - 0.03 * 1.03 = 0.0547: (1.645 * sqrt(0.0547) + 0.842 * sqrt(0.04))^2 / 0.03^2 is 340.
    assert "not proven: passing 80 times in 100 if nothing changed takes about 340 items (has 200)" in verdict.reason


def test_a_test_that_cannot_be_made_is_no_unproven_one():
    one = [graded([0.9], "now", "w")], [graded([0.9], "b", "w")]
    assert judge("non_inferior", *one, margin=0.1, unproven="skip").outcome == "failed"


def test_a_retrained_non_inferior_counts_the_runs_that_it_would_take():
    verdict = judge("non_inferior", [run(190, "now", start=9)], BASELINE, margin=0.02)
    assert (verdict.outcome, verdict.unit, verdict.n_runs) == ("failed", "runs", 5)
    assert "if nothing changed takes about " in verdict.reason
    assert "assumes that training seeds move both sides equally" in verdict.reason


def test_a_proof_over_several_runs_a_side_is_welchs_and_takes_no_noise_for_equal():
    graded_runs = [
        [graded([mean - 0.1, mean, mean + 0.1], f"{side}{index}") for index, mean in enumerate(means)]
        for side, means in (("n", (0.70, 0.76, 0.73)), ("b", (0.75, 0.752, 0.748, 0.751)))
    ]
    verdict = judge("non_inferior", *graded_runs, margin=0.1)
    expected = stats.ttest_ind(
        [0.75 - 0.1, 0.752 - 0.1, 0.748 - 0.1, 0.751 - 0.1], [0.70, 0.76, 0.73], equal_var=False, alternative="less"
    )
    assert verdict.method == "Welch's t on run means"
    assert verdict.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert not verdict.notes


def test_the_worse_side_of_a_proof_is_at_least_as_noisy_as_its_own_items():
    """Three current runs with one mean by chance, 20 of whose 200 items flip: they do not count as noiseless."""
    baseline = [run(right, f"b{right}", start=right) for right in (196, 195, 197, 196, 195)]
    current = [run(188, f"n{seed}", start=60 * seed) for seed in range(3)]
    verdict = judge("non_inferior", current, baseline, margin=0.05)
    # 36 items are wrong in one run of three: item noise sqrt(36 * 2/3 / 2 / 199 * 200) / 200 of a mean.
    own = 36 * (2 / 3) / 2 * 200 / 199 / 200**2
    assert verdict.interval[1] - verdict.interval[0] > 2 * stats.norm.ppf(0.95) * math.sqrt(own / 3)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=20), st.floats(0.01, 0.3), st.booleans()
)
def test_non_inferior_of_graded_scores_agrees_with_scipy(pairs, margin, lower):
    before, after = [a for a, _ in pairs] + [0.25, 0.5], [b for _, b in pairs] + [0.5, 0.25]
    sides = [graded(after, "now", "w")], [graded(before, "b", "w")]
    verdict = judge("non_inferior", *sides, margin=margin, lower_is_better=lower)
    drops = np.subtract(after, before) if lower else np.subtract(before, after)
    expected = stats.ttest_1samp(drops, margin, alternative="less").pvalue
    assert verdict.p_value == pytest.approx(expected, abs=1e-9)
    assert (verdict.outcome == "passed") == (verdict.p_value <= 0.05)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 60), st.sampled_from([0.02, 0.05, 0.2]))
def test_non_inferior_passes_exactly_where_the_interval_ends_before_the_margin(lost, won, stays, margin):
    before = graded([1.0] * lost + [0.0] * won + [1.0] * stays, "b", "w")
    after = graded([0.0] * lost + [1.0] * won + [1.0] * stays, "now", "w")
    verdict = judge("non_inferior", [after], [before], margin=margin)
    assert (verdict.outcome == "passed") == (verdict.interval[0] > -margin)


# ------------------------------------------------------------------------------------------------------- max_drop


def test_max_drop_fails_beyond_what_it_allows_and_not_at_it():
    before = [run(190, "b", weights="w")]
    outcomes = [judge("max_drop", [run(right, "n", weights="w")], before, drop=0.05).outcome for right in (180, 179)]
    assert outcomes == ["passed", "failed"]
    outcomes = [judge("max_drop", [run(right, "n", weights="w")], before, drop="10%").outcome for right in (171, 170)]
    assert outcomes == ["passed", "failed"]


def test_max_drop_reads_a_rise_as_worse_where_lower_is_better():
    sides = [graded([1.2, 1.3], "now", "w")], [graded([1.0, 1.0], "b", "w")]
    assert judge("max_drop", *sides, drop="20%", lower_is_better=True).outcome == "failed"
    assert judge("max_drop", *sides, drop="20%", lower_is_better=False).outcome == "passed"


def test_max_drop_says_how_often_it_fails_though_nothing_changed():
    # sd of the baseline means sqrt(2.5) / 200; allowed 0.01 * 0.96: about t = 0.0096 / (sd * sqrt(1.2)) on 4 degrees.
    verdict = judge("max_drop", [run(191, "now", start=9)], BASELINE, drop="1%")
    expected = stats.t.sf(0.0096 / (math.sqrt(2.5) / 200 * math.sqrt(1.2)), 4)
    assert verdict.false_alarms == pytest.approx(expected, abs=0.1)
    assert f"this rule fails {100 * verdict.false_alarms:.0f} times in 100 though nothing changed" in verdict.reason
    assert (verdict.unit, verdict.p_value, verdict.margin) == ("runs", None, pytest.approx(0.0096))


@pytest.mark.parametrize(
    ("drop", "right", "message"),
    [
        ("2%", 0, "max_drop 2% of a baseline of 0 is 0, no share of anything; name a number"),
        (0.05, 4, "max_drop 0.05 never fails against a baseline of 0.02: the largest drop there can be is 0.02"),
    ],
)
def test_a_drop_that_no_run_can_fail_is_refused(drop, right, message):
    sides = [run(right, "now")], [run(right, "b1"), run(right, "b2", start=9)]
    with pytest.raises(SpecError, match=re.escape(f"addition/exact: {message}")):
        judge("max_drop", *sides, drop=drop, bounds=(0.0, 1.0))


# ------------------------------------------------------------------------------------------- what a verdict prints


def test_exact_mcnemar_is_an_option():
    verdict = judge("no_worse", [run(186, "now", weights="b194")], BASELINE, test="exact")
    assert (verdict.p_value, verdict.method) == (pytest.approx(0.5**8), "exact McNemar, Tango's interval")


@pytest.mark.parametrize("lower", [False, True])
def test_a_paired_t_has_a_bootstrap_interval_of_the_change_beside_it(lower):
    rng = np.random.default_rng(2)
    before = rng.random(40)
    after = before - 0.05 + 0.1 * rng.random(40)
    sides = [graded(after.tolist(), "now", "w")], [graded(before.tolist(), "b", "w")]
    verdict = judge("no_worse", *sides, lower_is_better=lower)
    assert verdict.bootstrap[0] < verdict.delta < verdict.bootstrap[1]
    assert verdict.bootstrap == pytest.approx(verdict.interval, abs=0.003)
    assert "; bootstrap " in verdict.reason


def test_the_bootstrap_is_the_same_bits_whatever_the_order_of_the_items():
    before, after = graded([0.1, 0.5, 0.3, 0.8], "b", "w"), graded([0.2, 0.4, 0.6, 0.5], "now", "w")
    turned = [
        RunScores(run_id=one.run_id, seed=0, weights_sha256="w", values=dict(reversed(one.values.items())))
        for one in (after, before)
    ]
    assert judge("no_worse", [turned[0]], [turned[1]]) == judge("no_worse", [after], [before])


def test_zero_one_and_clustered_scores_have_no_bootstrap():
    assert judge("no_worse", [run(186, "now", weights="b194")], BASELINE).bootstrap is None
    clusters = {f"i{index}": "c" for index in range(2)}
    sides = [graded([0.1, 0.5, 0.3], "now", "w")], [graded([0.2, 0.4, 0.6], "b", "w")]
    assert judge("no_worse", *sides, clusters=clusters).bootstrap is None


def test_a_figure_on_the_wrong_scale_is_refused_before_anything_is_decided():
    gate = GateSpec(rule="at_least", metric="exact", value=90)
    with pytest.raises(SpecError, match="value 90 is on the wrong scale"):
        decide(gate, run_name="r", evalset="e", current=[], lower_is_better=False, bounds=(0.0, 1.0))


# ------------------------------------------------------------------------------------------------------ fail closed


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize("side", ["current", "reference"])
@pytest.mark.parametrize("rule", ["no_worse", "better", "non_inferior", "max_drop"])
def test_an_item_without_a_value_fails_the_gate_and_is_named(rule, side, value):
    sound, broken = run(190, "sound"), run(190, "broken")
    broken.values["i007"] = value
    sides = ([broken], [sound]) if side == "current" else ([sound], [broken])
    needs = {"better": {"than": "x"}, "non_inferior": {"margin": 0.1, "unproven": "skip"}, "max_drop": {"drop": "50%"}}
    verdict = judge(rule, *sides, **needs.get(rule, {}))
    assert verdict.outcome == "failed"
    assert f"1 item (i007) of 200 without a value in {side} run broken" in verdict.reason


def test_at_least_fails_where_a_value_is_missing():
    broken = run(200, "now")
    broken.values["i000"] = None
    assert judge("at_least", [broken], value=0.5).outcome == "failed"


@pytest.mark.parametrize("side", ["current", "reference"])
@pytest.mark.parametrize(("value", "seen"), [(100.0, "100"), (7.0, "7"), (-0.5, "-0.5")])
def test_a_value_out_of_bounds_fails_the_gate_and_is_named(side, value, seen):
    sound, broken = run(190, "sound"), run(190, "broken")
    broken.values["i007"] = value
    sides = ([broken], [sound]) if side == "current" else ([sound], [broken])
    verdict = judge("non_inferior", *sides, margin=0.5, unproven="skip", bounds=(0.0, 1.0))
    assert verdict.outcome == "failed"
    found = f"item i007 has {seen} in {side} run broken, but exact lies from 0 to 1"
    assert verdict.reason == f"addition/exact: {found}; restore its record, or score it again"


def test_a_bound_itself_and_a_mean_of_repeats_at_it_are_taken():
    repeated = sum([0.1] * 3) / 3
    assert repeated > 0.1
    verdict = judge("at_least", [graded([0.0, 0.1, repeated], "now")], value=0.05, bounds=(0.0, 0.1))
    assert verdict.outcome == "passed"


@pytest.mark.parametrize("rule", ["no_worse", "non_inferior", "better"])
def test_scores_too_large_for_a_standard_error_never_pass(rule):
    sides = [graded([1e200, 2e200, 4e200], "now", "w")], [graded([2e200, 4e200, 9e200], "b", "w")]
    needs = {"better": {"than": "x"}, "non_inferior": {"margin": 0.1, "unproven": "skip"}}
    verdict = judge(rule, *sides, **needs.get(rule, {}))
    assert (verdict.outcome, verdict.p_value, verdict.interval) == ("failed", None, None)
    assert "too large for a standard error" in verdict.reason


def test_two_equal_drops_prove_nothing():
    sides = [graded([0.4, 0.6], "now", "w")], [graded([0.5, 0.7], "b", "w")]
    assert judge("no_worse", *sides).outcome == "undecided"
    assert judge("non_inferior", *sides, margin=0.2).outcome == "failed"


def test_a_share_that_never_fails_is_refused():
    with pytest.raises(SpecError, match="drop 150% never fails"):
        judge("max_drop", [run(1, "now")], BASELINE, drop="150%", bounds=(0.0, 1.0))


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


# --------------------------------------------------------------------------------------- what could not have failed


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize(("right", "outcome"), [(0, "undecided"), (2, "undecided"), (40, "passed")])
def test_a_test_that_cannot_find_the_worst_drop_does_not_pass(right, outcome, lower):
    """Equal weights, nothing changed, 200 items: it takes 5 to 7 lost items to be found."""
    right = N - right if lower else right
    sides = [run(right, "now", weights="w")], [run(right, "b", weights="w")]
    verdict = judge("no_worse", *sides, lower_is_better=lower, bounds=(0.0, 1.0))
    assert verdict.outcome == outcome
    assert (verdict.undecided is not None) == (outcome == "undecided")
    if outcome == "undecided":
        assert verdict.undecided in verdict.reason


def test_a_metric_without_an_end_has_no_worst_drop():
    sides = [graded([1.0, 1.5, 1.2], "now", "w")], [graded([1.1, 1.4, 1.2], "b", "w")]
    passed = {"lower_is_better": True, "bounds": (0.0, math.inf)}
    assert judge("no_worse", *sides, **passed).outcome == "passed"
    assert judge("no_worse", *sides, bounds=(1.0, 2.0)).outcome == "passed"
    assert judge("no_worse", *sides, bounds=(1.0, math.inf), margin=0.2).outcome == "undecided"


def test_a_margin_beyond_the_worst_drop_proves_nothing():
    sides = [run(8, "now", weights="w")], [run(8, "b", weights="w")]
    verdict = judge("non_inferior", *sides, margin=0.05, bounds=(0.0, 1.0))
    assert verdict.outcome == "undecided"
    assert "no drop can reach the margin: the largest that there can be is 0.04" in verdict.reason
    assert judge("non_inferior", *sides, margin=0.035, bounds=(0.0, 1.0)).outcome == "passed"


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


SPREAD = [0.1 + 0.8 * (index * 37 % 50) / 50 for index in range(50)]


@pytest.mark.parametrize("bounds", [(0.0, 1.0), None])
@pytest.mark.parametrize("lower", [False, True])
def test_unchanged_graded_scores_of_one_model_pass(bounds, lower):
    sides = [graded(SPREAD, "now", "w")], [graded(SPREAD, "then", "w")]
    assert judge("no_worse", *sides, bounds=bounds, lower_is_better=lower).outcome == "passed"


def test_unchanged_scores_in_clusters_pass_where_a_fall_is_found():
    sides = [run(40, "now", weights="w", n=50)], [run(40, "then", weights="w", n=50)]
    labels = {f"i{index:03d}": f"c{index % 10}" for index in range(50)}
    assert judge("no_worse", *sides, clusters=labels, bounds=(0.0, 1.0)).outcome == "passed"
    # One cluster has no standard error, of 0 nothing can fall, and one right item of 50 says too little.
    one = dict.fromkeys(labels, "c")
    assert judge("no_worse", *sides, clusters=one, bounds=(0.0, 1.0)).outcome == "failed"
    for right in (0, 1):
        low = [run(right, "now", weights="w", n=50)], [run(right, "then", weights="w", n=50)]
        assert judge("no_worse", *low, clusters=labels, bounds=(0.0, 1.0)).outcome == "undecided"


@pytest.mark.parametrize("runs", [1, 5])
@pytest.mark.parametrize("weights", ["w", None])
def test_rounding_alone_is_no_drop(runs, weights):
    then = [graded([0.1 + 0.2] * 50, f"then{index}", weights) for index in range(runs)]
    verdict = judge("no_worse", [graded([0.3] * 50, "now", weights)], then, bounds=(0.0, 1.0))
    assert (verdict.outcome, verdict.p_value) == ("passed", 0.5)
    assert judge("no_worse", [graded([0.29] * 50, "now", weights)], then, bounds=(0.0, 1.0)).outcome == "failed"


def test_rounding_is_no_noise_to_prove_by():
    sides = [[graded([0.97] * 4, f"{side}{index}") for index in range(3)] for side in ("now", "then")]
    verdict = judge("non_inferior", *sides, bounds=(0.0, 1.0), margin=0.02)
    assert verdict.outcome == "failed"
    assert "their noise cannot be seen" in verdict.reason
