"""How far long work is: a bar on a terminal, a line every ten seconds elsewhere, nothing under -q.

    training addition [############..................] 240/600, loss 0.1234, 12,345 tokens/s, 1:20 left
    training addition: step 240 of 600, loss 0.1234, 12,345 tokens/s, 1:20 left

Under pytest-xdist workers send it (plugin/progress_file.py) and the controller shows it. Light: the process that only
prints loads nothing more.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, cast

import pytest

from tunix_eval.figures import clock_text, printable, printable_lines

SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_BARS = 0.1
_SECONDS_AFTER_OTHERS = 2.0
"""A bar waits so long after a test's report, so that the line of dots is not torn at each of them."""
_BAR, _NARROW_BAR = 30, 10


class Task(NamedTuple):
    """Work that goes on. It has a name of its own among what a session does at once."""

    label: str
    """`training addition`."""
    unit: str
    """`step` or `item`."""
    done: int
    total: int
    detail: tuple[str, ...] = ()
    """`loss 0.1234`, `12,345 tokens/s`; the last one goes first where the terminal is narrow."""
    seconds_left: float | None = None


class Display(Protocol):
    """Where lines and tasks are shown, or sent to."""

    def line(self, text: str) -> None:
        """Show a line that stays."""
        ...

    def show(self, task: Task) -> None:
        """Show where a task is; as often as one likes."""
        ...

    def over(self, label: str) -> None:
        """Forget a task."""
        ...


class Update:
    """Tells how much of a task is done."""

    def __init__(self, display: Display, label: str, *, unit: str, total: int) -> None:
        self._display = display
        self._task = Task(label, unit, 0, total)
        self._first: tuple[int, float] | None = None

    def started(self, done: int) -> None:
        """Show how much was done before; no time is counted from here."""
        self._task = self._task._replace(done=done)
        self._display.show(self._task)

    def __call__(self, done: int, *detail: str) -> None:
        """Say it, as often as one likes; the detail is shown beside it: `loss 0.1234`."""
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        first, since = self._first
        seconds_left = (self._task.total - done) * (now - since) / (done - first) if done > first else None
        self._display.show(self._task._replace(done=done, detail=detail, seconds_left=seconds_left))


@contextlib.contextmanager
def shown(config: pytest.Config, label: str, *, unit: str, total: int, started: bool = True) -> Iterator[Update]:
    """Show a task while the block runs.

        with shown(config, "training addition", unit="step", total=600) as update:
            update(10, "loss 2.1", "9,000 tokens/s")

    Call `update` as often as you like, from one thread. The time left goes by what was done between its first call and
    its last, so that neither a compilation nor what was resumed counts. With `started=False` nothing is shown until
    `update.started` has said where it begins.
    """
    display = display_of(config)
    update = Update(display, label, unit=unit, total=total)
    if started:
        update.started(0)
    try:
        yield update
    finally:
        display.over(label)


def display_of(config: pytest.Config) -> Display:
    """Return the process's display, made at first use."""
    if _DISPLAY_KEY not in config.stash:
        config.stash[_DISPLAY_KEY] = _display(config)
    return config.stash[_DISPLAY_KEY]


def screen_of(config: pytest.Config) -> Display:
    """Return the terminal of this process, also under -q; nowhere with `-p no:terminal`."""
    return Nowhere() if config.pluginmanager.get_plugin("terminalreporter") is None else Screen(config)


def _display(config: pytest.Config) -> Display:
    if config.get_verbosity() < 0:
        return Nowhere()
    if hasattr(config, "workerinput"):
        from tunix_eval.plugin.progress_file import Outbox
        from tunix_eval.plugin.session import Session

        folder = Session.open(config).directory / "progress"
        return Outbox(folder / f"{config.workerinput['workerid']}.jsonl")
    return screen_of(config)


_DISPLAY_KEY: pytest.StashKey[Display] = pytest.StashKey()


# ------------------------------------------------------------------------------------------------------------ words


def line_of(task: Task) -> str:
    """Return where a task is as a line.

    >>> line_of(Task("training a", "step", 200, 600, ("loss 0.1234",), 80.2))
    'training a: step 200 of 600, loss 0.1234, 1:20 left'
    """
    return f"{task.label}: {', '.join((f'{task.unit} {task.done:,} of {task.total:,}', *task.detail, *_left(task)))}"


def training_detail(loss: float | None, tokens_per_second: float) -> tuple[str, str]:
    """Return what is shown beside the steps of a training.

    >>> training_detail(0.12345, 12345.6), training_detail(None, 9.0)
    (('loss 0.1235', '12,346 tokens/s'), ('loss -', '9 tokens/s'))
    """
    known = loss is not None and math.isfinite(loss)
    return f"loss {f'{loss:.4f}' if known else '-'}", f"{tokens_per_second:,.0f} tokens/s"


