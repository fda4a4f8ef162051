"""Scorecards against statsmodels, scipy and hand values."""

import itertools
import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tunix_eval.errors import DataError
from tunix_eval.records import AnswerRule, EvalItem, GroupSummary, Score, ScoredItem
from tunix_eval.scoring import ExactScorer, complete, make_scorecard, scorecard_text


class LowerScorer(ExactScorer):
    """A scorer of which lower is better."""

    def __init__(self):
        super().__init__()
        self.name, self.lower_is_better = "nll", True


class UnboundedScorer(ExactScorer):
    """A scorer that does not say which values it may give."""

    def __init__(self):
        super().__init__()
        self.bounds = (-math.inf, math.inf)


EXACT = {"exact": ExactScorer()}


def scored(values, metric="exact", texts=None, **fields):
    """One item a value; `fields` give each item its category, cluster and so on."""
    return [
        ScoredItem(
            item=EvalItem(
                id=f"i{index}", prompt="p", expected_answer="a", **{name: row[index] for name, row in fields.items()}
            ),
            completion=complete(
                f"i{index}",
                texts[index] if texts else "A 1",
                rule=AnswerRule("A "),
                stop_reason="stop",
                tokens=1,
            ),
            scores={metric: Score(value)},
        )
        for index, value in enumerate(values)
    ]


def card(values, **fields):
    return make_scorecard("heldout", scored(values, **fields), EXACT)["exact"]


def test_a_binary_metric_by_hand():
    found = card([1.0, 1.0, 0.0, 1.0])
    assert (found.n_items, found.n_scored, found.n_skipped) == (4, 4, 0)
    assert (found.mean, found.min, found.max) == (0.75, 0.0, 1.0)
    assert found.stddev == pytest.approx(0.5)
    assert found.stderr == pytest.approx(0.25)
    assert found.ci95 == pytest.approx(proportion_confint(3, 4, method="wilson"))


def test_a_perfect_score_still_has_an_interval():
    assert card([1.0] * 200).ci95 == pytest.approx((0.98115, 1.0), abs=1e-5)


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=30).filter(lambda values: not set(values) <= {0.0, 1.0}))
def test_a_graded_metric_without_bounds_has_scipys_t_interval(values):
    found = make_scorecard("heldout", scored(values), {"exact": UnboundedScorer()})["exact"]
    if found.stderr == 0:
        assert found.ci95 is None
    else:
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert found.ci95 == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)


def test_a_graded_metric_stays_within_its_bounds():
    low, high = card([1.0, 1.0, 1.0, 0.75]).ci95
    assert (low > 0.2, 0.9375 < high <= 1.0) == (True, True)
    assert stats.ttest_1samp([1.0, 1.0, 1.0, 0.75], 0).confidence_interval(0.95).high > 1.0


def test_items_that_share_a_cluster_widen_the_interval():
    values = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    clusters = ["a", "a", "a", "b", "b", "b", None, None]
    found = card(values, cluster=clusters)
    # Residuals from 0.625 sum to 1.125, -1.875, 0.375 and 0.375 over 4 clusters.
    stderr = math.sqrt(4 / 3 * (1.125**2 + 1.875**2 + 2 * 0.375**2)) / 8
    assert found.stderr == pytest.approx(stderr)
    # No fewer trials than clusters of 3, 3, 1 and 1 are worth: 64 / 20 equal ones, and those less as t(3) is wider.
    n = 64 / 20 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 3)) ** 2
    assert found.ci95 == pytest.approx(proportion_confint(0.625 * n, n, method="wilson"))
    assert found.stddev == card(values).stddev
    assert card(values, cluster=list("abcdefgh")) == card(values)


def test_items_without_a_value_are_skipped_and_counted_never_zero():
    found = card([1.0, None, 1.0, None])
    assert (found.n_items, found.n_scored, found.n_skipped, found.mean) == (4, 2, 2, 1.0)


def test_a_metric_without_any_value_has_no_mean():
    found = card([None, None], category=["a", "a"])
    assert (found.n_scored, found.mean, found.stderr, found.ci95, found.min, found.max) == (0, *[None] * 5)
    assert (found.category["a"].n_items, found.category["a"].mean) == (2, None)


def test_one_item_has_a_mean_and_no_error():
    found = card([0.5])
    assert (found.mean, found.stddev, found.stderr, found.ci95) == (0.5, None, None, None)


