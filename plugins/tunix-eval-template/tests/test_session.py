"""The package in use: a run file that names one of each, in a pytest of its own."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

RUN_FILE = Path(__file__).with_name("word_ending.toml")


def test_a_run_file_that_names_one_of_each_trains_evaluates_and_passes(pytester: pytest.Pytester) -> None:
    shutil.copy(RUN_FILE, pytester.path)
    result = pytester.runpytest_subprocess("--tunix-train", RUN_FILE.name)
    result.assert_outcomes(passed=5)
    (metrics,) = pytester.path.glob("artifacts/runs/*/metrics.jsonl")
    losses = [json.loads(line)["loss"] for line in metrics.read_text(encoding="utf-8").splitlines()]
    # 256 bytes, padding, 4 pieces and <eos>: the first token of all costs log 262; counting makes the later ones cheap.
    assert losses[0] < math.log(262)
    assert losses[-1] < 0.2


def test_a_second_session_trains_nothing(pytester: pytest.Pytester) -> None:
    shutil.copy(RUN_FILE, pytester.path)
    pytester.runpytest_subprocess("--tunix-train", RUN_FILE.name)
    (manifest,) = pytester.path.glob("artifacts/runs/*/run_manifest.json")
    before = manifest.stat().st_mtime_ns
    pytester.runpytest_subprocess("--tunix-train", RUN_FILE.name).assert_outcomes(passed=5)
    assert manifest.stat().st_mtime_ns == before


def test_a_mistake_in_a_training_option_is_one_line_with_a_suggestion(pytester: pytest.Pytester) -> None:
    text = RUN_FILE.read_text(encoding="utf-8").replace("order = 8", "oder = 8")
    (pytester.path / RUN_FILE.name).write_text(text, encoding="utf-8")
    result = pytester.runpytest_subprocess("--tunix-train", RUN_FILE.name)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*trainer 'ngram': unknown training option 'oder'. Did you mean 'order'?*"])


def test_a_trainer_without_jax_never_wakes_it(pytester: pytest.Pytester) -> None:
    shutil.copy(RUN_FILE, pytester.path)
    pytester.makeconftest("import sys\n\ndef pytest_unconfigure():\n    print('JAX', 'jax' in sys.modules)\n")
    result = pytester.runpytest_subprocess("--tunix-train", RUN_FILE.name)
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["JAX False"])
