"""Projects as users have them, in folders of their own. Their trainer is the template plugin's, which needs no JAX."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Loaded here once, so that a pytest inside this process does not load it again for every test.
import tunix_eval.plugin.cases
import tunix_eval.plugin.runfiles
import tunix_eval.report  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "plugins" / "tunix-eval-template" / "src"

RUN_FILE = """
name = "words"
dataset = "word-ending-v1"
renderer = "qa"
tokenizer = "pieces"
trainer = "ngram"
evalsets = ["word-ending-heldout"]
scorers = ["exact", "prefix"]

[model]
preset = "tiny"

[training]
epochs = 1
rows = 8
row_tokens = 64
options = { order = 8 }

[generation]
max_new_tokens = 16
"""

SUMS_FILE = """
name = "sums"
dataset = "addition-v1"
renderer = "plain"

[model]
preset = "tiny"

[training]
steps = 600
rows = 16
row_tokens = 48
"""
"""A run file whose sizes are known before it trains."""
PYPROJECT = f"""
[tool.pytest.ini_options]
pythonpath = ["{TEMPLATE}"]
addopts = ["--strict-markers", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
filterwarnings = ["error"]
"""

CONFTEST = "from tunix_eval_template.hooks import *\n"

WORKERS = ("-n", "2")
"""The options for two workers, with which a session takes seconds longer."""

GATES = """
[[gates]]
rule = "at_least"
metric = "exact"
value = 0.9
"""


class Project:
    """A folder with a run file, a conftest that offers the template's parts, and tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.write("pyproject.toml", PYPROJECT)
        self.write("conftest.py", CONFTEST)
        self.write("words.toml", RUN_FILE)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def test(self, body: str, name: str = "test_words.py") -> None:
        """Write a test file whose tests are about words.toml."""
        self.write(name, f'import pytest\npytestmark = pytest.mark.tunix_train("words.toml")\n{body}')

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest: in this process, which is quicker, unless it starts workers. The environment stays as it was."""
        if "-n" in arguments:
            return self.run_apart(*arguments)
        before = dict(os.environ)
        try:
            return self.pytester.runpytest_inprocess(*arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*arguments)

    def manifests(self) -> list[Path]:
        """Return the manifests of the runs that are recorded."""
        return sorted(self.path.glob("artifacts/runs/*/run_manifest.json"))
