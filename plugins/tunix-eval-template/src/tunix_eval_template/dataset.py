"""A small task with a rule in it: the last two letters of a made-up word.

prompt  ending of kab        steps  b, a (the letters from the end on)        answer  ab
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from tunix_eval.data import build_dataset, make_evalset
from tunix_eval.records import Dataset, EvalItem, Evalset, Step, Trace

ONSETS, VOWELS, CODAS = "bdfgklmnprstvz", "aeiou", "bdgklmnprst"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def words(*, held_out: bool) -> list[str]:
    """Return the words of one side: each onset is held out with one coda, so every ending is trained on with others."""
    product = itertools.product(enumerate(ONSETS), VOWELS, enumerate(CODAS))
    return [onset + vowel + coda for (i, onset), vowel, (j, coda) in product if (i % len(CODAS) == j) == held_out]


def trace(word: str) -> Trace:
    """Return the worked example for a word."""
    letters = tuple(Step(i=i, type="letter", content=letter) for i, letter in enumerate(reversed(word[-2:])))
    return Trace(trace_version="1.0", id=word, prompt=f"ending of {word}", steps=letters, final_answer=word[-2:])


def word_endings() -> Dataset:
    """Build the dataset. Equal calls give equal content: the time in its manifest is a constant."""
    traces = [trace(word) for word in words(held_out=False)]
    return build_dataset("word-ending", "v1", traces, created_at=CREATED)


def held_out_endings() -> Evalset:
    """Build what word-ending-heldout.jsonl holds; the tests compare the two."""
    items = [
        EvalItem(id=word, prompt=f"ending of {word}", expected_answer=word[-2:], category=f"vowel {word[1]}")
        for word in words(held_out=True)
    ]
    return make_evalset("word-ending-heldout", items)
