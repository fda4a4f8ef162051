"""Figures on another scale than the metric's."""

import math

import pytest

from tunix_eval.errors import SpecError
from tunix_eval.gate import check_scale
from tunix_eval.specs import GateSpec

UNIT = (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "bounds", "message"),
    [
        (
            {"rule": "no_worse", "margin": 5},
            UNIT,
            "addition/exact: margin 5 is on the wrong scale: exact lies from 0 to 1, so that 5 points are 0.05",
        ),
        (
            {"rule": "at_least", "value": 95},
            UNIT,
            "addition/exact: value 95 is on the wrong scale: exact lies from 0 to 1, so that 95 points are 0.95",
        ),
        (
            {"rule": "no_worse", "seed_noise": 2},
            UNIT,
            "seed_noise 2 is on the wrong scale: exact lies from 0 to 1, so that no mean varies by more than 0.5",
        ),
        ({"rule": "non_inferior", "margin": 1.0}, UNIT, "margin 1 is on the wrong scale: exact lies from 0 to 1"),
        (
            {"rule": "max_drop", "drop": 2},
            UNIT,
            "drop 2 is on the wrong scale: exact lies from 0 to 1, so that 2 points are 0.02",
        ),
        ({"rule": "at_most", "value": -0.1}, UNIT, "value -0.1 is on the wrong scale: exact lies from 0 to 1"),
        ({"rule": "at_least", "value": 6}, (1.0, 5.0), "value 6 is on the wrong scale: exact lies from 1 to 5"),
        ({"rule": "at_most", "value": -1}, (0.0, math.inf), "value -1 is on the wrong scale: exact lies from 0 to inf"),
    ],
)
def test_a_figure_that_the_metric_cannot_reach_is_refused(arguments, bounds, message):
    with pytest.raises(SpecError) as caught:
        check_scale(GateSpec(metric="exact", **arguments), bounds, where="addition/exact")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize("share", ["100%", "150 %"])
@pytest.mark.parametrize("bounds", [UNIT, (0.0, math.inf)])
def test_a_fall_by_the_whole_reference_or_more_is_refused(share, bounds):
    gate = GateSpec(rule="max_drop", metric="exact", drop=share)
    with pytest.raises(SpecError) as caught:
        check_scale(gate, bounds, where="addition/exact", lower_is_better=False)
    scale = f"exact lies from 0 to {bounds[1]:g}"
    assert str(caught.value) == f"addition/exact: drop {share} never fails: {scale}; name a share below 100%"


def test_a_share_that_a_mean_can_exceed_is_taken():
    for share, bounds, lower in (("99.9%", UNIT, False), ("150%", UNIT, True), ("150%", (-1.0, 1.0), False)):
        gate = GateSpec(rule="max_drop", metric="exact", drop=share)
        check_scale(gate, bounds, where="addition/exact", lower_is_better=lower)


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [
        ({"rule": "no_worse"}, UNIT),
        ({"rule": "no_worse", "margin": 0.0}, UNIT),
        ({"rule": "at_least", "value": 1.0}, UNIT),
        ({"rule": "at_most", "value": 0.0}, UNIT),
        ({"rule": "max_drop", "drop": "50%"}, UNIT),
        ({"rule": "no_worse", "margin": 5}, (0.0, math.inf)),
        ({"rule": "at_least", "value": 95}, None),
    ],
)
def test_a_figure_that_can_be_reached_is_taken(arguments, bounds):
    check_scale(GateSpec(metric="exact", **arguments), bounds, where="addition/exact")
