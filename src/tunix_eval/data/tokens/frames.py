r"""Frames: what an edition prints around the texts of a trace, found once for all traces of one shape.

    text   <bos>  <start_of_turn>  user\n{}  <end_of_turn>  \n  <start_of_turn>  model\n  {}  <end_of_turn>  \n
    slot                           0                                                      1

A built-in edition that declares `append_only` prints by the roles of turns alone, so that one rendered sample shows
where the texts of every such trace go, and one look at it decides the laws about spans. Whatever else decides what is
printed or refused (an empty text, a thought, a marker in a text) keeps a trace out of its frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tunix_eval.data.renderers import BUILTIN_RENDERERS
from tunix_eval.data.renderers.laws import broken_law
from tunix_eval.data.renderers.styles import model_text
from tunix_eval.data.tokens.replies import weighted_texts
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Renderer, Span, Supervision, Trace, Turn

_BY_ROLE = frozenset(type(edition) for edition in BUILTIN_RENDERERS.values() if edition.append_only)
"""Exactly these classes: one that is derived from them may look at texts."""
ENOUGH = 8
"""Traces of one shape from which on its frame pays."""
# No template has a space of this width; it tells whether an edition strips white space.
_SAMPLE = "\u2003\uf8ff{}\uf8ff\u2003"
_FOUND = re.compile("(\u2003?)\uf8ff([0-9]+)\uf8ff(\u2003?)")


class _Shape(NamedTuple):
    """What a frame depends on."""

    has_system: bool
    roles: tuple[Literal["system", "user", "assistant"], ...]
    """Of the earlier turns."""
    weights: tuple[float, ...]
    """Of the reply's parts."""


class Slot(NamedTuple):
    """A span that holds texts of the trace."""

    span: int
    """Its number."""
    layout: str
    """With `%s` for each text."""
    first: int
    past: int
    """The numbers of its first text, and of the one behind its last."""


class Frame(NamedTuple):
    """The spans of every trace of one shape."""

    spans: tuple[Span, ...]
    """Those in slots hold samples."""
    weights: tuple[float, ...]
    """The loss weight of each span."""
    slots: tuple[Slot, ...]
    strips: tuple[bool, ...]
    """Of each text, whether white space around it goes."""

    def filled(self, texts: Sequence[str]) -> list[str] | None:
        """Return the text of each slot; None where a text is empty."""
        given = tuple([text.strip() if strip else text for text, strip in zip(texts, self.strips, strict=True)])
        return [layout % given[first:past] for _, layout, first, past in self.slots] if all(given) else None


class Group(NamedTuple):
    """Traces of one frame."""

    frame: Frame
    numbers: list[int]
    """Which of the traces they are."""
    texts: list[str]
    """Of their slots, trace after trace."""


