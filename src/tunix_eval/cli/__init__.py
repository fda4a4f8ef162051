"""The command `tunix-eval`. A command is a module of this folder with add_arguments and run, named in COMMANDS."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

from tunix_eval import __version__
from tunix_eval.cli.terminal import complain, write_lines
from tunix_eval.errors import SpecError, TunixEvalError, unknown_name

COMMANDS = {
    "init": (
        "write a run file and a test to start from",
        ("tunix-eval init", "tunix-eval init experiments --name sums"),
    ),
    "doctor": (
        "say what is installed, registered, broken and missing here",
        ("tunix-eval doctor",),
    ),
    "list": (
        "list everything that has a name, and who offers it",
        ("tunix-eval list", "tunix-eval list renderer"),
    ),
    "validate": (
        "check traces, evalsets, predictions, dataset folders and run files",
        ("tunix-eval validate traces.jsonl evalsets/*.jsonl addition.toml", "zcat a.gz | tunix-eval validate -"),
    ),
    "ingest": (
        "make a trace file of other people's files, or of a run's completions",
        (
            "tunix-eval ingest gsm8k.jsonl --map prompt=question \\\n"
            "      --map final_answer=answer --split hashes --source gsm8k --out t.jsonl",
            "tunix-eval ingest old.jsonl --lenient --out traces.jsonl",
            "tunix-eval ingest f.jsonl --lenient --out - | tunix-eval validate -",
            "tunix-eval ingest --from-run 3f2a9c1b --only correct --out again.jsonl",
        ),
    ),
    "build": (
        "build a dataset version of traces: filtered, drawn, never changed again",
        (
            "tunix-eval build sums-v1 traces.jsonl",
            "tunix-eval build sums-v2 traces.jsonl --filter difficulty=easy,medium \\\n"
            "      --strategy random --seed 7 --limit 500 --parent datasets/sums-v1",
        ),
    ),
    "diff": (
        "say which traces one dataset has more, fewer or otherwise than another",
        ("tunix-eval diff datasets/sums-v1 datasets/sums-v2",),
    ),
    "dedupe": (
        "leave out traces that stand there twice",
        ("tunix-eval dedupe traces.jsonl --out once.jsonl", "tunix-eval dedupe traces.jsonl --by prompt --dry-run"),
    ),
    "split": (
        "split traces into train and holdout, by the digest of the prompt",
        ("tunix-eval split traces.jsonl --holdout 0.1 --out parts/",),
    ),
    "contamination": (
        "count the evalset's prompts that a dataset would train on",
        ("tunix-eval contamination datasets/sums-v1 evalset.jsonl",),
    ),
    "generate": (
        "make a dataset with a generator",
        ("tunix-eval generate addition --count 5000 --seed 3 --as sums-v1",),
    ),
    "export": (
        "write a dataset in a format that others read",
        (
            "tunix-eval export addition-v1 --format tunix_sft --out sft.jsonl",
            "tunix-eval export datasets/sums-v1 --format messages --out - | head -1",
            "tunix-eval export parts/holdout.jsonl --format evalset --out evalset.jsonl",
        ),
    ),
    "show": (
        "show a trace as the model will see it: tokens, mask and control tokens",
        (
            "tunix-eval show addition-v1 --renderer gemma",
            "tunix-eval show traces.jsonl --number 3 --style tagged --ids",
        ),
    ),
    "gate": (
        "decide again from the records of runs, with other thresholds",
        ("tunix-eval gate addition", "tunix-eval gate 3f2a9c1b --rule non_inferior --margin 0.02"),
    ),
    "compare": (
        "compare recorded runs: item by item, or by runs where several share a recipe",
        ("tunix-eval compare 3f2a9c1b 08ddf62e", "tunix-eval compare addition 'addition[style=none]' --items 10"),
    ),
    "runs": (
        "list recorded runs, show one, say in what two differ, and make room",
        (
            "tunix-eval runs list",
            "tunix-eval runs show 3f2a9c1b",
            "tunix-eval runs diff 3f2a9c1b 08ddf62e",
            "tunix-eval runs rm 3f2a9c1b --dry-run",
            "tunix-eval runs gc --keep 5",
        ),
    ),
}
"""Name -> what it does, and examples. A command's module is imported only when it is called."""
# A module named list would hide the builtin in this one.
_MODULES = {"list": "listing"}
_CODES = "exit codes: 0 done, 1 the data is bad or a gate failed, 2 the command is wrong"


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command."""
        raise SpecError(f"{message}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 the data is bad or a gate failed, 2 the command is wrong."""
    words = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            return _called(words)
        except KeyboardInterrupt:
            return _failed("interrupted", code=130)
        except SystemExit as stop:  # after --help and --version
            write_lines(sys.stdout, [])
            return int(stop.code or 0)
        except TunixEvalError as error:
            return _failed(str(error), code=2 if isinstance(error, SpecError) else 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _failed(f"{where}{error.strerror or error}", code=1)


def _called(words: Sequence[str]) -> int:
    arguments = _parser(words).parse_args(words)
    run: Callable[[argparse.Namespace], tuple[Iterable[str] | Iterable[bytes], int]] = arguments.run
    lines, code = run(arguments)
    write_lines(sys.stdout, lines)
    return code


def _failed(message: str, *, code: int) -> int:
    complain(message)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Show a warning as one line, like an error; those of Python itself are for developers."""
    if issubclass(category, UserWarning):
        complain(f"warning: {str(message).replace(os.linesep, ' ')}")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; of the commands, only the one that is called knows its arguments."""
    firsts = [COMMANDS[name][1][0] for name in ("init", "validate", "build", "show", "gate", "compare")]
    summary = "make and check the data of runs, and work on what pytest recorded of them"
    parser = _OneLineParser("tunix-eval", **_described(summary, firsts))
    parser.add_argument("--version", action="version", version=f"tunix-eval {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    called = next((word for word in words if not word.startswith("-")), None)
    if called is not None and called not in COMMANDS:
        raise unknown_name("command", called, COMMANDS)
    for name, (summary, examples) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, **_described(summary, examples))
        if name == called:
            module = import_module(f"{__name__}.{_MODULES.get(name, name)}")
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
