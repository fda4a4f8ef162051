"""The numeric scorer: answers that are numbers, whatever way they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from tunix_eval.errors import SpecError
from tunix_eval.records import Completion, EvalItem, Score
from tunix_eval.scoring.numbers import NUMBER, exact_value

_MATH = re.compile(r"(?<!\\)\$(?=\S)([^$]*+)(?<=[^\s\\])\$(?!\d)|\\[()\[\]]")
_WRAPPED = re.compile(r"\\(?:text|mathrm|mbox|boxed)\{([^{}]*+)\}")
_DEGREE = re.compile(r"\^(?:\\circ|\{\\circ\})")
_UNIT = re.compile(r"[ -]?(?:[^\W\d]|[°/])(?:[^\d,;:=+()\\]|\^-?\d)*")
"""What may follow the number where an expected answer is a number with a unit."""
_CLAUSE_END = re.compile(r"[,;:!?()*]|\.(?!\w)")
_OPERATOR = r"[-+−*/×·÷^]"
_GOES_ON = re.compile(rf"[)}}\s]*+(?:{_OPERATOR}|=)[\s({{]*+[-−]?\\?[$€£¥]?[.\d]|\^|\s*+\\[a-z]")
_WENT_ON = re.compile(rf"[)}}\w]\s*{_OPERATOR}[\s({{]*$|\{{\s*$")
_CURRENCIES = {"dollar": "$", "usd": "$", "euro": "€", "eur": "€", "pound": "£", "gbp": "£", "yen": "¥", "jpy": "¥"}
_COMPOUND = frozenset({"per", "/", "squared", "cubed"})
"""A word after a unit that makes another unit of it."""


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A number and its unit."""

    stated: Fraction
    """As written, before a percent sign counts."""
    unit: tuple[str, ...]
    """Words; currencies and percent as signs."""

    @property
    def value(self) -> Fraction:
        return self.stated / 100 if self.unit[:1] == ("%",) else self.stated


class NumericScorer:
    """1 where the answer's number is the expected one or an alias of it, within absolute + relative * |expected|.

    The answer's number is its first one that is no part of a sum or power; after "3 + 4 =" it is the result. Read
    are 1,234.50, -3, .5, 1e3, 3/4, 1 1/2, LaTeX fractions, percent (50% is 0.5, and where the item states 50%, 50
    counts too), and currency signs on either side. Where the item states a unit, an answer has the same one or
    none; where it states none, words after the number do not count. No answer, or one without a number, is 0; an
    item whose expected answer is no number is not measured.

    Raises:
        SpecError: a tolerance that is no finite number from 0 on.
    """

    def __init__(self, relative: float = 1e-6, absolute: float = 0.0) -> None:
        for option, found in (("relative", relative), ("absolute", absolute)):
            if not (math.isfinite(found) and found >= 0):
                raise SpecError(f"scorer 'numeric': {option} is {found}; expected a finite number from 0 on")
        self.name = "numeric"
        self.version = "1"
        self.lower_is_better = False
        self.bounds = (0.0, 1.0)
        self.parameters: Mapping[str, Any] = MappingProxyType({"relative": relative, "absolute": absolute})
        # As written: the float 1e-6 is a little less than a millionth.
        self._relative, self._absolute = Fraction(str(relative)), Fraction(str(absolute))

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        expected = _stated(item.expected_answer)
        if expected is None:
            return Score(None, f"the expected answer {item.expected_answer[:40]!r} is no number")
        found = None if completion.answer is None else _answered(completion.answer)
        if found is None:
            return Score(0.0)
        accepted = (expected, *filter(None, map(_stated, item.aliases)))
        return Score(1.0 if any(self._agree(found, one) for one in accepted) else 0.0)

    def _agree(self, found: _Quantity, expected: _Quantity) -> bool:
        if expected.unit and found.unit and not _same_unit(found.unit, expected.unit):
            return False
        if self._near(found.value, expected.value):
            return True
        return not found.unit and self._near(found.stated, expected.stated)

    def _near(self, found: Fraction, expected: Fraction) -> bool:
        return found == expected or abs(found - expected) <= self._absolute + self._relative * abs(expected)


def _stated(text: str) -> _Quantity | None:
    """Return the quantity that an expected answer is; None where it is more or less than one number and its unit."""
    plain = _plain(text).strip().removesuffix(".")
    found = NUMBER.match(plain)
    if found is None or (found.end() < len(plain) and not _UNIT.fullmatch(plain, found.end())):
        return None
    return _quantity(plain, found)


def _answered(text: str) -> _Quantity | None:
    """Return the quantity that an answer gives."""
    plain = _plain(text)
    for found in NUMBER.finditer(plain):
        before = plain[max(0, found.start() - 16) : found.start()]
        if not _GOES_ON.match(plain, found.end()) and not _WENT_ON.search(before):
            return _quantity(plain, found)
    return None


def _plain(text: str) -> str:
    """Take off what LaTeX puts around numbers and words.

    >>> _plain(r"$\\frac{3}{4}$ \\text{ km}"), _plain("$5 and $7")
    ('\\\\frac{3}{4}  km', '$5 and $7')
    """
    if "\\" in text:
        text = _DEGREE.sub("°", _WRAPPED.sub(r"\1", text))
    text = text.replace("{,}", ",")
    return _MATH.sub(lambda found: found[1] or "", text) if "$" in text or "\\" in text else text


def _quantity(text: str, found: re.Match[str]) -> _Quantity | None:
    value = exact_value(found)
    if value is None:
        return None
    sign = "%" if found["percent"] else (found["currency"] or found["currency_after"] or "").strip(" \\")
    words = _words(text[found.end() :].split("\n", 1)[0])
    return _Quantity(value, (sign, *words) if sign else words)


def _words(text: str) -> tuple[str, ...]:
    """Return the words that follow a number, up to the end of the clause.

    >>> _words(" square Miles, he said"), _words(" km/h"), _words(" dollars"), _words(", he said")
    (('square', 'miles'), ('km/h',), ('$',), ())
    """
    clause = _CLAUSE_END.split(text.removeprefix("-"), maxsplit=1)[0]
    words = tuple(clause.casefold().split())
    return (_CURRENCIES.get(words[0].removesuffix("s"), words[0]), *words[1:]) if words else ()


def _same_unit(found: tuple[str, ...], expected: tuple[str, ...]) -> bool:
    """Tell whether an answer's words begin with the expected unit and do not make another of it."""
    more = found[len(expected) :]
    if len(found) < len(expected) or (more and (more[0] in _COMPOUND or more[0].startswith("/"))):
        return False
    return all(map(_same_word, found, expected))


def _same_word(one: str, other: str) -> bool:
    """Tell whether two words are one word but for a plural.

    >>> _same_word("cities", "city"), _same_word("km", "kms"), _same_word("m", "ms"), _same_word("m", "km")
    (True, True, False, False)
    """
    short, long = sorted((one, other), key=len)
    return long == short or (len(short) > 1 and long in (f"{short}s", f"{short}es", f"{short[:-1]}ies"))
