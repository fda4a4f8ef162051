"""The marker tunix_deterministic: a run's first steps, trained twice in folders of their own, give the same bits.

On the CPU the second training is another process, on one core alone, with programs that it compiled itself. It is the
same process on an accelerator, whose memory one process may hold, and for a trainer that cannot be sent to another one.
What stops a training stops these too, wherever they are, and nothing of them is left.
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import pytest

from tunix_eval.errors import SpecError, TrainingError
from tunix_eval.platforms import DETERMINISTIC
from tunix_eval.plugin.device import cpu_threads
from tunix_eval.plugin.markers import arguments
from tunix_eval.plugin.needs import named_spec
from tunix_eval.plugin.progress import shown
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.state import TWICE_KEY
from tunix_eval.plugin.stopping import Stopping, TrainingStopped
from tunix_eval.plugin.training import job_of
from tunix_eval.plugin.watch import Watch
from tunix_eval.records import Progress, Trainer, TrainingJob, TrainingResult
from tunix_eval.specs import RunSpec

STEPS = 20
_SECONDS_BETWEEN_LOOKS = 0.2
_COMPARED = ("loss", "grad_norm")


@dataclass(frozen=True)
class Twice:
    """What an item with the marker asks for."""

    spec: RunSpec
    steps: int


def twice_of(session: Session, item: pytest.Item) -> Twice | None:
    """Read the marker of an item; None where it has none.

    Raises:
        SpecError: the marker stands on no test function, has no run file that trains, or a number that is none.
    """
    mark = item.get_closest_marker("tunix_deterministic")
    if mark is None:
        return None
    if mark not in item.own_markers:
        raise SpecError("marker tunix_deterministic belongs on one test function: it trains at each")
    steps = arguments(mark).get("steps", STEPS)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise SpecError(f"marker tunix_deterministic takes steps, a whole number from 1 on, found {steps!r}")
    spec = named_spec(session, item, item.path.parent)
    if not isinstance(spec, RunSpec):
        raise SpecError(
            "marker tunix_deterministic trains twice and names no training: mark the test with "
            '@pytest.mark.tunix_train("name.toml")'
        )
    return Twice(spec, min(steps, session.prepared(spec).total_steps))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Train twice and compare, before the body of the test."""
    asked = item.stash.get(TWICE_KEY, None)
    if asked is not None:
        check(Session.open(item.config), asked)


def check(session: Session, asked: Twice) -> None:
    """Train a run's first steps twice, and compare what is logged and the weights.

    Raises:
        TrainingError: naming the first step, or else the first weight, that differs.
        RunStoppedError: something asked trainings to stop.
    """
    spec = asked.spec
    trainer, identity = session.trainer(spec.trainer), session.identity(spec)
    job = replace(job_of(session.prepared(spec), identity, session.store), stop_after=asked.steps)
    label, total = f"training {spec.name} twice", 2 * asked.steps
    stopping = Stopping.of(session.config)
    with (
        stopping.training(f"{label} ({identity.run_id})", f"twice-{identity.run_id}", again="run again") as watch,
        tempfile.TemporaryDirectory(prefix="tunix-eval-twice-") as folder,
    ):
        jobs = [replace(job, directory=Path(folder, name)) for name in ("once", "twice")]
        with session.on_device(label), shown(session.config, label, unit="step", total=total) as update:
            watch.begin()
            first = replace(_made(jobs[0]), stop_requested=watch.stop_requested)
            _ended(trainer.train(first, on_progress=lambda now: update(now.step)), 0, total)
            again, where = _train_again(
                trainer, _made(jobs[1]), lambda now: update(asked.steps + now.step), session, watch
            )
            _ended(again, asked.steps, total)
        _compare(trainer, jobs, f"run '{spec.name}' (seed {spec.seed}), trained twice for {asked.steps} steps, {where}")


def _ended(result: TrainingResult, before: int, total: int) -> None:
    if result.ended == "stopped":
        raise TrainingStopped(before + result.steps, total)


def _made(job: TrainingJob) -> TrainingJob:
    job.directory.mkdir()
    return job


def _train_again(
    trainer: Trainer, job: TrainingJob, on_progress: Callable[[Progress], None], session: Session, watch: Watch
) -> tuple[TrainingResult, str]:
    """Train in another process where that is possible, and say where it was."""
    platform = session.device.platform
    if platform != "cpu" or not _can_be_sent(trainer, job):
        watched = replace(job, stop_requested=watch.stop_requested)
        return trainer.train(watched, on_progress=on_progress), f"in one process on {platform}"
    end = job.directory / "end"
    job = replace(job, stop_requested=partial(_reason_in, end))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            result = pool.submit(_train_apart, trainer, job)
            while not wait([result], timeout=_SECONDS_BETWEEN_LOOKS).done:
                if watch.stop_requested():
                    end.touch()
            where = f"the second time in another process on one core, with the same pool of {cpu_threads()} threads"
            return result.result(), where
        finally:
            # The pool waits for its process.
            end.touch()


def _reason_in(mark: Path) -> str | None:
    """In the other process, tell whether the one that waits for it asks it to end."""
    return "asked" if mark.exists() else None


def _can_be_sent(trainer: Trainer, job: TrainingJob) -> bool:
    try:
        pickle.dumps((trainer, job))
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    # A conftest's classes are found only where pytest has loaded it.
    return type(trainer).__module__.rpartition(".")[2] != "conftest"


def _train_apart(trainer: Trainer, job: TrainingJob) -> TrainingResult:
    """Train in a fresh process. JAX makes its threads at first use, so they all share one core."""
    # Ctrl-C reaches every process of a terminal; the parent asks this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return trainer.train(job, on_progress=lambda now: None)


def _end_with_parent() -> None:
    """A pool's process would wait for a parent that was killed for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


# ----------------------------------------------------------------------------------------------------------- compare


def _compare(trainer: Trainer, jobs: list[TrainingJob], what: str) -> None:
    once, twice = (_lines(job.directory / "metrics.jsonl") for job in jobs)
    for first, second in zip(once, twice, strict=False):
        for name in _COMPARED:
            if first.get(name) != second.get(name):
                _differ(f"{what}: step {first['step']} has {name} {first.get(name)!r} and {second.get(name)!r}")
    if len(once) != len(twice):
        _differ(f"{what}: {len(once)} steps were logged and {len(twice)}")
    models = [trainer.load(job, "final") for job in jobs]
    if models[0].weights_sha256 != models[1].weights_sha256:
        found = _first_weight(*(getattr(model, "params", None) for model in models))
        weight = f"weight {found} differs" if found else "the weights differ"
        _differ(f"{what}: every step has the same loss, but {weight} after the last")


def _lines(path: Path) -> list[dict[str, Any]]:
    return msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())


def _first_weight(once: object, twice: object) -> str | None:
    """Return the name of the first array that differs, where a model shows its arrays by name."""
    if not isinstance(once, Mapping) or not isinstance(twice, Mapping):
        return None
    bits = ((name, np.asarray(once[name]).tobytes(), np.asarray(twice[name]).tobytes()) for name in sorted(once))
    return next((str(name) for name, first, second in bits if first != second), None)


def _differ(found: str) -> NoReturn:
    raise TrainingError(
        f"{found}; expected the same bits. A trainer must draw from the seed alone; on a GPU some operations add in no "
        f"fixed order unless XLA_FLAGS={DETERMINISTIC}=true"
    )
