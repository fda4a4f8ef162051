"""What people see: the plan's line, progress, and the table at the end. Light until there is something to show."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tunix_eval.plugin.asked_writes import say_what_was_written
from tunix_eval.plugin.items import is_gate
from tunix_eval.plugin.patterns import unmatched_patterns
from tunix_eval.plugin.state import ROWS_KEY, SESSION_ID_KEY

if TYPE_CHECKING:
    from tunix_eval.plugin.plan import Plan
    from tunix_eval.plugin.progress_file import Inbox
    from tunix_eval.records import SessionReport

_COLOURS = {"passed": "green", "failed": "red", "undecided": "yellow", "skipped": "yellow", "stopped": "yellow"}
_OUTCOME = re.compile(r"\b(passed|failed|skipped)\b|(?<=^  )(stopped|undecided)\b|^undecided\b")


def register(config: pytest.Config) -> None:
    """Name the session, and print at its end unless this process is a worker."""
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[SESSION_ID_KEY] = worker["tunix_session"]
        return
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    config.stash[SESSION_ID_KEY] = f"{now}-{os.urandom(4).hex()}"
    config.stash[ROWS_KEY] = []
    config.pluginmanager.register(Reporter(config), "tunix_eval_reporter")


class Reporter:
    """Collects rows from test reports, in the one process that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._inbox: Inbox | None = None
        self._failed: dict[str, None] = {}
        self._unmatched: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker the session's name."""
        node.workerinput["tunix_session"] = self.config.stash[SESSION_ID_KEY]

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Print the plan that a worker made (all make the same), and from then on what workers say."""
        handover = _plan_handover(self.config)
        with contextlib.suppress(FileNotFoundError):
            lines = handover.read_text(encoding="utf-8").splitlines()
            handover.unlink()
            for line in lines:
                say(self.config)(line)
            self._inbox = _inbox(self.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Make way for the line of a test."""
        if self._inbox is not None:
            self._inbox.make_way()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a test did."""
        self.config.stash[ROWS_KEY].extend(getattr(report, "tunix_rows", ()))
        if report.failed:
            self._failed[report.nodeid] = None
        if self._inbox is not None:
            self._inbox.make_way()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Show the last that workers said, and what became of baselines."""
        if self._inbox is not None:
            self._inbox.close()
        say_what_was_written(session, list(self._failed))
        if not session.config.option.tunix_off:
            self._unmatched = unmatched_patterns(session.config)
        if self._unmatched and session.config.option.tunix_require and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one table, and write the session's verdicts; nothing here can break the session."""
        for pattern in self._unmatched:
            terminalreporter.write_line(
                f"tunix-eval: tunix_run_files: '{pattern}' matches no run file below the root directory"
            )
        rows = self.config.stash[ROWS_KEY]
        if not rows:
            return
        try:
            report = session_report(rows, shorten=lambda text: with_short_paths(self.config, text))
            lines = _table(self.config, report)
            written = _write_verdicts(self.config, report) if lines else []
            closing = _closing(self.config, report, rows) if self.config.get_verbosity() >= 0 else []
            written += ["", *closing] if lines and closing else closing
        except Exception as error:  # noqa: BLE001
            reason = with_short_paths(self.config, f"no report: {type(error).__name__}: {error}")
            terminalreporter.write_line(f"tunix-eval: {reason}", red=True)
            return
        if not lines + written:
            return
        terminalreporter.write_sep("=", "tunix-eval")
        for line in lines + written:
            terminalreporter.write_line(_coloured(terminalreporter, with_short_paths(self.config, line)))


def _table(config: pytest.Config, report: SessionReport) -> list[str]:
    from tunix_eval.report import session_table

    return session_table(report, width=_width(config), methods=config.get_verbosity() > 0)


def _width(config: pytest.Config) -> int:
    return max(60, min(config.get_terminal_writer().fullwidth, 120))


def _closing(config: pytest.Config, report: SessionReport, rows: list[dict[str, Any]]) -> list[str]:
    """Return one item before and after training, and what to do next."""
    import msgspec

    from tunix_eval.plugin.closing import closing_lines
    from tunix_eval.plugin.rows import Missing, Sample

    samples = [msgspec.convert(row, Sample) for row in rows if row["row"] == "Sample"]
    missing = [msgspec.convert(row, Missing) for row in rows if row["row"] == "Missing"]
    lines = closing_lines(config, report, samples, missing, width=_width(config))
    return [with_short_paths(config, line) for line in lines]


def refuse_skipped_gate(item: pytest.Item, report: pytest.TestReport) -> None:
    """Turn the report of a gate red that a test skips by its own mark or body, where gates are required.

    An empty parameter set is such a mark. What is expected to fail, by xfail, was run.
    """
    option = item.config.option
    if (
        not (report.skipped and option.tunix_require and is_gate(item))
        or option.tunix_off
        or hasattr(report, "wasxfail")
    ):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason.removeprefix('Skipped: ')} (--tunix-require: a gate may not be skipped)"


