"""What a user asks for: run files, their tables and overrides, validated. No JAX, no file access but the run file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunix_eval.digest import canonical_json, sha256_text
from tunix_eval.errors import SpecError, suggestion

_Model = TypeVar("_Model", bound=BaseModel)
KEY = re.compile(r"[A-Za-z0-9._\-\[\]=,]+")
_LABEL_LIMIT = 200


class Table(BaseModel):
    """A table whose unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"layers": 2, "width": 128, "heads": 4, "mlp_width": 512},
    "small": {"layers": 4, "width": 256, "heads": 4, "mlp_width": 1024},
}
"""Sizes by name: about 0.5M and 4M parameters without embeddings."""


class ModelSpec(Table):
    """The decoder: a preset, or its sizes one by one; a size beside a preset overrides it."""

    preset: Literal["tiny", "small"] | None = None
    """`tiny` (2 layers, width 128) or `small` (4 layers, width 256)."""
    layers: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=2)
    heads: int | None = Field(default=None, ge=1)
    mlp_width: int | None = Field(default=None, ge=1)
    rope_theta: float = Field(default=10_000.0, gt=0)
    qk_norm: bool = True
    init_std: float = Field(default=0.02, gt=0)

    @model_validator(mode="after")
    def _sizes_are_known(self) -> ModelSpec:
        sizes = self.sizes()
        missing = [name for name in ("layers", "width", "heads", "mlp_width") if name not in sizes]
        if missing:
            raise ValueError(f"no {', '.join(missing)}; name a preset ({', '.join(PRESETS)}) or give every size")
        if sizes["width"] % sizes["heads"] or (sizes["width"] // sizes["heads"]) % 2:
            raise ValueError(f"width {sizes['width']} over {sizes['heads']} heads is no even whole number")
        return self

    def sizes(self) -> dict[str, int]:
        """Return layers, width, heads and mlp_width with the preset resolved."""
        sizes = dict(PRESETS[self.preset]) if self.preset else {}
        own = {name: getattr(self, name) for name in ("layers", "width", "heads", "mlp_width")}
        return sizes | {name: value for name, value in own.items() if value is not None}


class TrainingSpec(Table):
    """How the weights are fitted."""

    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; give these or epochs."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the packed rows; rounded up to whole steps."""
    rows: int = Field(default=32, ge=1)
    """Packed rows a step."""
    row_tokens: int = Field(default=512, ge=2)
    """Tokens a row; a longer trace is an error."""
    optimizer: str = "adamw"
    """An optax optimizer by name."""
    optimizer_options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of that optimizer, such as b2 or weight_decay."""
    learning_rate: float = Field(default=3e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_learning_rate: float = Field(default=0.05, ge=0, le=1)
    """What the schedule ends at, as a fraction of learning_rate."""
    warmup_steps: int = Field(default=0, ge=0)
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Global gradient norm is clipped to this."""
    steps_per_dispatch: int = Field(default=10, ge=1)
    """Steps in one compiled call; losses are logged for each of them."""
    checkpoint_steps: int = Field(default=200, ge=1)
    """A checkpoint is written at the first dispatch end after every so many steps."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For trainers of other packages; the built-in trainer takes none."""

    @field_validator("optimizer_options", "options")
    @classmethod
    def _is_plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} holds more than finite numbers, texts, booleans, lists and tables") from None
        return value

    @model_validator(mode="after")
    def _length_is_given_once(self) -> TrainingSpec:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class GenerationSpec(Table):
    """How completions are written. Greedy."""

    max_new_tokens: int = Field(default=256, ge=1)
    rows: int = Field(default=64, ge=1)
    """Prompts decoded at once; short batches are padded, so that it never depends on the number of items."""
    temperature: float = Field(default=0.0, ge=0)

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, value: float) -> float:
        if value != 0:
            raise ValueError(f"{value} was asked for; decoding is greedy, leave it at 0")
        return value


class GateSpec(Table):
    """A gate: a rule, a metric and the rule's arguments."""

    rule: Literal["no_worse", "better", "at_least"]
    metric: str
    evalset: str | None = None
    """Needed where the run has several evalsets."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """One-sided error rate."""
    margin: float | None = Field(default=None, ge=0)
    """A worsening up to this is allowed; in the metric's own unit."""
    value: float | None = None
    """The threshold of at_least."""
    than: str | None = None
    """A run file, for better."""

    @model_validator(mode="after")
    def _arguments_fit_the_rule(self) -> GateSpec:
        needs = {"at_least": "value", "better": "than"}
        for rule, name in needs.items():
            given = getattr(self, name) is not None
            if (self.rule == rule) != given:
                raise ValueError(f"{rule} needs {name}" if self.rule == rule else f"{self.rule} takes no {name}")
        if self.margin is not None and self.rule != "no_worse":
            raise ValueError(f"{self.rule} takes no margin")
        return self


