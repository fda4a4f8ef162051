import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunix_eval.errors import RenderError, SpecError
from tunix_eval.model.buckets import bucket, padded, prompt_pages
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import decoder_with, initial_params
from tunix_eval.model.decoding import (
    DISPATCH_STEPS,
    Rows,
    Sizes,
    dispatch,
    empty_pool,
    prefill,
    written_pages,
)
from tunix_eval.model.generation import FlaxModel
from tunix_eval.model.vocabulary import Vocabulary
from tunix_eval.records import Generation
from tunix_eval.specs import GenerationSpec, ModelSpec

PAD = 22
# Weights large enough that the likeliest tokens differ and are clearly the likeliest.
CONFIG = DecoderConfig.from_spec(ModelSpec(layers=2, width=32, heads=2, mlp_width=48, init_std=0.3), vocab_size=23)
VOCABULARY = Vocabulary(23, PAD)
SETTINGS = GenerationSpec(max_new_tokens=12, rows=4)
SAMPLED = GenerationSpec(max_new_tokens=12, rows=4, temperature=1.5)
LENGTHS = (1, 2, 5, 9, 15, 16, 17, 20, 31)


@functools.cache
def model(pad_id=PAD):
    return FlaxModel(CONFIG, initial_params(CONFIG, 1), pad_id=pad_id)


def prompt(length, seed=0):
    return np.random.default_rng([seed, length]).integers(0, PAD, length).astype(np.int32)


PROMPTS = [prompt(length) for length in LENGTHS]


@functools.cache
def alone(index):
    return model().generate([PROMPTS[index]], SETTINGS, stop_ids=(7,))[0]


@jax.jit
def next_logits(params, tokens, count):
    """Logits for what follows the first `count` of int32[1, T] tokens, without a cache."""
    decoder = decoder_with(CONFIG, params)
    positions = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    hidden, _ = decoder(tokens, positions, jnp.ones_like(tokens))
    return decoder.logits(hidden)[0, count - 1]


def uncached(prompt, stop_id):
    tokens = np.zeros((1, 48), np.int32)
    tokens[0, : len(prompt)] = prompt
    written = []
    while len(written) < SETTINGS.max_new_tokens:
        count = len(prompt) + len(written)
        logits = np.asarray(next_logits(model().params, tokens, count)).copy()
        logits[PAD] = -np.inf
        token = int(logits.argmax())
        if token == stop_id:
            return Generation(tuple(written), "stop")
        written.append(token)
        tokens[0, count] = token
    return Generation(tuple(written), "length")


@pytest.mark.parametrize("index", range(len(PROMPTS)))
def test_completions_are_those_of_the_full_forward_pass(index):
    assert alone(index) == uncached(PROMPTS[index], 7)


def test_the_prompts_here_give_different_texts_and_both_reasons():
    assert len({alone(index).ids for index in range(len(PROMPTS))}) > 4
    assert {alone(index).stop_reason for index in range(len(PROMPTS))} == {"stop", "length"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(PROMPTS) - 1), min_size=1, max_size=14))
def test_a_completion_depends_neither_on_order_nor_on_company(chosen):
    together = model().generate([PROMPTS[index] for index in chosen], SETTINGS, stop_ids=(7,))
    assert together == [alone(index) for index in chosen]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 99))
def test_logits_have_the_same_bits_in_every_place_of_a_batch(places, seed):
    batch = np.stack([prompt(16, seed), *(prompt(16, n) for n in (101, 102, 103))])
    run = functools.partial(first_logits, model().params)
    np.testing.assert_array_equal(np.asarray(run(batch))[list(places)], np.asarray(run(batch[list(places)])))


@jax.jit
def first_logits(params, tokens):
    decoder = decoder_with(CONFIG, params)
    positions = jnp.broadcast_to(jnp.arange(16, dtype=jnp.int32)[None], tokens.shape)
    hidden, _ = decoder(tokens, positions, jnp.ones_like(tokens))
    return decoder.logits(hidden[:, -1:])


