import uuid

from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data.reading.uuids import uuid5_text


@given(st.uuids(), st.text())
def test_the_text_is_that_of_the_standard_library(namespace, name):
    assert uuid5_text(namespace, name) == str(uuid.uuid5(namespace, name))
