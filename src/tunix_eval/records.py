"""The frozen values that flow from stage to stage. Read this file first.

    trace -> dataset -> turns -> tokens + loss mask -> packed batches -> run -> completions -> scores -> scorecard
    -> verdict -> report

Axes: B rows, T tokens, V vocabulary, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from tunix_eval.errors import unknown_name
from tunix_eval.thinking import without

if TYPE_CHECKING:
    from tunix_eval.specs import GenerationSpec, ModelSpec, TrainingSpec

TokenArray = npt.NDArray[np.int32]
MaskArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

# What a reasoning model writes in one go fits many times; a file in the wrong shape, all on one line, does not.
Text1M = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000)]
Text64 = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


# ---------------------------------------------------------------------------------------------------------- data


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One reasoning step of a trace."""

    i: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    type: Text64
    content: Text1M


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    """In a trace's or an item's `messages` only user and assistant; their system text has a field of its own."""
    content: Text1M
    reasoning_content: Text1M | None = None
    """What an assistant thought before `content`; editions with a thinking section print it there."""


# gc=False: the collector's passes over 100,000 traces cost more than to decode them. Nothing is lost, for no trace can
# be part of a cycle: it is frozen, and what it holds was there before it (only a meta that holds its own trace leaks).
class Trace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, gc=False):
    """A prompt, the steps that answer it, and the answer: one line of a trace file.

    Source: docs/formats.md, "Trace". Steps are kept in the order of `i`. Read through `data.read_traces`,
    the id is always a string.
    """

    trace_version: Text64
    prompt: Text1M
    final_answer: Text1M
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=100_000)]
    meta: dict[str, Any] | None = None
    id: str | int | None = None
    system: Text1M | None = None
    messages: tuple[Turn, ...] = ()


class EvalItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, gc=False):
    """One question of an evalset with the answer that is expected.

    Source: docs/formats.md, "Evalset". Read through `data.read_evalset`, the id is always a string.
    """

    id: str | int
    prompt: Text1M
    expected_answer: Text1M
    aliases: tuple[str, ...] = ()
    category: str | None = None
    difficulty: str | None = None
    section: str | None = None
    cluster: str | None = None
    system: Text1M | None = None
    messages: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Evalset:
    """Items in file order, under the name that markers and run files use."""

    name: str
    items: tuple[EvalItem, ...]
    sha256: str
    """Digest over the items sorted by id."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Traces in manifest order with what the manifest says of them."""

    key: str
    """`<name>-<version>`"""
    traces: tuple[Trace, ...]
    content_sha256: str
    """Digest of the bytes of traces.jsonl."""
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """Where the answer stands in a model turn.

    mark: after the last `open`, up to `close` or the end; one without `close` counts where a line begins with it, and
    an empty one stands before the whole text. boxed: in the last `\\boxed{...}`, braces balanced. last_number: the
    last number in the text. What is thinking in the text is no answer under any of them.
    """

    open: str = ""
    close: str = ""
    kind: Literal["mark", "boxed", "last_number"] = "mark"
    thinking: str | tuple[str, str] = "known"
    """How thinking is told: the name of a form or tag, two marks, `known`, `none` (`thinking.find_thinking`)."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a renderer renders. For training the last turn is the assistant's; for a prompt, the user's."""

    turns: tuple[Turn, ...]
    """A system turn among them stands where it is; most editions refuse one after the first turn."""
    system: str | None = None
    """What stands before the first turn; None and an empty text may print differently."""

    @property
    def messages(self) -> tuple[Turn, ...]:
        """The turns, a system turn before them where there is a system text."""
        return self.turns if self.system is None else (Turn("system", self.system), *self.turns)