def compiled():
    return prefill._cache_size(), dispatch._cache_size()


def test_another_number_of_prompts_compiles_nothing():
    model().generate(PROMPTS[:1] + PROMPTS[-1:], SETTINGS, stop_ids=(7,))
    before = compiled()
    for count in (1, 3, 4, 5, 9):
        model().generate((PROMPTS * 2)[:count], SETTINGS, stop_ids=(7,))
    model().generate([prompt(length, 9) for length in (3, 4, 11, 30)], SETTINGS, stop_ids=(5,))
    assert compiled() == before
    # A longer bucket has a prefill of its own, and shares the pool up to 64 tokens.
    model().generate([prompt(33)], SETTINGS, stop_ids=(7,))
    assert compiled() == (before[0] + 1, before[1])
    model().generate([prompt(65)], SETTINGS, stop_ids=(7,))
    assert compiled() == (before[0] + 2, before[1] + 1)


def test_the_pad_id_is_never_written():
    likeliest = alone(0).ids[0]
    instead = model(pad_id=likeliest).generate([PROMPTS[0]], SETTINGS, stop_ids=(7,))[0]
    assert likeliest not in instead.ids


def test_the_stop_token_ends_a_completion_and_is_not_part_of_it():
    free = model().generate([PROMPTS[0]], SETTINGS, stop_ids=())[0]
    assert free.stop_reason == "length"
    assert len(free.ids) == SETTINGS.max_new_tokens
    for stop_id in set(free.ids):
        ended = model().generate([PROMPTS[0]], SETTINGS, stop_ids=(stop_id,))[0]
        assert ended == Generation(free.ids[: free.ids.index(stop_id)], "stop")


def test_any_of_several_stop_tokens_ends_a_completion():
    free = model().generate([PROMPTS[0]], SETTINGS, stop_ids=())[0].ids
    two = tuple(sorted(set(free)))[:2]
    cut = min(free.index(stop_id) for stop_id in two)
    assert model().generate([PROMPTS[0]], SETTINGS, stop_ids=two)[0].ids == free[:cut]


def test_no_prompts_give_no_completions():
    assert model().generate([], SETTINGS, stop_ids=(7,)) == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([], "prompt 1: no tokens"),
        ([3, 23], "prompt 1: token 23, but the model knows ids 0 to 22"),
        ([-1, 3], "prompt 1: token -1, but the model knows ids 0 to 22"),
    ],
)
def test_a_prompt_that_cannot_be_completed_is_named(tokens, message):
    with pytest.raises(RenderError, match=message):
        model().generate([PROMPTS[0], np.array(tokens, np.int32)], SETTINGS, stop_ids=(7,))


def probabilities(ids, temperature):
    """softmax(logits / temperature) for the token after `ids`, in float64, from the uncached forward pass."""
    tokens = np.zeros((1, 48), np.int32)
    tokens[0, : len(ids)] = ids
    logits = np.asarray(next_logits(model().params, tokens, len(ids)), np.float64) / temperature
    logits[PAD] = -np.inf
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def p_value(drawn, expected):
    """Of a chi-square test that drawn tokens follow the probabilities; rare tokens are one class."""
    seen, wanted = np.bincount(drawn, minlength=len(expected)), len(drawn) * expected
    rare = wanted < 5
    seen, wanted = (np.append(part[~rare], part[rare].sum()) for part in (seen, wanted))
    return stats.chisquare(seen[wanted > 0], wanted[wanted > 0]).pvalue


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_with_the_probabilities_of_the_softmax(temperature):
    settings = GenerationSpec(max_new_tokens=2, rows=512, temperature=temperature)
    drawn = model().generate([PROMPTS[2]] * 4096, settings, stop_ids=(), seeds=range(4096))
    first, second = np.array([one.ids for one in drawn]).T
    assert p_value(first, probabilities(PROMPTS[2], temperature)) > 0.01
    # The second draw has noise of its own: it follows its own distribution whatever the first one was.
    likeliest = np.bincount(first).argmax()
    after = second[first == likeliest]
    assert p_value(after, probabilities([*PROMPTS[2], likeliest], temperature)) > 0.01


