"""tunix_snapshot: what an entry shows, and what a diff says."""

from __future__ import annotations

import re

import pytest
from projects import RUN_FILE, Project

TEST = """
def test_format(tunix_sequences, tunix_snapshot):
    assert tunix_sequences[0] == tunix_snapshot
    assert tunix_sequences[1] == tunix_snapshot(name="second")

def test_many(tunix_sequences, tunix_snapshot):
    assert tunix_sequences[:3] == tunix_snapshot

def test_others(tunix_snapshot):
    assert {"other": 1} == tunix_snapshot
"""


def snapshot(project: Project) -> str:
    return (project.path / "__snapshots__" / "test_words.ambr").read_text()


def entry(project: Project, name: str) -> str:
    found = re.search(rf"^# name: {re.escape(name)}\n(.*?)^# ---", snapshot(project), re.M | re.S)
    assert found is not None
    return "\n".join(line.removeprefix("  ") for line in found[1].rstrip().split("\n"))


def run_file(project: Project, *changes: str) -> None:
    project.write("words.toml", RUN_FILE.replace('renderer = "qa"', "\n".join(['renderer = "qa"', *changes])))


def test_an_entry_shows_turns_and_what_is_supervised_line_by_line_and_then_ids_a_span_a_line(project: Project) -> None:
    project.test(TEST)
    project.run("--snapshot-update").assert_outcomes(passed=3)
    project.run().assert_outcomes(passed=3)
    lines = entry(project, "test_format").split("\n")
    assert re.fullmatch(r"trace bad: \d+ tokens, \d+ supervised", lines[0])
    texts, ids = lines[1 : lines.index("ids")], lines[lines.index("ids") + 1 :]
    spans = [line for line in texts if line[0] != " "]
    assert texts[0] == "1   'Q: '"
    assert ids[0] == "1 260"
    assert spans[-1] == f"{len(spans)} + <eos>"
    assert [line.split()[0] for line in ids] == [line.split()[0] for line in spans]
    reply = [line for line in texts if " + '" in line]
    assert len(reply) > 1
    assert reply[-1].startswith("  + '#### ")
    assert all(line.endswith("\\n'") for line in reply[:-1])
    assert sum(len(line.split()) - 1 for line in ids) == int(lines[0].split()[2])
    assert entry(project, "test_many").count("trace ") == 3
    assert "'other': 1" in entry(project, "test_others")


def test_parts_and_weights_are_marked_where_a_part_of_the_reply_weighs_less(project: Project) -> None:
    run_file(project, "step_weight = 0.25")
    project.test(TEST)
    project.run("--snapshot-update").assert_outcomes(passed=3)
    lines = [line for line in entry(project, "test_format").split("\n") if line[2:3] == "+"]
    assert [line[2:7].rstrip() for line in lines if line[0] != " "] == ["+0.25", "+", "+"]
    assert lines[-3].endswith("#### '")
    run_file(project, 'supervise = "answer"')
    project.run("--snapshot-update").assert_outcomes(passed=3)
    texts = entry(project, "test_format").partition("\nids")[0].split("\n")[1:]
    assert "".join(line[2] for line in texts if line[0] != " ").endswith(" -++")


def test_a_diff_shows_the_span_that_changed_and_not_the_others(project: Project) -> None:
    project.test(TEST)
    project.run("--snapshot-update").assert_outcomes(passed=3)
    path = project.path / "__snapshots__" / "test_words.ambr"
    path.write_text(snapshot(project).replace("'Q: '", "'Question: '", 1))
    result = project.run("--tb=short", "-k", "test_format")
    result.assert_outcomes(failed=1, deselected=2)
    changed = [line for line in result.stdout.lines if "'Q: '" in line or "'Question: '" in line]
    assert len(changed) == 2
    assert "<eos>" not in "".join(line for line in result.stdout.lines if line.startswith("E   +"))
    assert max(len(line) for line in result.stdout.lines if line.startswith("E ")) <= 90


@pytest.mark.parametrize("update", [True, False])
def test_workers_write_and_compare_one_file_together(project: Project, update: bool) -> None:
    project.test(TEST)
    project.run("--snapshot-update", *(("-n", "2") if update else ())).assert_outcomes(passed=3)
    written = snapshot(project)
    project.run(*(() if update else ("-n", "2"))).assert_outcomes(passed=3)
    assert snapshot(project) == written
    assert [line for line in written.split("\n") if line.startswith("# name")] == [
        "# name: test_format",
        "# name: test_format[second]",
        "# name: test_many",
        "# name: test_others",
    ]


def test_a_diff_of_another_style_reads_before_its_ids_which_are_a_line_a_span(project: Project) -> None:
    run_file(project, 'style = "numbered"')
    project.test("def test_format(tunix_sequences, tunix_snapshot):\n    assert tunix_sequences[0] == tunix_snapshot\n")
    project.run("--snapshot-update").assert_outcomes(passed=1)
    before = entry(project, "test_format").split("\n")
    run_file(project, 'style = "plain"')
    project.run("--snapshot-update").assert_outcomes(passed=1)
    after = entry(project, "test_format").split("\n")
    changed = [line for line in after if line not in before]
    ids = [line for line in changed if after.index(line) > after.index("ids")]
    assert len(ids) == 1
    assert changed[-1] == ids[0]
    assert len(changed) > 2


@pytest.mark.parametrize("update", [(), ("--snapshot-update",)], ids=["", "update"])
def test_a_plan_leaves_snapshots_alone(project: Project, update: tuple[str, ...]) -> None:
    project.test(TEST)
    project.run("--snapshot-update").assert_outcomes(passed=3)
    before = snapshot(project)
    result = project.run("--tunix-plan", *update)
    assert result.ret == pytest.ExitCode.OK
    assert "unused" not in result.stdout.str()
    assert snapshot(project) == before
