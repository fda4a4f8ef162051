"""Runs whose training was stopped, as `tunix-eval gate` is asked about them: their gates are not decided."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tunix_eval.cli.kept_runs import KeptRun
from tunix_eval.cli.meant import evaluated_as, unfinished_as
from tunix_eval.cli.recorded import open_store
from tunix_eval.gate import not_decided
from tunix_eval.records import Verdict
from tunix_eval.store import Store


def stopped_verdicts(arguments: argparse.Namespace, gates: Sequence[tuple[str, str, str]]) -> list[Verdict]:
    """Return a verdict for each gate of each run that is named and whose training was stopped; none where none was.

    A name that is also that of an evaluated run is for `open_runs` to refuse.

    Args:
        arguments: of the command.
        gates: rule, metric and evalset of each; empty where it is not known.
    """
    store = open_store(arguments)
    stopped = [run for reference in arguments.runs if (run := _stopped(reference, store))]
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


def _stopped(reference: str, store: Store) -> KeptRun | None:
    """Return the one run that a reference names, where its training was stopped and nothing evaluated has the name."""
    found = unfinished_as(reference, store)
    stopped = len(found) == 1 and found[0].status == "unfinished" and found[0].total_steps is not None
    return found[0] if stopped and not evaluated_as(reference, store) else None
