"""Which recorded run is meant by an id, by first digits of one, by a name or a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunix_eval.cli.kept_runs import KeptRun, finished_runs, unfinished_runs
from tunix_eval.errors import ArtifactError, SpecError, unknown_name
from tunix_eval.store import EvalManifest, Store, read_eval_manifest
from tunix_eval.tables import is_path

_LISTED = 10


def manifest_paths(directory: Path) -> list[Path]:
    """Return the manifests of the evaluations in a directory of records."""
    return sorted(directory.glob("eval_manifest.*.json"))


def directory_of(reference: str, store: Store) -> Path:
    """Return the records of the run with this id, these first digits of an id, or this name.

    Raises:
        SpecError: no run or several have it, those among them whose training is not finished: which one is meant is
            not for us to guess.
        ArtifactError: the only one was stopped or is being trained.
    """
    found, begun = evaluated_as(reference, store), unfinished_as(reference, store)
    if len(found) == 1 and not begun:
        return next(iter(found))
    if is_path(reference) and not begun:
        return Path(reference)
    listed = [
        *(f"{run.run_id} ({run.name}, seed {run.seed}, {run.status_text})" for run in begun),
        *(_introduced(directory, held) for directory, held in sorted(found.items())),
    ]
    if len(listed) > 1:
        more = ", .." if len(listed) > _LISTED else ""
        raise SpecError(f"'{reference}' is {len(listed)} runs; name one by its id: {', '.join(listed[:_LISTED])}{more}")
    if begun:
        raise ArtifactError(f"run {listed[0]} was not evaluated; train it to its end")
    if bare := [run for run in finished_runs(store) if run.name == reference or _begins(run.run_id, reference)]:
        names = ", ".join(f"{run.run_id} ({run.name}, seed {run.seed})" for run in bare[:_LISTED])
        raise ArtifactError(f"'{reference}' was trained, but not evaluated: {names}; run a test that needs its scores")
    recorded = _recorded(store).values()
    known = {one.run_name for held in recorded for one in held if one}
    error = unknown_name(f"evaluated run in {store.root}", reference, known)
    odd = sum(None in held for held in recorded)
    more = f" {odd} runs have records that are damaged or of an older format: evaluate them again" if odd else ""
    raise SpecError(f"{error}{more}")


def evaluated_as(reference: str, store: Store) -> dict[Path, list[EvalManifest | None]]:
    """Return where the evaluations of each run are that a reference names, with their manifests.

    An id means the records under the run's own name; where there are none, those under the one name that it has.
    """
    if is_path(reference):
        held = _manifests(Path(reference))
        return {Path(reference): held} if held else {}
    recorded = _recorded(store)
    by_id: dict[str, list[Path]] = {}
    for directory in recorded:
        by_id.setdefault(directory.relative_to(store.root / "runs").parts[0], []).append(directory)
    found = {
        directory
        for run_id, directories in by_id.items()
        if _begins(run_id, reference)
        for directory in ([one for one in directories if one.name == run_id] or directories)
    }
    found |= {directory for directory, held in recorded.items() if reference in (one.run_name for one in held if one)}
    return {directory: recorded[directory] for directory in found}


def unfinished_as(reference: str, store: Store) -> list[KeptRun]:
    """Return the runs that a reference names and whose training was begun and is not at its end."""
    if is_path(reference):
        return [run for run in unfinished_runs(store) if run.directory.resolve() == Path(reference).resolve()]
    return [run for run in unfinished_runs(store) if run.name == reference or _begins(run.run_id, reference)]


def _begins(run_id: str, reference: str) -> bool:
    return bool(reference) and run_id.startswith(reference)


def _recorded(store: Store) -> dict[Path, list[EvalManifest | None]]:
    return {path.parent: _manifests(path.parent) for path in store.evaluation_paths()}


def _introduced(directory: Path, manifests: Sequence[EvalManifest | None]) -> str:
    held = next((one for one in manifests if one), None)
    if held is None:
        return f"{directory.name} (damaged, or of an older format)"
    cut = "stopped before its last step, " if held.status == "truncated" else ""
    return f"{held.run_id} ({held.run_name}, seed {held.seed}, {cut}evaluated {held.created_at})"


def _manifests(directory: Path) -> list[EvalManifest | None]:
    return [read_eval_manifest(path) for path in manifest_paths(directory)]
