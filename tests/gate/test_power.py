"""Detectable drops: by simulation, and against statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from tunix_eval.gate.paired import mcnemar
from tunix_eval.gate.power import detectable_by_pairs, detectable_by_t


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