def test_the_chi_square_test_above_refuses_another_temperature():
    settings = GenerationSpec(max_new_tokens=1, rows=512, temperature=1.0)
    drawn = model().generate([PROMPTS[2]] * 4096, settings, stop_ids=(), seeds=range(4096))
    assert p_value(np.array([one.ids[0] for one in drawn]), probabilities(PROMPTS[2], 1.2)) < 1e-6


def test_a_temperature_near_0_writes_the_greedy_completions():
    settings = SETTINGS.model_copy(update={"temperature": 1e-12})
    written = model().generate(PROMPTS, settings, stop_ids=(7,), seeds=range(len(PROMPTS)))
    assert written == [alone(index) for index in range(len(PROMPTS))]


def test_seeds_change_nothing_at_temperature_0():
    assert model().generate(PROMPTS[:3], SETTINGS, stop_ids=(7,), seeds=(1, 2, 3)) == [alone(i) for i in range(3)]


def test_the_pad_id_is_never_drawn():
    # So hot that every other token is about equally likely.
    settings = GenerationSpec(max_new_tokens=64, rows=64, temperature=1e4)
    drawn = model().generate([PROMPTS[2]] * 64, settings, stop_ids=(), seeds=range(64))
    counts = np.bincount(np.concatenate([one.ids for one in drawn]), minlength=23)
    assert counts[PAD] == 0
    assert counts[:PAD].min() > 100


@functools.cache
def sampled_alone(index, seed):
    return model().generate([PROMPTS[index]], SAMPLED, stop_ids=(7,), seeds=(seed,))[0]


SEEDS = (0, 1, 2**32, 2**64 - 1)
asked_for = st.lists(st.tuples(st.integers(0, len(PROMPTS) - 1), st.sampled_from(SEEDS)), min_size=1, max_size=14)


@settings(max_examples=40, deadline=None)
@given(asked_for)
def test_a_sample_depends_on_its_prompt_and_seed_alone(pairs):
    prompts, seeds = [PROMPTS[index] for index, _ in pairs], [seed for _, seed in pairs]
    together = model().generate(prompts, SAMPLED, stop_ids=(7,), seeds=seeds)
    assert together == [sampled_alone(*pair) for pair in pairs]


def test_every_bit_of_a_seed_counts():
    seeds = [0, *(1 << bit for bit in range(64))]
    settings = GenerationSpec(max_new_tokens=24, rows=65, temperature=3.0)
    drawn = model().generate([PROMPTS[2]] * 65, settings, stop_ids=(), seeds=seeds)
    assert len({one.ids for one in drawn}) == 65


def test_another_temperature_or_seed_compiles_nothing():
    model().generate(PROMPTS[:1], SAMPLED, stop_ids=(7,), seeds=(0,))
    before = compiled()
    warmer = SAMPLED.model_copy(update={"temperature": 1.7})
    model().generate(PROMPTS[:2], warmer, stop_ids=(7,), seeds=(5, 2**63))
    assert compiled() == before


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ((), "temperature 1.5: 0 seeds for 2 prompts; give each its own"),
        ((1, 2, 3), "temperature 1.5: 3 seeds for 2 prompts"),
        ((1, -1), "seed 1 is -1, expected a whole number from 0 to 2\\*\\*64 - 1"),
        ((2**64, 1), f"seed 0 is {2**64}, expected"),
    ],
)
def test_a_temperature_needs_one_seed_of_64_bits_for_each_prompt(seeds, message):
    with pytest.raises(SpecError, match=message):
        model().generate(PROMPTS[:2], SAMPLED, stop_ids=(7,), seeds=seeds)


