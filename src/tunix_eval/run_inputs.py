"""What a run is made from, and in what two runs differ: why a session trains again, and `tunix-eval runs diff`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.digest import canonical_json
from tunix_eval.errors import ArtifactError
from tunix_eval.store import RunManifest, Store, read_manifest, write_atomic

_TRACES = "traces.jsonl"
_KNOWN_AS = {
    "stop_after": "--tunix-max-steps",
    "initial_weights": "weights of init_from",
    "cpu_threads": "thread pool",
    "xla_flags": "XLA_FLAGS",
}
"""What users know some inputs as."""
_PACKING = "packing_sha256"
_NAMED = 3
"""Traces that are named, of those that changed."""


@dataclass(frozen=True)
class RunInputs:
    """What a run is made from."""

    inputs: Mapping[str, Any]
    """What its id is the digest of."""
    settings: Mapping[str, Any]
    """What made its token sequences of the dataset: renderer, tokenizer, style and the like, by the run file's keys."""
    dataset: str
    dataset_sha256: str
    traces: Mapping[str, str] = field(default_factory=dict)
    """Trace id -> digest of its tokens, in order; empty where that was not recorded."""


@dataclass(frozen=True)
class Difference:
    """One input in which two runs differ."""

    what: str
    before: str | None = None
    after: str | None = None
    note: str | None = None
    """In place of the values, where those say nothing to people."""

    @property
    def change(self) -> str:
        """What happened to it: `0.002 -> 0.02`."""
        return self.note or f"{self.before} -> {self.after}"

    def __str__(self) -> str:
        return f"{self.what}: {self.note}" if self.note else f"{self.what} {self.change}"


def recorded_inputs(directory: Path, manifest: RunManifest) -> RunInputs:
    """Return what a recorded run was made from."""
    recipe, holdout = manifest.recipe, manifest.holdout or {}
    settings = {
        "renderer": manifest.renderer,
        "tokenizer": manifest.tokenizer,
        "style": recipe.get("style"),
        "renderer_options": recipe.get("renderer_options"),
        "supervise": recipe.get("supervise"),
        "step_weight": recipe.get("step_weight"),
        "truncation": (manifest.truncation or {}).get("mode"),
        "holdout": holdout.get("share") or holdout.get("dataset_key"),
    }
    return RunInputs(
        manifest.inputs, settings, manifest.dataset_key, manifest.dataset_sha256, _read_traces(directory / _TRACES)
    )


def record_traces(directory: Path, traces: Mapping[str, str]) -> None:
    """Write down the digest of every trace that a run is trained on, so that a later one can say which changed."""
    lines = msgspec.json.Encoder().encode_lines([{"id": name, "sha256": digest} for name, digest in traces.items()])
    write_atomic(directory / _TRACES, lines.decode())


def _read_traces(path: Path) -> dict[str, str]:
    """Return what `record_traces` wrote; empty where it is missing or damaged: it explains, and decides nothing."""
    try:
        lines = msgspec.json.Decoder(dict[str, str]).decode_lines(path.read_bytes())
        return {line["id"]: line["sha256"] for line in lines}
    except (OSError, KeyError, msgspec.DecodeError):
        return {}


def newest_run(store: Store, name: str, *, like: Mapping[str, Any]) -> RunManifest | None:
    """Return the newest recorded run of a name: of the same length and seed where there is one, else of others."""
    found = []
    for path in store.root.glob("runs/*/run_manifest.json"):
        # Most runs have another name, and a manifest takes a millisecond to read.
        if f'"{name}"'.encode() not in path.read_bytes():
            continue
        manifest = _readable(path)
        if manifest is not None and manifest.recipe.get("name") == name and manifest.inputs:
            same = [manifest.inputs.get(key) == like[key] for key in ("stop_after", "seed")]
            found.append((same, manifest.created_at, path.stat().st_mtime_ns, manifest))
    return max(found, key=lambda one: one[:3])[3] if found else None


def _readable(path: Path) -> RunManifest | None:
    try:
        return read_manifest(path)
    except ArtifactError:
        return None


