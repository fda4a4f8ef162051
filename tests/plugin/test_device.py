"""Choosing the device before JAX wakes."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from tunix_eval.errors import DeviceError
from tunix_eval.plugin import device
from tunix_eval.plugin.device import Device, choose, confirm, cpu_threads, describe, parse_request


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
    environment.setattr(device, "_probe", lambda kind: [("gpu", "H200"), ("gpu", "H200")])
    assert choose("gpu:1", None) == Device("gpu", 1, 1)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"]) == ("1", "cuda,cpu")
    environment.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert choose("gpu:1", None) == Device("gpu", 1, 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    environment.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert choose("gpu:1", None) == Device("gpu", 1, 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    environment.delenv("PYTEST_XDIST_WORKER")
    environment.delenv("CUDA_VISIBLE_DEVICES")
    assert choose("gpu", None) == Device("gpu", 2)
    with pytest.raises(DeviceError, match=r"gpu:2: not there; available: gpu \(H200\), gpu \(H200\)"):
        choose("gpu:2", None)


def test_a_probe_asks_jax_in_a_process_of_its_own() -> None:
    assert device._probe_all("cpu")[0][0] == "cpu"
    assert "jax" not in sys.modules
    assert device._probe_all("nonsense") == [("cpu", device.platform.machine())]


def awake(platform: str, count: int) -> dict[str, Any]:
    jax = types.ModuleType("jax")
    jax.__dict__.update(
        default_backend=lambda: platform,
        device_count=lambda: count,
        config=types.SimpleNamespace(jax_enable_x64=False),
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
    with pytest.raises(DeviceError, match="planned for gpu, but JAX runs on cpu"):
        confirm(Device("gpu", 1))


def test_the_manifest_records_platform_kind_and_cpu_features() -> None:
    found = describe(Device("cpu", 1))
    assert (found["platform"], found["count"]) == ("cpu", 1)
    assert found["kind"]
    assert found["cpu_features"] == sorted(found["cpu_features"])
