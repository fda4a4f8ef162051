"""What is said and refused before training: parameters, memory, devices."""

from __future__ import annotations

import pytest
from projects import RUN_FILE, Project

SUMS = """
name = "sums"
dataset = "addition-v1"
renderer = "plain"

[model]
preset = "tiny"

[training]
steps = 600
rows = {rows}
row_tokens = 48
"""


def test_a_plan_says_parameters_and_memory_where_they_are_known(project: Project) -> None:
    project.write("sums.toml", SUMS.format(rows=16))
    result = project.run("--tunix-train", "--tunix-plan", "sums.toml", "words.toml")
    result.stdout.re_match_lines(
        [
            r"  train  sums  \w{16}  600 steps  0\.6M parameters, about \d+ MB$",
            r"  train  words  \w{16}  22 steps$",
        ]
    )


def test_a_training_that_needs_more_memory_than_there_is_names_what_would_help(project: Project) -> None:
    project.write("sums.toml", SUMS.format(rows=100))
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


def test_a_mesh_of_more_devices_than_there_are_ends_the_session(project: Project, workers: tuple[str, ...]) -> None:
    result = project.run_apart("--tunix-mesh", "data=4", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --tunix-mesh data=4: there is 1 of cpu; --tunix-host-devices 4 shows JAX so many"]
    )
    result = project.run_apart("--tunix-mesh", "data=3", "--tunix-host-devices", "4", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tunix-mesh data=3: there are 4 of cpu, which 3 does not divide; *"])
