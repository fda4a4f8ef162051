"""Text with LaTeX and markup taken off, and the way back to where each piece stood in the source."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass

FRACTION_OPEN, FRACTION_CLOSE = "\ue000", "\ue001"
"""What `\\frac{3}{4}` becomes: 3/4 between these two, so that `\\frac12` before a digit stays a half."""
OPAQUE = "√"
"""What a command becomes that is neither layout nor a sign: a root, a logarithm, a bar over digits."""

_ARGUMENT = r"(?:\{\s*+(%s[-+−–]?\s*+[0-9.,]++)\s*+\}|([0-9]))"
_PIECE = re.compile(
    rf"""
    \\[dtc]?frac\s*+{_ARGUMENT % ""}\s*+{_ARGUMENT % ""}
  | \{{\s*+([-+−–]?[0-9.,]++)\s*+\\over\s*+([0-9.,]++)\s*+\}}
  | (?P<comma>\{{(?:,|\\,)\}})
  | (?P<degree>\^(?:\\circ(?![A-Za-z])|\{{\\circ\}}))
  | (?P<layout>\\(?:[hv]space|tag|label|ref|color|cite)\*?\{{[^{{}}]*+\}})
  | \\(?P<wrapper>(?:textcolor|colorbox)\{{[^{{}}]*+\}}
      |text(?:bf|it|rm|tt|sf|normal)?|math(?:bf|it|rm|sf|tt|normal)|[mfh]box|boxed|emph|underline|bm
      |boldsymbol|operatorname)\s*+\{{
  | \\(?P<command>[A-Za-z]++)
  | \\(?P<escaped>.)
  | (?P<brace>[{{}}])
  | (?P<dollars>\$++)
  | (?P<markup>(?<![0-9])\*\*|\*\*(?![0-9(])|__|</?[A-Za-z]{{1,10}}>)
    """,
    re.VERBOSE | re.DOTALL,
)
_BRACE = re.compile(r"[{}]")
_SPECIAL = re.compile(r"[\\${}]|\*\*|__|<")
_FORMULA = re.compile(r"(?<![\\$])\$(?=[^\s$])([^$\n]*+)(?<=[^\s\\])\$(?![0-9$])")
_LATEX_GROUPS = re.compile(r"-?[0-9]{1,3}(?:\{,\}|,?\\[,!;: ])[0-9]{3}")
_SIGNS = {
    **dict.fromkeys(("times", "ast"), "×"),
    **dict.fromkeys(("cdot", "bullet"), "·"),
    **dict.fromkeys(("approx", "sim", "simeq", "cong", "doteq"), "≈"),
    **dict.fromkeys(("le", "leq", "leqslant", "lt", "ll"), "≤"),
    **dict.fromkeys(("ge", "geq", "geqslant", "gt", "gg"), "≥"),
    **dict.fromkeys(("ne", "neq"), "≠"),
    **dict.fromkeys(("pm", "mp"), "±"),
    **dict.fromkeys(("dots", "ldots", "cdots"), "…"),
    **dict.fromkeys(("to", "rightarrow", "Rightarrow", "implies", "longrightarrow"), "→"),
    **dict.fromkeys(("quad", "qquad", "therefore", "because", "checkmark", "square", "newline", "medspace"), " "),
    **dict.fromkeys(("left", "right", "displaystyle", "textstyle", "big", "Big", "bigl", "bigr", "text"), ""),
    **dict.fromkeys(("deg", "degree", "textdegree", "circ"), "°"),
    "div": "÷",
    "mu": "μ",
    "Omega": "Ω",
    "pi": "π",
    "infty": "∞",
    "mid": "|",
    "pounds": "£",
    "euro": "€",
    "percent": "%",
    "equiv": "=",
}
_ESCAPED = {**dict.fromkeys(",;: ()[]~", " "), "!": "", "\\": "\n", "{": "(", "}": ")", "|": "|"}
_ONE_FOR_ONE = str.maketrans(
    {
        # The full-width forms of ASCII stand at one distance from it.
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\ufe58", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t~", " "),
        **dict.fromkeys("\u2019\u2018\u02bc", "'"),
        **dict.fromkeys("\u2044\u2215", "/"),
        **dict.fromkeys("\u22c5\u2219\u2022", "·"),
        **dict.fromkeys("\u2715\u2716\u2a2f", "×"),
        **dict.fromkeys("\u201c\u201d\u2033", '"'),
        "\u00b5": "μ",
        "\u2126": "Ω",
        "\ufe6a": "%",
        "\u066a": "%",
    }
)
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")


@dataclass(frozen=True, slots=True)
class Plain:
    """A text as a reader sees it, and its source."""

    text: str
    source: str
    _starts: tuple[int, ...]
    """Where each piece begins in the text."""
    _pieces: tuple[tuple[int, int, bool], ...]
    """Where each begins and ends in the source, and whether it is copied letter by letter."""
    _formulas: frozenset[int] = frozenset()
    """Where a dollar sign opens or closes a formula."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a part of the text stands in the source, with the braces that close what it opens."""
        first, last = bisect_right(self._starts, start) - 1, bisect_right(self._starts, end - 1) - 1
        begin, _, copied = self._pieces[first]
        if copied:
            begin += start - self._starts[first]
        begun, over, copied = self._pieces[last]
        if copied:
            over = begun + end - self._starts[last]
        opened = 0
        for brace in _BRACE.findall(self.source, begin, over):
            opened = opened + 1 if brace == "{" else max(0, opened - 1)
        while opened > 0 and self.source.startswith("}", over):
            over, opened = over + 1, opened - 1
        return begin, over

    def quoted(self, start: int, end: int) -> str:
        """Return a part of the text as the source has it, without dollar signs whose other half is outside."""
        begin, over = self.span(start, end)
        return "".join(self.source[at] for at in range(begin, over) if at not in self._formulas).strip()


def plain(text: str) -> Plain:
    r"""Take off layout commands, wrappers and markup, and write signs of one meaning in one way.

    Commands with no meaning for a number become a root sign. Digits of other scripts become 0 to 9.

    >>> plain(r"$1\frac12$ \text{ km} is \boxed{10\,080}").text.replace(FRACTION_OPEN, "<").replace(FRACTION_CLOSE, ">")
    '1<1/2>  km is 10 080'
    >>> text = plain(r"so \textbf{9{,}500} \text{km}!")
    >>> text.text, text.source[slice(*text.span(3, 11))]
    ('so 9,500 km!', '9{,}500} \\text{km}')
    """
    if not _SPECIAL.search(text):
        return Plain(_folded(text), text, (0,), ((0, len(text), True),))
    formulas = frozenset(at for found in _FORMULA.finditer(text) for at in (found.start(), found.end() - 1))
    parts, starts, pieces = list[str](), list[int](), list[tuple[int, int, bool]]()
    done = length = 0
    wrapped = list[bool]()

    def add(part: str, begin: int, end: int, *, copied: bool) -> None:
        nonlocal length
        if part:
            parts.append(part)
            starts.append(length)
            pieces.append((begin, end, copied))
            length += len(part)

    for found in _PIECE.finditer(text):
        add(text[done : found.start()], done, found.start(), copied=True)
        add(_replaced(found, formulas, wrapped), found.start(), found.end(), copied=False)
        done = found.end()
    add(text[done:], done, len(text), copied=True)
    pieces = pieces or [(0, len(text), True)]
    return Plain(_folded("".join(parts)), text, tuple(starts or [0]), tuple(pieces), formulas)


def _replaced(found: re.Match[str], formulas: frozenset[int], wrapped: list[bool]) -> str:
    """Return what stands for a piece; `wrapped` holds for each open brace whether a wrapper opened it."""
    match found.lastgroup:
        case None:
            numbers = [part.replace(" ", "") for part in found.groups()[:6] if part]
            return f"{FRACTION_OPEN}{numbers[0]}/{numbers[1]}{FRACTION_CLOSE}"
        case "comma":
            return "," if found[0] == "{,}" else " "
        case "degree":
            return "°"
        case "layout":
            return ""
        case "wrapper":
            wrapped.append(True)
            return ""
        case "command":
            return _SIGNS.get(found["command"], OPAQUE)
        case "escaped":
            return _ESCAPED.get(found["escaped"], found["escaped"])
        case "dollars":
            # A formula's own signs are layout, and so is a lone one before digits in LaTeX's groups; others are money.
            layout = len(found[0]) > 1 or found.start() in formulas or _LATEX_GROUPS.match(found.string, found.end())
            return "" if layout else "$"
        case "markup":
            return " " if found[0].startswith("<") else ""
    if found[0] == "{":
        wrapped.append(False)
        return "("
    return "" if not wrapped or wrapped.pop() else ")"


def _folded(text: str) -> str:
    if text.isascii():
        return text.translate(_ONE_FOR_ONE) if "~" in text or "\t" in text else text
    return _OTHER_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text.translate(_ONE_FOR_ONE))
