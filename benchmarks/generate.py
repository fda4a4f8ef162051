"""Greedy generation beside google-tunix's Sampler: the same decoder with the same weights, in one process, in turns.

    make bench-train, or: .venv-peer/bin/python benchmarks/generate.py [--rounds 5]

A rate is the best of the rounds, beside it their median; a ratio is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.metadata
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from peer import DECODER, VOCAB, Compilations, NumberTokenizer, peer_model
from tunix.generate.sampler import CacheConfig, Sampler

from tunix_eval.model.buckets import prompt_pages
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import initial_params
from tunix_eval.model.decoding import (
    DISPATCH_STEPS,
    Rows,
    Sizes,
    dispatch,
    empty_pool,
    prefill,
    written_pages,
)
from tunix_eval.model.generation import PREFILL_TOKENS, FlaxModel
from tunix_eval.model.vocabulary import Vocabulary
from tunix_eval.records import Generation, TokenArray
from tunix_eval.specs import GenerationSpec

PAD, ROWS, NEW, LONGEST = VOCAB - 1, 64, 64, 60
STOPS = tuple(range(0, VOCAB, 20))
"""With these ids a text of the random weights ends after 20 tokens on average."""
SETTINGS = GenerationSpec(max_new_tokens=NEW, rows=ROWS)

Complete = Callable[[Sequence[TokenArray]], list[list[int]]]


def prompts(count: int) -> list[TokenArray]:
    """Return prompts of 10 to 60 tokens."""
    random = np.random.default_rng(0)
    return [random.integers(0, PAD, length).astype(np.int32) for length in random.integers(10, LONGEST + 1, count)]


def ours(model: FlaxModel, stop_ids: tuple[int, ...]) -> Complete:
    """Return our side."""

    def complete(asked: Sequence[TokenArray]) -> list[list[int]]:
        written: list[Generation] = model.generate(asked, SETTINGS, stop_ids=stop_ids)
        return [list(one.ids) for one in written]

    return complete


def theirs(model: Any, config: DecoderConfig, stop_ids: tuple[int, ...]) -> Complete:
    """Return the peer's side: batches of ROWS prompts in order, each until all its rows have stopped."""
    # It keeps the stop ids of its first call, so that each set has a sampler of its own.
    cache = CacheConfig(64 + NEW, config.layers, config.kv_heads, config.head_width)
    eos = stop_ids or (VOCAB,)
    sampler = Sampler(model, NumberTokenizer(pad_id=PAD, eos_id=eos[0]), cache)

    def complete(asked: Sequence[TokenArray]) -> list[list[int]]:
        written = []
        for first in range(0, len(asked), ROWS):
            texts = [" ".join(map(str, ids.tolist())) for ids in asked[first : first + ROWS]]
            found = sampler(texts, NEW, max_prompt_length=64, eos_tokens=list(eos), forbidden_tokens=(PAD,))
            written += [[int(word) for word in text.split()] for text in found.text]
        return [_before(ids, eos) for ids in written]

    return complete


def _before(ids: list[int], eos: tuple[int, ...]) -> list[int]:
    cut = next((place for place, token in enumerate(ids) if token in eos), len(ids))
    return ids[:cut]


def in_turns(sides: dict[str, Callable[[], Any]], rounds: int) -> tuple[list[Any], dict[str, list[float]]]:
    """Return what a first call of each side gave, which compiles, and the seconds of calls after it, in turns."""
    given = [call() for call in sides.values()]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return given, seconds


def compare(title: str, asked: Sequence[TokenArray], sides: dict[str, Complete], rounds: int, target: float) -> None:
    """Print tokens a second of both sides, and their ratio."""
    given, seconds = in_turns({name: functools.partial(side, asked) for name, side in sides.items()}, rounds)
    tokens = [sum(map(len, written)) for written in given]
    equal = sum(a == b for a, b in zip(*given, strict=True))
    print(f"{title}: {len(asked)} prompts, {tokens[0]:,} tokens, {equal} texts the same on both sides")
    for (name, found), count in zip(seconds.items(), tokens, strict=True):
        print(f"  {name:<12} {count / min(found):>9,.0f} tokens/s, median {count / statistics.median(found):,.0f}")
    ratios = [theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)]
    ratio = statistics.median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"  they take {ratio:.2f} times as long ({spread}), target {target}: {verdict(ratio >= target)}")


def verdict(reached: bool) -> str:
    """Say whether a target was reached."""
    return "reached" if reached else "MISSED"


def compilations(sides: dict[str, Complete], heard: Compilations) -> None:
    """Print what is compiled when 64 prompts become 48."""
    asked = prompts(ROWS)
    for name, complete in sides.items():
        complete(asked)
        before = heard.now()
        complete(asked[:48])
        count, seconds = heard.since(before)
        print(f"64 prompts become 48, {name}: {count} compilations, {seconds:.1f} s")


