"""Where the answer stands in what a model wrote."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from tunix_eval.records import AnswerRule, Completion, ExtractionStatus

_SURROGATE = re.compile("[\ud800-\udfff]")


def extract(
    text: str, mark: AnswerRule, *, stop_reason: Literal["stop", "length"]
) -> tuple[str | None, ExtractionStatus]:
    r"""Return the answer, stripped, and how it was found.

    A mark counts where a line begins with it, exactly as written. The last one opens the answer, which runs to
    the mark's `close`, or without one to the end of the text; an empty `open` stands before the whole text. A
    text cut off by length has no answer, unless `close` shows that the answer is complete.

    >>> extract("3+4=7\nAnswer: 7", AnswerRule("Answer:"), stop_reason="stop")
    ('7', 'ok')
    >>> extract("Answer: 7", AnswerRule("Answer:"), stop_reason="length")
    (None, 'truncated')
    >>> extract("<answer>7</answer> and more", AnswerRule("<answer>", "</answer>"), stop_reason="length")
    ('7', 'ok')
    """
    starts = [found.end() for found in _opening(mark.open).finditer(text)] if mark.open else [0]
    end = text.find(mark.close, starts[-1]) if starts and mark.close else -1
    if end < 0 and stop_reason == "length":
        return None, "truncated"
    if not starts:
        return None, "none"
    if mark.close and end < 0:
        return None, "unclosed"
    answer = text[starts[-1] : end] if mark.close else text[starts[-1] :]
    return answer.strip(), "several" if len(starts) > 1 else "ok"


def complete(
    item_id: str, text: str, *, mark: AnswerRule, stop_reason: Literal["stop", "length"], tokens: int
) -> Completion:
    """Return what a model wrote for an item together with its answer.

    Half a surrogate pair, which no file can hold, becomes U+FFFD.
    """
    text = _SURROGATE.sub("\ufffd", text)
    answer, status = extract(text, mark, stop_reason=stop_reason)
    return Completion(item_id=item_id, text=text, answer=answer, status=status, stop_reason=stop_reason, tokens=tokens)


@lru_cache(maxsize=64)
def _opening(mark: str) -> re.Pattern[str]:
    return re.compile(f"^{re.escape(mark)}", re.MULTILINE)
