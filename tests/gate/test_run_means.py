"""Run against run: Welch's t against scipy, and the twelve honest seeds."""

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunix_eval.gate.runs import compare_runs, compare_unlike_runs

SEEDS = json.loads((Path(__file__).parent / "data/twelve_seeds.json").read_text())
N = 200
RUNS = [[float(mark) for mark in SEEDS["exact"][seed][:N]] for seed in SEEDS["seeds"]]
means = st.lists(st.integers(0, 200).map(lambda right: right / 200), min_size=2, max_size=6)


def flat(means):
    """Runs without item noise."""
    return [[mean - 0.1, mean + 0.1] for mean in means]


def compare(first, second, **more):
    return compare_runs(first, second, alpha=0.05, clusters=[None] * len(first[0]), bounds=(0.0, 1.0), **more)


@settings(deadline=None)
@given(means, means)
def test_unlike_runs_agree_with_scipys_welch(first, second):
    first, second = [*first, 0.125, 0.75], [*second, 0.25, 0.5]
    found = compare_unlike_runs(flat(first), flat(second), alpha=0.05, clusters=[None, None])
    expected = stats.ttest_ind(first, second, equal_var=False, alternative="greater")
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    both = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    assert found.interval == pytest.approx((both.low, both.high), abs=1e-9)


@pytest.mark.parametrize("test", [compare_runs, compare_unlike_runs])
def test_a_margin_is_taken_off_the_drop(test):
    sides = RUNS[:5], [[value * 0.8 for value in run] for run in RUNS[5:8]]
    plain, shifted = (test(*sides, alpha=0.05, clusters=[None] * N, margin=margin) for margin in (0.0, 0.15))
    assert shifted.worsening == plain.worsening
    assert shifted.p_value > plain.p_value
    assert (plain.worsening > 0.15) == (shifted.p_value < 0.5)


def test_runs_that_do_not_vary_at_all_decide_nothing():
    assert compare_unlike_runs([[0.5, 0.5]] * 2, [[0.4, 0.4]] * 2, alpha=0.05, clusters=[None, None]) is None
    assert compare_runs([[2.0, 2.0]] * 3, [[2.0, 2.0]], alpha=0.05, clusters=[None, None]) is None


def worse(run, drop):
    """A run that has lost so many of its right items, the first ones."""
    right = [index for index, value in enumerate(run) if value]
    lost = set(right[: round(drop * len(run))])
    return [0.0 if index in lost else value for index, value in enumerate(run)]


def alarm_rate(baseline_runs: int, current_runs: int, drop: float, draws: int) -> float:
    """Share of alarms over random honest splits of the twelve seeds."""
    rng, alarms = random.Random(11), 0
    for _ in range(draws):
        picked = rng.sample(RUNS, baseline_runs + current_runs)
        current = [worse(run, drop) for run in picked[baseline_runs:]]
        alarms += compare(picked[:baseline_runs], current).p_value <= 0.05
    return alarms / draws


@pytest.mark.parametrize("k", [1, 2, 5])
def test_three_honest_runs_keep_alpha_against_any_number_of_baseline_runs(k):
    assert alarm_rate(k, 3, 0.0, 200) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_three_runs_against_five_find_five_points():
    assert alarm_rate(5, 3, 0.05, 100) >= 0.8


def test_one_run_against_one_finds_a_collapse():
    """A first look alone, from 0.95 to a tenth of it, and to a half."""
    assert alarm_rate(1, 1, 0.85, 40) == 1
    assert alarm_rate(1, 1, 0.45, 40) >= 0.9