def growth(complete: Complete, rounds: int) -> None:
    """Print what ten times the prompts cost."""
    few, many = prompts(ROWS), prompts(10 * ROWS)
    calls = {"few": functools.partial(complete, few), "many": functools.partial(complete, many)}
    _, seconds = in_turns(calls, rounds)
    small, large = (min(found) for found in seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"10 times the prompts: {large / small:.1f} times as long; peak RSS of the process {peak:,.0f} MB")


def precision(config: DecoderConfig, params: Any, rounds: int) -> None:
    """Print what bfloat16 activations change."""
    asked = prompts(ROWS)
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    models = {dtype: FlaxModel(dataclasses.replace(config, dtype=dtype), params, pad_id=PAD) for dtype in dtypes}
    _, seconds = in_turns({dtype: functools.partial(ours(one, ()), asked) for dtype, one in models.items()}, rounds)
    rates = {dtype: ROWS * NEW / min(found) for dtype, found in seconds.items()}
    print(f"float32 {rates['float32']:,.0f} tokens/s, bfloat16 {rates['bfloat16']:,.0f} tokens/s")


def best(call: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the least wall and CPU seconds of several calls, after one that compiles."""
    call()
    found = []
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - started, time.process_time() - used))
    return min(wall for wall, _ in found), min(used for _, used in found)


def parts(config: DecoderConfig, params: Any, rounds: int) -> None:
    """Print what a step and a prefill are made of, beside the rate of matrix products of the same shape."""
    sizes = Sizes(ROWS, prompt_pages(64), written_pages(NEW))
    pool = [empty_pool(config, sizes)]
    vocabulary = Vocabulary(VOCAB, PAD)
    full = Rows(*(jnp.full(ROWS, value, jnp.int32) for value in (10, 64, NEW - DISPATCH_STEPS)))
    pages = len(sizes.prompts) + len(sizes.written)
    flops = 2 * sum(array.size for name, array in params.items() if array.ndim == 2)

    def step(needed: bool) -> None:
        wanted = jnp.full(pages, needed)
        ids, pool[0] = dispatch(params, pool[0], full, None, wanted, config=config, vocabulary=vocabulary)
        ids.block_until_ready()

    def fill(width: int) -> None:
        count = PREFILL_TOKENS // width
        tokens, lengths = jnp.ones((count, width), jnp.int32), jnp.full(count, width, jnp.int32)
        places = jnp.arange(count, dtype=jnp.int32)
        pool[0] = prefill(params, pool[0], tokens, lengths, places, config=config, vocabulary=vocabulary)
        pool[0].logits.block_until_ready()

    x, matrix = jnp.ones((ROWS, config.width)), jnp.ones((config.width, config.mlp_width))
    product = jax.jit(lambda x: jax.lax.fori_loop(0, 50, lambda _, y: y + 1e-9 * (y @ matrix)[:, : config.width], x))
    _, used = best(lambda: product(x).block_until_ready(), rounds)
    rate = 100 * x.size * config.mlp_width / used
    print(f"matrix products of {ROWS} rows: {rate / 1e9:,.0f} GFLOP a second of CPU time")
    for name, tokens, steps, call in (
        ("step, nothing read", ROWS, DISPATCH_STEPS, functools.partial(step, False)),
        ("step, 128 columns read", ROWS, DISPATCH_STEPS, functools.partial(step, True)),
        ("prefill of 4 times 64", PREFILL_TOKENS, 1, functools.partial(fill, 64)),
    ):
        wall, used = (value / steps for value in best(call, rounds))
        share = flops * tokens / used / rate
        spent = f"{1e3 * wall:>6.2f} ms, CPU {1e3 * used:>6.2f} ms"
        print(f"  {name:<24} {spent}; the weights' products are {share:.0%} of it at that rate")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    rounds = parser.parse_args().rounds
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("tunix-eval", "google-tunix", "jax"))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; {rounds} rounds"
    )
    heard = Compilations()
    # Weights large enough that the likeliest tokens differ from place to place.
    config = DecoderConfig.from_spec(DECODER.model_copy(update={"init_std": 0.1}), vocab_size=VOCAB)
    params = initial_params(config, 0)
    model, peer = FlaxModel(config, params, pad_id=PAD), peer_model(config, params)
    full = {"ours": ours(model, ()), "google-tunix": theirs(peer, config, ())}
    stopping = {"ours": ours(model, STOPS), "google-tunix": theirs(peer, config, STOPS)}
    compare("64 new tokens each", prompts(ROWS), full, rounds, 1.6)
    compare("texts that stop", prompts(4 * ROWS), stopping, rounds, 2.5)
    compilations(full, heard)
    growth(full["ours"], min(rounds, 3))
    precision(config, params, rounds)
    parts(config, params, 3 * rounds)


if __name__ == "__main__":
    main()
