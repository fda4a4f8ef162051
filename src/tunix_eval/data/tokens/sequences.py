"""Traces and prompts as tokens, with the loss mask, from one function."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tunix_eval.data.renderers.laws import check_conversation, trained_spans
from tunix_eval.data.renderers.styles import Section, conversation, prompt_conversation
from tunix_eval.data.tokens.encoding import Coder, Layout
from tunix_eval.data.tokens.frames import Frames
from tunix_eval.data.tokens.replies import reply_parts
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import (
    Conversation,
    EvalItem,
    FloatArray,
    Renderer,
    Span,
    Supervision,
    Tokenizer,
    TokenSequence,
    Trace,
)

LISTED = 20
"""Traces that an error lists; the rest is counted."""
_AT_ONCE = 500
"""Traces encoded in one go: enough that calls cost little, few enough that their arrays stay in the cache."""
_SHOWN = 50
"""Conversations that a renderer is shown before they are asked for."""
_EVERYTHING = Supervision()


def encode_trace(
    trace: Trace, *, renderer: Renderer, tokenizer: Tokenizer, style: str, supervision: Supervision = _EVERYTHING
) -> TokenSequence:
    """Render a trace and encode it span by span.

    Raises:
        RenderError: names the trace and why it cannot be rendered, encoded or trained on.
    """
    (sequence,) = encode_traces([trace], renderer=renderer, tokenizer=tokenizer, style=style, supervision=supervision)
    return sequence


def encode_traces(
    traces: Iterable[Trace],
    *,
    renderer: Renderer,
    tokenizer: Tokenizer,
    style: str,
    supervision: Supervision = _EVERYTHING,
) -> list[TokenSequence]:
    """Render traces and encode them span by span.

    A reply is encoded in one piece, whichever parts of it carry loss, as a model writes it. A token that holds the end
    of one part and the beginning of the next counts to the latter.

    Raises:
        RenderError: names the first trace that cannot be rendered or encoded, or for which a law fails: those of
            `check_conversation`; the loss mask is neither empty nor full; no text gives a control token; decoding gives
            back the text.
    """
    coder = Coder(renderer, tokenizer)
    frames = Frames(renderer, style, supervision, additive=coder.additive)
    remaining, sequences = iter(traces), list[TokenSequence]()
    while some := list(itertools.islice(remaining, _AT_ONCE)):
        try:
            sequences += _at_once(some, frames, coder)
        except RenderError:
            # One by one, the first that is refused is named.
            sequences += [_alone(trace, frames, coder) for trace in some]
    return sequences


def _at_once(traces: Sequence[Trace], frames: Frames, coder: Coder) -> list[TokenSequence]:
    made: dict[int, TokenSequence] = {}
    for group in frames.groups(traces):
        ids = [str(traces[number].id) for number in group.numbers]
        made.update(zip(group.numbers, coder.framed(group.frame, ids, group.texts), strict=True))
    plain = [number for number in range(len(traces)) if number not in made]
    layouts = list(_layouts([traces[number] for number in plain], frames))
    made.update(zip(plain, coder.sequences(layouts), strict=True))
    return [made[number] for number in range(len(traces))]


def _layouts(traces: Sequence[Trace], wanted: Frames) -> Iterator[Layout]:
    """Yield the layout of each trace; a renderer that has `prepare` is shown some conversations beforehand."""
    prepare: Callable[[list[Conversation]], None] | None = getattr(wanted.renderer, "prepare", None)
    section: Section | None = getattr(wanted.renderer, "thinking_section", None)
    for start in range(0, len(traces), _SHOWN):
        some = traces[start : start + _SHOWN]
        if prepare is not None and len(some) > 1:
            prepare([conversation(trace, wanted.style, section) for trace in some])
        yield from (_laid_out(trace, wanted) for trace in some)


def _alone(trace: Trace, frames: Frames, coder: Coder) -> TokenSequence:
    try:
        (sequence,) = coder.sequences([_laid_out(trace, frames)])
    except RenderError as error:
        raise RenderError(f"trace '{trace.id}': {error}") from None
    return sequence


def _laid_out(trace: Trace, wanted: Frames) -> Layout:
    renderer, supervision = wanted.renderer, wanted.supervision
    section: Section | None = getattr(renderer, "thinking_section", None)
    talk = conversation(trace, wanted.style, section)
    spans = trained_spans(renderer, talk)
    last = len(talk.turns) - 1
    every = supervision.turns == "all"
    check_conversation(renderer, talk, spans, replies=None if every else (last,))
    weights = tuple([float(span.reply == last or (every and span.reply is not None)) for span in spans])
    parts = {} if wanted.whole else reply_parts(trace, wanted.style, spans, last, supervision, section)
    return Layout(str(trace.id), spans, weights, parts)


def encode_prompt(item: EvalItem, *, renderer: Renderer, tokenizer: Tokenizer) -> npt.NDArray[np.int32]:
    """Encode an item's prompt up to where the reply begins: int32[T].

    It is a prefix of the tokens of any trace with the same system text, messages and prompt.

    Raises:
        RenderError: names the item and why it cannot be rendered or encoded.
    """
    try:
        spans = renderer.render(prompt_conversation(item), generation_prompt=True)
        pieces = _encode(spans, renderer, tokenizer)
    except RenderError as error:
        raise RenderError(f"item '{item.id}': {error}") from None
    return np.array(list(itertools.chain.from_iterable(pieces)), dtype=np.int32)


def encode_answer(
    prompt: npt.NDArray[np.int32], *, context: str, answer: str, renderer: Renderer, tokenizer: Tokenizer
) -> tuple[npt.NDArray[np.int32], int]:
    """Encode a reply whose end is to be judged: after the prompt, what stands before the answer, the answer, the stop.

    The reply is encoded in one piece, as it is for training. Judged are the tokens from the first on that is not
    also one of the context alone, so that a token which holds the end of one and the start of the other counts.

    Returns the ids, int32[T], and how many of them at the end are judged, the stop token among them.

    Raises:
        RenderError: the tokenizer gave a control id for plain text.
    """
    spans = (Span(context), Span(f"{context}{answer}"), Span(_stop_token(renderer), control=True))
    before, reply, stop = _encode(spans, renderer, tokenizer)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, reply, strict=False)))
    return np.array([*prompt.tolist(), *reply, *stop], dtype=np.int32), len(reply) - shared + len(stop)


def stop_ids(renderer: Renderer, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the ids that end a reply."""
    return (tokenizer.control_id(_stop_token(renderer)),)


