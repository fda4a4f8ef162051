"""Error rates by simulation, each rule in the situation it is meant for; fixed seeds."""

import math

import numpy as np
import pytest

from tunix_eval.gate.look import compare
from tunix_eval.gate.verdicts import Case
from tunix_eval.records import RunScores
from tunix_eval.specs import GateSpec

ALPHA = 0.05
TRIALS = 400
MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / TRIALS)


def run(values, run_id, weights):
    pairs = {f"i{index:03d}": value for index, value in enumerate(values.tolist())}
    return RunScores(run_id=run_id, seed=0, weights_sha256=weights, values=pairs)


def p_of(before, after, *, margin=0.0, clusters=None):
    """The p of "worse by more than the margin", item by item."""
    gate = GateSpec(rule="no_worse", metric="exact", margin=margin)
    case = Case(gate, "r", "e", [run(after, "now", "w")], [run(before, "b", "w")], False, clusters or {})
    return compare(case).compared.p_value


@pytest.mark.parametrize("n", [25, 100])
@pytest.mark.parametrize("rate", [0.5, 0.95])
def test_mcnemar_keeps_alpha_where_nothing_changed(n, rate):
    rng = np.random.default_rng(n)
    sides = (rng.random((TRIALS, 2, n)) < rate).astype(float)
    assert np.mean([p_of(before, after) <= ALPHA for before, after in sides]) <= MOST


@pytest.mark.parametrize("n", [25, 100])
def test_cluster_t_keeps_alpha_where_items_share_a_source(n):
    rng = np.random.default_rng(n)
    shared = np.repeat(rng.random((TRIALS, 2, n // 5)), 5, axis=2)
    sides = (0.8 * shared + 0.2 * rng.random((TRIALS, 2, n)) > 0.5).astype(float)
    clusters = {f"i{index:03d}": f"c{index // 5}" for index in range(n)}
    found = np.mean([p_of(before, after, clusters=clusters) <= ALPHA for before, after in sides])
    alone = np.mean([p_of(before, after) <= ALPHA for before, after in sides])
    assert found <= MOST < alone


@pytest.mark.parametrize("n", [100, 500])
def test_non_inferior_passes_a_drop_of_the_margin_at_most_alpha_of_the_time(n):
    rng = np.random.default_rng(n)
    sides = (rng.random((TRIALS, 2, n)) < [[0.8], [0.7]]).astype(float)
    passed = [1 - p_of(before, after, margin=0.1) <= ALPHA for before, after in sides]
    assert np.mean(passed) <= MOST
