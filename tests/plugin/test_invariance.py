"""Selection, order and workers never change what is written or what it scores, and nothing is written twice."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from projects import RUN_FILE, Project

ITEMS = 70
COUNTING = """
import os
from tunix_eval_template.ngram import NgramTrainer


class CountingTrainer(NgramTrainer):
    name = "counting"

    def load(self, job, weights):
        model = super().load(job, weights)
        write = model.generate

        def generate(prompts, settings, **more):
            with open(os.environ["CALLS"], "a") as file:
                file.write(f"{weights} {len(prompts)}\\n")
            return write(prompts, settings, **more)

        model.generate = generate
        return model
"""
CONFTEST = """
import json, pathlib
import pytest
from tunix_eval_template.hooks import *

def pytest_tunix_trainers():
    return {"counting": "counting:CountingTrainer"}

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    order = pathlib.Path("order.json")
    if order.exists():
        places = json.loads(order.read_text())
        chosen = {f"test_words.py::test_case[{name}]": place for place, name in enumerate(places)}
        items[:] = sorted((one for one in items if one.nodeid in chosen), key=lambda one: chosen[one.nodeid])
"""
CASES = """
import json, pathlib

@pytest.mark.tunix_evalset("word-ending-heldout")
@pytest.mark.tunix_repeat(2)
def test_case(tunix_case):
    repeats = tunix_case.repeats
    found = [[one.completion.text, one.scores["exact"].value, one.scores["answer_nll"].value] for one in repeats]
    pathlib.Path("seen").mkdir(exist_ok=True)
    pathlib.Path("seen", tunix_case.id).write_text(json.dumps([found, tunix_case.score("answer_nll")]))
"""


@pytest.fixture
def sampled(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A trained project whose tests note what they saw of their item."""
    monkeypatch.setenv("CALLS", str(project.path / "calls"))
    project.write("counting.py", COUNTING)
    text = (project.path / "pyproject.toml").read_text().replace("pythonpath = [", 'pythonpath = [".", ')
    project.write("pyproject.toml", text)
    project.write("conftest.py", CONFTEST)
    spec = RUN_FILE.replace('"ngram"', '"counting"').replace('"prefix"', '"answer_nll"')
    project.write("words.toml", spec.replace("max_new_tokens = 16", "max_new_tokens = 16\ntemperature = 1.2"))
    project.test(CASES)
    project.run("--tunix-train").assert_outcomes(passed=ITEMS)
    return project


def seen(project: Project) -> dict[str, str]:
    """Return what the tests saw since the last call, and forget it with all completions."""
    found = {path.name: path.read_text() for path in (project.path / "seen").iterdir()}
    shutil.rmtree(project.path / "seen")
    shutil.rmtree(project.path / "artifacts" / "completions")
    return found


def calls(project: Project) -> list[str]:
    path: Path = project.path / "calls"
    lines = path.read_text().splitlines()
    path.unlink()
    return lines


def test_random_subsets_orders_and_workers_give_the_same_bits(sampled: Project) -> None:
    every = seen(sampled)
    assert len(every) == ITEMS
    assert calls(sampled) == ["final 140"]

    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, ITEMS), st.sampled_from([(), ("-n", "1"), ("-n", "2")]), st.randoms(use_true_random=False))
    def holds(count: int, workers: tuple[str, ...], draw: random.Random) -> None:
        chosen = draw.sample(sorted(every), count)
        sampled.write("order.json", json.dumps(chosen))
        sampled.run(*workers).assert_outcomes(passed=count)
        assert seen(sampled) == {name: every[name] for name in chosen}
        assert calls(sampled) == ["final 140"]

    holds()
