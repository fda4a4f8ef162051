"""Datasets in the formats that trainers elsewhere take; equal traces give equal bytes."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.data.reading.files import written_aside
from tunix_eval.data.reading.jsonl import encode
from tunix_eval.data.reading.parquet import pyarrow
from tunix_eval.data.reading.uuids import uuid5_text
from tunix_eval.data.renderers.styles import STYLES, model_text
from tunix_eval.errors import DataError, unknown_name
from tunix_eval.records import Dataset, Trace

EXAMPLE_NAMESPACE = uuid.UUID("3e0c7f7e-5d55-5a3e-9b59-5f5f0a0c9d21")
"""Names in it are the ids of the traces that training examples are made of."""
BLOCK = 200
"""Traces that are encoded in one call: few enough to stay in the processor's cache."""

_ENCODER = msgspec.json.Encoder(order="deterministic")
_NOTHING: Mapping[str, Any] = {}


class _Sft(msgspec.Struct, frozen=True, gc=False):
    id: str
    prompts: str
    final_answer: str
    metadata: dict[str, Any]


class _TrainingExample(msgspec.Struct, frozen=True, gc=False):
    id: str
    prompt: str
    response: str
    metadata: dict[str, Any]


class _Message(msgspec.Struct, frozen=True, gc=False):
    role: str
    content: str


class _Messages(msgspec.Struct, frozen=True, gc=False):
    messages: list[_Message]


class _PromptCompletion(msgspec.Struct, frozen=True, gc=False):
    prompt: str
    completion: str


def export_lines(
    traces: Dataset | Iterable[Trace], kind: str, *, style: str = "numbered", created_at: str | None = None
) -> Iterator[bytes]:
    """Give a dataset in an export format, in manifest order, as blocks of whole lines.

    Args:
        traces: a dataset, or traces as they come, which are never held all at once.
        kind: one of EXPORT_FORMATS.
        style: how `messages` and `prompt_completion` write the steps; the layout of the others is fixed.
        created_at: of the metadata, for traces without a manifest; a dataset's manifest has its own.

    Raises:
        SpecError: a format or style that is not known.
        DataError: a style for a format that takes none; while iterating, a trace that the format cannot hold.

    Source: docs/formats.md, "Export formats".
    """
    record = _recorder(kind, style, _created_at(traces, created_at))
    return _blocks(traces.traces if isinstance(traces, Dataset) else traces, record)


def write_export(
    traces: Dataset | Iterable[Trace],
    kind: str,
    path: Path,
    *,
    style: str = "numbered",
    created_at: str | None = None,
) -> None:
    """Write an export atomically: `.jsonl`, `.jsonl.gz`, or, of training examples, `.parquet` (with metadata as JSON).

    Arguments and errors are those of `export_lines`.

    Raises:
        DataError: another suffix, or pyarrow is not installed.
        ArtifactError: the path cannot be written.
    """
    if path.suffix == ".parquet":
        if kind != "training_example":
            raise DataError(f"{path}: Parquet is for the format training_example; write {kind} to a .jsonl file")
        record = _recorder(kind, style, _created_at(traces, created_at))
        with written_aside(path) as file:
            _write_parquet(map(record, traces.traces if isinstance(traces, Dataset) else traces), file)
        return
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: expected a name that ends in .jsonl, .jsonl.gz or .parquet")
    blocks = export_lines(traces, kind, style=style, created_at=created_at)
    with written_aside(path) as file:
        file.writelines(blocks)


def _created_at(traces: Dataset | Iterable[Trace], created_at: str | None) -> str | None:
    return traces.manifest.get("created_at") if isinstance(traces, Dataset) else created_at


def _recorder(kind: str, style: str, created_at: str | None) -> Callable[[Trace], Any]:
    if kind not in _FORMATS:
        raise unknown_name("export format", kind, _FORMATS)
    if style not in STYLES:
        raise unknown_name("style", style, STYLES)
    make, takes_style = _FORMATS[kind]
    if not takes_style and style != "numbered":
        raise DataError(
            f"format {kind} takes no style '{style}': its layout is fixed; messages and prompt_completion take one"
        )
    return functools.partial(make, style if takes_style else created_at)


def _blocks(traces: Iterable[Trace], record: Callable[[Trace], Any]) -> Iterator[bytes]:
    left = iter(traces)
    while block := list(islice(left, BLOCK)):
        try:
            yield _ENCODER.encode_lines([record(trace) for trace in block])
        except (TypeError, UnicodeEncodeError) as error:
            ids = f"'{block[0].id}' to '{block[-1].id}'"
            raise DataError(f"traces {ids}: cannot be written as JSON: {error}") from None


def _trace(_: str | None, trace: Trace) -> Trace:
    return trace


