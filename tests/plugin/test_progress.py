"""How far training is: on a terminal, in CI, under -q, and with workers."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import types

import pytest
from displays import Recorder
from hypothesis import given
from hypothesis import strategies as st
from projects import CONFTEST, Project

from tunix_eval.plugin import progress
from tunix_eval.plugin.progress import Screen, Task, bar_of, line_of, shown

AT_ONCE = """
from tunix_eval.plugin import progress
progress.SECONDS_BETWEEN_LINES = progress._SECONDS_BETWEEN_BARS = progress._SECONDS_AFTER_OTHERS = 0.0
"""
LINE = r"training words: step \d+ of 22(, loss \d\.\d{4}, [\d,]+ tokens/s)?(, \d:\d\d left)?"


@pytest.fixture
def training(project: Project) -> Project:
    """A project with a test that needs a run, in which nothing waits for ten seconds."""
    project.write("conftest.py", CONFTEST + AT_ONCE)
    project.test("def test_run(tunix_run):\n    print('captured')\n")
    return project


def seen_on_a_terminal(project: Project, *arguments: str, columns: int) -> str:
    """Run pytest on a terminal of its own and return all that it was sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "pytest", "--tunix-train", "--color=no", *arguments]
    process = subprocess.Popen(
        command, cwd=project.path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # Linux says so at the end of a terminal.
            break
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_a_line_says_step_loss_rate_and_time_left_although_pytest_captures(
    training: Project, workers: tuple[str, ...]
) -> None:
    result = training.run_apart("--tunix-train", *workers)
    result.assert_outcomes(passed=1)
    lines = [line for line in result.outlines if line.startswith("training words: step")]
    assert lines
    assert all(re.fullmatch(LINE, line) for line in lines)
    assert not any("\r" in line or "\x1b" in line or "captured" in line for line in result.outlines)
    assert result.outlines.index(lines[0]) > next(
        i for i, line in enumerate(result.outlines) if line.startswith("training words (")
    )
    assert not list(training.path.glob("artifacts/sessions/*/progress"))


def test_quiet_shows_no_progress(training: Project) -> None:
    result = training.run_apart("--tunix-train", "-q")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*training words*")
    assert not list(training.path.glob("artifacts/sessions/*/progress"))


def test_a_terminal_shows_one_line_as_wide_as_it_is_and_erases_it(training: Project, workers: tuple[str, ...]) -> None:
    seen = seen_on_a_terminal(training, *workers, columns=76)
    bars = [text for text in re.split(r"[\r\n]+", seen) if re.match(r"training words \[", text)]
    assert re.match(r"training words \[\.+\] 0/22", bars[0])
    assert all(len(bar) < 76 for bar in bars)
    assert "\x1b" not in "".join(bars)
    after = seen[seen.rindex(bars[-1]) + len(bars[-1]) :]
    assert re.match(rf"\r {{{len(bars[-1].rstrip())},}}\r", after)


@given(
    st.builds(
        Task,
        label=st.text("abc ", max_size=40),
        unit=st.just("step"),
        done=st.integers(0, 10**6),
        total=st.integers(0, 10**6),
        detail=st.lists(st.text("xyz", max_size=20), max_size=3).map(tuple),
        seconds_left=st.none() | st.floats(0, 10**6),
    ),
    st.integers(0, 200),
)
def test_a_bar_is_never_wider_than_its_place(task: Task, width: int) -> None:
    assert len(bar_of(task, width)) <= width


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (80.2, "1:20"), (3599.0, "59:59"), (7323.0, "2:02:03")]
)
def test_time_left_is_written_in_minutes_or_hours(seconds: float, text: str) -> None:
    assert line_of(Task("a", "item", 1, 2, (), seconds)) == f"a: item 1 of 2, {text} left"


def test_time_left_counts_from_the_first_word_on(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    recorder = Recorder()
    clock = types.SimpleNamespace(monotonic=lambda: next(ticks))
    # The 60 seconds before the first word are a compilation; 300 steps were done before this session.
    ticks = iter([60.0, 70.0])
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setitem(pytestconfig.stash, progress._DISPLAY_KEY, recorder)
    with shown(pytestconfig, "training a", unit="step", total=800) as update:
        update(300, "loss 1")
        update(350, "loss 0.5")
    assert recorder.tasks == [
        Task("training a", "step", 0, 800),
        Task("training a", "step", 300, 800, ("loss 1",)),
        Task("training a", "step", 350, 800, ("loss 0.5",), 90.0),
    ]
    assert recorder.ended == ["training a"]


def test_several_tasks_share_the_line(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    screen, drawn = Screen(pytestconfig), []
    monkeypatch.setattr(screen, "_live", True)
    monkeypatch.setattr(screen, "_write", drawn.append)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_BARS", 0.0)
    screen.show(Task("training a", "step", 1, 9))
    screen.show(Task("training b", "step", 2, 9, ("loss 1",), 5.0))
    assert drawn[-1] == "training a 1/9 | training b 2/9, 0:05 left"
