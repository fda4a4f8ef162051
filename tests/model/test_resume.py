"""Kills and threads, in processes of their own."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time

import pytest

from tunix_eval.model import FlaxTrainer
from tunix_eval.model.metrics import read_metrics
from tunix_eval.specs import ModelSpec

TRAIN = """
import os, pathlib, pickle, sys, time
from tunix_eval.model import FlaxTrainer
job, pause, cpus = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
if cpus:
    os.sched_setaffinity(0, cpus)
print(FlaxTrainer().train(job, on_progress=lambda progress: time.sleep(pause)).weights_sha256)
"""


def start(tmp_path, job, *, pause=0.0, cpus=None, **variables):
    order = tmp_path / f"{job.directory.name}.pickle"
    order.write_bytes(pickle.dumps((job, pause, cpus)))
    environment = os.environ | {"JAX_PLATFORMS": "cpu"} | variables
    return subprocess.Popen([sys.executable, "-c", TRAIN, order], env=environment, stdout=subprocess.PIPE, text=True)


def digest(process):
    output, _ = process.communicate()
    assert process.returncode == 0
    return output.strip()


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, make_job):
    killed, whole = make_job(directory="killed", steps=60), make_job(directory="whole", steps=60)
    process = start(tmp_path, killed, pause=0.05)
    while len(read_metrics(killed.directory / "metrics.jsonl")) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (killed.directory / "checkpoint-final").exists()
    result = FlaxTrainer().train(killed, on_progress=lambda progress: None)
    # How far the last finished checkpoint is behind the metrics depends on the disk.
    assert result.resumed_from is not None
    assert 0 < result.resumed_from < 60
    expected = FlaxTrainer().train(whole, on_progress=lambda progress: None)
    assert result.weights_sha256 == expected.weights_sha256
    lines, whole_lines = (read_metrics(job.directory / "metrics.jsonl") for job in (killed, whole))
    assert [line.step for line in lines] == list(range(1, 61))
    assert [line.loss for line in lines] == [line.loss for line in whole_lines]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_one_core_and_two_give_the_same_bits_with_one_size_of_thread_pool(tmp_path, make_job):
    # XLA splits long sums by the size of its pool, which NPROC sets; by default it is the number of cores.
    # Matrices large enough to be split.
    model = ModelSpec(layers=1, width=128, heads=4, mlp_width=512)
    two, one = (dataclasses.replace(make_job(directory=name, steps=4, rows=64), model=model) for name in ("two", "one"))
    core = {min(os.sched_getaffinity(0))}
    started = [start(tmp_path, two, NPROC="2"), start(tmp_path, one, cpus=core, NPROC="2")]
    assert len({digest(process) for process in started}) == 1
