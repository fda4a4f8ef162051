"""Plain-text columns that keep a width."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

_GAP = 2
_LEAST = 8
"""A text column is never cut below this."""


def columns(rows: Sequence[Sequence[str]], align: str, width: int) -> list[str]:
    """Lay rows out in columns; where they are too wide, the widest text columns are cut.

    Args:
        rows: cells, as many a row as `align` has letters.
        align: `<` or `>` a column; only left-aligned columns are cut.
        width: longest line.

    >>> columns([["a", "1.5"], ["long-name", "20.25"]], "<>", 15)
    ['a           1.5', 'long-n..  20.25']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(align))]
    free = [i for i, side in enumerate(align) if side == "<"]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        widest = max(free, key=lambda i: widths[i], default=0)
        if not free or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = [
        (" " * _GAP).join(f"{cut(c, w):{a}{w}}" for c, a, w in zip(row, align, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [cut(line, width) for line in lines]


def cut(text: str, width: int) -> str:
    """Shorten a text to a width; two dots show that something is missing.

    >>> cut("addition-heldout", 10), cut("short", 10)
    ('addition..', 'short')
    """
    return text if len(text) <= width else text[: max(width - 2, 0)] + ".."[: max(width, 0)]


def paragraph(text: str, width: int, *, first: str, rest: str) -> list[str]:
    """Wrap a text behind a first prefix and a prefix for the lines after it."""
    return wrap(text, max(width, 20), initial_indent=first, subsequent_indent=rest)
