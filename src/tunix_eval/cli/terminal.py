"""What people read while a command runs and when it is done: progress, counts, lists, columns, colour."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tunix_eval.errors import SpecError
from tunix_eval.figures import printable, printable_json
from tunix_eval.nearby import below

_WAIT_SECONDS, _BETWEEN_SECONDS = 0.5, 0.1
LISTED = 10
DIM, MARKED, PLAIN = "\x1b[2m", "\x1b[32m", "\x1b[0m"
"""The colours that are written."""
_COLOURS = re.compile(f"({'|'.join(map(re.escape, (DIM, MARKED, PLAIN)))})")
_AT_LINE = re.compile(r"(.+?):(\d+): (.+)", re.DOTALL)


def write_lines(stream: TextIO, lines: Iterable[str] | Iterable[bytes]) -> None:
    """Write lines and flush; bytes are whole lines of JSON already.

    Whatever else than our own colours a terminal would not show as it is, is escaped, and so are characters that the
    stream cannot hold. A closed pipe is no mistake.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    try:
        for line in lines:
            if isinstance(line, bytes):
                # The same JSON, for a terminal; a file or a pipe gets the data as they are.
                stream.buffer.write(printable_json(line.decode()).encode() if stream.isatty() else line)
            else:
                stream.write(f"{_shown(line)}\n")
        stream.flush()
    except BrokenPipeError:
        # What is left in the buffer would be flushed, and fail, once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _shown(line: str) -> str:
    return line if line.isprintable() else "".join(map(_escaped, _COLOURS.split(line)))


def _escaped(piece: str) -> str:
    return piece if _COLOURS.fullmatch(piece) else printable(piece)


def json_lines(text: str) -> list[str]:
    """Return JSON as lines to write: the same JSON, with nothing in it that a terminal would take for a command."""
    return printable_json(text).rstrip("\n").split("\n")


def complain(message: str) -> None:
    """Write an error to stderr, each of its lines as one of ours, lines of a file with one reason as one.

    Paths below the working directory are written as its user would.
    """
    lines = below(message, Path.cwd()).split("\n")
    write_lines(sys.stderr, [f"tunix-eval: {printable(line)}" for line in _by_reason(lines)])


def _by_reason(lines: Sequence[str]) -> list[str]:
    """Return lines with those that give one reason for several lines of a file as one.

    >>> _by_reason(["a:1: is empty", "a:2: is blank", "a:3: is empty", "a:4: is empty", "a:7: is empty"])
    ['a: lines 1, 3, 4, 7: is empty', 'a:2: is blank']
    """
    numbers: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        found = _AT_LINE.fullmatch(line)
        name, number, reason = found.groups() if found else ("", "", line)
        numbers.setdefault((name, reason), []).append(number)
    grouped = []
    for (name, reason), places in numbers.items():
        if not name:
            grouped += [reason] * len(places)
        elif len(places) == 1:
            grouped.append(f"{name}:{places[0]}: {reason}")
        else:
            grouped.append(f"{name}: lines {listed(places, 20)}: {reason}")
    return grouped


def remark(lines: Iterable[str]) -> None:
    """Write to stderr what is said of data that goes to stdout."""
    write_lines(sys.stderr, lines)


class Progress:
    """One line on stderr that says how far long work is; nothing for short work, or where stderr is no terminal."""

    def __init__(
        self,
        what: str,
        unit: str = "bytes",
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._unit = what, unit
        self._stream = sys.stderr if stream is None else stream
        self._shown = self._stream.isatty()
        self._clock = clock
        self._begun = clock()
        self._next = self._begun + _WAIT_SECONDS
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say how much is done, of how much where that is known."""
        now = self._clock()
        if not self._shown or now < self._next:
            return
        self._next = now + _BETWEEN_SECONDS
        rate = done / (now - self._begun)
        share = f"{min(100, 100 * done // total)}% of {_amount(total, self._unit)}" if total else ""
        line = f"{self._what}: {share or _amount(done, self._unit)}, {_amount(round(rate), self._unit)}/s"
        self._stream.write(f"\r{printable(line)[:79]}\x1b[K")
        self._stream.flush()
        self._drawn = True


def _amount(number: int, unit: str) -> str:
    return f"{number / 1e6:,.1f} MB" if unit == "bytes" else f"{number:,} {unit}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "trace"), counted(1000, "trace")
    ('1 trace', '1,000 traces')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[object], limit: int = LISTED) -> str:
    """Return names with commas, the first ones and a count where they are many.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    shown = ", ".join(printable(str(name)) for name in names[:limit])
    return f"{shown} and {len(names) - limit:,} more" if len(names) > limit else shown


def cut(lines: Sequence[str], limit: int) -> list[str]:
    """Return the first lines, and how many more there are."""
    return list(lines) if len(lines) <= limit else [*lines[:limit], f"  and {len(lines) - limit:,} more"]


def shortened(text: str, width: int) -> str:
    """Return a text on one line, no wider than this.

    >>> shortened("one\\ntwo", 20), shortened("0123456789", 6)
    ('one\\\\ntwo', '012...')
    """
    line = printable(text)
    return line if len(line) <= width else f"{line[: max(0, width - 3)]}..."


def columns(rows: Sequence[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return rows with their columns aligned to the left.

    >>> columns([("a", "x"), ("bcd", "y")])
    ['a    x', 'bcd  y']
    """
    if not rows:
        return []
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def coloured(choice: str) -> bool:
    """Tell whether to colour stdout: always, never, or auto, on a terminal where NO_COLOR is unset.

    Source: https://no-color.org
    """
    if choice not in ("auto", "always", "never"):
        raise SpecError(f"--color '{choice}': expected auto, always or never")
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
