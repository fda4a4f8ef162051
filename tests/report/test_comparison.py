"""Runs side by side: how it looks, and that nothing breaks out of it."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.report import (
    ComparedRuns,
    ComparisonReport,
    EvalsetComparison,
    GroupChange,
    ItemChange,
    MetricChange,
    comparison_json,
    comparison_lines,
)


def change(metric="exact", **changed):
    fields = {
        "lower_is_better": False,
        "n_items": 200,
        "n_left_out": 0,
        "reference": 0.98,
        "current": 0.91,
        "delta": -0.07,
        "level": 0.95,
        "interval": (-0.117, -0.028),
        "p_value": 0.0015,
        "lost": 17,
        "won": 3,
        "unit": "items",
        "method": "mid-p McNemar, Tango's interval",
    }
    return MetricChange(metric=metric, **(fields | changed))


def item(item_id="i007", **changed):
    fields = {
        "expected": "8",
        "reference": 1.0,
        "current": 0.0,
        "reference_answer": "8",
        "current_answer": "(no answer: truncated)",
    }
    return ItemChange(item_id=item_id, **(fields | changed))


def report(*metrics, name="addition", evalset="addition-heldout", **changed):
    compared = EvalsetComparison(evalset=evalset, reference="A", current="B", metrics=metrics, **changed)
    runs = (
        ComparedRuns(letter="A", name=name, run_ids=("3f2a9c1b77aa01de",), seeds=(0,)),
        ComparedRuns(letter="B", name="answers", run_ids=("9c1b", "77aa"), seeds=(0, 1)),
    )
    return ComparisonReport(runs=runs, comparisons=(compared,))


def test_a_comparison_reads_from_the_whole_to_the_items():
    groups = (
        GroupChange(field="category", name="carry", n_items=120, reference=0.975, current=0.875),
        GroupChange(field="section", name="core", n_items=200, reference=0.98, current=0.91),
    )
    made = report(change(), groups=groups, worse=(item(), item("i01\n")), notes=("compared all the same: x",))
    assert comparison_lines(made) == [
        "A  addition  seed 0 (3f2a9c1b)",
        "B  answers   seeds 0, 1 (9c1b, 77aa)",
        "",
        "B against A on addition-heldout, 200 items",
        "                 A -> B   delta      95% interval       p  lost  won",
        "  exact  0.980 -> 0.910  -0.070  -0.117 to -0.028  0.0015    17    3",
        "",
        "exact by section  items          A -> B   delta",
        "  core              200  0.980 -> 0.910  -0.070",
        "",
        "exact by category  items          A -> B   delta",
        "  carry              120  0.975 -> 0.875  -0.100",
        "",
        "worse by exact: 17 items, the 2 that changed most",
        "  item   expected  A  B                        score",
        "  i007   8         8  (no answer: truncated)  1 -> 0",
        r"  i01\n  8         8  (no answer: truncated)  1 -> 0",
        "",
        "note: compared all the same: x",
        "note: exact: mid-p McNemar, Tango's interval, p two-sided",
    ]


def test_a_note_of_several_metrics_is_said_once():
    made = report(change(notes=("n",)), change("f1", notes=("n", "m")))
    assert comparison_lines(made)[-2:] == ["note: exact, f1: n", "note: f1: m"]


def test_a_metric_without_a_value_shows_none():
    absent = dict.fromkeys(("reference", "current", "delta", "interval", "p_value"))
    lines = comparison_lines(report(change("judge", n_items=0, n_left_out=200, **absent)))
    assert "  judge" in lines
    assert lines[-1] == "note: judge: 200 items without a value in every run are left out"


def test_json_has_every_field():
    made = report(change(), worse=(item(),))
    table = json.loads(comparison_json(made))
    assert table["format_version"] == 1
    assert table["comparisons"][0]["metrics"][0]["interval"] == [-0.117, -0.028]
    assert table["comparisons"][0]["worse"][0]["current_answer"] == "(no answer: truncated)"


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text(), st.floats(-1e9, 1e9), st.integers(80, 200))
def test_no_line_is_longer_than_the_width_or_holds_a_control_character(name, answer, value, width):
    made = report(
        change(name, reference=value, current=-value),
        name=name,
        evalset=name,
        groups=(GroupChange(field="category", name=name, n_items=3, reference=value, current=value),),
        worse=(item(name, expected=answer, reference_answer=answer, current_answer=answer, reference=value),),
        notes=(answer,),
    )
    for line in comparison_lines(made, width=width):
        assert len(line) <= width
        assert line.isprintable()
