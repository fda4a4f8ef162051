"""The noise of run means: its posterior against numerical integration, and what it says about few runs."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tunix_eval.gate.noise import _PRIOR, SEED_NOISE, item_noise, noise_of_runs

UNIT = (0.0, 1.0)
NONE = (-math.inf, math.inf)


def binary(count, rate, n, seed):
    return (np.random.default_rng(seed).random((count, n)) < rate).astype(float).tolist()


def noise(*sides, clusters=None, bounds=UNIT, **more):
    return noise_of_runs(sides, clusters=clusters or [None] * len(sides[0][0]), bounds=bounds, **more)


def test_the_tail_is_that_of_a_half_cauchy_prior_integrated():
    """Five baseline runs and one current run; graded scores, so that nothing is added at an end of the scale."""
    rng = np.random.default_rng(4)
    items = rng.normal(0.6, 0.2, 80)
    runs = (items + 0.1 * rng.standard_normal((6, 80)) + 0.03 * rng.standard_normal((6, 1))).tolist()
    found = noise(runs[:5], runs[5:], bounds=NONE)
    means = np.mean(runs, axis=1)
    squares = ((means[:5] - means[:5].mean()) ** 2).sum()
    own, scale = item_noise(runs, [None] * 80), SEED_NOISE * np.std(runs)

    def density(tau):
        variance = tau**2 + own
        return stats.halfcauchy.pdf(tau, scale=scale) * variance ** (-4 / 2) * math.exp(-squares / 2 / variance)

    def beyond(tau):
        return density(tau) * stats.norm.sf(0.05, scale=math.sqrt((tau**2 + own) * 6 / 5))

    ends = {"points": [scale, 10 * scale], "limit": 500}
    expected = integrate.quad(beyond, 0, 3, **ends)[0] / integrate.quad(density, 0, 3, **ends)[0]
    assert found.tail(0.05, 1, 5) == pytest.approx(expected, rel=0.01)
    assert found.tail(0.0, 1, 5) == pytest.approx(0.5)


@given(
    st.floats(1e-6, 0.499),
    st.integers(1, 12),
    st.integers(2, 300),
    st.sampled_from([0.0, 0.03, 0.5, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_what_is_exceeded_has_that_chance(p, k, n, rate, seed):
    found = noise(binary(k, rate, n, seed))
    assert found.tail(found.critical(p, 1, k), 1, k) == pytest.approx(p, rel=1e-9)


def test_item_noise_is_that_of_independent_flips():
    runs = binary(400, 0.3, 50, 1)
    assert item_noise(runs, [None] * 50) == pytest.approx(0.3 * 0.7 / 50, rel=0.05)
    # The items of a cluster come out together: 10 draws, not 50.
    shared = np.repeat(binary(400, 0.3, 10, 2), 5, axis=1).tolist()
    labels = [f"c{index // 5}" for index in range(50)]
    assert item_noise(shared, labels) == pytest.approx(0.3 * 0.7 / 10, rel=0.05)
    assert item_noise(shared, [None] * 50) < 0.3 * 0.7 / 40


@pytest.mark.parametrize("count", [1, 3])
def test_few_clusters_hide_no_item_noise(count):
    runs = binary(count, 0.7, 100, 3)
    alone = item_noise(runs, [None] * 100)
    assert item_noise(runs, ["all"] * 100) == pytest.approx(alone)
    assert item_noise(runs, [f"c{i % 2}" for i in range(100)]) >= alone
    halves = [[value for value in run[:50] for _ in range(2)] for run in runs]
    assert item_noise(halves, [f"c{i // 2}" for i in range(100)]) > 1.5 * item_noise(halves, [None] * 100)


def test_a_seed_that_moves_all_items_is_no_item_noise():
    items = np.linspace(0.2, 0.8, 30)
    runs = [(items + shift).tolist() for shift in (0.0, 0.1, -0.1)]
    assert item_noise(runs, [None] * 30) == pytest.approx(0.0, abs=1e-12)


def test_many_runs_overrule_the_prior():
    rng = np.random.default_rng(6)
    runs = (0.5 + 0.2 * rng.standard_normal((40, 1)) + 0.01 * rng.standard_normal((40, 50))).tolist()
    found = noise(runs, bounds=NONE, seed_noise=0.001)
    assert found.critical(0.05, 1, 40) == pytest.approx(1.7 * np.std(np.mean(runs, axis=1)), rel=0.05)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("rate", [0.0, 0.03, 0.5, 1.0])
def test_an_end_of_the_scale_hides_a_spread_and_does_not_end_it(k, rate):
    found = noise(binary(k, rate, 100, k))
    # One item of 100 in one run is no proof of a drop.
    assert found.tail(0.01, 1, k) > 0.05
    assert found.tail(0.9, 1, k) < 0.05


def test_a_mean_varies_by_no_more_than_half_its_scale():
    items = binary(1, 0.5, 200, 3)
    for low, high in (UNIT, (-1.0, 3.0)):
        sides = [[[low + (high - low) * one for one in run] for run in items]] * 2
        found, unbounded = noise(*sides, bounds=(low, high)), noise(*sides, bounds=NONE)
        half = (high - low) / 2
        assert found.variances.max() == pytest.approx(
            half**2 + item_noise(items * 2, [None] * 200) * (2 * half) ** 2, rel=0.01
        )
        assert unbounded.variances.max() > 100 * half**2
        assert found.critical(0.05, 1, 1) < unbounded.critical(0.05, 1, 1)


def test_without_spread_and_without_ends_nothing_is_known():
    assert noise([[2.0, 2.0]], [[2.0, 2.0]], bounds=NONE) is None
    assert noise([[1e200, -1e200]], [[1e200, 0.0]], bounds=NONE) is None


def test_two_looks_find_what_made_up_sessions_find():
    """The 80% point and the power at half of it, against sessions whose looks each see their own spread."""
    k, fresh, sessions = 5, 2, 1500
    found = noise(binary(k, 0.7, 300, 9))
    looks = found.found_by_looks(k, fresh, alpha=0.05, first=0.2)
    least = looks.detectable()
    rng = np.random.default_rng(0)
    picked = rng.choice(found.variances, sessions, p=found.weights)
    for drop, expected in ((least, 0.8), (least / 2, looks.power(least / 2))):
        hits = 0
        for variance in picked:
            means = math.sqrt(variance) * rng.standard_normal(1 + fresh)
            base = math.sqrt(variance / k) * rng.standard_normal()
            first = found.tail(drop - means[0] - base, 1, k)
            if first > 0.2:
                continue
            squares = found.squares + ((means - means.mean()) ** 2).sum()
            logs = np.log(_PRIOR) - (found.dof + fresh) / 2 * np.log(found.variances) - squares / 2 / found.variances
            weights = np.exp(logs - logs.max())
            spread = np.sqrt(found.variances * (1 / k + 1 / (1 + fresh)))
            hits += (weights * stats.norm.sf((drop - means.mean() - base) / spread)).sum() / weights.sum() <= 0.05
        assert hits / sessions == pytest.approx(expected, abs=0.05)


def test_more_baseline_runs_find_more():
    found = noise(binary(5, 0.7, 300, 9))
    power = [found.found_by_looks(k, 2, alpha=0.05, first=0.2, seen=False).power(0.08) for k in (1, 2, 5, 10)]
    assert all(before < after for before, after in itertools.pairwise(power))
