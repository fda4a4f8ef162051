"""Choosing the device before JAX wakes."""

from __future__ import annotations

import fnmatch
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tunix_eval.errors import DeviceError
from tunix_eval.plugin import device, probe
from tunix_eval.plugin.device import (
    Device,
    choose,
    confirm,
    cpu_threads,
    describe,
    failures_in_one_line,
    memory_bytes,
    parse_request,
)
from tunix_eval.plugin.probe import Found


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process in which JAX is not imported and nothing is set."""
    for name in (
        "JAX_PLATFORMS",
        "XLA_FLAGS",
        "CUDA_VISIBLE_DEVICES",
        "NPROC",
        "JAX_ENABLE_X64",
        "PYTEST_XDIST_WORKER",
        "PYTEST_XDIST_WORKER_COUNT",
        "TUNIX_EVAL_PROBED",
        "XLA_PYTHON_CLIENT_PREALLOCATE",
        "JAX_DEFAULT_MATMUL_PRECISION",
    ):
        # Set, then delete: what the code under test sets is undone at the end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("jax", "jax._src.xla_bridge"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("request_", ["", "cuda", "gpu:", "gpu:x", "auto:0", "cpu:0", "GPU"])
def test_a_request_that_means_nothing_is_refused(request_: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, gpu or tpu"):
        parse_request(request_)


def test_auto_without_an_accelerator_is_the_cpu_and_leaves_the_platform_to_jax() -> None:
    assert choose("auto", None) == Device("cpu", 1)
    assert "JAX_PLATFORMS" not in os.environ


def test_one_core_and_two_have_the_same_thread_pool_and_a_user_may_set_another(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setattr(os, "sched_getaffinity", lambda _: {0})
    choose("auto", None)
    assert cpu_threads() == 2
    environment.setenv("NPROC", "5")
    choose("auto", None)
    assert cpu_threads() == 5


def test_auto_follows_jax_platforms(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JAX_PLATFORMS", "cpu")
    assert choose("auto", None) == Device("cpu", 1)


def test_cpu_is_told_to_jax() -> None:
    assert choose("cpu", 3) == Device("cpu", 3)
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    assert os.environ["XLA_FLAGS"] == "--xla_force_host_platform_device_count=3"


def test_host_devices_replace_what_the_flags_said(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_other=1")
    assert choose("cpu", None).count == 8
    assert choose("cpu", 2).count == 2
    assert os.environ["XLA_FLAGS"] == "--xla_other=1 --xla_force_host_platform_device_count=2"


def test_an_accelerator_without_its_backend_says_what_is_there_and_what_to_install() -> None:
    with pytest.raises(
        DeviceError, match=r"gpu: not there; available: cpu \(\w+\)\. No JAX backend .* pip install 'jax\["
    ):
        choose("gpu", None)


def test_an_index_beyond_the_last_device_lists_what_is_there(environment: pytest.MonkeyPatch) -> None:
    with_gpus(environment, 2)
    assert choose("gpu:1", None) == Device("gpu", 1, 1, GB)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"]) == ("1", "cuda,cpu")
    environment.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert choose("gpu:1", None) == Device("gpu", 1, 1, GB)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    environment.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert choose("gpu:1", None) == Device("gpu", 1, 1, GB)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    environment.delenv("PYTEST_XDIST_WORKER")
    environment.delenv("CUDA_VISIBLE_DEVICES")
    assert choose("gpu", None) == Device("gpu", 2, None, GB)
    with pytest.raises(DeviceError, match=r"gpu:2: not there; available: gpu \(H200\), gpu \(H200\)"):
        choose("gpu:2", None)


def test_a_probe_asks_jax_in_a_process_of_its_own() -> None:
    assert probe.everything("cpu")[0].platform == "cpu"
    assert "jax" not in sys.modules
    assert probe.everything("nonsense") == [Found("cpu", device.platform.machine())]


GB = 10**9


def with_gpus(environment: pytest.MonkeyPatch, count: int) -> None:
    """Have a probe find GPUs of 1 GB, and the last one of 2."""
    found = [*[Found("gpu", "H200", GB)] * (count - 1), Found("gpu", "H200", 2 * GB if count > 1 else GB)]
    environment.setattr(probe, "accelerators", lambda jax_platform: found)


def as_worker(environment: pytest.MonkeyPatch, name: str, of: int) -> None:
    environment.setenv("PYTEST_XDIST_WORKER", name)
    environment.setenv("PYTEST_XDIST_WORKER_COUNT", str(of))


@pytest.mark.parametrize(("worker", "visible"), [("gw0", "4"), ("gw1", "5"), ("gw2", "6")])
def test_workers_get_gpus_of_their_own_where_there_are_enough(
    environment: pytest.MonkeyPatch, worker: str, visible: str
) -> None:
    with_gpus(environment, 4)
    environment.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    as_worker(environment, worker, of=3)
    assert choose("gpu", None) == Device("gpu", 1, None, GB)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in os.environ


@pytest.mark.parametrize(("worker", "visible"), [("gw0", "0"), ("gw1", "1"), ("gw2", "0")])
def test_workers_that_share_gpus_lock_theirs_and_reserve_no_memory(
    environment: pytest.MonkeyPatch, worker: str, visible: str
) -> None:
    with_gpus(environment, 2)
    as_worker(environment, worker, of=3)
    assert choose("gpu", None) == Device("gpu", 1, None, GB, f"device-gpu-{visible}")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_workers_under_a_mesh_or_an_index_share_what_was_asked_for(environment: pytest.MonkeyPatch) -> None:
    with_gpus(environment, 2)
    as_worker(environment, "gw1", of=2)
    environment.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    assert choose("gpu", None, {"data": 2}) == Device("gpu", 2, None, GB, "device-gpu-0-1")
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true", "the user's own"
    environment.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert choose("gpu:1", None) == Device("gpu", 1, 1, GB, "device-gpu-1")


def test_workers_take_the_word_of_the_controller(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(probe, "accelerator_plugins", lambda: ["cuda"])
    environment.setattr(probe, "everything", lambda jax_platform: [Found("gpu", "H200", GB)])
    assert probe.accelerators("cuda") == [Found("gpu", "H200", GB)]
    environment.setattr(probe, "everything", lambda jax_platform: pytest.fail("asked again"))
    as_worker(environment, "gw0", of=1)
    assert probe.accelerators("cuda") == [Found("gpu", "H200", GB)]


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (8, "--tunix-mesh data=8: there are 4 of cpu; --tunix-host-devices 8 shows JAX so many"),
        (3, "--tunix-mesh data=3: there are 4 of cpu, which 3 does not divide; take a divisor"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused(mesh: int, message: str) -> None:
    with pytest.raises(DeviceError) as found:
        choose("cpu", 4, {"data": mesh})
    assert str(found.value) == message


def test_a_mesh_that_fits_is_accepted() -> None:
    assert choose("cpu", 4, {"data": 2}) == Device("cpu", 4)


def test_a_container_has_the_memory_that_it_may_use(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    environment.setattr(device, "_MEMORY_LIMITS", (str(limit), str(tmp_path / "absent")))
    assert memory_bytes(Device("cpu", 1)) == physical
    limit.write_text("max\n")
    assert memory_bytes(Device("cpu", 1)) == physical
    limit.write_text("1000000\n")
    assert memory_bytes(Device("cpu", 1)) == 10**6
    assert memory_bytes(Device("gpu", 1, memory_bytes=GB)) == GB


class JaxRuntimeError(RuntimeError):
    """As the one of JAX."""

    __module__ = "jax.errors"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "INTERNAL: CUDA_ERROR_UNKNOWN: unspecified\nmore",
            "training of 'a': gpu failed: INTERNAL: CUDA_ERROR_UNKNOWN: unspecified; look whether it is still there *",
        ),
        ("RESOURCE_EXHAUSTED: 9 GB", "training of 'a': gpu is out of memory: RESOURCE_EXHAUSTED: 9 GB; rows, *"),
    ],
)
def test_a_device_that_is_gone_or_full_is_one_line(text: str, message: str) -> None:
    with pytest.raises(DeviceError) as found, failures_in_one_line("training of 'a'", Device("gpu", 1)):
        raise JaxRuntimeError(text)
    assert fnmatch.fnmatchcase(str(found.value), message)
    assert "\n" not in str(found.value)


def test_a_backend_that_does_not_wake_is_one_line() -> None:
    what = "training of 'a'"
    with pytest.raises(DeviceError, match="gpu failed: Unable"), failures_in_one_line(what, Device("gpu", 1)):
        raise RuntimeError("Unable to initialize backend 'cuda': no device")


def test_a_bug_on_the_cpu_keeps_its_traceback() -> None:
    with pytest.raises(JaxRuntimeError), failures_in_one_line("training of 'a'", Device("cpu", 1)):
        raise JaxRuntimeError("INVALID_ARGUMENT: shapes")


def test_errors_of_others_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^mine$"), failures_in_one_line("training of 'a'", Device("gpu", 1)):
        raise RuntimeError("mine")


def awake(platform: str, count: int) -> dict[str, Any]:
    jax = types.ModuleType("jax")
    jax.__dict__.update(
        default_backend=lambda: platform,
        device_count=lambda: count,
        config=types.SimpleNamespace(jax_enable_x64=False, jax_default_matmul_precision=None),
    )
    bridge = types.ModuleType("xla_bridge")
    bridge.__dict__.update(backends_are_initialized=lambda: True)
    return {"jax": jax, "jax._src.xla_bridge": bridge}


def test_too_late_is_said_unless_jax_woke_on_what_was_asked(environment: pytest.MonkeyPatch) -> None:
    for name, module in awake("cpu", 2).items():
        environment.setitem(sys.modules, name, module)
    assert choose("cpu", 2) == Device("cpu", 2)
    with pytest.raises(DeviceError, match="too late: JAX was initialised before pytest chose a device, with 2 of cpu"):
        choose("cpu", 3)


def test_jax_on_another_platform_than_planned_is_an_error(environment: pytest.MonkeyPatch) -> None:
    confirm(Device("gpu", 1))
    for name, module in awake("cpu", 1).items():
        environment.setitem(sys.modules, name, module)
    confirm(Device("cpu", 1))
    environment.setenv("JAX_ENABLE_X64", "1")
    with pytest.raises(DeviceError, match=r"jax_enable_x64 is False, which the run's identity cannot see"):
        confirm(Device("cpu", 1))
    environment.setenv("JAX_ENABLE_X64", "0")
    environment.setenv("JAX_DEFAULT_MATMUL_PRECISION", "float32")
    with pytest.raises(DeviceError, match=r"jax_default_matmul_precision is None, which the run's identity cannot see"):
        confirm(Device("cpu", 1))
    with pytest.raises(DeviceError, match="planned for gpu, but JAX runs on cpu"):
        confirm(Device("gpu", 1))


def test_the_manifest_records_platform_kind_and_cpu_features() -> None:
    found = describe(Device("cpu", 1))
    assert (found["platform"], found["count"]) == ("cpu", 1)
    assert found["kind"]
    assert found["cpu_features"] == sorted(found["cpu_features"])
