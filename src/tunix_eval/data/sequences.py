"""Traces and prompts as tokens, with the loss mask, from one function."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunix_eval.data.laws import check_conversation
from tunix_eval.data.replies import reply_parts
from tunix_eval.data.styles import conversation, prompt_conversation
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import (
    EvalItem,
    FloatArray,
    Renderer,
    Span,
    Supervision,
    TokenArray,
    Tokenizer,
    TokenSequence,
    Trace,
)

LISTED = 20
"""Traces that an error lists; the rest is counted."""
_AT_ONCE = 500
"""Traces encoded in one go: enough that calls cost little, few enough that their arrays stay in the cache."""
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
    coder = _Coder(renderer, tokenizer)
    remaining, sequences = iter(traces), []
    while some := list(itertools.islice(remaining, _AT_ONCE)):
        sequences += coder.sequences([_laid_out(trace, renderer, style, supervision) for trace in some])
    return sequences


class _Layout(NamedTuple):
    """A trace as spans, before it is encoded."""

    trace_id: str
    spans: tuple[Span, ...]
    weights: tuple[float, ...]
    """The loss weight of each span."""
    parts: dict[int, list[tuple[str, float]]]
    """The span's number -> its text in parts with their weights, where they differ."""


def _laid_out(trace: Trace, renderer: Renderer, style: str, supervision: Supervision) -> _Layout:
    try:
        talk = conversation(trace, style)
        spans = renderer.render(talk, generation_prompt=False)
        last = len(talk.turns) - 1
        if supervision.turns == "all":
            check_conversation(renderer, talk, spans)
            weights = tuple([0.0 if span.reply is None else 1.0 for span in spans])
        else:
            check_conversation(renderer, talk, spans, replies=(last,))
            weights = tuple([1.0 if span.reply == last else 0.0 for span in spans])
        whole = supervision.turns != "answer" and supervision.step_weight == 1.0
        parts = {} if whole else reply_parts(trace, style, spans, last, supervision)
    except RenderError as error:
        raise RenderError(f"trace '{trace.id}': {error}") from None
    return _Layout(str(trace.id), spans, weights, parts)


