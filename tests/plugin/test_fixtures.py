"""Every fixture, and the markers that steer it."""

from __future__ import annotations

import json
import re

import pytest
from projects import RUN_FILE, Project

DATA_TESTS = """
from tunix_eval.records import Batch, Conversation, TokenSequence

def test_dataset(tunix_dataset):
    assert tunix_dataset.key == "word-ending-v1"
    assert tunix_dataset.traces[0].id == "bad"

def test_renderer(tunix_renderer):
    assert tunix_renderer.name == "qa"

def test_tokenizer(tunix_tokenizer):
    assert tunix_tokenizer.decode(tunix_tokenizer.encode("kab")) == "kab"

def test_turns(tunix_turns, tunix_dataset):
    assert [turn.role for turn in tunix_turns[0].turns] == ["user", "assistant"]
    assert tunix_turns[0].turns[0].content == tunix_dataset.traces[0].prompt

def test_sequences(tunix_sequences, tunix_dataset):
    assert [sequence.trace_id for sequence in tunix_sequences] == [trace.id for trace in tunix_dataset.traces]
    first = tunix_sequences[0]
    assert first.loss_mask.any() and not first.loss_mask.all()
    assert sum(first.span_lengths) == len(first.ids) == len(first.loss_mask)

def test_batches(tunix_batches, tunix_sequences):
    assert tunix_batches.tokens.shape[1] == 64
    assert int((tunix_batches.segment_ids > 0).sum()) == sum(len(sequence.ids) for sequence in tunix_sequences)
    assert int(tunix_batches.loss_mask.sum()) == sum(int(sequence.loss_mask.sum()) for sequence in tunix_sequences)

def test_device(tunix_device):
    assert (tunix_device.platform, tunix_device.count) == ("cpu", 1)

@pytest.mark.tunix_renderer("gemma")
def test_renderer_of_the_marker(tunix_renderer, tunix_sequences):
    assert tunix_renderer.name == "gemma"
    assert tunix_sequences[0].text.startswith("<bos><start_of_turn>user")

@pytest.mark.tunix_dataset("addition-v1")
def test_dataset_of_the_marker(tunix_dataset):
    assert len(tunix_dataset.traces) == 2000
"""

RUN_TESTS = """
def test_run(tunix_run):
    assert tunix_run.run_id == tunix_run.manifest.run_id == tunix_run.directory.name
    assert tunix_run.loss.last(1) == tunix_run.metrics[-1]["loss"] < tunix_run.loss.first(1)
    assert not tunix_run.truncated

def test_completions(tunix_completions, tunix_scorecard):
    assert len(tunix_completions) == tunix_scorecard["exact"].n_items == 70
    assert {completion.status for completion in tunix_completions} == {"ok"}

def test_scorecard(tunix_scorecard):
    assert tunix_scorecard["exact"].mean == 1.0
    assert sorted(tunix_scorecard["exact"].category) == [f"vowel {vowel}" for vowel in "aeiou"]

def test_unknown_metric(tunix_scorecard):
    assert tunix_scorecard["exat"]

def test_gate_in_the_body(tunix_gate, tunix_train):
    assert tunix_gate.at_least("exact", 0.9).outcome == "passed"
    other = tunix_train("words.toml", training={"options": {"order": 1}})
    verdict = tunix_gate.better("exact", than=other)
    assert verdict.delta > 0.5 and verdict.unit == "items"

def test_gate_that_fails(tunix_gate):
    tunix_gate.at_most("exact", 0.5)

def test_session(tunix_session):
    assert tunix_session.library.evalset("word-ending-heldout").items[0].id == "bab"
"""


def test_data_fixtures_show_each_stage(project: Project) -> None:
    project.test(DATA_TESTS)
    project.run().assert_outcomes(passed=9)
    assert not (project.path / "artifacts").exists()


def test_run_fixtures_show_each_stage(project: Project, workers: tuple[str, ...]) -> None:
    project.test(RUN_TESTS)
    result = project.run("--tunix-train", *workers)
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "no metric named 'exat'; known: exact, prefix. Did you mean 'exact'[?]",
            "words/exact: 1.000 over 70 items (95% interval 0.948 to 1.000), at most 0.5 was asked for",
            "  failed  at_most  exact  0.500 -> 1.000*",
        ]
    )


def test_a_dataset_marker_alone_is_enough_for_data_fixtures(project: Project) -> None:
    project.write(
        "test_data.py",
        "import pytest\n@pytest.mark.tunix_dataset('addition-v1')\n"
        "def test_plain(tunix_sequences):\n    assert tunix_sequences[0].text.startswith('<bos>')\n",
    )
    project.run().assert_outcomes(passed=1)


CASE_TEST = """
def test_case(tunix_case):
    assert tunix_case.score("exact") == 1, tunix_case.completion.text
    assert tunix_case.completion.answer == tunix_case.expected_answer
    assert tunix_case.prompt == f"ending of {tunix_case.id}"
"""


def test_a_case_is_one_item_of_the_evalset(project: Project, workers: tuple[str, ...]) -> None:
    project.test(CASE_TEST)
    result = project.run("--tunix-train", "-v", *workers)
    result.assert_outcomes(passed=70)
    result.stdout.fnmatch_lines_random(
        ["*test_words.py::test_case[[]bab[]]*PASSED*" if not workers else "*PASSED*bab*"]
    )
    assert len(list(project.path.glob("artifacts/completions/*.jsonl"))) == 1


