"""`tunix-eval gate`: decide again from records. Nothing is trained and nothing is written."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tunix_eval.cli.recorded import (
    Evaluation,
    RecordedRun,
    add_record_arguments,
    check_same_items,
    differences,
    open_runs,
    open_store,
    recorded_seeds,
    terminal_width,
)
from tunix_eval.cli.stopped import stopped_verdicts
from tunix_eval.cli.terminal import json_lines
from tunix_eval.data import file_stem
from tunix_eval.errors import ArtifactError, SpecError, unknown_name
from tunix_eval.figures import printable
from tunix_eval.gate import (
    baseline_runs,
    check_answered,
    check_comparable,
    check_equal_scores,
    completions_sha256,
    corrected,
    decide,
    family_of,
    read_baseline,
    update_command,
)
from tunix_eval.records import RunScores, SessionReport, Verdict
from tunix_eval.report import session_table, verdicts_json
from tunix_eval.run_files import read_run_file, run_file_path
from tunix_eval.settings import read_settings
from tunix_eval.specs import AnySpec, GateSpec, RunSpec
from tunix_eval.store import Store
from tunix_eval.tables import is_path, validated

_OF_A_RULE = (
    "rule",
    "metric",
    "alpha",
    "margin",
    "value",
    "drop",
    "than",
    "test",
    "confirm",
    "confirm_below",
    "seed_noise",
    "unproven",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="id, first digits of it, directory, or name of a run; several are retrainings that are gated together",
    )
    parser.add_argument("--rule", help="no_worse (default), non_inferior, better, at_least, at_most or max_drop")
    parser.add_argument("--metric", metavar="M", help="by default the primary one")
    parser.add_argument("--alpha", metavar="A", type=float, help="one-sided error rate; default 0.05")
    parser.add_argument("--margin", metavar="M", type=float, help="of no_worse and non_inferior, in the metric's unit")
    parser.add_argument("--value", metavar="V", type=float, help="of at_least and at_most")
    parser.add_argument("--drop", metavar="D", type=_drop, help='of max_drop: "2%%" of the reference, or a number')
    parser.add_argument("--than", metavar="RUN", help="of better: the run to compare with")
    parser.add_argument("--test", metavar="T", help="mid_p (default) or exact: which McNemar test")
    parser.add_argument("--confirm", metavar="N", type=int, help="recorded seeds of a second look; default 2")
    parser.add_argument(
        "--confirm-below", metavar="P", type=float, help="p of a first look that asks for it; default 0.2"
    )
    parser.add_argument(
        "--seed-noise", metavar="S", type=float, help="how far a seed moves the mean, as far as is known"
    )
    parser.add_argument("--unproven", metavar="U", help="fail (default) or skip: a non_inferior that proves nothing")
    parser.add_argument("--gates", metavar="RUNFILE", help="decide the [[gates]] of this run file, with its correction")
    parser.add_argument("--baselines", metavar="DIR", help="the baselines, else as ./pyproject.toml sets it")
    add_record_arguments(parser)


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return what to print, and 1 where a gate failed, is undecided, or was not decided because its run was stopped."""
    asked = {name: value for name in _OF_A_RULE if (value := getattr(arguments, name)) is not None}
    if arguments.gates:
        if odd := [*asked, *(["evalset"] if arguments.evalset else [])]:
            raise SpecError(f"--gates decides the gates as the run file has them; leave out --{odd[0]}")
        verdicts = _of_run_file(arguments, Path(arguments.gates))
    else:
        verdicts = _of_arguments(arguments, asked)
    report = SessionReport(verdicts=tuple(verdicts))
    failed = [verdict for verdict in verdicts if verdict.outcome in ("failed", "undecided", "stopped")]
    lines = json_lines(verdicts_json(report)) if arguments.json else _lines(report, failed)
    return lines, 1 if failed else 0


def _drop(text: str) -> float | str:
    """Return a number as one; a share stays the text that it is."""
    try:
        return float(text)
    except ValueError:
        return text


def _lines(report: SessionReport, failed: Sequence[Verdict]) -> list[str]:
    width = terminal_width()
    lines = session_table(report, width=width)
    for verdict in failed:
        # The table has the reason of a gate that could not be decided.
        if verdict.delta is not None:
            lines += ["", *textwrap.wrap(f"{verdict.rule}: {printable(verdict.reason)}", width)]
    return lines


