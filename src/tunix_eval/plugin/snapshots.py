"""How tunix_snapshot writes token sequences: text with turns, ids, and the supervised spans marked."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from syrupy.extensions.amber import AmberSnapshotExtension

from tunix_eval.records import Span, TokenSequence

_WIDTH = 72
"""Syrupy indents an entry by two and a diff by more; a terminal has 80 columns."""


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
    """Yield a head line, then for each span a line with its mark and text, and lines of ids below it.

    The mark is `+` where a span carries loss, with its weight where that is not 1, and `-` where the model writes it
    and it carries none. Text is escaped and in quotes, so that one span is one line; control tokens stand bare.
    """
    yield f"trace {sequence.trace_id}: {len(sequence.ids)} tokens, {int(sequence.loss_mask.sum())} supervised"
    start = 0
    for span, length, weight in zip(sequence.spans, sequence.span_lengths, sequence.span_weights, strict=True):
        ids = " ".join(str(one) for one in sequence.ids[start : start + length])
        start += length
        yield f"{_mark(span, weight)} {span.text if span.control else repr(span.text)}"
        yield from textwrap.wrap(ids, _WIDTH, initial_indent="    ", subsequent_indent="    ") or ["    no token"]


def _mark(span: Span, weight: float) -> str:
    if weight:
        return "+" if weight == 1 else f"+{weight:g}"
    return " " if span.reply is None else "-"
