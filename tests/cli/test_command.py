"""The frame of the command: help, exit codes, pipes, and what it does not import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import traces
from records import Records

from tunix_eval import __version__
from tunix_eval.cli import COMMANDS

SCRIPT = Path(sys.executable).with_name("tunix-eval")
HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "pytest", "syrupy")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=["", *COMMANDS])
def test_help_shows_an_example_and_fits_the_terminal(records: Records, command: list[str]) -> None:
    code, out, err = records.call(*command, "--help")
    assert (code, err) == (0, "")
    examples = out.partition("\nexamples:\n")[2].splitlines()
    assert examples[0].startswith(f"  tunix-eval {command[0] if command else 'init'}")
    assert max(map(len, out.splitlines())) <= 80


def test_the_version_is_the_packages(records: Records) -> None:
    assert records.call("--version") == (0, f"tunix-eval {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: COMMAND; see `tunix-eval --help`"),
        (
            ["gat"],
            "no command named 'gat'; known: build, compare, contamination, dedupe, diff, doctor, export, gate, "
            "generate, ingest, init, list, runs, show, split, validate. Did you mean 'gate'?",
        ),
        (["gate"], "the following arguments are required: RUN; see `tunix-eval gate --help`"),
        (["compare", "a", "--jsn"], "unrecognized arguments: --jsn; see `tunix-eval --help`"),
    ],
)
def test_a_wrong_command_is_one_line(records: Records, words: list[str], message: str) -> None:
    assert records.refused(*words) == (2, message)


def test_a_damaged_settings_file_is_named(records: Records) -> None:
    (records.root / "pyproject.toml").write_text('[tool.tunix_eval]\nartifact = "x"\n')
    code, message = records.refused("gate", "x")
    assert code == 2
    assert message.endswith("pyproject.toml [tool.tunix_eval]: unknown key 'artifact'. Did you mean 'artifacts'?")


def test_what_a_message_quotes_cannot_steer_the_terminal(records: Records) -> None:
    assert "\\x1b[31m" in records.refused("gate", "\x1b[31m")[1]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["gate", "a", "--rule", "at_least", "--value", "1"],
        ["compare", "a", "b"],
        ["init", "new"],
        ["validate", "a.jsonl", "e.jsonl"],
        ["ingest", "a.jsonl", "--source", "x", "--out", "b.jsonl"],
        ["build", "sums-v1", "a.jsonl"],
        ["diff", "a.jsonl", "./a.jsonl"],
        ["dedupe", "a.jsonl", "--dry-run"],
        ["split", "a.jsonl", "--holdout", "0.5", "--out", "parts"],
        ["contamination", "a.jsonl", "e.jsonl"],
        ["export", "a.jsonl", "--format", "tunix_sft", "--out", "-"],
    ],
    ids=lambda words: words[0],
)
def test_what_works_on_files_imports_neither_jax_nor_pytest(records: Records, words: list[str]) -> None:
    traces.write("a.jsonl", [traces.line(i) for i in range(20)])
    traces.write("e.jsonl", [{"id": "e", "prompt": "x", "expected_answer": "y"}])
    for name in ("a", "b"):
        records.run(name=name, recipe=name)
    program = (
        "import sys; from tunix_eval.cli import main; code = main(sys.argv[1:])\n"
        f"sys.exit(code or ', '.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    )
    # Without the hook that coverage puts into every process.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    found = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, env=environment)
    assert (found.returncode, found.stderr) == (0, "")


def test_help_imports_no_library() -> None:
    program = (
        "import sys; before = set(sys.modules); from tunix_eval.cli import main; main(['--help'])\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "sys.exit(', '.join(new - {'tunix_eval'}) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    "words", [["doctor"], ["list"], ["show", "addition-v1"], ["generate", "addition", "--as", "a-v1"]]
)
def test_what_asks_pytest_imports_no_jax(records: Records, words: list[str]) -> None:
    program = (
        "import sys; from tunix_eval.cli import main; code = main(sys.argv[1:])\n"
        "sys.exit(code or ', '.join(name for name in ('jax', 'flax', 'optax', 'orbax') if name in sys.modules) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["gate", "addition", "--rule", "at_least", "--value", "0.5", "--json"],
        ["export", "a.jsonl", "--format", "trace", "--out", "-"],
    ],
    ids=["help", "lines", "bytes"],
)
def test_a_closed_pipe_is_quiet(records: Records, words: list[str]) -> None:
    records.run()
    traces.write("a.jsonl", [traces.line(i) for i in range(5_000)])
    read, write = os.pipe()
    os.close(read)
    found = subprocess.run([SCRIPT, *words], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (found.returncode, found.stderr) == (0, "")


def test_an_interrupt_is_one_line_and_leaves_nothing_behind(records: Records) -> None:
    words = ["ingest", "-", "--out", "b.jsonl"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = subprocess.Popen([SCRIPT, *words], **pipes, text=True)
    assert command.stdin
    command.stdin.write("{}\n" * 100_000)  # More than a pipe holds: what is left shows that it reads.
    command.send_signal(signal.SIGINT)
    out, err = command.communicate()
    assert (command.returncode, out, err) == (130, "", "tunix-eval: interrupted\n")
    assert list(records.root.iterdir()) == []


def test_a_stream_that_cannot_hold_a_character_gets_it_escaped(records: Records) -> None:
    first = records.run(answers={0: "größer"})
    second = records.run(name="b", recipe="b")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    found = subprocess.run([SCRIPT, "compare", first, second], capture_output=True, env=environment)
    assert (found.returncode, found.stderr) == (0, b"")
    assert rb"gr\xf6\xdfer" in found.stdout
