"""How long what is watched may go on: asked after every dispatch of a training or a generation."""

from __future__ import annotations

import math
import time
from typing import NamedTuple, Protocol

RECENT = 20
"""Dispatches by which the next one is foreseen; a hiccup before them is forgotten."""


class Stop(NamedTuple):
    """What stops a training or a generation."""

    reason: str
    exit_code: int | None = None
    """The session ends with it; None where it goes on."""


class Stops(Protocol):
    """Knows whether to stop."""

    def due(self, seconds: float) -> Stop | None:
        """Return what asks to stop before something that may take so many seconds."""
        ...


class Watch:
    """What a trainer asks after every dispatch, and tells of every checkpoint."""

    def __init__(self, stops: Stops) -> None:
        self._stops = stops
        self._asked = time.monotonic()
        self._dispatches: list[float] = []
        self._longest_save: float | None = None
        self._step: int | None = None
        self._asked_step: int | None = None
        self._step_seconds = math.inf
        self._holdout_steps = 0.0

    def begin(self) -> None:
        """Count the first dispatch from here; what was waited for before is none of it."""
        self._asked = time.monotonic()

    def stop_requested(self) -> str | None:
        """Return the reason to stop now, where there is one."""
        now = time.monotonic()
        self._dispatches.append(now - self._asked)
        self._asked = now
        # Some tell how far they are before they ask and some after; dispatches are of one size.
        if self._step is not None and self._asked_step is not None and self._step > self._asked_step:
            self._step_seconds = min(self._step_seconds, self._dispatches[-1] / (self._step - self._asked_step))
        self._asked_step = self._step
        stop = self._stops.due(self.seconds_needed())
        return stop.reason if stop else None

    def on_saved(self, seconds: float) -> None:
        """Take note of how long a checkpoint took."""
        self._longest_save = max(seconds, self._longest_save or 0.0)

    def on_step(self, step: int) -> None:
        """Take note of how many steps are done."""
        self._step = step

    def foresee_holdout(self, steps: float) -> None:
        """Leave room for a measurement of the holdout's loss, which has the rows of so many steps.

        It is foreseen by the quickest steps so far, which is too much: a measurement takes no backward pass.
        """
        self._holdout_steps = steps

    def seconds_needed(self) -> float:
        """Return how long another dispatch and a checkpoint may take, by the longest of the recent ones.

        The first dispatch counts only until there is a second, since it is measured together with the compilation; a
        checkpoint counts as a dispatch until there is one.
        """
        recent = self._dispatches[1:][-RECENT:] or self._dispatches
        longest = max(recent, default=0.0)
        if self._holdout_steps and math.isfinite(self._step_seconds):
            # The quickest one had no measurement in it, unless all of them have.
            longest = max(longest, min(recent) + self._holdout_steps * self._step_seconds)
        return longest + (longest if self._longest_save is None else self._longest_save)
