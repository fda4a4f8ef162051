"""Shared statistics against scipy, statsmodels and a second implementation of Tango's interval."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from tunix_eval import statistics

TABLES = json.loads((Path(__file__).parent / "gate/data/paired_tables.json").read_text())
scores = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40)


def constrained_score(won: int, lost: int, n: int, delta: float) -> float:
    """The score statistic with the likelihood maximised numerically instead of by Tango's closed form."""
    stays = n - won - lost
    low, high = max(0.0, -delta), (1 - delta) / 2

    def slope(q: float) -> float:
        gains = [(won, q + delta, 1), (lost, q, 1), (stays, 1 - 2 * q - delta, -2)]
        return sum(sign * count / rate for count, rate, sign in gains if count)

    inside = 1e-13
    left, right = low + inside, high - inside
    if slope(left) <= 0:
        q = low
    elif slope(right) >= 0:
        q = high
    else:
        q = optimize.brentq(slope, left, right, xtol=1e-15)
    return (won - lost - n * delta) / math.sqrt(n * (2 * q + delta - delta * delta))


def constrained_interval(won: int, lost: int, n: int, level: float) -> list[float]:
    z = stats.norm.ppf((1 + level) / 2)
    center = (won - lost) / n
    brackets = ((-1 + 1e-9, center - 1e-9, z), (center + 1e-9, 1 - 1e-9, -z))
    return [
        optimize.brentq(lambda d, target=target: constrained_score(won, lost, n, d) - target, low, high, xtol=1e-13)
        for low, high, target in brackets
    ]


@pytest.mark.parametrize("table", [one for one in TABLES if one["kind"] == "binary"], ids=lambda one: f"n{one['n']}")
def test_tango_and_wilson_give_the_reference_tables(table):
    found = statistics.tango_interval(table["won"], table["lost"], table["n"], 0.9)
    assert found == pytest.approx(table["tango_90"], abs=1e-9)
    rate = statistics.wilson_interval(sum(table["current"]), table["n"], 0.95)
    assert rate == pytest.approx(table["wilson_95_current"], abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 200), st.sampled_from([0.8, 0.9, 0.95]))
def test_tango_agrees_with_a_numerically_maximised_likelihood(won, lost, stays, level):
    n = won + lost + stays
    found = statistics.tango_interval(won, lost, n, level)
    assert found == pytest.approx(constrained_interval(won, lost, n, level), abs=1e-7)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_tango_mirrors_when_the_sides_are_exchanged_and_holds_the_difference(won, lost, stays):
    n = max(won + lost + stays, 1)
    low, high = statistics.tango_interval(won, lost, n, 0.9)
    mirrored = statistics.tango_interval(lost, won, n, 0.9)
    assert (-high, -low) == pytest.approx(mirrored, abs=1e-12)
    assert -1 <= low <= (won - lost) / n <= high <= 1


def test_tango_reaches_the_end_where_every_item_is_won():
    low, high = statistics.tango_interval(9, 0, 9, 0.9)
    assert high == 1.0
    assert 0.5 < low < 0.6


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(successes, n, level):
    successes = min(successes, n)
    expected = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert statistics.wilson_interval(successes, n, level) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(scores)
def test_a_mean_and_its_error_agree_with_scipy(values):
    found = statistics.mean_estimate(values)
    assert found.mean == pytest.approx(math.fsum(values) / len(values))
    assert found.stderr == pytest.approx(float(stats.sem(values)), rel=1e-6, abs=1e-9)
    assert found.dof == len(values) - 1


def test_a_mean_does_not_depend_on_the_order():
    values = [1e16, 1.0, -1e16, 0.1, 0.2, 0.3]
    shuffled = random.Random(3).sample(values, len(values))
    assert statistics.mean_estimate(values) == statistics.mean_estimate(shuffled)


