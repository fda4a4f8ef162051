"""Gates that a session does not come to see: of run files that are only named by tests, and of tests beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from tunix_eval.plugin.session import Session
from tunix_eval.specs import PredictionsSpec

_MOST_BYTES = 1_000_000
"""Of a file that is looked into; longer ones are no tests that somebody wrote."""


def gates_left_out(
    session: Session, decided: Collection[tuple[str, str, str]], collected: Collection[Path]
) -> Iterator[str]:
    """Say which gates of the session's runs stand in files that were not collected.

    Args:
        session: what was read.
        decided: run, rule and metric of every gate that the tests' markers and the run files name.
        collected: the files whose tests the session has, chosen or not.
    """
    for name, (path, spec) in session.library.run_files().items():
        left = [gate for gate in spec.gates if (name, gate.rule, gate.metric) not in decided]
        if left and Path(path) not in collected:
            listed = ", ".join(f"{gate.rule}({gate.metric})" for gate in left)
            yield f"{path}: its [[gates]] {listed} are decided only where the file itself is named"
        source = Path(spec.predictions if isinstance(spec, PredictionsSpec) else path)
        for file in _tests_beside({Path(path).parent, *(one.parent for one in collected)}, session):
            if file not in collected and _names(file, {Path(path).name, source.name}):
                yield f"{file}: holds gates of run '{name}' and is not among the tests, so that they are not decided"


def _tests_beside(folders: set[Path], session: Session) -> list[Path]:
    """Return the test files in these folders, by pytest's own patterns."""
    patterns: Sequence[str] = session.config.getini("python_files")
    return sorted(
        entry
        for folder in folders
        for entry in folder.glob("*.py")
        if any(fnmatch(entry.name, pattern) for pattern in patterns)
    )


def _names(file: Path, names: set[str]) -> bool:
    """Tell whether a test file gates one of these run files, by what is written in it; nothing is imported."""
    try:
        text = file.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
    except OSError:
        return False
    named = (f"{before}{name}{after}" for name in names for before in "'\"/" for after in "'\"")
    return "tunix_gate" in text and any(one in text for one in named)
