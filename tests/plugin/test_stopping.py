"""Trainings and generations that stop before their end: signals, Ctrl-C, the time budget; serially and under xdist."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import GATES, Project

from tunix_eval.plugin.stopping import RunStoppedError, Stopping
from tunix_eval.plugin.watch import Watch

PATIENT = '''
import os
import time
import msgspec
from tunix_eval.records import TrainingResult
from tunix_eval_template.ngram import NgramTrainer


class PatientTrainer(NgramTrainer):
    """Takes its time, keeps how far it is, and stops when it is asked to; then it counts n-grams."""

    name = "patient"

    def train(self, job, *, on_progress):
        kept = job.directory / "kept"
        begun = done = int(kept.read_text()) if kept.exists() else 0
        job.on_saved(float(os.environ.get("SAVE_SECONDS", 0)))
        while done < job.training.steps:
            done += 1
            (job.directory / "pid").write_text(str(os.getpid()))
            time.sleep(float(os.environ.get("STEP_SECONDS", 0)))
            if job.stop_requested() and done < job.training.steps:
                kept.write_text(str(done))
                return TrainingResult(
                    steps=done, total_steps=job.training.steps, tokens=0, wall_seconds=0.0, weights_sha256="",
                    parameter_count=0, model_config={}, ended="stopped",
                )
        return msgspec.structs.replace(super().train(job, on_progress=on_progress), resumed_from=begun or None)

    def load(self, job, weights):
        return PatientModel(super().load(job, weights), job.directory / "writing")


class PatientModel:
    """Takes its time, and says after each completion how many there are."""

    def __init__(self, model, pid):
        self.model, self.pid, self.weights_sha256 = model, pid, model.weights_sha256

    def generate(self, prompts, settings, *, stop_ids, seeds=(), on_progress=None):
        self.pid.write_text(str(os.getpid()))
        for done in range(1, len(prompts) + 1):
            time.sleep(float(os.environ.get("WRITE_SECONDS", 0)))
            on_progress(done)
        return self.model.generate(prompts, settings, stop_ids=stop_ids, seeds=seeds)
'''
CONFTEST = """
from tunix_eval_template.hooks import *
def pytest_tunix_trainers():
    return {"ngram": "tunix_eval_template.ngram:NgramTrainer", "patient": "patient:PatientTrainer"}
"""
TESTS = """
def test_before():
    pass

def test_learns(tunix_run):
    assert tunix_run.manifest.steps == 4
    print("RESUMED", tunix_run.manifest.resumed_from)

def test_afterwards():
    pass
"""
GATED = f"""{TESTS}
@pytest.mark.tunix_gate("at_least", metric="exact", value=0.9)
def test_gate(tunix_gate):
    tunix_gate.check()
