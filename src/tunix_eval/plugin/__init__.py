"""The pytest plugin. Loading it imports pytest and the standard library alone; the rest waits for a test of ours."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tunix_eval.errors import DeviceError, RunMissingError, TunixEvalError
from tunix_eval.plugin import hookspecs, items, not_come_to, options, reporting, stopping
from tunix_eval.plugin.fixtures import (
    _tunix_format,
    _tunix_need,
    tunix_batches,
    tunix_case,
    tunix_completions,
    tunix_dataset,
    tunix_device,
    tunix_gate,
    tunix_renderer,
    tunix_run,
    tunix_scorecard,
    tunix_sequences,
    tunix_session,
    tunix_snapshot,
    tunix_tokenizer,
    tunix_train,
    tunix_turns,
)
from tunix_eval.plugin.items import find_untaken_gates
from tunix_eval.plugin.state import DESELECTED_KEY, DEVICE_KEY, GATE_KEY, PLAN_KEY, SESSION_KEY

__all__ = [
    "_tunix_format",
    "_tunix_need",
    "tunix_batches",
    "tunix_case",
    "tunix_completions",
    "tunix_dataset",
    "tunix_device",
    "tunix_gate",
    "tunix_renderer",
    "tunix_run",
    "tunix_scorecard",
    "tunix_sequences",
    "tunix_session",
    "tunix_snapshot",
    "tunix_tokenizer",
    "tunix_train",
    "tunix_turns",
]


# ------------------------------------------------------------------------------------------------------- configure


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini values."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks by which others add names."""
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Refuse a misspelt option by name, and choose the device before a conftest can wake JAX."""
    known = [name for option in parser.getgroup("tunix-eval").options for name in option.names()]
    wrong = options.misspelt(args, known)
    if wrong:
        raise pytest.UsageError(wrong)
    for word, value in pairwise(args):
        # pytest takes an existing folder after an option that it does not know yet for a place of tests.
        if word == "--tunix-artifacts" and Path(value).exists():
            raise pytest.UsageError(
                f"write --tunix-artifacts={value}: pytest takes a folder that stands alone for tests"
            )
    asked = options.Options.of(early_config.known_args_namespace)
    if not asked.off and (asked.device, asked.host_devices, asked.mesh) != (None, None, None):
        _choose_device(early_config, asked.device or "auto", asked)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register markers, check settings, and give the session a name that its workers share."""
    for text in items.MARKERS.values():
        config.addinivalue_line("markers", text)
    asked = options.Options.of(config.option)
    if asked.plan:
        # A plan is printed by the one process that made it; xdist reads these when it configures itself, after us.
        config.option.dist, config.option.numprocesses, config.option.tx = "no", None, []
    if asked.baseline_runs is not None and not asked.update_baselines:
        raise pytest.UsageError("--tunix-baseline-runs is for writing baselines; add --tunix-update-baselines")
    if asked.update_baselines and (config.getoption("lf", False) or config.getoption("stepwise", False)):
        raise pytest.UsageError(
            "--tunix-update-baselines with --lf or --sw: a baseline is written only where all gates of its run are "
            "decided; leave them out"
        )
    if asked.runs and not asked.update_baselines:
        raise pytest.UsageError("--tunix-run is for writing baselines; add --tunix-update-baselines")
    if asked.runs and asked.baseline_runs is not None:
        raise pytest.UsageError("--tunix-run names the runs of a baseline, --tunix-baseline-runs trains them; give one")
    reporting.register(config)
    stopping.register(config)
    if not asked.off and options.has_settings(config.rootpath):
        _check_settings(config, asked)


def _check_settings(config: pytest.Config, asked: options.Options) -> None:
    from tunix_eval.settings import read_settings

    try:
        settings = read_settings(config.rootpath)
    except TunixEvalError as error:
        raise pytest.UsageError(str(error)) from None
    if asked.device is None and settings.device != "auto":
        _choose_device(config, settings.device, asked)


def _choose_device(config: pytest.Config, request: str, asked: options.Options) -> None:
    from tunix_eval.plugin import device

    try:
        config.stash[DEVICE_KEY] = device.choose(request, asked.host_devices, asked.mesh)
    except DeviceError as error:
        raise pytest.UsageError(str(error)) from None


