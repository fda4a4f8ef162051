"""What a user asks for: the tables of a run file. No JAX, no files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from tunix_eval.digest import canonical_json
from tunix_eval.errors import SpecError
from tunix_eval.figures import cut
from tunix_eval.tables import KEY, StrictTable, expected, shown
from tunix_eval.thinking import KNOWN, TAG

Style = Literal["numbered", "plain", "tagged", "none"]
OWN_TRAINER = "flax"
"""The trainer of this package; others may read the tables in ways of their own."""
_MOST = 2**31 - 1
"""JAX counts with 32 bits."""
_Count = Annotated[int, Field(ge=1, le=_MOST)]
_Size = Annotated[int, Field(ge=1, le=2**24)]
"""Of an axis of an array."""
_Tokens = Annotated[int, Field(ge=2, le=2**20)]
"""Of a row. Up to 2**24 float32, which RoPE's angles are in, holds every position."""
_Float32 = Annotated[float, Field(ge=1e-30, le=1e30)]
"""A number above 0 that float32 holds with room for products."""
_Weight = Annotated[float, Field(ge=0, le=1e30)]
_MOST_RUNS = 1000
"""Training seeds that one gate may ask for: each is a training."""
AnswerRuleName = Literal["answer", "hashes", "boxed", "tags", "last_number", "text"]

PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"layers": 2, "width": 128, "heads": 4, "mlp_width": 512},
    "small": {"layers": 4, "width": 256, "heads": 4, "mlp_width": 1024},
    "base": {"layers": 6, "width": 512, "heads": 8, "mlp_width": 2048},
    "medium": {"layers": 12, "width": 768, "heads": 12, "mlp_width": 3072},
}
"""Sizes by name: about 0.5M, 4M, 25M and 113M parameters without embeddings."""
_SIZES = ("layers", "width", "heads", "mlp_width")


class _Part(StrictTable):
    """A table of a run file, of which some keys say something only beside others."""

    @model_validator(mode="before")
    @classmethod
    def _none_takes_such_a_key_out(cls, table: Any) -> Any:
        # An override that idles a key of its run file, as init_from does init_std, has no other way.
        if not isinstance(table, dict):
            return table
        idle = {one.name for one in _IDLE if one.name in cls.model_fields}
        out = {name for name in idle if cls.model_fields[name].default is not None}
        return {name: value for name, value in table.items() if value is not None or name not in out}