def test_groups_are_sorted_counted_and_leave_out_items_without_one():
    found = card([1.0, 0.0, 1.0, None], category=["mul", "add", "mul", "add"], section=["core", None, "core", None])
    assert list(found.category) == ["add", "mul"]
    assert (found.category["add"].n_items, found.category["add"].n_scored, found.category["add"].mean) == (2, 1, 0.0)
    assert (found.category["mul"].mean, found.category["mul"].stderr) == (1.0, 0.0)
    assert (list(found.section), found.section["core"].n_items, found.difficulty) == (["core"], 2, {})


def test_extraction_statuses_are_counted_apart_from_scores():
    texts = ["A 1", "A 1\nA 2", "nothing", "nothing"]
    found = make_scorecard("heldout", scored([1.0] * 4, texts=texts), EXACT)
    assert found.extraction == {"ok": 1, "none": 2, "several": 1, "truncated": 0, "unclosed": 0}


def test_the_first_scorer_is_primary_and_the_direction_is_the_scorers():
    items = [
        ScoredItem(item=one.item, completion=one.completion, scores={**one.scores, "nll": Score(2.0)})
        for one in scored([1.0, 0.0])
    ]
    found = make_scorecard("heldout", items, {"nll": LowerScorer(), **EXACT})
    assert (found.primary, list(found.metrics)) == ("nll", ["nll", "exact"])
    assert (found["nll"].lower_is_better, found["exact"].lower_is_better) == (True, False)


# ------------------------------------------------------------------------------------------------------------- repeats


def repeated(rows, **fields):
    """One item a row, one completion a value."""
    once = scored([0.0] * len(rows), **fields)
    return [
        msgspec.structs.replace(
            one, completion=msgspec.structs.replace(one.completion, repeat=k), scores={"exact": Score(value)}
        )
        for one, row in zip(once, rows, strict=True)
        for k, value in enumerate(row)
    ]


def repeated_card(rows, scorer=EXACT["exact"], **fields):
    return make_scorecard("heldout", repeated(rows, **fields), {"exact": scorer})["exact"]


def test_an_items_value_is_the_mean_of_its_completions_and_errors_are_over_items():
    rows = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0] * 4]
    found = repeated_card(rows, category=["a", "a", "b"])
    assert (found.n_items, found.n_scored, found.n_skipped, found.repeats) == (3, 3, 0, 4)
    values = [0.25, 0.75, 0.0]
    assert (found.mean, found.min, found.max) == (pytest.approx(1 / 3), 0.0, 0.75)
    assert found.stddev == pytest.approx(stats.tstd(values))
    assert found.stderr == pytest.approx(stats.sem(values))
    # 2/9 over the variance of the mean is 4.6 trials, which count less as t(2) is wider.
    n = (2 / 9) / stats.sem(values) ** 2 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 2)) ** 2
    assert found.ci95 == pytest.approx(proportion_confint(n / 3, n, method="wilson"))
    assert (found.category["a"].n_items, found.category["a"].mean, found.category["b"].mean) == (2, 0.5, 0.0)
    assert found.category["a"].stderr == pytest.approx(0.25)


def test_pass_at_k_and_the_histogram_by_hand():
    found = repeated_card([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0] * 4, [0.0, 1.0, 0.0, 0.0]])
    # One of 4 right: 1/4, 1/2, 3/4, 1 for k = 1 to 4; three of 4: 3/4, then 1.
    assert found.pass_at_k == {1: 5 / 16, 2: 8 / 16, 3: 10 / 16, 4: 12 / 16}
    assert found.right_of_n == {0: 1, 1: 2, 3: 1}


@settings(deadline=None)
@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n), min_size=1, max_size=5)
    )
)
def test_pass_at_k_is_the_share_of_subsets_of_k_that_hold_a_right_one(rows):
    found = repeated_card(rows)
    for k, share in found.pass_at_k.items():
        subsets = [any(subset) for row in rows for subset in itertools.combinations(row, k)]
        assert share == pytest.approx(sum(subsets) / len(subsets))
    assert sum(found.right_of_n.values()) == len(rows)
    assert found.pass_at_k[1] == pytest.approx(found.mean)


def test_of_many_completions_pass_at_k_is_stated_for_round_k():
    assert list(repeated_card([[1.0] + [0.0] * 63]).pass_at_k) == [1, 2, 5, 10, 20, 50, 64]
    assert list(repeated_card([[1.0] * 10]).pass_at_k) == list(range(1, 11))


def test_where_lower_is_better_0_is_right():
    found = repeated_card([[0.0, 1.0], [1.0, 1.0]], scorer=LowerScorer())
    assert (found.pass_at_k, found.right_of_n) == ({1: 0.25, 2: 0.5}, {0: 1, 1: 1})


