"""The loss over rows that are never trained on, and what follows from how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.decoder import Params
from tunix_eval.model.mesh import Placement
from tunix_eval.model.metrics import MetricLine
from tunix_eval.model.steps import StackedBatches, total_nats
from tunix_eval.records import Batch
from tunix_eval.specs import TrainingSpec


class Holdout:
    """Packed rows whose loss is measured, so many at once that they take no more memory than a micro-batch."""

    def __init__(
        self, rows: Batch, config: DecoderConfig, training: TrainingSpec, placed: Placement | None = None
    ) -> None:
        self.rows = rows
        self.at_once = training.rows // training.accumulate
        self.placed = placed
        self.nats = total_nats(config, training.loss_chunk, placed)

    def loss(self, params: Params) -> float:
        """Return the mean over all supervised tokens in nats, those of every row weighing the same."""
        total = count = 0.0
        for start in range(0, len(self.rows.tokens), self.at_once):
            nats, tokens = self.nats(params, self._batch(start))
            total, count = total + float(nats), count + float(tokens)
        return total / count

    def _batch(self, start: int) -> StackedBatches:
        """Return the rows from a place on, padded with rows of nothing so that one program does for all."""

        def padded(array: Any) -> Any:
            found = array[start : start + self.at_once]
            return np.pad(found, ((0, self.at_once - len(found)), (0, 0)))

        arrays = (getattr(self.rows, field) for field in StackedBatches._fields)
        batch = StackedBatches(*(None if array is None else padded(array) for array in arrays))
        return batch if self.placed is None else jax.device_put(batch, self.placed.batch)


def best_measurement(lines: Sequence[MetricLine]) -> MetricLine | None:
    """Return the line with the lowest holdout loss, the first of equal ones; None before the first measurement."""
    measured = [line for line in lines if line.holdout_loss is not None]
    return min(measured, key=lambda line: line.holdout_loss or 0.0, default=None)


def is_stale(lines: Sequence[MetricLine], patience: int | None) -> bool:
    """Tell whether so many measurements in a row have brought no new best.

    Read off the metrics alone, so that a training that was killed decides as one that was not.
    """
    best = best_measurement(lines)
    if patience is None or best is None:
        return False
    return sum(line.holdout_loss is not None for line in lines[best.step :]) >= patience