class Span(msgspec.Struct, frozen=True, gc=False):
    """A piece of a rendered conversation, encoded on its own.

    A control span is one control token by name; a text span is plain text, which can never become a control
    token.
    """

    text: str
    control: bool = False
    reply: int | None = None
    """Where the model writes this piece (the text of an assistant turn and the stop token after it): the index of
    that turn in `Conversation.turns`. None for everything that the model is given."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """Which of the pieces that the model writes carry loss, and how much."""

    turns: Literal["last", "all", "answer"] = "last"
    """The last reply; every reply; of the last reply the answer and the stop token alone."""
    step_weight: float | Mapping[str, float] = 1.0
    """Loss weight of the reasoning before the answer in the last reply, where the answer and the stop token weigh 1;
    or a weight for each type of step, 1 for the others."""


class TokenSequence(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A rendered trace as tokens.

    text       <bos> user  2+2?  model  4     <end>  \\n
    loss_mask  0     0     0     0      1     1      0
    """

    trace_id: str
    spans: tuple[Span, ...]
    """As encoded; a reply of which only a part is supervised, or parts weigh differently, is shown in pieces."""
    ids: TokenArray
    """int32[T]"""
    loss_mask: MaskArray
    """bool[T]; True where the token itself is predicted under loss."""
    span_lengths: tuple[int, ...] = ()
    """How many tokens each span has; they add up to T."""
    span_weights: tuple[float, ...] = ()
    """The loss weight of each span's tokens; 0 where they are given."""
    loss_weights: FloatArray | None = None
    """float32[T], zero outside loss_mask; None where every supervised token weighs 1."""

    @property
    def text(self) -> str:
        """The rendered text, control tokens by name."""
        return "".join(span.text for span in self.spans)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of packed sequences.

    text       <bos> 1+1= 2  <eos> <bos> 2+2= 4  <eos> pad
    loss_mask  0     0    1  1     0     0    1  1     0
    segment    1     1    1  1     2     2    2  2     0
    position   0     1    2  3     0     1    2  3     0
    """

    tokens: TokenArray
    """int32[B, T]"""
    loss_mask: MaskArray
    """bool[B, T]"""
    segment_ids: TokenArray
    """int32[B, T]; 0 is padding, segments of a row count from 1."""
    positions: TokenArray
    """int32[B, T]; from 0 in every segment."""
    trace_ids: tuple[tuple[str, ...], ...] = ()
    """The traces of each row, in segment order."""
    loss_weights: FloatArray | None = None
    """float32[B, T], zero outside loss_mask; None where every supervised token weighs 1."""

    @classmethod
    def empty(cls) -> Batch:
        """Return a batch of no rows."""
        nothing = np.zeros((0, 1), np.int32)
        return cls(nothing, nothing.astype(np.bool_), nothing, nothing)


class Renderer(Protocol):
    """Lays a conversation out as spans, the way one edition of a model's chat template does."""

    name: str
    version: str
    control_tokens: tuple[str, ...]
    """Names of the control tokens that `render` uses, `<bos>` first where the edition has one."""
    default_style: str

    @property
    def stop_token(self) -> str | None:
        """The control token that ends a model turn; None for an edition that has none and is for prompting only."""
        ...

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans; with `generation_prompt` they end where the model's reply would begin.

        Raises:
            RenderError: the edition refuses this conversation.
        """
        ...


class Tokenizer(Protocol):
    """Plain text to ids and back, with control tokens apart."""

    name: str
    version: str
    vocab_size: int
    pad_id: int

    def encode(self, text: str) -> list[int]:
        """Encode plain text; never gives a control id, whatever the text holds."""
        ...

    def control_id(self, token: str) -> int:
        """Return the id of a control token by name.

        Raises:
            RenderError: the tokenizer has no such control token.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text; control tokens by name."""
        ...


TokenizerFactory = Callable[[tuple[str, ...]], Tokenizer]
"""Takes the renderer's control tokens, gives a tokenizer that has an id for each of them."""


@dataclass(frozen=True, slots=True)
class Generator:
    """Makes traces from a seed: equal seeds and counts give equal traces, on every machine."""

    traces: Callable[[int, int], Iterable[Trace]]
    """Called with a seed and a count; gives so many traces, their prompts distinct; fewer where it has no more."""
    version: str
    """Raised when equal arguments give other traces."""
    count: int
    """How many traces there are where nobody says."""
    seed: int = 0


