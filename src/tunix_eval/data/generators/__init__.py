"""Datasets and evalsets that are generated, the same on every machine."""

from tunix_eval.data.generators.addition import addition_dataset, addition_heldout
from tunix_eval.data.generators.dev_reasoning import dev_reasoning_dataset, dev_reasoning_heldout

__all__ = ["addition_dataset", "addition_heldout", "dev_reasoning_dataset", "dev_reasoning_heldout"]
