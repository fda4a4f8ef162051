"""What one item asks for: its markers, read, or what its run file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tunix_eval.errors import SpecError, TunixEvalError
from tunix_eval.plugin.items import (
    DATA_FIXTURES,
    EVALSET_FIXTURES,
    FIXTURES,
    MARKERS,
    RUN_FIXTURES,
    UNTAKEN_KEY,
    fixtures_of,
    is_gate,
    misspelt,
)
from tunix_eval.plugin.markers import arguments
from tunix_eval.plugin.session import Session
from tunix_eval.records import Evalset
from tunix_eval.run_files import run_file_path
from tunix_eval.specs import AnySpec, GateSpec, PredictionsSpec, RunSpec
from tunix_eval.tables import resolve_path, resolve_reference, shown, validated


@dataclass(frozen=True)
class Need:
    """What one item asks for through markers or its run file."""

    folder: Path
    """The folder of the test or run file, which relative paths start from."""
    spec: AnySpec | None = None
    run: bool = False
    """Whether the completions or the weights of the spec are needed."""
    dataset: str | None = None
    renderer: str | None = None
    evalset: str | None = None
    gates: tuple[GateSpec, ...] = ()
    """What the markers or the run file ask for; a test body may decide others."""
    gated: bool = False
    """Whether the item decides gates, so that --tunix-require lets it not be skipped."""
    error: str | None = None
    """One line; the item fails at setup with it."""
    skip: str | None = None
    """One line; the item is skipped at setup with it."""
    trains: bool = False
    """Whether it is skipped for want of --tunix-train alone."""
    same_as: str | None = None
    """The first item that has the same error."""

    def the_spec(self) -> AnySpec:
        """Return the spec of the run file or of the predictions.

        Raises:
            SpecError: there is none.
        """
        if self.spec is None:
            raise SpecError('no run file: mark the test with @pytest.mark.tunix_train("name.toml")')
        return self.spec

    def training(self) -> RunSpec:
        """Return the spec of a run file that trains.

        Raises:
            SpecError: there is none, or it judges what was trained elsewhere.
        """
        spec = self.the_spec()
        if not isinstance(spec, RunSpec):
            what = "predictions" if isinstance(spec, PredictionsSpec) else "a checkpoint"
            raise SpecError(
                f"'{spec.name}' judges {what} and has no training data; for fixtures of data mark the test with "
                '@pytest.mark.tunix_dataset("name"), or with the run file of a training'
            )
        return spec

    def the_evalset(self, session: Session) -> Evalset:
        """Return the evalset of the marker, or the run file's only one.

        Raises:
            SpecError: there is none.
        """
        if self.evalset is None:
            raise SpecError('no evalset: mark the test with @pytest.mark.tunix_evalset("name")')
        return session.library.evalset(self.evalset)


def need_of(session: Session, item: pytest.Item) -> Need:
    """Read an item's markers, or what its run file says; a mistake in them is the need's error."""
    own = getattr(item, "tunix_need", None)
    if isinstance(own, Need):
        return own
    # The tests of one function share their marks, and ten thousand of them one answer. Marks live as long as items.
    marks = [(id(mark), mark in item.own_markers) for mark in item.iter_markers() if mark.name.startswith("tunix")]
    key = (item.parent, getattr(item, "originalname", item.name), tuple(marks), fixtures_of(item))
    if wrong := item.stash.get(UNTAKEN_KEY, None):
        return Need(item.path.parent, error=wrong)
    found: Need | None = session.needs.get(key)
    if found is None:
        found = session.needs[key] = _read(session, item)
    return found


def _read(session: Session, item: pytest.Item) -> Need:
    folder = item.path.parent
    wrong = misspelt(item)
    if wrong:
        return Need(folder, error=wrong)
    try:
        return _marked(session, item, folder)
    except TunixEvalError as error:
        return Need(folder, error=str(error))


def _marked(session: Session, item: pytest.Item, folder: Path) -> Need:
    for mark in item.iter_markers():
        if mark.name in MARKERS:
            arguments(mark)
    _check_one_each(item)
    fixtures = fixtures_of(item)
    uses = fixtures & (FIXTURES - {"tunix_device", "tunix_snapshot"})
    spec = named_spec(session, item, folder) if uses else None
    if fixtures & RUN_FIXTURES and spec is None:
        raise SpecError(
            f"{item.name} takes {', '.join(sorted(fixtures & RUN_FIXTURES))} and names no run file: mark it with "
            '@pytest.mark.tunix_train("name.toml"), or with @pytest.mark.tunix_predictions("name.jsonl")'
        )
    evalset = item.get_closest_marker("tunix_evalset")
    if evalset in item.own_markers and not fixtures & EVALSET_FIXTURES:
        raise SpecError(
            f"{item.name} is marked tunix_evalset and takes none of {', '.join(sorted(EVALSET_FIXTURES))}; "
            "take one of them as an argument"
        )
    if any(mark.name == "tunix_gate" for mark in item.own_markers) and "tunix_gate" not in fixtures:
        raise SpecError(f"{item.name} is marked tunix_gate and does not take the fixture tunix_gate, which decides it")
    need = Need(
        folder,
        gated=is_gate(item),
        spec=spec,
        run=spec is not None and bool(fixtures & RUN_FIXTURES or "tunix_case" in fixtures),
        dataset=reference_of(item.get_closest_marker("tunix_dataset"), folder),
        renderer=reference_of(item.get_closest_marker("tunix_renderer"), folder),
        evalset=reference_of(evalset, folder) or (_only_evalset(spec) if fixtures & EVALSET_FIXTURES else None),
        gates=tuple(gate_of(mark, folder) for mark in item.iter_markers("tunix_gate") if "tunix_gate" in fixtures),
    )
    if need.evalset is None and fixtures & {"tunix_completions", "tunix_scorecard"}:
        need.the_evalset(session)
    if "tunix_batches" in fixtures or (fixtures & DATA_FIXTURES and spec is not None and need.dataset is None):
        need.training()
    if fixtures & DATA_FIXTURES and spec is None and need.dataset is None and fixtures != {"tunix_renderer"}:
        raise SpecError(
            f"{item.name} takes {', '.join(sorted(fixtures & DATA_FIXTURES))} and names no data: mark it with "
            '@pytest.mark.tunix_train("name.toml") or @pytest.mark.tunix_dataset("name")'
        )
    return need


def _check_one_each(item: pytest.Item) -> None:
    """Refuse two markers of one kind on one function, class or module: pytest takes the first, and drops the other.

    Those of a function replace those of its class or module, as pytest has it.
    """
    for node in item.listchain():
        first: dict[str, pytest.Mark] = {}
        for mark in node.own_markers:
            kind = _ONE_EACH.get(mark.name)
            known = first.setdefault(kind, mark) if kind else mark
            if (known.name, known.args, known.kwargs) != (mark.name, mark.args, mark.kwargs):
                said = " and ".join(f"{one.name}({_words(one)})" for one in (known, mark))
                raise SpecError(
                    f"{node.name or item.name} is marked {said}, and only one of them would count; take one out, or "
                    f"write a test for each {kind}"
                )


_ONE_EACH = {
    "tunix_train": "source of completions",
    "tunix_predictions": "source of completions",
    "tunix_evalset": "evalset",
    "tunix_dataset": "dataset",
    "tunix_renderer": "renderer",
    "tunix_repeat": "number of repeats",
    "tunix_deterministic": "number of steps",
    "tunix_device": "device",
}
"""Marker -> what it names, of which a test has one."""


def _words(mark: pytest.Mark) -> str:
    return ", ".join([*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())])


def _only_evalset(spec: AnySpec | None) -> str | None:
    return spec.evalsets[0] if spec is not None and len(spec.evalsets) == 1 else None


def gate_of(mark: pytest.Mark, folder: Path) -> GateSpec:
    """Read a tunix_gate marker: rule and metric, then the rule's arguments by name."""
    table = arguments(mark)
    if isinstance(table.get("evalset"), str):
        table["evalset"] = resolve_reference(table["evalset"], folder)
    return validated(GateSpec, table, where="marker tunix_gate")


