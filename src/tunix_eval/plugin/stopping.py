"""Training that stops before its last step, and goes on in another session: SIGTERM, Ctrl-C, --tunix-time-budget.

    asked by             training                            session
    SIGTERM              ends with the running dispatch,     ends with its summary, exit code 143
    Ctrl-C               with a checkpoint                   ends with its summary, exit code 2; a second one at once
    --tunix-time-budget  ends so that it is saved in time    goes on; what needs the run is skipped

A signal is taken up while a run is trained, and only then; at other times it does what it did before, and so does a
second one. Under pytest-xdist it may reach a worker, the controller or all of them, and it is for the one that trains:
whoever has it leaves a file for the others, which is looked for after every dispatch. Light: loaded with the plugin.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from tunix_eval.errors import RunMissingError
from tunix_eval.plugin.state import ROWS_KEY, SESSION_ID_KEY

_PLUGIN = "tunix_eval_stopping"
_ASKED = "asked"


RECENT = 20
"""Dispatches by which the next one is foreseen; a hiccup before them is forgotten."""


class Stop(NamedTuple):
    """What stops a training."""

    reason: str
    exit_code: int | None = None
    """The session ends with it; None where it goes on."""


BUDGET = Stop("--tunix-time-budget")
SIGNALS = {signal.SIGTERM: Stop("SIGTERM", 128 + signal.SIGTERM), signal.SIGINT: Stop("Ctrl-C", 2)}


class TrainingStopped(Exception):  # noqa: N818
    """A trainer has stopped as it was asked to, and can go on."""

    def __init__(self, steps: int, total_steps: int) -> None:
        super().__init__(steps, total_steps)
        self.steps, self.total_steps = steps, total_steps


class RunStoppedError(RunMissingError):
    """A run is needed, and its training was stopped; the test is skipped with a reason, and the session may end."""

    def __init__(self, message: str, stop: Stop) -> None:
        super().__init__(message)
        self.stop = stop


class Watch:
    """What a trainer asks after every dispatch, and tells of every checkpoint."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping
        self._asked = time.monotonic()
        self._dispatches: list[float] = []
        self._longest_save: float | None = None

    def begin(self) -> None:
        """Count the first dispatch from here; what was waited for before is none of it."""
        self._asked = time.monotonic()

    def stop_requested(self) -> str | None:
        """Return the reason to stop now, where there is one."""
        now = time.monotonic()
        self._dispatches.append(now - self._asked)
        self._asked = now
        stop = self._stopping.asked()
        if stop is None and self._stopping.ends_within(self.seconds_needed()):
            stop = BUDGET
        return stop.reason if stop else None

    def on_saved(self, seconds: float) -> None:
        """Take note of how long a checkpoint took."""
        self._longest_save = max(seconds, self._longest_save or 0.0)

    def seconds_needed(self) -> float:
        """Return how long another dispatch and a checkpoint may take, by the longest of the recent ones.

        The first dispatch counts only until there is a second, since it is measured together with the compilation; a
        checkpoint counts as a dispatch until there is one.
        """
        longest = max(self._dispatches[1:][-RECENT:] or self._dispatches, default=0.0)
        return longest + (longest if self._longest_save is None else self._longest_save)