def note_missing(config: pytest.Config, reason: str) -> None:
    """Remember that a test is skipped for want of a run, and why."""
    from tunix_eval.plugin.rows import Missing
    from tunix_eval.plugin.session import Session

    Session.open(config).rows.append(Missing(reason))


def _write_verdicts(config: pytest.Config, report: SessionReport) -> list[str]:
    """Write verdicts.json; return what to say where that fails."""
    from tunix_eval.errors import ArtifactError
    from tunix_eval.plugin.session import Session
    from tunix_eval.report import verdicts_json
    from tunix_eval.store import write_atomic

    try:
        write_atomic(Session.open(config).directory / "verdicts.json", verdicts_json(report))
    except ArtifactError as error:
        return [with_short_paths(config, f"note: {error}")]
    return []


def session_report(rows: list[dict[str, Any]], *, shorten: Callable[[str], str]) -> SessionReport:
    """Put rows together: each run, metric and note once, the last word counting, and every verdict."""
    import msgspec

    from tunix_eval.plugin.rows import BaselineRow, Note
    from tunix_eval.records import EvalRow, RunRow, SessionReport, Verdict

    kinds = {kind.__name__: kind for kind in (RunRow, EvalRow, Verdict, Note, BaselineRow)}
    runs: dict[tuple[str, str], RunRow] = {}
    evals: dict[tuple[str, str, str, str], EvalRow] = {}
    verdicts: dict[Verdict, None] = {}
    notes: dict[str, None] = {}
    for row in rows:
        if row["row"] not in kinds:
            continue
        made: object = msgspec.convert({name: value for name, value in row.items() if name != "row"}, kinds[row["row"]])
        if isinstance(made, RunRow):
            # A run that one worker trained is reused by the others; the session trained it.
            known = runs.get((made.name, made.run_id))
            if known is None or known.action == "reused":
                runs[made.name, made.run_id] = made
        elif isinstance(made, EvalRow):
            shown = evals.setdefault((made.run_name, made.run_id, made.evalset, made.metric), made)
            if shown.before is None or made.before is not None:
                evals[made.run_name, made.run_id, made.evalset, made.metric] = made
        elif isinstance(made, Verdict):
            verdicts[made] = None
        elif isinstance(made, Note):
            notes[shorten(made.text)] = None
    return SessionReport(
        runs=tuple(runs.values()), evals=tuple(evals.values()), verdicts=tuple(verdicts), notes=tuple(notes)
    )


def publish_plan(config: pytest.Config, plan: Plan) -> None:
    """In the first worker, leave the plan's first lines where the printing process finds them."""
    if getattr(config, "workerinput", {}).get("workerid") == "gw0":
        _plan_handover(config).write_text("\n".join(plan_head(config, plan)), encoding="utf-8")


def plan_head(config: pytest.Config, plan: Plan) -> list[str]:
    """Return what a session says of its plan before the first test."""
    return [with_short_paths(config, line) for line in plan.head()]


def _plan_handover(config: pytest.Config) -> Path:
    return Path(tempfile.gettempdir()) / f"tunix-eval-plan-{config.stash[SESSION_ID_KEY]}"


def print_plan(config: pytest.Config, plan: Plan | None) -> int:
    """Print the plan and return how many tests cannot run."""
    tell = say(config, always=True)
    if plan is None:
        tell("tunix-eval: no test uses it; nothing to do")
        return 0
    for line in plan.lines():
        tell(with_short_paths(config, line))
    return sum(bool(need.error) for need in plan.needs.values())


def say(config: pytest.Config, *, always: bool = False) -> Callable[[str], None]:
    """Return a function that shows a line although pytest captures, a worker's too; under -q nothing unless always."""

    def tell(line: str) -> None:
        from tunix_eval.plugin.progress import display_of, screen_of

        (screen_of(config) if always else display_of(config)).line(line)

    return tell


def _inbox(config: pytest.Config) -> Inbox | None:
    """Return what shows the lines of workers, unless nothing is to be shown."""
    from tunix_eval.plugin.progress import Screen, display_of
    from tunix_eval.plugin.progress_file import Inbox
    from tunix_eval.plugin.session import Session

    screen = display_of(config)
    if not isinstance(screen, Screen):
        return None
    inbox = Inbox(Session.open(config).directory / "progress", screen)
    inbox.open()
    return inbox


def with_short_paths(config: pytest.Config, text: str) -> str:
    """Write paths below the folder that pytest was called in as its user would, and control characters escaped."""
    from tunix_eval.figures import printable_lines
    from tunix_eval.nearby import below

    return printable_lines(below(text, config.invocation_params.dir))


def _coloured(terminal: pytest.TerminalReporter, line: str) -> str:
    def paint(match: re.Match[str]) -> str:
        return terminal._tw.markup(match[0], **{_COLOURS[match[0]]: True})

    return _OUTCOME.sub(paint, line)
