"""Training beside google-tunix's PeftTrainer: the same decoder with the same weights, in one process, in turns.

    make bench-train, or: .venv-peer/bin/python benchmarks/train.py [--rounds N] [--only steps,lengths]

A rate is the best of the rounds, beside it their median; a ratio is the median of the rounds' own. CPU time is that of
all threads: on a machine with other work its ratio is the steadier one.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

STARTED = time.time()
PEERLESS = os.environ.get("BENCH_PART", "")
"""Set in the subprocesses, which measure one thing of ours and need no peer."""

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from tunix_eval.data.tokens.packing import pack  # noqa: E402
from tunix_eval.model.config import DecoderConfig  # noqa: E402
from tunix_eval.model.decoder import abstract_params, decoder_with, initial_params  # noqa: E402
from tunix_eval.model.loss import batch_nll  # noqa: E402
from tunix_eval.model.steps import StackedBatches, initial_state, train_steps  # noqa: E402
from tunix_eval.records import TokenSequence  # noqa: E402
from tunix_eval.specs import ModelSpec, TrainingSpec  # noqa: E402

VOCAB, PAD = 512, 511
# The peer's RoPE has this base whatever its configuration says.
DECODER = ModelSpec(layers=4, width=256, heads=4, mlp_width=1024, dtype="float32", rope_theta=1e6)
STEPS = 10
"""Steps a round, which is one dispatch of ours."""
TRACES = 16
"""A step, of trace-like lengths."""
ROW_TOKENS = 320
"""For no trace is longer than 305."""
PADDED = 400

Run = Callable[[], float]
"""Trains STEPS steps and returns the last loss."""


def training(**settings: Any) -> TrainingSpec:
    """Return plain AdamW at a constant rate, as both sides have it."""
    return TrainingSpec(steps=10**6, schedule="constant", clip_norm=None, steps_per_dispatch=STEPS, **settings)


# -------------------------------------------------------------------------------------------------------- data


def trace_lengths(count: int) -> np.ndarray:
    """Return lengths of traces: log-normal, cut at 305, with a mean of 91, 95 of 100 up to 222.

    They are the quantiles of that distribution, in a random order: a sample as small as this one would miss them.
    """
    quantiles = (np.arange(count) + 0.5) / count
    normal = np.array([statistics.NormalDist().inv_cdf(quantile) for quantile in quantiles])
    found = np.clip(np.exp(4.317 + 0.66 * normal), 12, 305).astype(np.int32)
    return np.random.default_rng(0).permutation(found)


def traces(lengths: Sequence[int]) -> list[np.ndarray]:
    """Return so many tokens each, none of them the pad id."""
    random = np.random.default_rng(1)
    return [random.integers(0, PAD, length).astype(np.int32) for length in lengths]


def padded(found: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Return a trace a row, padded on the right: what the peer takes."""
    rows = np.full((len(found), width), PAD, np.int32)
    for row, trace in zip(rows, found, strict=True):
        row[: len(trace)] = trace
    return rows


def packed(found: Sequence[np.ndarray], width: int) -> StackedBatches:
    """Return traces in rows as our data stage packs them, [rows, width] each; all tokens are supervised."""
    every = [TokenSequence(str(n), (), ids, np.ones(len(ids), bool)) for n, ids in enumerate(found)]
    batch = pack(every, row_tokens=width, pad_id=PAD)
    return StackedBatches(batch.tokens, batch.loss_mask, batch.segment_ids, batch.positions)


def stacked(rows: StackedBatches, at_once: int) -> StackedBatches:
    """Return STEPS batches of `at_once` rows; behind the last row the first come again, as in the next epoch."""
    order = np.arange(STEPS * at_once) % len(rows.tokens)
    return StackedBatches(*(None if a is None else a[order].reshape(STEPS, 1, at_once, a.shape[1]) for a in rows))


# ------------------------------------------------------------------------------------------------------- sides


