"""Packing: many traces in one row, kept apart by segment ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tunix_eval.data.sequences import check_lengths
from tunix_eval.errors import DataError
from tunix_eval.records import Batch, TokenSequence


def pack(sequences: Sequence[TokenSequence], *, row_tokens: int, pad_id: int) -> Batch:
    """Pack by first-fit decreasing: longest first, ties in the order given, each into the first row with room.

        text       <bos> 1+1= 2  <eos> <bos> 2+2= 4  <eos> pad
        loss_mask  0     0    1  1     0     0    1  1     0
        segment    1     1    1  1     2     2    2  2     0
        position   0     1    2  3     0     1    2  3     0

    Raises:
        DataError: no sequence, or one that is longer than a row.
    """
    if not sequences:
        raise DataError("nothing to pack; expected at least one trace")
    check_lengths(sequences, row_tokens=row_tokens, source="packing")
    rows = first_fit_decreasing([len(sequence.ids) for sequence in sequences], row_tokens)
    shape = (len(rows), row_tokens)
    tokens = np.full(shape, pad_id, dtype=np.int32)
    loss_mask = np.zeros(shape, dtype=np.bool_)
    segment_ids = np.zeros(shape, dtype=np.int32)
    positions = np.zeros(shape, dtype=np.int32)
    counting = np.arange(row_tokens, dtype=np.int32)
    for row, members in enumerate(rows):
        start = 0
        for segment, index in enumerate(members, 1):
            sequence = sequences[index]
            end = start + len(sequence.ids)
            tokens[row, start:end] = sequence.ids
            loss_mask[row, start:end] = sequence.loss_mask
            segment_ids[row, start:end] = segment
            positions[row, start:end] = counting[: end - start]
            start = end
    trace_ids = tuple(tuple(sequences[index].trace_id for index in members) for members in rows)
    return Batch(tokens, loss_mask, segment_ids, positions, trace_ids)


def fill(batch: Batch) -> float:
    """Return the fraction of a batch's tokens that are not padding."""
    return float(np.mean(batch.segment_ids > 0))


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the indices of the lengths, row by row, in the order of placing.

    A tree over the rows' free room finds the first row with room in log time.

    >>> first_fit_decreasing([3, 5, 2, 4], 7)
    [[1, 2], [3, 0]]
    """
    leaves = 1 << max(len(lengths) - 1, 0).bit_length()
    room = [capacity] * (2 * leaves)
    rows: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        row = node - leaves
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return rows
