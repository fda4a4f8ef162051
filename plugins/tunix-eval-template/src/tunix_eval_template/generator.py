"""Any number of word endings, drawn by a seed from the training side of the words.

Only `random()` is drawn from: its sequence is the same in every version of Python.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tunix_eval.records import Generator, Trace
from tunix_eval_template.dataset import trace, words


def drawn_endings(seed: int, count: int) -> Iterator[Trace]:
    """Yield worked examples, each word once, until `count` or the words are reached."""
    draw = random.Random(seed).random  # noqa: S311
    left = words(held_out=False)
    for _ in range(min(count, len(left))):
        yield trace(left.pop(int(draw() * len(left))))


DRAWN_ENDINGS = Generator(drawn_endings, version="1", count=200)
