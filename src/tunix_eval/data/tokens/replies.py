"""Which parts of a reply carry loss, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter

from tunix_eval.data.renderers.styles import reasoning_pieces, reply_at_answer
from tunix_eval.errors import RenderError
from tunix_eval.records import Span, Supervision, Trace


def reply_parts(
    trace: Trace, style: str, spans: tuple[Span, ...], reply: int, supervision: Supervision
) -> dict[int, list[tuple[str, float]]]:
    """Return span number -> its text in parts with their loss weights, of the spans whose parts weigh differently.

        text          Reasoning:\\n1.  {step}  \\n2.  {step}  \\nAnswer:   4  <end>
        last          1               1       1     1       1           1  1
        answer        0               0       0     0       0           1  1
        0.3           0.3             0.3     0.3   0.3     0.3         1  1
        {a = 0.5}     1               0.5     1     1       1           1  1

    From the answer's first character on everything weighs 1, what the style writes after it too: the model has to
    learn to end.

    Raises:
        RenderError: the renderer printed the reply otherwise than it was written, so that its parts are not found.
    """
    numbers = [number for number, span in enumerate(spans) if span.reply == reply and not span.control]
    text = "".join(spans[number].text for number in numbers)
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
    weights = 0.0 if supervision.turns == "answer" else supervision.step_weight
    if isinstance(weights, Mapping):
        pieces = reasoning_pieces(trace, style)
        weighted = [(text, float(weights.get(type_, 1.0)) if type_ else 1.0) for text, _, type_ in pieces]
        by_weight = groupby(weighted, key=itemgetter(1))
        return [("".join([text for text, _ in group]), weight) for weight, group in by_weight]
    before, answer = reply_at_answer(trace, style)
    return [(before, float(weights)), (answer, 1.0)] if before and weights != 1.0 else [(before + answer, 1.0)]


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


def _starts_of_ink(pieces: list[str], text: str) -> list[int] | None:
    places = [place for place, character in enumerate(text) if not character.isspace()]
    ink = "".join(text[place] for place in places)
    squeezed = ["".join(piece.split()) for piece in pieces]
    first = ink.rfind("".join(squeezed))
    if first < 0:
        return None
    starts = []
    for piece in squeezed:
        starts.append(places[first] if first < len(places) else len(text))
        first += len(piece)
    return starts
