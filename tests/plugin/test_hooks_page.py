"""docs/hooks.md, followed to the letter by somebody who has never seen the project."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tunix_eval.data import read_dataset

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hooks.md"
FILE = re.compile(r"^`(\w+\.\w+)`.*?\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(pytester: pytest.Pytester) -> pytest.Pytester:
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (pytester.path / name).write_text(text, encoding="utf-8")
    assert sorted(path.name for path in pytester.path.iterdir()) == [
        "arrow.toml",
        "arrow_renderer.py",
        "conftest.py",
        "squares.py",
        "test_arrow.py",
    ]
    return pytester


def test_the_renderer_of_the_page_passes_its_tests(example: pytest.Pytester) -> None:
    example.runpytest_subprocess().assert_outcomes(passed=2)


def test_the_run_file_of_the_page_goes_through_every_stage(example: pytest.Pytester) -> None:
    result = example.runpytest_subprocess("--tunix-train", "--tunix-max-steps", "2", "arrow.toml")
    result.assert_outcomes(passed=4)


def test_the_tests_of_the_page_are_collected_without_the_plugin(example: pytest.Pytester) -> None:
    result = example.runpytest_subprocess("-p", "no:tunix_eval", "-k", "laws")
    result.assert_outcomes(passed=1, deselected=1)


def test_the_generator_of_the_page_makes_a_dataset(example: pytest.Pytester) -> None:
    with (example.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write('\npytest_plugins = ["squares"]\n')
    made = example.run(
        Path(sys.executable).with_name("tunix-eval"), "generate", "squares", "--as", "squares-v1", "--count", "500"
    )
    assert made.ret == 0
    assert len(read_dataset(example.path / "datasets" / "squares-v1").traces) == 500
