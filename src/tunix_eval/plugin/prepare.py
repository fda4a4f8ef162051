"""From a run file to packed rows: dataset, turns, tokens and masks, with everything that can be wrong in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunix_eval.data import (
    Truncated,
    answer_mark,
    check_masks,
    contaminated,
    conversation,
    encode_prompt,
    encode_traces,
    pack,
    sequences_sha256,
    stop_ids,
    truncate,
)
from tunix_eval.digest import sha256_json
from tunix_eval.errors import DataError, SpecError, suggestion
from tunix_eval.plugin.registry import Registry, offered
from tunix_eval.records import (
    AnswerRule,
    Batch,
    Conversation,
    Dataset,
    Evalset,
    Renderer,
    Supervision,
    TokenArray,
    Tokenizer,
    TokenSequence,
)
from tunix_eval.specs import RunSpec
from tunix_eval.tables import is_path

_LAST_REPLY = Supervision()


@dataclass(frozen=True)
class Format:
    """How traces and prompts become tokens: renderer, tokenizer, style of the steps, and what of them is learned."""

    renderer: Renderer
    tokenizer: Tokenizer
    style: str
    supervision: Supervision = _LAST_REPLY

    @property
    def mark(self) -> AnswerRule:
        """Where the answer stands in a model turn."""
        return answer_mark(self.style)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The ids that end a model turn."""
        return stop_ids(self.renderer, self.tokenizer)

    def turns(self, dataset: Dataset) -> tuple[Conversation, ...]:
        """Return every trace as a conversation."""
        return tuple(conversation(trace, self.style) for trace in dataset.traces)

    def sequences(self, dataset: Dataset) -> tuple[TokenSequence, ...]:
        """Return every trace as tokens with a loss mask."""
        _check_step_types(dataset, self.supervision)
        with offered(f"renderer '{self.renderer.name}' with tokenizer '{self.tokenizer.name}'"):
            return tuple(
                encode_traces(
                    dataset.traces,
                    renderer=self.renderer,
                    tokenizer=self.tokenizer,
                    style=self.style,
                    supervision=self.supervision,
                )
            )

    def prompts(self, evalset: Evalset) -> list[TokenArray]:
        """Return every item's prompt, int32[T] each."""
        with offered(f"renderer '{self.renderer.name}' with tokenizer '{self.tokenizer.name}'"):
            return [encode_prompt(item, renderer=self.renderer, tokenizer=self.tokenizer) for item in evalset.items]


def make_format(
    registry: Registry,
    *,
    renderer: str,
    tokenizer: str,
    style: str | None,
    renderer_options: Mapping[str, Any] | None = None,
    supervision: Supervision = _LAST_REPLY,
) -> Format:
    """Resolve names and paths; the style is the renderer's own unless it is given."""
    chosen = registry.renderer(renderer, renderer_options)
    opened = registry.tokenizer(tokenizer, chosen.control_tokens)
    return Format(chosen, opened, style or chosen.default_style, supervision)


def format_of_spec(registry: Registry, spec: RunSpec) -> Format:
    """Return the format that a run file asks for.

    Raises:
        SpecError: a name is not known, or step weights are given where steps carry no loss.
    """
    if spec.supervise == "answer" and spec.step_weight != 1.0:
        raise SpecError(
            f"'{spec.name}' has both supervise = \"answer\" and step_weight, but no step carries loss then; "
            "take one of the two out"
        )
    return make_format(
        registry,
        renderer=spec.renderer,
        tokenizer=spec.tokenizer,
        style=spec.style,
        renderer_options=spec.renderer_options,
        supervision=Supervision(spec.supervise, spec.step_weight),
    )


def _check_step_types(dataset: Dataset, supervision: Supervision) -> None:
    """Refuse a weight for a type of step that no trace has: a misspelt one would weigh nothing."""
    if not isinstance(supervision.step_weight, Mapping):
        return
    known = {step.type for trace in dataset.traces for step in trace.steps}
    for name in supervision.step_weight:
        if name not in known:
            listed = ", ".join(sorted(known)[:20])
            raise SpecError(
                f"step_weight: no trace of {dataset.key} has a step of type '{name}'; it has {listed}."
                f"{suggestion(name, known)}"
            )


@dataclass(frozen=True)
class Prepared:
    """A run file with its data: all that identity and training need. Each part is made at first use."""

    spec: RunSpec
    dataset: Dataset
    format: Format

    @cached_property
    def truncated(self) -> Truncated:
        """Every trace as tokens, its loss mask neither empty nor full, and what became of those too long for a row."""
        sequences = self.format.sequences(self.dataset)
        named = is_path(self.spec.dataset) and self.spec.dataset != self.dataset.key
        source = f"{self.dataset.key} ({self.spec.dataset})" if named else self.dataset.key
        check_masks(sequences, source=source)
        return truncate(
            sequences,
            row_tokens=self.spec.training.row_tokens,
            mode=self.spec.truncation,
            renderer=self.format.renderer,
            tokenizer=self.format.tokenizer,
            source=source,
        )

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """The sequences that are trained on, each short enough for a row."""
        return self.truncated.sequences

    @property
    def truncation_note(self) -> str | None:
        """What truncation did; None where it did nothing."""
        done, limit = self.truncated, self.spec.training.row_tokens
        count = len(done.dropped) or done.cut
        if not count:
            return None
        of = f"{count} of {len(self.dataset.traces)} traces of {self.dataset.key} are longer than {limit} tokens"
        if not done.dropped:
            return f"{self.spec.name}: {of} and were cut at the {self.spec.truncation}"
        more = ", ..." if len(done.dropped) > 3 else ""
        return f"{self.spec.name}: {of} and were dropped: {', '.join(done.dropped[:3])}{more}"

    @cached_property
    def rows(self) -> Batch:
        """Every packed row."""
        return pack(self.sequences, row_tokens=self.spec.training.row_tokens, pad_id=self.format.tokenizer.pad_id)

    @cached_property
    def sequences_sha256(self) -> str:
        """Digest of the token ids and masks before packing."""
        return sequences_sha256(self.sequences)

    @cached_property
    def total_steps(self) -> int:
        """Optimizer steps of the full run."""
        training = self.spec.training
        # Where the steps are given, nothing has to be packed to know them.
        return training.total_steps(0 if training.steps else len(self.rows.tokens))

    def check_contamination(self, evalset: Evalset) -> None:
        """Refuse an evalset of which a prompt was trained on."""
        refuse_contamination(self.dataset, evalset)


def refuse_contamination(dataset: Dataset, evalset: Evalset) -> None:
    """Refuse an evalset of which a prompt was trained on.

    Raises:
        DataError: naming how many items, and the first of them.
    """
    found = contaminated(dataset.traces, evalset.items)
    if found:
        raise DataError(
            f"evalset '{evalset.name}': {len(found)} of {len(evalset.items)} prompts are in the training set "
            f"{dataset.key} too (first: {', '.join(found[:3])}); take them out of one of the two"
        )


def prompts_sha256(evalset: Evalset, prompts: list[TokenArray]) -> str:
    """Return the digest of the prompts' token ids, by item id."""
    pairs = sorted((str(item.id), prompt.tolist()) for item, prompt in zip(evalset.items, prompts, strict=True))
    return sha256_json(pairs)