def _sft(created_at: str | None, trace: Trace) -> _Sft:
    steps, answer, version, meta = trace.steps, trace.final_answer, trace.trace_version, trace.meta
    # Filled in place: `model_text` and a join of the turns take longer than all the rest of an export.
    pieces = [*_gemma_layout(len(steps))]
    if trace.system is not None or trace.messages:
        pieces[0] = _opening(trace)
    pieces[1] = trace.prompt.strip()
    slot = 3
    for step in steps:
        pieces[slot] = step.content
        slot += 2
    pieces[slot] = f"Answer: {answer}".rstrip()
    metadata = {} if meta is None else meta.copy()
    metadata["created_at"], metadata["trace_version"], metadata["format"] = created_at, version, "tunix_sft"
    return _Sft(str(trace.id), "".join(pieces), answer, metadata)


@functools.cache
def _gemma_layout(steps: int) -> tuple[str, ...]:
    """Return the pieces of Gemma's text for so many steps, empty where prompt, steps and answer stand."""
    before = [f"\n{number}. " for number in range(1, steps + 1)] + ["\n"]
    before[0] = f"<end_of_turn>\n<start_of_turn>model\nReasoning:{before[0]}"
    slots = [piece for text in before for piece in (text, "")]
    return ("<start_of_turn>user\n", "", *slots, "<end_of_turn>")


def _opening(trace: Trace) -> str:
    """Return Gemma's text up to the prompt."""
    _refuse_thoughts(trace, "tunix_sft")
    system = "" if trace.system is None else f"{trace.system}\n\n"
    text = ""
    for k, turn in enumerate(trace.messages):
        if turn.role != ("user", "assistant")[k % 2]:
            found = f"messages[{k}] is the {turn.role}'s"
            raise DataError(f"trace '{trace.id}': {found}; Gemma's turns alternate, from the user's on")
        role = "user" if turn.role == "user" else "model"
        text += f"<start_of_turn>{role}\n{'' if k else system}{turn.content.strip()}<end_of_turn>\n"
    if len(trace.messages) % 2:
        found = "the last of messages is the user's, and so is the prompt"
        raise DataError(f"trace '{trace.id}': {found}; Gemma's turns alternate")
    return f"{text}<start_of_turn>user\n{'' if trace.messages else system}"


def _example(created_at: str | None, trace: Trace) -> _TrainingExample:
    return _TrainingExample(
        uuid5_text(EXAMPLE_NAMESPACE, str(trace.id)),
        f"{_single_prompt(trace, 'training_example')}\n\nPlease show your reasoning steps.",
        model_text(trace, "numbered"),
        {
            **(trace.meta or _NOTHING),
            "source_trace_id": str(trace.id),
            "created_at": created_at,
            "trace_version": trace.trace_version,
        },
    )


def _messages(style: str | None, trace: Trace) -> _Messages:
    _refuse_thoughts(trace, "messages")
    messages = [_Message(turn.role, turn.content) for turn in trace.messages]
    if trace.system is not None:
        messages.insert(0, _Message("system", trace.system))
    reply = model_text(trace, str(style))
    return _Messages([*messages, _Message("user", trace.prompt), _Message("assistant", reply)])


def _prompt_completion(style: str | None, trace: Trace) -> _PromptCompletion:
    return _PromptCompletion(_single_prompt(trace, "prompt_completion"), model_text(trace, str(style)))


_FORMATS: Mapping[str, tuple[Callable[[str | None, Trace], Any], bool]] = {
    "trace": (_trace, False),
    "tunix_sft": (_sft, False),
    "training_example": (_example, False),
    "messages": (_messages, True),
    "prompt_completion": (_prompt_completion, True),
}
"""Name -> what makes a record of created_at (or, where the flag is set, of the style) and a trace."""

EXPORT_FORMATS = tuple(_FORMATS)
"""trace, tunix_sft, training_example, messages, prompt_completion."""


def _single_prompt(trace: Trace, kind: str) -> str:
    if trace.messages:
        raise DataError(
            f"trace '{trace.id}': has {len(trace.messages)} earlier turns, the format {kind} has place for none; "
            "export as messages"
        )
    return trace.prompt if trace.system is None else f"{trace.system}\n\n{trace.prompt}"


def _refuse_thoughts(trace: Trace, kind: str) -> None:
    for k, turn in enumerate(trace.messages):
        if turn.reasoning_content is not None:
            raise DataError(
                f"trace '{trace.id}': messages[{k}].reasoning_content has no place in the format {kind}; "
                "take it out, or export as trace"
            )


def _write_parquet(examples: Iterator[_TrainingExample], file: Any) -> None:
    arrow, parquet = pyarrow()
    schema = arrow.schema([(name, arrow.string()) for name in ("id", "prompt", "response", "metadata")])
    with parquet.ParquetWriter(file, schema) as writer:
        while block := list(islice(examples, BLOCK)):
            rows = [
                {
                    "id": one.id,
                    "prompt": one.prompt,
                    "response": one.response,
                    "metadata": encode(one.metadata).decode(),
                }
                for one in block
            ]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
