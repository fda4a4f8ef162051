"""The quickstart retrained honestly with other seeds, and damaged on purpose: each in a copy, in processes of its own.

All sessions are `pytest --tunix-train -k no_worse` against the committed baseline, and share one artifacts folder, so
that nothing is trained twice.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "quickstart"
TRACES = ROOT / "fixtures" / "addition-v1" / "traces.jsonl"
RETRAINING_COLUMNS = ("seed", "accuracy", "p", "current runs", "wall", "verdict")
REGRESSION_COLUMNS = ("damage", "how it shows", "trained", "wall", "verdict")
SEEDS = range(5, 17)
"""None of them is in the baseline."""
ALPHA = 0.05
SHOWN = 150
"""Characters of a reason."""

CONFTEST = """
import pytest

from tunix_eval.data import PlainRenderer
from tunix_eval.records import Span


class LoudRenderer(PlainRenderer):
    name = "loud"

    def render(self, conversation, *, generation_prompt):
        spans = super().render(conversation, generation_prompt=generation_prompt)
        reply = None if generation_prompt else len(conversation.turns) - 1
        return tuple(Span(span.text, control=span.control, reply=reply) for span in spans)


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_renderers():
    return {"loud": LoudRenderer()}
"""


@dataclass(frozen=True, slots=True)
class Session:
    """What a session of one gate came to."""

    exit_code: int
    outcome: str
    """passed, failed or error."""
    message: str
    """Why it did not pass; the gate's reason where it did."""
    verdict: dict[str, Any] | None
    trained: int
    wall_seconds: float


def copy_example(folder: Path) -> Path:
    """Copy the quickstart's tracked files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=EXAMPLE, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((EXAMPLE / name).read_bytes())
    return folder


def run_session(project: Path, artifacts: Path, *options: str) -> Session:
    """Run the gate of a project in a process of its own."""
    report = project / "junit.xml"
    before = set(artifacts.glob("sessions/*/verdicts.json"))
    # With "=", so that pytest does not take the folder for one of its arguments, by which it finds its root directory.
    command = [sys.executable, "-m", "pytest", "--tunix-train", "-k", "no_worse", f"--tunix-artifacts={artifacts}"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, f"--junitxml={report}", *options], cwd=project, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"{done.stdout}{done.stderr}\n{project.name}: exit {done.returncode}, expected 0 or 1")
    (case,) = ET.parse(report).iter("testcase")
    sore = case.find("error") if case.find("failure") is None else case.find("failure")
    written = set(artifacts.glob("sessions/*/verdicts.json")) - before
    record = json.loads(written.pop().read_text()) if written else {"verdicts": [], "runs": []}
    verdict = next(iter(record["verdicts"]), None)
    outcome = "passed" if sore is None else {"error": "error", "failure": "failed"}[sore.tag]
    message = verdict["reason"] if verdict else "" if sore is None else (sore.text or "").strip()
    trained = sum(run["action"] in ("trained", "resumed") for run in record["runs"])
    return Session(done.returncode, outcome, message, verdict, trained, wall)


def retrainings(folder: Path, artifacts: Path) -> Iterator[tuple[str, ...]]:
    """Give a row a seed, and one for all of them."""
    project = copy_example(folder / "honest")
    alarms = 0
    for seed in SEEDS:
        session = run_session(project, artifacts, "--tunix-seed", str(seed))
        if not session.verdict:
            raise SystemExit(f"seed {seed}: no verdict: {session.message}")
        alarms += session.outcome != "passed"
        recorded = accuracy(artifacts, session.verdict["run_id"])
        runs = "3, 2 of them fresh seeds" if ", 3 runs against" in session.message else "1"
        cells = f"{recorded:.3f}", f"{session.verdict['p_value']:.3f}", runs, f"{session.wall_seconds:.1f} s"
        yield str(seed), *cells, session.outcome
    most = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / len(SEEDS))
    share = alarms / len(SEEDS)
    within = "within" if share <= most else "not within"
    yield "all", f"{alarms} alarms of {len(SEEDS)}", "", f"share {share:.3f}, at most {most:.3f}", "", within


def accuracy(artifacts: Path, run_id: str) -> float:
    """Return a run's mean of `exact`, as its scorecard has it."""
    (card,) = (artifacts / "runs" / run_id).glob("scorecard.*.json")
    return float(json.loads(card.read_text())["metrics"]["exact"]["mean"])


