import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import (
    ByteTokenizer,
    GemmaRenderer,
    PlainRenderer,
    addition_dataset,
    dev_reasoning_dataset,
    encode_trace,
    fill,
    pack,
)
from tunix_eval.data.tokens.packing import first_fit_decreasing
from tunix_eval.errors import DataError
from tunix_eval.records import TokenSequence

ROW = 16


def sequence(length, trace_id="t"):
    rng = np.random.default_rng(length)
    ids = rng.integers(0, 200, length).astype(np.int32)
    return TokenSequence(trace_id, (), ids, rng.random(length) < 0.5)


def encode_all(dataset, renderer, style):
    tokenizer = ByteTokenizer(renderer.control_tokens)
    return [encode_trace(trace, renderer=renderer, tokenizer=tokenizer, style=style) for trace in dataset.traces]


def by_scanning(lengths, capacity):
    """First-fit decreasing as it is defined: every row is looked at in order."""
    rows, room = [], []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        row = next((row for row in range(len(rows)) if room[row] >= lengths[index]), None)
        if row is None:
            rows.append([])
            room.append(capacity)
            row = len(rows) - 1
        rows[row].append(index)
        room[row] -= lengths[index]
    return rows


def test_a_batch_is_what_the_table_shows():
    first = TokenSequence("a", (), np.array([9, 1, 2, 8], np.int32), np.array([0, 0, 1, 1], np.bool_))
    second = TokenSequence("b", (), np.array([9, 3, 8], np.int32), np.array([0, 1, 1], np.bool_))
    batch = pack([second, first], row_tokens=9, pad_id=7)
    assert batch.tokens.tolist() == [[9, 1, 2, 8, 9, 3, 8, 7, 7]]
    assert batch.loss_mask.astype(int).tolist() == [[0, 0, 1, 1, 0, 1, 1, 0, 0]]
    assert batch.segment_ids.tolist() == [[1, 1, 1, 1, 2, 2, 2, 0, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0, 0]]
    assert batch.trace_ids == (("a", "b"),)
    assert fill(batch) == 7 / 9
    dtypes = [array.dtype for array in (batch.tokens, batch.loss_mask, batch.segment_ids, batch.positions)]
    assert dtypes == [np.int32, np.bool_, np.int32, np.int32]


@settings(deadline=None)
@given(st.lists(st.integers(1, ROW), min_size=1, max_size=60))
def test_every_token_is_kept_once_and_segments_never_mix(lengths):
    sequences = [sequence(length, f"t{k}") for k, length in enumerate(lengths)]
    batch = pack(sequences, row_tokens=ROW, pad_id=256)
    by_id = {each.trace_id: each for each in sequences}
    assert sorted(trace_id for row in batch.trace_ids for trace_id in row) == sorted(by_id)
    for row, trace_ids in enumerate(batch.trace_ids):
        for segment, trace_id in enumerate(trace_ids, 1):
            where = np.flatnonzero(batch.segment_ids[row] == segment)
            assert where.tolist() == list(range(where[0], where[-1] + 1))
            assert batch.tokens[row, where].tolist() == by_id[trace_id].ids.tolist()
            assert batch.loss_mask[row, where].tolist() == by_id[trace_id].loss_mask.tolist()
            assert batch.positions[row, where].tolist() == list(range(len(where)))
    padding = batch.segment_ids == 0
    assert padding.sum() == batch.tokens.size - sum(lengths)
    assert (batch.tokens[padding] == 256).all()
    assert not batch.loss_mask[padding].any()
    assert not batch.positions[padding].any()


@given(st.lists(st.integers(1, ROW), max_size=60))
def test_the_tree_places_as_scanning_every_row_would(lengths):
    assert first_fit_decreasing(lengths, ROW) == by_scanning(lengths, ROW)


def test_packing_is_deterministic():
    sequences = [sequence(3 + k % 5, f"t{k}") for k in range(40)]
    one, other = (pack(sequences, row_tokens=ROW, pad_id=0) for _ in range(2))
    assert one.trace_ids == other.trace_ids
    assert (one.tokens == other.tokens).all()


def test_a_trace_longer_than_a_row_is_named():
    with pytest.raises(
        DataError, match=r"packing: 1 of 2 traces is longer than row_tokens = 16 \(first: 'long' with 17\)"
    ):
        pack([sequence(3), sequence(17, "long")], row_tokens=ROW, pad_id=0)


def test_nothing_to_pack_is_an_error():
    with pytest.raises(DataError, match="nothing to pack"):
        pack([], row_tokens=ROW, pad_id=0)


def test_dev_reasoning_fills_nine_tenths_of_its_rows():
    sequences = encode_all(dev_reasoning_dataset(), GemmaRenderer(), "numbered")
    batch = pack(sequences, row_tokens=1024, pad_id=256)
    assert fill(batch) >= 0.9
    assert sum(map(len, batch.trace_ids)) == 550


def test_an_addition_trace_takes_at_most_48_tokens_so_one_row_holds_one():
    sequences = encode_all(addition_dataset(), PlainRenderer(), "plain")
    assert max(len(each.ids) for each in sequences) <= 48
    batch = pack(sequences, row_tokens=48, pad_id=256)
    assert {len(row) for row in batch.trace_ids} == {1}


def test_a_batch_has_weights_where_a_sequence_has_some():
    mask = np.array([False, True, True])
    plain = TokenSequence("a", (), np.array([1, 2, 3], np.int32), mask)
    weighted = TokenSequence(
        "b", (), np.array([4, 5, 6], np.int32), mask, loss_weights=np.array([0, 0.5, 1], np.float32)
    )
    assert pack([plain, plain], row_tokens=8, pad_id=0).loss_weights is None
    batch = pack([plain, weighted], row_tokens=8, pad_id=0)
    assert batch.loss_weights.tolist() == [[0, 1, 1, 0, 0.5, 1, 0, 0]]
    assert batch.loss_weights.dtype == np.float32


def test_an_empty_sequence_takes_a_place_and_no_room():
    batch = pack([sequence(0, "empty"), sequence(3)], row_tokens=4, pad_id=0)
    assert batch.trace_ids == (("t", "empty"),)
    assert batch.segment_ids.tolist() == [[1, 1, 1, 0]]
