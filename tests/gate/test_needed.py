"""What the plan says of how much a proof takes."""

import math

import pytest

from tunix_eval.gate import needed
from tunix_eval.gate.comparison import Comparison
from tunix_eval.gate.needed import enough_for
from tunix_eval.gate.power import runs_needed
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

GATE = GateSpec(rule="non_inferior", metric="exact", margin=0.05)


def run(values, seed=0):
    pairs = {f"i{index}": value for index, value in enumerate(values)}
    return RunScores(run_id=f"r{seed}", seed=seed, weights_sha256=f"w{seed}", values=pairs)


def right(count, seed, n=200):
    return run([float(index < count) for index in range(n)], seed)


def say(gate, reference, *, lower=False):
    return needed(gate, reference=reference, n_items=len(reference[0].values), lower_is_better=lower)


def test_one_baseline_run_of_right_and_wrong_assumes_how_many_items_flip():
    # 160 of 200 right: 2 * 0.8 * 0.2 flip; (1.645 * sqrt(0.3249) + 0.842 * sqrt(0.32))^2 / 0.05^2 is 796.
    assert say(GATE, [right(160, 0)]) == (
        "to exclude a drop of 0.05: passes 80 times in 100 if nothing changed with about 800 items (has 200), "
        "assuming that 32% of them flip"
    )


def test_one_baseline_run_of_graded_scores_assumes_independent_runs():
    # Variance 0.25 * 4/3 for each side: 6.18 * 2 / 3 / 0.0025 is 1649.
    assert say(GATE, [run([0.5, 1.5, 0.5, 1.5])], lower=True) == (
        "to exclude a rise of 0.05: passes 80 times in 100 if nothing changed with about 1700 items (has 4), "
        "assuming independent runs"
    )


def test_several_baseline_runs_show_their_spread():
    baseline = [right(count, seed) for seed, count in enumerate((194, 190, 186, 192, 188))]
    gate = GateSpec(rule="non_inferior", metric="exact", margin=0.05, runs=2)
    text = "to exclude a drop of 0.05: passes 80 times in 100 if nothing changed with about 2 runs (has 2)"
    assert say(gate, baseline) == text
    fine = GateSpec(rule="non_inferior", metric="exact", margin=0.01)
    assert say(fine, baseline).endswith("with about 32 runs on each side (has 3 against 5)")


def test_baseline_runs_of_one_mean_show_none():
    assert "items (has 200), assuming" in say(GATE, [right(190, seed) for seed in range(3)])


@pytest.mark.parametrize("rule", ["no_worse", "max_drop"])
def test_other_rules_say_nothing(rule):
    drop = {"drop": "2%"} if rule == "max_drop" else {}
    assert say(GateSpec(rule=rule, metric="exact", **drop), [right(190, 0)]) is None


def test_a_baseline_that_is_not_complete_says_nothing():
    assert say(GATE, [run([1.0, None, 0.0])]) is None
    assert needed(GATE, reference=[], n_items=3, lower_is_better=False) is None


def test_exactly_enough_runs_ask_for_no_more():
    j, k = runs_needed(0.018, 5, margin=0.05, alpha=0.05)
    assert j > 1

    def enough(count):
        stderr = 0.018 * math.sqrt(1 / count + 1 / k)
        return enough_for(GATE, Comparison("runs", "", 0.0, stderr=stderr, dof=4.0), n_items=200, j=count, k=k)

    assert enough(j) is None
    assert enough(j - 1) == f"about {j} runs (has {j - 1})"


def test_graded_scores_without_spread_say_nothing_of_what_is_enough():
    flat = Comparison("items", "paired t", 0.0, stderr=0.0, dof=9.0)
    assert enough_for(GATE, flat, n_items=10, j=1, k=1) is None
    assert say(GATE, [run([0.5] * 4)]).endswith("with about 1 items (has 4), assuming independent runs")
