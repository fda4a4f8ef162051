"""What does not make two texts different: one folding for answers and for prompts."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_SPACE = re.compile(r"\s+")
_QUOTES = dict.fromkeys(map(ord, "‘’‚‛‹›´ʹʼ′"), "'") | dict.fromkeys(map(ord, "“”„‟«»″〝〞〟"), '"')
# Hyphens, dashes and the minus sign; U+30FC is a letter that lengthens a vowel.
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"), "-")
# Soft hyphen, zero-width space, word joiner, byte order mark, direction marks; joiners within words have a meaning.
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff\u200e\u200f"), None)


def folded(text: str) -> str:
    """Fold Unicode form, width, quotes, dashes, the minus sign, invisible characters, case and runs of white space.

    Composed and decomposed letters are one (NFC), and so are full-width and half-width ones. What carries meaning
    stays: superscripts, fractions, accents.

    >>> folded(" Cafe\\u0301  \\uff18\\uff12\\uff15 \\u22125 \\u2019 ")
    "café 825 -5 '"
    >>> folded("10\\u00b2")
    '10²'
    """
    if text.isascii():
        return " ".join(text.split()).casefold()
    # Width first: a half-width letter and its mark compose; case folding may take a letter apart again.
    narrowed = unicodedata.normalize("NFC", text.translate(_table()))
    return " ".join(unicodedata.normalize("NFC", narrowed.casefold()).split())


def is_seen(text: str) -> bool:
    """Tell whether a text holds more than white space and invisible characters."""
    return bool(text.translate(_UNSEEN).strip()) if not text.isascii() else bool(text.strip())


def normalised_prompt(text: str) -> str:
    """Fold what does not make two prompts different: as `folded`, and compatibility forms (NFKC).

    >>> normalised_prompt("  What is  2+2?\\n") == normalised_prompt("what is 2+2?")
    True
    """
    return folded(text) if text.isascii() else folded(unicodedata.normalize("NFKC", folded(text)))


@cache
def _table() -> dict[int, str | None]:
    """Return what one character becomes."""
    return _widths() | _QUOTES | _DASHES | _UNSEEN


def _widths() -> dict[int, str | None]:
    table: dict[int, str | None] = {}
    for code in range(0x3000, 0x10000):
        kind, _, rest = unicodedata.decomposition(chr(code)).partition(" ")
        if kind in ("<wide>", "<narrow>"):
            table[code] = "".join(chr(int(one, 16)) for one in rest.split())
    return table