@pytest.mark.parametrize("table", [one for one in TABLES if "clusters" in one], ids=lambda one: one["kind"])
def test_a_clustered_error_gives_the_reference_tables(table):
    changes = [b - a for a, b in zip(table["baseline"], table["current"], strict=True)]
    found = statistics.mean_estimate(changes, [str(cluster) for cluster in table["clusters"]])
    assert found.stderr == pytest.approx(table["se_cluster"], abs=1e-9)
    assert found.dof == table["df"]
    assert found.interval(0.9) == pytest.approx(table["interval_90"], abs=1e-9)


def test_a_clustered_error_by_hand():
    # Means 2.5; residuals -1.5 -0.5 | 0.5 | 1.5 sum to -2, 0.5, 1.5 over 3 clusters: sqrt(3/2 * 6.5) / 4.
    found = statistics.mean_estimate([1.0, 2.0, 3.0, 4.0], ["a", "a", None, "b"])
    assert found.stderr == pytest.approx(math.sqrt(1.5 * 6.5) / 4)
    assert found.dof == 2


def test_clusters_of_one_item_change_nothing():
    values = [0.1, 0.5, 0.9, 0.4]
    assert statistics.mean_estimate(values, ["a", None, "b", None]) == statistics.mean_estimate(values)


def test_one_cluster_alone_has_no_error():
    found = statistics.mean_estimate([0.0, 1.0, 1.0], ["a", "a", "a"])
    assert found.stderr is None
    assert found.interval(0.95) is None


def test_one_value_has_no_error():
    found = statistics.mean_estimate([0.7])
    assert (found.stddev, found.stderr, found.interval(0.95)) == (None, None, None)


def test_rounding_is_no_spread():
    assert statistics.mean_estimate([0.3 - 0.2, 0.5 - 0.4, 0.1]).stddev == 0.0


@settings(deadline=None)
@given(scores, st.sampled_from([0.9, 0.95]))
def test_a_paired_interval_of_graded_scores_agrees_with_scipy(before, level):
    after = [value * 0.7 + index + 0.5 for index, value in enumerate(before)]
    changes = [a - b for b, a in zip(before, after, strict=True)]
    expected = stats.ttest_rel(after, before).confidence_interval(level)
    found = statistics.paired_interval(before, after, level)
    assert found == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)
    assert found[0] <= math.fsum(changes) / len(changes) <= found[1]


def test_a_paired_interval_of_binary_scores_is_tangos_unless_items_cluster():
    before, after = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert statistics.paired_interval(before, after, 0.9) == statistics.tango_interval(1, 2, 6, 0.9)
    clusters = ["a", "a", "b", "b", "c", "c"]
    changes = [a - b for b, a in zip(before, after, strict=True)]
    expected = statistics.mean_estimate(changes, clusters).interval(0.9)
    assert statistics.paired_interval(before, after, 0.9, clusters) == expected