class ModelSpec(_Part):
    """The decoder: a preset, or its sizes one by one; a size beside a preset overrides it."""

    preset: Literal["tiny", "small", "base", "medium"] | None = None
    """`tiny` (2 layers, width 128), `small` (4, 256), `base` (6, 512) or `medium` (12, 768)."""
    layers: _Size | None = None
    width: Annotated[_Size, Field(ge=2)] | None = None
    heads: _Size | None = None
    """Of the queries."""
    kv_heads: _Size | None = None
    """Of keys and values, each shared by heads / kv_heads queries; by default as many as heads."""
    head_width: Annotated[_Size, Field(ge=2)] | None = None
    """By default width / heads."""
    mlp_width: _Size | None = None
    vocab_size: _Size | None = None
    """Rows of the embedding; by default the tokenizer's vocabulary, and never fewer."""
    rope_theta: _Float32 = 10_000.0
    qk_norm: bool = True
    tied: bool = True
    """Whether logits are products with the embedding, or with a matrix of their own."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of activations and products; weights, norms and the loss are float32. auto: bfloat16 on gpu and tpu."""
    remat: bool = False
    """Whether the backward pass computes each layer again, in place of keeping its activations."""
    init_std: _Float32 = 0.02
    init_from: str | None = None
    """The run, by id or by the path of its directory, whose trained weights this training begins from."""

    @model_validator(mode="after")
    def _sizes_are_known(self) -> ModelSpec:
        sizes = self.sizes()
        missing = [name for name in _SIZES if name not in sizes]
        if missing:
            raise ValueError(f"no {', '.join(missing)}; name a preset ({', '.join(PRESETS)}) or give every size")
        if self.head_width is None and sizes["width"] % sizes["heads"]:
            raise ValueError(f"width {sizes['width']} over {sizes['heads']} heads is no even whole number")
        if sizes["head_width"] % 2:
            raise ValueError(f"a head is {sizes['head_width']} wide, expected an even number: RoPE turns pairs")
        if sizes["heads"] % sizes["kv_heads"]:
            raise ValueError(f"{sizes['heads']} heads are no multiple of {sizes['kv_heads']} kv_heads")
        return self

    def sizes(self) -> dict[str, int]:
        """Return layers, width, heads, kv_heads, head_width and mlp_width with the preset and defaults resolved."""
        own = {name: getattr(self, name) for name in (*_SIZES, "kv_heads", "head_width")}
        sizes = PRESETS.get(self.preset or "", {}) | {name: value for name, value in own.items() if value is not None}
        if "heads" in sizes:
            sizes = {"kv_heads": sizes["heads"]} | sizes
            if "width" in sizes:
                sizes = {"head_width": sizes["width"] // sizes["heads"]} | sizes
        return sizes


class TrainingSpec(_Part):
    """How the weights are fitted."""

    steps: _Count | None = None
    """Optimizer steps; give these or epochs."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the packed rows; rounded up to whole steps."""
    rows: _Size = 32
    """Packed rows a step."""
    row_tokens: _Tokens = 512
    """Tokens a row; a longer trace is an error."""
    optimizer: str = "adamw"
    """An optax optimizer by name."""
    optimizer_options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of that optimizer, such as b2 or weight_decay."""
    learning_rate: _Float32 = 3e-4
    schedule: Literal["cosine", "linear", "constant", "wsd"] = "cosine"
    """wsd: warm-up, then constant, then a linear decay over the last decay_steps."""
    final_learning_rate: float = Field(default=0.05, ge=0, le=1)
    """What the schedule ends at, as a fraction of learning_rate."""
    warmup_steps: int = Field(default=0, ge=0, le=_MOST)
    decay_steps: _Count | None = None
    """Of wsd; by default a tenth of the steps."""
    clip_norm: _Float32 | None = 1.0
    """Global gradient norm is clipped to this."""
    decay_mask: Literal["all", "matrices"] = "all"
    """What weight decay shrinks: every weight, or matrices alone (neither norms nor embeddings)."""
    accumulate: _Size = 1
    """Micro-batches that the rows of a step are computed in, one after another; every token weighs the same."""
    holdout_steps: _Count = 50
    """Where there is a holdout, its loss is measured after every so many steps, and after the last."""
    early_stopping: _Count | None = None
    """Stop after so many measurements of the holdout's loss without a new best."""
    keep: Literal["last", "best"] = "last"
    """The weights that the run ends with: those of the last step, or of the lowest holdout loss."""
    not_finite: Literal["stop", "skip"] = "stop"
    """What becomes of a step whose loss or gradient is not finite: training stops, or the step changes nothing."""
    spike: Literal["ignore", "stop", "skip"] = "ignore"
    """What becomes of a step whose loss is over spike_factor times the running mean of those before."""
    spike_factor: float = Field(default=3.0, gt=1, le=1e30)
    loss_chunk: _Count | None = None
    """Tokens whose logits are held at once; by default all where they are few, else as many as cost no speed."""
    steps_per_dispatch: _Count = 10
    """Steps in one compiled call; losses are logged for each of them."""
    checkpoint_steps: _Count = 200
    """A checkpoint is written at the first dispatch end after every so many steps."""
    keep_checkpoints: _Count = 2
    """Of a run that is not finished; older ones are deleted."""
    options: dict[str, Any] = Field(default_factory=dict)
    """For trainers of other packages; the built-in trainer takes none."""

    @field_validator("optimizer_options", "options")
    @classmethod
    def _is_plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            canonical_json(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{shown(value)} holds more than finite numbers, texts, booleans, lists and tables"
            ) from None
        return value

    @field_validator("optimizer_options")
    @classmethod
    def _numbers_fit_the_device(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, number in value.items():
            most = 1e30 if isinstance(number, float) else _MOST
            if isinstance(number, int | float) and abs(number) > most:
                raise ValueError(f"{name} is {shown(number)}, expected at most {most} in 32 bits")
        return value

    @model_validator(mode="after")
    def _length_is_given_once(self) -> TrainingSpec:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("both steps and epochs are given; take one")
        if self.steps is None and self.epochs is None:
            raise ValueError("neither steps nor epochs is given; take one")
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TrainingSpec:
        if self.rows % self.accumulate:
            raise ValueError(f"{self.rows} rows are no multiple of accumulate = {self.accumulate}")
        if self.steps is not None and (too_long := self._too_long(self.steps)):
            raise ValueError(too_long)
        return self

    def total_steps(self, rows: int) -> int:
        """Return the optimizer steps of a full run, given the packed rows of its dataset.

        Raises:
            SpecError: so many epochs are fewer steps than the schedule takes.

        >>> TrainingSpec(epochs=2, rows=4).total_steps(5), TrainingSpec(steps=7).total_steps(5)
        (3, 7)
        >>> TrainingSpec(epochs=1.1, rows=1).total_steps(10)
        11
        """
        # By the number as it is written: as a float, 1.1 times 10 is a little over 11.
        steps = self.steps or math.ceil(Fraction(str(self.epochs)) * rows / self.rows)
        if steps > _MOST:
            raise SpecError(
                f"training.epochs: {self.epochs:g} epochs of {rows} packed rows, {self.rows} a step, are more than "
                f"{_MOST} steps, the most that are counted; take fewer"
            )
        if too_long := self._too_long(steps):
            raise SpecError(f"training: {too_long}")
        return steps

    def check_rows(self, packed: int, *, devices: int = 1) -> None:
        """Refuse steps that take more rows than the dataset has packed, or that the devices do not divide.

        Raises:
            SpecError: with both numbers.
        """
        if self.rows > packed:
            raise SpecError(
                f"training.rows: a step takes {self.rows} rows, but the dataset is packed in {packed} rows of "
                f"{self.row_tokens} tokens; take {packed} rows or fewer, a smaller row_tokens, or more traces"
            )
        at_once = self.rows // self.accumulate
        if at_once % devices:
            micro = f" in {self.accumulate} micro-batches of {at_once}" if self.accumulate > 1 else ""
            raise SpecError(
                f"training.rows: {self.rows} rows{micro} are not divided by the {devices} devices of --tunix-mesh "
                f"data={devices}; take a multiple"
            )

    def _too_long(self, steps: int) -> str | None:
        """Say that warm-up and decay take more than these steps, if they do."""
        if self.warmup_steps + (self.decay_steps or 0) <= steps:
            return None
        return (
            f"a schedule of {self.warmup_steps} warm-up and {self.decay_steps or 0} decay steps is longer than the "
            f"run of {steps} steps"
        )


class GenerationSpec(StrictTable):
    """How completions are written: greedy, or sampled where there is a temperature."""

    max_new_tokens: Annotated[int, Field(ge=1, le=2**20)] = 256
    rows: _Size = 64
    """Prompts decoded at once; short batches are padded, so that it never depends on the number of items."""
    temperature: float = Field(default=0.0, ge=0, le=1e6)
    """Logits are divided by this before a token is drawn; 0 takes the likeliest token."""
    top_k: int | None = Field(default=None, ge=1, lt=2**31)
    """Only the so many likeliest tokens are drawn from."""
    top_p: float | None = Field(default=None, ge=1e-9, le=1)
    """Only the likeliest tokens whose probabilities just reach this sum are drawn from."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Only tokens at least this fraction as probable as the likeliest one are drawn from."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=(), strict=False)
    """A completion ends before the first of these texts that it would contain."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the draws; each item and repeat has draws of its own, whatever else is in the batch."""
    repeats: int = Field(default=1, ge=1, le=10_000)
    """Completions an item; several need a temperature."""

    @field_validator("temperature")
    @classmethod
    def _is_more_than_float32_rounds_to_zero(cls, value: float) -> float:
        if 0 < value < 1e-6:
            raise ValueError(f"{value:g} is too near to 0 to divide by; take 0, or 1e-6 or more")
        return value

    @model_validator(mode="after")
    def _repeats_measure_something(self) -> GenerationSpec:
        if self.repeats > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.repeats} repeats at temperature 0 write the same text each time and measure nothing; "
                "give a temperature, such as 0.7"
            )
        return self

    @model_validator(mode="after")
    def _filters_have_draws(self) -> GenerationSpec:
        filters = [name for name in ("top_k", "top_p", "min_p") if getattr(self, name) is not None]
        if filters and self.temperature == 0:
            raise ValueError(f"{filters[0]} changes nothing at temperature 0; give a temperature, or take it out")
        return self


