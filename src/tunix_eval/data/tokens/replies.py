"""Which parts of a reply carry loss, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter

from tunix_eval.data.renderers.styles import (
    Piece,
    Section,
    pieces_around_section,
    reasoning_pieces,
    reply_at_answer,
    uses_section,
)
from tunix_eval.errors import RenderError
from tunix_eval.records import Span, Supervision, Trace


def reply_parts(
    trace: Trace,
    style: str,
    spans: tuple[Span, ...],
    reply: int,
    supervision: Supervision,
    section: Section | None = None,
) -> dict[int, list[tuple[str, float]]]:
    """Return span number -> its text in parts with their loss weights, of the spans whose parts weigh differently.

        text          Reasoning:\\n1.  {step}  \\n2.  {step}  \\nAnswer:   4  <end>
        last          1               1       1     1       1           1  1
        answer        0               0       0     0       0           1  1
        0.3           0.3             0.3     0.3   0.3     0.3         1  1
        {a = 0.5}     1               0.5     1     1       1           1  1

    From the answer's first character on everything weighs 1, what the style writes after it too: the model has to
    learn to end. `section` is the renderer's `thinking_section`; what closes it weighs what the style's own words do.

    Raises:
        RenderError: the renderer printed the reply otherwise than it was written, so that its parts are not found.
    """
    numbers = [number for number, span in enumerate(spans) if span.reply == reply and not span.control]
    text = "".join(spans[number].text for number in numbers)
    if uses_section(style, section):
        thought, answered = _weighted_around_section(trace, style, supervision)
        weighted = [*thought, *answered]
        starts = _starts_around_section([piece for piece, _ in thought], [piece for piece, _ in answered], text)
    else:
        weighted = weighted_texts(trace, style, supervision)
        starts = _starts([piece for piece, _ in weighted], text)
    if starts is None:
        raise RenderError(
            "the renderer prints the reply otherwise than the style writes it, so that its steps and answer are not "
            "found; supervise the whole of it, or choose another style"
        )
    bounds = [0, *starts[1:], len(text)]
    parts, offset = {}, 0
    for number in numbers:
        end = offset + len(spans[number].text)
        cut = [
            (text[max(start, offset) : min(stop, end)], weight)
            for start, stop, (_, weight) in zip(bounds, bounds[1:], weighted, strict=False)
            if max(start, offset) < min(stop, end)
        ]
        parts[number], offset = cut or [("", weighted[-1][1])], end
    return parts


def weighted_texts(trace: Trace, style: str, supervision: Supervision) -> list[tuple[str, float]]:
    """Return the reply as the style writes it, in parts with their loss weights; neighbours weigh differently.

    >>> from tunix_eval.records import Step
    >>> trace = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))
    >>> weighted_texts(trace, "plain", Supervision("answer"))
    [('1+1=2\\n#### ', 0.0), ('2', 1.0)]
    """
    weights = _weight_before_answer(supervision)
    if isinstance(weights, Mapping):
        return _merged(_weighted(reasoning_pieces(trace, style), weights))
    before, answer = reply_at_answer(trace, style)
    return [(before, weights), (answer, 1.0)] if before and weights != 1.0 else [(before + answer, 1.0)]


_Weighted = list[tuple[str, float]]


def _weight_before_answer(supervision: Supervision) -> float | Mapping[str, float]:
    weights = 0.0 if supervision.turns == "answer" else supervision.step_weight
    return weights if isinstance(weights, Mapping) else float(weights)


def _weighted(pieces: Iterable[Piece], weights: float | Mapping[str, float]) -> _Weighted:
    """Return texts and weights, those of one number up to the answer."""
    weighted, answered = _Weighted(), False
    for text, kind, step_type in pieces:
        answered |= kind == "answer"
        if isinstance(weights, Mapping):
            weighted.append((text, float(weights.get(step_type, 1.0)) if step_type else 1.0))
        else:
            weighted.append((text, 1.0 if answered else weights))
    return weighted


def _merged(weighted: _Weighted) -> _Weighted:
    by_weight = groupby(weighted, key=itemgetter(1))
    return [("".join([text for text, _ in group]), weight) for weight, group in by_weight]


def _weighted_around_section(trace: Trace, style: str, supervision: Supervision) -> tuple[_Weighted, _Weighted]:
    """Return the texts and weights of the thinking section, and those of what follows it."""
    weights = _weight_before_answer(supervision)
    thought, answered = pieces_around_section(trace, style)
    return _merged(_weighted(thought, weights)), _merged(_weighted(answered, weights))


def _starts(pieces: list[str], text: str) -> list[int] | None:
    """Return where each piece begins in a text that holds them one after the other, white space apart.

    A renderer may strip a reply, put a thinking section before it, or set its own white space between the two.

    >>> _starts(["<think>\\nab\\n", "c d"], "<think>\\nab\\n\\nc d")
    [0, 12]
    >>> _starts(["a"], "b") is None
    True
    """
    whole = "".join(pieces)
    found = text.find(whole)
    if found < 0:
        return _starts_of_ink(pieces, text)
    starts = [found]
    for piece in pieces[:-1]:
        starts.append(starts[-1] + len(piece))
    return starts


def _starts_around_section(thought: list[str], answered: list[str], text: str) -> list[int] | None:
    r"""Return where each piece begins; the first behind the section begins with what closes it.

    >>> _starts_around_section(["ab\n"], ["#### ", "c"], "<think>\nab\n</think>\n\n#### c")
    [8, 10, 26]
    """
    places, ink = _ink(text)
    inside, behind = ("".join("".join(pieces).split()) for pieces in (thought, answered))
    first, second = ink.find(inside), ink.rfind(behind)
    if first < 0 or second < first + len(inside):
        return None
    starts = []
    for piece in thought:
        starts.append(places[first] if first < len(places) else len(text))
        first += len("".join(piece.split()))
    for piece in answered:
        starts.append(places[second] if second < len(places) else len(text))
        second += len("".join(piece.split()))
    if thought:
        starts[len(thought)] = places[first - 1] + 1
    return starts


def _ink(text: str) -> tuple[list[int], str]:
    """Return a text without its white space, and where each of its characters stands in it."""
    places = [place for place, character in enumerate(text) if not character.isspace()]
    return places, "".join([text[place] for place in places])


def _starts_of_ink(pieces: list[str], text: str) -> list[int] | None:
    places, ink = _ink(text)
    squeezed = ["".join(piece.split()) for piece in pieces]
    first = ink.rfind("".join(squeezed))
    if first < 0:
        return None
    starts = []
    for piece in squeezed:
        starts.append(places[first] if first < len(places) else len(text))
        first += len(piece)
    return starts
