"""Numbers as people and models write them: found in a text, and read exactly."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction

_LONGEST = 400
"""Digits of a number, and of size of its exponent, that are read; a float reaches 308."""

_RUN = r"(?:\d++(?:[.,]\d++)*+|(?<![\w.])\.\d++)"
_FRACTION_COMMAND = r"\\[dt]?frac"
NUMBER = re.compile(
    rf"""
    (?=[-+−\\$€£¥.\d])
    (?:(?<![\w)\]}}])(?P<sign>[-+−]))?
    (?P<currency>\\?[$€£¥][ ]?)?
    (?P<inner_sign>(?<=[$€£¥ ])[-+−])?
    (?<![^\W_])
    (?:(?P<whole>\d++)[ ]?(?:(?<=[ ])(?=\d++/\d)|(?={_FRACTION_COMMAND})))?
    (?:
        {_FRACTION_COMMAND}\{{[ ]?(?P<top>[-−]?{_RUN})[ ]?\}}[ ]?\{{[ ]?(?P<bottom>{_RUN})[ ]?\}}
      | (?P<number>{_RUN})(?:[eE](?P<exponent>[-+−]?\d++))?(?:[ ]?/[ ]?(?P<denominator>\d++(?:[.,]\d++)*+))?
    )
    (?P<percent>[ ]?(?:\\?%|per[ ]?cent\b))?
    (?P<currency_after>[ ]?\\?[$€£¥](?!\d))?
    """,
    re.VERBOSE,
)
"""A number with its sign, currency sign and percent sign: 1,234.50; -3; .5; 1e3; 3/4; 1 1/2; \\frac{3}{4}; $5; 50%."""

_SOUND = re.compile(r"(\d{1,3}(?:,\d{3})++|\d*+)(?:\.(\d++))?")


def last_number(text: str) -> re.Match[str] | None:
    """Return the last number of a text.

    >>> last_number("From 3 to $1,234.50. Good.")[0]
    '$1,234.50'
    """
    found = deque(NUMBER.finditer(text), maxlen=1)
    return found[0] if found else None


def exact_value(found: re.Match[str]) -> Fraction | None:
    """Return the value of a number, before a percent sign counts; None where its digits are grouped unsoundly.

    None too where it is longer than a float, or is divided by 0.

    >>> [exact_value(last_number(text)) for text in ("-1 1/2", "1,234.5", "1,23", "50%", "3/0")]
    [Fraction(-3, 2), Fraction(2469, 2), None, Fraction(50, 1), None]
    """
    sign, inner_sign, whole, top, bottom, number, exponent, denominator = found.group(
        "sign", "inner_sign", "whole", "top", "bottom", "number", "exponent", "denominator"
    )
    if sign and inner_sign:
        return None
    size = _decimal((number or top).lstrip("-−"))
    if size is not None and exponent:
        size = _scaled(size, exponent.replace("−", "-"))
    if size is not None and (over := bottom or denominator):
        divisor = _decimal(over)
        size = size / divisor if divisor else None
    if size is not None and whole:
        size += int(whole[:_LONGEST])
    if size is None or len(whole or "") > _LONGEST:
        return None
    minuses = sum(one in ("-", "−") for one in (sign, inner_sign, (top or "")[:1]))
    return -size if minuses % 2 else size


def _scaled(size: Fraction, exponent: str) -> Fraction | None:
    if len(exponent) > len("-999") or abs(int(exponent)) > _LONGEST:
        return None
    return size * Fraction(10) ** int(exponent)


def _decimal(digits: str) -> Fraction | None:
    if len(digits) > _LONGEST:
        return None
    if digits.isdecimal():
        return Fraction(int(digits))
    sound = _SOUND.fullmatch(digits)
    if sound is None:
        return None
    whole, decimals = sound[1].replace(",", ""), sound[2] or ""
    return Fraction(int(f"{whole}{decimals}"), 10 ** len(decimals))