"""
SLOW = {"STEP_SECONDS": "0.5"}


@pytest.fixture
def patient(project: Project) -> Project:
    """A project whose trainer takes four steps."""
    project.write("patient.py", PATIENT)
    project.write("conftest.py", CONFTEST)
    run_file = (project.path / "words.toml").read_text(encoding="utf-8")
    run_file = run_file.replace('"ngram"', '"patient"').replace("epochs = 1", "steps = 4")
    project.write("words.toml", run_file)
    project.test(TESTS)
    return project


def start(project: Project, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    leave = [] if "--no-train" in arguments else ["--tunix-train"]
    command = [sys.executable, "-m", "pytest", *leave, *(one for one in arguments if one != "--no-train")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=environment | {"PYTHONPATH": str(project.path)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def training_pid(project: Project, session: subprocess.Popen[str], name: str = "pid") -> int:
    """Wait until a training goes on, and return the process that it is in."""
    while not (found := list(project.path.glob(f"artifacts/runs/*/{name}"))) or not found[0].read_text():
        assert session.poll() is None, session.communicate()[0]
        time.sleep(0.01)
    return int(found[0].read_text())


def end(session: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = session.communicate(timeout=120)
    return session.returncode, output


def verdicts(project: Project) -> list[dict[str, object]]:
    """Return the verdicts of the newest session."""
    newest = max(project.path.glob("artifacts/sessions/*/verdicts.json"), key=lambda path: path.stat().st_mtime_ns)
    found: list[dict[str, object]] = json.loads(newest.read_text(encoding="utf-8"))["verdicts"]
    return found


def says(output: str, text: str) -> bool:
    """The table folds long lines, at hyphens too."""
    return "".join(text.split()) in "".join(output.split())


def goes_on(project: Project) -> None:
    """The next session takes the training up where it was, and ends it."""
    code, output = end(start(project, "-s"))
    assert code == 0, output
    resumed = next(line.split()[-1] for line in output.splitlines() if "RESUMED" in line)
    assert resumed in {"1", "2", "3"}
    assert "resumed" in output
    assert len(project.manifests()) == 1


@pytest.mark.parametrize(("number", "reason", "expected"), [("SIGTERM", "SIGTERM", 143), ("SIGINT", "Ctrl-C", 2)])
def test_a_signal_ends_training_with_a_checkpoint_and_a_summary(
    patient: Project, number: str, reason: str, expected: int
) -> None:
    patient.test(GATED)
    session = start(patient, **SLOW)
    os.kill(training_pid(patient, session), signal.Signals[number])
    code, output = end(session)
    assert code == expected, output
    assert "1 passed, 1 skipped" in output
    (gate,) = verdicts(patient)
    assert (gate["rule"], gate["outcome"]) == ("at_least", "stopped")
    assert gate["reason"] == f"{reason} ended the session before it was decided; run again"
    stopped = f"of 4 steps by {reason}; run again to go on"
    assert f"{stopped} !" in output
    assert says(output.partition("= tunix-eval =")[2], stopped)
    assert "Traceback" not in output
    assert patient.manifests() == []
    goes_on(patient)


@pytest.mark.parametrize(
    ("number", "reason", "expected", "to"),
    [
        ("SIGTERM", "SIGTERM", 143, "worker"),
        ("SIGTERM", "SIGTERM", 143, "controller"),
        ("SIGTERM", "SIGTERM", 143, "all"),
        ("SIGINT", "Ctrl-C", 2, "all"),
    ],
)
def test_with_workers_a_signal_to_any_process_ends_training_with_a_checkpoint(
    patient: Project, number: str, reason: str, expected: int, to: str
) -> None:
    patient.test(GATED)
    session = start(patient, "-n", "2", **SLOW)
    worker = training_pid(patient, session)
    assert worker != session.pid
    if to == "all":
        os.killpg(session.pid, signal.Signals[number])
    else:
        os.kill(worker if to == "worker" else session.pid, signal.Signals[number])
    code, output = end(session)
    assert code == expected, output
    assert says(output, f"of 4 steps by {reason}; run again to go on")
    assert "crashed" not in output
    assert "Traceback" not in output
    assert patient.manifests() == []
    assert len(list(patient.path.glob("artifacts/runs/*/kept"))) == 1
    assert {(gate["rule"], gate["outcome"]) for gate in verdicts(patient)} == {("at_least", "stopped")}


def test_snapshots_of_tests_that_a_stopped_session_did_not_come_to_stay(patient: Project) -> None:
    snapped = "def test_{}(tunix_snapshot):\n    assert 1 == tunix_snapshot\n"
    patient.test(snapped.format("first") + TESTS)
    patient.test(snapped.format("last"), name="test_words_too.py")
    assert end(start(patient, "--no-train", "--snapshot-update"))[0] == 0
    session = start(patient, "--snapshot-update", **SLOW)
    os.kill(training_pid(patient, session), signal.SIGTERM)
    code, output = end(session)
    assert code == 143, output
    assert "unused" not in output
    assert len(list(patient.path.glob("__snapshots__/*.ambr"))) == 2


def test_a_second_interrupt_breaks_at_once(patient: Project) -> None:
    session = start(patient, STEP_SECONDS="600")
    pid = training_pid(patient, session)
    os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert session.poll() is None
    os.kill(pid, signal.SIGINT)
    code, output = end(session)
    assert code == 2
    assert "KeyboardInterrupt" in output


def test_what_handled_signals_before_does_so_again_after_training(patient: Project) -> None:
    patient.test(
        """
        import signal
        def handlers():
            return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        BEFORE = handlers()
        def test_learns(tunix_run):
            assert handlers() == BEFORE
        """.replace("\n        ", "\n")
    )
    assert end(start(patient))[0] == 0


def test_a_signal_that_comes_too_late_to_stop_training_leaves_the_run_recorded(patient: Project) -> None:
    patient.write("words.toml", (patient.path / "words.toml").read_text().replace("steps = 4", "steps = 1"))
    session = start(patient, **SLOW)
    os.kill(training_pid(patient, session), signal.SIGTERM)
    code, output = end(session)
    assert code == 143, output
    assert "is trained to its end; SIGTERM ended the session" in output
    assert len(patient.manifests()) == 1


def test_a_signal_ends_a_generation_with_its_dispatch_and_nothing_of_it_is_kept(patient: Project) -> None:
    patient.test(GATED)
    session = start(patient, WRITE_SECONDS="0.2")
    os.kill(training_pid(patient, session, "writing"), signal.SIGTERM)
    code, output = end(session)
    assert code == 143, output
    assert "3 passed, 1 skipped" in output
    (gate,) = verdicts(patient)
    text = r"run 'words' \(\w+\) on word-ending-heldout stopped while generating \d+ of 70 completions by SIGTERM; run"
    assert re.fullmatch(f"{text} again", str(gate["reason"])), gate
    measured = [gate[name] for name in ("reference", "current", "delta", "n_items", "n_runs", "n_current")]
    assert (gate["outcome"], measured) == ("stopped", [None, None, None, 0, 0, 0])
    assert len(patient.manifests()) == 1
    assert not list(patient.path.glob("artifacts/completions/*"))

    next(patient.path.glob("artifacts/runs/*/writing")).unlink()
    session = start(patient, "--no-train", "-n", "2", WRITE_SECONDS="0.2")
    assert training_pid(patient, session, "writing") != session.pid
    os.kill(session.pid, signal.SIGTERM)
    code, output = end(session)
    assert code == 143, output
    assert says(output, "of 70 completions by SIGTERM; run again")

    assert end(start(patient, "--no-train"))[0] == 0
    assert [gate["outcome"] for gate in verdicts(patient)] == ["passed"]


TWICE = """
import pytest
@pytest.mark.tunix_deterministic(steps=4)
def test_same_bits():
    pass