class _ControlIds(dict[str, int]):
    """The ids of control tokens by name, those that a renderer prints without naming them among its own too."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def __missing__(self, token: str) -> int:
        return self.tokenizer.control_id(token)


class _Coder:
    """Encodes the spans of many traces at once."""

    def __init__(self, renderer: Renderer, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.control = _ControlIds(tokenizer)
        self.control.update({token: tokenizer.control_id(token) for token in renderer.control_tokens})
        self.forbidden = np.array(sorted(self.control.values()), np.int32)
        self.keeps_text: bool = getattr(tokenizer, "lossless", False)

    def sequences(self, layouts: list[_Layout]) -> list[TokenSequence]:
        """Return the token sequences of some traces, which share their memory."""
        spans = [span for layout in layouts for span in layout.spans]
        weights = [weight for layout in layouts for weight in layout.weights]
        is_control = np.array([span.control for span in spans], np.bool_)
        texts = [span.text for span in spans if not span.control]
        text_ids, text_lengths = self._encoded(texts, layouts)
        self._check(texts, text_ids, text_lengths, layouts)
        lengths = np.ones(len(spans), np.int64)
        lengths[~is_control] = text_lengths
        ids = np.empty(int(lengths.sum()), np.int32)
        of_control = np.repeat(is_control, lengths)
        ids[~of_control] = text_ids
        ids[of_control] = [self.control[span.text] for span in spans if span.control]
        mask = np.repeat(np.array(weights, np.float64) > 0, lengths)
        ends = np.cumsum(lengths).tolist()
        return list(self._cut(layouts, ids, mask, lengths.tolist(), ends))

    def _cut(
        self,
        layouts: list[_Layout],
        ids: TokenArray,
        mask: npt.NDArray[np.bool_],
        lengths: list[int],
        ends: list[int],
    ) -> Iterator[TokenSequence]:
        """Yield each trace's part of the arrays."""
        first = start = 0
        for layout in layouts:
            past = first + len(layout.spans)
            end = ends[past - 1]
            each = tuple(lengths[first:past])
            if layout.parts:
                yield self._in_parts(layout, ids[start:end], each)
            else:
                # By position: at a hundred thousand a second, names are felt.
                yield TokenSequence(
                    layout.trace_id, layout.spans, ids[start:end], mask[start:end], each, layout.weights
                )
            first, start = past, end

    def _in_parts(self, layout: _Layout, ids: TokenArray, lengths: tuple[int, ...]) -> TokenSequence:
        """Return a sequence whose reply is shown in the parts that weigh differently."""
        spans, sizes, weights, start = [], [], [], 0
        for number, (span, length) in enumerate(zip(layout.spans, lengths, strict=True)):
            parts = layout.parts.get(number, [(span.text, layout.weights[number])])
            ends = self._ends([text for text, _ in parts], ids[start : start + length])
            spans += [Span(text, span.control, span.reply) for text, _ in parts]
            sizes += [end - before for before, end in zip([0, *ends], ends, strict=False)]
            weights += [weight for _, weight in parts]
            start += length
        of_tokens = np.repeat(np.array(weights, np.float32), sizes)
        plain = all(weight in (0.0, 1.0) for weight, size in zip(weights, sizes, strict=True) if size)
        return TokenSequence(
            layout.trace_id,
            tuple(spans),
            ids,
            of_tokens > 0,
            tuple(sizes),
            tuple(weights),
            None if plain else of_tokens,
        )

    def _ends(self, texts: list[str], ids: TokenArray) -> list[int]:
        """Return after how many tokens each part of a span ends: before the first that the next shares or begins."""
        ends: list[int] = []
        for text in itertools.accumulate(texts[:-1]):
            before = np.array(self.tokenizer.encode(text), np.int32)[: len(ids)]
            same = before == ids[: len(before)]
            ends.append(max(ends[-1] if ends else 0, len(same) if same.all() else int(np.argmin(same))))
        return [*ends, len(ids)]

    def _encoded(self, texts: list[str], layouts: list[_Layout]) -> tuple[TokenArray, npt.NDArray[np.int64]]:
        try:
            return _encode_batch(self.tokenizer, texts)
        except RenderError as error:
            for layout in layouts:
                try:
                    _encode_batch(self.tokenizer, [span.text for span in layout.spans if not span.control])
                except RenderError as reason:
                    raise RenderError(f"trace '{layout.trace_id}': {reason}") from None
            raise error from None

    def _check(self, texts: list[str], ids: TokenArray, lengths: npt.NDArray[np.int64], layouts: list[_Layout]) -> None:
        """Refuse text that gave a control id, and text that its ids do not give back."""
        if len(ids) and len(self.forbidden) and ids.max() >= self.forbidden[0]:
            forged = np.isin(ids, self.forbidden)
            if forged.any():
                number = int(np.searchsorted(np.cumsum(lengths), np.argmax(forged), side="right"))
                self._refuse(number, layouts, "gave a control id for plain text")
        if self.keeps_text:
            return
        pieces = np.split(ids, np.cumsum(lengths)[:-1])
        for number, (text, piece) in enumerate(zip(texts, pieces, strict=True)):
            back = self.tokenizer.decode(piece.tolist())
            if back != text:
                at = next((k for k, (one, two) in enumerate(zip(text, back, strict=False)) if one != two), len(back))
                what = f"changes text: {text[at : at + 20]!r} comes back as {back[at : at + 20]!r}; take it out"
                self._refuse(number, layouts, what)

    def _refuse(self, number: int, layouts: list[_Layout], what: str) -> None:
        """Name the trace of a text by the text's number among those of all traces."""
        for layout in layouts:
            number -= sum(not span.control for span in layout.spans)
            if number < 0:
                raise RenderError(f"trace '{layout.trace_id}': tokenizer '{self.tokenizer.name}' {what}")


def _encode_batch(tokenizer: Tokenizer, texts: list[str]) -> tuple[TokenArray, npt.NDArray[np.int64]]:
    """Return the ids of all texts, one after the other, and how many each has; tokenizers may do it at once."""
    at_once = getattr(tokenizer, "encode_batch", None)
    if at_once is not None:
        ids, lengths = at_once(texts)
        return ids, lengths
    pieces = [tokenizer.encode(text) for text in texts]
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return np.fromiter(itertools.chain.from_iterable(pieces), np.int32, int(lengths.sum())), lengths


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


def check_lengths(sequences: Sequence[TokenSequence], *, row_tokens: int, source: str) -> None:
    """Make sure that every trace fits into a row; `source` names the dataset.

    Raises:
        DataError: names the first 20 traces that are too long, with their lengths, and counts the rest.
    """
    long = [sequence for sequence in sequences if len(sequence.ids) > row_tokens]
    lines = [
        f"{source}: trace '{sequence.trace_id}': {len(sequence.ids)} tokens, limit {row_tokens}; "
        "raise row_tokens or drop the trace"
        for sequence in long[:LISTED]
    ]
    if len(long) > LISTED:
        longest = max(len(sequence.ids) for sequence in long)
        lines.append(f"and {len(long) - LISTED} more traces; the longest has {longest} tokens")
    if lines:
        raise DataError("\n".join(lines))


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
