"""`tunix-eval init`: a run file and a test to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from tunix_eval.cli.outputs import add_overwrite_arguments, check_free, would_write, write_text
from tunix_eval.errors import SpecError
from tunix_eval.tables import KEY

RUN_FILE = """\
# What is trained on what, and how it is judged. Every key: docs/formats.md, "Run file".
name = "{name}"
seed = 0
dataset = "addition-v1"              # a registered name, or a path: "data/traces.jsonl"
renderer = "plain"                   # how a trace becomes text; `tunix-eval list renderer` has the others
tokenizer = "bytes"
evalsets = ["addition-heldout"]      # names or paths
scorers = ["exact"]

[model]
preset = "tiny"
init_std = 0.05

[training]
steps = 600
rows = 16
row_tokens = 48                      # a longer trace is an error
learning_rate = 2e-3
warmup_steps = 20
optimizer_options = {{ b2 = 0.98, weight_decay = 0.01 }}

[generation]
max_new_tokens = 40
"""

TEST_FILE = '''\
"""{name}: its data is what it should be, it learns, and it stays good.

    pytest --tunix-plan --tunix-train {folder}          what would happen
    pytest --tunix-train --tunix-max-steps 2 {folder}   every stage, in seconds
    pytest --tunix-train {folder}                       trains, evaluates and gates
"""

import pytest

pytestmark = pytest.mark.tunix_train("{name}.toml")


def test_every_answer_is_trained_on(tunix_sequences):
    for sequence in tunix_sequences:
        assert 0 < sequence.loss_mask.sum() < len(sequence.ids), sequence.text


def test_the_loss_falls(tunix_run):
    assert tunix_run.truncated or tunix_run.loss.last(50) < tunix_run.loss.first(10) / 2


@pytest.mark.tunix_evalset("addition-heldout")
@pytest.mark.tunix_gate("at_least", metric="exact", value=0.8)
def test_it_adds(tunix_gate):
    tunix_gate.check()
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="where they go; default: here")
    parser.add_argument("--name", default="addition", help="of the run: it names the files too; default addition")
    add_overwrite_arguments(parser)


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Write the files, and return what to do next."""
    name, folder = arguments.name, Path(arguments.folder)
    if not KEY.fullmatch(name) or not name.replace("-", "_").isidentifier():
        raise SpecError(f"--name '{name}': it names files; use letters, digits, '_' and '-', a letter first")
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: is no folder; name another")
    test = f"test_{name.replace('-', '_')}.py"
    texts = {
        folder / f"{name}.toml": RUN_FILE.format(name=name),
        folder / test: TEST_FILE.format(name=name, folder=folder.as_posix()),
    }
    for path in texts:
        check_free(path, force=arguments.force, dry_run=arguments.dry_run)
    if arguments.dry_run:
        return [would_write(path) for path in texts], 0
    for path, text in texts.items():
        write_text(path, text)
    return [*(f"wrote {path}" for path in texts), f"next: pytest --tunix-train {folder / test}"], 0
