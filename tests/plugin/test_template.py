"""plugins/tunix-eval-template as its users get it: built as a wheel and installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).resolve().parents[2] / "plugins" / "tunix-eval-template"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the template's wheel is installed into."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copytree(TEMPLATE, folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__", "build"))
    offline = ["--no-deps", "--no-index"]
    built = run(*PIP, "wheel", *offline, "--no-build-isolation", "--wheel-dir", "dist", "./source", cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "dist").glob("*.whl")
    added = run(*PIP, "install", *offline, "--target", "site", str(wheel), cwd=folder)
    assert added.returncode == 0, added.stderr
    return folder / "site"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's folder: the template's tests and no source."""
    return shutil.copytree(TEMPLATE / "tests", tmp_path / "project")


def test_the_tests_of_the_template_pass_where_it_is_installed(installed: Path, project: Path) -> None:
    result = run(sys.executable, "-m", "pytest", "-W", "error", cwd=project, path=installed)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"=+ 3\d passed in", result.stdout)


def test_without_the_template_its_names_are_unknown(project: Path) -> None:
    result = run(sys.executable, "-m", "pytest", "--tunix-train", "word_ending.toml", cwd=project)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    assert re.search(
        r"no \w+ named '(word-ending-v1|word-ending-heldout|qa|pieces|ngram|prefix)'; known: ", result.stdout
    )


def test_with_the_plugin_switched_off_the_template_does_no_harm(installed: Path, project: Path) -> None:
    result = run(sys.executable, "-m", "pytest", "-p", "no:tunix_eval", "test_parts.py", cwd=project, path=installed)
    assert result.returncode == 0, result.stdout + result.stderr
