"""Recorded runs, opened: what sessions wrote about them, read and held against one another."""

from __future__ import annotations

import argparse
import shutil
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from tunix_eval.cli.meant import directory_of, manifest_paths
from tunix_eval.data import DataWarning, make_evalset
from tunix_eval.digest import sha256_file
from tunix_eval.errors import ArtifactError, SpecError, unknown_name
from tunix_eval.gate import run_scores
from tunix_eval.platforms import unpromised_values
from tunix_eval.records import RunScores, ScoredItem
from tunix_eval.scoring import read_eval
from tunix_eval.settings import read_settings
from tunix_eval.store import EvalManifest, Store, read_eval_manifest


@dataclass(frozen=True)
class Evaluation:
    """What a run's completions were worth on one evalset."""

    directory: Path
    manifest: EvalManifest

    @property
    def where(self) -> str:
        """Name the run and the evalset."""
        return f"run {self.manifest.run_id} ({self.manifest.run_name}) on {self.manifest.evalset}"

    @cached_property
    def scored(self) -> tuple[ScoredItem, ...]:
        """Every completion with its scores.

        Raises:
            ArtifactError: the file is damaged, or has other items than the manifest says.
        """
        path = self.directory / f"eval_after.{self.manifest.evalset}.jsonl"
        scored = tuple(read_eval(path))
        items = {one.completion.item_id: one.item for one in scored}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            found = make_evalset(self.manifest.evalset, items.values()).sha256
        if found != self.manifest.evalset_sha256:
            raise ArtifactError(
                f"{path}: its {len(items)} items are not the evalset that the manifest beside it names "
                f"({found[:12]}, expected {self.manifest.evalset_sha256[:12]}); evaluate the run again"
            )
        if sha256_file(path) != self.manifest.lines_sha256:
            raise ArtifactError(f"{path}: is not what the manifest beside it recorded; evaluate the run again")
        return scored

    @cached_property
    def items(self) -> dict[str, ScoredItem]:
        """Item id -> the item with its first completion."""
        return {one.completion.item_id: one for one in reversed(self.scored)}

    @property
    def clusters(self) -> dict[str, str]:
        """Item id -> its cluster, where it has one."""
        return {one.completion.item_id: one.item.cluster for one in self.scored if one.item.cluster}

    @cached_property
    def primary(self) -> str:
        """The metric that the run file named first."""
        path = self.directory / f"scorecard.{self.manifest.evalset}.json"
        try:
            primary = msgspec.json.decode(path.read_bytes(), type=_Card).primary
        except (OSError, msgspec.DecodeError):
            primary = ""
        if primary not in self.manifest.scorers:
            raise ArtifactError(f"{path}: missing or damaged; evaluate the run again, or name a metric with --metric")
        return primary

    def check_metric(self, metric: str) -> None:
        """Refuse a metric that was not measured."""
        if metric not in self.manifest.scorers:
            raise unknown_name(f"metric measured for {self.where}", metric, self.manifest.scorers)

    def scores(self, metric: str) -> RunScores:
        """Return the values of a metric, as gates take them."""
        self.check_metric(metric)
        held = self.manifest
        return run_scores(
            self.scored,
            metric,
            run_id=held.run_id,
            seed=held.seed,
            weights_sha256=held.weights_sha256,
            unpromised_bits=unpromised_values(held.device, held.environment),
        )


class _Card(msgspec.Struct):
    """What is read of a scorecard."""

    primary: str


