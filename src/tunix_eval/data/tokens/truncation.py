"""Truncation: what becomes of traces that are longer than a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from tunix_eval.data.renderers.laws import BOS_NAMES
from tunix_eval.data.tokens.sequences import LISTED, check_lengths
from tunix_eval.errors import DataError
from tunix_eval.records import Renderer, Span, Tokenizer, TokenSequence

TruncationMode = Literal["error", "drop", "left", "right"]


@dataclass(frozen=True, slots=True)
class Truncated:
    """Sequences that fit, and what was done to those that did not."""

    sequences: tuple[TokenSequence, ...]
    dropped: tuple[str, ...] = ()
    """The traces that were left out."""
    cut: int = 0
    """How many were cut."""


def truncate(
    sequences: Sequence[TokenSequence],
    *,
    row_tokens: int,
    mode: TruncationMode,
    renderer: Renderer,
    tokenizer: Tokenizer,
    source: str,
) -> Truncated:
    """Make every sequence fit into a row; `source` names the dataset.

        text      <bos>  user  2+2?  model  2  +  2  =  4  <end>
        left, 5   <bos>                           2  =  4  <end>
        right, 5  <bos>  user  2+2?  model  2

    `left` keeps a BOS and the last tokens, `right` the first ones.

    Raises:
        DataError: `error`, and a trace is too long; `drop`, and all are; a trace that was cut has nothing left to
            learn, or nothing to learn it from.
    """
    if mode == "error":
        check_lengths(sequences, row_tokens=row_tokens, source=source)
    long = [sequence for sequence in sequences if len(sequence.ids) > row_tokens]
    if not long:
        return Truncated(tuple(sequences))
    if mode == "drop":
        kept = tuple(sequence for sequence in sequences if len(sequence.ids) <= row_tokens)
        if not kept:
            raise DataError(
                f"{source}: all {len(long)} traces have more than {row_tokens} tokens and would be dropped; "
                "raise row_tokens"
            )
        return Truncated(kept, dropped=tuple(sequence.trace_id for sequence in long))
    cut = {id(one): _cut(one, row_tokens, mode == "left", renderer, tokenizer) for one in long}
    _check(long, [cut[id(one)] for one in long], mode, source)
    return Truncated(tuple(cut.get(id(one), one) for one in sequences), cut=len(long))


def _cut(
    sequence: TokenSequence, row_tokens: int, left: bool, renderer: Renderer, tokenizer: Tokenizer
) -> TokenSequence:
    """Return a sequence's first tokens, or its BOS and last ones; a span cut in two has the text of what is left."""
    kept = np.zeros(len(sequence.ids), np.bool_)
    if not left:
        kept[:row_tokens] = True
    elif _begins_with_bos(sequence, renderer):
        kept[0] = True
        kept[len(kept) - row_tokens + 1 :] = True
    else:
        kept[len(kept) - row_tokens :] = True
    spans, lengths, weights, start = [], [], [], 0
    for span, length, weight in zip(sequence.spans, sequence.span_lengths, sequence.span_weights, strict=True):
        ids = sequence.ids[start : start + length][kept[start : start + length]]
        start += length
        if len(ids):
            whole = len(ids) == length
            spans.append(span if whole else Span(tokenizer.decode(ids.tolist()), span.control, span.reply))
            lengths.append(len(ids))
            weights.append(weight)
    return msgspec.structs.replace(
        sequence,
        spans=tuple(spans),
        ids=sequence.ids[kept],
        loss_mask=sequence.loss_mask[kept],
        span_lengths=tuple(lengths),
        span_weights=tuple(weights),
        loss_weights=None if sequence.loss_weights is None else sequence.loss_weights[kept],
    )


def _begins_with_bos(sequence: TokenSequence, renderer: Renderer) -> bool:
    if not sequence.spans or not sequence.spans[0].control:
        return False
    first, bos = sequence.spans[0].text, getattr(renderer, "bos_token", "")
    return first == bos or (bos == "" and first in BOS_NAMES)


def _check(long: list[TokenSequence], cut: list[TokenSequence], mode: str, source: str) -> None:
    lines = []
    for before, after in zip(long, cut, strict=True):
        left = int(after.loss_mask.sum())
        if left in {0, len(after.ids)}:
            lines.append(
                f"{source}: trace '{before.trace_id}': of its {len(before.ids)} tokens truncation '{mode}' leaves "
                f"{len(after.ids)}, {left} of them supervised; raise row_tokens or drop the trace"
            )
    if len(lines) > LISTED:
        lines[LISTED:] = [f"and {len(lines) - LISTED} more traces"]
    if lines:
        raise DataError("\n".join(lines))
