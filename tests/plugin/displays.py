"""A display for tests."""

from __future__ import annotations

from tunix_eval.plugin.progress import Task


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: list[Task] = []
        self.ended: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def show(self, task: Task) -> None:
        self.tasks.append(task)

    def over(self, label: str) -> None:
        self.ended.append(label)

    def make_way(self) -> None:
        pass
