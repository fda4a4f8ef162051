"""Run against run: scipy, hand values, and the twelve honest seeds."""

import itertools
import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunix_eval.gate.runs import compare_runs

SEEDS = json.loads((Path(__file__).parent / "data/twelve_seeds.json").read_text())
MEANS = [SEEDS["exact"][seed].count("1") / len(SEEDS["exact"][seed]) for seed in SEEDS["seeds"]]
means = st.lists(st.integers(0, 200).map(lambda right: right / 200), min_size=2, max_size=6)


@settings(deadline=None)
@given(means, means)
def test_a_two_sample_t_agrees_with_scipy(first, second):
    first, second = [*first, 0.125, 0.75], [*second, 0.25, 0.5]
    found = compare_runs(first, second, alpha=0.05)
    expected = stats.ttest_ind(first, second, alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    both = stats.ttest_ind(first, second).confidence_interval(0.9)
    assert found.interval == pytest.approx((both.low, both.high), abs=1e-9)


def test_one_run_against_three_by_hand():
    # Variance 0.01 over 2 degrees of freedom; t = (0.9 - 0.6) / (0.1 * sqrt(1 + 1/3)).
    found = compare_runs([0.8, 0.9, 1.0], [0.6], alpha=0.05)
    t = 0.3 / (0.1 * math.sqrt(4 / 3))
    assert found.p_value == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)))
    assert found.worsening == pytest.approx(0.3)


def test_a_margin_is_taken_off_the_drop():
    shifted = compare_runs([0.8, 0.9, 1.0], [0.5], alpha=0.05, margin=0.1)
    assert shifted.p_value == pytest.approx(compare_runs([0.8, 0.9, 1.0], [0.6], alpha=0.05).p_value)


def test_means_that_do_not_vary_decide_nothing():
    assert compare_runs([1.0, 1.0, 1.0], [0.995], alpha=0.05) is None


def test_runs_too_large_for_a_standard_error_prove_nothing():
    assert compare_runs([1e200, 2e200], [0.0], alpha=0.05).p_value is None


def alarm_rate(baseline_runs: int, current_runs: int, drop: float, draws: int) -> float:
    """Share of alarms over random honest splits of the twelve seeds, 1,000 items each."""
    rng, alarms = random.Random(11), 0
    for _ in range(draws):
        picked = rng.sample(MEANS, baseline_runs + current_runs)
        current = [value - drop for value in picked[baseline_runs:]]
        alarms += compare_runs(picked[:baseline_runs], current, alpha=0.05).p_value <= 0.05
    return alarms / draws


def test_three_runs_against_five_keep_alpha_and_find_five_points():
    assert alarm_rate(5, 3, 0.0, 1500) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)
    assert alarm_rate(5, 3, 0.05, 300) >= 0.8


def test_one_run_against_five_alarms_about_12_times_in_100():
    splits = [(i, rest) for i in range(12) for rest in itertools.combinations([j for j in range(12) if j != i], 5)]
    some = random.Random(5).sample(splits, 1500)
    alarms = [compare_runs([MEANS[j] for j in rest], [MEANS[i]], alpha=0.05).p_value <= 0.05 for i, rest in some]
    assert 0.09 <= sum(alarms) / len(alarms) <= 0.15
