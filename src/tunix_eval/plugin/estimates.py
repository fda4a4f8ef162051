"""How long the runs of a baseline take, by the runs that are recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunix_eval.errors import ArtifactError
from tunix_eval.figures import clock_text
from tunix_eval.plugin.room import steps_done
from tunix_eval.plugin.session import Session
from tunix_eval.specs import RunSpec
from tunix_eval.store import RunManifest


@dataclass(frozen=True)
class BaselineRuns:
    """The runs of a baseline that will be written."""

    seeds: tuple[int, ...]
    missing: int
    """Those that are trained first."""
    seconds: float | None
    """How long that takes, by the newest run of the name; None where there is none, or nothing is trained."""
    chosen: bool
    """Whether the number is the user's, or that of the baseline that is there."""

    def text(self) -> str:
        """Say it in one line."""
        count, first, last = len(self.seeds), self.seeds[0], self.seeds[-1]
        seeds = f"{count} runs (seeds {first} to {last})" if count > 1 else f"1 run (seed {first})"
        time = f", about {clock_text(self.seconds)} by the newest run of the name" if self.seconds is not None else ""
        choice = "" if self.chosen else "; --tunix-baseline-runs 1 makes it of one, which shows no noise between seeds"
        return f"{seeds}, {self.missing} to train{time}{choice}"


def baseline_runs_of(session: Session, specs: Sequence[RunSpec], *, chosen: bool) -> BaselineRuns:
    """Return what is known of a baseline's runs before they are trained."""
    missing = [one for one in specs if session.recorded(one) is None]
    newest = _newest_run(session, specs[0]) if missing else None
    seconds = None
    if newest is not None:
        steps = sum(session.prepared(one).total_steps - steps_done(session, one) for one in missing)
        seconds = newest.wall_seconds / newest.steps * steps
    return BaselineRuns(tuple(one.seed for one in specs), len(missing), seconds, chosen)


def _newest_run(session: Session, spec: RunSpec) -> RunManifest | None:
    """Return the newest run of a name on this kind of device, one of the same recipe first."""
    wanted = session.identity(spec).recipe_sha256
    found = []
    for path in session.store.root.glob("runs/*/run_manifest.json"):
        try:
            manifest = session.store.find_run(path.parent.name)
        except ArtifactError:
            # A run that cannot be read is the matter of those who ask for it.
            continue
        if manifest is None or manifest.recipe.get("name") != spec.name or not manifest.steps:
            continue
        if manifest.device.get("platform") == session.device.platform:
            found.append(manifest)
    return max(found, key=lambda one: (one.recipe.get("sha256") == wanted, one.created_at), default=None)
