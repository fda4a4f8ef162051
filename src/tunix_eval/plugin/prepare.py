"""From a run file to packed rows: dataset, turns, tokens and masks, with everything that can be wrong in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    sequence_digests,
    sequences_sha256,
    stop_ids,
    truncate,
)
from tunix_eval.digest import prompt_digest, sha256_json, sha256_text
from tunix_eval.errors import DataError, SpecError, suggestion
from tunix_eval.plugin.registry import Registry, offered
from tunix_eval.records import (
    AnswerRule,
    Batch,
    Conversation,
    Dataset,
    EvalItem,
    Evalset,
    Renderer,
    Supervision,
    TokenArray,
    Tokenizer,
    TokenSequence,
    Trace,
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
        section = getattr(self.renderer, "thinking_section", None)
        return tuple(conversation(trace, self.style, section) for trace in dataset.traces)

    def sequences(self, dataset: Dataset) -> tuple[TokenSequence, ...]:
        """Return every trace as tokens with a loss mask."""
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


def _held_out(prompt: str, share: float) -> bool:
    """Tell whether a prompt is in the share that is held out, by a digest of the normalised prompt alone.

    Another digest than that of `on_holdout_side`: a dataset that is one side of such a split, as the built-in ones are,
    would be on one side here too.
    """
    return int(sha256_text(f"holdout\n{prompt_digest(prompt)}")[:13], 16) < share * 16**13


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
    named_holdout: Dataset | None = None
    """The dataset that the run file names as its holdout."""

    @cached_property
    def trained(self) -> Dataset:
        """What is trained on: the dataset without the share that is held out."""
        return self._sides[0]

    @cached_property
    def _sides(self) -> tuple[Dataset, Dataset | None]:
        """What is trained on, and what is held out.

        Raises:
            DataError: the share is none, or leaves one side empty.
        """
        share = self.spec.holdout
        if share is None or isinstance(share, str):
            return self.dataset, self.named_holdout
        sides: tuple[list[Trace], list[Trace]] = [], []
        for trace in self.dataset.traces:
            sides[_held_out(trace.prompt, share)].append(trace)
        if not all(sides):
            raise DataError(
                f"'{self.spec.name}': holdout = {share:g} holds out {len(sides[1])} of the {len(self.dataset.traces)} "
                f"traces of {self.dataset.key}; take another share, or name a dataset"
            )
        trained, held_out = (replace(self.dataset, traces=tuple(side)) for side in sides)
        return trained, held_out

    @cached_property
    def truncated(self) -> Truncated:
        """Every trace as tokens, its loss mask neither empty nor full, and what became of those too long for a row."""
        _check_step_types(self.dataset, self.format.supervision)
        return self._encoded(self.trained, self.spec.dataset)

    @cached_property
    def truncated_holdout(self) -> Truncated | None:
        """The same of the holdout; None where there is none.

        Raises:
            DataError: one of its prompts is trained on.
        """
        held_out = self._sides[1]
        if held_out is None:
            return None
        items = [EvalItem(id=str(one.id), prompt=one.prompt, expected_answer="-") for one in held_out.traces]
        if found := contaminated(self.trained.traces, items):
            raise DataError(
                f"holdout of '{self.spec.name}': {len(found)} of {len(items)} prompts of {held_out.key} are trained on "
                f"too (first: {', '.join(found[:3])}); take them out of one of the two"
            )
        return self._encoded(held_out, str(self.spec.holdout))

    def _encoded(self, dataset: Dataset, reference: str) -> Truncated:
        sequences = self.format.sequences(dataset)
        named = is_path(reference) and reference != dataset.key
        source = f"{dataset.key} ({reference})" if named else dataset.key
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
        of = f"{count} of {len(self.trained.traces)} traces of {self.dataset.key} are longer than {limit} tokens"
        if not done.dropped:
            return f"{self.spec.name}: {of} and were cut at the {self.spec.truncation}"
        more = ", ..." if len(done.dropped) > 3 else ""
        return f"{self.spec.name}: {of} and were dropped: {', '.join(done.dropped[:3])}{more}"

    @cached_property
    def rows(self) -> Batch:
        """Every packed row."""
        return pack(self.sequences, row_tokens=self.spec.training.row_tokens, pad_id=self.format.tokenizer.pad_id)

    @cached_property
    def holdout_rows(self) -> Batch | None:
        """Every packed row of the holdout."""
        held_out = self.truncated_holdout
        if held_out is None:
            return None
        row_tokens, pad_id = self.spec.training.row_tokens, self.format.tokenizer.pad_id
        return pack(held_out.sequences, row_tokens=row_tokens, pad_id=pad_id)

    @cached_property
    def sequences_sha256(self) -> str:
        """Digest of the token ids and masks before packing."""
        return sequences_sha256(self.sequences)

    @cached_property
    def trace_digests(self) -> dict[str, str]:
        """Trace id -> digest of its tokens, of every trace that is trained on."""
        return sequence_digests(self.sequences)

    @cached_property
    def holdout_sha256(self) -> str | None:
        """The same of the holdout."""
        held_out = self.truncated_holdout
        return None if held_out is None else sequences_sha256(held_out.sequences)

    @cached_property
    def total_steps(self) -> int:
        """Optimizer steps of the full run."""
        training = self.spec.training
        # Where the steps are given, nothing has to be packed to know them.
        return training.total_steps(0 if training.steps else len(self.rows.tokens))

    def check_holdout(self) -> None:
        """Refuse decisions by the loss of a holdout that is not there.

        Raises:
            SpecError: naming the key.
        """
        training = self.spec.training
        asked = [
            *(["early_stopping"] if training.early_stopping is not None else []),
            *(['keep = "best"'] if training.keep == "best" else []),
        ]
        if asked and self.spec.holdout is None:
            raise SpecError(
                f"'{self.spec.name}': training.{asked[0]} goes by the loss of a holdout, and there is none; give one, "
                "such as holdout = 0.05, or take it out"
            )

    def check_rows(self, mesh: Mapping[str, int]) -> None:
        """Refuse steps of more rows than there are, or that the devices of a mesh do not divide.

        Raises:
            SpecError: with both numbers.
        """
        self.spec.training.check_rows(len(self.rows.tokens), devices=math.prod(mesh.values()))

    def check_contamination(self, evalset: Evalset) -> None:
        """Refuse an evalset of which a prompt was trained on."""
        refuse_contamination(self.trained, evalset)


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
