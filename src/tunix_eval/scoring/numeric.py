"""The numeric scorer: answers that are numbers, whatever way they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tunix_eval.errors import SpecError
from tunix_eval.quantities import PERCENT, Stated, answered_quantity, stated_quantity
from tunix_eval.records import Completion, EvalItem, Score

_DECIMALS = Fraction(1, 10**6)
"""How far decimals may differ, relative to the expected one, where nothing else is stated."""
_BEFORE_UNIT = re.compile(r"(?<=[0-9]) (?=[^\W\d])")
_COMPOUND = frozenset({"per", "/", "squared", "cubed"})
"""A word after a unit that makes another unit of it."""


class NumericScorer:
    """1 where the answer gives the expected quantity or an alias of it, else 0.

    Whole numbers and fractions compare exactly. A decimal may differ by a millionth of the expected value, and by
    no more than the rounding of its last digit. An expected answer such as `3.14 ± 0.01` states its own tolerance;
    `relative` and `absolute` set one for all items: absolute + relative * |expected|.

    Units that are known are converted: 5 km is 5000 m. Where the item states a unit, an answer has the same one or
    none; where it states none, words after the number do not count. 50% is 0.5, and where the item states 50%, a bare
    50 counts too. No answer, or one that gives no number or several, is 0; an item whose expected answer is not one
    quantity is not measured.

    Raises:
        SpecError: a tolerance that is no finite number from 0 on.
    """

    def __init__(self, relative: float | None = None, absolute: float | None = None) -> None:
        for option, found in (("relative", relative), ("absolute", absolute)):
            number = isinstance(found, int | float) and not isinstance(found, bool)
            if found is not None and not (number and math.isfinite(found) and found >= 0):
                raise SpecError(f"scorer 'numeric': {option} is {found!r}; expected a finite number from 0 on")
        self.name = "numeric"
        self.version = "2"
        self.lower_is_better = False
        self.bounds = (0.0, 1.0)
        self.parameters: Mapping[str, Any] = MappingProxyType({"relative": relative, "absolute": absolute})
        self._is_given = relative is not None or absolute is not None
        # As written: the float 1e-6 is a little less than a millionth.
        self._relative, self._absolute = Fraction(str(relative or 0)), Fraction(str(absolute or 0))

    def with_options(self, *, relative: float | None = None, absolute: float | None = None) -> NumericScorer:
        """Return a scorer with a tolerance, as a run file states one."""
        return NumericScorer(relative, absolute)

    def unmeasured(self, item: EvalItem) -> str | None:
        """Say why an item cannot be measured whatever the answer is; None where it can."""
        if _expected(item.expected_answer) is None:
            return f"the expected answer {_shortened(item.expected_answer)!r} is not one number with its unit"
        return None

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        if (reason := self.unmeasured(item)) is not None:
            return Score(None, reason)
        answer = completion.answer
        if answer is None:
            return Score(0.0)
        found = answered_quantity(answer)
        for text in (item.expected_answer, *item.aliases):
            expected = _expected(text)
            if expected is not None and (
                _squeezed(answer) == _squeezed(text) or (found is not None and self._agree(found, expected))
            ):
                return Score(1.0)
        return Score(0.0)

    def _agree(self, found: Stated, expected: Stated) -> bool:
        one, other = found.quantity, expected.quantity
        if other.unit is None and expected.words and (one.unit is not None or found.words):
            return one.unit is None and _same_words(found.words, expected.words) and self._near(found, expected)
        if one.unit is not None and other.unit is not None:
            if not one.unit.same_kind(other.unit) or _is_compound(found.words) != _is_compound(expected.words):
                return False
            return self._near(found, expected, one.unit.size, other.unit.size)
        if other.unit is not None and found.words:
            return False
        percent = Fraction(1, 100)
        if one.unit == PERCENT:
            return self._near(found, expected, percent)
        if other.unit == PERCENT and self._near(found, expected, Fraction(1), percent):
            return True
        return self._near(found, expected)

    def _near(
        self, found: Stated, expected: Stated, size: Fraction = Fraction(1), other: Fraction = Fraction(1)
    ) -> bool:
        value, wanted = found.quantity.value * size, expected.quantity.value * other
        if value == wanted:
            return True
        apart = abs(value - wanted)
        if expected.tolerance is not None:
            return apart <= expected.tolerance * other
        if self._is_given:
            return apart <= self._absolute + self._relative * abs(wanted)
        # A whole number or a fraction is exact; what is rounded is the coarser of two decimals.
        places = [
            place * each
            for place, each in ((found.quantity.last_place, size), (expected.quantity.last_place, other))
            if place is not None
        ]
        if not places or expected.quantity.value.denominator == 1:
            return False
        return apart <= min(max(places) / 2, _DECIMALS * abs(wanted))


@lru_cache(maxsize=1024)
def _expected(text: str) -> Stated | None:
    return stated_quantity(text)


def _squeezed(text: str) -> str:
    """Fold white space, and drop it between a number and its unit: 300 K is 300K, which alone is 300,000."""
    return _BEFORE_UNIT.sub("", " ".join(text.split())).removesuffix(".")


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}.."


def _is_compound(words: tuple[str, ...]) -> bool:
    return bool(words) and (words[0] in _COMPOUND or words[0].startswith("/"))


def _same_words(found: tuple[str, ...], expected: tuple[str, ...]) -> bool:
    """Tell whether an answer's words begin with the expected unit and do not make another of it."""
    if not found or len(found) < len(expected) or _is_compound(found[len(expected) :]):
        return not found
    return all(map(_same_word, found, expected))


def _same_word(one: str, other: str) -> bool:
    """Tell whether two words are one word but for a plural.

    >>> _same_word("cities", "city"), _same_word("gems", "gem"), _same_word("a", "as"), _same_word("gem", "jam")
    (True, True, False, False)
    """
    short, long = sorted((one, other), key=len)
    return long == short or (len(short) > 1 and long in (f"{short}s", f"{short}es", f"{short[:-1]}ies"))
