"""Which pytest items are ours, and what their markers and fixtures are called. Light: an idle session loads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tunix_eval.errors import suggestion

MARKERS = {
    "tunix_dataset": "tunix_dataset(name_or_path): the dataset that tunix_dataset, tunix_turns and others show",
    "tunix_renderer": "tunix_renderer(name_or_path): the renderer, in place of the run file's",
    "tunix_train": "tunix_train(path_or_name, **overrides): the run file, relative to the test file; overrides nest",
    "tunix_predictions": "tunix_predictions(path, **keys): completions that something else wrote, relative to the test "
    "file; keys as in a run file: name, answer, scorers, weights, seed",
    "tunix_repeat": "tunix_repeat(n): n sampled completions an item; the run file needs a temperature",
    "tunix_evalset": "tunix_evalset(name_or_path): the evalset that tunix_case, tunix_scorecard or tunix_gate is about",
    "tunix_gate": "tunix_gate(rule, metric, **args): a gate that tunix_gate.check() decides; rules: no_worse, "
    "non_inferior, better, at_least, at_most, max_drop",
    "tunix_deterministic": "tunix_deterministic(steps=20): train the run's first steps twice and compare the bits, "
    "before the test's body",
    "tunix_device": "tunix_device(kind, min_count=1): skip unless the session runs on this kind of device",
}
DATA_FIXTURES = frozenset(
    {"tunix_dataset", "tunix_renderer", "tunix_tokenizer", "tunix_turns", "tunix_sequences", "tunix_batches"}
)
RUN_FIXTURES = frozenset({"tunix_run", "tunix_completions", "tunix_scorecard", "tunix_gate"})
EVALSET_FIXTURES = frozenset({"tunix_case", "tunix_completions", "tunix_scorecard", "tunix_gate"})
FIXTURES = (
    DATA_FIXTURES | RUN_FIXTURES | EVALSET_FIXTURES | {"tunix_device", "tunix_session", "tunix_snapshot", "tunix_train"}
)
UNTAKEN_KEY = pytest.StashKey[str]()
"""On the first test of a class or module whose gate no test decides: why it fails."""
_REFUSED_MARKER = re.compile(r"'(tunix\w*)' not found in `markers`|pytest\.mark\.(tunix\w*) - is this a typo")


def fixtures_of(item: pytest.Item) -> frozenset[str]:
    """Return the names of the fixtures of ours, or near ours, that an item takes."""
    return frozenset(name for name in getattr(item, "fixturenames", ()) if name.startswith("tunix_"))


def is_ours(item: pytest.Item) -> bool:
    """Tell whether an item uses the plugin: by a fixture, or by a marker on the function itself."""
    return bool(
        fixtures_of(item)
        or any(mark.name.startswith("tunix_") for mark in item.own_markers)
        or item.get_closest_marker("tunix_device")
        or getattr(item, "tunix_stage", None)
        or UNTAKEN_KEY in item.stash
    )


def is_gate(item: pytest.Item) -> bool:
    """Tell whether an item decides gates."""
    return "tunix_gate" in fixtures_of(item) or getattr(item, "tunix_stage", None) == "gate"


def find_untaken_gates(items: Sequence[pytest.Item], config: pytest.Config) -> None:
    """Note each class and module that is marked tunix_gate and of which no test takes the fixture that decides it."""
    if config.option.tunix_off or config.getoption("lf", False) or any("::" in arg for arg in config.args):
        # Where single tests are named, or those that failed, the others are not there to be looked at.
        return
    untaken: dict[str, tuple[str, pytest.Item]] = {}
    taken: set[str] = set()
    for item in items:
        for node in item.listchain()[:-1]:
            if any(mark.name == "tunix_gate" for mark in node.own_markers):
                untaken.setdefault(node.nodeid, (node.name, item))
                taken |= {node.nodeid} if is_gate(item) else set()
    for nodeid, (name, item) in untaken.items():
        if nodeid not in taken:
            item.stash[UNTAKEN_KEY] = (
                f"{name} is marked tunix_gate and none of its tests takes the fixture tunix_gate, which decides it"
            )


def misspelt(item: pytest.Item) -> str | None:
    """Return one line for a marker or fixture that looks like ours and is none."""
    for mark in item.iter_markers():
        if mark.name.startswith("tunix") and mark.name not in MARKERS:
            return _no_marker(mark.name)
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    for name in sorted(fixtures_of(item) - FIXTURES - set(definitions)):
        return f"no fixture '{name}'; known: {', '.join(sorted(FIXTURES))}.{suggestion(name, FIXTURES)}"
    return None


def misspelt_marker(text: str) -> str | None:
    """Return one line where pytest itself refused a marker that looks like ours."""
    refused = _REFUSED_MARKER.search(text)
    return _no_marker(refused[1] or refused[2]) if refused else None


def _no_marker(name: str) -> str:
    return f"no marker '{name}'; known: {', '.join(sorted(MARKERS))}.{suggestion(name, MARKERS)}"