def test_no_prompts_are_no_samples():
    assert model().generate([], SAMPLED, stop_ids=(7,)) == []


# Of every space for prompts: 64, 256 and 1,024 columns; with texts of several pages and dispatches.
LONG_LENGTHS = (3, 40, 64, 65, 200, 257)
LONG = GenerationSpec(max_new_tokens=150, rows=3)


@functools.cache
def long_alone(index):
    return model().generate([prompt(LONG_LENGTHS[index])], LONG, stop_ids=(7, 11))[0]


def test_the_long_completions_here_end_at_different_places():
    counts = [len(long_alone(index).ids) for index in range(len(LONG_LENGTHS))]
    assert len(set(counts)) > 3
    assert max(counts) > 64


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, len(LONG_LENGTHS) - 1), min_size=2, max_size=9))
def test_rows_that_are_filled_again_write_what_they_would_write_alone(chosen):
    prompts = [prompt(LONG_LENGTHS[index]) for index in chosen]
    assert model().generate(prompts, LONG, stop_ids=(7, 11)) == [long_alone(index) for index in chosen]


def test_logits_have_the_same_bits_whichever_pages_are_read():
    # A row of 16 columns, alone or beside one that needs every page; both fill their page for what is written.
    def logits(places):
        pool = empty_pool(CONFIG, Sizes(2, prompt_pages(64), written_pages(80)))
        held = np.zeros((3, 2), np.int32)
        for place, length in places.items():
            tokens, lengths = padded([prompt(length)], rows=1, width=bucket(length), pad_id=PAD)
            row = np.array([place], np.int32)
            pool = prefill(model().params, pool, tokens, lengths, row, config=CONFIG, vocabulary=VOCABULARY)
            held[:2, place] = bucket(length) - length, bucket(length)
        found = []
        for step in range(0, 80, DISPATCH_STEPS):
            held[2] = step
            needed = np.array([held[1].max() > first for first in (0, 16, 32)] + [step > 0, step > 64])
            rows = Rows(*map(jnp.asarray, held))
            _, pool = dispatch(model().params, pool, rows, None, needed, config=CONFIG, vocabulary=VOCABULARY)
            found.append(np.asarray(pool.logits))
        return np.stack(found, axis=1)

    alone = logits({0: 9})[0]
    np.testing.assert_array_equal(logits({0: 9, 1: 60})[0], alone)
    np.testing.assert_array_equal(logits({0: 60, 1: 9})[1], alone)


def test_ids_that_the_tokenizer_lacks_are_neither_written_nor_taken():
    short = FlaxModel(CONFIG, model().params, pad_id=PAD, vocab_size=12)
    prompts = [ids % 12 for ids in PROMPTS[:4]]
    assert max(max(one.ids) for one in short.generate(prompts, SETTINGS, stop_ids=())) < 12
    hot = GenerationSpec(max_new_tokens=12, rows=4, temperature=1e4)
    drawn = np.concatenate([one.ids for one in short.generate(prompts * 4, hot, stop_ids=(), seeds=range(16))])
    assert set(drawn) == set(range(12))
    with pytest.raises(RenderError, match="prompt 0: token 12, but the model knows ids 0 to 11"):
        short.generate([np.array([12], np.int32)], SETTINGS, stop_ids=())


def test_what_says_that_a_text_has_ended_leaves_the_ids_before_as_they_are():
    free = model().generate(PROMPTS, LONG, stop_ids=())
    seen = []

    def has_ended(ids):
        seen.append(len(ids))
        return len(ids) >= 20

    ended = model().generate(PROMPTS, LONG, stop_ids=(), has_ended=has_ended)
    # At the end of the dispatch in which it is so.
    assert ended == [Generation(one.ids[:24], "stop") for one in free]
    assert set(seen) == {8, 16, 24}


