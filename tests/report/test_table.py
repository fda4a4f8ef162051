"""The session's table: how it looks, and that nothing breaks out of it."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tunix_eval.records import EvalRow, RunRow, SessionReport, Verdict
from tunix_eval.report import second_look, session_table, verdicts_json

SEEDS = "one baseline run, so that the noise between training seeds is unknown"


def run(name="addition", **changed):
    fields = {
        "run_id": "3f2a9c1b77aa01de",
        "seed": 0,
        "action": "trained",
        "status": "complete",
        "steps": 800,
        "total_steps": 800,
        "wall_seconds": 20.44,
        "loss": 0.01234,
    }
    return RunRow(name=name, **(fields | changed))


def evaluation(metric="exact", run_name="addition", **changed):
    fields = {
        "run_id": "3f2a9c1b77aa01de",
        "evalset": "addition-heldout",
        "n_items": 200,
        "n_scored": 200,
        "before": 0.0,
        "after": 0.96,
        "stderr": 0.0139,
        "ci95": (0.9231, 0.9796),
    }
    return EvalRow(metric=metric, run_name=run_name, **(fields | changed))


def verdict(rule="no_worse", **changed):
    fields = {
        "metric": "exact",
        "run_name": "addition",
        "run_id": "3f2a9c1b77aa01de",
        "evalset": "addition-heldout",
        "outcome": "passed",
        "reason": "addition/exact: ..",
        "unit": "runs",
        "method": "two-sample t on run means",
        "reference": 0.956,
        "current": 0.96,
        "delta": 0.004,
        "interval": (-0.011, 0.019),
        "p_value": 0.7,
        "alpha": 0.05,
        "margin": 0.0,
        "n_items": 200,
        "n_runs": 5,
        "detectable": 0.022,
    }
    return Verdict(rule=rule, **(fields | changed))


SESSION = SessionReport(
    runs=(
        run(),
        run("addition[style=none]", action="reused", wall_seconds=118.1, loss=1.2345),
        run(
            "dev-reasoning", action="resumed", resumed_from=1, status="truncated", steps=2, wall_seconds=3.06, loss=None
        ),
        run("patient", ended="early_stopping", steps=24, total_steps=80, best_step=20),
    ),
    evals=(
        evaluation(),
        evaluation("answer_nll", before=12.34, after=0.0958, ci95=(0.0911, 0.1012), n_scored=197),
        evaluation(run_name="addition[style=none]", after=0.01, ci95=(0.0027, 0.0357)),
        evaluation(
            run_name="dev-reasoning", evalset="dev-reasoning-v2", n_scored=0, before=None, after=None, ci95=None
        ),
    ),
    verdicts=(
        verdict(),
        verdict(outcome="failed", current=0.915, delta=-0.041, interval=(-0.056, -0.026), p_value=0.0023),
        verdict("better", reference=0.01, delta=0.95, interval=(0.919, 0.971), p_value=1e-40, notes=(SEEDS,)),
        verdict("at_least", reference=0.93, delta=0.03, interval=None, p_value=None, alpha=None, unit="none"),
        verdict(
            outcome="failed",
            metric="answer_nll",
            reason="addition/answer_nll: 3 items (i007, i019, i101) of 200 without a value in current run 3f2a9c1b; "
            "each needs one",
            **dict.fromkeys(("reference", "current", "delta", "interval", "p_value", "alpha", "margin", "detectable")),
        ),
        verdict(
            run_name="dev-reasoning",
            evalset="dev-reasoning-v2",
            outcome="skipped",
            reason="run 'dev-reasoning' stopped at 2 of 800 steps (--tunix-max-steps); a truncated run is not gated",
            notes=(SEEDS,),
            **dict.fromkeys(("reference", "current", "delta", "interval", "p_value", "alpha", "margin", "detectable")),
        ),
    ),
    notes=("baseline baselines/addition/addition-heldout.json: unchanged",),
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_looks_like_this(width, snapshot):
    assert "\n".join(session_table(SESSION, width=width)) == snapshot


def test_methods_are_said_only_where_asked_for():
    lines = session_table(SESSION, width=120, methods=True)
    assert "    200 items, 1 run against 5; two-sample t on run means; 80% power at 0.022" in lines
    assert not any("80% power" in line or "two-sample" in line for line in session_table(SESSION, width=120))


def test_several_runs_on_one_side_are_told_from_one():
    means = {"n_current": 3, "means": (0.965, 0.995, 1.0), "current": 0.987}
    lines = session_table(SessionReport(verdicts=(verdict(**means),)), width=120)
    assert lines[-1].endswith("; now is the mean of 3 runs (0.965, 0.995, 1.000), ref of 5")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"outcome": "passed", "delta": -0.004}, "no drop is proven; would have seen 0.022 (8 times in 10)"),
        ({"outcome": "passed", "delta": 0.1, "lower_is_better": True}, "no rise is proven; would have seen 0.022"),
        ({"outcome": "failed", "margin": 0.02}, "a drop beyond 0.02 is proven"),
        ({"outcome": "failed", "p_value": None}, "no test can be made, so that a drop is not excluded"),
        ({"rule": "non_inferior", "margin": 0.02, "outcome": "failed"}, "a drop of 0.02 or more is not excluded"),
        ({"rule": "better", "outcome": "failed"}, "no gain is proven; would have seen 0.022"),
        ({"rule": "max_drop", "margin": 0.05, "false_alarms": 0.1}, "a drop up to 0.05 is allowed; fails 10 times in"),
        ({"outcome": "undecided", "undecided": "undecided because ..: more"}, "undecided because ..: more"),
        ({"adjusted_p": 0.04}, "p 0.040 after Holm"),
    ],
)
def test_verdict_is_said_in_plain_words(changed, said):
    lines = session_table(SessionReport(verdicts=(verdict(**changed),)), width=120)
    assert said in " ".join(line.strip() for line in lines)


def test_second_look_says_what_was_seen_and_how_long_it_takes():
    first = verdict(reference=0.993, current=0.965, p_value=0.08)
    assert second_look(first, 2, 15.2, share=0.2) == [
        "addition/exact: 0.993 -> 0.965, p 0.080: too close to call",
        "  training 2 more seeds to decide, about 30 s",
        "  about 1 in 5 sessions do this though nothing changed",
    ]
    clear = verdict(reference=0.993, current=0.5, p_value=0.0001, alpha=0.05)
    assert second_look(clear, 2, 15.2, share=0.2)[0] == "addition/exact: 0.993 -> 0.500, p 0.0001: looks worse"
    assert "about 3 in 10 sessions" in second_look(first, 1, None, share=0.3)[2]
    allowed = replace(first, margin=0.01)
    assert "fewer than 1 in 5 sessions" in second_look(allowed, 2, 15.2, share=0.2)[2]


def test_a_session_without_rows_has_no_table():
    assert session_table(SessionReport()) == []


@pytest.mark.parametrize(
    ("part", "header"), [("runs", "runs"), ("evals", "evaluations"), ("verdicts", "gates"), ("notes", "note:")]
)
def test_a_block_is_there_only_where_it_has_rows(part, header):
    lines = session_table(SessionReport(**{part: getattr(SESSION, part)}))
    assert lines[0].startswith(header)
    assert lines[-1] != ""


def test_what_was_not_measured_is_blank_and_never_zero():
    lines = session_table(SessionReport(evals=(evaluation(before=None, after=None, ci95=None, n_scored=0),)))
    assert lines[-1].split() == ["exact", "(200", "without", "a", "value)", "200"]


def test_an_interval_level_that_differs_between_gates_is_not_claimed():
    lines = session_table(SessionReport(verdicts=(verdict(), verdict(alpha=0.01))))
    assert "90%" not in lines[0]
    assert "interval" in lines[0]


def test_a_note_stands_once_with_the_gates_that_it_belongs_to():
    gates = (verdict(notes=(SEEDS,)), verdict("better", notes=(SEEDS,)), verdict("better", notes=(SEEDS,)))
    text = " ".join(line.strip() for line in session_table(SessionReport(verdicts=gates)))
    assert text.count(SEEDS) == 1
    assert f"note: addition/exact no_worse, addition/exact better: {SEEDS}" in text


def test_an_undecided_gate_is_named_again_at_the_end():
    why = "undecided because the largest drop that there can be is 0.364, and the least that would be found is 2.322"
    lines = session_table(
        SessionReport(verdicts=(verdict(outcome="undecided", undecided=why, notes=(SEEDS,)), verdict()))
    )
    assert any(line.startswith("  undecided no_worse exact ") for line in lines)
    assert why in " ".join(line.strip() for line in lines)
    last = " ".join(line.strip() for line in lines[lines.index("", lines.index("") + 1) + 1 :])
    assert last == (
        "undecided: 1 gate could not have failed and has not passed (addition/exact no_worse); under --tunix-require "
        "this fails"
    )


names = st.text(max_size=60)
floats = st.none() | st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(names, names, names, floats, floats, st.integers(60, 200))
def test_no_name_or_value_breaks_the_width_or_reaches_the_terminal_raw(name, metric, reason, before, after, width):
    report = SessionReport(
        runs=(run(name, run_id=metric),),
        evals=(evaluation(metric, name, before=before, after=after, ci95=(-1e6, 1e6)),),
        verdicts=(
            verdict(metric=metric, run_name=name, evalset=reason, reference=before, current=after),
            verdict(metric=metric, outcome="skipped", reason=reason, notes=(name,)),
        ),
        notes=(reason,),
    )
    lines = session_table(report, width=width)
    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_escape_sequences_are_shown_not_sent():
    lines = session_table(SessionReport(runs=(run("a\x1b[31mred\u202e\n"),)))
    assert lines[1].startswith(r"  a\x1b[31mred\u202e\n")


def test_the_json_holds_the_whole_report_and_reads_back():
    text = verdicts_json(SESSION)
    table = json.loads(text)
    assert table.pop("format_version") == 1
    assert msgspec.convert(table, SessionReport) == SESSION
    assert verdicts_json(SESSION) == text
