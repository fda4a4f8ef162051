"""The delta report: how it reads, its figures, and that foreign text stays text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval import statistics
from tunix_eval.records import Completion, EvalItem, MetricSummary, RunRow, Score, Scorecard, ScoredItem
from tunix_eval.report import delta_report
from tunix_eval.report.markdown import cell, code

RUN = RunRow(
    name="addition",
    run_id="3f2a9c1b77aa01de",
    seed=0,
    action="trained",
    status="complete",
    steps=800,
    total_steps=800,
    wall_seconds=20.4,
    loss=0.01234,
)


def scored(values, answers=None, **fields):
    """One item a row of scores; `fields` give each item its prompt, category and so on."""
    found = []
    for index, scores in enumerate(values):
        given_fields = {"prompt": f"{index}+1=", "expected_answer": str(index + 1)}
        given_fields |= {name: row[index] for name, row in fields.items()}
        answer = answers[index] if answers else str(index + 1)
        found.append(
            ScoredItem(
                item=EvalItem(id=f"i{index}", **given_fields),
                completion=Completion(
                    item_id=f"i{index}",
                    text=f"A {answer}",
                    answer=answer,
                    status="none" if answer is None else "ok",
                    stop_reason="stop",
                    tokens=3,
                ),
                scores={name: Score(value) for name, value in scores.items()},
            )
        )
    return found


def card(items, *, lower=()):
    """A scorecard with what the report reads from it."""
    empty = dict.fromkeys(("mean", "stderr", "stddev", "ci95", "min", "max"))
    metrics = {
        name: MetricSummary(
            n_items=len(items),
            n_scored=len(items),
            n_skipped=0,
            lower_is_better=name in lower,
            section={},
            category={},
            difficulty={},
            **empty,
        )
        for name in items[0].scores
    }
    statuses = [one.completion.status for one in items]
    return Scorecard(
        evalset="heldout",
        metrics=metrics,
        primary=next(iter(metrics)),
        extraction={status: statuses.count(status) for status in ("ok", "none", "several", "truncated", "unclosed")},
    )


def report(before, after, *, lower=(), run=RUN):
    return delta_report(
        run=run,
        evalset="addition-heldout",
        before=before,
        after=after,
        before_card=card(before, lower=lower),
        after_card=card(after, lower=lower),
    )


def exact(values, **fields):
    return scored([{"exact": value} for value in values], **fields)


def row(text, label):
    """The cells of the table row that begins with the label."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
    return [one.strip() for one in line.split("|")[2:-1]]


def test_the_report_looks_like_this(snapshot):
    nll = [3.5, 2.25, 4.0, 1.5, 3.0, 2.0]
    category = ["carry", "carry", "plain", "plain", "plain", None]
    before = scored(
        [{"exact": float(index == 4), "nll": value} for index, value in enumerate(nll)],
        answers=["7", None, "`3`", "2|3", "5", "<b>"],
        category=category,
    )
    after = scored(
        [{"exact": float(index != 4), "nll": value / 8} for index, value in enumerate(nll)],
        answers=["1", "2", "3", "4", None, "6"],
        category=category,
    )
    assert report(before, after, lower=("nll",)) == snapshot


def test_change_and_interval_are_those_of_the_pairs():
    before, after = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    low, high = statistics.tango_interval(3, 1, 6, 0.95)
    assert row(report(exact(before), exact(after)), "exact") == [
        *("6", "0.333", "0.667", "+0.333", f"{low:.3f} to {high:.3f}")
    ]


def test_clusters_reach_the_interval():
    before, after, clusters = [0.1, 0.2, 0.3, 0.4], [0.5, 0.7, 0.5, 0.7], ["a", "a", "b", "b"]
    changes = [b - a for a, b in zip(before, after, strict=True)]
    low, high = statistics.mean_estimate(changes, clusters).interval(0.95)
    found = row(report(exact(before, cluster=clusters), exact(after, cluster=clusters)), "exact")
    assert found[-1] == f"{low:.3f} to {high:.3f}"


def test_only_items_scored_both_times_are_compared_and_the_rest_is_counted():
    text = report(exact([0.0, None, 1.0, 0.0]), exact([1.0, 1.0, None, 0.0]))
    assert row(text, "exact")[:4] == ["2 of 4", "0.000", "0.500", "+0.500"]
    assert row(report(exact([None]), exact([1.0])), "exact") == ["0 of 1", "", "", "", ""]


