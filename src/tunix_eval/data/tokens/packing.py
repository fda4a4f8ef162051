"""Packing: many traces in one row, kept apart by segment ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tunix_eval.data.tokens.sequences import check_lengths, weights_of
from tunix_eval.errors import DataError
from tunix_eval.records import Batch, TokenSequence

_Indices = npt.NDArray[np.int64]


def pack(sequences: Sequence[TokenSequence], *, row_tokens: int, pad_id: int) -> Batch:
    """Pack by first-fit decreasing: longest first, ties in the order given, each into the first row with room.

        text       <bos> 1+1= 2  <eos> <bos> 2+2= 4  <eos> pad
        loss_mask  0     0    1  1     0     0    1  1     0
        segment    1     1    1  1     2     2    2  2     0
        position   0     1    2  3     0     1    2  3     0

    The batch has loss weights where a sequence has some.

    Raises:
        DataError: no sequence, or one that is longer than a row.
    """
    if not sequences:
        raise DataError("nothing to pack; expected at least one trace")
    check_lengths(sequences, row_tokens=row_tokens, source="packing")
    lengths = np.fromiter((len(sequence.ids) for sequence in sequences), np.int64, len(sequences))
    placed, sizes = _first_fit_decreasing(lengths, row_tokens)
    rows = _Rows(lengths, placed, sizes, row_tokens)
    weighted = any(sequence.loss_weights is not None for sequence in sequences)
    names = [sequences[index].trace_id for index in placed.tolist()]
    ends = np.cumsum(sizes).tolist()
    return Batch(
        tokens=rows.filled([sequence.ids for sequence in sequences], np.int32, pad_id),
        loss_mask=rows.filled([sequence.loss_mask for sequence in sequences], np.bool_, 0),
        segment_ids=rows.segment_ids(),
        positions=rows.positions(),
        trace_ids=tuple([tuple(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)]),
        loss_weights=rows.filled(map(weights_of, sequences), np.float32, 0) if weighted else None,
    )


def fill(batch: Batch) -> float:
    """Return the fraction of a batch's tokens that are not padding."""
    return float(np.mean(batch.segment_ids > 0))


def first_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the indices of the lengths, row by row, in the order of placing.

    >>> first_fit_decreasing([3, 5, 2, 4], 7)
    [[1, 2], [3, 0]]
    """
    placed, sizes = _first_fit_decreasing(np.array(lengths, np.int64), capacity)
    return [row.tolist() for row in np.split(placed, np.cumsum(sizes)[:-1])] if len(sizes) else []


def _first_fit_decreasing(lengths: _Indices, capacity: int) -> tuple[_Indices, _Indices]:
    """Return the indices of the lengths row after row, and how many each row has.

    Equal lengths are placed at once: going through the rows in order, each takes as many as it has room for.
    """
    order = np.argsort(-lengths, kind="stable")
    distinct, counts = np.unique(lengths, return_counts=True)
    shortest = int(distinct[0]) if len(distinct) else 0
    row_of = np.empty(len(lengths), np.int64)
    # Rows that have room for the shortest sequence, in order, and that room.
    open_rows, room = np.empty(0, np.int64), np.empty(0, np.int64)
    rows = done = 0
    for length, count in zip(distinct[::-1].tolist(), counts[::-1].tolist(), strict=True):
        fitting = np.flatnonzero(room >= length)
        before = np.cumsum(room[fitting] // max(length, 1))
        fitting = fitting[: np.searchsorted(before, count) + 1]
        each = np.diff(np.minimum(before[: len(fitting)], count), prepend=0)
        left = count - int(each.sum())
        a_row = capacity // max(length, 1)
        new = np.full(-(-left // a_row), a_row)
        new[-1:] -= len(new) * a_row - left
        opened = np.arange(rows, rows + len(new))
        row_of[done : done + count] = np.repeat(
            np.concatenate([open_rows[fitting], opened]), np.concatenate([each, new])
        )
        room[fitting] -= each * length
        open_rows = np.concatenate([open_rows, opened])
        room = np.concatenate([room, capacity - new * length])
        still = room >= shortest
        open_rows, room = open_rows[still], room[still]
        rows, done = rows + len(new), done + count
    return order[np.argsort(row_of, kind="stable")], np.bincount(row_of, minlength=rows)


class _Rows:
    """Where sequences lie, one after the other, padding at the end of each row."""

    def __init__(self, lengths: _Indices, placed: _Indices, sizes: _Indices, row_tokens: int) -> None:
        self.shape = (len(sizes), row_tokens)
        self.placed_lengths = lengths[placed]
        self.ends = np.cumsum(sizes)
        self.sizes = sizes
        self.padding = row_tokens - np.add.reduceat(self.placed_lengths, self.ends - sizes)
        padding_before = np.repeat(np.cumsum(self.padding) - self.padding, sizes)
        self.starts = np.empty_like(lengths)
        self.starts[placed] = np.cumsum(self.placed_lengths) - self.placed_lengths + padding_before
        self.stops = self.starts + lengths

    def filled(self, arrays: Iterable[npt.NDArray[Any]], dtype: Any, pad: int) -> npt.NDArray[Any]:
        """Return rows that hold the sequences' arrays, given in the sequences' order.

        In that order, because reading from all over memory takes three times as long as writing to all over it.
        """
        out = np.full(self.shape, pad, dtype)
        flat = out.reshape(-1)
        for array, start, stop in zip(arrays, self.starts.tolist(), self.stops.tolist(), strict=True):
            flat[start:stop] = array
        return out

    def segment_ids(self) -> npt.NDArray[np.int32]:
        """Return the number of each token's sequence in its row, from 1; 0 at padding."""
        numbers = np.arange(1, len(self.placed_lengths) + 1) - np.repeat(self.ends - self.sizes, self.sizes)
        return self._repeated(numbers)

    def positions(self) -> npt.NDArray[np.int32]:
        """Return the number of each token in its sequence, from 0; 0 at padding."""
        ends = np.cumsum(self.placed_lengths)
        before_row = np.repeat((ends - self.placed_lengths)[self.ends - self.sizes], self.sizes)
        # In place: to touch new memory costs more than to reckon in it.
        out = self._repeated(ends - self.placed_lengths - before_row)
        np.subtract(np.arange(self.shape[1], dtype=np.int32), out, out=out)
        for row, padding in zip(out, self.padding.tolist(), strict=True):
            row[len(row) - padding :] = 0
        return out

    def _repeated(self, values: _Indices) -> npt.NDArray[np.int32]:
        """Return rows where each token has the value of its sequence (given in the order of placing); 0 at padding."""
        lengths = np.insert(self.placed_lengths, self.ends, self.padding)
        return np.repeat(np.insert(values, self.ends, 0).astype(np.int32), lengths).reshape(self.shape)