@dataclass(frozen=True)
class RecordedRun:
    """A run with its evaluations by evalset."""

    evaluations: Mapping[str, Evaluation]

    @property
    def manifest(self) -> EvalManifest:
        """One of the manifests: they are of one run."""
        return next(iter(self.evaluations.values())).manifest


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where records are, and how to answer."""
    parser.add_argument("--evalset", metavar="NAME", help="only this evalset; by default every one that there is")
    parser.add_argument("--artifacts", metavar="DIR", help="the records, else as ./pyproject.toml sets it")
    parser.add_argument("--json", action="store_true", help="print JSON")


def open_runs(arguments: argparse.Namespace, references: Sequence[str]) -> list[RecordedRun]:
    """Open each run that a reference names, on --evalset or on all that it was evaluated on.

    Raises:
        SpecError: no run or several have such an id or name, or a run is named twice.
        ArtifactError: a record is damaged or of an older format.
    """
    store = open_store(arguments)
    runs = [_open(directory_of(reference, store), arguments.evalset) for reference in references]
    ids = [run.manifest.run_id for run in runs]
    if twice := next((one for one in ids if ids.count(one) > 1), None):
        raise SpecError(f"run {twice} is named twice; name it once")
    return runs


def open_store(arguments: argparse.Namespace) -> Store:
    """Return the artifacts directory that the arguments or ./pyproject.toml name."""
    return Store(Path(arguments.artifacts or read_settings(Path.cwd()).artifacts))


def _open(directory: Path, evalset: str | None) -> RecordedRun:
    paths = {path.name.removeprefix("eval_manifest.").removesuffix(".json"): path for path in manifest_paths(directory)}
    if not paths:
        raise ArtifactError(f"{directory}: holds no evaluation; evaluate the run again")
    if evalset is not None and evalset not in paths:
        raise unknown_name(f"evalset that run {directory.name} was evaluated on", evalset, paths)
    return RecordedRun({name: _evaluation(paths[name]) for name in ([evalset] if evalset else paths)})


def _evaluation(path: Path) -> Evaluation:
    manifest = read_eval_manifest(path)
    if manifest is None:
        raise ArtifactError(f"{path}: damaged, or of an older format; evaluate the run again")
    return Evaluation(path.parent, manifest)


def recorded_seeds(like: Evaluation, seeds: Collection[int], metric: str, store: Store) -> list[Evaluation]:
    """Return the evaluations of a run's recipe under other training seeds, one a seed; none where one is missing.

    They have the same items, prompts, scorer and generation settings, and were trained to the end.
    """
    found = {
        held.seed: Evaluation(folder, held)
        for folder, held in store.evaluations(like.manifest.evalset)
        if like.manifest.recipe_sha256 is not None
        and held.recipe_sha256 == like.manifest.recipe_sha256
        and held.evalset_sha256 == like.manifest.evalset_sha256
        and held.status == "complete"
        and not differences(like.manifest, held, [metric])
    }
    if not all(seed in found for seed in seeds):
        return []
    return [found[seed] for seed in seeds]


def check_same_items(first: Evaluation, second: Evaluation) -> None:
    """Refuse two evaluations that do not have the same items.

    Raises:
        ArtifactError: names the run that differs.
    """
    if first.manifest.evalset_sha256 != second.manifest.evalset_sha256:
        one, other = first.manifest, second.manifest
        raise ArtifactError(
            f"run {other.run_id} ({other.run_name}) was judged on another {other.evalset} than run {one.run_id} "
            f"({other.evalset_sha256[:12]}, not {one.evalset_sha256[:12]}); evaluate both on the same items"
        )


def differences(first: EvalManifest, second: EvalManifest, metrics: Collection[str]) -> list[str]:
    """Say what two evaluations do not share beside weights and items: prompts, answer rule, settings, scorers."""
    found = [] if first.answer == second.answer else ["answer rules differ"]
    if (first.generation is None) != (second.generation is None):
        found.append("prompts and generation settings of predictions are not known")
    else:
        if first.prompts_sha256 != second.prompts_sha256:
            found.append("prompts differ")
        settings = (first.generation or {}, second.generation or {})
        keys = sorted(key for key in {*settings[0], *settings[1]} if settings[0].get(key) != settings[1].get(key))
        if keys:
            found.append(f"generation settings differ ({', '.join(keys)})")
    scorers = [metric for metric in metrics if first.scorers.get(metric) != second.scorers.get(metric)]
    return found + [f"scorer '{metric}' differs" for metric in scorers]


def terminal_width() -> int:
    """Return how long a line may be."""
    return max(60, min(shutil.get_terminal_size().columns, 120))