# --------------------------------------------------------------------------------------------------------- collect


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect run files that are named on the command line or match the ini option."""
    if file_path.suffix != ".toml":
        return None
    patterns = parent.config.getini(options.RUN_FILES_INI)
    named = parent.session.isinitpath(file_path)
    root = parent.config.rootpath
    listed = file_path.is_relative_to(root) and any(file_path.relative_to(root).match(one) for one in patterns)
    if not named and not listed:
        return None
    from tunix_eval.plugin.runfiles import RunFile

    made: pytest.Collector = RunFile.from_parent(parent, path=file_path)
    return made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every item of the evalset, for tests that take tunix_case."""
    if "tunix_case" not in metafunc.fixturenames:
        return
    if metafunc.config.option.tunix_off:
        metafunc.parametrize("tunix_case", [None], ids=["off"], indirect=True)
        return
    from tunix_eval.plugin.cases import cases_of

    try:
        cases = cases_of(metafunc)
    except TunixEvalError as error:
        reason = reporting.with_short_paths(metafunc.config, str(error))
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {reason}") from None
    metafunc.parametrize("tunix_case", cases, ids=[case.id for case in cases], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Add a suggestion where pytest refused a marker that looks like one of ours."""
    report = yield
    wrong = items.misspelt_marker(str(report.longrepr)) if report.failed else None
    if wrong:
        report.sections.append(("tunix-eval", wrong))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Look at markers while all tests of a class or module are there, before some are deselected."""
    find_untaken_gates(items, config)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember what is left out: a baseline is not written where a gate of its run is."""
    for item in items:
        item.config.stash.setdefault(DESELECTED_KEY, []).append(item)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Plan what the items need, before the first of them runs."""
    config = session.config
    if config.option.collectonly and not config.option.tunix_plan:
        return
    ours = [item for item in session.items if items.is_ours(item) or items.misspelt(item)]
    if not ours:
        return
    if config.option.tunix_off:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason="--tunix-off"))
        return
    from tunix_eval.plugin import plan
    from tunix_eval.plugin.session import Session

    try:
        opened = Session.open(config)
        opened.registry.forget()
        left_out = config.stash.setdefault(DESELECTED_KEY, [])
        made = plan.make_plan(opened, ours, deselected=left_out)
    except TunixEvalError as error:
        made = plan.broken_plan(ours, error)
    config.stash[PLAN_KEY] = made
    if made.twice:
        from tunix_eval.plugin import determinism

        config.pluginmanager.register(determinism)
    reporting.publish_plan(config, made)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what will happen, and which tests cannot run, before anything is trained."""
    made = config.stash.get(PLAN_KEY, None)
    told = config.get_verbosity() < 0 or config.option.tunix_plan
    return reporting.plan_head(config, made) if made is not None and not told else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Under --tunix-plan, print the plan and stop."""
    if not session.config.option.tunix_plan:
        return None
    made = session.config.stash.get(PLAN_KEY, None)
    if made is None and session.testsfailed:
        # What could not be collected is said by pytest.
        return None
    session.testsfailed += reporting.print_plan(session.config, made)
    not_come_to.keep_snapshots(session.config, session.items)
    return True


# ------------------------------------------------------------------------------------------------------------- run


# Innermost, so that the other wrappers have begun when this one ends a test.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Fail or skip what the plan says cannot run; a user's mistake is one line."""
    made = item.config.stash.get(PLAN_KEY, None)
    need = made.needs.get(item.nodeid) if made else None
    if need is not None and need.error:
        pytest.fail(reporting.with_short_paths(item.config, need.error), pytrace=False)
    if need is not None and need.skip:
        if need.trains:
            reporting.note_missing(item.config, need.skip)
        pytest.skip(reporting.with_short_paths(item.config, need.skip))
    return (yield from _in_one_line(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Show a user's mistake as one line, and fail a test that leaves the gates of its markers undone."""
    result = yield from _in_one_line(item)
    gate = item.stash.get(GATE_KEY, None)
    if gate is not None and gate.need.gates and not gate.checked:
        pytest.fail("marked tunix_gate and never decided; call tunix_gate.check()", pytrace=False)
    if gate is not None and not gate.decided:
        pytest.fail(
            "takes tunix_gate and decides no gate; mark the test with tunix_gate(rule, metric=...) and call "
            "tunix_gate.check(), or call a rule, such as tunix_gate.no_worse(metric)",
            pytrace=False,
        )
    return result


def _in_one_line(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    except TunixEvalError as error:
        reason = str(error)
    except RunMissingError as error:
        if isinstance(error, stopping.RunStoppedError):
            stopping.Stopping.of(item.config).report(item, error)
        reason = str(error)
        if not (item.config.option.tunix_require and items.is_gate(item)):
            if not isinstance(error, stopping.RunStoppedError):
                reporting.note_missing(item.config, reason)
            pytest.skip(reporting.with_short_paths(item.config, reason))
        reason += " (--tunix-require: a gate may not be skipped)"
    pytest.fail(reporting.with_short_paths(item.config, reason), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send along what the session did since the last report; xdist carries it to the controller."""
    report = yield
    reporting.refuse_skipped_gate(item, report)
    session = item.config.stash.get(SESSION_KEY, None)
    rows = session.take_rows() if session is not None else []
    if rows:
        report.tunix_rows = rows  # type: ignore[attr-defined]
    case = getattr(item, "funcargs", {}).get("tunix_case") if report.failed and report.when == "call" else None
    if case is not None:
        title, story = (reporting.with_short_paths(item.config, text) for text in (case.id, case.story()))
        report.sections.append((f"tunix-eval: {title}".replace("\n", " "), story))
    return report
