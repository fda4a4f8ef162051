"""Scorers: the exact rule, and what a scorer of someone else can do wrong."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import DataError, SpecError
from tunix_eval.records import AnswerRule, EvalItem, Score
from tunix_eval.scoring import BUILTIN_SCORERS, ExactScorer, complete, score_items, scorer_digest


def item(item_id="i0", expected="Paris", aliases=()):
    return EvalItem(id=item_id, prompt="p", expected_answer=expected, aliases=aliases)


def said(text, item_id="i0", stop_reason="stop"):
    return complete(str(item_id), text, mark=AnswerRule(""), stop_reason=stop_reason, tokens=1)


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


def test_aliases_are_accepted():
    assert exact("city of light", aliases=("The capital", "City of Light.")) == 1.0
    assert exact("city", aliases=("The capital",)) == 0.0


def test_no_answer_is_zero_even_where_an_alias_is_blank():
    assert ExactScorer()(item(), said("Paris", stop_reason="length")).value == 0.0
    assert exact("", aliases=("",)) == 0.0


def test_a_lone_stop_can_be_the_answer():
    assert exact(".", expected=".") == 1.0


@settings(deadline=None)
@given(st.text(min_size=1).filter(str.strip))
def test_an_answer_is_always_equal_to_itself(text):
    assert exact(text, expected=text) == 1.0


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


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        (raises, "KeyError: 'judge'"),
        (lambda one, completion: Score(1.0 / 0), "ZeroDivisionError: float division by zero"),
        (lambda one, completion: Score(math.nan), "the scorer gave nan, which is no finite number"),
        (lambda one, completion: Score(-math.inf), "the scorer gave -inf, which is no finite number"),
        (lambda one, completion: 1.0, "the scorer gave float, not a Score"),
        (lambda one, completion: Score("high"), "ValueError: could not convert string to float: 'high'"),
    ],
)
def test_a_scorer_that_fails_leaves_a_note_and_no_value(rule, note):
    assert score_of(rule) == Score(None, note)


def test_a_value_of_another_number_type_becomes_a_float_and_keeps_its_note():
    found = score_of(lambda one, completion: Score(True, "sure"))
    assert (type(found.value), found) == (float, Score(1.0, "sure"))


def test_a_scorer_may_decline_with_a_reason():
    assert score_of(lambda one, completion: Score(None, "no reference")) == Score(None, "no reference")


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
        (["a"], ["a", "a"], "1 items with several completions: a"),
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


def test_parameters_that_are_no_json_are_refused_by_name():
    with pytest.raises(SpecError, match="scorer 'other': parameters are no JSON values"):
        scorer_digest(Scorer(raises, judge=object()))


def test_the_builtin_scorers_stand_under_their_own_names():
    assert {name: scorer.name for name, scorer in BUILTIN_SCORERS.items()} == {"exact": "exact"}
