"""The grammar of a quantity: a number as people and models write it, with its sign, scale, currency and unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from tunix_eval.quantities.plain import FRACTION_CLOSE, FRACTION_OPEN
from tunix_eval.quantities.units import PERCENT, Unit, read_unit, unit_of

LONGEST = 10_000
"""Digits of a number, and size of a power of ten, that are read; a float reaches 308."""

_RUN = r"""(?:
    (?<![0-9][ ])[0-9]{1,3}(?:[ ][0-9]{3})++(?![0-9]|[ ,'_][0-9])(?:\.[0-9]++)?
  | [0-9]++(?:[.,'_][0-9]++)*+
  | (?<![\w.])\.[0-9]++
)"""
_VULGAR = {
    "¼": "1/4",
    "½": "1/2",
    "¾": "3/4",
    "⅐": "1/7",
    "⅑": "1/9",
    "⅒": "1/10",
    "⅓": "1/3",
    "⅔": "2/3",
    "⅕": "1/5",
    "⅖": "2/5",
    "⅗": "3/5",
    "⅘": "4/5",
    "⅙": "1/6",
    "⅚": "5/6",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWER = r"(?:[ ]?(?:\^|\*\*)[ ]?(?:\([ ]?[-+]?[0-9]++[ ]?\)|[-+]?[0-9]++)|[⁻⁺]?[⁰¹²³⁴-⁹]++)"
_CURRENCY = (
    r"(?:US|CA|AU|NZ|HK|[AC](?=\$))?\$|[€£¥₹]"
    r"|(?<![A-Za-z])(?:USD|EUR|GBP|JPY|INR|CAD|AUD|CHF|CNY|RMB|Rs\.?)(?=[ ]?[0-9])"
)
_TOKEN = re.compile(
    rf"""
    (?:
        (?P<sign>
            (?<![\w)\]}}°%'"-])[-+](?=[^ ])
          | (?:(?<=[=(])|(?<=[=(][ ])|(?<!.))[-+][ ](?=[$€£¥₹.0-9])
          | (?<!\w)(?:[Mm]inus|[Nn]egative)[ ](?=[$€£¥₹.0-9])
        )?
        (?:(?P<currency>{_CURRENCY})[ ]?)?
        (?P<inner_sign>(?<=[$€£¥₹ ])[-+])?
        (?:
            (?:(?P<whole>{_RUN})(?:[ ]?(?=[{FRACTION_OPEN}{"".join(_VULGAR)}])|[ ](?=[0-9]++/[0-9])
              |[ ]and[ ](?=[0-9]++/[0-9])))?
            (?:
                {FRACTION_OPEN}(?P<top>[-+–−]?[0-9.,]++)/(?P<bottom>[-+–−]?[0-9.,]++){FRACTION_CLOSE}
              | (?P<vulgar>[{"".join(_VULGAR)}])
              | (?P<number>{_RUN})
                (?P<ratio>(?:(?:[ ]:[ ]|:){_RUN})++)?
                (?:
                    [eE](?P<exponent>[-+]?[0-9]++)(?!\w)
                  | [ ]?(?:[×·*]|x(?=[ ]?10))[ ]?10(?P<ten>{_POWER})
                  | (?P<power>{_POWER})
                )?
                (?:[ ]?/[ ]?(?P<denominator>{_RUN})(?P<date>(?:/[0-9]++)++)?)?
            )
        )
    )
    | (?P<name>(?![{"".join(_VULGAR)}⁰¹²³⁴-⁹])[^\W0-9]\w*+(?:[\^_]\(?-?[0-9]++\)?)*+)
    | (?P<opaque>
        √(?:\[[^\]\n]*+\])?(?:[_^](?:\([^()]*+\)|\w))*+[ ]?(?:(?:\((?:[^()]++|\([^()]*+\))*+\)[ ]?)++|[0-9.]++)?
      )
    | (?P<raised>[\^_]\(?-?[0-9.,]++\)?)
    """,
    re.VERBOSE,
)
_ONE, _ZERO = Fraction(1), Fraction(0)
_SCALES: dict[str, int] = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "lakh": 10**5,
    "crore": 10**7,
    "mn": 10**6,
    "mln": 10**6,
    "bn": 10**9,
    "tn": 10**12,
    "k": 1000,
    "m": 10**6,
    "b": 10**9,
}
_SCALE_WORD = re.compile(
    r"[ -]{0,2}(hundred|thousand|million|billion|trillion|dozen|lakh|crore|mn|mln|bn|tn)s?(?!\w)", re.IGNORECASE
)
_SCALE_LETTER = re.compile(r"([kKMB]|[ ]k)(?!\w)")
_SCALE_OF_MONEY = re.compile(r"[ ]?([kKmMbB])(?!\w)")
_AND_A_HALF = re.compile(r"[ ]and[ ]a[ ]half(?!\w)", re.IGNORECASE)
_PERCENT = re.compile(r"[ ]?(?:%|per[ ]?cent(?!\w)|pct(?!\w))|[ ]?(?P<mille>‰)", re.IGNORECASE)
_CURRENCY_AFTER = re.compile(r"[ ]?([$€£¥₹])(?![0-9])")
_GAP = re.compile(r"[ -]{0,2}")
_APPLIED = re.compile(r"\([^()]*+\)")
_FUNCTIONS = frozenset({"sqrt", "cbrt", "sin", "cos", "tan", "log", "ln", "exp", "abs", "floor", "ceil", "choose"})
_FACTORIAL = re.compile(r"!(?:[ ]?[-+*/×·÷^)]|[ ]?=(?!=)|[ ]?[a-z])")
_LAST_MARK = re.compile(r"!\s*+\Z")
_GLUED = re.compile(
    r"""
    [ ]?[√π∞αβγθλφ]
  | [ ]?(?:pi|sqrt|sin|cos|tan|log|ln|exp|mod|choose|squared|cubed|factorial)(?!\w)
  | \^|[⁰¹²³⁴-⁹]|\(
  | /[ ]?(?:[A-Za-z](?![A-Za-z])|[√π(])
  | \.[√(]
  | [A-Za-z]{1,3}(?![A-Za-z])
  | [A-Za-z]++\(
  | [ ][b-zB-HJ-Z](?![\w'.])
  | [_:'][0-9]
    """,
    re.VERBOSE,
)
_EXPRESSION = re.compile(r"[\w√π∞^(){}_.!⁰¹²³⁴-⁹+*/×·-]{0,200}")
_COMPOUND = re.compile(r"[ ]?(?:,[ ]?)?(?:and[ ])?")
_SOUND = re.compile(
    r"[0-9]++"
    r"|[0-9]{1,3}(?:,[0-9]{3})++|[0-9]{1,3}(?: [0-9]{3})++|[0-9]{1,3}(?:'[0-9]{3})++|[0-9]{1,3}(?:_[0-9]{3})++"
    r"|[0-9]{1,2}(?:,[0-9]{2}(?=,))++,[0-9]{3}"
)
_DOTTED = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3}){2,}|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,2}")
_SEPARATORS = str.maketrans("", "", ", '_")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit."""

    value: Fraction
    """With sign and scale; a percent sign is a unit and does not count."""
    unit: Unit | None = None
    """One that is known."""
    last_place: Fraction | None = None
    """Worth of the last decimal where the number is written as a decimal; None where it is exact."""


@dataclass(frozen=True, slots=True)
class Token:
    """Where a number stands in a plain text, with what belongs to it."""

    found: re.Match[str]
    start: int
    end: int
    """Of all that belongs to it."""
    scale: Fraction = _ONE
    extra: Fraction = _ZERO
    """Of `and a half`."""
    unit: Unit | None = None
    glued: bool = False
    """Whether it is a part of something that is not one quantity, such as 3π, 5! or 2:3."""
    smaller: tuple[Token, ...] = ()
    """What adds to it in smaller units: the minutes of 2 hours 30 minutes."""

    def quantity(self) -> Quantity | None:
        """Return what the number is; None where it is glued to something, unsoundly grouped, too long, or over 0."""
        if self.glued:
            return None
        size = _magnitude(self.found)
        if size is None:
            return None
        value, last_place = size
        value = (value + self.extra) * self.scale
        if last_place is not None:
            last_place *= self.scale
        for one in self.smaller:
            less = one.quantity()
            if less is None or less.unit is None or self.unit is None:
                return None
            value += less.value * less.unit.size / self.unit.size
        signs = (self.found["sign"] or "", self.found["inner_sign"] or "")
        if all(signs):
            return None
        negative = any(sign[:1] in ("-", "m", "M", "n", "N") for sign in signs)
        return Quantity(-value if negative else value, self.unit, last_place)


def tokens(text: str) -> Iterator[Token]:
    """Yield every number of a plain text; digits of names, subscripts and exponents are none.

    >>> [
    ...     (text[one.start : one.end], one.quantity() is not None)
    ...     for text in ("x_2 = $5 million", "2:3")
    ...     for one in tokens(text)
    ... ]
    [('$5 million', True), ('2:3', False)]
    """
    waiting: Token | None = None
    at = 0
    while found := _TOKEN.search(text, at):
        token, at = _token(text, found)
        if token is None:
            continue
        if waiting is not None and (joined := _joined(text, waiting, token)) is not None:
            waiting = joined
            continue
        if waiting is not None:
            yield waiting
        waiting = token
    if waiting is not None:
        yield waiting


def _joined(text: str, first: Token, second: Token) -> Token | None:
    """Return 2 hours 30 minutes as one quantity."""
    if first.unit is None or second.unit is None or first.glued or second.glued or second.found["sign"]:
        return None
    if first.unit.bases != second.unit.bases or second.unit.size >= first.unit.size:
        return None
    if not _COMPOUND.fullmatch(text, first.end, second.start):
        return None
    return replace(first, end=second.end, smaller=(*first.smaller, second))


def _token(text: str, found: re.Match[str]) -> tuple[Token | None, int]:
    """Return the number that was found, if it is one, and where to go on."""
    start, end = found.span()
    if found["name"]:
        # What a name is applied to is its argument: f(2), log_4(16), P(X=2).
        applied = _APPLIED.match(text, end)
        end = applied.end() if applied else end
        is_function = found["name"].partition("_")[0].casefold() in _FUNCTIONS
        return (Token(found, start, end, glued=True) if applied and is_function else None), end
    if found["raised"]:
        return None, end
    if found["opaque"]:
        holds_digits = any(map(str.isdecimal, found["opaque"]))
        return (Token(found, start, end, glued=True) if holds_digits else None), end
    token = _with_what_follows(text, found)
    return token, token.end


def _with_what_follows(text: str, found: re.Match[str]) -> Token:
    """Read scale, percent, currency and unit behind a number, and tell what it is glued to."""
    start, end = found.span()
    scale, extra, unit = _ONE, _ZERO, None
    if found["ratio"] or found["date"]:
        return Token(found, start, end, glued=True)
    if half := _AND_A_HALF.match(text, end):
        end, extra = half.end(), Fraction(1, 2)
    while word := _SCALE_WORD.match(text, end):
        end, scale = word.end(), scale * _SCALES[word[1].casefold()]
    letters = _SCALE_OF_MONEY if found["currency"] else _SCALE_LETTER
    if scale is _ONE and (letter := letters.match(text, end)):
        end, scale = letter.end(), Fraction(_SCALES[letter[1].strip().casefold()])
    if found["currency"]:
        unit = unit_of(found["currency"])
    if percent := _PERCENT.match(text, end):
        end = percent.end()
        scale, unit = (scale / 1000, unit) if percent["mille"] else (scale, PERCENT)
    elif unit is None and (sign := _CURRENCY_AFTER.match(text, end)):
        end, unit = sign.end(), unit_of(sign[1])
    else:
        end, unit = _measured(text, found, end, unit)
    if past := _glued_up_to(text, found, end, bare=unit is None):
        expression = _EXPRESSION.match(text, past)
        return Token(found, start, expression.end() if expression else past, scale, extra, unit, glued=True)
    return Token(found, start, end, scale, extra, unit)


def _measured(text: str, found: re.Match[str], end: int, unit: Unit | None) -> tuple[int, Unit | None]:
    """Read a unit; behind a currency sign it can only say the same again."""
    gap = _GAP.match(text, end)
    measured = read_unit(text, gap.end() if gap else end)
    closes_a_quote = text.startswith('"', end) and text.endswith('"', 0, found.start())
    if measured is None or closes_a_quote or (unit is not None and measured[0].bases[:1] != unit.bases):
        return end, unit
    return measured[1], measured[0]


def _glued_up_to(text: str, found: re.Match[str], end: int, *, bare: bool) -> int | None:
    """Return up to where a number is glued to something that makes another thing of it; None where it is not."""
    before = text[max(0, found.start() - 2) : found.start()].rstrip(" ")
    if before[-1:] in ("π", "∞") or (before[-1:] == "|" == text[end : end + 1]):
        return end
    if glue := _GLUED.match(text, end):
        return glue.end()
    if not bare:
        return None
    # Alone it is a factorial; at the end of a sentence it cries out.
    alone = _LAST_MARK.match(text, end) and before[-1:] in ("", "=", "(", "\n")
    return end + 1 if alone or _FACTORIAL.match(text, end) else None


def _magnitude(found: re.Match[str]) -> tuple[Fraction, Fraction | None] | None:
    """Return the size of a number, and what its last decimal is worth."""
    whole = Fraction(0)
    if found["whole"]:
        size = _decimal(found["whole"])
        if size is None or size[1] is not None:
            return None
        whole = size[0]
    if found["vulgar"]:
        return whole + Fraction(_VULGAR[found["vulgar"]]), None
    top = found["top"] or found["number"]
    size = _decimal(top.lstrip("-+–−"))
    if size is None:
        return None
    value, last_place = size
    if found["power"]:
        raised = _raised(value, found["power"]) if last_place is None else None
        if raised is None:
            return None
        value = raised
    if shift := found["exponent"] or found["ten"]:
        exponent = _exponent(shift)
        if exponent is None:
            return None
        # Multiplied or divided by an integer: a Fraction to a negative power is slower.
        value = _shifted(value, exponent)
        last_place = None if last_place is None else _shifted(last_place, exponent)
    if over := found["bottom"] or found["denominator"]:
        divisor = _decimal(over.lstrip("-+–−"))
        if divisor is None or not divisor[0]:
            return None
        value, last_place = value / divisor[0], None
    minuses = sum(part[:1] in ("-", "–", "−") for part in (found["top"] or "", found["bottom"] or ""))
    return whole + (-value if minuses % 2 else value), last_place


def _decimal(digits: str) -> tuple[Fraction, Fraction | None] | None:
    """Return the value of digits, sound groups taken off, and the worth of the last decimal.

    >>> _decimal("1,234.50"), _decimal("1,23"), _decimal("1.234.567")
    ((Fraction(2469, 2), Fraction(1, 100)), None, (Fraction(1234567, 1), None))
    """
    if len(digits) > LONGEST:
        return None
    whole, point, decimals = digits.rpartition(".")
    if not point:
        whole, decimals = decimals, ""
    if (not whole or _SOUND.fullmatch(whole)) and (not decimals or decimals.isdecimal()):
        whole = whole.translate(_SEPARATORS)
    elif _DOTTED.fullmatch(digits):
        whole, _, decimals = digits.replace(".", "").partition(",")
    else:
        return None
    value = Fraction(_whole(f"{whole}{decimals}"), 10 ** len(decimals))
    return value, Fraction(1, 10 ** len(decimals)) if decimals else None


def _whole(digits: str) -> int:
    """Return a whole number: Python itself refuses to read over 4,300 digits at once."""
    number = 0
    for start in range(0, len(digits), 4000):
        part = digits[start : start + 4000]
        number = number * 10 ** len(part) + int(part)
    return number


def _exponent(text: str) -> int | None:
    digits = text.translate(_RAISED).strip("^*() ")
    if len(digits) > len(f"-{LONGEST}"):
        return None
    exponent = int(digits)
    return exponent if abs(exponent) <= LONGEST else None


def _shifted(value: Fraction, exponent: int) -> Fraction:
    return value * Fraction(10**exponent) if exponent >= 0 else value / Fraction(10**-exponent)


def _raised(value: Fraction, power: str) -> Fraction | None:
    """Return a whole number's power, if it is no longer than what is read."""
    exponent = _exponent(power)
    if exponent is None or value.numerator.bit_length() * abs(exponent) > 3 * LONGEST:
        return None
    size: int = value.numerator ** abs(exponent)
    if exponent >= 0:
        return Fraction(size)
    return Fraction(1, size) if size else None
