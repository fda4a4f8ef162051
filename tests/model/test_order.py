import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.model.order import row_indices

sizes = st.integers(1, 9)


@given(seed=st.integers(0, 2**31 - 1), rows=sizes, epochs=st.integers(1, 4))
def test_every_epoch_holds_every_row_once(seed, rows, epochs):
    stream = row_indices(seed, rows=rows, start=0, count=rows * epochs).reshape(epochs, rows)
    assert (np.sort(stream, axis=1) == np.arange(rows)).all()


@given(seed=st.integers(0, 99), rows=sizes, cut=st.integers(0, 30), length=st.integers(0, 30))
def test_a_place_of_the_stream_does_not_depend_on_where_reading_began(seed, rows, cut, length):
    whole = row_indices(seed, rows=rows, start=0, count=cut + length)
    np.testing.assert_array_equal(whole[cut:], row_indices(seed, rows=rows, start=cut, count=length))


def test_seeds_and_epochs_have_permutations_of_their_own():
    first, second = row_indices(0, rows=50, start=0, count=100).reshape(2, 50)
    other = row_indices(1, rows=50, start=0, count=50)
    assert (first != second).any()
    assert (first != other).any()
