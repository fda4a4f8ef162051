"""Which quantity a text states: an expected answer is one whole, an answer says one, a reply ends with one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from typing import NamedTuple

from tunix_eval.quantities.grammar import Quantity, Token, tokens
from tunix_eval.quantities.plain import plain

_NEAR = 60
"""Characters before and after a number that tell what it is a part of."""

_HOLDS_A_NUMBER = re.compile(r"[0-9¼½¾⅐-⅞]")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
"""Most answers are no more than this, and need no grammar."""
_ASSIGNED = re.compile(r"\s*+(?:[A-Za-z](?:_\w)?\s?=\s?)?[(\[\"]?\s?")
_MEASURE = re.compile(r"[ -]?(?:[^\W\d]|[°/])(?:[^0-9,;:=+()√π∞]|\^-?[0-9])*")
"""What may follow the number where an expected answer is a number with a unit."""
_TOLERANCE = re.compile(r"[ ]?(?:±|\+/-)[ ]?")
_END = re.compile(r"\s?[)\]\"]?\s*+\.?\s*")
_CLAUSE_END = re.compile(r"[,;:!?()*\n]|\.(?!\w)")
_NO_UNIT = frozenset(
    (
        *("a", "all", "altogether", "an", "and", "are", "as", "at", "because", "but", "by", "each", "exactly", "for"),
        *("from", "has", "have", "if", "in", "is", "left", "long", "more", "most", "of", "on", "only", "or", "since"),
        *("so", "that", "the", "then", "there", "these", "this", "to", "total", "was", "were", "when", "where"),
        *("which", "who", "with"),
    )
)
"""Words that begin something other than a unit."""

_OPERATOR = (
    r"(?:\*\*|[-+*/×·÷^±<>≤≥]|(?:times|plus|minus|divided[ ]by|multiplied[ ]by|over|mod|choose|out[ ]of)(?![\w]))"
)
_VARIABLE = r"(?<![A-Za-z'])[b-zB-HJ-Z]"
"""A letter alone; not `a`, `I`, or what an apostrophe leaves of a word."""
_GOES_ON = re.compile(
    rf"[)\s]{{0,3}}(?:{_OPERATOR}|=(?!=))[ ({{]{{0,3}}[-+]?(?:[$€£¥]?[ ]?[.0-9]|[√π\ue000½¼¾]|[A-Za-z](?![A-Za-z]))"
)
_EQUALS_A_NAME = re.compile(r"[)\s]{0,3}=[ ({]{0,3}[A-Za-z]")
_WENT_ON = re.compile(
    rf"(?:[0-9)°%!π²³\ue001½¼¾⁰-⁹]|(?<![A-Za-z'])[A-Za-z])[ ]?{_OPERATOR}[ ({{]{{0,3}}\Z|\w[ ]?[+*×·÷^/][ ({{]{{0,3}}\Z"
    rf"|(?:±|≠|!=|[<>≤≥]=?)[ ]?\Z|(?:{_VARIABLE}|(?<![A-Za-z])\))[ ]?\Z"
)
_VARIABLE_BEFORE = re.compile(rf"(?:{_VARIABLE}|\))[ ]?\Z")
_NEGATED = re.compile(
    r"(?:\b(?:not|never|cannot|neither|nor|except|anything[ ]but|instead[ ]of|rather[ ]than|other[ ]than)|n't|n’t)"
    r"[ ](?:[A-Za-z]+[ ]){0,2}\Z",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[ ](?:(?:is|was)(?:[ ]not|n't)[ ](?:(?:the|a|right|correct|final|true)[ ]){0,2}"
    r"(?:answer|solution|result|right|correct|true|it|possible|enough)"
    r"|(?:is|was)[ ](?:wrong|incorrect|false|impossible|invalid|too[ ]\w+))(?!\w)",
    re.IGNORECASE,
)
_BOUND_AFTER = re.compile(
    r"\+(?=[.,;:!?)\s]*\Z|[ ][A-Za-z]{2})"
    r"|[ ](?:[A-Za-z]+[ ])?(?:or|and)[ ](?:more|less|fewer|greater|larger|smaller|higher|lower|bigger|above|below|over"
    r"|under|up|upwards?|later|earlier)(?!\w)",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:(?:less|more|fewer|greater|larger|smaller|higher|lower|bigger|better|worse|later|earlier)[ ]than"
    r"|(?:division|divid(?:e[ds]?|ing)|multipl(?:y|ie[ds]|ying|ication))[ ]by"
    r"|at[ ](?:least|most)|up[ ]to|over|under|above|below|between|twice|double|triple|half(?:[ ]of)?"
    r"|(?:square|cube)[ ]root[ ]of|root[ ]of|log|ln|sin|cos|tan|sqrt)[ ](?:\w+[ ])?\Z",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"[ )\]]{0,2}(?:[,;&]|-|—|/|and|or|to|by|vs\.?|x|,[ ]?(?:and|or)|through|until)?[ (\[]{0,2}[$€£¥]?", re.IGNORECASE
)
_APPROXIMATELY = re.compile(r"[)\s]{0,3}≈[\s(]{0,3}")
_CUE = re.compile(r"(?:\banswer\b(?:\s+is)?\s*[:=]?|####)", re.IGNORECASE)
_STATEMENT_END = re.compile(r"[\n;?]|[.!](?=\s|\Z)")

_JOINED = re.compile(r"[ ]{0,3}(?:,[ ]{0,3})?(?:or|and)[ ]{1,3}(?:also[ ])?", re.IGNORECASE)
_TUPLE_BEFORE = re.compile(r"[(\[][^()\[\]\n]{0,80},[ ]?\Z")
_TUPLE_AFTER = re.compile(r"[ ]?[)\]]")
_LIST_BEFORE = re.compile(r"(?:\bare|\bis|=|:)[ ]?((?:[^\s,]{1,20}[ ]?,[ ]?){1,8})\Z")
_LIST_AFTER = re.compile(r"[ ]?\.?\s*\Z")
_PLUS_MINUS_BEFORE = re.compile(r"(?:(?<![0-9.,])[0-9]{1,20}(?:[.,][0-9]{1,20})?[ ]?)?(?:±|\+/-)[ ]?\Z")
_ALGEBRA_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])[0-9]{0,9}[A-Za-zπ](?:\^\(?-?[0-9]{1,4}\)?|[²³])?|√\([^()]{0,20}\)|\))[ ]?[-+*/×·][ ]?\Z"
)


@dataclass(frozen=True, slots=True)
class Stated:
    """A quantity that a text states, with the words that follow it."""

    quantity: Quantity
    words: tuple[str, ...] = ()
    """Of a unit that is not in the table, or of a part of one: `apples`, `per day`."""
    tolerance: Fraction | None = None
    """What an expected answer allows: 3.14 ± 0.01."""


def stated_quantity(text: str) -> Stated | None:
    """Return the quantity that an expected answer is; None where it is more or less than one number and its unit.

    >>> stated_quantity("x = 1,234.50 km").quantity.value, stated_quantity("3.14 ± 0.01").tolerance
    (Fraction(2469, 2), Fraction(1, 100))
    >>> [stated_quantity(other) for other in ("2, 3", "2:3", "2x + 1", "5!", "18 or 19", "Paris")]
    [None, None, None, None, None, None]
    """
    if _WHOLE_NUMBER.fullmatch(text):
        return Stated(Quantity(Fraction(int(text))))
    whole = plain(text).text.strip()
    listed = list(islice(tokens(whole), 3))
    lead = _ASSIGNED.match(whole)
    if not listed or not lead or lead.end() < listed[0].start or listed[0].glued:
        return None
    first, end, tolerance = listed[0], listed[0].end, None
    if (allowed := _TOLERANCE.match(whole, end)) and len(listed) == 2 and listed[1].start == allowed.end():
        margin = listed[1].quantity()
        tolerance, end = (margin.value if margin else None), listed[1].end
    words = _words(whole[end:])
    if not _END.fullmatch(whole, end):
        measure = _MEASURE.match(whole, end)
        if not measure or not _END.fullmatch(whole, measure.end()) or any(map(str.isdigit, _unraised(measure[0]))):
            return None
    quantity = first.quantity()
    return Stated(quantity, words, tolerance) if quantity else None


def answered_quantity(text: str) -> Stated | None:
    """Return the quantity that an answer gives; None where it gives none, or more than one.

    Numbers that are part of a sum, a list, a range, a bound or a negation are not given. Of several that are, all
    must agree, or the first statement (the one after `answer`) must hold exactly one.

    >>> [answered_quantity(text).quantity.value for text in ("3 + 4 = 7", "18, not 17", "The answer is 5. It was 3.")]
    [Fraction(7, 1), Fraction(18, 1), Fraction(5, 1)]
    >>> [answered_quantity(text) for text in ("18 or 19", "not 18", "3π", "10-12", "5 boys and 6 girls")]
    [None, None, None, None, None]
    """
    if _WHOLE_NUMBER.fullmatch(text):
        return Stated(Quantity(Fraction(int(text))))
    whole = plain(text).text
    found = list(tokens(whole))
    given = _given(whole, found)
    if not given:
        return None
    start, end = _statement(whole)
    here = [token for token in found if start <= token.start < end]
    if any(token.glued and not _ends_a_side(whole, token) for token in here):
        return None
    stated = [token for token in given if start <= token.start < end]
    one = _agreed(whole, stated) or (_agreed(whole, given) if not stated else None)
    return one or None


class LastNumber(NamedTuple):
    """What a text ends with, as it is written there, and where it begins."""

    text: str
    start: int


def last_number(text: str) -> LastNumber | None:
    """Return the last number of a text with its sign, scale, currency and unit; None where there is no number.

    What is not one quantity is given with what makes it so: 3π, 2:3, (2, 3), 18 or 19, 2x + 1; a number that is
    denied (not 18) is passed over.

    >>> [last_number(text).text for text in ("3 is $1,234.50.", "2019-2020", "so $x = 9$ m!", "an area of 3π.")]
    ['$1,234.50', '2020', '9 m', '3π']
    """
    whole = plain(text)
    over = len(whole.text)
    while over >= 0:
        begin = whole.text.rfind("\n", 0, over) + 1
        line = whole.text[begin:over]
        if _HOLDS_A_NUMBER.search(line) and (last := _last_of_line(line)):
            start, end = _extended(line, last)
            start, end = begin + start, begin + end
            return LastNumber(whole.quoted(start, end), whole.span(start, end)[0])
        over = begin - 1
    return None


def _last_of_line(line: str) -> list[Token]:
    """Return the last numbers of a line, without those that are denied."""
    last: deque[Token] = deque(maxlen=10)
    for token in tokens(line):
        if not (
            _NEGATED.search(line, max(0, token.start - _NEAR), token.start) or _DENIED_AFTER.match(line, token.end)
        ):
            last.append(token)
    return list(last)


def _given(text: str, found: Sequence[Token]) -> list[Token]:
    """Return the numbers that stand for themselves."""
    listed = [False] * len(found)
    approximated = [False] * len(found)
    for k, (one, other) in enumerate(pairwise(found)):
        if other.start - one.end <= 12:
            if _LISTED.fullmatch(text, one.end, other.start):
                listed[k] = listed[k + 1] = True
            approximated[k + 1] = not one.glued and bool(_APPROXIMATELY.fullmatch(text, one.end, other.start))
    return [
        token
        for token, skip, rounded in zip(found, listed, approximated, strict=True)
        if not (skip or rounded or token.glued or _is_part(text, token))
    ]


def _is_part(text: str, token: Token) -> bool:
    """Tell whether a number is part of a sum, the left side of an equation, a bound or a negation."""
    if _GOES_ON.match(text, token.end) and not _EQUALS_A_NAME.match(text, token.end):
        return True
    if _DENIED_AFTER.match(text, token.end) or _BOUND_AFTER.match(text, token.end):
        return True
    before = text[max(0, token.start - _NEAR) : token.start]
    signed = token.found["sign"]
    return bool(
        _WENT_ON.search(before)
        or _NEGATED.search(before)
        or _BOUND.search(before)
        or (signed and _VARIABLE_BEFORE.search(before))
    )


def _ends_a_side(text: str, token: Token) -> bool:
    """Tell whether = or ≈ follows: then the number behind it is the one that is given."""
    rest = text[token.end : token.end + 40]
    return bool(re.match(r"[^\n.;,]*[=≈]", rest))


def _statement(text: str) -> tuple[int, int]:
    """Return where the first statement stands, or the one after the last mention of the answer."""
    start = 0
    for cue in _CUE.finditer(text):
        start = cue.end()
    lead = re.compile(r"[\s*:#]*").match(text, start)
    end = _STATEMENT_END.search(text, lead.end() if lead else start)
    return start, end.start() if end else len(text)


def _agreed(text: str, given: Sequence[Token]) -> Stated | None:
    """Return what all of these numbers say; None where they differ."""
    first: Stated | None = None
    for token in given:
        quantity = token.quantity()
        if quantity is None:
            return None
        if first is None:
            first = Stated(quantity, _words(text[token.end : token.end + 200]))
        elif (quantity.value, quantity.unit) != (first.quantity.value, first.quantity.unit):
            if quantity.value != first.quantity.value or None not in (quantity.unit, first.quantity.unit):
                return None
            first = Stated(quantity, first.words) if first.quantity.unit is None else first
    return first


def _words(text: str) -> tuple[str, ...]:
    """Return the words that follow a number, up to the end of the clause, if they can be a unit.

    >>> (
    ...     _words(" square Miles, he said"),
    ...     _words("-apples"),
    ...     _words(" in total"),
    ...     _words(", he said"),
    ...     _words(" per day"),
    ... )
    (('square', 'miles'), ('apples',), (), (), ('per', 'day'))
    """
    clause = _CLAUSE_END.split(text.removeprefix("-"), maxsplit=1)[0]
    words = tuple(clause.casefold().split())
    return () if not words or words[0] in _NO_UNIT or not words[0].strip('$"`') else words


def _unraised(text: str) -> str:
    return re.sub(r"\^-?[0-9]|[²³]", "", text)


def _extended(text: str, last: list[Token]) -> tuple[int, int]:
    """Return what the last number is a part of, if it is not a quantity of its own."""
    token = last.pop()
    start, end = token.start, token.end
    if token.glued:
        end = start + len(text[start:end].rstrip(" .,;:")) or end
    while last and _JOINED.fullmatch(text, last[-1].end, start):
        start = last.pop().start
    before = text[max(0, start - _NEAR * 2) : start]
    after = _TUPLE_AFTER.match(text, end)
    if after and (opened := _TUPLE_BEFORE.search(before)):
        return start - len(before) + opened.start(), after.end()
    if _LIST_AFTER.match(text, end) and (opened := _LIST_BEFORE.search(before)):
        return start - len(before) + opened.start(1), end
    if opened := _PLUS_MINUS_BEFORE.search(before) or _ALGEBRA_BEFORE.search(before):
        start += opened.start() - len(before)
    return start, end
