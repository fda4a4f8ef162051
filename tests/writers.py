"""Everything that writes a file whole or not at all, as the function of a path and a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tunix_eval.cli.outputs import write_text
from tunix_eval.data import written_aside
from tunix_eval.store import write_atomic


def _written(path: Path, text: str) -> None:
    with written_aside(path) as file:
        file.write(text.encode())


def _baseline(path: Path, text: str) -> None:
    write_atomic(path, text, place=path.parents[1] / "artifacts")


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "record": write_atomic,
    "baseline": _baseline,
    "traces": _written,
    "output": write_text,
}
