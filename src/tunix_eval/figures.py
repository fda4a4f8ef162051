"""How numbers and foreign text are written for people, the same in verdicts, tables and reports."""

from __future__ import annotations

import json
import math

SHOWN_LIMIT = 80
"""Characters of a foreign text that a message shows."""


def decimals(*values: float | None) -> int:
    """Return the decimals that show these values together: 3, and more where all are below 0.01.

    >>> decimals(0.98, 0.001), decimals(0.00123, 0.00119), decimals(0.0)
    (3, 4, 3)
    """
    scale = max((abs(value) for value in values if value is not None), default=0.0)
    return 3 if scale >= 0.01 or scale == 0 else min(1 - math.floor(math.log10(scale)), 12)


def fixed(value: float | None, places: int = 3, *, signed: bool = False) -> str:
    """Write a value with so many decimals, never as minus zero; an empty string for None.

    >>> fixed(0.98), fixed(0.05, signed=True), fixed(-0.0001), fixed(None)
    ('0.980', '+0.050', '0.000', '')
    """
    return "" if value is None else f"{value:{'+' if signed else ''}z.{places}f}"


def interval_text(interval: tuple[float, float], places: int = 3) -> str:
    """Write an interval.

    >>> interval_text((0.034, 0.106))
    '0.034 to 0.106'
    """
    return f"{fixed(interval[0], places)} to {fixed(interval[1], places)}"


def p_text(p: float) -> str:
    """Write a p value: two digits that matter, and no more than four decimals.

    >>> p_text(0.00075), p_text(0.0213), p_text(0.5), p_text(1e-9)
    ('0.0008', '0.021', '0.50', '<0.0001')
    """
    if p < 0.0001:
        return "<0.0001"
    return f"{p:.{min(4, max(2, 1 - math.floor(math.log10(p))))}f}"


def clock_text(seconds: float) -> str:
    """Write a length of time: minutes and seconds, with hours where there are any.

    >>> clock_text(9.6), clock_text(80), clock_text(7384)
    ('0:10', '1:20', '2:03:04')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bytes_text(count: float) -> str:
    """Write a number of bytes.

    >>> bytes_text(52_000_000), bytes_text(120)
    ('52 MB', '120 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def printable(text: str) -> str:
    r"""Escape line ends, control characters and whatever else a terminal would not show as it is.

    >>> print(printable("a\x1b[31mb\n"))
    a\x1b[31mb\n
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def cut(text: str) -> str:
    """Write a text in one line for a terminal, and cut a long one."""
    return printable(text if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]}...")


def printable_lines(text: str) -> str:
    r"""Escape what `printable` does, line by line: line ends stay.

    >>> print(printable_lines("a\x1b[1m\r\nb"))
    a\x1b[1m\r
    b
    """
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str) -> str:
    r"""Escape what a terminal would not show as it is in JSON text, which stays the same JSON.

    >>> print(printable_json('["\u202ea", "\U000e0041"]'))
    ["\u202ea", "\udb40\udc41"]
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1].replace("\x7f", "\\u007f") for c in text)
