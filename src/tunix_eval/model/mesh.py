"""Which device holds what, where the rows of a step are split over several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tunix_eval.errors import SpecError, TrainingError


@dataclass(frozen=True, slots=True)
class Placement:
    """Where weights and batches lie. Weights that are split over devices would be named here, and nowhere else."""

    weights: NamedSharding
    """Of every array of a TrainState: whole on each device."""
    batches: NamedSharding
    """Of [N, A, B, T]: rows split."""
    batch: NamedSharding
    """Of [B, T]: rows split."""


def placement(mesh: Mapping[str, int]) -> Placement | None:
    """Return the placement for a mesh such as `{"data": 4}`; None for a single device.

    Raises:
        SpecError: an axis other than data.
        TrainingError: more devices than there are.
    """
    if unknown := sorted(set(mesh) - {"data"}):
        raise SpecError(f"mesh: no axis '{unknown[0]}'; rows are split over data, as in data=4")
    count = math.prod(mesh.values())
    if count <= 1:
        return None
    if count > jax.device_count():
        raise TrainingError(f"mesh data={count}: there are {jax.device_count()} devices; ask for no more than those")
    devices = Mesh(np.array(jax.devices()[:count]), ("data",))

    def split(*axes: str | None) -> NamedSharding:
        return NamedSharding(devices, PartitionSpec(*axes))  # type: ignore[no-untyped-call]

    return Placement(weights=split(), batches=split(None, None, "data"), batch=split("data"))