def _stop_token(renderer: Renderer) -> str:
    if renderer.stop_token is None:
        raise RenderError(f"renderer '{renderer.name}' has no stop token; it is for prompting only")
    return renderer.stop_token


def weights_of(sequence: TokenSequence) -> FloatArray:
    """Return the loss weight of every token, float32[T], also where it is 0 or 1 throughout."""
    weights = sequence.loss_weights
    return sequence.loss_mask.astype(np.float32) if weights is None else weights


def sequences_sha256(sequences: Iterable[TokenSequence]) -> str:
    """Return the SHA-256 over ids and masks in order, and over the loss weights where a sequence has some.

    Trace ids are not in it.
    """
    listed = list(sequences)
    digest = hashlib.sha256(np.array([len(sequence.ids) for sequence in listed], dtype="<i8").tobytes())
    for sequence in listed:
        digest.update(sequence.ids.astype("<i4", copy=False).tobytes())
        digest.update(np.packbits(sequence.loss_mask).tobytes())
    if any(sequence.loss_weights is not None for sequence in listed):
        for sequence in listed:
            digest.update(weights_of(sequence).astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def sequence_digests(sequences: Iterable[TokenSequence]) -> dict[str, str]:
    """Return trace id -> the first 16 hex digits of the same digest over that trace alone, in order."""
    return {sequence.trace_id: sequences_sha256([sequence])[:16] for sequence in sequences}


def check_lengths(sequences: Sequence[TokenSequence], *, row_tokens: int, source: str) -> None:
    """Make sure that every trace fits into a row; `source` names the dataset.

    Raises:
        DataError: counts the traces that are too long, and names the first.
    """
    long = [sequence for sequence in sequences if len(sequence.ids) > row_tokens]
    if long:
        longest = max(len(sequence.ids) for sequence in long)
        more = f"; longest {longest:,}" if len(long) > 1 else ""
        raise DataError(
            f"{source}: {len(long):,} of {len(sequences):,} traces {'is' if len(long) == 1 else 'are'} longer than "
            f"row_tokens = {row_tokens} (first: '{long[0].trace_id}' with {len(long[0].ids):,}{more}); raise it, or "
            'set truncation = "drop", "left" or "right"'
        )


def check_masks(sequences: Sequence[TokenSequence], *, source: str) -> None:
    """Make sure that every trace has something to learn and something to learn it from; `source` names the dataset.

    Raises:
        DataError: names the first 20 traces whose loss mask covers no token or all, and counts the rest.
    """
    lengths = np.fromiter((len(sequence.ids) for sequence in sequences), np.int64, len(sequences))
    masks = np.concatenate([[False], *(sequence.loss_mask for sequence in sequences)])
    counts = np.diff(np.cumsum(masks)[np.cumsum(lengths)], prepend=0)
    wrong = [sequences[index] for index in np.flatnonzero((counts == 0) | (counts == lengths)).tolist()]
    lines = [
        f"{source}: trace '{sequence.trace_id}': the loss mask covers {int(sequence.loss_mask.sum())} of "
        f"{len(sequence.ids)} tokens; expected the model's turn and not the prompt: mend the renderer"
        for sequence in wrong[:LISTED]
    ]
    if len(wrong) > LISTED:
        lines.append(f"and {len(wrong) - LISTED} more traces")
    if lines:
        raise DataError("\n".join(lines))


def _encode(spans: Iterable[Span], renderer: Renderer, tokenizer: Tokenizer) -> list[list[int]]:
    """Return the ids of each span."""
    control = {token: tokenizer.control_id(token) for token in renderer.control_tokens}
    forbidden = frozenset(control.values())
    pieces = []
    for span in spans:
        if span.control:
            encoded = [control[span.text] if span.text in control else tokenizer.control_id(span.text)]
        else:
            encoded = tokenizer.encode(span.text)
            if not forbidden.isdisjoint(encoded):
                raise RenderError(f"tokenizer '{tokenizer.name}' gave a control id for plain text")
        pieces.append(encoded)
    return pieces