class Frames:
    """The frames of one renderer, style and supervision.

    Args:
        additive: whether the ids of a text are those of its parts, so that a reply may be encoded in parts.
    """

    def __init__(self, renderer: Renderer, style: str, supervision: Supervision, *, additive: bool) -> None:
        self.renderer = renderer
        self.style = style
        self.supervision = supervision
        self.whole = supervision.turns != "answer" and supervision.step_weight == 1.0
        self._usable = type(renderer) in _BY_ROLE and (self.whole or additive)
        self._markers: tuple[str, ...] = getattr(renderer, "text_markers", ())
        self._frames: dict[_Shape, Frame | None] = {}

    def groups(self, traces: Sequence[Trace]) -> Iterator[Group]:
        """Yield the traces that have a frame, by frame."""
        if not self._usable or len(traces) < ENOUGH:
            return
        shaped: dict[_Shape, list[tuple[int, list[str]]]] = {}
        for number, trace in enumerate(traces):
            found = self._shaped(trace)
            if found is not None:
                shaped.setdefault(found[0], []).append((number, found[1]))
        for shape, alike in shaped.items():
            if len(alike) < ENOUGH:
                continue
            if shape not in self._frames:
                self._frames[shape] = self._frame(shape)
            frame = self._frames[shape]
            if frame is None:
                continue
            numbers, texts = list[int](), list[str]()
            for number, given in alike:
                filled = frame.filled(given)
                if filled is not None:
                    numbers.append(number)
                    texts += filled
            if numbers:
                yield Group(frame, numbers, texts)

    def _shaped(self, trace: Trace) -> tuple[_Shape, list[str]] | None:
        """Return a trace's shape and its texts in the order in which they are printed."""
        if self.whole:
            shape, reply = _BARE, [model_text(trace, self.style)]
        else:
            weighted = weighted_texts(trace, self.style, self.supervision)
            reply = [text for text, _ in weighted]
            # Stripped in parts, it might lose white space inside.
            if reply[0][:1].isspace() or reply[-1][-1:].isspace():
                return None
            shape = _Shape(False, (), tuple([weight for _, weight in weighted]))
        given = [trace.prompt]
        if trace.messages or trace.system is not None:
            if any(turn.reasoning_content for turn in trace.messages):
                return None
            system = [] if trace.system is None else [trace.system]
            given = [*system, *(turn.content for turn in trace.messages), trace.prompt]
            shape = _Shape(bool(system), tuple(turn.role for turn in trace.messages), shape.weights)
        if self._markers and any(marker in text for marker in self._markers for text in (*given, "".join(reply))):
            return None
        return shape, given + reply

    def _frame(self, shape: _Shape) -> Frame | None:
        """Return the frame of a shape; None where the edition refuses it, or a law fails, or samples do not show it."""
        roles: tuple[Literal["system", "user", "assistant"], ...] = (*shape.roles, "user", "assistant")
        samples = [_SAMPLE.format(number) for number in range(shape.has_system + len(roles))]
        system = samples[0] if shape.has_system else None
        turns = tuple(Turn(role, text) for role, text in zip(roles, samples[shape.has_system :], strict=True))
        last = len(turns) - 1
        every = self.supervision.turns == "all"
        conversation = Conversation(turns, system)
        try:
            spans = self.renderer.render(conversation, generation_prompt=False)
        except RenderError:
            return None
        if broken_law(self.renderer, conversation, spans, replies=None if every else (last,)):
            return None
        found = [match for span in spans for match in _FOUND.finditer(span.text)]
        if [int(match[2]) for match in found] != list(range(len(samples))) or any(a[1] != a[3] for a in found):
            return None
        weights = [float(span.reply == last or (every and span.reply is not None)) for span in spans]
        if len(shape.weights) == 1:
            return _as_frame(spans, weights)
        return _as_frame(*_in_parts(spans, weights, last, shape.weights))


_BARE = _Shape(False, (), (1.0,))


def _in_parts(
    spans: Sequence[Span], weights: list[float], reply: int, parts: tuple[float, ...]
) -> tuple[list[Span], list[float]]:
    """Return samples and weights with the reply in the parts that weigh differently."""
    k = next(k for k, span in enumerate(spans) if span.reply == reply and not span.control)
    lead, *_, trail = _FOUND.split(spans[k].text)
    texts = [_SAMPLE.format(0)] * len(parts)
    texts[0], texts[-1] = lead + texts[0], texts[-1] + trail
    cut = [*spans[:k], *[Span(text, False, reply) for text in texts], *spans[k + 1 :]]
    return cut, [*weights[:k], *parts, *weights[k + 1 :]]


def _as_frame(spans: Sequence[Span], weights: Sequence[float]) -> Frame:
    slots, strips = list[Slot](), list[bool]()
    for k, span in enumerate(spans):
        kept = [bool(match[1]) for match in _FOUND.finditer(span.text)]
        if kept:
            layout = _FOUND.sub("%s", span.text.replace("%", "%%"))
            slots.append(Slot(k, layout, len(strips), len(strips) + len(kept)))
            strips += [not space for space in kept]
    return Frame(tuple(spans), tuple(weights), tuple(slots), tuple(strips))
