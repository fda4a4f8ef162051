"""From a run file to packed rows: dataset, turns, tokens and masks, with everything that can be wrong in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tunix_eval.data import (
    answer_mark,
    check_lengths,
    check_masks,
    contaminated,
    conversation,
    encode_prompt,
    encode_trace,
    pack,
    sequences_sha256,
    stop_ids,
)
from tunix_eval.digest import sha256_json
from tunix_eval.errors import DataError
from tunix_eval.plugin.registry import Registry, offered
from tunix_eval.records import (
    AnswerRule,
    Batch,
    Conversation,
    Dataset,
    Evalset,
    Renderer,
    TokenArray,
    Tokenizer,
    TokenSequence,
)
from tunix_eval.specs import RunSpec


@dataclass(frozen=True)
class Format:
    """How traces and prompts become tokens: renderer, tokenizer and style of the steps."""

    renderer: Renderer
    tokenizer: Tokenizer
    style: str

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
        with offered(f"renderer '{self.renderer.name}' with tokenizer '{self.tokenizer.name}'"):
            return tuple(
                encode_trace(trace, renderer=self.renderer, tokenizer=self.tokenizer, style=self.style)
                for trace in dataset.traces
            )

    def prompts(self, evalset: Evalset) -> list[TokenArray]:
        """Return every item's prompt, int32[T] each."""
        with offered(f"renderer '{self.renderer.name}' with tokenizer '{self.tokenizer.name}'"):
            return [encode_prompt(item, renderer=self.renderer, tokenizer=self.tokenizer) for item in evalset.items]


def make_format(registry: Registry, *, renderer: str, tokenizer: str, style: str | None) -> Format:
    """Resolve names; the style is the renderer's own unless it is given."""
    chosen = registry.renderer(renderer)
    return Format(chosen, registry.tokenizer(tokenizer, chosen.control_tokens), style or chosen.default_style)


@dataclass(frozen=True)
class Prepared:
    """A run file with its data: all that identity and training need. Each part is made at first use."""

    spec: RunSpec
    dataset: Dataset
    format: Format

    @cached_property
    def sequences(self) -> tuple[TokenSequence, ...]:
        """Every trace as tokens, each short enough for a row, and its loss mask neither empty nor full."""
        sequences = self.format.sequences(self.dataset)
        check_lengths(sequences, row_tokens=self.spec.training.row_tokens, source=self.dataset.key)
        check_masks(sequences, source=self.dataset.key)
        return sequences

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
        if training.steps is not None:
            return training.steps
        if training.epochs is None:
            raise AssertionError("specs.TrainingSpec lets no table through that has neither steps nor epochs")
        return math.ceil(training.epochs * len(self.rows.tokens) / training.rows)

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
