"""Evalsets that were written by hand for this project; their answers are computed again in its tests."""

from tunix_eval.data.questions.core_numbers import CORE_NUMBERS
from tunix_eval.data.questions.core_words import CORE_WORDS
from tunix_eval.data.questions.odd_forms import ODD_FORMS
from tunix_eval.data.questions.several_steps import SEVERAL_STEPS
from tunix_eval.data.questions.short_set import SHORT_SET
from tunix_eval.data.reading.evalsets import make_evalset
from tunix_eval.records import Evalset

__all__ = ["eval_v1", "eval_v2"]


def eval_v1() -> Evalset:
    """Return `eval_v1`: 25 items, 15 core, 6 trace_sensitive and 4 edge_case."""
    return make_evalset("eval_v1", SHORT_SET)


def eval_v2() -> Evalset:
    """Return `eval_v2`: 100 items, 60 core, 25 trace_sensitive and 15 edge_case; none of eval_v1."""
    return make_evalset("eval_v2", (*CORE_NUMBERS, *CORE_WORDS, *SEVERAL_STEPS, *ODD_FORMS))