Damage = Callable[[Path, Path], None]
"""Takes the copy, and the directory of an honest run."""


def edit(old: str, new: str) -> Damage:
    """Replace a line of the run file."""

    def damage(project: Path, run: Path) -> None:
        path = project / "addition.toml"
        text = path.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{path}: {old!r} stands there {text.count(old)} times, expected once")
        path.write_text(text.replace(old, new.format(run=run)))

    return damage


def dataset(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Damage:
    """Train on changed traces."""

    def damage(project: Path, run: Path) -> None:
        traces = change([json.loads(line) for line in TRACES.read_text().splitlines()])
        (project / "changed.jsonl").write_text("".join(f"{json.dumps(trace)}\n" for trace in traces))
        edit('"addition-v1"', '"changed.jsonl"')(project, run)

    return damage


def shuffled(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every trace another one's answer; its steps stay."""
    answers = [trace["final_answer"] for trace in traces]
    random.Random(0).shuffle(answers)
    return [trace | {"final_answer": answer} for trace, answer in zip(traces, answers, strict=True)]


def halved(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the first half of every trace's steps."""
    return [trace | {"steps": trace["steps"][: max(1, len(trace["steps"]) // 2)]} for trace in traces]


def other_renderer(project: Path, run: Path) -> None:
    """Judge the checkpoint of an honest run under Gemma's template."""
    lines = (project / "addition.toml").read_text().splitlines()
    keep = [line for line in lines if line.startswith(("name", "evalsets"))]
    tail = lines[lines.index("[generation]") :]
    text = [*keep, f'checkpoint = "{run}"', 'renderer = "gemma"', "", *tail]
    (project / "addition.toml").write_text("\n".join(text) + "\n")


def masked(project: Path, run: Path) -> None:
    """Put loss on every token, with a renderer that takes every span for the reply."""
    (project / "conftest.py").write_text(CONFTEST)
    edit('"plain"', '"loud"')(project, run)


DAMAGES: dict[str, tuple[str, Damage]] = {
    "a tenth of the learning rate": ("failed", edit("learning_rate = 1.5e-2", "learning_rate = 1.5e-3")),
    "a tenth of the data": ("failed", dataset(lambda traces: traces[: len(traces) // 10])),
    "shuffled answers": ("failed", dataset(shuffled)),
    "checkpoint under another renderer": ("was trained with renderer 'plain'", other_renderer),
    "mask over everything": ("breaks the law 'something is the model's'", masked),
    "rows cut at half length": ("are longer than row_tokens = 24", edit("row_tokens = 48", "row_tokens = 24")),
    "steps cut to the first half": ("failed", dataset(halved)),
}
"""Name -> how it has to show (a gate that failed, or the words by which it is refused before anything trains), and the
damage."""


def regressions(folder: Path, artifacts: Path) -> Iterator[tuple[str, ...]]:
    """Give a row a damage, after one for the quickstart as it is."""
    honest = run_session(copy_example(folder / "undamaged"), artifacts, "--tunix-seed", str(SEEDS[0]))
    yield result("none", honest, honest.outcome == "passed" and honest.verdict is not None)
    run = artifacts / "runs" / (honest.verdict or {"run_id": "missing"})["run_id"]
    for name, (expected, damage) in DAMAGES.items():
        project = copy_example(folder / name.replace(" ", "_"))
        damage(project, run)
        session = run_session(project, artifacts)
        if expected == "failed":
            good = session.outcome == "failed" and session.verdict is not None
        else:
            good = session.outcome == "error" and session.trained == 0 and expected in session.message
        yield result(name, session, good)


def result(name: str, session: Session, good: bool) -> tuple[str, ...]:
    """Return a row."""
    how = {"error": "refused", "failed": "gate failed", "passed": "gate passed"}[session.outcome]
    message = " ".join(session.message.split()).replace("|", "/")
    shown = message if len(message) <= SHOWN else f"{message[:SHOWN].rsplit(' ', 1)[0]} .."
    cells = f"{how}: {shown}", str(session.trained), f"{session.wall_seconds:.1f} s"
    return name, *cells, "within" if good else "not within"