# ---------------------------------------------------------------------------------------------------- training


def never() -> None:
    """Answer that nothing asks a training to stop. By name, so that a job can be pickled."""


def unheard(number: float) -> None:
    """Hear how long a checkpoint took, or where a training begins, and do nothing."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Everything that a trainer is told."""

    rows: Batch
    """Every packed row of the dataset, [rows, row_tokens]; a trainer orders them by the seed."""
    model: ModelSpec
    training: TrainingSpec
    seed: int
    vocab_size: int
    pad_id: int
    stop_after: int | None
    """Stop after this many steps (a truncated run); the schedule stays that of the full run."""
    directory: Path
    """The run directory; the trainer writes metrics.jsonl, checkpoints/ and checkpoint-final/ into it."""
    holdout: Batch | None = None
    """Packed rows that are never trained on; training.holdout_steps, early_stopping and keep are about their loss."""
    initial: Path | None = None
    """A `checkpoint-final/` that the weights begin from; None draws them from the seed."""
    mesh: Mapping[str, int] = field(default_factory=dict)
    """Axis -> devices: `{"data": 4}` splits the rows of a step over four; empty for a single device."""
    resume_from: int | None = None
    """Go on from the checkpoint of this step; None from the newest sound one."""
    stop_requested: Callable[[], str | None] = never
    """Asked after every dispatch. A text, the reason, means: write a checkpoint and return what was done."""
    on_saved: Callable[[float], None] = unheard
    """Told after every checkpoint how many seconds it took until it was whole."""
    on_started: Callable[[int], None] = unheard
    """Told once, before the first step, how many steps are done already: 0 where nothing is gone on from."""


class Progress(msgspec.Struct, frozen=True):
    """Where a training run stands."""

    step: int
    total_steps: int
    loss: float | None
    """Nats per supervised token; None where it is not finite, or the batch had no such token."""
    tokens_per_second: float


class TrainingResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a training run did; goes into the manifest."""

    steps: int
    """Optimizer steps done."""
    total_steps: int
    """Optimizer steps that the spec asks for."""
    tokens: int
    """Tokens seen, padding apart."""
    wall_seconds: float
    weights_sha256: str
    """Over the arrays, never over files."""
    parameter_count: int
    model_config: dict[str, Any]
    """The model as built, presets resolved."""
    resumed_from: int | None = None
    """The step of the checkpoint that this training went on from."""
    ended: Literal["complete", "early_stopping", "stopped"] = "complete"
    """After all steps (or `stop_after`); for want of progress on the holdout; or on request, to be gone on with."""
    best_step: int | None = None
    """The step whose weights were kept, with keep = "best"."""
    holdout_loss: float | None = None
    """Of the weights that the run ends with, nats per supervised token."""
    skipped_steps: tuple[int, ...] = ()
    """Steps that changed nothing, by not_finite or spike."""


class Generation(msgspec.Struct, frozen=True):
    """What a model wrote after one prompt."""

    ids: tuple[int, ...]
    """Without the stop token."""
    stop_reason: Literal["stop", "length"]


class Model(Protocol):
    """Weights that can write."""

    weights_sha256: str

    def generate(
        self,
        prompts: Sequence[TokenArray],
        settings: GenerationSpec,
        *,
        stop_ids: tuple[int, ...],
        seeds: Sequence[int] = (),
    ) -> list[Generation]:
        """Complete every prompt (int32[T] each), in order.

        Where there is a temperature, `seeds` has one for each prompt, 0 <= seed < 2**64: equal prompts and seeds give
        equal completions, whatever else is asked for.

        It may take two more: `has_ended`, which takes the ids of a completion so far and tells whether a stop text is
        in it, so that no more need be written; and `on_progress`, told now and then, best after every dispatch, how
        many prompts are completed. What that raises, to end the generation, is let through.
        """
        ...

    def token_logprobs(self, sequences: Sequence[TokenArray]) -> list[FloatArray]:
        """Return the log-probability in nats of every token but the first, given those before it.

        Takes int32[T] each, gives float32[T - 1] each, in order. Only scorers that need log-probabilities call it.
        """
        ...


class Trainer(Protocol):
    """Trains a model and loads it again. Registered by import string, so that planning imports no JAX.

    It may have one more attribute, `supports`: which of "holdout", "init_from", "mesh" and "filters" (top_k, top_p,
    min_p) it heeds. What it does not name there is refused where it is asked for.
    """

    name: str
    version: str

    def train(self, job: TrainingJob, *, on_progress: Callable[[Progress], None]) -> TrainingResult:
        """Train, or go on from the newest sound checkpoint in the job's directory.

        Raises:
            TrainingError: a loss that is not a number, naming the step and the traces of that batch.
        """
        ...

    def load(self, job: TrainingJob, weights: Literal["initial", "final"]) -> Model:
        """Return the model as it was before training, or as `checkpoint-final/` holds it."""
        ...


# -------------------------------------------------------------------------------------------------- evaluation

ExtractionStatus = Literal["ok", "none", "several", "truncated", "unclosed"]
"""ok; no mark found; several marks, the last counts; stopped by length, or at the end inside the thinking;
an opening mark never closed."""


class Completion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model wrote for one item, with the answer found in it."""

    item_id: str
    text: str
    answer: str | None
    """The extracted answer; None where the status is none, truncated or unclosed."""
    status: ExtractionStatus
    stop_reason: Literal["stop", "length"]
    tokens: int | None
    """Tokens written; None where that is not known."""
    repeat: int = 0
    """Which of the item's completions this is."""
    answer_logprobs: tuple[float, ...] | None = None
    """Nats: the log-probability of each token of the expected answer and of the stop token after it, teacher forced
    after what the model wrote up to its answer mark. None where no scorer needs them."""
    thinking: tuple[tuple[int, int], ...] = ()
    """Start and end in `text` of each section that is thinking, marks included."""

    @property
    def said(self) -> str:
        """The text without its thinking: what a scorer that reads more than the answer reads."""
        return without(self.text, self.thinking)


class Score(msgspec.Struct, frozen=True, gc=False):
    """One item's value under one scorer. None means that it could not be measured, and why stands in `note`."""

    value: float | None
    note: str = ""


class Scorer(Protocol):
    """Gives one item's completion a value.

    It may have two more attributes: `bounds`, the least and the greatest value that it gives, (0.0, 1.0), by which
    margins and thresholds on a wrong scale are refused; and `needs`, ("answer_logprobs",), what it takes from a
    completion that is only had at a cost.
    """

    name: str
    version: str
    lower_is_better: bool
    parameters: Mapping[str, Any]

    def __call__(self, item: EvalItem, completion: Completion) -> Score:
        """Score one completion."""
        ...


class ScoredItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item, what was written for it, and its values: one line of eval_after.<evalset>.jsonl."""

    item: EvalItem
    completion: Completion
    scores: dict[str, Score]


class GroupSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over some of the items."""

    n_items: int
    n_scored: int
    mean: float | None
    stderr: float | None


class MetricSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A metric over an evalset. What cannot be computed is None."""

    n_items: int
    n_scored: int
    n_skipped: int
    mean: float | None
    stderr: float | None
    stddev: float | None
    ci95: tuple[float, float] | None
    min: float | None
    max: float | None
    lower_is_better: bool
    repeats: int = 1
    """Completions an item; an item's value is then the mean of its completions' values."""
    pass_at_k: dict[int, float] = {}
    """With repeats, for a metric of 0 and 1: k -> the chance that one of k completions is right."""
    right_of_n: dict[int, int] = {}
    """With repeats, for a metric of 0 and 1: c -> items of which c of the n completions are right."""
    section: dict[str, GroupSummary]
    category: dict[str, GroupSummary]
    difficulty: dict[str, GroupSummary]


class Scorecard(msgspec.Struct, frozen=True, kw_only=True):
    """All metrics of one evalset: `scorecard["exact"].mean`."""

    evalset: str
    metrics: dict[str, MetricSummary]
    primary: str
    extraction: dict[str, int]
    """How many items had each extraction status."""

    def __getitem__(self, metric: str) -> MetricSummary:
        """Return the summary of a metric by name."""
        if metric not in self.metrics:
            raise unknown_name("metric", metric, self.metrics)
        return self.metrics[metric]


class RunScores(msgspec.Struct, frozen=True, kw_only=True):
    """One run's values for one metric: what gates compare."""

    run_id: str
    seed: int
    weights_sha256: str
    values: dict[str, float | None]
    """Item id -> value; with repeats the mean over the item's completions."""
    unpromised_bits: str | None = None
    """Why the run, trained or evaluated again, may have other values; None where its platform promises the same."""


