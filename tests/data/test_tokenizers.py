import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data import ByteTokenizer
from tunix_eval.errors import RenderError
from tunix_eval.testing import check_tokenizer

CONTROLS = ("<bos>", "<eos>")


def test_the_contract_holds():
    check_tokenizer(ByteTokenizer, max_examples=200)


def test_bytes_come_first_then_padding_then_control_tokens_in_order():
    tokenizer = ByteTokenizer(CONTROLS)
    assert tokenizer.encode("Aé€") == [65, 0xC3, 0xA9, 0xE2, 0x82, 0xAC]
    assert tokenizer.pad_id == 256
    assert [tokenizer.control_id(token) for token in CONTROLS] == [257, 258]
    assert tokenizer.vocab_size == 259


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_are_the_utf8_bytes_and_decode_inverts(text):
    tokenizer = ByteTokenizer(CONTROLS)
    assert bytes(tokenizer.encode(text)) == text.encode("utf-8")
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.integers(0, 258)))
def test_any_ids_of_the_vocabulary_decode(ids):
    decoded = ByteTokenizer(CONTROLS).decode(ids)
    assert decoded.count("<bos>") >= ids.count(257)


def test_broken_utf8_becomes_replacement_characters():
    assert ByteTokenizer(CONTROLS).decode([0xC3, 65, 257, 0xFF]) == "\ufffdA<bos>\ufffd"


def test_an_unknown_control_token_is_named_with_those_that_are_known():
    with pytest.raises(RenderError, match=r"no control token '<boss>'; known: <bos>, <eos>. Did you mean '<bos>'"):
        ByteTokenizer(CONTROLS).control_id("<boss>")


@pytest.mark.parametrize("id_", [-1, 259])
def test_an_id_outside_the_vocabulary_is_refused(id_):
    with pytest.raises(RenderError, match=f"id {id_} is outside the vocabulary of 259"):
        ByteTokenizer(CONTROLS).decode([id_])


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(RenderError, match="character 2 is half of a surrogate pair"):
        ByteTokenizer(CONTROLS).encode("a\ud800")


def test_a_control_token_named_twice_is_refused():
    with pytest.raises(RenderError, match="named twice"):
        ByteTokenizer(("<bos>", "<bos>"))