def test_the_interval_of_a_mean_is_wilsons_for_right_and_wrong_and_t_without_bounds():
    assert statistics.mean_interval([1.0, 0.0, 1.0, 1.0], 0.95) == statistics.wilson_interval(3, 4, 0.95)
    graded = [0.5, 0.0, 1.0, 1.0]
    expected = stats.ttest_1samp(graded, 0).confidence_interval(0.9)
    assert statistics.mean_interval(graded, 0.9) == pytest.approx(expected)
    assert statistics.mean_interval(graded, 0.9, bounds=(0.2, math.inf)) == pytest.approx((0.2, expected.high))
    assert statistics.mean_interval([0.5, 0.5], 0.9) is None


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_of_repeats_is_wilsons_for_their_effective_number(level):
    """statsmodels: the cluster-robust error of an intercept over all completions, then its Wilson interval."""
    rows = [[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1]]
    flat, groups = np.array(rows, float).ravel(), np.repeat(np.arange(7), 4)
    model = OLS(flat, np.ones(28)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    # Without a correction there; ours is G / (G - 1).
    variance = float(model.bse[0]) ** 2 * 7 / 6
    n = (
        flat.mean()
        * (1 - flat.mean())
        / variance
        * (stats.norm.ppf((1 + level) / 2) / stats.t.ppf((1 + level) / 2, 6)) ** 2
    )
    expected = proportion_confint(flat.mean() * n, n, 1 - level, method="wilson")
    means = [statistics.mean(row) for row in rows]
    assert statistics.mean_interval(means, level, trials=4) == pytest.approx(expected)
    # As graded scores on another scale, and as items that share a cluster.
    graded = statistics.mean_interval([3 * value - 1 for value in means], level, bounds=(-1.0, 2.0))
    assert graded == pytest.approx([3 * end - 1 for end in expected])
    names = [f"c{group}" for group in groups]
    assert statistics.mean_interval(flat.tolist(), level, names) == pytest.approx(expected)


@given(
    st.integers(1, 8).flatmap(lambda m: st.tuples(st.just(m), st.lists(st.integers(0, m), min_size=2, max_size=40))),
    st.booleans(),
)
def test_the_interval_of_bounded_scores_is_inside_of_them_and_never_a_point(trials, graded):
    m, counts = trials
    values = [count / m for count in counts]
    low, high = statistics.mean_interval(values, 0.95, bounds=(0.0, 1.0), trials=None if graded else m)
    assert 0.0 <= low <= statistics.mean(values) + 1e-12
    assert statistics.mean(values) - 1e-12 <= high <= 1.0
    # No item says more than its repeats do, each for itself.
    most = len(values) * m if not graded else 1e9
    assert high - low >= 0.9 * np.subtract(
        *statistics.wilson_interval(statistics.mean(values) * most, most, 0.95)[::-1]
    )
    assert high > low


def test_items_that_are_all_right_are_known_as_well_as_one_trial_each():
    for count in (2, 5, 200):
        for trials in (2, 16):
            found = statistics.mean_interval([1.0] * count, 0.95, trials=trials)
            assert found == statistics.wilson_interval(count, count, 0.95)
    assert statistics.mean_interval([0.7] * 9, 0.95, bounds=(0, 1)) == statistics.wilson_interval(0.7 * 9, 9, 0.95)
    # Clusters of 3, 1 and 1 know as much as 25 / 11 equal ones.
    found = statistics.mean_interval([1.0] * 5, 0.95, ["a", "a", "a", "b", "c"])
    assert found == pytest.approx(statistics.wilson_interval(25 / 11, 25 / 11, 0.95))


@pytest.mark.parametrize(("rate", "correlation", "least"), [(0.5, 0.3, 0.93), (0.9, 0.3, 0.91), (0.97, 0.7, 0.93)])
def test_the_interval_of_repeats_covers_the_rate(rate, correlation, least):
    """t covers the last of them in 62 of 100; benchmarks/intervals.py has more designs."""
    rng, shape = np.random.default_rng(1), 1 / correlation - 1
    means = rng.binomial(4, rng.beta(rate * shape, (1 - rate) * shape, (1000, 20))) / 4
    found = [statistics.mean_interval(row, 0.95, trials=4) for row in means.tolist()]
    assert least <= sum(low <= rate <= high for low, high in found) / len(found) <= 0.99


@pytest.mark.parametrize("dof", [1, 2, 4, 30, 1000])
def test_the_t_distribution_agrees_with_scipy_stats(dof):
    for t in (-5.0, -1.2, 0.0, 0.3, 4.0):
        assert statistics.t_cdf(dof, t) == pytest.approx(stats.t.cdf(t, dof), abs=1e-12)
    for p in (0.025, 0.05, 0.5, 0.95):
        assert statistics.t_quantile(dof, p) == pytest.approx(stats.t.ppf(p, dof), abs=1e-9)


def test_bisect_stops_at_an_end_that_is_not_crossed():
    assert statistics.bisect(lambda x: x + 5, 0.0, 1.0) == 0.0
    assert statistics.bisect(lambda x: x - 5, 0.0, 1.0) == 1.0
    assert statistics.bisect(lambda x: x * x - 2, 0.0, 2.0) == pytest.approx(math.sqrt(2), abs=1e-15)


def test_a_mean_over_a_value_that_was_not_measured_is_none():
    assert statistics.measured_mean([0.0, 0.25]) == 0.125
    assert statistics.measured_mean([0.0, None]) is None
    assert statistics.measured_mean([None]) is None