def ours(config: DecoderConfig, params: Any, batches: StackedBatches) -> tuple[Run, list[float]]:
    """Return our side; the losses of its first round go into the list."""
    spec, first = training(), []
    program = train_steps(config, spec, 10**6)
    state = [initial_state(jax.tree.map(jnp.copy, params), spec, 10**6)]

    def run() -> float:
        state[0], metrics = program(state[0], batches, jnp.int32(STEPS))
        losses = np.asarray(metrics.loss).tolist()
        first.extend(losses if not first else [])
        return losses[-1]

    return run, first


def theirs(config: DecoderConfig, params: Any, batches: Sequence[np.ndarray]) -> tuple[Run, list[float]]:
    """Return the peer's side, managed externally so that its loop may be entered again."""
    import optax
    from peer import peer_model
    from tunix.sft import peft_trainer, utils

    def model_input(batch: Any) -> dict[str, Any]:
        text = batch.input_tokens != PAD
        return {
            "input_tokens": batch.input_tokens,
            "input_mask": batch.input_mask,
            "positions": utils.build_positions_from_mask(text),
            "attention_mask": utils.make_causal_attn_mask(text),
        }

    config_of_loop = peft_trainer.TrainingConfig(eval_every_n_steps=10**9)
    optimizer = optax.adamw(training().learning_rate)
    trainer = peft_trainer.PeftTrainer(peer_model(config, params), optimizer, config_of_loop)
    trainer.with_gen_model_input_fn(model_input)
    trainer.is_managed_externally = True
    losses: list[float] = []
    trainer._write_metrics = lambda held: losses.append(float(held.loss))  # its logger's files are no part of this
    inputs = [peft_trainer.TrainingInput(input_tokens=rows, input_mask=rows != PAD) for rows in batches]

    def run() -> float:
        trainer.train(inputs)
        return losses[-1]

    return run, losses


