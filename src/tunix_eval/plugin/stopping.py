"""Trainings and generations that stop before their end: SIGTERM, Ctrl-C, --tunix-time-budget.

    asked by             training, generation                session
    SIGTERM              ends with the running dispatch;     ends with its summary, exit code 143
    Ctrl-C               a training with a checkpoint        ends with its summary, exit code 2; a second one at once
    --tunix-time-budget  ends so that it is over in time     goes on; what needs the run is skipped

A training goes on in another session; of a generation nothing is kept. A signal is taken up while a run is trained or
writes completions, and only then; at other times it does what it did before, and so does a second one. Under
pytest-xdist it may reach a worker, the controller or all of them, and it is for the one that computes: whoever has it
leaves a file for the others, which is looked for after every dispatch. Light: loaded with the plugin.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tunix_eval.errors import RunMissingError
from tunix_eval.plugin.not_come_to import keep_snapshots
from tunix_eval.plugin.state import PLAN_KEY, ROWS_KEY, SESSION_ID_KEY
from tunix_eval.plugin.watch import Stop, Watch

_PLUGIN = "tunix_eval_stopping"
_ASKED = "asked"

BUDGET = Stop("--tunix-time-budget")
SIGNALS = {signal.SIGTERM: Stop("SIGTERM", 128 + signal.SIGTERM), signal.SIGINT: Stop("Ctrl-C", 2)}


class TrainingStopped(Exception):  # noqa: N818
    """A trainer has stopped as it was asked to, and can go on."""

    def __init__(self, steps: int, total_steps: int) -> None:
        super().__init__(steps, total_steps)
        self.steps, self.total_steps = steps, total_steps


class _GenerationStopped(Exception):  # noqa: N818
    """A model has stopped writing as it was asked to."""

    def __init__(self, done: int, stop: Stop) -> None:
        super().__init__(done, stop)
        self.done, self.stop = done, stop


class RunStoppedError(RunMissingError):
    """What a test needs was stopped; the test is skipped with a reason, and the session may end."""

    def __init__(self, message: str, stop: Stop) -> None:
        super().__init__(message)
        self.stop = stop


class Stopping:
    """Knows what asks this process's trainings and generations to stop, and ends the session where that is a signal."""

    def __init__(self, config: pytest.Config, deadline: float | None) -> None:
        """Take the deadline by time.monotonic, which all processes of a machine share."""
        self.config = config
        self.deadline = deadline
        self._folder = Path(tempfile.gettempdir()) / f"tunix-eval-stop-{config.stash[SESSION_ID_KEY]}"
        self._worker: str | None = getattr(config, "workerinput", {}).get("workerid")
        self._before: dict[signal.Signals, Any] = {}
        self._signalled: Stop | None = None
        self._exit_code: int | None = None
        self._reported: set[str] = set()

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
            self.end_if_late(f"{run} is trained to its end")

    @contextlib.contextmanager
    def generating(self, run: str, key: str, *, doing: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Let a run's model write until something asks it to stop; give what is to be told how much is done.

        Args:
            run: names the run and the evalset in messages.
            key: names what is written; once it was stopped, this session does not begin it again.
            doing: what the model does.
            total: how much there is to do.
            unit: of what.

        Raises:
            RunStoppedError: it was stopped, or is not begun.
        """
        self._refuse(f"{doing} {unit}s of {run}", key, "run again", over=self.ends_within(0.0))
        with self._known_to_others(), self._heeding():
            watch = Watch(self)
            # There is no checkpoint to leave time for.
            watch.on_saved(0.0)

            def check(done: int) -> None:
                if watch.stop_requested() and done < total:
                    raise _GenerationStopped(done, self.due(watch.seconds_needed()) or BUDGET)

            try:
                yield check
            except _GenerationStopped as stopped:
                text = (
                    f"{run} stopped while {doing} {stopped.done} of {total} {unit}s by {stopped.stop.reason}; run again"
                )
                raise self._stopped(text, stopped.stop, key) from None

    def end_if_late(self, what: str) -> None:
        """End the session for a signal that came too late to stop anything.

        Raises:
            RunStoppedError: there was one.
        """
        late = self.asked()
        if late is not None:
            raise self._stopped(f"{what}; {late.reason} ended the session", late)

    def due(self, seconds: float) -> Stop | None:
        """Return what asks to stop before something that may take so many seconds."""
        return self.asked() or (BUDGET if self.ends_within(seconds) else None)

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
        self._refuse(run, run_id, again, over=self.ends_within(0.0) or any(self._folder.glob("stopped-*")))

    def _refuse(self, what: str, key: str, again: str, *, over: bool) -> None:
        stop = self.asked() or (BUDGET if over else None)
        with contextlib.suppress(OSError):
            text = (self._folder / f"stopped-{key}").read_text(encoding="utf-8")
            raise RunStoppedError(text, stop or BUDGET)
        if stop is not None:
            why = "--tunix-time-budget is over" if stop is BUDGET else f"{stop.reason} ended the session"
            raise self._stopped(f"{what} was not begun: {why}; {again}", stop, key)

    def _stopped(self, text: str, stop: Stop, key: str = "") -> RunStoppedError:
        """Leave word for the other processes and the table at the end."""
        self._leave(f"stopped-{key}" if key else f"ended-{os.getpid()}", text)
        return RunStoppedError(text, stop)

    def report(self, item: pytest.Item, error: RunStoppedError) -> None:
        """Report an item's gates as stopped; where a signal did it, end the session after this item."""
        from tunix_eval.plugin.stopped_gates import gates_of, report_gates

        report_gates(item, str(error))
        if error.stop.exit_code is not None:
            self._exit_code = error.stop.exit_code
            item.session.shouldstop = str(error)
            reason = f"{error.stop.reason} ended the session before it was decided; run again"
            others = [other for other in item.session.items if other is not item and other.nodeid not in self._reported]
            keep_snapshots(self.config, others)
            self._leave(f"gates-{os.getpid()}", json.dumps(gates_of(others, reason)))

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
        """Remember the first signal while something is computed; a second one does what it did before."""
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

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """In a worker that has tests of ours, take signals up, and have its controller do so."""
        if self._worker is not None and PLAN_KEY in self.config.stash:
            self._leave(f"planned-{self._worker}", "")
            self._heed()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Take signals up for the workers, one of which may have to pass them on."""
        if not self._before and any(self._folder.glob("planned-*")):
            self._heed()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which tests were come to."""
        self._reported.add(report.nodeid)

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
        rows = self.config.stash[ROWS_KEY]
        for mark in sorted(self._folder.glob("gates-*")):
            for nodeid, gates in json.loads(mark.read_text(encoding="utf-8")).items():
                rows += [] if nodeid in self._reported else gates
        said = {row["reason"] for row in rows if row["row"] == "Verdict"}
        for mark in sorted([*self._folder.glob("stopped-*"), *self._folder.glob("ended-*")]):
            text = mark.read_text(encoding="utf-8")
            rows += [] if text in said else [{"row": "Note", "text": text}]
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
