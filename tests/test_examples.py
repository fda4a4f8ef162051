"""The examples as their users run them, on the built-in trainer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

WARM = """
import sys
import pytest

@pytest.mark.tunix_train("addition.toml")
@pytest.mark.tunix_evalset("addition-heldout")
def test_a_warm_session_needs_no_jax(tunix_scorecard):
    assert "jax" not in sys.modules
"""


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart in a folder of its own, with a test of what a session loads."""
    folder = shutil.copytree(
        EXAMPLES / "quickstart",
        tmp_path_factory.mktemp("user") / "quickstart",
        ignore=shutil.ignore_patterns("artifacts"),
    )
    (folder / "test_warm.py").write_text(WARM, encoding="utf-8")
    return folder


def session(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_quickstart_learns_and_reasoning_helps(quickstart: Path) -> None:
    """As `make demo` runs it: two runs, and no second look on any machine."""
    cold = session(quickstart, "test_addition.py", "--tunix-train")
    assert cold.returncode == 0, cold.stdout
    assert "5 passed" in cold.stdout
    assert sum(line.endswith("  trained") for line in cold.stdout.splitlines()) == 2
    assert [line.split()[1] for line in cold.stdout.splitlines() if line.startswith("  passed")] == [
        "no_worse",
        "better",
    ]
    warm = session(quickstart, "--tunix-train", "-n", "2", "--dist", "load")
    assert warm.returncode == 0, warm.stdout
    assert "6 passed" in warm.stdout
    assert "0 runs to train; 1 reused" in warm.stdout


def test_the_snapshot_of_the_quickstart_is_what_its_renderer_prints(quickstart: Path) -> None:
    result = session(quickstart, "test_addition.py", "-k", "format")
    assert "1 passed" in result.stdout, result.stdout


def test_the_committed_baseline_of_the_quickstart_holds_five_good_runs() -> None:
    path = EXAMPLES / "quickstart" / "baselines" / "addition" / "addition-heldout.json"
    baseline = json.loads(path.read_text(encoding="utf-8"))
    assert [run["seed"] for run in baseline["runs"]] == [0, 1, 2, 3, 4]
    scores = baseline["metrics"]["exact"]["scores"]
    assert len(scores) == 200
    for run in range(5):
        assert sum(values[run] for values in scores.values()) / len(scores) == pytest.approx(1, abs=0.015)


def test_every_trace_of_dev_reasoning_goes_through_every_stage(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "dev_reasoning", tmp_path / "dev_reasoning")
    # A model of one layer, and short replies: the traces are what is tested here.
    path = folder / "dev_reasoning.toml"
    text = path.read_text(encoding="utf-8").replace("[model]\n", "[model]\nlayers = 1\n")
    path.write_text(text.replace("max_new_tokens = 64", "max_new_tokens = 8"), encoding="utf-8")
    result = session(folder, "--tunix-train", "--tunix-max-steps", "2", "dev_reasoning.toml")
    assert result.returncode == 0, result.stdout
    assert "4 passed, 1 skipped" in result.stdout
    (manifest,) = folder.glob("artifacts/runs/*/run_manifest.json")
    recorded = json.loads(manifest.read_text(encoding="utf-8"))
    assert (recorded["steps"], recorded["status"], recorded["dataset_key"]) == (2, "truncated", "dev-reasoning-v2")
    assert len((manifest.parent / "eval_after.dev-reasoning-heldout.jsonl").read_text().splitlines()) == 50


RESUMED = """
import pytest

@pytest.mark.tunix_train("addition.toml", training={"steps": 60, "checkpoint_steps": 10}, model={"layers": 1})
def test_run(tunix_run):
    print("WEIGHTS", tunix_run.manifest.weights_sha256, tunix_run.manifest.resumed_from)
    assert [line["step"] for line in tunix_run.metrics] == list(range(1, 61))
"""


def test_a_session_that_is_killed_goes_on_where_it_was_and_ends_with_the_same_bits(quickstart: Path) -> None:
    (quickstart / "test_resumed.py").write_text(RESUMED, encoding="utf-8")
    whole = session(quickstart, "test_resumed.py", "--tunix-train", "-s", "--tunix-artifacts=whole")
    assert whole.returncode == 0, whole.stdout
    command = [sys.executable, "-m", "pytest", "test_resumed.py", "--tunix-train", "--tunix-artifacts=killed"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with subprocess.Popen(command, cwd=quickstart, env=environment, stdout=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 120
        while not list(quickstart.glob("killed/runs/*/checkpoints/[1-9]*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert not list(quickstart.glob("killed/runs/*/run_manifest.json"))
    resumed = session(quickstart, "test_resumed.py", "--tunix-train", "-s", "--tunix-artifacts=killed")
    assert resumed.returncode == 0, resumed.stdout
    assert "resumed" in resumed.stdout
    assert _weights(resumed.stdout) == _weights(whole.stdout)


def _weights(text: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith("WEIGHTS"))