def test_afterwards():
    pass
"""


def twice_pid(project: Project, session: subprocess.Popen[str], phase: str) -> int:
    """Wait until a training that is done twice goes on, and return the process that it is in."""
    while not (found := list(project.path.glob(f"tmp/tunix-eval-twice-*/{phase}/pid"))) or not found[0].read_text():
        assert session.poll() is None, session.communicate()[0]
        time.sleep(0.01)
    return int(found[0].read_text())


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("phase", ["once", "twice"])
def test_a_signal_ends_a_training_that_is_done_twice_and_nothing_is_left(patient: Project, phase: str) -> None:
    patient.test(TWICE)
    (patient.path / "tmp").mkdir()
    session = start(patient, TMPDIR=str(patient.path / "tmp"), **SLOW)
    pid = twice_pid(patient, session, phase)
    assert (pid == session.pid) == (phase == "once")
    os.kill(session.pid, signal.SIGTERM)
    code, output = end(session)
    assert code == 143, output
    assert "1 skipped" in output
    assert re.search(r"training words twice \(\w+\) stopped at \d of 8 steps by SIGTERM; run again !", output), output
    assert "Traceback" not in output
    assert not list(patient.path.glob("tmp/tunix-eval-*"))
    assert not is_there(pid)


def test_the_second_training_ends_with_a_session_that_is_killed(patient: Project) -> None:
    patient.test(TWICE)
    (patient.path / "tmp").mkdir()
    session = start(patient, TMPDIR=str(patient.path / "tmp"), STEP_SECONDS="0.1")
    pid = twice_pid(patient, session, "twice")
    session.kill()
    session.communicate()
    waited_until = time.monotonic() + 60
    while is_there(pid):
        assert time.monotonic() < waited_until
        time.sleep(0.05)


# --------------------------------------------------------------------------------------------------------- the budget


def test_a_budget_that_is_over_trains_nothing_twice(patient: Project) -> None:
    patient.test(TWICE)
    code, output = end(start(patient, "--tunix-time-budget", "1s", STEP_SECONDS="1"))
    assert code == 0
    assert "1 passed, 1 skipped" in output
    assert says(output, "--tunix-time-budget")


def test_a_budget_is_not_spent_on_waiting_for_another_session(patient: Project) -> None:
    other = start(patient, STEP_SECONDS="600")
    training_pid(patient, other)
    code, output = end(start(patient, "--tunix-time-budget", "2s"))
    os.killpg(other.pid, signal.SIGKILL)
    other.communicate()
    assert code == 0, output
    assert says(output, "was not begun: --tunix-time-budget is over; run again to go on")
    assert "2 passed, 1 skipped" in output


def test_training_stops_where_the_budget_has_no_time_for_more_and_the_next_session_goes_on(
    patient: Project, workers: tuple[str, ...]
) -> None:
    patient.write("words.toml", (patient.path / "words.toml").read_text() + GATES)
    patient.test(f"{TESTS}\ndef test_gate(tunix_gate):\n    tunix_gate.at_least('exact', 0.9)\n")
    session = start(
        patient, "words.toml", "test_words.py", "-rs", "--tunix-time-budget=1h", *workers, SAVE_SECONDS="7200"
    )
    code, output = end(session)
    reason = f"run 'words' ({next(patient.path.glob('artifacts/runs/*')).name}) stopped at 1 of 4 steps by "
    reason += "--tunix-time-budget; run again to go on"
    assert {(gate["outcome"], gate["rule"], gate["evalset"], gate["reason"]) for gate in verdicts(patient)} == {
        ("stopped", "at_least", "word-ending-heldout", reason),
        # What a body would have asked is not known.
        ("stopped", "", "word-ending-heldout", f"test_words.py::test_gate: {reason}"),
    }
    assert code == 0, output
    assert "stopped at 1 of 4 steps by --tunix-time-budget; run again to go on" in output
    # Its gates have said so.
    assert "note:" not in output
    # data, format and the two tests that need no run.
    assert "4 passed, 5 skipped" in output
    assert patient.manifests() == []
    if not workers:
        goes_on(patient)


def test_where_gates_are_required_a_stopped_run_is_red(patient: Project) -> None:
    patient.write("words.toml", (patient.path / "words.toml").read_text() + GATES)
    code, output = end(start(patient, "words.toml", "--tunix-time-budget=1h", "--tunix-require", SAVE_SECONDS="7200"))
    assert code == 1, output
    assert "stopped at 1 of 4 steps by --tunix-time-budget; run again to go on (--tunix-require: a gate may" in output


def test_what_a_stopped_run_left_of_the_budget_begins_no_other(patient: Project) -> None:
    patient.test(
        """
        def test_first(tunix_run):
            pass
        @pytest.mark.tunix_train("words.toml", seed=7)
        def test_second(tunix_run):
            pass
        """.replace("\n        ", "\n")
    )
    code, output = end(start(patient, "-rs", "--tunix-time-budget=1h", SAVE_SECONDS="7200"))
    assert code == 0, output
    assert "was not begun: --tunix-time-budget is over; run again to go on" in output
    assert "2 skipped" in output


def test_two_sessions_train_again_once(patient: Project) -> None:
    patient.test('@pytest.mark.tunix_evalset("word-ending-heldout")\ndef test_card(tunix_scorecard):\n    pass\n')
    assert end(start(patient))[0] == 0
    # Long enough that the second has begun before the first has trained, also on a busy machine.
    slow = {"STEP_SECONDS": "3", "WRITE_SECONDS": "0.03"}
    both = [start(patient, "--tunix-retrain", **slow) for _ in range(2)]
    ends = [end(session) for session in both]
    assert [code for code, _ in ends] == [0, 0], ends
    assert sorted("trained" in output for _, output in ends) == [False, True]
    assert sorted("reused" in output.partition("= tunix-eval =")[2] for _, output in ends) == [False, True]


def test_under_retrain_the_way_on_is_without_it(patient: Project) -> None:
    code, output = end(start(patient, "--tunix-retrain", "--tunix-time-budget=1h", SAVE_SECONDS="7200"))
    assert code == 0, output
    assert says(output, "by --tunix-time-budget; run again without --tunix-retrain to go on")
    goes_on(patient)


def stopping(pytestconfig: pytest.Config, *, seconds_left: float | None) -> Stopping:
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    return Stopping(pytestconfig, deadline)


def test_a_budget_leaves_room_for_the_longest_dispatch_and_checkpoint(pytestconfig: pytest.Config) -> None:
    watch = Watch(stopping(pytestconfig, seconds_left=None))
    assert watch.seconds_needed() == 0
    time.sleep(0.05)
    assert watch.stop_requested() is None
    # Compilation and the first dispatch, and as much for the checkpoint.
    assert watch.seconds_needed() >= 0.1
    assert watch.stop_requested() is None
    # From now on the second dispatch, which took next to nothing.
    alone = watch.seconds_needed()
    watch.on_saved(3.0)
    watch.on_saved(2.0)
    assert watch.seconds_needed() == pytest.approx(3.0 + alone / 2)


def test_a_budget_that_is_over_begins_nothing_and_one_with_time_left_does(pytestconfig: pytest.Config) -> None:
    with stopping(pytestconfig, seconds_left=3600).training("run 'a'", "0" * 16, again="go on") as watch:
        assert watch.stop_requested() is None
        watch.on_saved(7200.0)
        assert watch.stop_requested() == "--tunix-time-budget"
    over = stopping(pytestconfig, seconds_left=-1)
    with pytest.raises(RunStoppedError, match=r"^run 'a' was not begun: --tunix-time-budget is over; go on$"):
        over.training("run 'a'", "0" * 16, again="go on").__enter__()
    over.pytest_unconfigure()


def test_a_generation_ends_in_time_and_is_not_begun_again(pytestconfig: pytest.Config) -> None:
    limited = stopping(pytestconfig, seconds_left=3600)

    def write(run: str, *done: int, over: bool = False) -> None:
        with limited.generating(run, run * 16, doing="generating", total=5, unit="completion") as check:
            limited.deadline = time.monotonic() + (0 if over else 3600)
            for number in done:
                check(number)

    write("a", 2, 5)
    # Nothing is left to stop after the last one.
    write("a", 5, over=True)
    stopped = r"^b stopped while generating 3 of 5 completions by --tunix-time-budget; run again$"
    limited.deadline = time.monotonic() + 3600
    with pytest.raises(RunStoppedError, match=stopped):
        write("b", 3, over=True)
    limited.deadline = time.monotonic() + 3600
    with pytest.raises(RunStoppedError, match=stopped):
        write("b", 3)
    limited.deadline = time.monotonic()
    with pytest.raises(RunStoppedError, match=r"^generating completions of c was not begun: --tunix-time-budget is ov"):
        write("c", 3)
    limited.pytest_unconfigure()


def test_the_first_measurement_of_a_holdout_is_foreseen_by_the_quickest_steps(pytestconfig: pytest.Config) -> None:
    watch = Watch(stopping(pytestconfig, seconds_left=None))
    watch.on_saved(0.0)
    watch.foresee_holdout(1000)
    watch.stop_requested()
    watch.on_step(10)
    time.sleep(0.05)
    watch.stop_requested()
    watch.on_step(20)
    # How long a step takes is not known yet.
    assert watch.seconds_needed() < 1
    time.sleep(0.05)
    watch.stop_requested()
    assert watch.seconds_needed() >= 0.05 + 1000 * 0.05 / 10