def test_a_selected_case_has_the_score_that_it_has_among_all(project: Project) -> None:
    project.test("def test_case(tunix_case):\n    print('WROTE', tunix_case.id, tunix_case.completion)\n")

    def written(*arguments: str) -> set[str]:
        result = project.run("--tunix-train", "-s", *arguments)
        return {line[line.index("WROTE") :] for line in result.stdout.lines if "WROTE" in line}

    chosen = written("-k", "beb or bab", "--tunix-artifacts=one")
    assert len(chosen) == 2
    assert chosen < written("--tunix-artifacts=two")


def test_cases_need_an_evalset_and_say_so_at_collection(project: Project, workers: tuple[str, ...]) -> None:
    project.write("test_bare.py", "def test_bare(tunix_case):\n    pass\n")
    result = project.run(*workers)
    text = result.stdout.str()
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    assert 'takes tunix_case and names no evalset: mark it with @pytest.mark.tunix_evalset("name")' in text
    assert "Traceback" not in text


def test_a_device_that_a_test_needs_and_the_session_lacks_skips_it(project: Project) -> None:
    project.test(
        "@pytest.mark.tunix_device('gpu')\ndef test_gpu(tunix_device):\n    pass\n"
        "@pytest.mark.tunix_device('cpu', min_count=4)\ndef test_four(tunix_device):\n    pass\n"
        "@pytest.mark.tunix_device('cpu')\ndef test_cpu(tunix_device):\n    pass\n"
    )
    result = project.run("-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines_random(["*needs 1 of gpu; the session has 1 of cpu", "*needs 4 of cpu; *"])
    project.run_apart("--tunix-host-devices", "4").assert_outcomes(passed=2, skipped=1)


SNAPSHOT_TEST = """
def test_format(tunix_sequences, tunix_snapshot):
    assert tunix_sequences[:2] == tunix_snapshot
    assert tunix_sequences[0] == tunix_snapshot(name="one")
    assert {"other": 1} == tunix_snapshot
"""


def test_a_snapshot_shows_turns_ids_and_supervised_spans(project: Project) -> None:
    project.test(SNAPSHOT_TEST)
    project.run().assert_outcomes(failed=1)
    project.run("--snapshot-update").assert_outcomes(passed=1)
    text = (project.path / "__snapshots__" / "test_words.ambr").read_text()
    assert "trace bad: " in text
    assert re.search(r"^  \d \+ <eos>\n  ids\n  1 ", text, re.M)
    project.run().assert_outcomes(passed=1)
    project.write("words.toml", RUN_FILE.replace('renderer = "qa"', 'renderer = "qa"\nstyle = "none"'))
    changed = project.run()
    changed.assert_outcomes(failed=1)


def test_records_of_a_run_are_those_of_the_format(project: Project) -> None:
    project.test("def test_card(tunix_scorecard):\n    pass\n")
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = project.manifests()
    names = {path.name for path in manifest.parent.iterdir()}
    assert names == {
        "checkpoint-final",
        "delta_report.word-ending-heldout.md",
        "eval_after.word-ending-heldout.jsonl",
        "eval_before.word-ending-heldout.jsonl",
        "eval_manifest.word-ending-heldout.json",
        "metrics.jsonl",
        "run_manifest.json",
        "scorecard.word-ending-heldout.json",
        "started.json",
        "traces.jsonl",
    }
    recorded = json.loads(manifest.read_text())
    assert recorded["training_config"]["clip_norm"] == 1.0
    assert recorded["device"]["platform"] == "cpu"
    assert str(project.path) not in manifest.read_text()
    (verdicts,) = project.path.glob("artifacts/sessions/*/verdicts.json")
    assert json.loads(verdicts.read_text())["runs"][0]["run_id"] == recorded["run_id"]


def test_replies_that_were_cut_are_counted_at_the_end(project: Project) -> None:
    project.write("words.toml", RUN_FILE.replace("max_new_tokens = 16", "max_new_tokens = 3"))
    project.test("def test_card(tunix_scorecard):\n    assert tunix_scorecard['exact'].mean == 0\n")
    result = project.run("--tunix-train")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["note: words on word-ending-heldout: 70 of 70 replies were cut at max_new_tokens*"])


SCORER = """
from tunix_eval_template.hooks import *
from tunix_eval_template.scorer import PrefixScorer

class Unlicensed(PrefixScorer):
    name = "prefix"
    def __call__(self, item, completion):
        raise RuntimeError("no licence")

def pytest_tunix_scorers():
    return {"prefix": Unlicensed(), "silent": object()}
"""


def test_a_scorer_that_gives_no_value_says_why_at_the_end_and_its_gate_fails(project: Project) -> None:
    project.write("conftest.py", SCORER)
    project.test(
        "@pytest.mark.tunix_gate('at_least', 'prefix', value=0)\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"
    )
    result = project.run("--tunix-train")
    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert "prefix has no value for 70 of 70 items: RuntimeError: no licence" in text


def test_what_is_no_scorer_is_refused_before_training(project: Project) -> None:
    project.write("conftest.py", SCORER)
    project.write("words.toml", RUN_FILE.replace('"prefix"', '"silent"'))
    project.test("def test_card(tunix_scorecard):\n    pass\n")
    result = project.run("--tunix-train")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["scorer 'silent' is without name, version, lower_is_better, parameters, __call__"])
    assert not project.manifests()


def test_better_takes_a_run_file_too(project: Project) -> None:
    project.write("short.toml", RUN_FILE.replace('"words"', '"short"').replace("order = 8", "order = 1"))
    project.test("def test_gate(tunix_gate):\n    tunix_gate.better('exact', than='short.toml')\n")
    project.run("--tunix-train").assert_outcomes(passed=1)
