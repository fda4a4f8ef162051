import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunix_eval.model.sampling import Draws, Filters, filtered, filters_of, gumbel_noise, key_words, next_tokens
from tunix_eval.specs import GenerationSpec

VOCAB = 23
filter_logits = jax.jit(filtered)
choose = jax.jit(next_tokens)


def kept(logits, temperature, *, top_k=None, top_p=None, min_p=None):
    """Which tokens of float64[V] logits are drawn from: temperature, top-k, top-p and min-p, one after another."""
    with np.errstate(divide="ignore"):
        logits = np.where(np.isneginf(logits), -np.inf, (logits - logits.max()) / temperature)
    left = np.isfinite(logits)
    if top_k is not None:
        left &= np.array([np.sum(logits > one) < top_k for one in logits])
    if top_p is not None:
        weights = np.where(left, np.exp(logits), 0)
        left &= np.array([weights[logits > one].sum() < top_p * weights.sum() for one in logits])
    if min_p is not None:
        left &= np.exp(logits) >= min_p
    return left


def filters(**given):
    return filters_of(GenerationSpec(temperature=1.0, **given))


# Eighths: many of them are equal, and their sums are exact enough to compare float32 with float64.
eighths = st.lists(st.integers(-40, 40).map(lambda n: n / 8) | st.just(-np.inf), min_size=VOCAB, max_size=VOCAB).filter(
    lambda row: max(row) > -np.inf
)
rows_of_logits = st.lists(eighths, min_size=3, max_size=3).map(lambda rows: np.array(rows, np.float32))
temperatures = st.sampled_from([0.25, 0.5, 1.0, 2.0])


@settings(max_examples=60, deadline=None)
@given(rows_of_logits, temperatures, st.integers(1, VOCAB))
def test_top_k_keeps_the_likeliest_and_what_is_as_likely_as_the_last_of_them(logits, temperature, k):
    found = np.isfinite(filter_logits(logits, jnp.float32(temperature), filters(top_k=k)))
    expected = [kept(row.astype(np.float64), temperature, top_k=k) for row in logits]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("top", [1.0, -1.0, 4.0, -40.0, 0.0, 1e-20, -1e-20, 3e38, 0.1])
def test_logits_one_ulp_apart_are_told_apart(top):
    """The cut falls between neighbouring floats: of a run of them, top-k keeps exactly the k largest."""
    row = [np.float32(top)]
    for _ in range(4):
        row.append(np.nextafter(row[-1], np.float32(-np.inf)))
    # XLA's CPU programs take what is smaller than the least normal number for 0.
    row = [one for one in row if one == 0 or abs(one) >= np.finfo(np.float32).tiny]
    for k in range(1, len(row) + 1):
        found = np.isfinite(filter_logits(np.array([row[::-1]]), jnp.float32(1.0), filters(top_k=k)))[0, ::-1]
        np.testing.assert_array_equal(found, np.arange(len(row)) < k)


# Shares that no sum of these probabilities comes near, so that rounding decides nothing.
shares = st.floats(0.01, 0.99)


def is_clear(logits, temperature, share):
    """Whether no sum of the likeliest tokens' probabilities is within rounding of the share."""
    weights = np.sort(np.exp((logits.astype(np.float64) - logits.max()) / temperature))[::-1]
    return np.abs(np.cumsum(weights) / weights.sum() - share).min() > 1e-5


@settings(max_examples=60, deadline=None)
@given(rows_of_logits, temperatures, shares)
def test_top_p_keeps_the_likeliest_up_to_the_first_whose_sum_reaches_it(logits, temperature, p):
    found = np.isfinite(filter_logits(logits, jnp.float32(temperature), filters(top_p=p)))
    for row, mask in zip(logits, found, strict=True):
        if is_clear(row, temperature, p):
            np.testing.assert_array_equal(mask, kept(row.astype(np.float64), temperature, top_p=p))


@settings(max_examples=60, deadline=None)
@given(rows_of_logits, temperatures, shares)
def test_min_p_keeps_what_is_at_least_so_probable_beside_the_likeliest(logits, temperature, p):
    found = np.isfinite(filter_logits(logits, jnp.float32(temperature), filters(min_p=p)))
    for row, mask in zip(logits, found, strict=True):
        ratios = np.exp((row.astype(np.float64) - row.max()) / temperature)
        if np.abs(ratios - p).min() > 1e-6:
            np.testing.assert_array_equal(mask, kept(row.astype(np.float64), temperature, min_p=p))


