"""What a session has read: run files, datasets and evalsets, each once."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunix_eval.data import BUILTIN_EVALSETS, DataWarning
from tunix_eval.digest import canonical_json
from tunix_eval.errors import DataError, SpecError, UnknownNameError
from tunix_eval.plugin.registry import Registry
from tunix_eval.plugin.rows import Note, Row
from tunix_eval.records import Dataset, Evalset
from tunix_eval.run_files import read_run_file
from tunix_eval.specs import AnySpec, PredictionsSpec, RunSpec
from tunix_eval.tables import KEY, validated


@dataclass
class Library:
    """Looks everything up once, by name or path, and refuses two things of one name."""

    root: Path
    registry: Registry
    seed: int | None
    """What --tunix-seed says."""
    note: Callable[[Row], None]
    """Takes what is to be shown at the end."""
    _specs: dict[tuple[str, str], AnySpec] = field(default_factory=dict)
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _evalsets: dict[str, Evalset] = field(default_factory=dict)

    def spec(self, path: Path, overrides: Mapping[str, Any], *, folder: Path | None = None) -> AnySpec:
        """Return a run file's spec with overrides said in a folder; --tunix-seed replaces the run file's seed."""
        key = _spec_key(path, [overrides, str(folder)])
        if key not in self._specs:
            spec = read_run_file(path, overrides, overrides_folder=folder)
            if isinstance(spec, RunSpec) and self.seed is not None and "seed" not in overrides:
                spec = spec.model_copy(update={"seed": self.seed})
            self._add_spec(key, spec)
        return self._specs[key]

    def predictions_spec(self, path: Path, keys: Mapping[str, Any]) -> PredictionsSpec:
        """Return the spec of a predictions file that a marker names, with the keys that a run file may have."""
        key = _spec_key(path, keys)
        table = {"name": path.name.partition(".")[0]} | dict(keys) | {"predictions": str(path)}
        if key not in self._specs:
            self._add_spec(key, validated(PredictionsSpec, table, where="marker tunix_predictions"))
        spec = self._specs[key]
        assert isinstance(spec, PredictionsSpec)
        return spec

    def _add_spec(self, key: tuple[str, str], spec: AnySpec) -> None:
        for (other, _), known in self._specs.items():
            if known.name != spec.name or (known == spec and other == key[0]):
                continue
            if other != key[0]:
                raise SpecError(f"{key[0]}: the name '{spec.name}' is taken by {other}; give one of the two another")
            differing = [
                field for field in type(spec).model_fields if getattr(known, field, None) != getattr(spec, field)
            ]
            raise SpecError(
                f"{key[0]}: is judged in two ways under the name '{spec.name}' ({', '.join(differing)} differ), which "
                'would share a baseline; give one of them another: name="..."'
            )
        self._specs[key] = spec

    def run_files(self) -> dict[str, tuple[str, AnySpec]]:
        """Return name -> path and spec of every run file that was read."""
        return {spec.name: (path, spec) for (path, _), spec in self._specs.items()}

    def dataset(self, reference: str, *, folder: Path | None = None) -> Dataset:
        """Return a dataset by registered name or absolute path; the folder is that of the file which names it."""
        if reference not in self._datasets:
            with self._warnings_as_notes(), self._paths_of_names("dataset", reference, folder):
                self._datasets[reference] = self.registry.dataset(reference)
        return self._datasets[reference]

    def evalset(self, reference: str, *, folder: Path | None = None) -> Evalset:
        """Return an evalset by registered name or absolute path; the folder is that of the file which names it."""
        if reference not in self._evalsets:
            with self._warnings_as_notes(), self._paths_of_names("evalset", reference, folder):
                evalset = self.registry.evalset(reference)
            if not KEY.fullmatch(evalset.name):
                raise DataError(f"evalset {reference}: its name {evalset.name!r} is no key; use letters, digits, . _ -")
            for other, known in self._evalsets.items():
                if known.name == evalset.name and known.sha256 != evalset.sha256:
                    shipped = [f"{one} (built in)" if one in BUILTIN_EVALSETS else one for one in (other, reference)]
                    raise DataError(f"two evalsets are named '{evalset.name}': {' and '.join(shipped)}; rename one")
            self._evalsets[reference] = evalset
        return self._evalsets[reference]

    @contextlib.contextmanager
    def _paths_of_names(self, kind: str, name: str, folder: Path | None) -> Iterator[None]:
        """Where a name is not known and a path of that name is there, say how the path is written."""
        try:
            yield
        except UnknownNameError:
            files = [
                Path(path).parent
                for (path, _), spec in self._specs.items()
                if name in {getattr(spec, "dataset", None), *spec.evalsets}
            ]
            start = folder or next(iter(files), self.root)
            for place in (start / "datasets", start, self.root / "datasets", self.root):
                if (place / name).exists():
                    written = os.path.relpath(place / name, start)
                    written = written if os.sep in written else f"./{written}"
                    raise SpecError(f"no {kind} is registered as '{name}'; for the path, write {written}") from None
            raise

    @contextlib.contextmanager
    def _warnings_as_notes(self) -> Iterator[None]:
        """Show data warnings at the end, whatever the session's filters make of warnings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DataWarning)
            yield
        for warning in caught:
            if issubclass(warning.category, DataWarning):
                self.note(Note(str(warning.message)))
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _spec_key(path: Path, said: Any) -> tuple[str, str]:
    try:
        return str(path), canonical_json(said)
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"overrides of {path}: {error}; expected finite numbers, texts, lists and tables") from None
