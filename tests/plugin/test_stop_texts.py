from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data import ByteTokenizer
from tunix_eval.plugin.stop_texts import cut, has_ended
from tunix_eval.records import Generation

TOKENIZER = ByteTokenizer(("<eos>",))
# Few letters, so that stop texts overlap and begin within each other; é and 木 are of several bytes.
texts = st.text("abé木", max_size=12)
stop_texts = st.lists(st.text("abé木", min_size=1, max_size=4), min_size=1, max_size=3)


def shortest(text: str, stops: list[str]) -> str:
    """The text that is left of one that grows a character at a time until it ends with a stop text."""
    for end in range(1, len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[: end - max(map(len, ended))]
    return text


@given(texts, stop_texts)
def test_a_completion_ends_before_the_stop_text_that_is_complete_first(text, stops):
    assert cut(Generation(tuple(text.encode()), "length"), TOKENIZER, stops)[0] == shortest(text, stops)


@given(texts, stop_texts, st.integers(1, 8))
def test_a_model_that_stops_early_gives_the_same_completion_as_one_that_does_not(text, stops, every):
    ids = tuple(text.encode())
    ended = has_ended(TOKENIZER, stops)
    looks = [*range(every, len(ids), every), len(ids)]
    early = next((count for count in looks if ended(ids[:count])), len(ids))
    stopped, whole = Generation(ids[:early], "length"), Generation(ids, "length")
    assert cut(stopped, TOKENIZER, stops) == cut(whole, TOKENIZER, stops)


def test_a_completion_without_a_stop_text_stays_as_it_is():
    generation = Generation((52, 50), "length")
    assert cut(generation, TOKENIZER, ("Q:",)) == ("42", generation)
    assert cut(generation, TOKENIZER, ()) == ("42", generation)


def test_tokens_count_up_to_the_one_that_completes_the_stop_text():
    assert cut(Generation(tuple(b"42\nQ: 1"), "length"), TOKENIZER, ("\nQ:",)) == (
        "42",
        Generation(tuple(b"42\nQ:"), "stop"),
    )


def test_the_sign_of_an_incomplete_character_is_looked_for_at_the_end_alone():
    assert has_ended(TOKENIZER, ("\ufffd",)) is None
    whole = Generation(tuple("木b".encode()), "stop")
    assert cut(whole, TOKENIZER, ("\ufffd",)) == ("木b", whole)
