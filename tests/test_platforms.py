"""What a platform promises of bits."""

from __future__ import annotations

import pytest

from tunix_eval.platforms import unpromised_bits, unpromised_values, with_promise

GPU = "gpu without --xla_gpu_deterministic_ops"


@pytest.mark.parametrize(
    ("platform", "flags", "reason"),
    [
        ("cpu", "", None),
        ("gpu", "", GPU),
        ("gpu", "--xla_gpu_deterministic_ops=true", None),
        ("gpu", "--xla_gpu_autotune_level=0 --xla_gpu_deterministic_ops", None),
        ("gpu", "--xla_gpu_deterministic_ops=false", GPU),
        ("gpu", "--xla_gpu_deterministic_ops=true --xla_gpu_deterministic_ops=false", GPU),
        ("gpu", "--xla_gpu_exclude_nondeterministic_ops=true", GPU),
        ("tpu", "--xla_gpu_deterministic_ops=true", "tpu, on which bits were never compared"),
    ],
)
def test_a_gpu_promises_the_same_bits_under_one_flag_and_a_tpu_never_did(
    platform: str, flags: str, reason: str | None
) -> None:
    assert unpromised_bits(platform, flags) == reason
    device = {"platform": platform, "count": 1}
    assert with_promise(device, flags) == device | ({} if reason is None else {"unpromised_bits": reason})
    # Trained there, or only evaluated there.
    assert unpromised_values(with_promise(device, flags), {}) == reason
    assert unpromised_values({"platform": "cpu"}, {"platform": platform, "xla_flags": flags}) == reason


def test_of_completions_that_something_else_wrote_nothing_is_known() -> None:
    assert unpromised_values({}, {}) is None
