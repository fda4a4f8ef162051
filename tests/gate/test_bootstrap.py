"""The bootstrap interval: against scipy, and the same bits each time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunix_eval.gate.bootstrap import bootstrap_interval


@pytest.mark.parametrize("n", [10, 200])
def test_it_agrees_with_scipy_within_the_noise_of_the_draws(n):
    values = np.random.default_rng(1).exponential(size=n)
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=0.9, method="percentile", n_resamples=10_000, rng=np.random.default_rng(4)
    ).confidence_interval
    noise = 0.05 * values.std() / np.sqrt(n)
    assert bootstrap_interval(values.tolist(), 0.9) == pytest.approx((theirs.low, theirs.high), abs=noise)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40), st.integers(1, 500))
def test_the_bits_do_not_depend_on_the_chunk(values, chunk):
    assert bootstrap_interval(values, 0.9, draws=100, chunk=chunk) == bootstrap_interval(values, 0.9, draws=100)


def test_equal_values_have_an_interval_of_one_point():
    assert bootstrap_interval([0.25] * 9, 0.9) == (0.25, 0.25)
