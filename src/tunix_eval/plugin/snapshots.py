"""How tunix_snapshot writes token sequences: text with turns and the supervised spans marked, then ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from syrupy.extensions.amber import AmberSnapshotExtension

from tunix_eval.records import Span, TokenSequence


class SequenceExtension(AmberSnapshotExtension):
    """Syrupy's amber files, with an entry of ours for token sequences."""

    def serialize(self, data: Any, **options: Any) -> str:
        """Write sequences line by line; anything else as syrupy does."""
        if isinstance(data, TokenSequence):
            return "\n".join(_lines(data))
        if isinstance(data, (list, tuple)) and data and all(isinstance(one, TokenSequence) for one in data):
            return "\n\n".join("\n".join(_lines(one)) for one in data)
        return super().serialize(data, **options)


def _lines(sequence: TokenSequence) -> Iterator[str]:
    """Yield a head line, the text of each span with its number and mark, and the ids, a line a span.

    The mark is `+` where a span carries loss, with its weight where that is not 1, and `-` where the model writes it
    and it carries none. Text stands in quotes, a line of it a line, and escaped; control tokens stand bare. All ids
    come after all text and are not wrapped, so that a diff begins with what reads, and has one line a span of ids.
    """
    yield f"trace {sequence.trace_id}: {len(sequence.ids)} tokens, {int(sequence.loss_mask.sum())} supervised"
    marks = [_mark(span, weight) for span, weight in zip(sequence.spans, sequence.span_weights, strict=True)]
    digits, room = len(str(len(marks))), max(map(len, marks), default=1)
    for number, (span, mark) in enumerate(zip(sequence.spans, marks, strict=True), start=1):
        shown = f"{number:>{digits}}"
        for text in [span.text] if span.control else map(repr, span.text.splitlines(keepends=True) or [""]):
            yield f"{shown} {mark:<{room}} {text}"
            shown = " " * digits
    yield "ids"
    start = 0
    for number, length in enumerate(sequence.span_lengths, start=1):
        ids = " ".join(str(one) for one in sequence.ids[start : start + length])
        start += length
        yield f"{number:>{digits}} {ids or 'none'}"


def _mark(span: Span, weight: float) -> str:
    if weight:
        return "+" if weight == 1 else f"+{weight:g}"
    return " " if span.reply is None else "-"
