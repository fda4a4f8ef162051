"""Runs whose training was stopped, as `tunix-eval gate` is asked about them: their gates are not decided."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tunix_eval.cli.kept_runs import KeptRun, kept_runs
from tunix_eval.cli.recorded import open_store
from tunix_eval.gate import not_decided
from tunix_eval.records import Verdict
from tunix_eval.settings import read_settings
from tunix_eval.store import Store, read_eval_manifest
from tunix_eval.tables import is_path


def stopped_verdicts(arguments: argparse.Namespace, gates: Sequence[tuple[str, str, str]]) -> list[Verdict]:
    """Return a verdict for each gate of each run that is named and whose training was stopped; none where none was.

    A run of the same id or name that was evaluated comes first.

    Args:
        arguments: of the command.
        gates: rule, metric and evalset of each; empty where it is not known.
    """
    store = open_store(arguments)
    stopped = [run for reference in arguments.runs if (run := _stopped(reference, store, arguments))]
    return [
        not_decided(
            "stopped",
            f"run '{run.name}' ({run.run_id}) stopped at {run.steps} of {run.total_steps} steps; run pytest "
            "--tunix-train again to go on",
            rule=rule,
            metric=metric,
            run_name=run.name or "",
            run_id=run.run_id,
            evalset=evalset,
        )
        for run in stopped
        for rule, metric, evalset in gates
    ]


def _stopped(reference: str, store: Store, arguments: argparse.Namespace) -> KeptRun | None:
    """Return the one run that a reference names, where its training was stopped and nothing evaluated has the name."""
    if _is_evaluated(reference, store):
        return None
    baselines = Path(arguments.baselines or read_settings(Path.cwd()).baselines)
    found = [
        run
        for run in kept_runs(store, baselines, Path.cwd())
        if run.status == "unfinished" and run.total_steps is not None
        if (run.directory.resolve() == Path(reference).resolve() if is_path(reference) else _is_named(run, reference))
    ]
    return found[0] if len(found) == 1 else None


def _is_evaluated(reference: str, store: Store) -> bool:
    if is_path(reference):
        return any(Path(reference).glob("eval_manifest.*.json"))
    paths = store.evaluation_paths()
    manifests = map(read_eval_manifest, paths)
    return any(path.relative_to(store.root / "runs").parts[0].startswith(reference) for path in paths) or any(
        held is not None and held.run_name == reference for held in manifests
    )


def _is_named(run: KeptRun, reference: str) -> bool:
    return run.name == reference or run.run_id.startswith(reference)
