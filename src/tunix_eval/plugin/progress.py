"""A line every ten seconds of training."""

from __future__ import annotations

import time
from collections.abc import Callable

from tunix_eval.records import Progress

SECONDS_BETWEEN_LINES = 10.0


def every_ten_seconds(name: str, notify: Callable[[str], None]) -> Callable[[Progress], None]:
    """Return a function that a trainer calls as often as it likes."""
    last = time.monotonic()

    def on_progress(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            notify(
                f"training {name}: step {progress.step} of {progress.total_steps}, loss {progress.loss:.4f}, "
                f"{progress.tokens_per_second:,.0f} tokens/s"
            )

    return on_progress
