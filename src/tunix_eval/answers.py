"""Where an answer stands in a text: the rules that a run file and `ingest --split` name, and what finds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import msgspec

from tunix_eval.records import AnswerRule
from tunix_eval.thinking import Spans, without

ANSWER_RULES: Mapping[str, AnswerRule] = MappingProxyType(
    {
        "answer": AnswerRule("Answer:"),
        "hashes": AnswerRule("####"),
        "boxed": AnswerRule(kind="boxed"),
        "tags": AnswerRule("<answer>", "</answer>"),
        "last_number": AnswerRule(kind="last_number"),
        "text": AnswerRule(),
    }
)
"""The rules that a run file can name."""

BOX = "\\boxed{"
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_EMPHASIS = "(?:[*_`~]{1,3}|</?(?:b|strong|i|em|u)>)"


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where the last answer of a text stands."""

    marks: int
    """How many marks or boxes open an answer; the last one counts."""
    mark: int
    """Where its mark begins."""
    start: int
    """Where the answer begins."""
    end: int | None
    """Where it ends; None where it has to be closed and is not."""
    emphasis: str = ""
    """Markup that is open where the answer begins, as in `**Answer: 7**`."""
    heading: bool = False
    """Whether the mark is a line of its own, as in `### Answer`."""


def find_answer(text: str, rule: AnswerRule) -> Place | None:
    r"""Find the last place of a text where a mark, a tag or a box opens an answer; None where none does.

    Args:
        text: without its thinking (`thinking.blanked`).
        rule: of any kind but last_number, whose answer has no opening.

    A box and a tag count wherever they stand. Any other mark counts where a line begins with it; one that is a word
    and a colon also where Markdown is around it, where "final" stands before it, and in other case:

    >>> [find_answer(text, AnswerRule("Answer:")).start for text in ("**Answer:** 7", "### Final answer: 7")]
    [11, 17]
    """
    if rule.kind == "boxed":
        found = _last(_BOX, text)
        return None if found is None else Place(found[0], *found[1].span(), _closing_brace(text, found[1].end()))
    if not rule.open:
        return Place(1, 0, 0, _close(text, 0, rule))
    if rule.close:
        found = _last(_tag(rule.open), text)
        return None if found is None else Place(found[0], *found[1].span(), _close(text, found[1].end(), rule))
    return _at_line_start(text, rule.open)


def answer_at(text: str, place: Place, spans: Spans = ()) -> str:
    """Return the answer at a place that has an end, without the thinking in it and stripped; it may be empty.

    >>> answer_at("**Answer: 7**", find_answer("**Answer: 7**", AnswerRule("Answer:")))
    '7'
    """
    answer = without(text, spans, place.start, place.end) if spans else text[place.start : place.end]
    if place.emphasis:
        answer = answer.replace(place.emphasis.replace("<", "</"), "", 1)
    return answer.strip()


def _at_line_start(text: str, mark: str) -> Place | None:
    word, stem, upper = _word(mark)
    lines, opening = f"\n{text}", f"\n{mark}"
    plain = lines.count(opening)
    # Nearly every text holds the word in plain marks alone, which are found in a tenth of the time.
    if not word or (text.count(stem) == plain and upper not in text):
        if not plain:
            return None
        last = lines.rfind(opening)
        return Place(plain, last, last + len(mark), len(text))
    found = _last(_dressed(word), text)
    if found is None:
        return None
    count, match = found
    heading = match["heading"] is not None
    closed = heading or match["after"].strip(": ：")
    return Place(count, match.start(), match.end(), len(text), "" if closed else match["before"] or "", heading)


@lru_cache(64)
def _word(mark: str) -> tuple[str, str, str]:
    """Return the word of a mark that is a word and a colon, and what it has in common in lower and in upper case."""
    word = mark.removesuffix(":")
    return (word, word[1:], word[1:].upper()) if word != mark and word.isalpha() else ("", "", "")


@lru_cache(64)
def _dressed(word: str) -> re.Pattern[str]:
    """Return what finds a word and a colon at a line's start, or the word as a heading, with Markdown around it."""
    said = f"(?:[Ff]inal[ ]|FINAL[ ])?(?:{word}|{word.lower()}|{word.upper()})"
    return re.compile(
        rf"""
        ^[ ]{{0,3}}+(?:>[ ]?|[-*+][ ]++)*+
        (?:
          (?:\#{{1,6}}+[ ]*+)?(?P<before>{_EMPHASIS})?{said}
          (?P<after>(?(before){_EMPHASIS}?[ ]?[:：](?:[ ]?{_EMPHASIS}(?!\S))?+{_EMPHASIS}?+|[ ]?[:：]))
        | (?P<heading>(?:\#{{1,6}}+[ ]*+{_EMPHASIS}?|{_EMPHASIS}){said}{_EMPHASIS}?[ ]*+$)
        )
        """,
        re.MULTILINE | re.VERBOSE,
    )


@lru_cache(64)
def _tag(tag: str) -> re.Pattern[str]:
    """Return what finds a tag in any case, with space before its end."""
    return re.compile(rf"{re.escape(tag[:-1])}\s*+>" if tag.endswith(">") else re.escape(tag), re.IGNORECASE)


def _close(text: str, start: int, rule: AnswerRule) -> int | None:
    """Return where an answer ends; None where it has to be closed and is not."""
    if not rule.close:
        return len(text)
    found = _tag(rule.close).search(text, start)
    return found.start() if found else None


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for found in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return None


def _last(pattern: re.Pattern[str], text: str) -> tuple[int, re.Match[str]] | None:
    """Return how often a pattern is found, and its last place."""
    places = list(pattern.finditer(text))
    return (len(places), places[-1]) if places else None
