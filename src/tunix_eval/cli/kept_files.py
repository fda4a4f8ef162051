"""What the artifacts directory holds beside runs: cached completions, records of sessions, compiled programs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunix_eval.aside import left_in
from tunix_eval.cli.kept_runs import KeptRun
from tunix_eval.cli.terminal import counted
from tunix_eval.figures import bytes_text
from tunix_eval.store import Store, users_of

Kind = Literal["completions", "sessions", "compiled", "left"]
_WORDS: dict[Kind, tuple[str, str]] = {
    "completions": ("file", " of completions"),
    "sessions": ("session", ""),
    "compiled": ("compiled program", ""),
    "left": ("leftover", " of killed processes"),
}
_DAY = 86_400


@dataclass(frozen=True)
class KeptFile:
    """A file, or a folder with all that is in it."""

    path: Path
    kind: Kind
    size_bytes: int
    changed: float
    """When it was last written, in seconds since 1970."""
    run_ids: tuple[str, ...] = ()
    """Of completions: the runs that use them, as far as that is noted."""


def kept_files(store: Store, baselines: Path) -> list[KeptFile]:
    """Return what there is, and what killed writers left beside baselines; the newest session first.

    Each file is counted once, however many names it has.
    """
    seen = set[tuple[int, int]]()

    def made(path: Path, kind: Kind, run_ids: tuple[str, ...] = ()) -> KeptFile:
        states = _states(path)
        fresh = {(one.st_dev, one.st_ino): one.st_size for one in states if not stat.S_ISDIR(one.st_mode)}
        size = sum(bytes_ for key, bytes_ in fresh.items() if key not in seen)
        seen.update(fresh)
        return KeptFile(path, kind, size, max((one.st_mtime for one in states), default=0.0), run_ids)

    left = [*store.left_behind(), *(path for folder in sorted(baselines.glob("*")) for path in left_in(folder))]
    shared = [made(path, "compiled") for path in store.own("compiled/*/[!.]*")]
    # What a process has of its own are links to these, and what it has not shared yet.
    own = [made(path, "compiled") for path in store.own("compiled/*/.*/*-cache") if path.parent not in left]
    return [
        *(made(path, "completions", users_of(path)) for path in store.own("completions/[!.]*.jsonl")),
        *(made(path, "sessions") for path in reversed(store.own("sessions/*"))),
        *shared,
        *(one for one in own if one.size_bytes),
        *(made(path, "left") for path in left),
    ]


def useless(files: Sequence[KeptFile], staying: Sequence[KeptRun], keep: int) -> list[KeptFile]:
    """Return what nothing refers to once only these runs are there, and sessions beyond the newest of each name."""
    return [
        *(one for one in files if one.kind == "left"),
        *_unused_completions([one for one in files if one.kind == "completions"], staying),
        *_old_sessions([one for one in files if one.kind == "sessions"], keep),
    ]


def totals(files: Sequence[KeptFile]) -> list[str]:
    """Say how much there is of each kind."""
    found = []
    for kind, (noun, of) in _WORDS.items():
        same = [one for one in files if one.kind == kind]
        if same:
            found.append(f"{counted(len(same), noun)}{of}, {bytes_text(sum(one.size_bytes for one in same))}")
    return found


def _unused_completions(files: Sequence[KeptFile], staying: Sequence[KeptRun]) -> list[KeptFile]:
    """Find those whose runs are gone, and where no run is noted, those that are older than every run."""
    ids = {one.run_id for one in staying if one.status != "replaced"}
    oldest = min((_begun(one) for one in staying if one.status != "replaced"), default=math.inf)
    return [one for one in files if (not ids & {*one.run_ids} if one.run_ids else one.changed < oldest)]


def _begun(run: KeptRun) -> float:
    """Return from when on completions of a run can be."""
    if run.status in ("complete", "truncated"):
        return run.created_at.timestamp()
    # The weights of a checkpoint may be of any age; of the others there are no completions.
    return -math.inf if run.status in ("checkpoint", "damaged") else math.inf


def _old_sessions(files: Sequence[KeptFile], keep: int) -> list[KeptFile]:
    """Find those that are not among the newest of any name that they are about."""
    newer, found = Counter[str](), []
    for one in files:
        names = _names(one.path)
        if names is None:
            # It was killed, or is under way.
            stays = time.time() - one.changed < _DAY
        else:
            newer.update(names)
            stays = any(newer[name] <= keep for name in names)
        if not stays:
            found.append(one)
    return found


def _names(session: Path) -> Collection[str] | None:
    """Return the names of the runs that a session was about; None where it has not come to its end."""
    try:
        runs = json.loads((session / "verdicts.json").read_bytes())["runs"]
        return {run["name"] for run in runs} or {""}
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return {""}


def _states(path: Path) -> list[os.stat_result]:
    """Return the state of a file, or of a folder and all below it."""
    found = []
    for one in [path, *(Path(top, name) for top, folders, names in os.walk(path) for name in (*folders, *names))]:
        # Sessions that are under way write and delete.
        with contextlib.suppress(OSError):
            found.append(one.lstat())
    return found
