import contextlib

import jax
import jax.numpy as jnp
import pytest

from tunix_eval.errors import ArtifactError, SpecError
from tunix_eval.model import checkpoints
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import abstract_params
from tunix_eval.model.optimizer import optimizer_names
from tunix_eval.model.steps import StackedBatches, initial_state, train_steps
from tunix_eval.sizes import (
    WITH_MOMENTUM,
    check_memory,
    chosen_chunk,
    disk_bytes,
    memory_bytes,
    optimizer_numbers,
    parameter_count,
)
from tunix_eval.specs import ModelSpec, TrainingSpec

TINY = ModelSpec(preset="tiny")


@pytest.mark.parametrize(
    "model",
    [
        {"preset": "tiny"},
        {"preset": "tiny", "kv_heads": 2, "tied": False, "qk_norm": False},
        {"preset": "tiny", "head_width": 48, "vocab_size": 1000},
        {"preset": "medium"},
    ],
    ids=str,
)
def test_the_count_is_that_of_the_weights_that_are_built(model):
    spec = ModelSpec(**model)
    weights = abstract_params(DecoderConfig.from_spec(spec, vocab_size=259))
    assert parameter_count(spec, 259) == sum(shape.size for shape in weights.values())


def planned_bytes(model, training, vocab_size):
    """What XLA plans for one dispatch."""
    config = DecoderConfig.from_spec(model, vocab_size=vocab_size)
    state = jax.eval_shape(lambda params: initial_state(params, training, 10), abstract_params(config))
    rows = training.rows // training.accumulate
    shape = (training.steps_per_dispatch, training.accumulate, rows, training.row_tokens)
    batches = StackedBatches(
        *(jax.ShapeDtypeStruct(shape, kind) for kind in (jnp.int32, jnp.bool, jnp.int32, jnp.int32))
    )
    count = jax.ShapeDtypeStruct((), jnp.int32)
    plan = train_steps(config, training, 10).lower(state, batches, count).compile().memory_analysis()
    held = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    return held + plan.temp_size_in_bytes


def written_bytes(model, training, vocab_size):
    """What is being written to a checkpoint, of which XLA knows nothing."""
    return 4 * (parameter_count(model, vocab_size) + optimizer_numbers(model, training, vocab_size))


@pytest.mark.parametrize(
    ("model", "training", "vocab_size"),
    [
        ({"preset": "tiny"}, {"rows": 16, "row_tokens": 64}, 259),
        ({"preset": "tiny", "remat": True}, {"rows": 8, "row_tokens": 256}, 259),
        ({"preset": "tiny"}, {"rows": 16, "row_tokens": 128, "accumulate": 4, "optimizer": "sgd"}, 259),
        ({"preset": "tiny", "kv_heads": 1, "tied": False}, {"rows": 4, "row_tokens": 64}, 4000),
        ({"preset": "tiny"}, {"rows": 8, "row_tokens": 64, "loss_chunk": 64}, 20_000),
    ],
    ids=str,
)
def test_the_estimate_is_within_a_factor_of_one_and_a_half_of_what_xla_plans(model, training, vocab_size):
    model, training = ModelSpec(**model), TrainingSpec(steps=10, **training)
    estimate, planned = memory_bytes(model, training, vocab_size, "cpu"), planned_bytes(model, training, vocab_size)
    assert planned / 1.5 < estimate - written_bytes(model, training, vocab_size) < planned * 1.5


@pytest.mark.parametrize(("width", "vocab_size"), [(256, 512), (128, 64_000)])
def test_muon_works_with_copies_of_the_matrices_and_leaves_the_embedding_to_adam(width, vocab_size):
    model = ModelSpec(layers=1, width=width, heads=2, mlp_width=2 * width)
    training = TrainingSpec(steps=10, rows=4, row_tokens=32, optimizer="muon")
    estimate, planned = memory_bytes(model, training, vocab_size, "cpu"), planned_bytes(model, training, vocab_size)
    assert planned / 1.25 < estimate - written_bytes(model, training, vocab_size) < planned * 1.25


def remembered(model, training, vocab_size=259):
    weights = abstract_params(DecoderConfig.from_spec(model, vocab_size=vocab_size))
    state = jax.eval_shape(lambda params: initial_state(params, training, 10), weights)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.optimizer)) / 4


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in optimizer_names()), *((name, {"momentum": 0.9}) for name in WITH_MOMENTUM)],
)
def test_an_optimizer_remembers_as_many_numbers_as_are_counted(name, options):
    training = TrainingSpec(steps=10, optimizer=name, optimizer_options=options)
    found, counted = remembered(TINY, training), optimizer_numbers(TINY, training, 259)
    assert found == pytest.approx(counted, abs=0.15 * parameter_count(TINY, 259))