def in_turns(sides: dict[str, Run], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return wall and CPU seconds of every round; the sides take turns, after one call of each that compiles."""
    for run in sides.values():
        run()
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            started, used = time.perf_counter(), time.process_time()
            run()
            found[name][0].append(time.perf_counter() - started)
            found[name][1].append(time.process_time() - used)
    return found


def ratio(mine: Sequence[float], other: Sequence[float]) -> float:
    """Return how many times as long the other side took, as the median of the rounds."""
    return statistics.median(b / a for a, b in zip(mine, other, strict=True))


def verdict(reached: bool) -> str:
    """Say whether a target was reached."""
    return "reached" if reached else "MISSED"


# ---------------------------------------------------------------------------------------------------- sections


def products_per_second(rounds: int) -> tuple[float, float]:
    """Return the best rate of float32 matrix products, FLOP a second of wall and of CPU time."""
    one, other = jnp.ones((2048, 1024)), jnp.ones((1024, 1024))
    product = jax.jit(lambda a, b: a @ b)

    def run() -> float:
        for _ in range(4):
            found = product(one, other)
        return float(found[0, 0])

    wall, used = in_turns({"product": run}, rounds)["product"]
    flops = 4 * 2 * 2048 * 1024 * 1024
    return flops / min(wall), flops / min(used)


def flops_of_step(config: DecoderConfig, rows: int, tokens: int) -> float:
    """Return the FLOP of a step: 6 a weight and token, and attention over whole rows, as it is computed here."""
    weights = sum(shape.size for name, shape in abstract_params(config).items() if shape.ndim == 2)
    attention = 12 * config.layers * config.heads * config.head_width * tokens
    return rows * tokens * (6.0 * weights + attention)


def steps(rounds: int) -> None:
    """Full rows: rate, ratio, and how near to the machine's matrix products."""
    config = DecoderConfig.from_spec(DECODER, vocab_size=VOCAB)
    params = initial_params(config, 0)
    print(f"{sum(array.size for array in params.values()):,} parameters on our side")
    rows = np.random.default_rng(2).integers(0, PAD, (STEPS * 16, 128)).astype(np.int32)
    whole = StackedBatches(
        rows, np.ones_like(rows, bool), np.ones_like(rows), np.tile(np.arange(128, dtype=np.int32), (160, 1))
    )
    (mine, my_losses), (other, losses) = (
        ours(config, params, stacked(whole, 16)),
        theirs(config, params, [rows[16 * n : 16 * n + 16] for n in range(STEPS)]),
    )
    sides = {"ours, float32": mine, "google-tunix": other}
    half = dataclasses.replace(config, dtype="bfloat16")
    sides["ours, bfloat16"] = ours(half, params, stacked(whole, 16))[0]
    found = in_turns(sides, rounds)
    print(
        f"16 x 128 full rows; losses of the first steps {my_losses[0]:.5f} {my_losses[3]:.5f}, "
        f"the peer's {losses[0]:.5f} {losses[3]:.5f}"
    )
    wall_rate, cpu_rate = products_per_second(rounds)
    flops = STEPS * flops_of_step(config, 16, 128)
    for name, (wall, used) in found.items():
        rate, median = (STEPS * 2048 / seconds for seconds in (min(wall), statistics.median(wall)))
        print(
            f"  {name:<16} {rate:>8,.0f} tokens/s, median {median:,.0f}; MFU {flops / min(wall) / wall_rate:.2f}, "
            f"in CPU time {flops / min(used) / cpu_rate:.2f}"
        )
    (wall, used), (peer_wall, peer_used) = found["ours, float32"], found["google-tunix"]
    print(f"  matrix products: {wall_rate / 1e9:,.0f} GFLOP/s, {cpu_rate / 1e9:,.0f} in CPU time")
    times, mfu = ratio(wall, peer_wall), flops / min(wall) / wall_rate
    print(
        f"  ratio {times:.2f}, in CPU time {ratio(used, peer_used):.2f}, target 1.6: {verdict(times >= 1.6)}; "
        f"MFU target 0.35: {verdict(mfu >= 0.35)}"
    )


def lengths(rounds: int) -> None:
    """Traces of many lengths: packed against padded."""
    from peer import Compilations

    heard = Compilations()
    config = DecoderConfig.from_spec(DECODER, vocab_size=VOCAB)
    params = initial_params(config, 0)
    count = trace_lengths(STEPS * TRACES)
    found = traces(count)
    real = int(count.sum())
    groups = [found[TRACES * n : TRACES * n + TRACES] for n in range(STEPS)]
    longest = np.mean([max(map(len, group)) for group in groups])
    print(
        f"traces of {count.mean():.0f} tokens on average, 95 of 100 up to {np.quantile(count, 0.95):.0f}, "
        f"at most {count.max()}; the longest of a batch has {longest / count.mean():.2f} "
        "times the average"
    )
    rows = packed(found, ROW_TOKENS)
    at_once = round(len(rows.tokens) / STEPS)
    batches = stacked(rows, at_once)
    sides: dict[str, Run] = {}
    compiled: dict[str, tuple[int, float]] = {}
    for name, (run, _) in {
        "packed, ours": ours(config, params, batches),
        f"padded to {PADDED}": theirs(config, params, [padded(group, PADDED) for group in groups]),
        "padded to the longest": theirs(config, params, [padded(g, max(map(len, g))) for g in groups]),
    }.items():
        before = heard.now()
        run()
        sides[name], compiled[name] = run, heard.since(before)
    times = in_turns(sides, rounds)
    # All tokens are supervised. A round of ours holds a few traces more or less than one of the peer's.
    trained = dict.fromkeys(times, real) | {"packed, ours": int(batches.loss_mask.sum())}
    print(
        f"packed: {len(rows.tokens)} rows of {ROW_TOKENS}, {100 * real / rows.tokens.size:.0f}% of them tokens; "
        f"{STEPS} steps of {at_once} rows are {trained['packed, ours']:,} tokens, of {TRACES} traces {real:,}"
    )
    for name, (wall, _) in times.items():
        n, seconds = compiled[name]
        best, median = (trained[name] / seconds for seconds in (min(wall), statistics.median(wall)))
        print(f"  {name:<22} {best:>8,.0f} real tokens/s, median {median:,.0f}; {n} compilations, {seconds:.1f} s")
    mine, more = times.pop("packed, ours"), trained["packed, ours"] / real
    for (name, other), target in zip(times.items(), (6.5, 4.5), strict=True):
        wall, used = more * ratio(mine[0], other[0]), more * ratio(mine[1], other[1])
        print(f"  against {name}: {wall:.2f}, in CPU time {used:.2f}, target {target}: {verdict(wall >= target)}")


def start(rounds: int) -> None:
    """The first step in a second process, with compiled programs kept; google-tunix keeps none."""
    with tempfile.TemporaryDirectory() as cache:
        first, *others = (part("first_step", cache) for _ in range(1 + rounds))
    peer = [part("peer_first_step", "") for _ in range(rounds)]
    for name, key in (("from the start of the process", "seconds"), ("imports apart", "computing")):
        second, theirs = (statistics.median(found[key] for found in every) for every in (others, peer))
        print(
            f"  time to the first step, {name}: {first[key]:.1f} s, in a second process {second:.1f} s, "
            f"{first[key] / second:.1f} times sooner; google-tunix {theirs:.1f} s, {theirs / second:.1f} times as long"
        )


def loss(rounds: int) -> None:
    """Memory and time of the loss at a large vocabulary."""
    whole = 4 * 1024 * 256_000 * 4
    for name, chunk in (("in chunks", None), ("all logits", 4 * 1024)):
        found = part("loss", json.dumps({"chunk": chunk, "rounds": rounds}))
        print(
            f"  {name:<11} {found['temporary'] / 2**20:>7,.0f} MB beside the gradients, peak RSS of the process "
            f"{found['rss'] / 2**20:,.0f} MB, {found['cpu']:.1f} s of CPU, loss {found['loss']:.6f}"
        )
    print(f"  (4 x 1,024 tokens, 256,000 ids, width 256; the logits alone are {whole / 2**20:,.0f} MB)")


def growth(rounds: int) -> None:
    """What twice the layers, twice the length and ten times the data cost."""
    base = part("growth", json.dumps({"rounds": rounds}))
    for name, change in (("2 x layers", {"layers": 8}), ("2 x length", {"tokens": 256}), ("10 x data", {"data": 10})):
        found = part("growth", json.dumps({"rounds": rounds, **change}))
        print(
            f"  {name}: {found['cpu'] / base['cpu']:.2f} times the CPU time of a step, peak RSS "
            f"{base['rss'] / 2**20:,.0f} -> {found['rss'] / 2**20:,.0f} MB"
        )


# ------------------------------------------------------------------------------------------------ subprocesses


def part(name: str, argument: str) -> dict[str, float]:
    """Measure one thing in a process of its own."""
    environment = os.environ | {"BENCH_PART": name}
    command = [sys.executable, __file__, argument]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stderr)
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def peak() -> int:
    """Return the most bytes that this process has held."""
    # On Linux ru_maxrss begins with that of the process that started this one.
    status = Path("/proc/self/status")
    peaks = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line] if status.exists() else []
    return int(peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def measured_first_step(cache: str) -> dict[str, float]:
    """Return the seconds from the start of the process to the first step."""
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    config = DecoderConfig.from_spec(DECODER, vocab_size=VOCAB)
    batches, spec = stacked(packed(traces(trace_lengths(160)), ROW_TOKENS), 5), training()
    started = time.time()
    state = initial_state(initial_params(config, 0), spec, 10**6)
    np.asarray(train_steps(config, spec, 10**6)(state, batches, jnp.int32(1))[1].loss)
    return {"seconds": time.time() - STARTED, "computing": time.time() - started}


def measured_peer_first_step(_: str) -> dict[str, float]:
    """Return the same of google-tunix, on as many rows of the same length."""
    import peer  # noqa: F401
    from tunix.sft import peft_trainer  # noqa: F401

    config = DecoderConfig.from_spec(DECODER, vocab_size=VOCAB)
    rows = padded(traces(trace_lengths(160))[:5], ROW_TOKENS)
    started = time.time()
    # Its losses are told a step later.
    theirs(config, initial_params(config, 0), [rows, rows])[0]()
    return {"seconds": time.time() - STARTED, "computing": time.time() - started}


def measured_loss(argument: str) -> dict[str, float]:
    """Return memory and time of a loss with its gradients."""
    asked = json.loads(argument)
    config = DecoderConfig.from_spec(ModelSpec(layers=1, width=256, heads=4, mlp_width=8), vocab_size=256_000)
    random = np.random.default_rng(0)
    tokens = random.integers(0, 256_000, (4, 1024)).astype(np.int32)
    batch = StackedBatches(tokens, np.ones_like(tokens, bool), np.ones_like(tokens), None)
    hidden = random.normal(size=(4, 1024, 256)).astype(np.float32)
    params = initial_params(config, 0)

    def total(params: Any, hidden: jax.Array) -> jax.Array:
        return batch_nll(decoder_with(config, params), hidden, batch, chunk=asked["chunk"])[0]

    program = jax.jit(jax.value_and_grad(total, argnums=(0, 1))).lower(params, hidden).compile()
    used = []
    for _ in range(asked["rounds"]):
        before = time.process_time()
        value, _ = jax.block_until_ready(program(params, hidden))
        used.append(time.process_time() - before)
    return {
        "temporary": program.memory_analysis().temp_size_in_bytes,
        "rss": peak(),
        "cpu": min(used),
        "loss": float(value),
    }


def measured_growth(argument: str) -> dict[str, float]:
    """Return CPU time of a step, and memory."""
    asked = {"layers": 4, "tokens": 128, "data": 1} | json.loads(argument)
    spec = DECODER.model_copy(update={"layers": asked["layers"]})
    config = DecoderConfig.from_spec(spec, vocab_size=VOCAB)
    rows = np.random.default_rng(2).integers(0, PAD, (1600 * asked["data"], asked["tokens"])).astype(np.int32)
    positions = np.broadcast_to(np.arange(asked["tokens"], dtype=np.int32), rows.shape).copy()
    whole = StackedBatches(rows, np.ones_like(rows, bool), np.ones_like(rows), positions)
    run, _ = ours(config, initial_params(config, 0), stacked(whole, 16))
    _, used = in_turns({"ours": run}, asked["rounds"])["ours"]
    return {"cpu": min(used), "rss": peak()}


SECTIONS = {"steps": (steps, 5), "lengths": (lengths, 3), "start": (start, 3), "loss": (loss, 2), "growth": (growth, 2)}
"""What measures a section, and its rounds."""
PARTS = {
    "first_step": measured_first_step,
    "peer_first_step": measured_peer_first_step,
    "loss": measured_loss,
    "growth": measured_growth,
}


def main() -> None:
    """Measure and print."""
    if PEERLESS:
        print(json.dumps(PARTS[PEERLESS](sys.argv[1])))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, metavar="N", help="of every section, in place of its own number")
    parser.add_argument("--only", default=",".join(SECTIONS), metavar="SECTIONS")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("google-tunix", "jax", "flax"))
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    print(f"load before: {os.getloadavg()[0]:.1f}")
    for name in arguments.only.split(","):
        section, rounds = SECTIONS[name]
        print(f"\n{name}: {section.__doc__}", flush=True)
        section(arguments.rounds or rounds)


if __name__ == "__main__":
    main()