def test_graded_metrics_and_single_completions_have_no_pass_at_k():
    for rows in ([[0.5, 1.0]], [[1.0], [0.0]]):
        found = repeated_card(rows)
        assert (found.pass_at_k, found.right_of_n) == ({}, {})


def test_an_item_with_a_completion_that_was_not_measured_is_skipped():
    found = repeated_card([[1.0, None], [1.0, 0.0]])
    assert (found.n_items, found.n_scored, found.n_skipped, found.mean) == (2, 1, 1, 0.5)
    assert found.right_of_n == {1: 1}


def test_one_item_right_each_time_has_no_wilson_interval_over_its_repeats():
    assert repeated_card([[1.0] * 50]).ci95 is None


def test_completions_of_an_item_need_not_stand_side_by_side():
    rows = [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]
    side_by_side = repeated(rows, category=["a", "b", "a"], cluster=["x", "y", "y"])
    in_turn = sorted(side_by_side, key=lambda one: one.completion.repeat)
    assert make_scorecard("heldout", in_turn, EXACT) == make_scorecard("heldout", side_by_side, EXACT)
    assert make_scorecard("heldout", in_turn, EXACT)["exact"].right_of_n == {1: 2, 3: 1}


def test_repeats_that_agree_are_no_more_than_one_trial_each():
    found = repeated_card([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    n = 4 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 3)) ** 2
    assert found.ci95 == pytest.approx(proportion_confint(0.75 * n, n, method="wilson"))


def test_repeats_that_are_all_right_have_an_interval():
    assert repeated_card([[1.0] * 8] * 5).ci95 == pytest.approx(proportion_confint(5, 5, method="wilson"))
    low, high = repeated_card([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).ci95
    assert 0.0 < low < 0.5 < high < 1.0


def test_a_groups_error_counts_the_clusters_of_its_own_items():
    found = card([1.0, 0.0, 1.0, 1.0], category=["a", "b", "a", "a"], cluster=["x", "x", "y", "z"])
    assert found.category["a"] == GroupSummary(n_items=3, n_scored=3, mean=1.0, stderr=0.0)
    found = card([1.0, 0.0, 1.0, 0.0], category=["b", "a", "a", "a"], cluster=["x", "y", "z", "z"])
    # Residuals from 1/3 in two clusters: -1/3 alone, and 2/3 - 1/3.
    assert found.category["a"].stderr == pytest.approx(math.sqrt(2 * 2 / 9) / 3)


def test_extraction_counts_completions():
    assert make_scorecard("heldout", repeated([[1.0, 0.0], [1.0, 1.0]]), EXACT).extraction["ok"] == 4


def test_items_with_unequal_numbers_of_completions_are_refused():
    with pytest.raises(DataError, match="evalset 'heldout': item 'i1' has 1 completions, others 2"):
        repeated_card([[1.0, 1.0], [1.0]])


@pytest.mark.parametrize(
    ("items", "scorers", "said"),
    [
        ([], EXACT, "evalset 'heldout': no items"),
        (scored([1.0]), {}, "evalset 'heldout': no scorers"),
        (scored([1.0, 0.0], metric="f1"), EXACT, "evalset 'heldout': 2 items without 'exact', such as 'i0'"),
    ],
)
def test_nothing_to_summarise_is_an_error(items, scorers, said):
    with pytest.raises(DataError, match=said):
        make_scorecard("heldout", items, scorers)


@settings(deadline=None)
@given(st.permutations(list(range(12))))
def test_the_order_of_the_items_changes_no_byte(order):
    items = scored(
        [index * 0.1 for index in range(12)],
        category=["abc"[index % 3] for index in range(12)],
        cluster=[f"{index // 4}" for index in range(12)],
    )
    text = scorecard_text(make_scorecard("heldout", items, EXACT))
    assert scorecard_text(make_scorecard("heldout", [items[index] for index in order], EXACT)) == text


def test_the_text_is_json_with_the_fields_of_the_format():
    text = scorecard_text(make_scorecard("heldout", scored([1.0, None], category=["a", "b"]), EXACT))
    table = json.loads(text)
    assert text.endswith("}\n")
    assert (table["evalset"], table["primary"]) == ("heldout", "exact")
    assert table["metrics"]["exact"]["category"]["b"] == {"n_items": 1, "n_scored": 0, "mean": None, "stderr": None}
    assert set(table["metrics"]["exact"]) == {
        *("n_items", "n_scored", "n_skipped", "mean", "stderr", "stddev", "ci95", "min", "max", "lower_is_better"),
        *("repeats", "pass_at_k", "right_of_n", "section", "category", "difficulty"),
    }
