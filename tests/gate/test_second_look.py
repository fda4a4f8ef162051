"""The second look at a near drop, and its error rates on the twelve honest seeds."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from tunix_eval.gate import decide
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

SEEDS = json.loads((Path(__file__).parent / "data/twelve_seeds.json").read_text())
EXACT = np.array([[float(mark) for mark in SEEDS["exact"][seed]] for seed in SEEDS["seeds"]])
N = 200
DROP = 0.05


def seed_run(index, *, drop=0.0):
    values = {f"i{item:03d}": value - drop for item, value in enumerate(EXACT[index, :N].tolist())}
    return RunScores(run_id=f"r{index}", seed=index, weights_sha256=f"w{index}", values=values)


def right(count, run_id, weights=None):
    values = {f"i{item:03d}": float(item < count) for item in range(N)}
    return RunScores(run_id=run_id, seed=0, weights_sha256=weights or run_id, values=values)


class Fresh:
    """Gives runs, and remembers how many were asked for."""

    def __init__(self, runs=()):
        self.runs, self.asked = runs, []

    def __call__(self, count):
        self.asked.append(count)
        return self.runs


def judge(current, reference, fresh, **arguments):
    return decide(
        GateSpec(rule="no_worse", metric="exact", **arguments),
        run_name="addition",
        evalset="heldout",
        current=current,
        reference=reference,
        lower_is_better=False,
        fresh=fresh,
    )


BASELINE = [right(count, f"b{count}") for count in (192, 190, 194, 191, 193)]


def test_a_near_drop_asks_once_for_fresh_runs_and_all_of_them_decide():
    fresh = Fresh([right(191, "f1"), right(193, "f2")])
    verdict = judge((right(187, "now"),), BASELINE, fresh)
    assert fresh.asked == [2]
    assert verdict.outcome == "passed"
    assert "3 runs against 5" in verdict.reason
    assert verdict.current == pytest.approx((187 + 191 + 193) / 3 / N)


def test_a_drop_that_fresh_runs_share_fails():
    assert judge([right(186, "now")], BASELINE, Fresh([right(185, "f1"), right(187, "f2")])).outcome == "failed"


def test_without_fresh_runs_the_first_look_decides():
    first = judge([right(180, "now")], BASELINE, None)
    fresh = Fresh([])
    assert judge([right(180, "now")], BASELINE, fresh) == first
    assert (first.outcome, fresh.asked) == ("failed", [2])


@pytest.mark.parametrize(
    ("current", "reference", "arguments"),
    [
        (right(192, "now"), BASELINE, {}),
        (right(180, "now"), BASELINE, {"confirm": 0}),
        (right(180, "now", weights="b194"), BASELINE, {}),
        (right(180, "now"), BASELINE[:1], {"margin": 0.0}),
    ],
    ids=["no drop", "confirm 0", "same weights", "one baseline run"],
)
def test_no_fresh_runs_are_asked_for(current, reference, arguments):
    fresh = Fresh([right(192, "f1")])
    assert judge([current], reference, fresh, **arguments).n_items == N
    assert fresh.asked == []


def test_a_fresh_run_without_a_value_fails_the_gate():
    broken = right(192, "f1")
    broken.values["i004"] = None
    verdict = judge([right(180, "now")], BASELINE, Fresh([broken]))
    assert verdict.outcome == "failed"
    assert "1 item (i004) of 200 without a value in current run f1" in verdict.reason


def test_a_fresh_run_with_the_weights_of_a_baseline_run_is_still_a_run():
    verdict = judge([right(180, "now")], BASELINE, Fresh([right(192, "f1", weights="b194")]))
    assert verdict.unit == "runs"


def resamplings():
    """Every baseline of 5, first look of 1 and two more, of 12 runs: int[83160, 8]."""
    rows = []
    for baseline in itertools.combinations(range(12), 5):
        rest = [run for run in range(12) if run not in baseline]
        for first in rest:
            others = [run for run in rest if run != first]
            rows += [(*baseline, first, *more) for more in itertools.combinations(others, 2)]
    return np.array(rows)


def p_values(baseline, current):
    """One-sided two-sample t of each row."""
    k, j = baseline.shape[1], current.shape[1]
    squares = k * baseline.var(axis=1) + j * current.var(axis=1)
    stderr = np.sqrt(squares / (j + k - 2) * (1 / j + 1 / k))
    return special.stdtr(j + k - 2, (current.mean(axis=1) - baseline.mean(axis=1)) / stderr)


def alarms(means, rows, drop):
    baseline, current = means[rows[:, :5]], means[rows[:, 5:]] - drop
    return (p_values(baseline, current[:, :1]) <= 0.2) & (p_values(baseline, current) <= 0.05)


def test_over_all_resamplings_of_the_twelve_seeds_alarms_are_rare_and_five_points_are_found():
    rows, means = resamplings(), EXACT[:, :N].mean(axis=1)
    assert len(rows) == 792 * 7 * 15
    honest, worse = alarms(means, rows, 0.0), alarms(means, rows, DROP)
    assert honest.mean() <= 0.07
    assert worse.mean() >= 0.85
    for index in np.random.default_rng(8).choice(len(rows), 60, replace=False):
        for drop, expected in ((0.0, honest), (DROP, worse)):
            runs = [seed_run(run, drop=drop) for run in rows[index, 5:]]
            verdict = judge(runs[:1], [seed_run(run) for run in rows[index, :5]], Fresh(runs[1:]))
            assert (verdict.outcome == "failed") == expected[index]
