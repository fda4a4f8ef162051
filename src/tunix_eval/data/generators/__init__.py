"""Datasets and evalsets that are generated, the same on every machine."""

from tunix_eval.data.generators.addition import ADDITION, addition_dataset, addition_heldout
from tunix_eval.data.generators.dev_reasoning import (
    DEV_REASONING,
    DEV_REASONING_BASIC,
    dev_reasoning_basic_dataset,
    dev_reasoning_dataset,
    dev_reasoning_heldout,
)
from tunix_eval.data.generators.generated import generate_dataset
from tunix_eval.data.generators.golden import GOLDEN, golden_dataset

__all__ = [
    "ADDITION",
    "DEV_REASONING",
    "DEV_REASONING_BASIC",
    "GOLDEN",
    "addition_dataset",
    "addition_heldout",
    "dev_reasoning_basic_dataset",
    "dev_reasoning_dataset",
    "dev_reasoning_heldout",
    "generate_dataset",
    "golden_dataset",
]
