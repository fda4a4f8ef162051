"""Markdown from foreign text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunix_eval.figures import printable

# An underscore inside a word is no emphasis, and stays readable in a terminal.
_SPECIAL = re.compile(r"[&<>\\`*\[\]|~$#!@:]|(?<![^\W_])_|_(?![^\W_])")
_TICKS = re.compile("`+")


def cell(text: str) -> str:
    """Write a text so that it stands for itself in a table cell, a heading or a line.

    >>> cell("a|b <i>*"), cell("edge_case"), cell("_a_")
    ('a&#124;b &#60;i&#62;&#42;', 'edge_case', '&#95;a&#95;')
    """
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def code(text: str, limit: int = 160) -> str:
    r"""Write a text as a code span on one line, cut to a limit; nothing in it is taken as Markdown or HTML.

    Not for table cells, which end at a `|` even inside a span.

    >>> print(code("2+2=`4`\n"), code(""))
    `` 2+2=`4`\n `` (empty)
    """
    if not text:
        return "(empty)"
    shown = printable(text if len(text) <= limit else text[:limit] + "..")
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(shown)), default=0))
    pad = " " if len(fence) > 1 or shown[0] == " " or shown[-1] == " " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Write a table; `align` has `<` or `>` a column."""
    rule = [":---" if side == "<" else "---:" for side in align]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))
