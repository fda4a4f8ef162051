"""In what two runs differ: every input is named, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tunix_eval.run_inputs import RunInputs, differences, record_traces, recorded_inputs
from tunix_eval.store import RunManifest

INPUTS: dict[str, Any] = {
    "sequences": "a" * 64,
    "holdout": "b" * 64,
    "packing_sha256": "c" * 64,
    "vocab_size": 259,
    "pad_id": 256,
    "model": {"width": 128, "init_std": 0.02, "qk_norm": True},
    "initial_weights": None,
    "training": {"learning_rate": 2e-3, "optimizer_options": {"b2": 0.98}, "clip_norm": None},
    "seed": 0,
    "stop_after": None,
    "trainer": {"name": "flax", "source_sha256": "d" * 64},
    "environment": {
        "packages": {"jax": "0.10.0"},
        "platform": "cpu",
        "devices": 1,
        "cpu_threads": 2,
        "xla_flags": "",
        "variables": {"JAX_ENABLE_X64": "0"},
    },
    "mesh": {"data": 2},
}
SETTINGS = {"renderer": {"name": "plain", "version": "1"}, "style": "numbered", "step_weight": 1.0, "holdout": 0.1}
TRACES = {f"t-{number}": f"{number:016x}" for number in range(2000)}
RUN = RunInputs(INPUTS, SETTINGS, "sums-v1", "e" * 64, TRACES)


def leaves(table: Mapping[str, Any], *path: str) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        yield from leaves(value, *path, name) if isinstance(value, dict) else [(*path, name)]


def changed(table: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {**table, name: changed(table[name], tuple(rest), value) if rest else value}


def between(before: RunInputs, **after: Any) -> list[str]:
    return [str(one) for one in differences(before, RunInputs(**(vars(before) | after)))]


@pytest.mark.parametrize("path", list(leaves(INPUTS)), ids=".".join)
def test_each_input_that_differs_is_named_alone(path: tuple[str, ...]) -> None:
    known = {"sequences": "traces", "packing_sha256": "packing", "source_sha256": "trainer flax", "name": "trainer"}
    known |= {"cpu_threads": "thread pool", "xla_flags": "XLA_FLAGS", "stop_after": "--tunix-max-steps"}
    known |= {"initial_weights": "weights of init_from"}
    (line,) = between(RUN, inputs=changed(INPUTS, path, "other"))
    assert known.get(path[-1], path[-1]) in line
    assert between(RUN) == []


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ({"training": INPUTS["training"] | {"learning_rate": 2e-2}}, "learning_rate 0.002 -> 0.02"),
        ({"training": INPUTS["training"] | {"optimizer_options": {}}}, "optimizer_options.b2 0.98 -> unset"),
        ({"training": INPUTS["training"] | {"clip_norm": 1.0}}, "clip_norm unset -> 1.0"),
        ({"model": INPUTS["model"] | {"qk_norm": False}}, "qk_norm true -> false"),
        ({"stop_after": 2}, "--tunix-max-steps unset -> 2"),
        ({"mesh": {}}, "mesh.data 2 -> unset"),
        ({"trainer": {"name": "flax", "source_sha256": "0"}}, "trainer flax: its source changed"),
        ({"environment": INPUTS["environment"] | {"packages": {"jax": "0.11.0"}}}, "jax 0.10.0 -> 0.11.0"),
        ({"environment": INPUTS["environment"] | {"cpu_threads": 8}}, "thread pool 2 -> 8"),
    ],
)
def test_values_are_shown_as_users_write_them(inputs: dict[str, Any], line: str) -> None:
    assert between(RUN, inputs=INPUTS | inputs) == [line]


@pytest.mark.parametrize(
    ("traces", "line"),
    [
        (TRACES | {"t-7": "0"}, "traces: 1 of 2,000 changed (t-7)"),
        (TRACES | dict.fromkeys(["t-1", "t-2", "t-3", "t-4"], "0"), "traces: 4 of 2,000 changed (t-1, t-2, t-3, ..)"),
        (TRACES | {"new": "0"}, "traces: 1 of 2,000 added (new)"),
        (dict(list(TRACES.items())[:-1]) | {"new": "0"}, "traces: 1 of 2,000 added (new), 1 removed (t-1999)"),
        (dict(reversed(TRACES.items())), "traces: the same in another order"),
    ],
)
def test_traces_that_changed_are_counted_and_named(traces: dict[str, str], line: str) -> None:
    other = INPUTS | {"sequences": "0" * 64}
    assert between(RUN, inputs=other, dataset_sha256="0", traces=traces) == [line]
    named = between(RUN, inputs=other, dataset="sums-v2", dataset_sha256="0", traces=traces)
    assert named == ["dataset sums-v1 -> sums-v2", line]


def test_another_style_hides_traces_that_it_changed() -> None:
    other = {"inputs": INPUTS | {"sequences": "0" * 64}, "settings": SETTINGS | {"style": "none"}}
    traces = dict.fromkeys(TRACES, "0")
    assert between(RUN, **other, traces=traces) == ["style numbered -> none"]
    # What does not change a token is no reason.
    assert between(RUN, settings=other["settings"]) == []


def test_other_held_out_traces_are_a_difference() -> None:
    other = INPUTS | {"holdout": "0" * 64}
    assert between(RUN, inputs=other) == ["holdout: its traces changed"]
    assert between(RUN, inputs=other, settings=SETTINGS | {"holdout": "v2"}) == ["holdout 0.1 -> v2"]


def test_damaged_digests_of_traces_explain_nothing(tmp_path: Path) -> None:
    manifest = RunManifest.model_construct(
        recipe={"style": "none"},
        holdout=None,
        renderer={},
        tokenizer={},
        truncation=None,
        inputs=INPUTS,
        dataset_key="sums-v1",
        dataset_sha256="e" * 64,
    )
    record_traces(tmp_path, {"a\nb": "1", "c": "2"})
    assert recorded_inputs(tmp_path, manifest).traces == {"a\nb": "1", "c": "2"}
    (tmp_path / "traces.jsonl").write_bytes(b'{"id": "a"}\n\xff')
    assert recorded_inputs(tmp_path, manifest).traces == {}
