"""The device, chosen before JAX wakes. Standard library only: JAX is asked in a subprocess, or not at all."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_eval.errors import DeviceError

KINDS = ("auto", "cpu", "gpu", "tpu")
_REQUEST = re.compile(r"(auto|cpu|gpu|tpu)(?::(\d+))?")
_JAX_PLATFORM = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
_VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}
_PROBE = "import json, jax; print(json.dumps([[d.platform, d.device_kind] for d in jax.devices()]))"
_NUMERIC_VARIABLES = (
    "JAX_DEFAULT_DTYPE_BITS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_ENABLE_X64",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_THREEFRY_PARTITIONABLE",
    "NVIDIA_TF32_OVERRIDE",
)
_TRUE = {"1", "true", "t", "yes", "y", "on"}
_INSTALL = {"gpu": "pip install 'jax[cuda13]'", "tpu": "pip install 'jax[tpu]'"}


@dataclass(frozen=True)
class Device:
    """What a session runs on."""

    platform: str
    """cpu, gpu or tpu."""
    count: int
    """Devices that JAX will see."""
    index: int | None = None
    """The one that was asked for; None means all."""


def parse_request(request: str) -> tuple[str, int | None]:
    """Split `gpu:1` into kind and index.

    >>> parse_request("gpu:1"), parse_request("auto")
    (('gpu', 1), ('auto', None))
    """
    match = _REQUEST.fullmatch(request)
    if not match or (match[2] and match[1] in {"auto", "cpu"}):
        raise DeviceError(
            f"--tunix-device '{request}': expected auto, cpu, gpu or tpu; gpu and tpu take an index, gpu:1"
        )
    return match[1], int(match[2]) if match[2] else None


def choose(request: str, host_devices: int | None) -> Device:
    """Choose the device, set what JAX reads when it wakes, and check that an accelerator asked for is there.

    Raises:
        DeviceError: it is not there (the message lists what is), or JAX woke too early on another one.
    """
    kind, index = parse_request(request)
    if kind == "auto":
        kind = _automatic()
    if kind != "cpu" and index is not None and "PYTEST_XDIST_WORKER" in os.environ:
        count = 1  # The controller has checked, and shows its workers this one alone.
    elif kind != "cpu":
        found = _probe(kind)
        available = [name for name, _ in found]
        if kind not in available or (index is not None and index >= available.count(kind)):
            raise DeviceError(_not_there(request, kind, found))
        if index is not None:
            visible = [name for name in os.environ.get(_VISIBLE[kind], "").split(",") if name]
            os.environ[_VISIBLE[kind]] = visible[index] if visible else str(index)
        count = 1 if index is not None else available.count(kind)
    else:
        count = host_devices or _host_devices_in_flags() or 1
        _set_host_devices(host_devices)
    _announce(request, kind, count)
    return Device(kind, count, index)


def describe(device: Device) -> dict[str, Any]:
    """Return what the manifest says of a device: platform, kind, count and CPU features."""
    jax = sys.modules.get("jax")
    kinds = sorted({found.device_kind for found in jax.devices()}) if jax else [platform.machine()]
    return {
        "platform": device.platform,
        "kind": ", ".join(kinds),
        "count": device.count,
        "cpu_features": _cpu_features(),
    }


def confirm(device: Device) -> None:
    """Check, once JAX is awake, that it runs on the device that the session was planned for."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != device.platform:
        raise DeviceError(
            f"the session was planned for {device.platform}, but JAX runs on {jax.default_backend()}; "
            f"something initialised JAX first, or JAX_PLATFORMS says otherwise"
        )
    if jax is not None and jax.config.jax_enable_x64 != (os.environ.get("JAX_ENABLE_X64", "").lower() in _TRUE):
        raise DeviceError(
            f"jax.config.jax_enable_x64 is {jax.config.jax_enable_x64}, which the run's identity cannot see; "
            "set the environment variable JAX_ENABLE_X64 in place of jax.config.update"
        )