Rule = Literal["no_worse", "non_inferior", "better", "at_least", "at_most", "max_drop"]
RULE_ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no_worse": ((), ("alpha", "margin", "confirm", "confirm_below", "seed_noise", "test")),
    "non_inferior": (("margin",), ("alpha", "runs", "seed_noise", "unproven")),
    "better": (("than",), ("alpha", "runs", "seed_noise", "test")),
    "at_least": (("value",), ()),
    "at_most": (("value",), ()),
    "max_drop": (("drop",), ()),
}
"""Rule -> the arguments that it needs, and those that it takes beside them."""
_SHARE = re.compile(r"\d+(\.\d+)?%")


class GateSpec(StrictTable):
    """A gate: a rule, a metric and the rule's arguments."""

    rule: Rule
    metric: str
    evalset: str | None = None
    """Needed where the run has several evalsets."""
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    """One-sided error rate."""
    margin: float | None = Field(default=None, ge=0)
    """A worsening up to this is allowed (no_worse), or is to be excluded (non_inferior); in the metric's own unit."""
    value: float | None = None
    """The threshold of at_least and at_most."""
    than: str | None = None
    """A run file, for better."""
    drop: Annotated[float | str | None, expected('a share such as "2%", or a number')] = None
    """What max_drop allows: a share of the reference ("2%"), or a number in the metric's own unit."""
    confirm: int = Field(default=2, ge=0, le=_MOST_RUNS)
    """Training seeds that no_worse adds before it believes a drop between retrained runs."""
    confirm_below: float = Field(default=0.2, gt=0, lt=0.5)
    """The one-sided p of no_worse's first look up to which it adds them."""
    runs: int | None = Field(default=None, ge=1, le=_MOST_RUNS)
    """Training seeds on the side of the current run (better: on each side); by default 3 for non_inferior, else 1."""
    seed_noise: float | None = Field(default=None, gt=0)
    """About how far a training seed moves the mean, as a standard deviation in the metric's own unit, where that is
    known; by default a tenth of the standard deviation of the items."""
    unproven: Literal["fail", "skip"] = "fail"
    """What becomes of non_inferior where neither a drop nor its absence is proven."""
    test: Literal["mid_p", "exact"] = "mid_p"
    """Which McNemar test compares 0/1 scores item by item."""

    @property
    def seeds(self) -> int:
        """How many training seeds of a run file that trains are judged."""
        return self.runs or (3 if self.rule == "non_inferior" else 1)

    @model_validator(mode="after")
    def _second_look_asks_for_more(self) -> GateSpec:
        if "confirm_below" in self.model_fields_set and self.confirm_below < self.alpha:
            raise ValueError(
                f"confirm_below {self.confirm_below:g} is below alpha {self.alpha:g}: what the first look lets go, the "
                "second one cannot find; take alpha or more"
            )
        return self

    @model_validator(mode="after")
    def _arguments_fit_the_rule(self) -> GateSpec:
        needed, taken = RULE_ARGUMENTS[self.rule]
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{self.rule} needs {name}")
        odd = sorted(self.model_fields_set - {"rule", "metric", "evalset", *needed, *taken})
        if odd := [name for name in odd if _is_said(self, name)]:
            takes = ", ".join(("evalset", *needed, *taken))
            raise ValueError(f"{self.rule} takes no {odd[0]}; it takes {takes}")
        if self.rule == "non_inferior" and not self.margin:
            raise ValueError("non_inferior needs a margin above 0: no number of items proves a drop of nothing")
        return self

    @field_validator("drop")
    @classmethod
    def _is_a_share_or_a_number(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, str) and not _SHARE.fullmatch(value.replace(" ", "")):
            raise ValueError(f'found {value!r}, expected a share such as "2%", or a number')
        if isinstance(value, float) and value < 0:
            raise ValueError(f'found {value:g}, expected a share such as "2%", or a number from 0 on')
        return value

    def allowed_drop(self, reference: float) -> float:
        """Return how far max_drop lets a mean fall below (or rise above) the reference, in the metric's own unit."""
        if isinstance(self.drop, str):
            return float(self.drop.replace(" ", "").removesuffix("%")) / 100 * abs(reference)
        return self.drop or 0.0


