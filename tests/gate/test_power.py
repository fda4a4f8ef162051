"""Detectable drops: by simulation, and against statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from tunix_eval.gate.paired import mcnemar
from tunix_eval.gate.power import detectable_by_pairs, detectable_by_t, items_needed, runs_needed
from tunix_eval.statistics import normal_cdf, tango_statistic


@pytest.mark.parametrize("n", [5, 25, 200])
def test_the_detectable_shift_of_a_t_test_agrees_with_statsmodels(n):
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="larger")
    assert detectable_by_t(1 / math.sqrt(n), n - 1, alpha=0.05) == pytest.approx(effect, abs=1e-5)


@pytest.mark.parametrize("dof", [1, 4, 99, 100_000])
def test_a_t_test_has_80_percent_power_at_the_detectable_shift(dof):
    shift = detectable_by_t(1.0, dof, alpha=0.05)
    assert stats.nct.sf(stats.t.ppf(0.95, dof), dof, shift) == pytest.approx(0.8, abs=1e-6)


def test_a_margin_moves_the_detectable_shift():
    assert detectable_by_t(0.01, 9, alpha=0.05, margin=0.02) == pytest.approx(
        0.02 + detectable_by_t(0.01, 9, alpha=0.05)
    )


@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("flips", [0.2, 0.4])
def test_mcnemar_finds_the_detectable_drop_about_80_times_in_100(n, flips):
    drop = detectable_by_pairs(round(flips * n), n, alpha=0.05)
    rng = np.random.default_rng(3)
    tables = rng.multinomial(n, [(flips + drop) / 2, (flips - drop) / 2, 1 - flips], size=4000)
    found = np.mean([mcnemar(int(lost), int(won)) <= 0.05 for lost, won, _ in tables])
    assert 0.76 <= found <= 0.86


def test_with_no_flips_the_detectable_drop_is_a_few_items():
    # 4 items of 200 lost and none won give p = 2^-5; to see at least 4 in 80 of 100 cases takes 5 to 7.
    assert 5 / 200 <= detectable_by_pairs(0, 200, alpha=0.05) <= 7 / 200


def test_two_items_can_prove_no_drop():
    assert detectable_by_pairs(0, 2, alpha=0.05) is None


@pytest.mark.parametrize(("flips", "margin"), [(0.28, 0.1), (0.28, 0.05), (0.07, 0.05), (0.0, 0.05)])
def test_with_the_items_needed_unchanged_scores_are_proven_no_worse_about_80_times_in_100(flips, margin):
    n = items_needed(flips, margin=margin, alpha=0.05, binary=True)
    tables = np.random.default_rng(5).multinomial(n, [flips / 2, flips / 2, 1 - flips], size=2000)
    passed = np.mean([normal_cdf(-tango_statistic(int(won), int(lost), n, -margin)) <= 0.05 for lost, won, _ in tables])
    assert 0.77 <= passed <= 0.84 if flips else passed == 1


def test_the_items_needed_for_graded_scores_agree_with_statsmodels():
    n = TTestPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8, alternative="larger")
    assert items_needed(4.0, margin=0.2, alpha=0.05, binary=False) == pytest.approx(n, abs=3)


@pytest.mark.parametrize(("stddev", "margin"), [(0.02, 0.05), (0.02, 0.04), (0.02, 0.03), (0.02, 0.01)])
def test_with_the_runs_needed_unchanged_runs_are_proven_no_worse_80_times_in_100_and_with_one_less_not(stddev, margin):
    j, k = runs_needed(stddev, 5, margin=margin, alpha=0.05)

    def passed(j, k):
        means = np.random.default_rng(6).normal(0, stddev, size=(20_000, j + k))
        p = stats.ttest_ind(means[:, :k], means[:, k:] + margin, axis=1, alternative="less").pvalue
        return np.mean(p <= 0.05)

    noise = 3 * math.sqrt(0.8 * 0.2 / 20_000)
    assert passed(j, k) >= 0.8 - noise
    assert j == 1 or passed(j - 1, k if k == 5 else k - 1) < 0.8 + noise


@pytest.mark.parametrize("margin", [1e-9, 1e-200, 5e-324])
@pytest.mark.parametrize("binary", [True, False])
def test_a_margin_near_zero_needs_a_million_million_items_or_runs_at_most(margin, binary):
    assert items_needed(0.25, margin=margin, alpha=0.05, binary=binary) == 10**12
    assert runs_needed(0.25, 5, margin=margin, alpha=0.05) == (10**12, 10**12)