def test_groups_are_tables_of_the_primary_metric():
    text = report(
        exact([0.0, 0.0, 1.0], category=["b", "a", "b"], section=["core", "core", None]),
        exact([1.0, 0.0, 0.0], category=["b", "a", "b"], section=["core", "core", None]),
    )
    assert row(text, "a")[:4] == ["1", "0.000", "0.000", "+0.000"]
    assert row(text, "b")[:4] == ["2", "0.500", "0.500", "+0.000"]
    assert row(text, "core")[:4] == ["2", "0.000", "0.500", "+0.500"]
    assert "by difficulty" not in text


def test_flipped_items_are_listed_both_ways_and_capped_with_a_count():
    text = report(exact([1.0] * 3 + [0.0] * 30), exact([0.0] * 3 + [1.0] * 30))
    worse, better = text.split("## ")[1:]
    assert worse.startswith("Items that got worse by exact: 3\n")
    assert worse.count("\n- `i") == 3
    assert better.startswith("Items that got better by exact: 30\n")
    assert (better.count("\n- `i"), "- and 10 more" in better) == (20, True)


def test_the_largest_changes_come_first_and_lower_is_better_turns_the_lists():
    before, after = [1.0, 1.0, 1.0, 1.0], [1.5, 3.0, 0.5, 1.0]
    text = report(exact(before), exact(after), lower=("exact",))
    worse, better = text.split("## ")[1:]
    assert worse.index("`i1`") < worse.index("`i0`")
    assert ("`i2`" in better, "`i3`" in text) == (True, False)
    assert "exact (lower is better)" in text


def test_a_truncated_run_says_so():
    run = RunRow(
        **{**{f: getattr(RUN, f) for f in RUN.__struct_fields__}, "status": "truncated", "steps": 2, "loss": None}
    )
    assert "Run `3f2a9c1b77aa01de`: 2 of 800 steps, truncated.\n" in report(exact([0.0]), exact([1.0]), run=run)


def test_a_run_that_stopped_early_says_so():
    run = RunRow(name="a", run_id="b", seed=0, action="trained", steps=2, total_steps=9, ended="early_stopping")
    assert "Run `b`: 2 of 9 steps, stopped early.\n" in report(exact([0.0]), exact([1.0]), run=run)


hostile = st.text(alphabet="`|\\<>*_[](){}#!&$~@:-\n\r\x1b ab", min_size=1, max_size=30)


@settings(deadline=None)
@given(hostile, hostile, hostile)
def test_foreign_text_never_leaves_its_line_or_its_code_span(prompt, answer, category):
    before = exact([0.0], prompt=[prompt], answers=[answer], expected_answer=[answer], category=[category])
    after = exact([1.0], prompt=[prompt], answers=[answer], expected_answer=[answer], category=[category])
    text, plain = report(before, after), report(exact([0.0], category=["c"]), exact([1.0], category=["c"]))
    assert text.count("\n") == plain.count("\n")
    assert "\x1b" not in text
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in tables] == [
        line.count("|") for line in plain.splitlines() if line.startswith("| ")
    ]
    flip = next(line for line in text.splitlines() if line.startswith("- "))
    assert flip == f"- `i0` {code(prompt)} expects {code(answer)}: {code(answer)} -> {code(answer)} (0 -> 1)"


@settings(deadline=None)
@given(hostile)
def test_a_code_span_is_closed_by_its_own_fence_only(text):
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inside = span[len(fence) : -len(fence)]
    assert span == f"{fence}{inside}{fence}"
    assert len(fence) not in {len(run) for run in re.findall("`+", inside)}
    assert "`" not in (inside[0], inside[-1])


@pytest.mark.parametrize("text", ["<script>", "a|b", "**b**", "[x](http://y)", "![i](j)", "`c`", "@all", "$x$", "#1"])
def test_a_cell_holds_nothing_that_markdown_reads(text):
    assert not set(cell(text).replace("&#", "").replace(";", "")) & set("<>|*_[]!`@$~\\:")


def test_long_text_is_cut():
    assert code("x" * 500) == f"`{'x' * 160}..`"