NAME_LIMIT = 100
"""Characters of a run's name. A folder's may have 255, and what a test overrides is written behind it."""


class EvalSpec(StrictTable):
    """What every run file says: whose completions are judged on what, by what, and which gates decide."""

    format_version: Literal[1] = 1
    name: str
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the training that the weights come from."""
    evalsets: tuple[str, ...] = Field(default=(), strict=False)
    scorers: tuple[str, ...] = Field(default=("exact",), min_length=1, strict=False)
    """The metrics that are measured; the first is the primary one. An entry with keys is a table with a name."""
    scorer_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The keys of those entries, by name of the scorer."""
    answer: AnswerRuleName | None = None
    """Where the answer stands in a completion; by default as the style writes it."""
    thinking: Annotated[
        str | Annotated[tuple[str, str], Field(strict=False)],
        expected('the name of a tag such as "think", two marks, or "none"'),
    ] = KNOWN
    """How the thinking of a completion is told from its answer; by default by every form that is known."""
    gates: tuple[GateSpec, ...] = Field(default=(), strict=False)
    correction: Literal["holm"] | None = None
    """Over the p values of this file's gates."""

    @field_validator("thinking")
    @classmethod
    def _thinking_has_marks(cls, value: str | tuple[str, str]) -> str | tuple[str, str]:
        if isinstance(value, str) and not TAG.fullmatch(value):
            raise ValueError(
                f"'{value}' is no name of a tag; give one such as \"think\", two marks such as "
                '["<think>", "</think>"], or "none"'
            )
        if isinstance(value, tuple) and (not all(map(str.strip, value)) or value[0].lower() == value[1].lower()):
            raise ValueError(f"{list(value)} are no two marks; give what opens the thinking, then what closes it")
        return value

    @model_validator(mode="before")
    @classmethod
    def _scorers_may_have_keys(cls, table: Any) -> Any:
        # What runs on names alone need not know of keys: they stand apart from here on.
        if not isinstance(table, dict) or not isinstance(entries := table.get("scorers"), list | tuple):
            return table
        keyed = [entry for entry in entries if isinstance(entry, dict)]
        if odd := [entry for entry in keyed if not isinstance(entry.get("name"), str)]:
            raise ValueError(f"scorers: found {odd[0]!r}, expected a name, or a table with a name and keys")
        names = [entry["name"] if isinstance(entry, dict) else entry for entry in entries]
        if twice := [name for k, name in enumerate(names) if name in names[:k]]:
            raise ValueError(f"scorers: '{twice[0]}' is named twice; a metric has one scorer")
        options = {entry["name"]: {key: entry[key] for key in entry if key != "name"} for entry in keyed}
        options = {name: keys for name, keys in options.items() if keys}
        return table | {"scorers": names} | ({"scorer_options": options} if options else {})

    @field_validator("name")
    @classmethod
    def _name_is_a_key(cls, value: str) -> str:
        if not KEY.fullmatch(value) or value in {".", ".."}:
            raise ValueError(f"'{cut(value)}' is no key; use letters, digits, '.', '_' and '-'")
        if len(value.partition("[")[0]) > NAME_LIMIT:
            raise ValueError(
                f"'{cut(value)}' has {len(value)} characters; a name is that of a folder: at most {NAME_LIMIT}"
            )
        return value


