"""`tunix-eval compare`: what it prints, what it refuses, and that its figures are right."""

from __future__ import annotations

import json

import pytest
from msgspec import structs
from records import EVALSET, Records, addition
from scipy import stats

from tunix_eval.data import make_evalset


def test_two_runs_are_compared_item_by_item(records: Records) -> None:
    first = records.run(wrong=range(5), nll=[float(i % 5) for i in range(100)])
    second = records.run(
        name="answers",
        recipe="other",
        seed=3,
        wrong=range(90, 100),
        answers={90: "91\x1b[31m and so on " * 8},
        nll=[float(i % 3) for i in range(100)],
    )
    code, out, err = records.call("compare", first, second, "--items", "2")
    assert (code, err) == (0, "")
    assert (
        out
        == f"""\
A  addition  seed 0 ({first[:8]})
B  answers   seed 3 ({second[:8]})

B against A on addition-heldout, 100 items
                      A -> B   delta      95% interval        p  lost  won
  exact       0.950 -> 0.900  -0.050   -0.133 to 0.029     0.21    10    5
  answer_nll  2.000 -> 0.990  -1.010  -1.337 to -0.683  <0.0001    19   60

exact by category  items          A -> B   delta
  easy                50  0.900 -> 1.000  +0.100
  hard                50  1.000 -> 0.800  -0.200

worse by exact: 10 items, the 2 that changed most
  item  expected  A   B                                                    score
  i090  91        91  91\\x1b[31m and so on 91\\x1b[31m and so on 91\\x1b..  1 -> 0
  i091  92        92  wrong                                               1 -> 0

better by exact: 5 items, the 2 that changed most
  item  expected  A      B   score
  i000  1         wrong  1  0 -> 1
  i001  2         wrong  2  0 -> 1

note: exact: mid-p McNemar, Tango's interval, p two-sided
note: answer_nll: paired t, p two-sided; bootstrap -1.330 to -0.680; lower is
      better
note: exact, answer_nll: one run each, so that the noise between training seeds
      is unknown
"""
    )


def figures(records: Records, *words: str) -> dict[str, object]:
    code, out, _ = records.call("compare", *words, "--json")
    assert code == 0
    comparison: dict[str, object] = json.loads(out)["comparisons"][0]["metrics"][0]
    return comparison


def test_p_is_two_sided_and_the_interval_goes_with_it(records: Records) -> None:
    old, new = [float(i % 5) for i in range(100)], [float(i % 3) for i in range(100)]
    ids = records.run(nll=old), records.run(name="b", recipe="b", nll=new)
    expected = stats.ttest_rel(new, old)
    found = figures(records, *ids, "--metric", "answer_nll")
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert found["interval"] == pytest.approx(list(expected.confidence_interval(0.95)), rel=1e-9)
    narrow = figures(records, *ids, "--metric", "answer_nll", "--alpha", "0.1")
    assert narrow["interval"] == pytest.approx(list(expected.confidence_interval(0.8)), rel=1e-9)


def test_runs_of_one_recipe_stand_on_one_side_and_are_the_unit(records: Records) -> None:
    ours = [records.run(seed=seed, wrong=range(seed)) for seed in range(3)]
    theirs = [records.run(name="b", recipe="b", seed=seed, wrong=range(2 * seed + 5)) for seed in range(2)]
    code, out, _ = records.call("compare", ours[0], theirs[0], *ours[1:], theirs[1])
    assert code == 0
    assert out.splitlines()[:2] == [
        f"A  addition  seeds 0, 1, 2 ({', '.join(one[:8] for one in ours)})",
        f"B  b         seeds 0, 1 ({', '.join(one[:8] for one in theirs)})",
    ]
    found = figures(records, *ours, *theirs)
    assert (found["unit"], found["lost"], found["won"]) == ("runs", 7, 0)
    assert found["method"] == "Welch's t on run means"
    expected = stats.ttest_ind([0.95, 0.93], [1.0, 0.99, 0.98], equal_var=False)
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-9)
    assert found["interval"] == pytest.approx(list(expected.confidence_interval(0.95)), rel=1e-9)


def test_seeds_of_one_recipe_alone_are_compared_one_by_one(records: Records) -> None:
    ids = [records.run(seed=seed, wrong=range(3 * seed)) for seed in range(3)]
    out = records.call("compare", *ids)[1]
    assert [line for line in out.splitlines() if " against " in line] == [
        "B against A on addition-heldout, 100 items",
        "C against A on addition-heldout, 100 items",
    ]
    assert "one run each, so that the noise between training seeds" in " ".join(out.split())


def test_the_same_weights_are_compared_without_seed_noise(records: Records) -> None:
    first = records.run(weights="w", generation={"seed": 0})
    second = records.run(name="b", recipe="b", weights="w", generation={"seed": 1}, wrong=range(3))
    out = " ".join(records.call("compare", first, second)[1].split())
    assert f"same weights as run {first}" in out
    assert "unknown" not in out
    assert "note: compared all the same: generation settings differ (seed)" in out


