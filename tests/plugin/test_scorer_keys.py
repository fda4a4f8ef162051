"""Keys of a scorer in a run file, and items that a scorer cannot measure: all known before anything is judged."""

from __future__ import annotations

import json

import pytest
from projects import Project

ITEMS = [
    {"id": "a", "prompt": "pi?", "expected_answer": "3.14"},
    {"id": "b", "prompt": "6*7?", "expected_answer": "42"},
]
REPLIES = [{"id": "a", "prediction": "3.1405"}, {"id": "b", "prediction": "42"}]
GATE = '\n[[gates]]\nrule = "at_least"\nmetric = "numeric"\nvalue = 1.0\n'


def lines(records: list[dict[str, str]]) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def served(project: Project, scorers: str, *, items: list[dict[str, str]] = ITEMS) -> None:
    project.write("items.jsonl", lines(items))
    project.write("replies.jsonl", lines(REPLIES))
    head = 'name = "served"\npredictions = "replies.jsonl"\nevalsets = ["items.jsonl"]\n'
    project.write("served.toml", f"{head}scorers = {scorers}\n{GATE}")


def test_keys_of_a_scorer_decide(project: Project) -> None:
    """3.1405 is 3.14 within a thousandth and not without."""
    served(project, '["numeric"]')
    project.run("served.toml").assert_outcomes(passed=1, failed=1)
    served(project, '[{ name = "numeric", relative = 1e-3 }]')
    project.run("served.toml").assert_outcomes(passed=2)


def test_keys_are_part_of_a_baseline(project: Project) -> None:
    """A baseline made under one tolerance is foreign under another."""
    served(project, '["exact", { name = "numeric", relative = 1e-3 }]')
    gate = GATE.replace("at_least", "max_drop").replace("value = 1.0", 'drop = "2%"')
    project.write("served.toml", (project.path / "served.toml").read_text().replace(GATE, gate))
    project.run("--tunix-update-baselines", "served.toml").assert_outcomes(passed=2)
    project.run("served.toml").assert_outcomes(passed=2)
    project.write("served.toml", (project.path / "served.toml").read_text().replace("1e-3", "1e-2"))
    result = project.run("served.toml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*another version of scorer 'numeric'*"])


@pytest.mark.parametrize(
    ("scorers", "said"),
    [
        (
            '[{ name = "numeric", relatve = 1e-3 }]',
            "*no key of * named 'relatve'*Did you mean 'relative'*",
        ),
        ('[{ name = "numeric", relative = "1%" }]', "*relative is '1%'; expected a finite number from 0 on*"),
        (
            '[{ name = "numeric" }, { name = "exact", fold = 1 }]',
            "*'exact' has no keys, found fold; take*",
        ),
        (
            "[{ relative = 1e-3 }]",
            "*found {'relative': 0.001}, expected a name, or a table with a name and keys*",
        ),
        ('["numeric", { name = "numeric", relative = 1e-3 }]', "*'numeric' is named twice; a metric has one scorer*"),
    ],
)
def test_wrong_keys_are_named_in_the_plan(project: Project, scorers: str, said: str) -> None:
    served(project, scorers)
    result = project.run("--tunix-plan", "served.toml")
    assert result.ret != 0
    result.stdout.fnmatch_lines([said])


def test_unmeasured_items_fail_their_gate_in_the_plan(project: Project) -> None:
    served(project, '["numeric"]', items=[*ITEMS[:1], {"id": "b", "prompt": "Which two?", "expected_answer": "2 or 3"}])
    result = project.run("--tunix-plan", "served.toml")
    assert result.ret != 0
    result.stdout.fnmatch_lines(
        ["*'numeric' cannot measure 1 of 2 items of items (item 'b': the expected answer '2 or 3' is not one number*"]
    )
