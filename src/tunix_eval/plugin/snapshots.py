"""How tunix_snapshot writes token sequences: text with turns, ids, and the supervised spans marked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syrupy.extensions.amber import AmberSnapshotExtension

from tunix_eval.records import TokenSequence


class SequenceExtension(AmberSnapshotExtension):
    """Syrupy's amber files, with an entry of ours for token sequences."""

    def serialize(self, data: Any, **options: Any) -> str:
        """Write sequences line by line; anything else as syrupy does."""
        if isinstance(data, TokenSequence):
            return "\n".join(_lines(data))
        if isinstance(data, (list, tuple)) and data and all(isinstance(one, TokenSequence) for one in data):
            return "\n\n".join("\n".join(_lines(one)) for one in data)
        return super().serialize(data, **options)


def _lines(sequence: TokenSequence) -> Iterable[str]:
    """Yield a head line, then a line a span: `+` where it carries loss, its ids, its text."""
    yield f"trace {sequence.trace_id}: {len(sequence.ids)} tokens, {int(sequence.loss_mask.sum())} supervised"
    start = 0
    for span, length, weight in zip(sequence.spans, sequence.span_lengths, sequence.span_weights, strict=True):
        ids = " ".join(str(one) for one in sequence.ids[start : start + length])
        start += length
        mark = "+" if weight else " "
        text = span.text if span.control else repr(span.text)
        yield f"{mark} {text}"
        yield f"    {ids}"
