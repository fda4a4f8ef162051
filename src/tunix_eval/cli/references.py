"""Run files that name a run: the checkpoint that they judge, or the run that they begin from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_eval.errors import SpecError
from tunix_eval.tables import is_path, read_table, resolve_path

_ELSEWHERE = {"__pycache__", "node_modules"}


@dataclass(frozen=True)
class Reference:
    """A run as a run file names it."""

    said_in: Path
    """The run file, from the project on."""
    folder: Path
    """Where the run file is: what its paths are relative to."""
    text: str
    """An id, the first digits of one, or the path of a run's directory."""

    def means(self, run_id: str, directory: Path) -> bool:
        """Tell whether it is this run that is named."""
        if is_path(self.text):
            with contextlib.suppress(SpecError):
                return resolve_path(self.text, self.folder) == directory.resolve()
            return False
        return bool(self.text) and run_id.startswith(self.text)


def references(project: Path, *, besides: Path) -> list[Reference]:
    """Return what the run files below a project's folder name, in order; one that is damaged names nothing.

    Hidden folders, virtual environments and what is below `besides` are passed over.
    """
    found = []
    for path in _tables(project, besides.resolve()):
        try:
            table = read_table(path, "run file")
        except SpecError:
            continue
        model = table.get("model")
        named: list[Any] = [table.get("checkpoint"), model.get("init_from") if isinstance(model, dict) else None]
        said_in = path.relative_to(project)
        found += [Reference(said_in, path.parent, text) for text in named if isinstance(text, str)]
    return found


def _tables(project: Path, besides: Path) -> Iterator[Path]:
    for top, folders, names in os.walk(project):
        folders[:] = sorted(name for name in folders if not _is_elsewhere(Path(top, name), besides))
        yield from (Path(top, name) for name in sorted(names) if name.endswith(".toml"))


def _is_elsewhere(folder: Path, besides: Path) -> bool:
    named_so = folder.name.startswith(".") or folder.name in _ELSEWHERE
    return named_so or (folder / "pyvenv.cfg").exists() or folder.resolve() == besides