def _argument(mark: pytest.Mark, name: str) -> str:
    value = arguments(mark).get(name)
    if not isinstance(value, str):
        raise SpecError(f"marker {mark.name} takes one {name}, found {'none' if value is None else repr(value)}")
    return value


def named_spec(session: Session, item: pytest.Item, folder: Path) -> AnySpec | None:
    """Return the spec that the nearest marker tunix_train or tunix_predictions names, with its overrides."""
    marks = [mark for mark in item.iter_markers() if mark.name in {"tunix_train", "tunix_predictions"}]
    repeats = _repeats(item.get_closest_marker("tunix_repeat"))
    if not marks:
        if repeats is not None:
            raise SpecError("tunix_repeat needs a source of completions: mark the test with tunix_train too")
        return None
    mark = marks[0]
    name = "path_or_name" if mark.name == "tunix_train" else "path"
    keys = {key: value for key, value in mark.kwargs.items() if key != name}
    if mark.name == "tunix_predictions":
        keys |= {} if repeats is None else {"repeats": repeats}
        return session.library.predictions_spec(resolve_path(_argument(mark, name), folder), keys)
    path = run_file_path(_argument(mark, name), folder)
    if repeats is not None:
        trains = not isinstance(session.library.spec(path, keys, folder=folder), PredictionsSpec)
        said = keys.get("generation", {})
        if not isinstance(said, Mapping):
            raise SpecError(f"marker {mark.name}: generation: found {shown(said)}, expected a table")
        more = {"generation": {**said, "repeats": repeats}} if trains else {"repeats": repeats}
        keys |= more
    return session.library.spec(path, keys, folder=folder)


def _repeats(mark: pytest.Mark | None) -> int | None:
    """Return how many completions an item the marker tunix_repeat asks for."""
    if mark is None:
        return None
    value = arguments(mark).get("n")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        found = "none" if value is None else repr(value)
        raise SpecError(f"marker tunix_repeat takes one n, a whole number from 1 on, found {found}")
    return value


def reference_of(mark: pytest.Mark | None, folder: Path) -> str | None:
    """Return what a marker names: a registered name, or a path made absolute."""
    return resolve_reference(_argument(mark, "name_or_path"), folder) if mark is not None else None
