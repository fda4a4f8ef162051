"""What a platform promises of bits: the same ones for equal inputs, or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DETERMINISTIC = "--xla_gpu_deterministic_ops"
"""The XLA flag under which a GPU promises the same bits: sums in a fixed order, kernels not chosen by timing them."""
KEY = "unpromised_bits"
"""In the record of a device: why it does not promise the same bits; absent where it does."""


def unpromised_bits(platform: str, xla_flags: str) -> str | None:
    """Say why equal inputs may give other bits; None where they give the same ones.

    >>> unpromised_bits("gpu", "--xla_gpu_autotune_level=0")
    'gpu without --xla_gpu_deterministic_ops'
    >>> unpromised_bits("gpu", "--xla_gpu_deterministic_ops=true") is unpromised_bits("cpu", "") is None
    True
    """
    if platform == "cpu":
        return None
    if platform != "gpu":
        return f"{platform}, on which bits were never compared"
    # Of a flag that is given twice XLA takes the last.
    said = [name_value[1:] for flag in xla_flags.split() if (name_value := flag.partition("="))[0] == DETERMINISTIC]
    return None if said and said[-1] in (("", ""), ("=", "true"), ("=", "1")) else f"gpu without {DETERMINISTIC}"


def with_promise(device: Mapping[str, Any], xla_flags: str) -> dict[str, Any]:
    """Return the record of a device with the reason why it does not promise the same bits, where it does not."""
    reason = unpromised_bits(str(device.get("platform", "cpu")), xla_flags)
    return {**device} if reason is None else {**device, KEY: reason}


def unpromised_values(device: Mapping[str, Any], environment: Mapping[str, Any]) -> str | None:
    """Say why a run's values may be others where it is trained or evaluated again; None where nothing says so.

    Args:
        device: what it was trained on, as recorded; empty where that is not known.
        environment: what its completions were written under, as recorded; empty where that is not known.
    """
    writing = with_promise(environment, str(environment.get("xla_flags", "")))
    reason: str | None = device.get(KEY) or writing.get(KEY)
    return reason
