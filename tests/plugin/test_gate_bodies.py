"""Every rule at the call, and rules that ask for several training seeds."""

from __future__ import annotations

import json

import pytest
from projects import RUN_FILE, Project

from tunix_eval.plugin.items import MARKERS

EVERY_RULE = """
def test_all(tunix_gate, tunix_train):
    assert tunix_gate.no_worse("exact").outcome == "passed"
    assert tunix_gate.non_inferior("exact", 0.2).margin == 0.2
    assert tunix_gate.better("exact", than="short.toml").n_runs == 1
    assert tunix_gate.better("exact", than=tunix_train("short.toml"), runs=2).n_runs == 2
    assert tunix_gate.at_least("exact", 0.9).reference == 0.9
    assert tunix_gate.at_most("prefix", 1.0).reference == 1.0
    assert tunix_gate.max_drop("exact", "2%").margin == pytest.approx(0.02)
    assert repr(tunix_gate) == "Gate('words')"

def test_a_limit(tunix_gate):
    tunix_gate.max_drop("exact", 0.5)
"""


@pytest.fixture
def ruled(project: Project) -> Project:
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace("order = 8", "order = 1"))
    project.test(EVERY_RULE)
    return project


def test_every_rule_can_be_called_and_is_reported(ruled: Project) -> None:
    result = ruled.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1")
    result.assert_outcomes(passed=2)
    (path,) = ruled.path.glob("artifacts/sessions/*/verdicts.json")
    verdicts = json.loads(path.read_text())["verdicts"]
    rules = ["no_worse", "non_inferior", "better", "better", "at_least", "at_most", "max_drop", "max_drop"]
    assert sorted(one["rule"] for one in verdicts) == sorted(rules)
    assert {(one["n_current"], one["n_runs"]) for one in verdicts if one["rule"] == "better"} == {(1, 1), (2, 2)}
    # Three seeds of the run for non_inferior, two of them for better too, and two of the other side.
    assert len(ruled.manifests()) == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "better('exact', than=None)",
            "tunix_gate.better: than is None, expected a run (tunix_train(...)) or a run file",
        ),
        (
            "better('prefix', than='short.toml')",
            "no metric measured by run 'short' named 'prefix'; known: exact; add it to *",
        ),
        ("max_drop('exact', '150%')", "words/exact: *150%*"),
        ("at_most('exact', 1.5)", "words/exact: value 1.5 is on the wrong scale: exact lies from 0 to 1*"),
        ("non_inferior('exact', 0)", "tunix_gate.non_inferior: non_inferior needs a margin above 0*"),
        ("no_worse('exact', value=1)", "tunix_gate.no_worse: no_worse takes no value; it takes *"),
    ],
)
def test_a_call_that_cannot_be_meant_is_one_line(ruled: Project, call: str, message: str) -> None:
    ruled.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace(', "prefix"', ""))
    ruled.test(f"def test_call(tunix_gate):\n    tunix_gate.{call}\n")
    result = ruled.run("--tunix-train")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("tunix_repeat(0)", "marker tunix_repeat takes one n, a whole number from 1 on, found 0"),
        ("tunix_repeat('x')", "marker tunix_repeat takes one n, a whole number from 1 on, found 'x'"),
        ("tunix_predictions(3)", "marker tunix_predictions takes one path, found 3"),
        ("tunix_predictions('p.jsonl', anser='text')", "*unknown key 'anser'. Did you mean 'answer'[?]"),
        ("tunix_predictions('p.jsonl', 'text')", "marker tunix_predictions takes one path, then arguments by name; *"),
        (
            "tunix_train('words.toml', 3)",
            "marker tunix_train takes one path_or_name, then arguments by name; found 2: *",
        ),
        (
            "tunix_train('words.toml', path_or_name='b')",
            "marker tunix_train takes one path_or_name, found path_or_name *",
        ),
        ("tunix_train('words.toml', limit=3)", "*unknown key 'limit'*"),
        ("tunix_dataset('x', limit=3)", "marker tunix_dataset takes one name_or_path, found limit; take it out"),
        ("tunix_dataset('x', 'y')", "marker tunix_dataset takes one name_or_path; found 2: 'x', 'y'"),
        ("tunix_dataset(name_or_pth='x')", "*found name_or_pth. Did you mean 'name_or_path'[?]"),
        ("tunix_evalset('x', limit=3)", "marker tunix_evalset takes one name_or_path, found limit; take it out"),
        ("tunix_evalset('x', 'y')", "marker tunix_evalset takes one name_or_path; found 2: 'x', 'y'"),
        ("tunix_evalset()", "marker tunix_evalset takes one name_or_path, found none"),
        (
            "tunix_renderer('gemma', style='tagged')",
            "marker tunix_renderer takes one name_or_path, found style; say it in the run file, or with "
            "tunix_train(..., style='tagged')",
        ),
        (
            "tunix_renderer('gemma', 'tagged')",
            "marker tunix_renderer takes one name_or_path; found 2: 'gemma', 'tagged'",
        ),
        (
            "tunix_repeat(3, temperature=1)",
            "marker tunix_repeat takes one n, found temperature; say it in the run file, or with "
            "tunix_train(..., generation={'temperature': 1})",
        ),
        ("tunix_repeat(3, 4)", "marker tunix_repeat takes one n; found 2: 3, 4"),
        ("tunix_repeat(True)", "marker tunix_repeat takes one n, a whole number from 1 on, found True"),
        ("tunix_gate('no_worse', 'exact', 0.1)", "marker tunix_gate takes rule and metric, then arguments by name; *"),
        ("tunix_gate('no_worse', 'exact', metric='nll')", "*found metric twice: 'exact' and 'nll'"),
        ("tunix_gate('no_worse', 'exact', alpa=1)", "*unknown key 'alpa'. Did you mean 'alpha'[?]"),
        ("tunix_device('cpu', 1, 2)", "marker tunix_device takes kind and min_count; found 3: 'cpu', 1, 2"),
        (
            "tunix_device('cpu', platform=1)",
            "marker tunix_device takes kind and min_count, found platform; take it out",
        ),
        ("tunix_device('cpu', True)", "marker tunix_device takes cpu, gpu or tpu and a min_count, found 'cpu', True"),
    ],
)
def test_a_marker_that_cannot_be_meant_is_one_line(project: Project, mark: str, message: str) -> None:
    assert mark.partition("(")[0] in MARKERS
    # A function that takes what every marker is about, so that none is refused for being read by nothing.
    project.test(f"@pytest.mark.{mark}\ndef test_card(tunix_scorecard, tunix_gate):\n    pass\n")
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