def _of_arguments(arguments: argparse.Namespace, asked: dict[str, object]) -> list[Verdict]:
    """Decide one gate on every evalset that the runs were evaluated on."""
    rule, metric = arguments.rule or "no_worse", arguments.metric or ""
    if stopped := stopped_verdicts(arguments, [(rule, metric, arguments.evalset or "")]):
        return stopped
    runs = open_runs(arguments, arguments.runs)
    others = open_runs(arguments, [arguments.than]) if arguments.than else []
    verdicts = []
    for evalset, first in runs[0].evaluations.items():
        metric = {} if arguments.metric else {"metric": first.primary}
        gate = validated(GateSpec, {"rule": "no_worse"} | metric | asked, where="gate")
        verdicts.append(_verdict(gate, _on(runs, evalset), _on(others, evalset), arguments))
    return verdicts


def _of_run_file(arguments: argparse.Namespace, path: Path) -> list[Verdict]:
    """Decide every gate of a run file, with its correction."""
    spec = read_run_file(path)
    if not spec.gates:
        raise SpecError(f"{path}: has no [[gates]]; name a rule with --rule in place of --gates")
    named = [(gate.rule, gate.metric, _evalset_name(gate, spec, path)) for gate in spec.gates]
    if stopped := stopped_verdicts(arguments, named):
        return stopped
    runs = open_runs(arguments, arguments.runs)
    store = open_store(arguments)
    verdicts = []
    for gate in spec.gates:
        evalset = _evalset_name(gate, spec, path)
        current = _on(runs, evalset)
        if len(current) == 1:
            current = _with_seeds(current[0], gate, store)
        others = _named_by_file(gate, path, evalset, store) if gate.than else []
        verdicts.append(_verdict(gate, current, others, arguments, family_of(spec.gates, spec.correction)))
    return corrected(verdicts, spec.correction)


def _evalset_name(gate: GateSpec, spec: AnySpec, path: Path) -> str:
    """Return the name of the evalset that a gate of a run file is about: a file's name is its stem."""
    reference = gate.evalset or (spec.evalsets[0] if len(spec.evalsets) == 1 else None)
    if reference is None:
        raise SpecError(f"{path}: gate {gate.rule}({gate.metric}) names no evalset; add evalset = ... to it")
    return file_stem(Path(reference)) if is_path(reference) else reference


def _on(runs: Sequence[RecordedRun], evalset: str) -> list[Evaluation]:
    """Return the runs' evaluations on an evalset."""
    for run in runs:
        if evalset not in run.evaluations:
            raise unknown_name(f"evalset that run {run.manifest.run_id} was evaluated on", evalset, run.evaluations)
    return [run.evaluations[evalset] for run in runs]


def _with_seeds(first: Evaluation, gate: GateSpec, store: Store) -> list[Evaluation]:
    """Return a run, and beside it the recorded seeds that its gate asks for; completions from elsewhere have none."""
    if gate.seeds == 1 or (gate.runs is None and first.manifest.recipe_sha256 is None):
        return [first]
    start = first.manifest.seed + 1
    more = recorded_seeds(first, range(start, start + gate.seeds - 1), gate.metric, store)
    if not more:
        raise ArtifactError(
            f"{first.where}: {gate.rule}({gate.metric}) asks for {gate.seeds} runs, and seeds {start} to "
            f"{start + gate.seeds - 2} of its recipe are not all recorded; train them, or name the runs that there are"
        )
    return [first, *more]


def _named_by_file(gate: GateSpec, path: Path, evalset: str, store: Store) -> list[Evaluation]:
    """Return the recorded runs of the run file that a `better` gate compares with."""
    other = read_run_file(run_file_path(gate.than or "", path.parent))
    recorded = [Evaluation(folder, held) for folder, held in store.evaluations(evalset) if held.run_name == other.name]
    there = [one.manifest.seed for one in recorded]
    seeds = range(other.seed, other.seed + gate.seeds) if isinstance(other, RunSpec) else sorted(set(there))
    found = [one for one in recorded if one.manifest.seed in seeds]
    if len(found) != (gate.seeds if isinstance(other, RunSpec) else 1) or {one.manifest.seed for one in found} != set(
        seeds
    ):
        listed = ", ".join(f"{one.manifest.run_id} (seed {one.manifest.seed})" for one in recorded) or "none"
        raise ArtifactError(
            f"{path}: {gate.rule}({gate.metric}) compares with one run of '{other.name}' a seed, seeds "
            f"{', '.join(map(str, seeds))}; evaluated on {evalset}: {listed}; name a run with --rule better --than RUN"
        )
    return found