def test_what_the_runs_do_not_share_is_said_once(records: Records) -> None:
    first = records.run()
    other = records.run(name="b", recipe="b", prompts_sha256="x", generation={"max_new_tokens": 8, "temperature": 0.0})
    file = records.run(name="file", recipe=None, status="truncated")
    out = " ".join(records.call("compare", first, other)[1].split())
    assert "compared all the same: prompts differ; generation settings differ (max_new_tokens) note:" in out
    out = " ".join(records.call("compare", first, file)[1].split())
    assert "compared all the same: prompts and generation settings of predictions are not known" in out
    assert f"note: run {file} (file) on {EVALSET} was stopped before its last step" in out


def test_another_evalset_is_refused_and_named(records: Records) -> None:
    first, second = records.run(), records.run(name="b", recipe="b", evalset=addition(50))
    code, message = records.refused("compare", first, second)
    assert code == 1
    assert message.startswith(f"run {second} (b) was judged on another addition-heldout than run {first} (")
    third = records.run(name="c", recipe="c", evalset=addition(name="second"))
    assert records.refused("compare", first, third) == (
        1,
        f"no evalset that all were evaluated on: {first} on addition-heldout; {third} on second",
    )


def test_every_evalset_that_both_have_is_compared(records: Records) -> None:
    for evalset in (addition(), addition(name="second")):
        ids = [records.run(name=name, recipe=name, evalset=evalset) for name in "ab"]
    records.run(name="a", recipe="a", evalset=addition(name="third"))
    for options, expected in (((), [EVALSET, "second"]), (("--evalset", "second"), ["second"])):
        out = records.call("compare", *ids, *options)[1]
        assert [line.split()[4].rstrip(",") for line in out.splitlines() if " against " in line] == expected


def test_items_without_a_value_are_left_out_and_counted(records: Records) -> None:
    first, second = records.run(nll=[1.0] * 100), records.run(name="b", recipe="b")
    records.rewrite(first, '"exact":1.0', '"exact":null', 30)
    code, out, _ = records.call("compare", first, second)
    assert code == 0
    assert "  exact       1.000 -> 1.000  +0.000  -0.052 to 0.052  1.00     0    0\n" in out
    assert "  answer_nll\n" in out
    notes = " ".join(out.split())
    assert "p two-sided; 30 items without a value in every run are left out" in notes
    assert "lower is better; 100 items without a value in every run are left out" in notes
    assert "  easy                20" in out


def test_an_item_of_a_lower_is_better_metric_that_rose_got_worse(records: Records) -> None:
    records.run(nll=[1.0] * 100)
    records.run(name="b", recipe="b", nll=[3.0, 0.5, *[1.0] * 98])
    out = records.call("compare", "addition", "b", "--metric", "answer_nll")[1]
    assert "worse by answer_nll: 1 item\n  item  expected  A  B   score\n  i000  1         1  1  1 -> 3\n" in out
    assert "better by answer_nll: 1 item\n  item  expected  A  B     score\n  i001  2         2  2  1 -> 0.5\n" in out


def test_with_repeats_an_item_is_the_mean_of_its_completions(records: Records) -> None:
    records.run(repeats=4)
    records.run(name="b", recipe="b", repeats=4, wrong=[7])
    out = records.call("compare", "addition", "b", "--metric", "exact")[1]
    assert "  i007  8         8  wrong  1 -> 0.75\n" in out
    assert "on addition-heldout, 100 items\n" in out
    assert records.call("gate", "b", "--rule", "at_least", "--value", "0.9975")[0] == 0


def test_items_that_share_a_source_are_compared_as_clusters(records: Records) -> None:
    items = [structs.replace(item, cluster=f"c{i // 10}") for i, item in enumerate(addition().items)]
    evalset = make_evalset(EVALSET, items)
    ids = records.run(evalset=evalset), records.run(name="b", recipe="b", evalset=evalset, wrong=range(0, 40, 3))
    assert figures(records, *ids)["method"] == "cluster t, 10 clusters"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "compare: one run alone; name two or more"),
        (["b", "--items", "-1"], "compare: --items -1, expected 0 or more"),
        (["b", "--alpha", "0.5"], "compare: alpha: Input should be less than 0.5, found 0.5"),
        (["b", "--metric", "exat"], "no metric measured for run "),
        (["c"], "no evaluated run in artifacts named 'c'; known: addition, b."),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(records: Records, words: list[str], message: str) -> None:
    records.run()
    records.run(name="b", recipe="b")
    code, found = records.refused("compare", "addition", *words)
    assert code == 2
    assert found.startswith(message)