class RunSpec(Table):
    """A run file: what is trained on what, and how it is judged."""

    format_version: Literal[1] = 1
    name: str
    dataset: str
    renderer: str
    tokenizer: str = "bytes"
    style: Literal["numbered", "plain", "tagged", "none"] | None = None
    """How the steps of a trace are written; by default as the renderer has it."""
    trainer: str = "flax"
    seed: int = Field(default=0, ge=0, lt=2**31)
    evalsets: tuple[str, ...] = ()
    scorers: tuple[str, ...] = Field(default=("exact",), min_length=1)
    """The metrics that are measured; the first is the primary one."""
    model: ModelSpec
    training: TrainingSpec
    generation: GenerationSpec = GenerationSpec()
    gates: tuple[GateSpec, ...] = ()

    @field_validator("name")
    @classmethod
    def _name_is_a_key(cls, value: str) -> str:
        if not KEY.fullmatch(value) or value in {".", ".."}:
            raise ValueError(f"'{value}' is no key; use letters, digits, '.', '_' and '-'")
        return value


def read_run_file(
    path: Path, overrides: Mapping[str, Any] | None = None, *, overrides_folder: Path | None = None
) -> RunSpec:
    """Read and validate a run file.

    Paths in it (values with `/` or a file suffix) become absolute, relative to the file; those of overrides,
    relative to the folder of the file that says them. Overrides nest (`training={"steps": 100}`) and rename
    the run: `addition[style=none]`.

    Raises:
        SpecError: one line a mistake, with the file and, for TOML errors, line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomli.loads(text)
    except FileNotFoundError:
        raise SpecError(f"{path}: no such run file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None
    except tomli.TOMLDecodeError as error:
        raise SpecError(f"{path}: {error}") from None
    if overrides:
        table = _merge(table, _with_absolute_paths(overrides, overrides_folder or path.parent))
        table["name"] = f"{table.get('name', path.stem)}[{_override_label(overrides)}]"
    table = _with_absolute_paths(table, path.parent)
    return validated(RunSpec, table, where=str(path))


def _with_absolute_paths(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve what a run file's table names by path; what has another type than it should is left for validation."""

    def resolved(value: Any) -> Any:
        if isinstance(value, str):
            return resolve_reference(value, folder)
        return [resolved(one) for one in value] if isinstance(value, list | tuple) else value

    out = dict(table)
    for key in ("dataset", "renderer", "tokenizer", "evalsets"):
        if key in out:
            out[key] = resolved(out[key])
    if isinstance(out.get("gates"), list):
        paths = ("evalset", "than")
        out["gates"] = [
            {key: resolved(value) if key in paths else value for key, value in gate.items()}
            if isinstance(gate, dict)
            else gate
            for gate in out["gates"]
        ]
    return out


def is_path(reference: str) -> bool:
    """Tell whether a reference is a path (it has a `/` or a file suffix) rather than a registered name.

    >>> is_path("addition.toml"), is_path("sets/dev"), is_path("addition-v1"), is_path("golden-v1.2")
    (True, True, False, False)
    """
    return "/" in reference or Path(reference).suffix in {".jsonl", ".toml", ".json", ".gz", ".parquet"}


def resolve_reference(reference: str, folder: Path) -> str:
    """Return a registered name as it is, and a path as an absolute path relative to the folder."""
    return str((folder / reference).resolve()) if is_path(reference) else reference


def validated(model: type[_Model], table: Mapping[str, Any], *, where: str) -> _Model:
    """Validate a table, and say every mistake in it with its dotted key, and a suggestion for unknown keys."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        # A misspelt key is the cause where another is missing, so it comes first.
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        lines = [_explain(model, detail) for detail in details]
        raise SpecError("\n".join(f"{where}: {line}" for line in lines)) from None


def _explain(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"unknown key '{location}'.{suggestion(key, _known_keys(model, detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"'{location}' is missing"
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        known = re.findall(r"'([^']+)'", detail["ctx"]["expected"])
        found = detail["input"]
        return f"{location}: found '{found}', expected {', '.join(known)}.{suggestion(found, known)}"
    message = detail["msg"].removeprefix("Value error, ")
    found = "" if detail["type"] == "value_error" else f", found {detail['input']!r}"
    return f"{location}: {message}{found}" if location else message


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys of the table at a dotted path."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [annotation, *getattr(annotation, "__args__", ())]
        model = next(item for item in inner if isinstance(item, type) and issubclass(item, BaseModel))
    return list(model.model_fields)


def _merge(table: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _override_label(overrides: Mapping[str, Any], prefix: str = "") -> str:
    parts = []
    for key, value in sorted(overrides.items()):
        name = f"{prefix}{key}"
        parts.append(_override_label(value, f"{name}.") if isinstance(value, Mapping) else f"{name}={value}")
    label = re.sub(r"[^A-Za-z0-9._\-=,]", "_", ",".join(parts))
    # The name is that of a folder, which may have 255 characters.
    return label if len(label) <= _LABEL_LIMIT else f"{label[: _LABEL_LIMIT - 20]}...{sha256_text(label)[:16]}"
