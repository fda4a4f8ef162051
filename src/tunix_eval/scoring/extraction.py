"""The answer in what a model wrote, and how it was found."""

from __future__ import annotations

import re
from typing import Literal

from tunix_eval.answers import BOX, answer_at, find_answer
from tunix_eval.folding import is_seen
from tunix_eval.quantities import last_number
from tunix_eval.records import AnswerRule, Completion, ExtractionStatus
from tunix_eval.thinking import Thinking, blanked, find_thinking, without

_SURROGATE = re.compile("[\ud800-\udfff]")


def extract(
    text: str, rule: AnswerRule, *, stop_reason: Literal["stop", "length"], opened: bool = False
) -> tuple[str | None, ExtractionStatus]:
    r"""Return the answer, stripped, and how it was found.

    What stands in a thinking section is no answer, and a text that ends inside one is truncated; `opened` says that it
    begins in one. The last opening of an answer counts (`answers.find_answer`). The answer runs to what closes it, or
    without such to the end of the text; an empty one is none. A text cut off by length has no answer, unless its last
    opening is closed, which shows that the answer is complete. Several numbers are no flaw under last_number.

    >>> extract("3+4=7\nAnswer: 7", AnswerRule("Answer:"), stop_reason="stop")
    ('7', 'ok')
    >>> extract("Answer: 7", AnswerRule("Answer:"), stop_reason="length")
    (None, 'truncated')
    >>> extract("<answer>7</answer> and more", AnswerRule("<answer>", "</answer>"), stop_reason="length")
    ('7', 'ok')
    >>> extract(r"<think>\boxed{12}?</think> so \boxed{\frac{3}{4}}.", AnswerRule(kind="boxed"), stop_reason="stop")
    ('\\frac{3}{4}', 'ok')
    >>> extract("3 times 275 is 825.", AnswerRule(kind="last_number"), stop_reason="stop")
    ('825', 'ok')
    """
    return _extract(text, rule, stop_reason, find_thinking(text, rule.thinking, opened=opened))


def _extract(
    text: str, rule: AnswerRule, stop_reason: Literal["stop", "length"], thinking: Thinking
) -> tuple[str | None, ExtractionStatus]:
    if thinking.close:
        return None, "truncated"
    said, cut = blanked(text, thinking.spans) if thinking.spans else text, stop_reason == "length"
    if rule.kind == "last_number":
        number = None if cut else last_number(said)
        if number is None:
            return None, "truncated" if cut else "none"
        return number.text, "ok"
    if not (rule.open or rule.close or rule.kind != "mark"):
        said = "" if cut else without(text, thinking.spans).strip()
        answer = said if is_seen(said) else None
        return answer, "ok" if answer else "truncated" if cut else "none"
    found = find_answer(said, rule)
    closes = rule.kind == "boxed" or bool(rule.close)
    if cut and (found is None or not closes or found.end is None):
        return None, "truncated"
    if found is None:
        return None, "none"
    if found.end is None:
        return None, "unclosed"
    answer = answer_at(text, found, thinking.spans)
    if not is_seen(answer):
        return None, "truncated" if cut else "none"
    return answer, "several" if found.marks > 1 else "ok"


def answer_context(text: str, rule: AnswerRule, *, opened: bool = False) -> tuple[str, str, str]:
    r"""Return what an expected answer is put between, to be judged where the model would have written its own.

    The context ends with the last opening mark of the text outside of its thinking, or with one that is added on a
    line of its own; the lead stands between mark and answer, the tail behind the answer. Where the whole text is the
    answer, the context is its thinking. Under last_number the context is the text up to its last number. A thinking
    section in which the text ends is closed first.

    >>> answer_context("3+4=7\nAnswer: 8", AnswerRule("Answer:"))
    ('3+4=7\nAnswer:', ' ', '')
    >>> answer_context("3+4=7", AnswerRule("<answer>", "</answer>"))
    ('3+4=7\n<answer>', '', '</answer>')
    >>> answer_context(r"so \boxed{8}.", AnswerRule(kind="boxed"))
    ('so \\boxed{', '', '}')
    >>> answer_context("3+4 is 8.", AnswerRule(kind="last_number")), answer_context("8", AnswerRule())
    (('3+4 is ', '', ''), ('', '', ''))
    """
    thinking = find_thinking(text, rule.thinking, opened=opened)
    if thinking.open:
        text = f"{text}\n{thinking.close}\n"
        thinking = find_thinking(text, rule.thinking, opened=opened)
    said, thought = blanked(text, thinking.spans), thinking.spans[-1][1] if thinking.spans else 0
    if rule.kind == "last_number":
        number = last_number(said)
        return text[: number.start] if number else text, "", ""
    opening, close = (BOX, "}") if rule.kind == "boxed" else (rule.open, rule.close)
    if not opening:
        return text[: len(text) - len(said[thought:].lstrip())] if thought else "", "", close
    found = find_answer(said, rule)
    if found is not None:
        context = text[: found.start]
    else:
        context = f"{text}\n{opening}" if text and not text.endswith("\n") else f"{text}{opening}"
    if found is not None and found.heading:
        return context, "\n", ""
    return context, " " if not close and not opening[-1].isspace() else "", close


def complete(
    item_id: str,
    text: str,
    *,
    rule: AnswerRule,
    stop_reason: Literal["stop", "length"],
    tokens: int | None,
    repeat: int = 0,
    opened: bool = False,
) -> Completion:
    """Return what a model wrote for an item together with its thinking and its answer.

    `opened` says that the prompt opened a thinking section. Half a surrogate pair, which no file can hold, becomes
    U+FFFD.
    """
    text = without_surrogates(text)
    thinking = find_thinking(text, rule.thinking, opened=opened)
    answer, status = _extract(text, rule, stop_reason, thinking)
    return Completion(
        item_id=item_id,
        text=text,
        answer=answer,
        status=status,
        stop_reason=stop_reason,
        tokens=tokens,
        repeat=repeat,
        thinking=thinking.spans,
    )


def without_surrogates(text: str) -> str:
    """Put U+FFFD in place of each half of a surrogate pair, which no file can hold."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
