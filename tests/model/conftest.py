"""Small jobs; our JAX code runs with strict dtype promotion and without rank promotion."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from tunix_eval.records import Batch, TrainingJob
from tunix_eval.specs import ModelSpec, TrainingSpec

VOCAB, PAD, BOS, EOS = 16, 15, 14, 13
TINY = ModelSpec(layers=2, width=16, heads=2, mlp_width=32)

MakeJob = Callable[..., TrainingJob]


@pytest.fixture(scope="module", autouse=True)
def strict_arithmetic() -> Iterator[None]:
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def counting_rows(rows: int = 12, tokens: int = 12) -> Batch:
    """Rows `<bos> a b <eos>`, packed three a row, where b is the digit after a."""
    ids = np.full((rows, tokens), PAD, np.int32)
    segments, positions = np.zeros_like(ids), np.zeros_like(ids)
    mask = np.zeros(ids.shape, bool)
    names = []
    for row in range(rows):
        for segment in range(tokens // 4):
            at = slice(4 * segment, 4 * segment + 4)
            first = (row + 3 * segment) % 10
            ids[row, at] = BOS, first, (first + 1) % 10, EOS
            mask[row, at] = False, False, True, True
            segments[row, at], positions[row, at] = segment + 1, range(4)
        names.append(tuple(f"row{row}-{segment}" for segment in range(tokens // 4)))
    return Batch(ids, mask, segments, positions, tuple(names))


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    def make(
        *, directory: str = "run", seed: int = 0, stop_after: int | None = None, **training: object
    ) -> TrainingJob:
        defaults: dict[str, object] = {
            "rows": 4,
            "row_tokens": 12,
            "learning_rate": 1e-2,
            "steps_per_dispatch": 4,
            "checkpoint_steps": 6,
        }
        if "epochs" not in training:
            defaults["steps"] = 20
        spec = TrainingSpec.model_validate(defaults | training)
        return TrainingJob(
            rows=counting_rows(max(12, spec.rows)),
            model=TINY,
            training=spec,
            seed=seed,
            vocab_size=VOCAB,
            pad_id=PAD,
            stop_after=stop_after,
            directory=tmp_path / directory,
        )

    return make
