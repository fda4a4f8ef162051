"""What a run file names, looked up as the plan of a session looks it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunix_eval.data import read_predictions
from tunix_eval.errors import DataError, SpecError, TunixEvalError, UnknownNameError, unknown_name
from tunix_eval.run_files import read_run_file, run_file_path
from tunix_eval.scoring import unmeasured
from tunix_eval.specs import AnySpec, CheckpointSpec, GateSpec, PredictionsSpec, RunSpec

if TYPE_CHECKING:
    from tunix_eval.cli.bridge import Catalogue, Library


def unknown_names(path: Path, spec: AnySpec, registry: Catalogue, library: Library) -> list[str]:
    """Return what is wrong with the names and files that a run file names, a line each; runs are not looked for."""
    flaws: dict[str, None] = {}
    for look_up in _look_ups(path, spec, registry, library):
        try:
            look_up()
        except TunixEvalError as error:
            flaws[str(error)] = None
    return list(flaws)


def _look_ups(path: Path, spec: AnySpec, registry: Catalogue, library: Library) -> Iterator[Callable[[], object]]:
    folder = path.parent
    for name in spec.scorers:
        yield partial(registry.scorers, (name,), spec.scorer_options)
    for reference in (*spec.evalsets, *(gate.evalset for gate in spec.gates if gate.evalset)):
        yield partial(library.evalset, reference, folder=folder)
    if isinstance(spec, RunSpec):
        for reference in (spec.dataset, *([spec.holdout] if isinstance(spec.holdout, str) else ())):
            yield partial(library.dataset, reference, folder=folder)
        yield partial(registry.trainer_source, spec.trainer)
    if isinstance(spec, PredictionsSpec):
        yield partial(read_predictions, Path(spec.predictions))
    if isinstance(spec, RunSpec | CheckpointSpec):
        yield partial(_check_format, spec, registry)
    for number, gate in enumerate(spec.gates, 1):
        yield partial(_check_gate, f"gates, number {number}", gate, spec, folder)
        yield partial(_check_measured, f"gates, number {number}", gate, spec, registry, library, folder)


def _check_format(spec: RunSpec | CheckpointSpec, registry: Catalogue) -> None:
    controls: tuple[str, ...] = ()
    if spec.renderer is not None:
        controls = registry.renderer(spec.renderer, spec.renderer_options).control_tokens
    if spec.tokenizer is not None:
        registry.tokenizer(spec.tokenizer, controls)


def _check_gate(where: str, gate: GateSpec, spec: AnySpec, folder: Path) -> None:
    if gate.metric not in spec.scorers:
        raise SpecError(f"{where}: {_unmeasured(gate, spec)}")
    if gate.evalset is None and len(spec.evalsets) != 1:
        raise SpecError(f"{where}: names no evalset, and the run file lists {', '.join(spec.evalsets) or 'none'}")
    if gate.than:
        read_run_file(run_file_path(gate.than, folder))


def _check_measured(
    where: str, gate: GateSpec, spec: AnySpec, registry: Catalogue, library: Library, folder: Path
) -> None:
    reference = gate.evalset or (spec.evalsets[0] if len(spec.evalsets) == 1 else None)
    if gate.metric not in spec.scorers or reference is None:
        return
    scorer = registry.scorers((gate.metric,), spec.scorer_options)[gate.metric]
    if found := unmeasured(scorer, library.evalset(reference, folder=folder)):
        raise DataError(f"{where}: {found}; a gate needs a value for every item")


def _unmeasured(gate: GateSpec, spec: AnySpec) -> UnknownNameError:
    return unknown_name(f"metric measured by run '{spec.name}'", gate.metric, spec.scorers)