def _automatic() -> str:
    """Return cpu unless JAX_PLATFORMS names another, or an accelerator plugin is installed and finds a device."""
    named = os.environ.get("JAX_PLATFORMS", "").split(",")[0].strip()
    if named:
        return {"cuda": "gpu", "rocm": "gpu", "gpu": "gpu", "tpu": "tpu"}.get(named, "cpu")
    found = {name for name, _ in _probe_all()} if _accelerator_plugins() else set()
    return next((kind for kind in ("tpu", "gpu") if kind in found), "cpu")


def _accelerator_plugins() -> list[str]:
    """Return the installed JAX backends other than the CPU's."""
    plugins = [entry.name for entry in importlib.metadata.entry_points(group="jax_plugins")]
    try:
        importlib.metadata.distribution("libtpu")
    except importlib.metadata.PackageNotFoundError:
        return plugins
    return [*plugins, "libtpu"]


def _probe(kind: str) -> list[tuple[str, str]]:
    """Return the devices that JAX finds when asked for this kind, or the CPU alone where no backend is installed."""
    return _probe_all(_JAX_PLATFORM[kind]) if _accelerator_plugins() else [("cpu", platform.machine())]


def _probe_all(jax_platform: str = "") -> list[tuple[str, str]]:
    environment = os.environ | {"JAX_PLATFORMS": jax_platform} if jax_platform else dict(os.environ)
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, env=environment, check=False
    )
    if result.returncode != 0:
        return [("cpu", platform.machine())]
    return [(name, kind) for name, kind in json.loads(result.stdout.splitlines()[-1])]


def _not_there(request: str, kind: str, found: list[tuple[str, str]]) -> str:
    there = ", ".join(f"{name} ({device_kind})" for name, device_kind in found)
    install = "" if _accelerator_plugins() else f" No JAX backend for it is installed: {_INSTALL[kind]}."
    return f"--tunix-device {request}: not there; available: {there}.{install}"


def _set_host_devices(count: int | None) -> None:
    if count is not None:
        option = "--xla_force_host_platform_device_count="
        flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(option)]
        os.environ["XLA_FLAGS"] = " ".join([*flags, f"{option}{count}"])


def _host_devices_in_flags() -> int | None:
    match = re.search(r"--xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    return int(match[1]) if match else None


def cpu_threads() -> int:
    """Return the size of XLA's thread pool on the CPU, by which it splits long sums: another size gives other bits."""
    asked = os.environ.get("NPROC", "")
    if asked and not asked.isdecimal():
        raise DeviceError(f"NPROC is '{asked}', expected a number of threads; unset it or set it to one")
    return int(asked or 0) or len(os.sched_getaffinity(0))


def numeric_settings() -> dict[str, str]:
    """Return the environment variables that change what JAX computes."""
    return {name: os.environ[name] for name in _NUMERIC_VARIABLES if name in os.environ}


def _announce(request: str, kind: str, count: int) -> None:
    """Tell JAX, in the environment and, where it is imported but asleep, in its configuration."""
    jax = sys.modules.get("jax")
    if jax is not None and _is_awake():
        awake = jax.default_backend(), jax.device_count()
        if awake[0] != kind or (kind == "cpu" and awake[1] != count):
            raise DeviceError(
                f"--tunix-device {request}: too late: JAX was initialised before pytest chose a device, "
                f"with {awake[1]} of {awake[0]}; move what calls JAX at import time out of conftest.py or the plugin"
            )
        return
    # A pool of two on one core gives the bits of two cores.
    os.environ.setdefault("NPROC", str(max(2, cpu_threads())))
    if request != "auto":
        os.environ["JAX_PLATFORMS"] = _JAX_PLATFORM[kind] if kind == "cpu" else f"{_JAX_PLATFORM[kind]},cpu"
        if jax is not None:
            jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])


def _is_awake() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bool(bridge is not None and bridge.backends_are_initialized())


def _cpu_features() -> list[str]:
    """Return the vector instruction sets, which decide how sums are ordered, as the kernel names them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    vector = re.compile(r"(sse|avx|fma|amx|bmi|neon|asimd|sve)")
    return sorted(flag for flag in match[1].split() if vector.match(flag)) if match else []
