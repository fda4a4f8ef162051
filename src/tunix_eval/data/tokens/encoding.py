"""Spans of many traces as tokens, encoded in a few calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tunix_eval.data.tokens.frames import Frame
from tunix_eval.errors import RenderError
from tunix_eval.records import FloatArray, MaskArray, Renderer, Span, TokenArray, Tokenizer, TokenSequence

_Lengths = npt.NDArray[np.int64]


class Layout(NamedTuple):
    """A trace as spans, before it is encoded."""

    trace_id: str
    spans: tuple[Span, ...]
    weights: tuple[float, ...]
    """The loss weight of each span."""
    parts: dict[int, list[tuple[str, float]]]
    """The span's number -> its text in parts with their weights, where they differ."""


class _Printed(NamedTuple):
    """The tokens that all traces of a frame share."""

    ids: TokenArray
    """Of all spans but the slots."""
    lengths: _Lengths
    """How many each span has; 0 for a slot."""
    in_slot: MaskArray
    """Of each span."""


class _ControlIds(dict[str, int]):
    """The ids of control tokens by name, those that a renderer prints without naming them among its own too."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def __missing__(self, token: str) -> int:
        return self.tokenizer.control_id(token)


class Coder:
    """Encodes the spans of many traces at once."""

    def __init__(self, renderer: Renderer, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.control = _ControlIds(tokenizer)
        self.control.update({token: tokenizer.control_id(token) for token in renderer.control_tokens})
        self.forbidden = np.array(sorted(self.control.values()), np.int32)
        self.keeps_text: bool = getattr(tokenizer, "lossless", False)
        self.additive: bool = getattr(tokenizer, "additive", False)
        self.printed: dict[Frame, _Printed] = {}

    def framed(self, frame: Frame, trace_ids: Sequence[str], texts: Sequence[str]) -> list[TokenSequence]:
        """Return the token sequences of traces that share a frame, from the texts of its slots, trace after trace.

        Raises:
            RenderError: a text cannot be encoded, or a law about tokens fails; which trace it is of is not said.
        """
        printed = self.printed.get(frame) or self._printed(frame)
        text_ids, text_lengths = self._sound(texts)
        count = len(trace_ids)
        lengths = np.tile(printed.lengths, (count, 1))
        lengths[:, printed.in_slot] = text_lengths.reshape(count, -1)
        flat = lengths.ravel()
        in_slot = np.repeat(np.tile(printed.in_slot, count), flat)
        ids = np.empty(len(in_slot), np.int32)
        ids[in_slot] = text_ids
        ids[~in_slot] = np.tile(printed.ids, count)
        weights = np.array(frame.weights, np.float32)
        mask = np.repeat(np.tile(weights > 0, count), flat)
        of_tokens = None if set(frame.weights) <= {0.0, 1.0} else np.repeat(np.tile(weights, count), flat)
        return list(_framed(frame, trace_ids, texts, lengths, (ids, mask, of_tokens)))

    def _printed(self, frame: Frame) -> _Printed:
        slots = {slot.span for slot in frame.slots}
        pieces = [
            []
            if number in slots
            else [self.control[span.text]]
            if span.control
            else self._sound([span.text])[0].tolist()
            for number, span in enumerate(frame.spans)
        ]
        self.printed[frame] = _Printed(
            np.array(list(itertools.chain.from_iterable(pieces)), np.int32),
            np.array(list(map(len, pieces)), np.int64),
            np.array([number in slots for number in range(len(pieces))], np.bool_),
        )
        return self.printed[frame]

    def _sound(self, texts: Sequence[str]) -> tuple[TokenArray, _Lengths]:
        ids, lengths = _encode_batch(self.tokenizer, texts)
        if flaw := self._flaw(texts, ids, lengths):
            raise RenderError(f"tokenizer '{self.tokenizer.name}' {flaw}")
        return ids, lengths

    def sequences(self, layouts: list[Layout]) -> list[TokenSequence]:
        """Return the token sequences of some traces, which share their memory.

        Raises:
            RenderError: as for `framed`.
        """
        if not layouts:
            return []
        spans = [span for layout in layouts for span in layout.spans]
        weights = [weight for layout in layouts for weight in layout.weights]
        is_control = np.array([span.control for span in spans], np.bool_)
        texts = [span.text for span in spans if not span.control]
        text_ids, text_lengths = self._sound(texts)
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
        layouts: list[Layout],
        ids: TokenArray,
        mask: MaskArray,
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

    def _in_parts(self, layout: Layout, ids: TokenArray, lengths: tuple[int, ...]) -> TokenSequence:
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
        if self.additive:
            return [*itertools.accumulate(len(self.tokenizer.encode(text)) for text in texts[:-1]), len(ids)]
        ends: list[int] = []
        for text in itertools.accumulate(texts[:-1]):
            before = np.array(self.tokenizer.encode(text), np.int32)[: len(ids)]
            same = before == ids[: len(before)]
            ends.append(max(ends[-1] if ends else 0, len(same) if same.all() else int(np.argmin(same))))
        return [*ends, len(ids)]

    def _flaw(self, texts: Sequence[str], ids: TokenArray, lengths: _Lengths) -> str | None:
        """Say whether a text gave a control id or is not given back by its ids."""
        if len(ids) and len(self.forbidden) and ids.max() >= self.forbidden[0] and np.isin(ids, self.forbidden).any():
            return "gave a control id for plain text"
        if self.keeps_text:
            return None
        for text, piece in zip(texts, np.split(ids, np.cumsum(lengths)[:-1]), strict=True):
            back = self.tokenizer.decode(piece.tolist())
            if back != text:
                at = next((k for k, (one, two) in enumerate(zip(text, back, strict=False)) if one != two), len(back))
                return f"changes text: {text[at : at + 20]!r} comes back as {back[at : at + 20]!r}; take it out"
        return None


def _framed(
    frame: Frame,
    trace_ids: Sequence[str],
    texts: Sequence[str],
    lengths: _Lengths,
    arrays: tuple[TokenArray, MaskArray, FloatArray | None],
) -> Iterator[TokenSequence]:
    """Yield each trace's part of ids, mask and weights; lengths are int64[traces, spans]."""
    ids, mask, of_tokens = arrays
    spans, weights = list(frame.spans), frame.weights
    in_slots = [(slot.span, spans[slot.span].reply) for slot in frame.slots]
    given, start = iter(texts), 0
    rows, ends = lengths.tolist(), np.cumsum(lengths.sum(axis=1)).tolist()
    for trace_id, row, end in zip(trace_ids, rows, ends, strict=True):
        for number, reply in in_slots:
            spans[number] = Span(next(given), False, reply)
        part = None if of_tokens is None else of_tokens[start:end]
        # By position: at a hundred thousand a second, names are felt.
        yield TokenSequence(trace_id, tuple(spans), ids[start:end], mask[start:end], tuple(row), weights, part)
        start = end


def _encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[TokenArray, _Lengths]:
    """Return the ids of all texts, one after the other, and how many each has; tokenizers may do it at once."""
    at_once = getattr(tokenizer, "encode_batch", None)
    if at_once is not None:
        ids, lengths = at_once(texts)
        return ids, lengths
    pieces = [tokenizer.encode(text) for text in texts]
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    return np.fromiter(itertools.chain.from_iterable(pieces), np.int32, int(lengths.sum())), lengths
