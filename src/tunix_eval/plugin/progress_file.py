"""How far long work is, from a worker of pytest-xdist to the controller: a file for each worker, a JSON line a message.

    {"line": "training addition (6f1efbcb): seed 0, 600 steps on cpu"}
    {"task": ["training addition", "step", 240, 600, ["loss 0.1234"], 80.0]}
    {"over": "training addition"}

The files stand below the session's directory while it lasts.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from pathlib import Path
from typing import Any

from tunix_eval.plugin.progress import Screen, Task

_SECONDS_BETWEEN_READS = 0.5


class Outbox:
    """A worker's file: a JSON line for each thing to show. One that cannot be written is not worth stopping for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Send a line."""
        self._send({"line": text})

    def show(self, task: Task) -> None:
        """Send where a task is, if the last word on it is half a second old."""
        now = time.monotonic()
        if now - self._sent.get(task.label, -math.inf) >= _SECONDS_BETWEEN_READS:
            self._sent[task.label] = now
            self._send({"task": task})

    def over(self, label: str) -> None:
        """Send that a task is over."""
        self._sent.pop(label, None)
        self._send({"over": label})

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(message)}\n")


class Inbox:
    """In the controller, shows what workers send.

    A thread, because pytest-xdist calls no hook there while its workers are busy.
    """

    def __init__(self, folder: Path, screen: Screen) -> None:
        self._folder, self._screen = folder, screen
        self._read: dict[Path, int] = {}
        """File -> bytes of it that were shown."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tunix-eval progress", daemon=True)

    def open(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def make_way(self) -> None:
        """Erase the bar, because others are about to write."""
        self._screen.make_way()

    def close(self) -> None:
        """Show what is left, and remove the files."""
        self._closing.set()
        self._thread.join()
        self.show_new()
        self._screen.make_way()
        for path in self._read:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def show_new(self) -> None:
        """Show what was sent since the last call."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                # A worker may be in the middle of a line.
                lines = file.read().rpartition(b"\n")[0]
                self._read[path] = self._read.get(path, 0) + (len(lines) + 1 if lines else 0)
                for line in lines.splitlines():
                    self._show(json.loads(line))

    def _watch(self) -> None:
        while not self._closing.wait(_SECONDS_BETWEEN_READS):
            self.show_new()

    def _show(self, message: dict[str, Any]) -> None:
        if "line" in message:
            self._screen.line(message["line"])
        elif "over" in message:
            self._screen.over(message["over"])
        else:
            label, unit, done, total, detail, seconds_left = message["task"]
            self._screen.show(Task(label, unit, done, total, tuple(detail), seconds_left))
