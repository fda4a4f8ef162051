"""The end of a session's table: one item before and after training, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

import pytest

from tunix_eval.figures import printable
from tunix_eval.plugin.gating import AGAINST_BASELINE
from tunix_eval.plugin.rows import Missing, Sample
from tunix_eval.records import SessionReport
from tunix_eval.report import cut

_NEXT = "next: "
_SHOWN_LINES = 6
"""Of a reply."""


def closing_lines(
    config: pytest.Config, report: SessionReport, samples: Sequence[Sample], missing: Sequence[Missing], *, width: int
) -> list[str]:
    """Return what stands at the end of a session's table; nothing where nothing was trained, skipped or failed."""
    trained = {run.run_id for run in report.runs if run.action in ("trained", "resumed")}
    sample = next((one for one in samples if one.run_id in trained), None)
    lines = _sample_lines(sample, width) if sample else []
    reasons = Counter(one.text.partition(";")[0] for one in missing)
    lines += [f"{count} test{'s'[: count != 1]} skipped: {reason}" for reason, count in reasons.items()]
    steps = [_train_command(config)] if missing else _next_steps(config, report, sample)
    return lines + [head + step for head, step in zip([_NEXT, *[" " * len(_NEXT)] * len(steps)], steps, strict=False)]


def _sample_lines(sample: Sample, width: int) -> list[str]:
    texts = {"prompt": sample.prompt, "before": sample.before, "after": sample.after}
    lines = [f"{printable(sample.run_name)}: 1 of its {sample.n_items} items, {printable(sample.item_id)}"]
    for name, text in texts.items():
        lines += [
            f"  {head:<8}{line}" for head, line in zip([name, *[""] * _SHOWN_LINES], _shortened(text), strict=False)
        ]
    # A path that is cut names nothing.
    return [*(cut(line, width) for line in lines), f"  report  {sample.report}"]


def _shortened(text: str) -> list[str]:
    """Return the lines of a reply, of a long one the first and the last."""
    lines = [printable(line) for line in text.split("\n")]
    return lines if len(lines) <= _SHOWN_LINES else [*lines[:3], "..", *lines[-2:]]


def _next_steps(config: pytest.Config, report: SessionReport, sample: Sample | None) -> list[str]:
    gates = [verdict for verdict in report.verdicts if verdict.rule in AGAINST_BASELINE]
    failed = [verdict for verdict in gates if verdict.outcome == "failed" and verdict.delta is not None]
    if failed:
        return [
            f"`tunix-eval runs show {failed[0].run_id[:8]}` says what it was made from",
            "if the change is meant: --tunix-update-baselines writes the baseline again",
        ]
    if sample is None or config.option.tunix_update_baselines:
        return []
    if gates:
        return [f"change a key of {sample.run_file} and run this again"]
    return [
        f'hold it there with a gate, rule = "no_worse", in {sample.run_file}',
        "and --tunix-update-baselines once",
    ]


def _train_command(config: pytest.Config) -> str:
    """Return this session's command, training."""
    arguments = [one for one in config.invocation_params.args if one != "--tunix-train"]
    return shlex.join(["pytest", "--tunix-train", *map(str, arguments)])
