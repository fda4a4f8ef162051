"""The device, chosen before JAX wakes. Standard library only: JAX is asked in a subprocess, or not at all."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunix_eval.errors import DeviceError
from tunix_eval.platforms import with_promise
from tunix_eval.plugin import probe

KINDS = ("auto", "cpu", "gpu", "tpu")
_REQUEST = re.compile(r"(auto|cpu|gpu|tpu)(?::(\d+))?")
_JAX_PLATFORM = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}
_VISIBLE = {"gpu": "CUDA_VISIBLE_DEVICES", "tpu": "TPU_VISIBLE_CHIPS"}
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""What a container may use, in cgroups of version 2 and 1."""
_NUMERIC_VARIABLES = (
    "JAX_DEFAULT_DTYPE_BITS",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_DEFAULT_PRNG_IMPL",
    "JAX_ENABLE_X64",
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_THREEFRY_PARTITIONABLE",
    "NVIDIA_TF32_OVERRIDE",
)
_NO_BACKEND = re.compile(r"Unable to initialize backend|Backend '.*' failed to initialize|No visible .* devices")
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
    memory_bytes: int | None = None
    """What JAX may use of the smallest; None on the CPU, and where the backend does not say."""
    lock: str | None = None
    """Taken around training and generation where xdist workers share an accelerator, which may hold one at a time."""


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


def choose(request: str, host_devices: int | None, mesh: Mapping[str, int] | None = None) -> Device:
    """Choose the device, set what JAX reads when it wakes, and check that what was asked for is there.

    An xdist worker gets an accelerator of its own where there are enough; else workers share them, one after another.

    Raises:
        DeviceError: it is not there (the message lists what is), the mesh does not fit, or JAX woke too early on
            another one.
    """
    kind, index = parse_request(request)
    if kind == "auto":
        kind = _automatic()
    if kind == "cpu":
        device = Device(kind, host_devices or _host_devices_in_flags() or 1)
        _set_host_devices(host_devices)
    else:
        device = _accelerator(request, kind, index, mesh)
    _check_mesh(mesh, device)
    _announce(request, kind, device.count)
    return device


def _accelerator(request: str, kind: str, index: int | None, mesh: Mapping[str, int] | None) -> Device:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    found = probe.accelerators(_JAX_PLATFORM[kind])
    own = [one for one in found if one.platform == kind]
    if not own or (index is not None and worker is None and index >= len(own)):
        raise DeviceError(_not_there(request, kind, found))
    visible = [name for name in os.environ.get(_VISIBLE[kind], "").split(",") if name]
    visible = visible or [str(number) for number in range(len(own))]
    # The controller has shown its workers the one that was asked for, and no other.
    chosen = visible[:1] if index is not None and worker else [visible[index]] if index is not None else visible
    lock = None
    if worker is not None:
        alone = len(chosen) == 1 or mesh is not None
        chosen = chosen if alone else [chosen[_worker_number(worker) % len(chosen)]]
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        if workers > 1 and (alone or workers > len(visible)):
            lock = f"device-{kind}-{'-'.join(chosen)}"
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if worker is not None or index is not None:
        os.environ[_VISIBLE[kind]] = ",".join(chosen)
    memory = min((one.memory_bytes for one in own if one.memory_bytes is not None), default=None)
    return Device(kind, len(chosen), index, memory, lock)


def _worker_number(worker: str) -> int:
    return int(re.sub(r"\D", "", worker) or 0)


def _check_mesh(mesh: Mapping[str, int] | None, device: Device) -> None:
    for axis, count in (mesh or {}).items():
        there = f"there {'is' if device.count == 1 else 'are'} {device.count} of {device.platform}"
        if count > device.count:
            more = f"; --tunix-host-devices {count} shows JAX so many" if device.platform == "cpu" else ""
            raise DeviceError(f"--tunix-mesh {axis}={count}: {there}{more}")
        if device.count % count:
            raise DeviceError(f"--tunix-mesh {axis}={count}: {there}, which {count} does not divide; take a divisor")


def memory_bytes(device: Device) -> int | None:
    """Return the memory that a training may use; None where nothing says."""
    if device.platform != "cpu":
        return device.memory_bytes
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, _MEMORY_LIMITS):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(path.read_text()))
    return min(limits)


@contextlib.contextmanager
def failures_in_one_line(what: str, device: Device) -> Iterator[None]:
    """Turn an error of JAX's runtime, such as a device that is gone or out of memory, into one line.

    Raises:
        DeviceError: saying what was done, on what, and the first line of the error.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error).strip().partition("\n")[0]
        full = "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
        ours = type(error).__module__.startswith("jax") or _NO_BACKEND.match(text)
        # The CPU does not go away; what else fails there is a bug, and its traceback says where.
        if not ours or (device.platform == "cpu" and not full):
            raise
        help_ = (
            "rows, row_tokens or the model are too large for it, or another process uses it"
            if full
            else "look whether it is still there (nvidia-smi); a training goes on from its newest checkpoint"
        )
        happened = "is out of memory" if full else "failed"
        raise DeviceError(f"{what}: {device.platform} {happened}: {text}; {help_}") from error


def describe(device: Device) -> dict[str, Any]:
    """Return what the manifest says of a device: platform, kind, count, CPU features, and what it does not promise."""
    jax = sys.modules.get("jax")
    kinds = sorted({found.device_kind for found in jax.devices()}) if jax else [platform.machine()]
    described = {
        "platform": device.platform,
        "kind": ", ".join(kinds),
        "count": device.count,
        "cpu_features": _cpu_features(),
    }
    return with_promise(described, os.environ.get("XLA_FLAGS", ""))


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
    precision = jax.config.jax_default_matmul_precision if jax is not None else None
    if precision != os.environ.get("JAX_DEFAULT_MATMUL_PRECISION") and jax is not None:
        raise DeviceError(
            f"jax.config.jax_default_matmul_precision is {precision}, which the run's identity cannot see; set the "
            "environment variable JAX_DEFAULT_MATMUL_PRECISION in place of jax.config.update"
        )


def _automatic() -> str:
    """Return cpu unless JAX_PLATFORMS names another, or an accelerator plugin is installed and finds a device."""
    named = os.environ.get("JAX_PLATFORMS", "").split(",")[0].strip()
    if named:
        return {"cuda": "gpu", "rocm": "gpu", "gpu": "gpu", "tpu": "tpu"}.get(named, "cpu")
    found = {one.platform for one in probe.everything()} if probe.accelerator_plugins() else set()
    return next((kind for kind in ("tpu", "gpu") if kind in found), "cpu")


def _not_there(request: str, kind: str, found: list[probe.Found]) -> str:
    there = ", ".join(f"{one.platform} ({one.kind})" for one in found)
    install = "" if probe.accelerator_plugins() else f" No JAX backend for it is installed: {_INSTALL[kind]}."
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
