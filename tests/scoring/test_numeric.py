"""The numeric scorer: what counts as the same number."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import SpecError
from tunix_eval.records import EvalItem, Score
from tunix_eval.scoring import ANSWER_RULES, NumericScorer, complete, scorer_digest

WHOLE = ANSWER_RULES["text"]


def scored(answer, expected, aliases=(), **tolerance):
    item = EvalItem(id="i", prompt="p", expected_answer=expected, aliases=aliases)
    return NumericScorer(**tolerance)(item, complete("i", answer, rule=WHOLE, stop_reason="stop", tokens=1))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("1,234.50", "1234.5"),
        ("1234.5", "1,234.50"),
        ("-3", "-3.0"),
        ("−3", "-3"),
        ("+3", "3"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1.5E-2", "0.015"),
        ("3/4", "0.75"),
        ("0.75", r"\frac{3}{4}"),
        ("1 1/2", "1.5"),
        (r"1\frac{1}{2}", "3/2"),
        (r"-\frac{3}{4}", "-0.75"),
        (r"\dfrac{-3}{4}", "-3/4"),
        (r"$\frac{3}{4}$", "3/4"),
        (r"\(825\)", "825"),
        (r"\boxed{825}", "825"),
        ("$825$", "825"),
        (r"\$5", "$5"),
        ("1{,}234", "1234"),
        ("007", "7"),
        ("825.", "825"),
        ("**825**", "825"),
        ("x = 825", "825"),
        ("The answer is 825, since 550 + 275 = 825.", "825"),
        ("3 + 4 = 7", "7"),
        ("825\n3 + 4 = 7", "825"),
        ("$5", "5"),
        ("5 apples", "5"),
        ("5", "5 apples"),
        ("5 apples", "5 apples"),
        ("5 Apple", "5 apples"),
        ("5 apples in total", "5 apples"),
        ("5 cities, all of them", "5 city"),
        ("5 km", "5 kms"),
        ("5 km/h.", "5 km/h"),
        (r"5 \text{ km}", "5 km"),
        (r"30^\circ", "30°"),
        (r"30^\circ", "30"),
        ("-$5", "-$5"),
        ("5 €", "€5"),
        ("5 dollars", "$5"),
        ("£5", "5 pounds"),
        ("50%", "0.5"),
        ("0.5", "50%"),
        ("1/2", "50%"),
        ("50", "50%"),
        ("50 percent", "50%"),
        (r"50\%", "50 %"),
        ("50% of them", "50%"),
        ("1e300", "1" + "0" * 300),
        ("It's 18.", "18"),
        ("That\u2019s -18 apples.", "-18"),
        ("There is a 18 km road.", "18"),
    ],
)
def test_the_same_number_counts(answer, expected):
    assert scored(answer, expected) == Score(1.0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("1,23", "123"),
        ("1,23", "1.23"),
        ("1,2345", "12345"),
        ("12,345,67", "1234567"),
        ("1.234.567", "1.234"),
        ("3", "-3"),
        ("50", "0.5"),
        ("50%", "50"),
        ("0.5%", "50%"),
        ("5 m", "5 km"),
        ("5 ms", "5 m"),
        ("5 km/h", "5 km"),
        ("5 km per hour", "5 km"),
        ("5 km squared", "5 km"),
        ("€5", "$5"),
        ("5 apples", "$5"),
        ("$5", "5 apples"),
        ("5 apples", "50%"),
        ("50 apples", "50%"),
        (r"2\sqrt{3}", "2"),
        (r"2\sqrt{3}", "3"),
        ("2^{10}", "2"),
        ("2^10", "10"),
        ("10-12", "10"),
        ("10-12", "12"),
        ("5 - 3", "5"),
        ("2024-11-20", "2024"),
        ("11/20/2026", "2026"),
        ("3/0", "3"),
        ("x2", "2"),
        ("-$-5", "5"),
        ("y 5", "5"),
        ("y -5", "-5"),
        ("five", "5"),
        ("nan", "5"),
        ("inf", "5"),
        ("", "5"),
        ("1e999999999", "5"),
        ("9" * 100_000, "5"),
        ("1e-999999999", "5"),
        (r"\(" * 100_000 + "6", "5"),
        ("$x" * 100_000 + "6", "5"),
        ("5+" + " " * 100_000 + "6", "5"),
        (r"\text{" * 100_000 + "6", "5"),
    ],
)
def test_another_number_or_none_is_zero(answer, expected):
    assert scored(answer, expected) == Score(0.0)


@pytest.mark.parametrize(
    "expected", ["Paris", "3 + 4", "10-12", "1, 2, 3", "(1, 2)", "2x + 3", r"2\sqrt{3}", "1,23", "12:30", "1e999999999"]
)
def test_an_expected_answer_that_is_no_number_is_not_measured(expected):
    found = scored("5", expected)
    assert (found.value, found.note) == (None, f"the expected answer {expected!r} is not one number with its unit")


def test_no_answer_is_zero():
    item = EvalItem(id="i", prompt="p", expected_answer="5")
    cut = complete("i", "5", rule=WHOLE, stop_reason="length", tokens=1)
    assert NumericScorer()(item, cut) == Score(0.0)


def test_an_alias_counts_and_one_that_is_no_number_is_passed_over():
    assert scored("7", "5", aliases=("five", "7")).value == 1.0
    assert scored("8", "5", aliases=("five", "7")).value == 0.0


def test_a_stated_tolerance_is_absolute_plus_relative():
    found = [scored(x, "1000000", relative=1e-6).value for x in ("1000001", "1000001.1", "999999", "999998.9")]
    assert found == [1, 0, 1, 0]
    assert [scored(x, "3.14", relative=0.0, absolute=0.25).value for x in ("3.39", "3.40", "2.89")] == [1, 0, 1]
    assert [scored(x, "0").value for x in ("0", "0.0000001")] == [1, 0]
    assert [scored(x, "-200", relative=0.5, absolute=1).value for x in ("-301", "-99", "-98")] == [1, 1, 0]


def test_the_tolerance_is_part_of_the_digest():
    assert len({scorer_digest(NumericScorer(*args)) for args in ((), (1e-3,), (1e-6, 1.0))}) == 3


@pytest.mark.parametrize("tolerance", [{"relative": -1.0}, {"absolute": float("nan")}, {"absolute": float("inf")}])
def test_a_tolerance_that_is_no_finite_number_from_0_on_is_refused(tolerance):
    with pytest.raises(SpecError, match=r"scorer 'numeric': .*; expected a finite number from 0 on"):
        NumericScorer(**tolerance)


@settings(deadline=None)
@given(st.fractions(max_denominator=10**6), st.sampled_from(["", "$", " km", "%"]))
def test_a_fraction_written_out_is_itself(value, unit):
    text = f"{unit}{value}" if unit == "$" else f"{value}{unit}"
    assert scored(text, text, relative=0.0) == Score(1.0)


@settings(deadline=None)
@given(st.decimals(-(10**9), 10**9, places=3))
def test_grouped_digits_are_the_same_number_and_a_neighbour_is_not(value):
    assert scored(f"It is {value:,}.", str(value), relative=0.0) == Score(1.0)
    assert scored(f"It is {value:,}1.", str(value), relative=0.0) == Score(0.0)


@settings(deadline=None)
@given(
    st.text(alphabet="0123456789.,/-−+$€% e^\\(){}=x", max_size=30),
    st.text(alphabet="0123456789.,/-$% ekm", min_size=1, max_size=12),
)
def test_any_text_gets_a_value_of_0_or_1_or_none(answer, expected):
    assert scored(answer, expected).value in {0.0, 1.0, None}


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0, 1))
def test_a_tolerance_holds_exactly(found, expected, relative):
    inside = abs(Fraction(found) - expected) <= Fraction(str(relative)) * expected
    assert scored(str(found), str(expected), relative=relative).value == float(inside)