def test_progress_is_told_after_every_dispatch_and_counts_every_completion():
    told = []
    model().generate(PROMPTS[:3], LONG, stop_ids=(), on_progress=told.append)
    # Three rows of 24 tokens, DISPATCH_STEPS at a time.
    assert told == [*[0] * (LONG.max_new_tokens // DISPATCH_STEPS), 3]


def test_a_generation_ends_with_the_dispatch_after_which_progress_raises():
    asked = []

    def on_progress(done):
        asked.append(done)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        model().generate(PROMPTS[:3], LONG, stop_ids=(), on_progress=on_progress)
    assert asked == [0]


@pytest.mark.parametrize("sizes", [{"kv_heads": 1}, {"tied": False}, {"dtype": "bfloat16"}, {"vocab_size": 40}])
def test_every_kind_of_decoder_writes_what_its_forward_pass_finds_likeliest(sizes):
    spec = ModelSpec(**({"layers": 2, "width": 32, "heads": 2, "mlp_width": 48, "init_std": 0.3} | sizes))
    config = DecoderConfig.from_spec(spec, vocab_size=23)
    written = FlaxModel(config, initial_params(config, 1), pad_id=PAD, vocab_size=23).generate(
        PROMPTS[:6], SETTINGS, stop_ids=()
    )

    @jax.jit
    def all_logits(tokens):
        decoder = decoder_with(config, initial_params(config, 1))
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
        hidden, _ = decoder(tokens, positions, jnp.ones_like(tokens))
        return decoder.logits(hidden)

    tokens = np.zeros((6, 28), np.int32)
    for row, ids, one in zip(tokens, PROMPTS, written, strict=False):
        row[: len(ids) + len(one.ids)] = [*ids, *one.ids]
    logits = np.array(all_logits(tokens), np.float32)[:, :, :23]
    logits[:, :, PAD] = -np.inf
    # bfloat16 has 8 bits: two ways to sum up can disagree where two tokens are about equally likely.
    slack = 0.2 if "dtype" in sizes else 1e-4
    for row, ids, one in zip(logits, PROMPTS, written, strict=False):
        found = row[len(ids) - 1 : len(ids) - 1 + len(one.ids)]
        assert np.all(found[np.arange(len(one.ids)), one.ids] >= found.max(axis=1) - slack)


CHILD = """
import json, os, sys
if sys.argv[1] == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import initial_params
from tunix_eval.model.generation import FlaxModel
from tunix_eval.specs import GenerationSpec, ModelSpec

config = DecoderConfig.from_spec(ModelSpec(layers=2, width=128, heads=2, mlp_width=256, init_std=0.2), vocab_size=64)
model = FlaxModel(config, initial_params(config, 1), pad_id=63)
random = np.random.default_rng(0)
prompts = [random.integers(0, 63, length).astype(np.int32) for length in random.integers(1, 17, 24)]
settings = GenerationSpec(max_new_tokens=16, rows=8, temperature=0.8, top_p=0.9)
written = model.generate(prompts, settings, stop_ids=(5, 6), seeds=range(24))
logprobs = model.token_logprobs([np.array([*p, *w.ids], np.int32) for p, w in zip(prompts, written)])
print(json.dumps([[w.ids for w in written], [part.tobytes().hex() for part in logprobs]]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the operating system cannot pin a process to a core")
def test_one_core_and_two_give_the_same_bits():
    # The pool of threads has two in both: another size is another machine type.
    environment = os.environ | {"NPROC": "2", "JAX_PLATFORMS": "cpu"}
    one, all_ = (
        subprocess.run(
            [sys.executable, "-c", CHILD, cores], env=environment, capture_output=True, text=True, check=True
        )
        for cores in ("one", "all")
    )
    assert len(json.loads(one.stdout)[0]) == 24
    assert one.stdout == all_.stdout
