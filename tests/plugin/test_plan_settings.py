"""Settings are judged by the plan: nothing is trained before its optimizer is known to be one."""

from __future__ import annotations

import json

import pytest
from projects import SUMS_FILE, Project

from tunix_eval.store import write_atomic

AWAKE = """
import json, pathlib, sys

def pytest_sessionfinish(session):
    bridge = sys.modules.get("jax._src.xla_bridge")
    woke = bridge is not None and bridge.backends_are_initialized()
    pathlib.Path("jax.json").write_text(json.dumps({"imported": "jax" in sys.modules, "woke": woke}))
"""


MISTAKES = {
    "unknown": (
        'optimizer = "adamwx"',
        "training.optimizer: optax has no optimizer 'adamwx'. Did you mean 'adamw'?",
    ),
    "odd": ("optimizer_options = { b3 = 0.5 }", "training.optimizer_options: adamw takes no 'b3'. "),
    "high": ('optimizer_options = { b2 = "high" }', "training.optimizer_options: adamw refuses {'b2': 'high'}: "),
    "mask": (
        'optimizer = "sgd"\ndecay_mask = "matrices"',
        "training.decay_mask: sgd has no weight decay that could be masked; ",
    ),
    "idle": (
        "spike_factor = 3.0",
        'idle.toml: training.spike_factor is 3.0 and changes nothing: training.spike is "ignore"; give ',
    ),
}


def written(project: Project, settings: dict[str, str]) -> list[str]:
    """Write run files, and return their names."""
    return [
        project.write(f"{name}.toml", SUMS_FILE.replace('"sums"', f'"{name}"') + said).name
        for name, said in settings.items()
    ]


def test_every_setting_that_is_none_is_one_line_in_the_plan(project: Project) -> None:
    files = written(project, {name: settings for name, (settings, _) in MISTAKES.items()})
    project.test(
        "".join(f"@pytest.mark.tunix_train('{file}')\ndef test_{file[:-5]}(tunix_run): ...\n" for file in files)
    )
    result = project.run_apart("--tunix-train", "--tunix-plan")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    errors = [line for line in result.outlines if line.startswith("  error ")]
    assert len(errors) == len(MISTAKES)
    for (name, (_, message)), line in zip(MISTAKES.items(), errors, strict=True):
        assert f"::test_{name}: " in line
        assert message in line


@pytest.mark.parametrize(
    ("settings", "imported"),
    [
        ({"plain": "", "masked": 'optimizer = "adamw"\ndecay_mask = "matrices"'}, False),
        ({"muon": 'optimizer = "muon"'}, True),
    ],
)
def test_a_plan_imports_jax_for_an_optimizer_of_the_users_choice_alone_and_wakes_no_device(
    project: Project, settings: dict[str, str], imported: bool
) -> None:
    project.write("awake.py", AWAKE)
    result = project.run_apart("-p", "awake", "--tunix-train", "--tunix-plan", *written(project, settings))
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"  train  {name}  *  600 steps  0.6M parameters, about *" for name in settings])
    assert json.loads((project.path / "jax.json").read_text()) == {"imported": imported, "woke": False}


def test_what_a_tests_body_asks_for_is_judged_before_it_begins(project: Project) -> None:
    (file,) = written(project, {"sums": ""})
    project.test(f"def test_sums(tunix_train): tunix_train('{file}', training={{'optimizer': 'adamwx'}})")
    result = project.run("--tunix-train")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*training.optimizer: optax has no optimizer 'adamwx'. Did you mean 'adamw'?*"])
    assert not any(project.path.glob("artifacts/runs/*"))


def test_what_an_earlier_session_has_done_is_in_the_plan(project: Project) -> None:
    (file,) = written(project, {"sums": ""})
    result = project.run("--tunix-train", "--tunix-plan", file)
    (line,) = (line for line in result.outlines if line.startswith("  train  sums"))
    run = project.path / "artifacts/runs" / line.split()[2]
    write_atomic(run / "started.json", json.dumps({"name": "sums", "seed": 0, "steps": 600, "init_from": None}))
    for step in (200, 400):
        write_atomic(run / f"checkpoints/{step}/digests.json", "{}")
    (run / "checkpoints/500").mkdir()

    result = project.run("--tunix-train", "--tunix-plan", file)
    result.stdout.fnmatch_lines(
        ["tunix-eval: 1 run to train, 200 steps; *", "  train  sums  *  600 steps, from step 400 on  *"]
    )
    result = project.run("--tunix-train", "--tunix-plan", "--tunix-resume-from", "200", file)
    result.stdout.fnmatch_lines(["  train  sums  *  600 steps, from step 200 on  *"])
    result = project.run("--tunix-train", "--tunix-plan", "--tunix-retrain", file)
    result.stdout.fnmatch_lines(["  train  sums  *  600 steps  0.6M parameters*"])
    result = project.run("--tunix-plan", file)
    result.stdout.fnmatch_lines([f"*run 'sums' ({run.name}) is at step 400 of 600; go on with: pytest --tunix-train"])


def test_a_plan_leaves_it_to_pytest_to_say_what_could_not_be_collected(project: Project) -> None:
    project.test("import nothing_of_this_name")
    result = project.run("--tunix-plan")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "nothing to do" not in result.stdout.str()
