"""docs/hooks.md, followed to the letter by somebody who has never seen the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hooks.md"
FILE = re.compile(r"^`([\w.]+)`.*?\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(pytester: pytest.Pytester) -> pytest.Pytester:
    for name, text in FILE.findall(PAGE.read_text(encoding="utf-8")):
        (pytester.path / name).write_text(text, encoding="utf-8")
    assert sorted(path.name for path in pytester.path.iterdir()) == [
        "arrow.toml",
        "arrow_renderer.py",
        "conftest.py",
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
