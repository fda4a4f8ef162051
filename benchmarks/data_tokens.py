"""How fast traces become tokens and rows: ours beside loops as trainers write them, in interleaved rounds.

    python benchmarks/data_tokens.py [--traces 20000] [--rounds 5]

One thread, garbage collector on, CPU time; all results are kept. `loop` renders, encodes and masks a trace at a time
with lists, checking nothing; `best fit` packs as TRL does (`packing_strategy="bfd"`), places searched by bisection.
"""

from __future__ import annotations

import argparse
import bisect
import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from data_parse import trace_lines

from tunix_eval.data import BUILTIN_RENDERERS, ByteTokenizer, conversation, encode_traces, fill, pack
from tunix_eval.data.traces import parse_traces
from tunix_eval.records import Supervision, TokenSequence, Trace

GEMMA = BUILTIN_RENDERERS["gemma"]
TOKENIZER = ByteTokenizer(GEMMA.control_tokens)


def ours(traces: Sequence[Trace], supervision: Supervision = Supervision()) -> list[TokenSequence]:  # noqa: B008
    """Tokens and masks, every law checked."""
    return encode_traces(traces, renderer=GEMMA, tokenizer=TOKENIZER, style="numbered", supervision=supervision)


def loop(traces: Sequence[Trace]) -> list[tuple[Any, Any]]:
    """Tokens and masks as a training script makes them."""
    made = []
    for trace in traces:
        ids: list[int] = []
        mask: list[bool] = []
        for span in GEMMA.render(conversation(trace, "numbered"), generation_prompt=False):
            piece = [TOKENIZER.control_id(span.text)] if span.control else TOKENIZER.encode(span.text)
            ids += piece
            mask += [span.reply is not None] * len(piece)
        made.append((np.array(ids, np.int32), np.array(mask, np.bool_)))
    return made


def best_fit(sequences: Sequence[TokenSequence], row_tokens: int) -> list[dict[str, list[int]]]:
    """Rows as lists: each sequence, longest first, into the row whose room fits it best."""
    rooms: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index].ids)):
        length = len(sequences[index].ids)
        place = bisect.bisect_left(rooms, (length, -1))
        room, row = rooms.pop(place) if place < len(rooms) else (row_tokens, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        bisect.insort(rooms, (room - length, row))
    return [
        {
            "input_ids": [one for index in row for one in sequences[index].ids.tolist()],
            "labels": [one for index in row for one in sequences[index].loss_mask.tolist()],
            "position_ids": [one for index in row for one in range(len(sequences[index].ids))],
        }
        for row in rows
    ]


def measured(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds of every side, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            gc.collect()
            started = time.process_time()
            made = side()
            seconds[name].append(time.process_time() - started)
            del made
    return seconds


def show(title: str, seconds: Mapping[str, list[float]], count: int) -> None:
    """Print rates at the median, and the median of the rounds' ratios to the first side."""
    first = next(iter(seconds.values()))
    print(title)
    for name, values in seconds.items():
        ratio = statistics.median(other / own for own, other in zip(first, values, strict=True))
        print(f"  {name:<18} {count / statistics.median(values):>10,.0f}/s   takes {ratio:6.2f} times as long")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    traces = parse_traces(trace_lines(arguments.traces), source="bench")
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(traces),
        "loop": lambda: loop(traces),
        "ours, answer only": lambda: ours(traces, Supervision("answer")),
    }
    show("tokens and mask, traces", measured(sides, arguments.rounds), len(traces))
    sequences = ours(traces)
    short = [
        TokenSequence(one.trace_id, (), one.ids[: len(one.ids) // 4], one.loss_mask[: len(one.ids) // 4])
        for one in sequences
    ]
    for name, some, row_tokens in (("bytes", sequences, 2048), ("a quarter, as subwords", short, 1024)):
        tokens = sum(len(one.ids) for one in some) / len(some)
        sides = {
            "ours": lambda some=some, row=row_tokens: pack(some, row_tokens=row, pad_id=256),
            "best fit, lists": lambda some=some, row=row_tokens: best_fit(some, row),
        }
        filled = fill(pack(some, row_tokens=row_tokens, pad_id=256))
        title = f"packing, sequences of {tokens:.0f} tokens ({name}) in rows of {row_tokens}, {filled:.1%} full"
        show(title, measured(sides, arguments.rounds), len(some))
    return 0


if __name__ == "__main__":
    sys.exit(main())
