"""eval_before.<evalset>.jsonl and eval_after.<evalset>.jsonl: what was written for every item, and its scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tunix_eval.errors import ArtifactError
from tunix_eval.figures import printable
from tunix_eval.records import Completion, EvalItem, ExtractionStatus, Score, ScoredItem, Text1M, Turn


class EvalMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a line holds beside the format's own fields."""

    tokens: int | None
    stop_reason: Literal["stop", "length"]
    repeat: int = 0
    aliases: tuple[str, ...] = ()
    cluster: str | None = None
    system: Text1M | None = None
    messages: tuple[Turn, ...] = ()
    notes: dict[str, str] = {}
    """Scorer -> why there is no score, or what else it had to say."""
    answer_logprobs: tuple[float | None, ...] | None = None
    """Nats; null is minus infinity, which JSON cannot hold."""
    thinking: tuple[tuple[int, int], ...] = ()
    """Start and end of each section of the response that is thinking."""


class EvalLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line.

    Source: docs/formats.md, eval_after.<evalset>.jsonl.
    """

    example_id: str
    prompt: Text1M
    generated_response: str
    extracted_answer: str | None
    extraction_status: ExtractionStatus
    expected_response: Text1M
    scores: dict[str, float | None]
    category: str | None
    difficulty: str | None
    section: str | None
    metadata: EvalMetadata


def eval_text(scored: Sequence[ScoredItem]) -> str:
    """Write one line a completion; equal items give equal bytes."""
    encoder = msgspec.json.Encoder()
    return "".join(encoder.encode(_line(one)).decode() + "\n" for one in scored)


def read_eval(path: Path) -> list[ScoredItem]:
    """Read back what `eval_text` wrote.

    Raises:
        ArtifactError: the file is missing, empty, or has a line that breaks the format, named as file:line.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}; evaluate the run again") from None
    decoder = msgspec.json.Decoder(EvalLine)
    scored: dict[tuple[str, int], ScoredItem] = {}
    for number, line in enumerate(lines, start=1):
        if not line and number == len(lines):
            break
        try:
            one = _scored_item(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ArtifactError(f"{path}:{number}: {printable(str(error))}; evaluate the run again") from None
        item_id, repeat = one.completion.item_id, one.completion.repeat
        if scored.setdefault((item_id, repeat), one) is not one:
            which = f", repeat {repeat}," if repeat else ""
            raise ArtifactError(f"{path}:{number}: item '{item_id}'{which} stands twice; evaluate the run again")
    if not scored:
        raise ArtifactError(f"{path}: holds no items; evaluate the run again")
    return list(scored.values())


def _line(one: ScoredItem) -> EvalLine:
    item, completion = one.item, one.completion
    return EvalLine(
        example_id=completion.item_id,
        prompt=item.prompt,
        generated_response=completion.text,
        extracted_answer=completion.answer,
        extraction_status=completion.status,
        expected_response=item.expected_answer,
        scores={name: score.value for name, score in one.scores.items()},
        category=item.category,
        difficulty=item.difficulty,
        section=item.section,
        metadata=EvalMetadata(
            tokens=completion.tokens,
            stop_reason=completion.stop_reason,
            repeat=completion.repeat,
            aliases=item.aliases,
            cluster=item.cluster,
            system=item.system,
            messages=item.messages,
            notes={name: score.note for name, score in one.scores.items() if score.note},
            answer_logprobs=completion.answer_logprobs,
            thinking=completion.thinking,
        ),
    )


def _scored_item(line: EvalLine) -> ScoredItem:
    metadata = line.metadata
    return ScoredItem(
        item=EvalItem(
            id=line.example_id,
            prompt=line.prompt,
            expected_answer=line.expected_response,
            aliases=metadata.aliases,
            category=line.category,
            difficulty=line.difficulty,
            section=line.section,
            cluster=metadata.cluster,
            system=metadata.system,
            messages=metadata.messages,
        ),
        completion=Completion(
            item_id=line.example_id,
            text=line.generated_response,
            answer=line.extracted_answer,
            status=line.extraction_status,
            stop_reason=metadata.stop_reason,
            tokens=metadata.tokens,
            repeat=metadata.repeat,
            answer_logprobs=_nats(metadata.answer_logprobs),
            thinking=metadata.thinking,
        ),
        scores={name: Score(value, metadata.notes.get(name, "")) for name, value in line.scores.items()},
    )


def _nats(logprobs: tuple[float | None, ...] | None) -> tuple[float, ...] | None:
    return None if logprobs is None else tuple(-math.inf if value is None else value for value in logprobs)
