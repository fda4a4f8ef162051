"""Where the answer stands in what a model wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from tunix_eval.quantities import last_number
from tunix_eval.records import AnswerRule, Completion, ExtractionStatus

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

_BOX = "\\boxed{"
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def extract(
    text: str, rule: AnswerRule, *, stop_reason: Literal["stop", "length"]
) -> tuple[str | None, ExtractionStatus]:
    r"""Return the answer, stripped, and how it was found.

    A mark counts where a line begins with it, exactly as written. The last one opens the answer, which runs to
    the rule's `close`, or without one to the end of the text; an empty `open` stands before the whole text. A box
    counts wherever it stands. A text cut off by length has no answer, unless its last opening is closed, which
    shows that the answer is complete. Several numbers are no flaw under last_number.

    >>> extract("3+4=7\nAnswer: 7", AnswerRule("Answer:"), stop_reason="stop")
    ('7', 'ok')
    >>> extract("Answer: 7", AnswerRule("Answer:"), stop_reason="length")
    (None, 'truncated')
    >>> extract("<answer>7</answer> and more", AnswerRule("<answer>", "</answer>"), stop_reason="length")
    ('7', 'ok')
    >>> extract(r"so \boxed{\frac{3}{4}}.", AnswerRule(kind="boxed"), stop_reason="stop")
    ('\\frac{3}{4}', 'ok')
    >>> extract("3 times 275 is 825.", AnswerRule(kind="last_number"), stop_reason="stop")
    ('825', 'ok')
    """
    if rule.kind == "last_number":
        found = None if stop_reason == "length" else last_number(text)
        if found is None:
            return None, "truncated" if stop_reason == "length" else "none"
        return found.text, "ok"
    count, start = _openings(text, rule)
    closes = rule.kind == "boxed" or bool(rule.close)
    end = _end(text, start, rule) if count and closes else None
    if end is None and stop_reason == "length":
        return None, "truncated"
    if not count:
        return None, "none"
    if closes and end is None:
        return None, "unclosed"
    return text[start:end].strip(), "several" if count > 1 else "ok"


def answer_context(text: str, rule: AnswerRule) -> tuple[str, str, str]:
    r"""Return what an expected answer is put between, to be judged where the model would have written its own.

    The context ends with the last opening mark of the text, or with one that is added on a line of its own; the
    lead stands between mark and answer, the tail behind the answer. Under last_number the context is the text up to
    its last number.

    >>> answer_context("3+4=7\nAnswer: 8", AnswerRule("Answer:"))
    ('3+4=7\nAnswer:', ' ', '')
    >>> answer_context("3+4=7", AnswerRule("<answer>", "</answer>"))
    ('3+4=7\n<answer>', '', '</answer>')
    >>> answer_context(r"so \boxed{8}.", AnswerRule(kind="boxed"))
    ('so \\boxed{', '', '}')
    >>> answer_context("3+4 is 8.", AnswerRule(kind="last_number")), answer_context("8", AnswerRule())
    (('3+4 is ', '', ''), ('', '', ''))
    """
    if rule.kind == "last_number":
        found = last_number(text)
        return text[: found.start] if found else text, "", ""
    opening, close = (_BOX, "}") if rule.kind == "boxed" else (rule.open, rule.close)
    count, start = _openings(text, rule)
    if count:
        context = text[:start]
    else:
        context = f"{text}\n{opening}" if text and not text.endswith("\n") else f"{text}{opening}"
    return context, " " if opening and not close and not opening[-1].isspace() else "", close


def complete(
    item_id: str,
    text: str,
    *,
    rule: AnswerRule,
    stop_reason: Literal["stop", "length"],
    tokens: int | None,
    repeat: int = 0,
) -> Completion:
    """Return what a model wrote for an item together with its answer.

    Half a surrogate pair, which no file can hold, becomes U+FFFD.
    """
    text = without_surrogates(text)
    answer, status = extract(text, rule, stop_reason=stop_reason)
    return Completion(
        item_id=item_id,
        text=text,
        answer=answer,
        status=status,
        stop_reason=stop_reason,
        tokens=tokens,
        repeat=repeat,
    )


def without_surrogates(text: str) -> str:
    """Put U+FFFD in place of each half of a surrogate pair, which no file can hold."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _openings(text: str, rule: AnswerRule) -> tuple[int, int]:
    """Return how many marks or boxes open an answer, and where the last of them has it begin."""
    if rule.kind == "boxed":
        return text.count(_BOX), text.rfind(_BOX) + len(_BOX)
    if not rule.open:
        return 1, 0
    lines, mark = f"\n{text}", f"\n{rule.open}"
    return lines.count(mark), lines.rfind(mark) + len(rule.open)


def _end(text: str, start: int, rule: AnswerRule) -> int | None:
    """Return where an answer ends that has to be closed, or None where it is not."""
    if rule.kind == "mark":
        end = text.find(rule.close, start)
        return None if end < 0 else end
    depth = 1
    for found in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return found.start()
    return None