class RunSpec(EvalSpec):
    """A run file that trains: what is trained on what, and how it is judged."""

    dataset: str
    renderer: str
    tokenizer: str = "bytes"
    style: Style | None = None
    """How the steps of a trace are written; by default as the renderer has it."""
    renderer_options: dict[str, Any] = Field(default_factory=dict)
    """What the renderer's edition leaves open, such as `date` or `enable_thinking`."""
    supervise: Literal["last", "all", "answer"] = "last"
    """What carries loss: the last reply, every reply, or the answer of the last one; always with the stop token."""
    step_weight: Annotated[
        _Weight | dict[str, _Weight], expected("a number from 0 on, or a table of such numbers by step type")
    ] = 1.0
    """Loss weight of the reasoning before the answer, which weighs 1; or a weight for each type of step."""
    truncation: Literal["error", "drop", "left", "right"] = "error"
    """What becomes of a trace longer than row_tokens: an error, left out (and counted), or cut at one end."""
    holdout: Annotated[str | float | None, expected("a dataset, or a share of the prompts such as 0.05")] = None
    """Never trained on; its loss is measured as training goes on. A dataset, or a share of the prompts of this one."""
    trainer: str = OWN_TRAINER
    model: ModelSpec
    training: TrainingSpec
    generation: GenerationSpec = GenerationSpec()

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> RunSpec:
        for idle in _IDLE:
            table: _Part = getattr(self, idle.table)
            if not idle.has_effect(self) and _is_said(table, idle.name):
                raise ValueError(
                    f"{idle.table}.{idle.name} is {getattr(table, idle.name)!r} and changes nothing: {idle.reason}, "
                    f"or take {idle.name} out (an override does so with None)"
                )
        return self


