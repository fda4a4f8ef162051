"""The session at a glance: runs, evaluations and verdicts as plain lines, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from tunix_eval.figures import decimals, fixed, interval_text, p_text, printable
from tunix_eval.records import EvalRow, RunRow, SessionReport, Verdict
from tunix_eval.report.layout import columns, cut, paragraph
from tunix_eval.report.words import how, in_words

_Row = TypeVar("_Row", EvalRow, Verdict)
_WITH_INTERVAL = 76
"""Columns that a gate's line needs for its interval."""
_BELOW = " " * 4
"""Before what belongs to the row above."""


def session_table(report: SessionReport, *, width: int = 80, methods: bool = False) -> list[str]:
    """Return the lines of the session's table, none longer than the width (of 60 and more), without colour.

    With `methods`, how each verdict was found is said too.
    """
    blocks = [
        _runs(report.runs, width) if report.runs else [],
        _evals(report.evals, width) if report.evals else [],
        _verdicts(report.verdicts, width, methods=methods) if report.verdicts else [],
        _notes(report, width),
        _undecided(report.verdicts, width),
    ]
    return [line for block in blocks if block for line in ("", *block)][1:]


def verdicts_json(report: SessionReport) -> str:
    """Write the session's report as JSON, byte-stable."""
    table = {"format_version": 1} | msgspec.to_builtins(report)
    return msgspec.json.format(msgspec.json.encode(table), indent=2).decode() + "\n"


def _runs(runs: Sequence[RunRow], width: int) -> list[str]:
    cells = [("runs", "", "seed", "steps", "loss", "time", "")]
    cells += [
        (
            f"  {printable(run.name)}",
            printable(run.run_id)[:8],
            str(run.seed),
            _steps(run),
            fixed(run.loss, 4),
            "" if run.wall_seconds is None else _time(run.wall_seconds),
            run.action,
        )
        for run in runs
    ]
    header, *lines = columns(cells, "<<>>>><", width)
    shown = [header]
    for run, line in zip(runs, lines, strict=True):
        shown += [line, *paragraph(_course(run), width, first=_BELOW, rest=_BELOW)]
    return shown


def _course(run: RunRow) -> str:
    """Say what a run did other than all of its steps in one go."""
    parts = [f"went on from step {run.resumed_from}"] if run.resumed_from else []
    if run.status == "truncated":
        parts.append(f"stopped at {run.steps} of {run.total_steps} by --tunix-max-steps")
    elif run.ended == "early_stopping":
        best = "" if run.best_step is None else f", best at step {run.best_step}"
        parts.append(f"stopped early at step {run.steps} of {run.total_steps}{best}, by early_stopping")
    return "; ".join(parts)


def _steps(run: RunRow) -> str:
    if run.steps is None:
        return ""
    return f"{run.steps}" if run.steps == run.total_steps else f"{run.steps}/{run.total_steps}"


def _evals(rows: Sequence[EvalRow], width: int) -> list[str]:
    cells = [("evaluations", "items", "before -> after", "95% interval")]
    for row in rows:
        places = decimals(row.before, row.after)
        skipped = row.n_items - row.n_scored
        cells.append(
            (
                f"  {printable(row.metric)}" + (f" ({skipped} without a value)" if skipped else ""),
                str(row.n_items),
                _change(row.before, row.after, places),
                interval_text(row.ci95, places) if row.ci95 else "",
            )
        )

    def repeats(row: EvalRow) -> list[str]:
        chances = [f"pass@{k} {fixed(chance)}" for k, chance in row.pass_at_k.items()]
        text = ", ".join([f"{row.repeats} completions an item", *chances])
        return paragraph(text, width, first=_BELOW, rest=_BELOW) if row.repeats > 1 else []

    return _grouped(rows, columns(cells, "<>>>", width), width, below=repeats)


def _verdicts(verdicts: Sequence[Verdict], width: int, *, methods: bool) -> list[str]:
    levels = {f"{100 * (1 - 2 * verdict.alpha):g}% " for verdict in verdicts if verdict.alpha is not None}
    cells = [("gates", "ref -> now", "delta", f"{levels.pop() if len(levels) == 1 else ''}interval", "p")]
    outcome = max(len("skipped"), *(len(verdict.outcome) for verdict in verdicts))
    widest = max(len(printable(verdict.rule)) for verdict in verdicts)
    for verdict in verdicts:
        places = decimals(verdict.reference, verdict.current, verdict.delta)
        cells.append(
            (
                f"  {verdict.outcome:<{outcome}} {printable(verdict.rule):<{widest}} {printable(verdict.metric)}",
                _change(verdict.reference, verdict.current, places),
                fixed(verdict.delta, places, signed=True),
                interval_text(verdict.interval, places) if verdict.interval else "",
                "" if verdict.p_value is None else p_text(verdict.p_value),
            )
        )

    def below(verdict: Verdict) -> list[str]:
        texts = [in_words(verdict), how(verdict) if methods else ""]
        return [line for text in texts for line in paragraph(printable(text), width, first=_BELOW, rest=_BELOW)]

    if width < _WITH_INTERVAL:
        lines = columns([(*row[:3], row[4]) for row in cells], "<>>>", width)
    else:
        lines = columns(cells, "<>>>>", width)
    return _grouped(verdicts, lines, width, below=below)


def _notes(report: SessionReport, width: int) -> list[str]:
    """Say each note once, with the gates that it belongs to."""
    gates: dict[str, dict[str, None]] = {note: {} for note in report.notes}
    for verdict in report.verdicts:
        for note in verdict.notes:
            gates.setdefault(note, {})[f"{verdict.run_name}/{verdict.metric} {verdict.rule}"] = None
    lines = []
    for note, names in gates.items():
        text = f"{', '.join(names)}: {note}" if names else note
        lines += paragraph(printable(text), width, first="note: ", rest="      ")
    return lines


def _undecided(verdicts: Sequence[Verdict], width: int) -> list[str]:
    """Say at the very end which gates could not have failed, so that nobody takes them for passed."""
    gates = [f"{one.run_name}/{one.metric} {one.rule}" for one in verdicts if one.outcome == "undecided"]
    if not gates:
        return []
    counted = (
        "1 gate could not have failed and has"
        if len(gates) == 1
        else f"{len(gates)} gates could not have failed and have"
    )
    text = f"{counted} not passed ({', '.join(dict.fromkeys(gates))}); under --tunix-require this fails"
    return paragraph(printable(text), width, first="undecided: ", rest="           ")


def _grouped(
    rows: Sequence[_Row], lines: Sequence[str], width: int, below: Callable[[_Row], list[str]] | None = None
) -> list[str]:
    """Put a heading before the rows of one run and evalset, and what belongs below a row after it."""
    header, *body = lines
    grouped, last = [header], ""
    for row, line in zip(rows, body, strict=True):
        # Of a stopped run it may not be known what it was to be judged on.
        heading = printable(f"{row.run_name} on {row.evalset}" if row.evalset else row.run_name)
        grouped += [line] if heading == last else [cut(heading, width), line]
        grouped += below(row) if below else []
        last = heading
    return grouped


def _change(before: float | None, after: float | None, places: int) -> str:
    if after is None:
        return ""
    return fixed(after, places) if before is None else f"{fixed(before, places)} -> {fixed(after, places)}"


def _time(seconds: float) -> str:
    """Write a duration.

    >>> _time(20.44), _time(192.4)
    ('20.4 s', '3 min 12 s')
    """
    whole = round(seconds)
    return f"{seconds:.1f} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