Outcome = Literal["passed", "failed", "undecided", "skipped", "stopped"]
"""undecided: nothing was found, by a test that could not have found the worst drop that there can be. skipped: not
decided, as was asked for. stopped: not decided, for the run or its completions were stopped before their end; the same
command decides it in another session."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate decided, with everything that it decided from."""

    rule: str
    """Empty, as the metric, where the body of a test names the gate and was stopped before it did."""
    metric: str
    run_name: str
    run_id: str
    evalset: str
    outcome: Outcome
    reason: str
    """One paragraph, fit for a failed test."""
    unit: Literal["items", "runs", "none"]
    """What the test counted: items, runs, or nothing (a threshold)."""
    method: str
    reference: float | None = None
    """Mean of what the run was compared with, or the threshold."""
    current: float | None = None
    delta: float | None = None
    """current - reference, in the metric's own direction."""
    interval: tuple[float, float] | None = None
    """(1 - 2 alpha) interval of delta, of the same method as p."""
    p_value: float | None = None
    adjusted_p: float | None = None
    """p after the correction over the gates of the run file."""
    bootstrap: tuple[float, float] | None = None
    """(1 - 2 alpha) bootstrap interval of delta, beside the one of a paired t test."""
    false_alarms: float | None = None
    """How often max_drop fails though nothing changed, for this baseline."""
    unproven: Literal["fail", "skip"] = "fail"
    """What becomes of a non_inferior where nothing is proven."""
    alpha: float | None = None
    margin: float | None = None
    n_items: int = 0
    n_runs: int = 0
    """Runs on the reference side."""
    n_current: int = 1
    """Runs on the side that is judged, fresh ones among them."""
    means: tuple[float, ...] = ()
    """Of each of them, the run file's own first."""
    lower_is_better: bool = False
    detectable: float | None = None
    """The smallest worsening that the test would have found with 80% power."""
    undecided: str | None = None
    """Why an undecided gate could not have failed; of one that failed, why it could not after its correction."""
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------ report


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the session's table shows it; of predictions, nothing is known but the file."""

    name: str
    run_id: str
    seed: int
    action: Literal["trained", "resumed", "reused", "checkpoint", "predictions"]
    status: Literal["complete", "truncated"] = "complete"
    steps: int | None = None
    total_steps: int | None = None
    wall_seconds: float | None = None
    loss: float | None = None
    """Mean over the last 50 steps that have a loss, nats per supervised token."""
    ended: Literal["complete", "early_stopping"] = "complete"
    """After as many steps as status says; or before, for want of progress on the holdout."""
    best_step: int | None = None
    """The step of the lowest holdout loss, where a training chose its weights or its end by it."""
    resumed_from: int | None = None
    """The step of the checkpoint that this session's training went on from."""


class EvalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one run on one evalset, as the session's table shows it."""

    run_name: str
    run_id: str
    evalset: str
    metric: str
    n_items: int
    n_scored: int
    before: float | None
    after: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    repeats: int = 1
    pass_at_k: dict[int, float] = {}


class SessionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the terminal table and verdicts.json are made from."""

    runs: tuple[RunRow, ...] = ()
    evals: tuple[EvalRow, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
