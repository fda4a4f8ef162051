"""The command line: options and their checks. Standard library and pytest only."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tunix_eval.errors import suggestion

RUN_FILES_INI = "tunix_run_files"


class Options(NamedTuple):
    """What the command line asks for. A named tuple, because a dataclass costs every pytest start 2 ms."""

    train: bool
    retrain: bool
    plan: bool
    device: str | None
    host_devices: int | None
    seed: int | None
    max_steps: int | None
    mesh: dict[str, int] | None
    resume_from: int | None
    time_budget: float | None
    artifacts: str | None
    update_baselines: bool
    baseline_runs: int | None
    runs: list[str]
    require: bool
    off: bool

    @classmethod
    def of(cls, namespace: argparse.Namespace) -> Options:
        """Read the options from pytest's parsed arguments."""
        values = {name: getattr(namespace, f"tunix_{name}") for name in cls._fields}
        values["train"] = values["train"] or values["retrain"]
        return cls(**values)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return an argument type: a whole number of 31 bits from the minimum on."""

    def number(text: str) -> int:
        value = int(text)
        if not minimum <= value < 2**31:
            raise argparse.ArgumentTypeError(f"{value} is not from {minimum} to {2**31 - 1}")
        return value

    number.__name__ = "whole number"
    return number


def mesh(text: str) -> dict[str, int]:
    """Read `data=4`."""
    axis, _, count = text.partition("=")
    if axis != "data" or not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"'{text}', expected data=N: rows are split over N devices")
    return {axis: int(count)}


def step_or_latest(text: str) -> int | None:
    """Read `latest` or a step."""
    if text == "latest":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}', expected latest or the step of a checkpoint, such as 400")
    return int(text)


def seconds(text: str) -> float:
    """Read a length of time, in seconds.

    >>> seconds("8h"), seconds("1h30m"), seconds("45s")
    (28800.0, 5400.0, 45.0)
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    parts = [int(part or 0) for part in match.groups()] if match else [0]
    if not any(parts):
        raise argparse.ArgumentTypeError(f"'{text}', expected a time such as 8h, 90m or 1h30m")
    return float(parts[0] * 3600 + parts[1] * 60 + parts[2])


def add_options(parser: pytest.Parser) -> None:
    """Declare the options and ini values."""
    group = parser.getgroup("tunix-eval", "tunix-eval: training, evaluation and regression gates")

    def option(name: str, **arguments: Any) -> None:
        group.addoption(f"--tunix-{name}", **{"dest": f"tunix_{name.replace('-', '_')}"} | arguments)

    def flag(name: str, text: str) -> None:
        option(name, action="store_true", default=False, help=text)

    flag("train", "train the runs that are missing, then evaluate and gate: pytest --tunix-train examples/quickstart")
    flag("retrain", "train every run of this session again, once, and replace what is recorded")
    flag("plan", "say what would be trained, evaluated and gated, and every mistake that can be known, then stop")
    option(
        "device",
        metavar="KIND",
        help="auto, cpu, gpu[:index] or tpu[:index]; auto is cpu unless an accelerator is there (default: auto)",
    )
    option("host-devices", metavar="N", type=at_least(1), help="show JAX this many CPU devices")
    option("seed", metavar="N", type=at_least(0), help="train with this seed in place of the run file's")
    option(
        "max-steps",
        metavar="N",
        type=at_least(1),
        help="stop training after N steps; such a run is never taken for the full one and its gates are skipped",
    )
    option(
        "mesh",
        metavar="AXIS=N",
        type=mesh,
        help="split the rows of every step over N devices: data=4; with --tunix-host-devices 4 also without a GPU",
    )
    option(
        "resume-from",
        metavar="STEP",
        type=step_or_latest,
        help="where training that was stopped goes on: latest, or the step of a checkpoint, for every run that has one "
        "of it; fresh seeds of a gate begin at 0 (default: latest)",
    )
    option(
        "time-budget",
        metavar="TIME",
        type=seconds,
        help="stop training in time, checkpointed: 8h, 90m, 45s; the next session goes on",
    )
    option("artifacts", metavar="DIR", help="where runs and records go (default: artifacts/ in the root directory)")
    flag("update-baselines", "write baselines from this session's runs, and say how they differ from what was there")
    option(
        "baseline-runs",
        metavar="K",
        type=at_least(1),
        help="training seeds in a baseline that is written (default: as many as it holds, else 5)",
    )
    option(
        "run",
        metavar="RUN",
        dest="tunix_runs",
        action="append",
        default=[],
        help="make the baseline from this recorded run, by id; once for each of its runs",
    )
    flag("require", "for CI: a gate that would be skipped fails")
    flag("off", "skip every test that uses tunix-eval; names stay registered")
    parser.addini(RUN_FILES_INI, "run files to collect, as glob patterns (default: none)", type="args", default=[])


def misspelt(arguments: Sequence[str], known: Sequence[str]) -> str | None:
    """Return a message for the first argument that looks like an option of ours and is none."""
    for argument in arguments:
        if argument == "--":
            return None
        name = argument.partition("=")[0]
        # What looks like none of ours may be another plugin's; the prefix that all share makes nothing alike.
        own = name.removeprefix("--tunix").lstrip("-_")
        meant = suggestion(own, [one.removeprefix("--tunix-") for one in known])
        if name.startswith("--tunix") and name not in known and meant:
            return f"no option {name}." + meant.replace(" '", " '--tunix-")
    return None


def has_settings(root: Path) -> bool:
    """Tell cheaply whether there may be a table of ours, so that an idle session parses nothing."""
    try:
        return b"tool.tunix_eval" in (root / "pyproject.toml").read_bytes()
    except OSError:
        return False
