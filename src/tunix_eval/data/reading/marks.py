"""What the bytes of many lines tell at once: quick tests that may find fault with what is sound, but pass no fault."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunix_eval.data.reading.explain import MAX_DEPTH, MAX_DIGITS

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)


def line_ends(data: bytes) -> npt.NDArray[np.int64]:
    """Return where the line ends stand."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))


def lines_of_one_object(data: bytes, ends: npt.NDArray[np.int64]) -> int:
    """Count the lines, or return 0 where a line end does not stand between a closing and an opening brace.

    In JSON those two stand together only between two values: so many values in so many lines are one in each.
    """
    text = np.frombuffer(data, np.uint8)
    if not len(text) or text[0] != ord("{"):
        return 0
    last = len(ends) > 0 and ends[-1] == len(text) - 1
    starts = ends[: len(ends) - last] + 1
    between = (text[ends - 1] == ord("}")).all() and (text[starts] == ord("{")).all()
    return len(starts) + 1 if between else 0


def key_marks(data: bytes) -> tuple[int, bool]:
    """Count the quotes before a colon, and tell whether no quote stands before a space, an escape or such.

    If so, no text begins with white space, and of what is JSON the count is at least the number of keys.
    """
    text = np.frombuffer(data, np.uint8)
    quotes, after = text[:-1] == ord('"'), text[1:]
    marks = after == ord(":")
    marks &= quotes
    count = int(np.count_nonzero(marks))
    # Into the same memory, which is still in the processor's cache.
    np.less_equal(after, ord(" "), out=marks)
    if b"\\" in data:
        marks |= after == ord("\\")
    marks &= quotes
    return count, not (text.max(initial=0) >= 0x80 or marks.any())


def spaced_colons(data: bytes) -> bool:
    """Tell whether a space may stand between a key and its colon."""
    text = np.frombuffer(data, np.uint8)
    return bool((text[np.flatnonzero(text == ord(":")) - 1] <= ord(" ")).any())


def openings(data: bytes) -> int:
    """Count the brackets and braces that open, also those in texts."""
    # They differ in one bit.
    lowered = np.frombuffer(data, np.uint8) | 0x20
    return int(np.count_nonzero(np.equal(lowered, ord("{"), out=lowered.view(np.bool_))))


def has_long_number(data: bytes) -> bool:
    """Tell whether there may be a number of more than MAX_DIGITS digits: by every 30th byte."""
    some = np.frombuffer(data, np.uint8)[::30]
    return b"\1" * (MAX_DIGITS // 30) in (some - ord("0") < 10).tobytes()


def bounded(data: bytes) -> bool:
    """Tell whether lines, each an object or what one key of it holds, surely keep the limits of depth and digits."""
    if b"0" * (MAX_DIGITS + 1) in data.translate(_DIGITS):
        return False
    limit = MAX_DEPTH - 1
    # Every line opens at least one brace: what is left of all for one of them.
    if data.count(b"[") + data.count(b"{") - data.count(b"\n") + 1 <= limit:
        return True
    return all(line.count(b"[") + line.count(b"{") <= limit for line in data.split(b"\n"))
