"""The contracts of tokenizers, scorers and generators, and what every check begins with."""

from __future__ import annotations

import json
import math

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tunix_eval.data import generate_dataset
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import Completion, EvalItem, Generator, Score, Scorer, TokenizerFactory
from tunix_eval.testing.strategies import completions, eval_items, texts

_FRAGILE = ("e\u0301", "\u00e9", "\ufb01", "a\r\nb\r", "  x  y ", "\n\n", "\t", "\u00a0", "\ufeffx", "\x00", "0" * 3000)
"""Texts that tokenizers change: composed, replaced, stripped, cut off."""


def check_tokenizer(factory: TokenizerFactory, *, max_examples: int = 100) -> None:
    """Hold a tokenizer factory against its contract on many texts.

    Checked: control tokens have ids of their own; plain text never gives one of them; ids are within the
    vocabulary; decoding gives back what was encoded; `encode_batch`, where there is one, gives the same ids.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest text that breaks it.
    """
    names = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    assert callable(factory), f"{type(factory).__name__} takes no control tokens; give the class, or a function"
    tokenizer = factory(names)
    check_attributes(tokenizer, "a tokenizer", "vocab_size", "pad_id", "encode", "control_id", "decode")
    controls = [tokenizer.control_id(name) for name in names]
    assert len({*controls, tokenizer.pad_id}) == len(names) + 1, "control tokens and padding share an id"
    assert all(0 <= id_ < tokenizer.vocab_size for id_ in (*controls, tokenizer.pad_id)), "an id is out of range"
    assert tokenizer.decode(controls) == "".join(names), "control tokens do not decode to their names"
    try:
        tokenizer.control_id("<no such control token>")
    except RenderError:
        pass
    else:
        raise AssertionError("an unknown control token has an id; expected a RenderError")

    def check_text(text: str) -> None:
        ids = tokenizer.encode(text)
        assert not {*controls, tokenizer.pad_id}.intersection(ids), "plain text gave a control or padding id"
        assert all(0 <= id_ < tokenizer.vocab_size for id_ in ids), "an id is out of range"
        assert tokenizer.decode(ids) == text, f"decoding does not give back the text {text[:40]!a}"
        if (encode_batch := getattr(tokenizer, "encode_batch", None)) is not None:
            found, lengths = encode_batch([text, "x", text])
            expected = [ids, tokenizer.encode("x"), ids]
            assert list(lengths) == list(map(len, expected)), "encode_batch gives other lengths than encode"
            assert list(found) == [id_ for one in expected for id_ in one], "encode_batch gives other ids than encode"

    @of_examples(max_examples)
    @given(texts(names))
    def check(text: str) -> None:
        check_text(text)

    for text in _FRAGILE:
        check_text(text)
    check()


def check_scorer(scorer: Scorer, *, max_examples: int = 100) -> None:
    """Hold a scorer against its contract on many items and completions, odd ones among them.

    Checked: its attributes; parameters that JSON can hold; a Score for every completion (empty, cut off, without an
    answer, huge), never an exception; a value that is None with a note, or finite and within `bounds`; the same value
    when asked again.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest completion that breaks it.
    """
    check_attributes(scorer, "a scorer", "lower_is_better", "parameters", "__call__")
    assert isinstance(scorer.lower_is_better, bool), "lower_is_better is not True or False"
    needs = tuple(getattr(scorer, "needs", ()))
    assert set(needs) <= {"answer_logprobs"}, f"needs is {needs}; only 'answer_logprobs' can be had"
    bounds = getattr(scorer, "bounds", (-math.inf, math.inf))
    match bounds:
        case (int() | float() as low, int() | float() as high) if low < high:
            pass
        case _:
            raise AssertionError(f"bounds are {bounds!r}; expected the least and the greatest value, as (0.0, 1.0)")
    try:
        json.dumps(dict(scorer.parameters), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"JSON cannot hold the parameters: {error}") from None

    @of_examples(max_examples)
    @given(eval_items().flatmap(lambda item: st.tuples(st.just(item), completions(item))))
    def check(pair: tuple[EvalItem, Completion]) -> None:
        first, again = (scorer(*pair) for _ in range(2))
        assert isinstance(first, Score), f"gave {type(first).__name__}, expected a Score"
        assert isinstance(first.note, str), f"the note is {first.note!r}, expected a text"
        if first.value is None:
            assert first.note, "a value that is None has no note"
            assert again.value is None, f"gave no value, and then {again.value} for one completion"
            return
        assert isinstance(first.value, int | float), f"the value is {first.value!r}, expected a number"
        assert math.isfinite(first.value), f"the value is {first.value}"
        assert low <= first.value <= high, f"the value is {first.value}, the bounds are {low} and {high}"
        assert first == again, f"gave {first} and then {again} for one completion"

    check()


def check_generator(generator: Generator, *, seed: int | None = None, count: int | None = None) -> None:
    """Hold a generator against its contract, for its own seed and count or those that are given.

    Checked: so many traces of the format, with distinct ids and prompts; the same when asked again. What differs from
    process to process, such as the order of a set, does not show here.

    Raises:
        AssertionError: says which promise was broken.
    """
    assert isinstance(generator, Generator), f"found {type(generator).__name__}, expected a records.Generator"
    assert generator.version and isinstance(generator.version, str), "version is no text"  # noqa: PT018
    try:
        first, again = (
            generate_dataset(generator, "checked", "checked", "v1", seed=seed, count=count) for _ in range(2)
        )
    except DataError as error:
        raise AssertionError(str(error)) from None
    odd = next((one.id for one, two in zip(first.traces, again.traces, strict=True) if one != two), None)
    assert odd is None, f"trace '{odd}' is another when asked again; draw from random.Random(seed) alone"


def check_attributes(thing: object, kind: str, *needed: str) -> None:
    """Check that a thing has a name, a version and what else its kind needs."""
    needed = ("name", "version", *needed)
    missing = [name for name in needed if not hasattr(thing, name)]
    assert not missing, f"{type(thing).__name__} has no {', '.join(missing)}; {kind} has {', '.join(needed)}"
    for name in ("name", "version"):
        text = getattr(thing, name)
        assert text and isinstance(text, str), f"{name} is {text!r}, expected a text"  # noqa: PT018


def of_examples(max_examples: int) -> settings:
    """Return settings under which a failing check shows one short counterexample, the same in every run."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )
