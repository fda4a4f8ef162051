"""What an installed and unused plugin costs others: nothing that a test can see."""

from __future__ import annotations

import subprocess
import sys

import pytest
from projects import Project

HEAVY = ("jax", "numpy", "pydantic", "msgspec", "flax", "optax", "orbax", "scipy", "tomli", "filelock")


def test_an_idle_session_imports_nothing_heavy(project: Project) -> None:
    (project.path / "conftest.py").unlink()
    project.write(
        "test_idle.py",
        f"import sys\ndef test_idle():\n    assert [name for name in {HEAVY!r} if name in sys.modules] == []\n",
    )
    # syrupy and hypothesis are plugins of their own; what they import is theirs.
    result = project.run_apart("-p", "no:syrupy", "-p", "no:hypothesispytest", "test_idle.py")
    result.assert_outcomes(passed=1)
    assert not (project.path / "artifacts").exists()


def test_loading_the_plugin_imports_pytest_and_the_standard_library_alone() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import tunix_eval.plugin\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['tunix_eval']"


def test_a_session_that_decides_from_records_imports_no_jax(project: Project) -> None:
    project.test(
        "import sys\n@pytest.mark.tunix_gate('at_least', 'exact', value=0.9)\ndef test_gate(tunix_gate):\n"
        "    tunix_gate.check()\n    assert 'jax' not in sys.modules\n"
    )
    project.run_apart("--tunix-train").assert_outcomes(passed=1)


def test_without_the_plugin_other_tests_run_untouched(project: Project, workers: tuple[str, ...]) -> None:
    project.write(
        "conftest.py",
        "import pytest\n@pytest.hookimpl(optionalhook=True)\ndef pytest_tunix_renderers():\n    return {}\n",
    )
    project.write("test_other.py", "def test_other():\n    assert True\n")
    project.run_apart("-p", "no:tunix_eval", *workers).assert_outcomes(passed=1)


def test_other_tests_beside_ours_run_untouched(project: Project) -> None:
    project.test("def test_run(tunix_run):\n    pass\n")
    project.write("test_other.py", "def test_other():\n    assert True\n")
    project.run_apart().assert_outcomes(passed=1, skipped=1)


def test_jax_that_woke_too_early_is_said(project: Project) -> None:
    project.write("conftest.py", "import jax\njax.devices()\n")
    result = project.run_apart("--tunix-device", "cpu", "--tunix-host-devices", "3", "-W", "ignore")
    # The device is chosen before conftest files are loaded, so that theirs cannot come too early.
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    early = project.write("early.py", "import jax\njax.devices()\n")
    assert early.exists()
    result = project.run_apart("-p", "early", "--tunix-host-devices", "3", "-W", "ignore")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --tunix-device auto: too late: JAX was initialised before pytest chose*"])