def _verdict(
    gate: GateSpec,
    current: Sequence[Evaluation],
    others: Sequence[Evaluation],
    arguments: argparse.Namespace,
    family: int = 1,
) -> Verdict:
    _check_retrainings(current, gate.metric)
    first = current[0]
    for one in (*current, *others):
        one.check_metric(gate.metric)
        check_same_items(first, one)
        if one.manifest.status == "truncated":
            raise ArtifactError(f"{one.where}: was stopped before its last step; a truncated run is not gated")
        if one.manifest.scorers[gate.metric] != first.manifest.scorers[gate.metric]:
            raise ArtifactError(f"{one.where}: scored by another version of '{gate.metric}'; evaluate it again")
    scorer = first.manifest.scorers[gate.metric]
    reference = [one.scores(gate.metric) for one in others]
    if gate.value is None and not others:
        reference = _baseline(current, gate.metric, arguments)
    scores = [one.scores(gate.metric) for one in current]
    start = 1 + max(one.seed for one in (*scores, *reference))
    more = []
    if gate.rule == "no_worse" and gate.confirm:
        seeds = range(start, start + gate.confirm)
        more = [one.scores(gate.metric) for one in recorded_seeds(first, seeds, gate.metric, open_store(arguments))]

    low, high = scorer.bounds or (None, None)
    return decide(
        gate,
        run_name=first.manifest.run_name,
        evalset=first.manifest.evalset,
        current=scores,
        reference=reference,
        lower_is_better=scorer.lower_is_better,
        clusters=first.clusters,
        bounds=(-math.inf if low is None else low, math.inf if high is None else high),
        fresh=(lambda count: more) if more else None,
        family=family,
    )


def _check_retrainings(current: Sequence[Evaluation], metric: str) -> None:
    """Refuse to gate runs together that are not one recipe under several seeds, evaluated in one way."""
    first, *more = [one.manifest for one in current]
    for other in more:
        pair = f"runs {first.run_id} and {other.run_id}"
        if first.recipe_sha256 is None or first.recipe_sha256 != other.recipe_sha256:
            raise SpecError(f"{pair} are not of one recipe, so that they are no retrainings; gate each on its own")
        if differing := differences(first, other, [metric]):
            raise SpecError(f"{pair} were not evaluated in one way: {'; '.join(differing)}; evaluate both in one")
    seeds = [one.manifest.seed for one in current]
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise SpecError(f"two runs have the seed {twice[0]}; each run that is gated together needs a seed of its own")


def _baseline(current: Sequence[Evaluation], metric: str, arguments: argparse.Namespace) -> list[RunScores]:
    """Return the baseline's runs, checked to be made with the same prompts, evalset and scorer."""
    first, held = current[0], current[0].manifest
    folder = Path(arguments.baselines or read_settings(Path.cwd()).baselines)
    path = folder / held.run_name / f"{held.evalset}.json"
    trains = held.source == "training"
    baseline = read_baseline(path, trains=trains)
    scorer = held.scorers[metric]
    check_comparable(
        baseline,
        run_name=held.run_name,
        evalset_sha256=held.evalset_sha256,
        prompts_sha256=held.prompts_sha256,
        scorer_sha256=scorer.sha256,
        metric=metric,
        item_ids=sorted({one.completion.item_id for one in first.scored}),
        path=path,
        lower_is_better=scorer.lower_is_better,
        trains=trains,
    )
    advice = f"say in the run file where the answer stands (answer = ..), then {update_command(trains=trains)}"
    low, high = scorer.bounds or (None, None)
    bounds = None if low is None or high is None else (low, high)
    check_answered(baseline, metric, bounds=bounds, where=path, advice=advice)
    for one in current:
        written = completions_sha256(one.scored)
        check_equal_scores(baseline, metric, one.scores(metric), written, path=path, trains=trains)
    return baseline_runs(baseline, metric)
