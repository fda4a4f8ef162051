"""Why a run is trained though one of its name is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunix_eval.plugin.prepare import Prepared
from tunix_eval.plugin.training import Identity, described_part
from tunix_eval.run_inputs import Difference, RunInputs, differences, newest_run, recorded_inputs
from tunix_eval.store import Store


@dataclass(frozen=True)
class Changes:
    """In what a run that is to be trained differs from the newest recorded one of its name."""

    since: str
    """The id of that run."""
    found: tuple[Difference, ...]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.found))} (since {self.since[:8]})"


def changes(prepared: Prepared, identity: Identity, store: Store, root: Path) -> Changes | None:
    """Say why a run is trained though one of its name is recorded; None where none is."""
    newest = newest_run(store, prepared.spec.name, like=identity.inputs)
    if newest is None or newest.run_id == identity.run_id:
        return None
    before = recorded_inputs(store.run_directory(newest.run_id), newest)
    return Changes(newest.run_id, tuple(differences(before, _planned_inputs(prepared, identity, root))))


def _planned_inputs(prepared: Prepared, identity: Identity, root: Path) -> RunInputs:
    """Return what a run is to be made from, as `recorded_inputs` has it of one that is recorded."""
    spec, form = prepared.spec, prepared.format
    named = prepared.named_holdout
    settings = {
        "renderer": described_part(spec.renderer, form.renderer, root),
        "tokenizer": described_part(spec.tokenizer, form.tokenizer, root),
        "style": form.style,
        "renderer_options": spec.renderer_options,
        "supervise": spec.supervise,
        "step_weight": spec.step_weight,
        "truncation": spec.truncation,
        "holdout": named.key if named else spec.holdout,
    }
    dataset = prepared.dataset
    return RunInputs(identity.inputs, settings, dataset.key, dataset.content_sha256, prepared.trace_digests)
