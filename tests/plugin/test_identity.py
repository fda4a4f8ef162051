"""A run's identity: what changes it, and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import RUN_FILE, Project

from tunix_eval.digest import sha256_source
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.prepare import Prepared, make_format
from tunix_eval.plugin.registry import Offer, Registry
from tunix_eval.plugin.training import identify
from tunix_eval.specs import RunSpec

SPEC: dict[str, Any] = {
    "name": "addition",
    "dataset": "addition-v1",
    "renderer": "plain",
    "model": {"preset": "tiny"},
    "training": {"steps": 10, "row_tokens": 48},
}
CPU = Device("cpu", 1)


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(request.config)


@pytest.fixture(scope="module")
def run_id(registry: Registry) -> Callable[..., str]:
    dataset = registry.dataset("addition-v1")
    forms: dict[tuple[str, str | None], Prepared] = {}

    def identity(device: Device = CPU, max_steps: int | None = None, **changes: Any) -> str:
        spec = RunSpec.model_validate(SPEC | changes)
        form = make_format(registry, renderer=spec.renderer, tokenizer=spec.tokenizer, style=spec.style)
        prepared = Prepared(spec, dataset, form)
        known = forms.setdefault((spec.renderer, form.style), prepared)
        # Encoding 2,000 traces is the same work every time; the cached parts do not depend on the rest of the spec.
        prepared.__dict__["sequences_sha256"] = known.sequences_sha256
        return identify(prepared, registry=registry, device=device, max_steps=max_steps).run_id

    return identity


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "renamed"},
        {"evalsets": ["addition-heldout"]},
        {"gates": [{"rule": "at_least", "metric": "exact", "value": 0.5}]},
        {"generation": {"max_new_tokens": 3}},
        {"model": {"layers": 2, "width": 128, "heads": 4, "mlp_width": 512}},
        {"training": {"steps": 10, "row_tokens": 48, "checkpoint_steps": 3}},
        {"style": "plain"},
        {"max_steps": 10},
        {"max_steps": 11},
    ],
)
def test_what_does_not_change_the_weights_does_not_change_the_run(
    run_id: Callable[..., str], changes: dict[str, Any]
) -> None:
    assert run_id(**changes) == run_id()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"style": "none"},
        {"renderer": "gemma"},
        {"model": {"preset": "tiny", "layers": 3}},
        {"model": {"preset": "tiny", "qk_norm": False}},
        {"training": {"steps": 11, "row_tokens": 48}},
        {"training": {"steps": 10, "row_tokens": 64}},
        {"training": {"steps": 10, "row_tokens": 48, "learning_rate": 1e-3}},
        {"training": {"steps": 10, "row_tokens": 48, "optimizer_options": {"b2": 0.98}}},
        {"training": {"steps": 10, "row_tokens": 48, "steps_per_dispatch": 5}},
        {"max_steps": 9},
        {"device": Device("gpu", 1)},
        {"device": Device("cpu", 2)},
    ],
)
def test_what_changes_the_weights_changes_the_run(run_id: Callable[..., str], changes: dict[str, Any]) -> None:
    # Gemma's turns are too long for rows of 48.
    base = {"training": {"steps": 10, "row_tokens": 128}} if "renderer" in changes else {}
    assert run_id(**base | changes) != run_id(**base)


@given(st.dictionaries(st.sampled_from(["seed", "name"]), st.integers(0, 5)))
def test_equal_specs_have_equal_ids(run_id: Callable[..., str], values: dict[str, int]) -> None:
    changes: dict[str, Any] = {key: f"n{value}" if key == "name" else value for key, value in values.items()}
    assert run_id(**changes) == run_id(**dict(reversed(changes.items())))
    assert (run_id(**changes) == run_id()) == (changes.get("seed", 0) == 0)


def test_a_changed_source_of_the_trainer_changes_the_run(
    run_id: Callable[..., str], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_id()
    monkeypatch.setitem(registry._of("trainer"), "flax", [Offer("tunix_eval.specs:RunSpec", "elsewhere")])
    assert run_id() != before


def test_a_trainer_that_is_edited_while_a_session_goes_on_trains_nothing_twice(project: Project) -> None:
    source = sha256_source(project.write("mine.py", "from tunix_eval_template.ngram import NgramTrainer as Mine\n"))
    hook = "def pytest_tunix_trainers():\n    return {'mine': 'mine:Mine'}\n"
    project.write("conftest.py", f"from tunix_eval_template.hooks import *\n{hook}")
    project.write("words.toml", RUN_FILE.replace('"ngram"', '"mine"'))
    project.test(
        """
        def test_first(tunix_run):
            with open("mine.py", "a") as file:
                file.write("# An edit.")
        def test_second(tunix_train):
            tunix_train("words.toml")
        """.replace("\n        ", "\n")
    )
    project.run("--tunix-train").assert_outcomes(passed=2)
    (manifest,) = project.manifests()
    assert json.loads(manifest.read_text())["trainer"]["source_sha256"] == source
    # The next session knows.
    project.run().assert_outcomes(skipped=2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("JAX_ENABLE_X64", "1"), ("JAX_DEFAULT_MATMUL_PRECISION", "highest"), ("XLA_FLAGS", "--one=1")],
)
def test_a_setting_in_the_environment_that_changes_numbers_changes_the_run(
    run_id: Callable[..., str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    before = run_id()
    monkeypatch.setenv(variable, value)
    assert run_id() != before


def test_the_size_of_the_thread_pool_changes_a_run_on_the_cpu_alone(
    run_id: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Device("gpu", 1)
    monkeypatch.setenv("NPROC", "3")
    before = run_id(), run_id(device=gpu)
    monkeypatch.setenv("NPROC", "5")
    assert run_id() != before[0]
    assert run_id(device=gpu) == before[1]