class Stopping:
    """Knows what asks this process's trainings to stop, and ends the session where that is a signal."""

    def __init__(self, config: pytest.Config, deadline: float | None) -> None:
        """Take the deadline by time.monotonic, which all processes of a machine share."""
        self.config = config
        self.deadline = deadline
        self._folder = Path(tempfile.gettempdir()) / f"tunix-eval-stop-{config.stash[SESSION_ID_KEY]}"
        self._worker: str | None = getattr(config, "workerinput", {}).get("workerid")
        self._before: dict[signal.Signals, Any] = {}
        self._signalled: Stop | None = None
        self._exit_code: int | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> Stopping:
        """Return the process's own."""
        found = config.pluginmanager.get_plugin(_PLUGIN)
        assert isinstance(found, Stopping)
        return found

    # --------------------------------------------------------------------------------------------------- a training

    @contextlib.contextmanager
    def training(self, run: str, run_id: str, *, again: str) -> Iterator[Watch]:
        """Let a run be trained until something asks it to stop. The caller holds the run's lock.

        Args:
            run: names the run in messages.
            run_id: its id; once it was stopped, this session does not begin it again.
            again: says how to go on.

        Raises:
            RunStoppedError: it was stopped, or is not begun.
        """
        self.refuse(run, run_id, again)
        with self._known_to_others(), self._heeding():
            try:
                watch = Watch(self)
                yield watch
            except TrainingStopped as stopped:
                stop = self.asked() or BUDGET
                steps = f"{stopped.steps} of {stopped.total_steps} steps"
                raise self._stopped(f"{run} stopped at {steps} by {stop.reason}; {again}", stop, run_id) from None
            late = self.asked()
            if late is not None:
                raise self._stopped(f"{run} is trained to its end; {late.reason} ended the session", late)

    def asked(self) -> Stop | None:
        """Return the signal that reached this process or another one of the session."""
        if self._signalled is None:
            with contextlib.suppress(OSError):
                reason = (self._folder / _ASKED).read_text(encoding="utf-8")
                self._signalled = next((stop for stop in SIGNALS.values() if stop.reason == reason), None)
        return self._signalled

    def ends_within(self, seconds: float) -> bool:
        """Tell whether the time budget is over in so many seconds."""
        return self.deadline is not None and time.monotonic() + seconds > self.deadline

    def seconds_left(self) -> float | None:
        """Return how much is left of the time budget, 0.0 at least; None where there is none."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def refuse(self, run: str, run_id: str, again: str) -> None:
        """Do not begin what was stopped in this session already, or when it is too late.

        Raises:
            RunStoppedError: it is so.
        """
        # What was stopped to save it in time has left a rest that is too short for another.
        over = self.ends_within(0.0) or any(self._folder.glob("stopped-*"))
        stop = self.asked() or (BUDGET if over else None)
        with contextlib.suppress(OSError):
            text = (self._folder / f"stopped-{run_id}").read_text(encoding="utf-8")
            raise RunStoppedError(text, stop or BUDGET)
        if stop is not None:
            why = "--tunix-time-budget is over" if stop is BUDGET else f"{stop.reason} ended the session"
            raise self._stopped(f"{run} was not begun: {why}; {again}", stop, run_id)

    def _stopped(self, text: str, stop: Stop, run_id: str = "") -> RunStoppedError:
        """Leave word for the other processes and the table at the end."""
        self._leave(f"stopped-{run_id}" if run_id else f"ended-{os.getpid()}", text)
        return RunStoppedError(text, stop)

    def end_session(self, session: pytest.Session, error: RunStoppedError) -> None:
        """End the session after the running test where a signal has stopped a training."""
        if error.stop.exit_code is not None:
            self._exit_code = error.stop.exit_code
            session.shouldstop = str(error)

    # --------------------------------------------------------------------------------------------------------- files

    def _leave(self, name: str, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        aside = self._folder / f".{name}.{os.getpid()}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(self._folder / name)

    @contextlib.contextmanager
    def _known_to_others(self) -> Iterator[None]:
        if self._worker is None:
            yield
            return
        self._leave(f"training-{self._worker}", str(os.getpid()))
        try:
            yield
        finally:
            (self._folder / f"training-{self._worker}").unlink(missing_ok=True)

    def _somebody_trains(self) -> bool:
        for mark in self._folder.glob("training-*"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(mark.read_text(encoding="utf-8")), 0)
                return True
        return False

    # ------------------------------------------------------------------------------------------------------- signals

    @contextlib.contextmanager
    def _heeding(self) -> Iterator[None]:
        """Take signals up, unless xdist has this process do so all the time."""
        if self._before:
            yield
            return
        self._heed()
        try:
            yield
        finally:
            self._restore()

    def _heed(self) -> None:
        """Take signals up; what is ignored stays so, and only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._before[number] = before
                    signal.signal(number, self._on_signal)

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Remember the first signal while a run is trained; a second one does what it did before."""
        caught = signal.Signals(number)
        signal.signal(number, self._before[caught])
        controls = self.config.pluginmanager.get_plugin("dsession")
        alone = controls is None and self._worker is None
        if not alone and not self._somebody_trains():
            signal.raise_signal(number)
            return
        self._signalled = SIGNALS[caught]
        if not alone:
            self._leave(_ASKED, self._signalled.reason)
        if controls is not None:
            self._exit_code = self._signalled.exit_code
            controls.shouldstop = f"{self._signalled.reason}: stopping with the tests that run"

    # --------------------------------------------------------------------------------------------------------- hooks

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the deadline to an xdist worker."""
        node.workerinput["tunix_deadline"] = self.deadline

    def pytest_sessionstart(self) -> None:
        """Take signals up for the workers that will train, in all processes of xdist."""
        trains = self.config.option.tunix_train or self.config.option.tunix_retrain
        if trains and (self._worker is not None or self.config.pluginmanager.has_plugin("dsession")):
            self._heed()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over the exit code of a worker that a signal has ended."""
        code = getattr(node, "workeroutput", {}).get("tunix_exit_code")
        self._exit_code = self._exit_code if code is None else code

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Show what was stopped, and end with the signal's exit code."""
        if self._worker is not None:
            self.config.workeroutput["tunix_exit_code"] = self._exit_code  # type: ignore[attr-defined]
            return
        for mark in sorted([*self._folder.glob("stopped-*"), *self._folder.glob("ended-*")]):
            self.config.stash[ROWS_KEY].append({"row": "Note", "text": mark.read_text(encoding="utf-8")})
        if self._exit_code is not None:
            session.exitstatus = self._exit_code

    def pytest_unconfigure(self) -> None:
        """Leave everything as it was."""
        self._restore()
        if self._worker is None:
            shutil.rmtree(self._folder, ignore_errors=True)


def register(config: pytest.Config) -> None:
    """Count the time budget from here; a worker's is that of its controller."""
    budget, worker = config.option.tunix_time_budget, getattr(config, "workerinput", None)
    own = None if budget is None else time.monotonic() + budget
    deadline = own if worker is None else worker["tunix_deadline"]
    config.pluginmanager.register(Stopping(config, deadline), _PLUGIN)