def differences(before: RunInputs, after: RunInputs) -> list[Difference]:
    """Return in what two runs differ, what users set themselves first; nothing where they have one id.

    >>> one = RunInputs({"seed": 0, "training": {"learning_rate": 2e-3}}, {}, "sums-v1", "0")
    >>> other = RunInputs({"seed": 0, "training": {"learning_rate": 2e-2}}, {}, "sums-v1", "0")
    >>> [str(one) for one in differences(one, other)]
    ['learning_rate 0.002 -> 0.02']
    """
    old, new = dict(before.inputs), dict(after.inputs)
    tables = [
        (old.pop(name, {}), new.pop(name, {}))
        for name in ("training", "model", "sequences", "holdout", "trainer", "environment")
    ]
    training, model, sequences, holdout, trainer, machine = tables
    packing = old.pop(_PACKING, None), new.pop(_PACKING, None)
    return [
        *_between(*training),
        *_between(*model),
        *_between(old, new),
        *(_data(before, after) if sequences[0] != sequences[1] else _holdout(before, after, holdout)),
        *_sources(trainer, packing),
        *_between(_flat(machine[0]), _flat(machine[1])),
    ]


def _between(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[Difference]:
    """Give every key in which two tables differ; nested ones with dots between."""
    for name in sorted({*old, *new}):
        # 1 and 1.0 are one number, and two texts: what is canonical decides, as it does for the id.
        values = old.get(name), new.get(name)
        if canonical_json(values[0]) == canonical_json(values[1]):
            continue
        if isinstance(values[0], Mapping) and isinstance(values[1], Mapping):
            yield from _between(values[0], values[1], f"{prefix}{name}.")
        else:
            yield Difference(_KNOWN_AS.get(name, f"{prefix}{name}"), *map(_text, values))


def _text(value: Any) -> str:
    """Write a value as a run file would, and a digest by its first digits."""
    if value is None or value == {}:
        return "unset"
    if isinstance(value, str):
        return value[:16] if len(value) == 64 else value or "unset"
    return canonical_json(value)


def _data(before: RunInputs, after: RunInputs) -> Iterator[Difference]:
    """Say why the traces have other tokens: what they are laid out by, and which of them changed."""
    settings = list(_between(before.settings, after.settings))
    yield from settings
    if before.dataset != after.dataset:
        yield Difference("dataset", before.dataset, after.dataset)
    # A renderer changes every trace, which is no news of the data.
    if before.dataset_sha256 != after.dataset_sha256 or not settings:
        yield Difference("traces", note=_traces(before.traces, after.traces))


def _traces(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Count the traces that changed, and name the first: `1 of 2,000 changed (addition-0007)`."""
    changes = {
        "changed": [name for name in new if name in old and old[name] != new[name]],
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
    }
    if not old or not any(changes.values()):
        return "the same in another order" if old else "changed"
    texts = []
    for verb, names in changes.items():
        named = ", ".join(names[:_NAMED]) + (", .." if len(names) > _NAMED else "")
        texts += [f"{len(names):,} {verb} ({named})"] if names else []
    first, *others = texts
    number, rest = first.split(" ", 1)
    return ", ".join([f"{number} of {len(old):,} {rest}", *others])


def _holdout(before: RunInputs, after: RunInputs, digests: tuple[Any, Any]) -> Iterator[Difference]:
    """Say why other traces are held out, where the same are trained on."""
    if digests[0] != digests[1]:
        old, new = before.settings.get("holdout"), after.settings.get("holdout")
        same = Difference("holdout", note="its traces changed")
        yield same if old == new else Difference("holdout", _text(old), _text(new))


def _flat(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return libraries and variables by their own names."""
    nested = {name: environment.get(name, {}) for name in ("packages", "variables")}
    return {**environment, **nested["packages"], **nested["variables"], **dict.fromkeys(nested)}


def _sources(trainers: tuple[Mapping[str, Any], Mapping[str, Any]], packing: tuple[Any, Any]) -> Iterator[Difference]:
    """Give another trainer, or one whose code has changed."""
    old, new = trainers
    if old.get("name") != new.get("name"):
        yield Difference("trainer", _text(old.get("name")), _text(new.get("name")))
    elif old != new:
        yield Difference(f"trainer {new.get('name')}", note="its source changed")
    if packing[0] != packing[1]:
        yield Difference("packing", note="its source changed")
