"""metrics.jsonl: a line a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tunix_eval.model.files import append, write_atomically


class MetricLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one optimizer step measured. Source: docs/formats.md, "Run directory"."""

    step: int
    """From 1."""
    epoch: float
    """Passes over the packed rows after this step."""
    loss: float | None
    """Nats per supervised token of this step's batch, before its update; None where the batch had no such token, and,
    in a step that was skipped, where it is not finite."""
    learning_rate: float
    grad_norm: float | None
    """Global norm before clipping; None as of the loss."""
    tokens: int
    """Tokens of this step's batch, padding apart."""
    tokens_per_second: float
    """Over the dispatch that the step was in, compilation apart."""
    wall_seconds: float
    """Since training began, compilation included, time between kill and resume apart."""
    device: str
    skipped: bool = False
    """Whether the step changed nothing, by not_finite or spike."""
    holdout_loss: float | None = None
    """After this step, nats per supervised token of the holdout, where it was measured."""


def read_metrics(path: Path) -> list[MetricLine]:
    """Return the leading lines that are sound and count 1, 2, 3, ...; a kill may have torn the last one."""
    if not path.is_file():
        return []
    lines: list[MetricLine] = []
    for raw in path.read_bytes().splitlines():
        try:
            line = msgspec.json.decode(raw, type=MetricLine)
        except msgspec.DecodeError:
            break
        if line.step != len(lines) + 1:
            break
        lines.append(line)
    return lines


def rewrite_metrics(path: Path, lines: Sequence[MetricLine]) -> None:
    """Replace the file by these lines."""
    write_atomically(path, _encode(lines))


def append_metrics(path: Path, lines: Sequence[MetricLine]) -> None:
    """Add lines and wait until they are on disk."""
    append(path, _encode(lines))


def _encode(lines: Sequence[MetricLine]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