@settings(max_examples=60, deadline=None)
@given(rows_of_logits, temperatures, st.integers(1, VOCAB), shares, shares)
def test_each_filter_works_on_what_the_one_before_it_left(logits, temperature, k, p, least):
    found = np.isfinite(filter_logits(logits, jnp.float32(temperature), filters(top_k=k, top_p=p, min_p=least)))
    for row, mask in zip(logits, found, strict=True):
        wide = row.astype(np.float64)
        left = np.where(kept(wide, temperature, top_k=k), wide, -np.inf)
        ratios = np.exp((wide - wide.max()) / temperature)
        if is_clear(left, temperature, p) and np.abs(ratios - least).min() > 1e-6:
            np.testing.assert_array_equal(mask, kept(wide, temperature, top_k=k, top_p=p, min_p=least))


@settings(max_examples=30, deadline=None)
@given(rows_of_logits, temperatures)
def test_filters_that_keep_everything_change_no_bit(logits, temperature):
    assert filters(top_p=1.0, min_p=0.0) == Filters(None, None, None)
    found = filter_logits(logits, jnp.float32(temperature), filters(top_k=VOCAB))
    np.testing.assert_array_equal(found, logits)


@settings(max_examples=30, deadline=None)
@given(rows_of_logits, st.integers(0, 99), st.sampled_from([{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}]))
def test_the_narrowest_filters_draw_one_of_the_likeliest(logits, seed, narrow):
    keys = jnp.asarray(key_words([seed, seed + 1, seed + 2], 3, 1.0))
    token = choose(logits, Draws(keys, jnp.float32(1.0), filters(**narrow)), jnp.zeros(3, jnp.int32))
    assert np.all(logits[np.arange(3), token] == logits.max(axis=1))


LOGITS = np.random.default_rng(5).normal(0, 1.5, VOCAB).astype(np.float32)


@functools.cache
def drawn(count=4096, **given):
    """Tokens that so many seeds draw from LOGITS at temperature 1.3."""
    keys = jnp.asarray(key_words(range(count), count, 1.3))
    logits = jnp.broadcast_to(LOGITS, (count, VOCAB))
    return np.asarray(choose(logits, Draws(keys, jnp.float32(1.3), filters(**given)), jnp.zeros(count, jnp.int32)))


def p_value(tokens, mask):
    """Of a chi-square test that tokens follow the softmax over what the mask keeps; rare ones are one class."""
    weights = np.where(mask, np.exp(LOGITS.astype(np.float64) / 1.3), 0)
    seen, wanted = np.bincount(tokens, minlength=VOCAB), len(tokens) * weights / weights.sum()
    rare = wanted < 5
    seen, wanted = (np.append(part[~rare], part[rare].sum()) for part in (seen, wanted))
    if seen[wanted == 0].any():
        return 0.0
    return stats.chisquare(seen[wanted > 0], wanted[wanted > 0]).pvalue


@pytest.mark.parametrize(
    "narrow",
    [{}, {"top_k": 5}, {"top_p": 0.7}, {"min_p": 0.2}, {"top_k": 8, "top_p": 0.8, "min_p": 0.1}],
    ids=lambda narrow: "-".join(narrow) or "all",
)
def test_what_is_kept_is_drawn_with_the_probabilities_of_the_softmax_over_it(narrow):
    mask = kept(LOGITS.astype(np.float64), 1.3, **narrow)
    assert (narrow == {}) == mask.all()
    assert p_value(drawn(**narrow), mask) > 0.01


def test_the_chi_square_test_above_refuses_one_token_more_or_less():
    assert p_value(drawn(top_k=5), kept(LOGITS.astype(np.float64), 1.3, top_k=4)) < 1e-6
    assert p_value(drawn(top_k=5), kept(LOGITS.astype(np.float64), 1.3, top_k=6)) < 1e-6


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 2**31 - 1), min_size=6, max_size=6))
def test_noise_has_the_same_bits_in_every_place_of_a_batch(places, steps):
    keys, steps = jnp.arange(12, dtype=jnp.uint32).reshape(6, 2), jnp.array(steps, jnp.int32)
    noise = functools.partial(jax.jit(gumbel_noise, static_argnums=2), vocab_size=VOCAB)
    order = jnp.array(places)
    np.testing.assert_array_equal(noise(keys, steps)[order], noise(keys[order], steps[order]))