@pytest.mark.parametrize(("name", "width"), [("muon", 256), ("muon", 32), ("adafactor", 126), ("adafactor", 128)])
def test_what_an_optimizer_treats_in_two_ways_is_counted_in_two(name, width):
    model = ModelSpec(layers=1, width=width, heads=1, mlp_width=2 * width)
    training = TrainingSpec(steps=10, optimizer=name)
    found, counted = remembered(model, training, 5000), optimizer_numbers(model, training, 5000)
    assert found == pytest.approx(counted, abs=0.03 * parameter_count(model, 5000))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_training_takes_as_much_disk_as_is_counted_before_it_has_begun(keep, tmp_path, monkeypatch):
    training = TrainingSpec(steps=10, keep=keep, keep_checkpoints=3, optimizer="muon")
    weights = abstract_params(DecoderConfig.from_spec(TINY, vocab_size=259))
    state = jax.eval_shape(lambda params: initial_state(params, training, 10), weights)
    counted = disk_bytes(TINY, training, 259)
    tree = {"params": weights, "optimizer": state.optimizer}
    best = tmp_path if keep == "best" else None
    for free, enough in ((1.001 * counted, True), (0.999 * counted, False)):
        monkeypatch.setattr(checkpoints, "free_bytes", lambda folder, free=free: int(free))
        with contextlib.nullcontext() if enough else pytest.raises(ArtifactError, match="4 checkpoints and the final"):
            checkpoints.check_room(tmp_path, tree, keep=3, best=best)


def test_on_the_cpu_what_is_written_takes_memory_beside_what_is_trained():
    model, training = ModelSpec(preset="tiny"), TrainingSpec(steps=10, keep="best")
    weights = 4 * parameter_count(model, 259)
    last = memory_bytes(model, training.model_copy(update={"keep": "last"}), 259, "cpu")
    assert memory_bytes(model, training, 259, "cpu") - last == weights


@pytest.mark.parametrize("smaller", [{"remat": True}, {"dtype": "bfloat16"}])
def test_remat_and_bfloat16_take_less(smaller):
    training = TrainingSpec(steps=1, rows=64, row_tokens=512)
    spec = ModelSpec(preset="base")
    assert memory_bytes(spec.model_copy(update=smaller), training, 1000) < memory_bytes(spec, training, 1000)


def test_cudnns_attention_holds_no_scores_so_that_a_gpu_needs_less_for_rows_that_it_takes():
    long, odd = (TrainingSpec(steps=1, rows=16, row_tokens=tokens) for tokens in (2048, 2047))
    spec = ModelSpec(preset="medium")
    sizes = spec.sizes()
    scores = sizes["layers"] * sizes["heads"] * 16 * 2047**2 * 4 / 2
    needed, otherwise = (memory_bytes(spec, training, 1000, "gpu") for training in (long, odd))
    assert otherwise - needed > scores
    for other in ({"dtype": "float32"}, {"head_width": 36}):
        assert memory_bytes(spec.model_copy(update=other), long, 1000, "gpu") - needed > scores


def test_too_little_memory_is_one_line_with_what_would_help_and_by_how_much():
    model, training = ModelSpec(preset="base"), TrainingSpec(steps=1, rows=64, row_tokens=512)
    needed = memory_bytes(model, training, 1000)
    given = {"model": model, "training": training, "vocab_size": 1000, "platform": "cpu"}
    check_memory(needed, needed, **given)
    with pytest.raises(SpecError) as refused:
        check_memory(needed, 2 * 10**9, **given)
    lines = str(refused.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"training needs about {needed / 1e9:.0f} GB of memory, the device has 2.0 GB; ")
    for way in ("remat = true", "accumulate = 2", "rows = 32"):
        assert f"{way} about " in lines[0], way
    less = memory_bytes(model.model_copy(update={"remat": True}), training, 1000)
    assert f"remat = true about {less / 1e9:.1f} GB" in lines[0]
    assert lines[0].endswith("would need less")


def test_where_no_setting_helps_the_model_is_too_large():
    model, training = ModelSpec(preset="medium", remat=True), TrainingSpec(steps=1, rows=1, row_tokens=2, loss_chunk=1)
    with pytest.raises(SpecError, match="take a smaller model or an optimizer that remembers less"):
        check_memory(10**9, 10**6, model=model, training=training, vocab_size=10, platform="cpu")


@pytest.mark.parametrize(("tokens", "vocab_size"), [(1, 1), (4096, 256_000), (100, 151_936), (7, 10**9)])
def test_a_chunk_holds_at_least_one_token_and_at_most_all(tokens, vocab_size):
    assert 1 <= chosen_chunk(tokens, vocab_size, "cpu") <= tokens
    assert chosen_chunk(tokens, vocab_size, "cpu") <= chosen_chunk(tokens, vocab_size, "gpu")
