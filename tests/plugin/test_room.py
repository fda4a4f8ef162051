"""What is said and refused before training: parameters, memory, devices."""

from __future__ import annotations

import pytest
from projects import CONFTEST, RUN_FILE, SUMS_FILE, Project


def test_a_plan_says_parameters_and_memory_where_they_are_known(project: Project) -> None:
    project.write("sums.toml", SUMS_FILE)
    result = project.run("--tunix-train", "--tunix-plan", "sums.toml", "words.toml")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines(
        [
            r"  train  sums  \w{16}  600 steps  0\.6M parameters, about \d+ MB$",
            r"  train  words  \w{16}  22 steps$",
        ]
    )


def test_a_training_that_needs_more_memory_than_there_is_names_what_would_help(project: Project) -> None:
    project.write("sums.toml", SUMS_FILE.replace("rows = 16", "rows = 100"))
    project.write(
        "limits.py",
        "from tunix_eval.plugin import device\n"
        "def pytest_configure():\n    device._MEMORY_LIMITS = (__file__ + '.limit',)\n",
    )
    project.write("limits.py.limit", "20000000")
    project.write("words.toml", RUN_FILE)
    result = project.run_apart("-p", "limits", "--tunix-train", "--tunix-plan", "sums.toml")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.re_match_lines(
        [
            r"  error  .*: run 'sums' \(\w{16}\): training needs about \d+ MB of memory, the device has 20 MB; "
            r".*rows = 50 about \d+ MB.* would need less"
        ]
    )


def test_a_mesh_of_more_devices_than_there_are_ends_the_session(project: Project) -> None:
    result = project.run_apart("--tunix-mesh", "data=4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --tunix-mesh data=4: there is 1 of cpu; --tunix-host-devices 4 shows JAX so many"]
    )
    result = project.run_apart("--tunix-mesh", "data=3", "--tunix-host-devices", "4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tunix-mesh data=3: there are 4 of cpu, which 3 does not divide; *"])


WATCHING = """
from tunix_eval.store import Store
from tunix_eval_template.ngram import NgramTrainer

def alone(job):
    return Store(job.directory.parents[1]).is_held("device-gpu-0")

class Watching(NgramTrainer):
    name = "watching"

    def train(self, job, *, on_progress):
        assert alone(job)
        return super().train(job, on_progress=on_progress)

    def load(self, job, weights):
        assert alone(job)
        return super().load(job, weights)
"""
SHARED = """
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.state import DEVICE_KEY

def pytest_configure(config):
    config.stash[DEVICE_KEY] = Device("cpu", 1, lock="device-gpu-0")

def pytest_tunix_trainers():
    return {"watching": "watching:Watching"}
"""


def test_workers_that_share_a_device_train_and_write_one_after_another(
    project: Project, workers: tuple[str, ...]
) -> None:
    project.write("watching.py", WATCHING)
    project.write("conftest.py", CONFTEST + SHARED)
    project.write("words.toml", RUN_FILE.replace('trainer = "ngram"', 'trainer = "watching"'))
    project.test(
        "@pytest.mark.tunix_evalset('word-ending-heldout')\n@pytest.mark.parametrize('n', range(2))\n"
        "def test_scores(tunix_scorecard, tunix_session, n):\n"
        "    assert tunix_session.device.lock == 'device-gpu-0'\n"
    )
    project.run_apart("--tunix-train", *workers).assert_outcomes(passed=2)


def test_a_plan_without_a_terminal_is_no_mistake(project: Project) -> None:
    project.test("def test_run(tunix_run):\n    pass\n")
    assert project.run_apart("--tunix-train", "--tunix-plan", "-p", "no:terminal").ret == pytest.ExitCode.OK