def bar_of(task: Task, width: int) -> str:
    """Return where a task is as a bar, no wider than this; what does not fit is left out.

    >>> bar_of(Task("training a", "step", 200, 600, ("loss 0.1234", "9 tokens/s"), 80.2), 70)
    'training a [####.........] 200/600, loss 0.1234, 9 tokens/s, 1:20 left'
    >>> bar_of(Task("training a", "step", 200, 600, ("loss 0.1234", "9 tokens/s"), 80.2), 50)
    'training a [###.......] 200/600, 1:20 left'
    """
    share = min(max(task.done / task.total, 0.0), 1.0) if task.total else 1.0
    for kept in range(len(task.detail), -1, -1):
        text = ", ".join((f"{task.done:,}/{task.total:,}", *task.detail[:kept], *_left(task)))
        room = min(_BAR, width - len(task.label) - len(text) - 4)
        if room >= _NARROW_BAR:
            return f"{task.label} [{'#' * int(share * room):.<{room}}] {text}"
    return _cut(f"{task.label} {task.done:,}/{task.total:,}", width)


def _left(task: Task) -> tuple[str, ...]:
    if task.seconds_left is None:
        return ()
    return (f"{clock_text(task.seconds_left)} left",)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width, 0)]


# ---------------------------------------------------------------------------------------------------------- displays


class Nowhere:
    """Under -q."""

    def line(self, text: str) -> None:
        """Show nothing."""

    def show(self, task: Task) -> None:
        """Show nothing."""

    def over(self, label: str) -> None:
        """Forget nothing."""


class Screen:
    """The terminal of the process that prints. Calls may come from two threads."""

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = cast("Any", config.pluginmanager.get_plugin("terminalreporter"))
        self._writer = config.get_terminal_writer()
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._live = bool(self._terminal.isatty) and os.environ.get("TERM") != "dumb"
        self._lock = threading.RLock()
        self._tasks: dict[str, Task] = {}
        self._told: dict[str, float] = {}
        """Label -> when a line was last written about it."""
        self._bar = 0
        """Characters of the bar that stands there."""
        self._drawn = self._others = -math.inf
        """When the bar was last drawn, and made way for what others write."""

    def line(self, text: str) -> None:
        """Write a line."""
        with self._lock, self._uncaptured():
            self._erase()
            self._fresh_line()
            self._terminal.write_line(printable_lines(text))

    def show(self, task: Task) -> None:
        """Draw the bar, or write a line, if it is time to."""
        now = time.monotonic()
        with self._lock:
            self._tasks[task.label] = task
            if (
                self._live
                and now - self._drawn >= _SECONDS_BETWEEN_BARS
                and now - self._others >= _SECONDS_AFTER_OTHERS
            ):
                self._drawn = now
                self._draw()
            elif not self._live and now - self._told.setdefault(task.label, now) >= SECONDS_BETWEEN_LINES:
                self._told[task.label] = now
                self.line(line_of(task))

    def over(self, label: str) -> None:
        """Take a task off the bar, which goes with the last one."""
        with self._lock:
            self._tasks.pop(label, None)
            self._told.pop(label, None)
            if self._bar:
                self._draw()

    def make_way(self) -> None:
        """Erase the bar, because others are about to write."""
        with self._lock, self._uncaptured():
            self._others = time.monotonic()
            self._erase()

    def _draw(self) -> None:
        tasks = list(self._tasks.values())
        with self._uncaptured():
            # Captured, the terminal would be 80 wide, whatever it is.
            width = int(self._writer.fullwidth) - 1
            text = bar_of(tasks[0], width) if len(tasks) == 1 else _cut(" | ".join(map(_short, tasks)), width)
            if not self._bar:
                self._fresh_line()
            self._write(printable(text))

    def _erase(self) -> None:
        if self._bar:
            self._write("")

    def _write(self, text: str) -> None:
        # Spaces, since not every terminal knows an escape code; raw, or pytest would count them to the line of dots.
        back = "" if text else "\r"
        self._writer.write_raw(f"\r{text}{' ' * (self._bar - len(text))}{back}", flush=True)
        self._bar = len(text)

    def _fresh_line(self) -> None:
        self._terminal.ensure_newline()
        if self._writer.width_of_current_line:
            self._writer.line()

    def _uncaptured(self) -> contextlib.AbstractContextManager[None]:
        made: contextlib.AbstractContextManager[None] = (
            self._capture.global_and_fixture_disabled() if self._capture else contextlib.nullcontext()
        )
        return made


def _short(task: Task) -> str:
    return ", ".join((f"{task.label} {task.done:,}/{task.total:,}", *_left(task)))
