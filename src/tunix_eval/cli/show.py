"""`tunix-eval show`: one trace as the model will see it."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tunix_eval.cli.inputs import POSITIVE, Given, add_dataset_argument, assignments, open_traces, plain_value
from tunix_eval.cli.recorded import terminal_width
from tunix_eval.cli.terminal import DIM, MARKED, PLAIN, coloured, listed
from tunix_eval.data import STYLES, encode_trace
from tunix_eval.errors import SpecError, suggestion, unknown_name
from tunix_eval.figures import printable
from tunix_eval.records import Renderer, Span, Supervision, TokenSequence, Trace
from tunix_eval.tables import resolve_reference

_SUPERVISED = ("last", "all", "answer")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_dataset_argument(parser)
    parser.add_argument("--id", metavar="ID", help="the trace with this id")
    parser.add_argument("--number", metavar="N", type=POSITIVE, help="the trace at this place; default 1, the first")
    parser.add_argument(
        "--renderer", metavar="NAME", default="gemma", help="name, or path of a model directory; default gemma"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="NAME",
        default="bytes",
        help="name, or path of tokenizer.json or a .model file; default bytes",
    )
    parser.add_argument("--style", metavar="S", help=f"of the steps: {', '.join(STYLES)}; default the renderer's own")
    parser.add_argument(
        "--renderer-option",
        metavar="KEY=VALUE",
        action="append",
        help="what its edition leaves open, such as enable_thinking=false; may be repeated",
    )
    parser.add_argument(
        "--supervise", metavar="TURNS", default="last", help="last (default), all or answer: which turns carry loss"
    )
    parser.add_argument(
        "--step-weight", metavar="W", type=float, default=1.0, help="of the steps before the answer; default 1"
    )
    parser.add_argument("--ids", action="store_true", help="show the token ids, too")
    parser.add_argument("--color", metavar="WHEN", default="auto", help="auto (default), always or never")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return the trace, a line a piece of text: `+` where it carries loss."""
    from tunix_eval.cli.bridge import Catalogue, offered, with_registry

    colour = coloured(arguments.color)
    if arguments.style is not None and arguments.style not in STYLES:
        raise unknown_name("style", arguments.style, STYLES)
    if arguments.supervise not in _SUPERVISED:
        raise unknown_name("choice of turns", arguments.supervise, _SUPERVISED)
    if not 0 <= arguments.step_weight < math.inf:
        raise SpecError(f"--step-weight {arguments.step_weight:g}: expected 0 or more")
    if arguments.supervise == "answer" and arguments.step_weight != 1.0:
        # As a run file is refused that says so.
        raise SpecError(
            "show has both --supervise answer and --step-weight, but no step carries loss then; take one of the two out"
        )
    options = {key: plain_value(text) for key, text in assignments(arguments.renderer_option, "--renderer-option")}
    named, words = (resolve_reference(one, Path.cwd()) for one in (arguments.renderer, arguments.tokenizer))
    supervision = Supervision(turns=arguments.supervise, step_weight=arguments.step_weight)
    given = open_traces(arguments.dataset)
    place, trace = _chosen(given, arguments)

    def encoded(registry: Catalogue) -> tuple[Renderer, str, TokenSequence]:
        renderer = registry.renderer(named, options)
        tokenizer = registry.tokenizer(words, renderer.control_tokens)
        style = arguments.style or renderer.default_style
        with offered(f"renderer '{arguments.renderer}' with tokenizer '{arguments.tokenizer}'"):
            return (
                renderer,
                style,
                encode_trace(trace, renderer=renderer, tokenizer=tokenizer, style=style, supervision=supervision),
            )

    renderer, style, sequence = with_registry(encoded)
    head = (
        f"trace {trace.id} ({place:,} of {len(given.traces):,}): {len(sequence.ids):,} tokens, "
        f"{int(sequence.loss_mask.sum()):,} supervised; {renderer.name}, {arguments.tokenizer}, style {style}"
    )
    width = terminal_width()
    lines = textwrap.wrap(printable(head), width, subsequent_indent="  ")
    return [*lines, *_body(sequence, ids=arguments.ids, width=width, colour=colour)], 0


def _chosen(given: Given, arguments: argparse.Namespace) -> tuple[int, Trace]:
    """Return the trace that is asked for, and its place from 1 on."""
    if arguments.id is not None and arguments.number is not None:
        raise SpecError("show: --id and --number both name a trace; give one")
    if arguments.id is not None:
        ids = [str(trace.id) for trace in given.traces]
        if arguments.id not in ids:
            raise SpecError(
                f"{given.name}: no trace '{arguments.id}' among {len(ids):,}: {listed(ids, 3)}."
                f"{suggestion(arguments.id, ids[:10_000])}"
            )
        place = ids.index(arguments.id) + 1
    else:
        place = 1 if arguments.number is None else arguments.number
    if not 1 <= place <= len(given.traces):
        raise SpecError(f"{given.name}: --number {place}, expected 1 to {len(given.traces):,}")
    return place, given.traces[place - 1]


def _body(sequence: TokenSequence, *, ids: bool, width: int, colour: bool) -> Iterator[str]:
    """Yield a line a control token and a line a line of text, the loss weight in the margin where it is not 1."""
    margins = [_margin(weight) for weight in sequence.span_weights]
    room = max(map(len, margins), default=1)
    starts = [0]
    for length in sequence.span_lengths:
        starts.append(starts[-1] + length)
    for span, margin, (start, end) in zip(sequence.spans, margins, pairwise(starts), strict=True):
        code = "" if not colour else DIM if span.control else MARKED if margin else ""
        for line in _pieces(span, width - room - 1):
            text = f"{margin.ljust(room)} {line}"
            yield f"{code}{text}{PLAIN}" if code else text
        if ids:
            numbers = " ".join(map(str, sequence.ids[start:end]))
            indent = " " * (room + 4)
            for line in textwrap.wrap(numbers, width, initial_indent=indent, subsequent_indent=indent):
                yield f"{DIM}{line}{PLAIN}" if colour else line


def _margin(weight: float) -> str:
    return "" if weight == 0 else "+" if weight == 1 else f"+{weight:g}"


def _pieces(span: Span, width: int) -> list[str]:
    """Return a span's text in lines that fit, its own line ends written out."""
    texts = [f"{line}\n" for line in span.text.split("\n")]
    texts[-1] = texts[-1].removesuffix("\n")
    return [line for text in texts if text for line in _folded(text, width)]


def _folded(text: str, width: int) -> Iterator[str]:
    """Yield a text in lines that fit: broken after a space, else between characters, and indented from then on."""
    shown = [printable(character) for character in text]
    start = 0
    while start < len(shown):
        indent = "  " if start else ""
        left, end = width - len(indent), start
        while end < len(shown) and len(shown[end]) <= left:
            left -= len(shown[end])
            end += 1
        # The narrowest terminal takes one character a line.
        end = max(end, start + 1)
        if end < len(shown):
            end = next((k for k in range(end, start, -1) if shown[k - 1] == " "), end)
        yield indent + "".join(shown[start:end])
        start = end
