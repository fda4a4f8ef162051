"""Item against item: reference tables, scipy, statsmodels, and calibration by simulation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from tunix_eval.gate.paired import compare_items, mcnemar

TABLES = json.loads((Path(__file__).parent / "data/paired_tables.json").read_text())
counts = st.integers(0, 60)


def labels(table):
    return [str(cluster) for cluster in table["clusters"]] if "clusters" in table else None


@pytest.mark.parametrize("table", TABLES, ids=[f"{i}-{one['kind']}" for i, one in enumerate(TABLES)])
def test_every_reference_table_is_reproduced(table):
    found = compare_items(table["baseline"], table["current"], alpha=0.05, clusters=labels(table))
    p, interval = ("p_drop_midp", "tango_90") if table["kind"] == "binary" else ("p_drop", "interval_90")
    assert found.p_value == pytest.approx(table[p], abs=1e-9)
    assert found.worsening == pytest.approx(-table["delta"], abs=1e-9)
    assert (-found.interval[1], -found.interval[0]) == pytest.approx(table[interval], abs=1e-9)


@pytest.mark.parametrize("table", [one for one in TABLES if one["kind"] == "binary"], ids=lambda one: f"n{one['n']}")
def test_exact_and_mid_p_mcnemar_give_the_reference_tables(table):
    assert mcnemar(table["lost"], table["won"], mid_p=False) == pytest.approx(table["p_drop_exact"], abs=1e-9)
    assert mcnemar(table["lost"], table["won"]) == pytest.approx(table["p_drop_midp"], abs=1e-9)


@settings(deadline=None)
@given(counts, counts)
def test_mcnemar_agrees_with_scipy_and_statsmodels(lost, won):
    if lost + won:
        expected = stats.binomtest(lost, lost + won, alternative="greater").pvalue
        assert mcnemar(lost, won, mid_p=False) == pytest.approx(expected, abs=1e-9)
    both = min(1.0, 2 * min(mcnemar(lost, won, mid_p=False), mcnemar(won, lost, mid_p=False)))
    assert both == pytest.approx(statsmodels_mcnemar([[5, lost], [won, 5]], exact=True).pvalue, abs=1e-9)


@settings(deadline=None)
@given(counts, counts)
def test_mid_p_of_both_directions_sums_to_one(lost, won):
    assert mcnemar(lost, won) + mcnemar(won, lost) == pytest.approx(1.0, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30), st.floats(0, 0.3))
def test_paired_t_with_a_margin_agrees_with_scipy(pairs, margin):
    first, second = [a for a, _ in pairs] + [0.25, 0.5], [b for _, b in pairs] + [0.5, 0.25]
    found = compare_items(first, second, alpha=0.05, margin=margin)
    expected = stats.ttest_1samp(np.subtract(first, second), margin, alternative="greater").pvalue
    assert found.p_value == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 60), st.sampled_from([0.02, 0.05, 0.2]))
def test_tangos_test_rejects_a_margin_exactly_where_tangos_interval_excludes_it(lost, won, stays, margin):
    first = [1.0] * lost + [0.0] * won + [1.0] * stays
    second = [0.0] * lost + [1.0] * won + [1.0] * stays
    found = compare_items(first, second, alpha=0.05, margin=margin)
    assert found.method == "Tango's score test"
    assert (found.p_value < 0.05) == (found.interval[0] > margin)


def test_a_fair_table_by_hand():
    # Lost 3, won 1: P(X = 4) + P(X = 3) / 2 over 4 coins is (1 + 4 / 2) / 16.
    found = compare_items([1.0, 1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0], alpha=0.05)
    assert found.p_value == pytest.approx(3 / 16)
    assert (found.lost, found.won, found.worsening) == (3, 1, pytest.approx(0.4))


def test_scores_that_cluster_are_never_given_to_mcnemar():
    first, second = [1.0] * 10 + [0.0] * 10, [0.0] * 10 + [0.0] * 10
    clusters = [f"c{i // 5}" for i in range(20)]
    assert compare_items(first, second, alpha=0.05, clusters=clusters).method == "cluster t, 4 clusters"
    assert "McNemar" in compare_items(first, second, alpha=0.05, clusters=[f"c{i}" for i in range(20)]).method


def test_one_graded_item_decides_nothing():
    found = compare_items([0.9], [0.1], alpha=0.05)
    assert (found.p_value, found.interval, found.detectable) == (None, None, None)


@pytest.mark.parametrize(("shift", "p"), [(0.0, 0.5), (0.25, 0.125), (-0.25, 0.875)])
def test_three_equal_changes_are_three_signs(shift, p):
    found = compare_items([0.5, 0.75, 1.0], [0.5 - shift, 0.75 - shift, 1.0 - shift], alpha=0.05)
    assert (found.p_value, found.interval) == (p, None)
    assert bool(found.notes) == (shift != 0)


@settings(deadline=None)
@given(st.integers(2, 40), st.sampled_from([0.125, 0.25, 0.5]), st.sampled_from([0.0, 0.25]))
def test_equal_changes_agree_with_the_binomial_test_of_scipy(n, shift, margin):
    first = [0.5 + 0.25 * (index % 3) for index in range(n)]
    found = compare_items(first, [value - shift for value in first], alpha=0.05, margin=margin)
    beyond = stats.binomtest(n, n, alternative="greater").pvalue
    assert found.p_value == pytest.approx({1: beyond, 0: 0.5, -1: 1 - beyond}[int(np.sign(shift - margin))])
    assert found.interval == ((shift, shift) if beyond <= 0.05 else None)


def test_a_change_that_differs_from_the_margin_by_rounding_alone_is_the_margin():
    # 0.9 - 0.8 is 0.09999999999999998, 0.4 - 0.3 is 0.10000000000000003.
    for first, second in ((0.9, 0.8), (0.4, 0.3)):
        assert compare_items([first] * 6, [second] * 6, alpha=0.05, margin=0.1).p_value == 0.5


def test_equal_changes_of_clusters_are_one_sign_a_cluster():
    first, clusters = [0.5] * 12, [f"c{index // 4}" for index in range(12)]
    found = compare_items(first, [0.25] * 12, alpha=0.05, clusters=clusters)
    assert (found.p_value, found.dof) == (0.125, 2)
    assert found.method == "exact sign test in place of cluster t, 3 clusters"
    assert found.notes == ("the change is the same for all items, which hides its spread: sign test of 3 clusters",)


@pytest.mark.parametrize("clusters", [None, ["a", "a", "b", "c"]])
def test_scores_too_large_for_a_standard_error_prove_nothing(clusters):
    found = compare_items([1e200, 2e200, 5e200, 3e200], [0.0, 1e200, 1e200, 0.0], alpha=0.05, clusters=clusters)
    assert (found.p_value, found.interval, found.stderr) == (None, None, None)
    assert found.notes == ("the scores are too large for a standard error",)


@pytest.mark.parametrize(("flips", "least"), [(0.42, 0.03), (0.28, 0.03), (0.07, 0.015)])
def test_mid_p_keeps_alpha_at_100_items(flips, least):
    rng = np.random.default_rng(7)
    discordant = rng.binomial(100, flips, size=20_000)
    lost = rng.binomial(discordant, 0.5)
    table = {(a, b): mcnemar(int(a), int(b)) for a, b in set(zip(lost, discordant - lost, strict=True))}
    alarms = np.mean([table[pair] <= 0.05 for pair in zip(lost, discordant - lost, strict=True)])
    assert least < alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
