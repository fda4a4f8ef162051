"""Which devices there are, found out in a process of its own, so that JAX sleeps on in this one."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

_PROBE = (
    "import json, jax; print(json.dumps([[d.platform, d.device_kind, (d.memory_stats() or {}).get('bytes_limit')] "
    "for d in jax.devices()]))"
)
_PROBED = "TUNIX_EVAL_PROBED"
"""What the controller of xdist workers found; each of them would ask a GPU again, all at once."""


@dataclass(frozen=True)
class Found:
    """A device that a probe found."""

    platform: str
    kind: str
    memory_bytes: int | None = None


def accelerator_plugins() -> list[str]:
    """Return the installed JAX backends other than the CPU's."""
    plugins = [entry.name for entry in importlib.metadata.entry_points(group="jax_plugins")]
    try:
        importlib.metadata.distribution("libtpu")
    except importlib.metadata.PackageNotFoundError:
        return plugins
    return [*plugins, "libtpu"]


def accelerators(jax_platform: str) -> list[Found]:
    """Return the devices that JAX finds on this platform, or the CPU alone where no backend is installed."""
    if "PYTEST_XDIST_WORKER" in os.environ and _PROBED in os.environ:
        return [Found(*one) for one in json.loads(os.environ[_PROBED])]
    found = everything(jax_platform) if accelerator_plugins() else [Found("cpu", platform.machine())]
    os.environ[_PROBED] = json.dumps([[one.platform, one.kind, one.memory_bytes] for one in found])
    return found


def everything(jax_platform: str = "") -> list[Found]:
    """Return what JAX finds in a process of its own; the CPU alone where it does not wake."""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if jax_platform:
        environment["JAX_PLATFORMS"] = jax_platform
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, env=environment, check=False
    )
    if result.returncode != 0:
        return [Found("cpu", platform.machine())]
    return [Found(*one) for one in json.loads(result.stdout.splitlines()[-1])]
