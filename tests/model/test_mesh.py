"""Rows split over devices, which the CPU only shows in a process of its own."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from conftest import counting_rows
from tunix_eval.errors import SpecError, TrainingError
from tunix_eval.model import FlaxTrainer
from tunix_eval.model.mesh import placement

TRAIN = """
import json, pathlib, pickle, sys
import jax.numpy as jnp
from tunix_eval.model import FlaxTrainer, initial_params
from tunix_eval.model.config import DecoderConfig
from tunix_eval.model.dispatches import Loop
from tunix_eval.model.metrics import read_metrics
from tunix_eval.model.run_directory import RunDirectory
from tunix_eval.model.steps import initial_state, train_steps
found = {}
for job in pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()):
    result = FlaxTrainer().train(job, on_progress=lambda progress: None)
    lines = read_metrics(job.directory / "metrics.jsonl")
    found[job.directory.name] = {
        "loss": [line.loss for line in lines],
        "grad_norm": [line.grad_norm for line in lines],
        "holdout_loss": [line.holdout_loss for line in lines if line.holdout_loss is not None],
        "resumed_from": result.resumed_from,
        "final": FlaxTrainer().load(job, "final").weights_sha256 == result.weights_sha256,
    }
    loop = Loop(job, DecoderConfig.from_spec(job.model, vocab_size=job.vocab_size))
    program = train_steps(loop.config, job.training, loop.total_steps, loop.placed)
    drawn = initial_state(initial_params(loop.config, job.seed), job.training, loop.total_steps)
    state, _ = RunDirectory(loop).start(drawn)
    compiled = program.lower(state, loop.batches(0, 1)[0], jnp.int32(1)).compile().as_text()
    # Tokens [N, A, B, T] as one device has them.
    found[job.directory.name]["rows"] = [rows for rows in (1, 2, 8) if f"s32[4,1,{rows},12]" in compiled]
    found[job.directory.name]["sums"] = "all-reduce(" in compiled
print(json.dumps(found))
"""


def test_rows_over_four_devices_give_the_losses_of_one(tmp_path, make_job):
    def job(directory, mesh, **training):
        made = make_job(directory=directory, rows=8, steps=16, checkpoint_steps=8, **training)
        return dataclasses.replace(made, mesh=mesh, holdout=counting_rows(6))

    four = job("four", {"data": 4})
    jobs = [
        job("one", {}),
        dataclasses.replace(four, stop_after=12),
        # Goes on from the checkpoint at 8.
        dataclasses.replace(four),
        job("two", {"data": 2}, accumulate=4),
    ]
    order = tmp_path / "jobs.pickle"
    order.write_bytes(pickle.dumps(jobs))
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = subprocess.run([sys.executable, "-c", TRAIN, order], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["four"]["resumed_from"] == 8
    for name in ("four", "two"):
        assert found[name]["final"]
        for measure in ("loss", "grad_norm", "holdout_loss"):
            np.testing.assert_allclose(found[name][measure], found["one"][measure], rtol=1e-3)
    assert found["one"]["loss"][-1] < found["one"]["loss"][0] * 0.8
    assert (found["four"]["rows"], found["four"]["sums"]) == ([2], True)
    assert (found["one"]["rows"], found["one"]["sums"]) == ([8], False)


def test_one_device_is_no_mesh():
    assert placement({}) is placement({"data": 1}) is None


def test_rows_that_the_devices_do_not_divide_are_refused(make_job):
    job = dataclasses.replace(make_job(rows=6), mesh={"data": 4})
    with pytest.raises(SpecError, match=r"training\.rows: 6 rows are not divided by the 4 devices of --tunix"):
        FlaxTrainer().train(job, on_progress=lambda progress: None)
    job = dataclasses.replace(make_job(rows=8, accumulate=4), mesh={"data": 4})
    with pytest.raises(SpecError, match=r"8 rows in 4 micro-batches of 2 are not divided by the 4 devices"):
        FlaxTrainer().train(job, on_progress=lambda progress: None)


def test_more_devices_than_there_are_and_unknown_axes_are_refused():
    with pytest.raises(TrainingError, match=r"mesh data=512: there are \d+ devices"):
        placement({"data": 512})
    with pytest.raises(SpecError, match=r"mesh: no axis 'model'; rows are split over data"):
        placement({"model": 2})