class _Idle(NamedTuple):
    """A key that has an effect only beside others."""

    table: Literal["model", "training"]
    name: str
    has_effect: Callable[[RunSpec], bool]
    reason: str
    """Why it has none, and what would give it one."""


# A run file's alone: a record of what was trained is read whatever it says.
_IDLE = (
    _Idle(
        "training",
        "spike_factor",
        lambda run: run.training.spike != "ignore",
        'training.spike is "ignore"; give spike = "stop" or "skip"',
    ),
    _Idle(
        "training",
        "final_learning_rate",
        lambda run: run.training.schedule != "constant",
        'training.schedule is "constant"; choose another schedule',
    ),
    _Idle(
        "training",
        "decay_steps",
        lambda run: run.training.schedule == "wsd",
        'it is of training.schedule = "wsd"; choose that schedule',
    ),
    _Idle(
        "training",
        "holdout_steps",
        lambda run: run.holdout is not None,
        "there is no holdout; give one, such as holdout = 0.05",
    ),
    _Idle(
        "training",
        "options",
        lambda run: run.trainer != OWN_TRAINER,
        f"trainer {OWN_TRAINER} takes none; choose the trainer that they are for",
    ),
    _Idle(
        "model",
        "init_std",
        lambda run: run.model.init_from is None,
        "the weights begin as those of model.init_from; take that out",
    ),
)


def _is_said(table: StrictTable, name: str) -> bool:
    """Tell whether someone asked for something by a key."""
    value, field = getattr(table, name), type(table).model_fields[name]
    # What has every key was written out by a program: there a default is nobody's wish.
    written_out = table.model_fields_set == type(table).model_fields.keys()
    if value in (None, {}) or (written_out and value == field.default):
        return False
    return name in table.model_fields_set


class CheckpointSpec(EvalSpec):
    """A run file that judges the checkpoint of a run that was trained before, here or elsewhere."""

    checkpoint: str
    """The run's id, or the path of its directory."""
    renderer: str | None = None
    """As the run was trained; another is an error."""
    renderer_options: dict[str, Any] = Field(default_factory=dict)
    tokenizer: str | None = None
    style: Style | None = None
    generation: GenerationSpec = GenerationSpec()


class PredictionsSpec(EvalSpec):
    """A run file that judges completions which something else wrote."""

    predictions: str
    """The path of the predictions file."""
    evalsets: tuple[str, ...] = Field(default=(), max_length=1, strict=False)
    weights: str | None = None
    """Names the weights that wrote them. Two files under one name differ by sampling alone: items are compared."""
    repeats: int = Field(default=1, ge=1, le=10_000)
    """Completions an item in the file."""


AnySpec = RunSpec | CheckpointSpec | PredictionsSpec
