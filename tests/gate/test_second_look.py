"""The second look at a near drop, and its error rates on the twelve honest seeds."""

import json
from pathlib import Path

import numpy as np
import pytest

from tunix_eval.gate import decide
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

SEEDS = json.loads((Path(__file__).parent / "data/twelve_seeds.json").read_text())
EXACT = np.array([[float(mark) for mark in SEEDS["exact"][seed]] for seed in SEEDS["seeds"]])
N = 200
DROP = 0.05


def seed_run(index, *, drop=0.0):
    """A seed's run, of whose right items a random share of the items is turned wrong."""
    marks = EXACT[index, :N].copy()
    marks[np.random.default_rng(index).choice(np.flatnonzero(marks), round(drop * N), replace=False)] = 0.0
    values = {f"i{item:03d}": value for item, value in enumerate(marks.tolist())}
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
        (right(190, "now"), BASELINE, {"confirm_below": 0.1}),
    ],
    ids=["no drop", "confirm 0", "same weights", "another threshold"],
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


def test_of_the_twelve_seeds_alarms_are_rare_and_five_points_are_found():
    """Random baselines of 5, a first look and two fresh runs."""
    rng, sessions = np.random.default_rng(8), 200
    alarms = hits = 0
    for _ in range(sessions):
        picked = rng.permutation(12)[:8]
        baseline = [seed_run(one) for one in picked[:5]]
        for drop in (0.0, DROP):
            runs = [seed_run(one, drop=drop) for one in picked[5:]]
            failed = judge(runs[:1], baseline, Fresh(runs[1:])).outcome == "failed"
            alarms, hits = alarms + (failed and not drop), hits + (failed and drop > 0)
    assert alarms / sessions <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / sessions)
    assert hits / sessions >= 0.85
