"""The command `tunix-eval`. A command is a module of this folder with add_arguments and run, named in COMMANDS."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

from tunix_eval import __version__
from tunix_eval.errors import SpecError, TunixEvalError
from tunix_eval.figures import printable

COMMANDS = {
    "gate": (
        "decide again from the records of runs, with other thresholds",
        ("tunix-eval gate addition", "tunix-eval gate 3f2a9c1b --rule non_inferior --margin 0.02"),
    ),
    "compare": (
        "compare recorded runs: item by item, or by runs where several share a recipe",
        ("tunix-eval compare 3f2a9c1b 08ddf62e", "tunix-eval compare addition 'addition[style=none]' --items 10"),
    ),
}
"""Name -> what it does, and examples. Its module is imported only when it is called."""
_CODES = "exit codes: 0 done, all gates passed; 1 bad data or a failed gate; 2 misuse"


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command."""
        raise SpecError(f"{message}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 the data is bad or a gate failed, 2 the command is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    lines: list[str] = []
    try:
        arguments = _parser(words).parse_args(words)
        run: Callable[[argparse.Namespace], tuple[list[str], int]] = arguments.run
        lines, code = run(arguments)
    except SystemExit as stop:  # after --help and --version
        code = int(stop.code or 0)
    except TunixEvalError as error:
        code = 2 if isinstance(error, SpecError) else 1
        _write(sys.stderr, [f"tunix-eval: {printable(line)}" for line in str(error).split("\n")])
    _write(sys.stdout, lines)
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; of the commands, only the one that is called knows its arguments."""
    firsts = [examples[0] for _, examples in COMMANDS.values()]
    parser = _OneLineParser("tunix-eval", **_described("work on what pytest --tunix-train recorded", firsts))
    parser.add_argument("--version", action="version", version=f"tunix-eval {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    called = next((word for word in words if not word.startswith("-")), None)
    for name, (summary, examples) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, **_described(summary, examples))
        if name == called:
            module = import_module(f"{__name__}.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _described(summary: str, examples: Sequence[str]) -> dict[str, Any]:
    lines = ["examples:", *(f"  {example}" for example in examples), "", _CODES]
    return {
        "description": f"{summary[0].upper()}{summary[1:]}.",
        "epilog": "\n".join(lines),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _write(stream: TextIO, lines: Sequence[str]) -> None:
    """Write lines and flush; characters that the stream cannot hold are escaped, a closed pipe is no mistake."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    try:
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()
    except BrokenPipeError:
        # What is left in the buffer would be flushed, and fail, once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
