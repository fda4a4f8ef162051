"""Scorers: the exact rule, and what a scorer of someone else can do wrong."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import DataError, SpecError
from tunix_eval.records import AnswerRule, EvalItem, Score
from tunix_eval.scoring import (
    BUILTIN_SCORERS,
    AnswerNllScorer,
    ContainsScorer,
    ExactScorer,
    complete,
    make_scorecard,
    score_items,
    scorer_digest,
)


def item(item_id="i0", expected="Paris", aliases=()):
    return EvalItem(id=item_id, prompt="p", expected_answer=expected, aliases=aliases)


def said(text, item_id="i0", stop_reason="stop", repeat=0):
    return complete(str(item_id), text, rule=AnswerRule(""), stop_reason=stop_reason, tokens=1, repeat=repeat)


def exact(text, **expected):
    return ExactScorer()(item(**expected), said(text)).value


class Scorer:
    """A scorer as another package would write it."""

    name, version, lower_is_better = "other", "3", False

    def __init__(self, rule, **parameters):
        self.rule = rule
        self.parameters = parameters

    def __call__(self, one, completion):
        return self.rule(one, completion)


@pytest.mark.parametrize("text", ["Paris", "paris", "PARIS.", "  Paris \n", "Paris ."])
def test_case_white_space_and_a_final_stop_do_not_count(text):
    assert exact(text) == 1.0


@pytest.mark.parametrize("text", ["Paris..", "Pariss", "Paris, France", ".Paris", "", "."])
def test_anything_else_counts(text):
    assert exact(text) == 0.0


def test_white_space_inside_is_one_blank():
    assert exact("New \n York", expected="new york") == 1.0
    assert exact("NewYork", expected="new york") == 0.0


def test_symbols_are_not_folded():
    assert exact("x2", expected="x²") == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("\uff18\uff12\uff15", "825"),
        ("\u22125", "-5"),
        ("\u20135", "-5"),
        ("\uff76\uff9e", "\u30ac"),
        ("\uc11c\uc6b8", "\u1109\u1165\u110b\u116e\u11af"),
        ("it\u2019s", "it's"),
        ("\u201cyes\u201d", '"yes"'),
        ("\u00abyes\u00bb", '"yes"'),
        ("well\u2010known", "well-known"),
        ("1914\u20131918", "1914-1918"),
        ("New\u3000York", "new york"),
        ("8\u200b25\ufeff", "825"),
        ("**825**", "825"),
        ("**825.**", "825"),
        ("`825`.", "825"),
    ],
)
def test_forms_of_one_text_are_one(text, expected):
    assert exact(text, expected=expected) == exact(expected, expected=text) == 1.0
    assert exact(text, expected="x", aliases=(expected,)) == 1.0
    assert contains(f"It is {text}, of course", expected=expected) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10\u00b2", "102"),
        ("\u00bd", "1/2"),
        ("cafe", "caf\u00e9"),
        ("5", "-5"),
        ("2**3", "23"),
    ],
)
def test_what_carries_meaning_is_not_folded(text, expected):
    assert exact(text, expected=expected) == exact(expected, expected=text) == 0.0


def test_aliases_are_accepted():
    assert exact("city of light", aliases=("The capital", "City of Light.")) == 1.0
    assert exact("city", aliases=("The capital",)) == 0.0


def test_an_answer_is_right_by_itself_or_by_an_alias():
    """The expected answer counts beside aliases, and a wrong answer does not count because there are some."""
    assert exact("paris", aliases=("The capital",)) == 1.0
    assert exact("rome", aliases=("The capital",)) == 0.0
    assert exact("rome") == 0.0


@pytest.mark.parametrize("name", ["exact", "contains"])
def test_a_scorer_of_right_and_wrong_has_the_bounds_of_both(name):
    scorer = BUILTIN_SCORERS[name]
    values = {scorer(item(), said(text)).value for text in ("Paris", "Rome")}
    assert (scorer.bounds, values) == ((0.0, 1.0), set(scorer.bounds))


def test_no_answer_is_zero_even_where_an_alias_is_blank():
    assert ExactScorer()(item(), said("Paris", stop_reason="length")).value == 0.0
    assert exact("", aliases=("",)) == 0.0


def test_a_lone_stop_can_be_the_answer():
    assert exact(".", expected=".") == 1.0


@settings(deadline=None)
@given(st.text(min_size=1).filter(str.strip))
def test_an_answer_is_always_equal_to_itself(text):
    rule = AnswerRule(thinking="none")
    found = complete("i0", text, rule=rule, stop_reason="stop", tokens=1)
    assert ExactScorer()(item(expected=text), found).value == 1.0


# ------------------------------------------------------------------------------------------------ contains, answer_nll


def contains(text, **expected):
    return ContainsScorer()(item(**expected), said(text)).value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is Paris, of course", "paris"),
        ("PARIS", "Paris."),
        ("in new \n york.", "New York"),
        ("8250 or 825", "825"),
        ("it is 825.", "825"),
        ("(825)", "825"),
        ("825, 826", "825"),
        ("1-825", "825"),
        ("at -825", "-825"),
        ("it is $5.", "$5"),
        ("C++ it is", "C++"),
        ("a non-answer", "answer"),
    ],
)
def test_an_answer_in_the_text_as_whole_words_counts(text, expected):
    assert contains(text, expected=expected) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Parisian", "Paris"),
        ("comParis", "Paris"),
        ("8250", "825"),
        ("1825", "825"),
        ("3.825", "825"),
        ("3,825", "825"),
        ("825.5", "825"),
        ("825,000", "825"),
        ("-825", "825"),
        ("it is -825", "825"),
        ("3.5", ".5"),
        ("1-3", "-3"),
        ("x825", "825"),
        ("", "Paris"),
    ],
)
def test_an_answer_inside_a_longer_word_or_number_does_not_count(text, expected):
    assert contains(text, expected=expected) == 0.0


def test_contains_reads_the_whole_text_and_the_aliases():
    rule = AnswerRule("Answer:")
    found = complete("i0", "Paris, then\nAnswer: Rome", rule=rule, stop_reason="length", tokens=1)
    assert ContainsScorer()(item(), found).value == 1.0
    assert contains("the city of light", aliases=("", "City of Light.")) == 1.0
    assert contains("nowhere", aliases=("",)) == 0.0


@settings(deadline=None)
@given(st.text(max_size=10), st.integers(0, 10**6), st.text(max_size=10))
def test_a_number_that_is_a_line_of_its_own_is_always_contained(before, number, after):
    assert contains(f"{before}\n{number}\n{after}", expected=str(number)) == 1.0


def nll(logprobs):
    return AnswerNllScorer()(item(), msgspec.structs.replace(said("x"), answer_logprobs=logprobs))


def test_answer_nll_is_minus_the_sum_of_the_answers_log_probabilities():
    assert nll((-0.5, -1.25)).value == 1.75
    assert nll((math.log(1 / 256),) * 4).value == pytest.approx(4 * math.log(256))
    assert math.copysign(1, nll((0.0, -0.0)).value) == 1.0


@pytest.mark.parametrize("logprobs", [None, ()])
def test_answer_nll_without_log_probabilities_is_not_measured(logprobs):
    assert nll(logprobs) == Score(None, "the completion has no answer_logprobs")


def test_answer_nll_says_what_it_needs_and_which_way_is_better():
    scorer = BUILTIN_SCORERS["answer_nll"]
    assert (scorer.needs, scorer.lower_is_better, scorer.bounds) == (("answer_logprobs",), True, (0.0, math.inf))


# --------------------------------------------------------------------------------------------------------- score_items


def test_every_item_gets_every_score_in_the_order_of_the_items():
    items = [item("a"), item("b"), item(3)]
    completions = [said("Paris", 3), said("Rome", "a"), said("Paris", "b")]
    length = Scorer(lambda one, completion: Score(float(len(completion.text))))
    found = score_items(items, completions, {"exact": ExactScorer(), "length": length})
    assert [one.completion.item_id for one in found] == ["a", "b", "3"]
    assert [one.scores["exact"].value for one in found] == [0.0, 1.0, 1.0]
    assert [one.scores["length"].value for one in found] == [4.0, 5.0, 5.0]


def score_of(rule):
    (found,) = score_items([item()], [said("x")], {"other": Scorer(rule)})
    return found.scores["other"]


def raises(one, completion):
    raise KeyError("judge")


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError


def raises_with(error):
    def rule(one, completion):
        raise error

    return rule


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        (raises, "KeyError: 'judge'"),
        (lambda one, completion: Score(1.0 / 0), "ZeroDivisionError: float division by zero"),
        (lambda one, completion: Score(math.nan), "the scorer gave nan, which is no finite number"),
        (lambda one, completion: Score(-math.inf), "the scorer gave -inf, which is no finite number"),
        (lambda one, completion: 1.0, "the scorer gave float, not a Score"),
        (lambda one, completion: Score("high"), "ValueError: could not convert string to float: 'high'"),
        (lambda one, completion: Score(1.0, 5), "the scorer gave a note of type int, not a text"),
        (lambda one, completion: Score(None, b"x"), "the scorer gave a note of type bytes, not a text"),
        (lambda one, completion: Score(1.0, "a\ud83d"), "the scorer gave a note with half a surrogate pair: a\ufffd"),
        (lambda one, completion: Score(None, "\udcff"), "the scorer gave a note with half a surrogate pair: \ufffd"),
        (raises_with(ValueError("a\ud83d")), "ValueError: a\ufffd"),
        (raises_with(UnspeakableError()), "UnspeakableError: its text cannot be had (RuntimeError)"),
        (lambda one, completion: Score(1e200), "the scorer gave 1e+200; values beyond 1e+100 may overflow in sums"),
        (
            lambda one, completion: Score(-(10**101)),
            "the scorer gave -1e+101; values beyond 1e+100 may overflow in sums",
        ),
        (lambda one, completion: Score(10**400), "OverflowError: int too large to convert to float"),
    ],
)
def test_a_scorer_that_fails_leaves_a_note_and_no_value(rule, note):
    assert score_of(rule) == Score(None, note)


@pytest.mark.parametrize("value", [1e100, -1e100])
def test_values_up_to_1e100_are_measured_and_have_a_scorecard(value):
    scorers = {"other": Scorer(lambda one, completion: Score(value if completion.item_id == "a" else 0.0))}
    found = score_items([item("a"), item("b")], [said("x", "a"), said("x", "b")], scorers)
    assert found[0].scores["other"] == Score(value)
    assert make_scorecard("e", found, scorers)["other"].stderr == pytest.approx(5e99)


def test_a_value_of_another_number_type_becomes_a_float_and_keeps_its_note():
    found = score_of(lambda one, completion: Score(True, "sure"))
    assert (type(found.value), found) == (float, Score(1.0, "sure"))


def test_a_scorer_may_decline_with_a_reason():
    assert score_of(lambda one, completion: Score(None, "no reference")) == Score(None, "no reference")


class Bounded(Scorer):
    bounds = (0.0, 1.0)


@pytest.mark.parametrize(("value", "kept"), [(0.0, True), (1.0, True), (0.5, True), (1.5, False), (-0.25, False)])
def test_a_value_outside_of_its_scorers_bounds_is_not_measured(value, kept):
    scorers = {"other": Bounded(lambda one, completion: Score(value)), "free": Scorer(lambda *_: Score(value))}
    (found,) = score_items([item()], [said("x")], scorers)
    note = f"the scorer gave {value:g}; its bounds are 0 to 1"
    assert found.scores == {"other": Score(value) if kept else Score(None, note), "free": Score(value)}


@pytest.mark.parametrize(
    "bounds", [(1.0, 0.0), (0.0, 0.0), (0.0, math.nan), (0.0,), (0, 1, 2), ("0", "1"), "01", (None, 1.0), None, 1.0]
)
def test_bounds_that_are_no_range_are_refused_by_the_scorers_name(bounds):
    scorer = Scorer(lambda one, completion: Score(0.5))
    scorer.bounds = bounds
    with pytest.raises(SpecError) as caught:
        score_items([item()], [said("x")], {"exact": ExactScorer(), "other": scorer})
    assert str(caught.value) == (
        f"scorer 'other': bounds are {bounds!r}, expected two numbers, low below high, such as (0.0, 1.0)"
    )


def test_bounds_may_be_whole_numbers_in_a_list():
    scorer = Scorer(lambda one, completion: Score(0.5))
    scorer.bounds = [0, 1]
    (found,) = score_items([item()], [said("x")], {"other": scorer})
    assert found.scores["other"] == Score(0.5)


def test_a_positive_log_probability_is_no_surprise_of_less_than_nothing():
    broken = msgspec.structs.replace(said("x"), answer_logprobs=(0.5,))
    (found,) = score_items([item()], [broken], {"answer_nll": AnswerNllScorer()})
    assert found.scores["answer_nll"] == Score(None, "the scorer gave -0.5; its bounds are 0 to inf")


def test_repeats_come_in_the_order_of_the_items_and_then_of_the_repeats():
    items = [item("a"), item("b")]
    completions = [said(f"{one}{k}", one, repeat=k) for k in (2, 0, 1) for one in "ba"]
    found = score_items(items, completions, {"exact": ExactScorer()}, repeats=3)
    assert [one.completion.text for one in found] == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert [one.item.id for one in found] == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(
    ("completions", "said_so"),
    [
        ([("a", 0), ("a", 1)], "1 items without a completion: b"),
        ([("a", 0), ("a", 1), ("b", 0)], "1 items with too few completions: b"),
        ([("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)], "1 items with too many completions: a"),
        ([("a", 0), ("a", 1), ("b", 1), ("b", 1)], "whose completions are not numbered from 0 on"),
        ([("a", 0), ("a", 1), ("b", 1), ("b", 2)], "whose completions are not numbered from 0 on"),
    ],
)
def test_every_item_has_as_many_completions_as_there_are_repeats(completions, said_so):
    found = [said("x", one, repeat=k) for one, k in completions]
    with pytest.raises(DataError) as caught:
        score_items([item("a"), item("b")], found, BUILTIN_SCORERS, repeats=2)
    assert said_so in str(caught.value)
    assert str(caught.value).endswith("; there must be 2 completions, repeat 0 to 1, for each item")


def test_an_interrupt_is_not_swallowed():
    def interrupt(one, completion):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_of(interrupt)


@pytest.mark.parametrize(
    ("items", "completions", "said_so"),
    [
        (["a", "b", "c"], ["a"], "2 items without a completion: b, c"),
        (["a"], ["a", "x"], "1 completions for unknown items: x"),
        (["a", "a"], ["a"], "1 items with the same id: a"),
        (["a"], ["a", "a"], "1 items with too many completions: a; there must be one completion for each item"),
        ([1, "1"], ["1"], "1 items with the same id: 1"),
        (list("abcdefg"), [], "7 items without a completion: a, b, c, d, e, .."),
    ],
)
def test_items_and_completions_that_do_not_match_are_named(items, completions, said_so):
    with pytest.raises(DataError) as caught:
        score_items([item(one) for one in items], [said("x", one) for one in completions], BUILTIN_SCORERS)
    assert said_so in str(caught.value)


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_completions_never_changes_a_score(rng: random.Random):
    items = [item(f"i{index}", expected=str(index)) for index in range(8)]
    completions = [said(str(index % 5), f"i{index}") for index in range(8)]
    shuffled = rng.sample(completions, len(completions))
    assert score_items(items, shuffled, BUILTIN_SCORERS) == score_items(items, completions, BUILTIN_SCORERS)


# ------------------------------------------------------------------------------------------------------------- digests


def test_name_version_and_parameters_make_the_digest():
    one = Scorer(raises, tolerance=0.1, unit="m")
    assert scorer_digest(one) == scorer_digest(Scorer(score_of, unit="m", tolerance=0.1))
    assert len({scorer_digest(one), scorer_digest(Scorer(raises, tolerance=0.2)), scorer_digest(ExactScorer())}) == 3
    newer = Scorer(raises, tolerance=0.1, unit="m")
    newer.version = "4"
    assert scorer_digest(newer) != scorer_digest(one)


def test_the_answer_rule_and_the_thinking_make_the_digest():
    asked = [(None, "known"), ("boxed", "known"), ("boxed", "none"), ("boxed", ("<a>", "</a>")), (None, "none")]
    assert len({scorer_digest(ExactScorer(), *one) for one in asked}) == len(asked)
    assert scorer_digest(ExactScorer()) == scorer_digest(ExactScorer(), *asked[0])


def test_parameters_that_are_no_json_are_refused_by_name():
    with pytest.raises(SpecError, match="scorer 'other': parameters are no JSON values"):
        scorer_digest(Scorer(raises, judge=object()))


def test_the_builtin_scorers_stand_under_their_own_names():
    assert {name: scorer.name for name, scorer in BUILTIN_SCORERS.items()} == {
        name: name for name in ("exact", "numeric", "contains", "answer_nll")
    }
