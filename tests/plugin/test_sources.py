"""Completions from elsewhere: predictions files and checkpoints go the way that a run's completions go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from projects import RUN_FILE, Project

EVALSET = "\n".join(
    json.dumps(
        {"id": f"q{n}", "prompt": f"{n}+{n}=", "expected_answer": str(2 * n), "category": ["even", "odd"][n % 2]}
    )
    for n in range(20)
)
PREDICTIONS = """
name = "served"
predictions = "preds.jsonl"
evalsets = ["sums.jsonl"]
scorers = ["exact", "numeric"]
answer = "answer"
"""
NO_WORSE = '\n[[gates]]\nrule = "no_worse"\nmetric = "exact"\n'
CASES = """
@pytest.mark.tunix_evalset("sums.jsonl")
def test_case(tunix_case):
    assert tunix_case.score("exact") == 1, tunix_case.completion.text
"""


def predictions(wrong: int = 0, items: range = range(20), **more: str) -> str:
    return "\n".join(
        json.dumps({"id": f"q{n}", "prediction": f"Let me see.\nAnswer: {2 * n + (n < wrong)}"} | more) for n in items
    )


@pytest.fixture
def served(project: Project) -> Project:
    project.write("sums.jsonl", EVALSET)
    project.write("preds.jsonl", predictions())
    project.write("served.toml", PREDICTIONS)
    return project


def marked(project: Project, body: str, arguments: str = 'answer="answer"') -> None:
    project.write(
        "test_served.py",
        f"import pytest\npytestmark = pytest.mark.tunix_predictions('preds.jsonl', {arguments})\n{body}",
    )


def records(project: Project) -> Path:
    (found,) = project.path.glob("artifacts/runs/*/as/served/eval_manifest.sums.json")
    return found.parent


# -------------------------------------------------------------------------------------------------- predictions


def test_a_predictions_file_is_scored_and_gated_without_training(served: Project, workers: tuple[str, ...]) -> None:
    served.write("served.toml", PREDICTIONS + NO_WORSE)
    served.run("--tunix-update-baselines", "served.toml").assert_outcomes(passed=2)
    served.write("preds.jsonl", predictions(wrong=12))
    result = served.run("served.toml", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["served/exact: 1.000 -> 0.400 over 20 items, 1 run against 1 (drop 0.600*"])
    assert not served.manifests()


def test_what_was_written_is_recorded_raw_and_extracted(served: Project) -> None:
    served.run("served.toml").assert_outcomes(passed=1)
    lines = [json.loads(line) for line in (records(served) / "eval_after.sums.jsonl").read_text().splitlines()]
    assert lines[3]["generated_response"] == "Let me see.\nAnswer: 6"
    assert lines[3]["extracted_answer"] == "6"
    assert lines[3]["scores"] == {"exact": 1.0, "numeric": 1.0}
    manifest = json.loads((records(served) / "eval_manifest.sums.json").read_text())
    assert (manifest["source"], manifest["generation"], manifest["run_name"]) == ("predictions", None, "served")


def test_the_session_says_which_keys_were_taken(served: Project) -> None:
    served.run("served.toml").stdout.fnmatch_lines(["note: preds.jsonl: ids from 'id', texts from 'prediction'"])


def test_the_marker_needs_no_run_file(served: Project) -> None:
    marked(
        served,
        CASES + '\n@pytest.mark.tunix_evalset("sums.jsonl")\ndef test_card(tunix_scorecard, tunix_completions):\n'
        '    assert tunix_scorecard["exact"].mean == 0.9\n    assert len(tunix_completions) == 20\n',
    )
    served.write("preds.jsonl", predictions(wrong=2))
    result = served.run("test_served.py")
    result.assert_outcomes(passed=19, failed=2)
    result.stdout.fnmatch_lines(["*tunix-eval: 0 runs to train; 0 reused; 1 other source; 1 evalset; 0 gates*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            predictions(items=range(10)),
            "preds.jsonl: 10 of 20 items of evalset 'sums' have no prediction: q10, q11, q12, ..",
        ),
        (predictions(items=range(21)), "*preds.jsonl: 1 *q20*"),
        (predictions() + "\n" + predictions(items=range(1)), "*preds.jsonl*q0*"),
        (predictions()[:-3], "*preds.jsonl:20: *"),
        ('{"id": "q0", "reply": "4"}\n', "*preds.jsonl*id*reply*"),
        ("", "*preds.jsonl: *"),
    ],
    ids=["half-missing", "unknown-id", "twice", "torn", "other-keys", "empty"],
)
def test_a_predictions_file_that_does_not_fit_is_one_line_before_anything_runs(
    served: Project, text: str, message: str
) -> None:
    served.write("preds.jsonl", text)
    served.write("served.toml", PREDICTIONS + NO_WORSE)
    result = served.run("--tunix-update-baselines", "served.toml")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not (served.path / "baselines").exists()


def test_one_name_of_weights_compares_items(served: Project) -> None:
    served.write(
        "served.toml",
        PREDICTIONS.replace("name =", 'weights = "gemma@1"\nname =') + NO_WORSE,
    )
    served.write("preds.jsonl", predictions())
    served.run("--tunix-update-baselines", "served.toml").assert_outcomes(passed=2)
    served.write("preds.jsonl", predictions(wrong=8))
    served.run("served.toml").assert_outcomes(passed=1, failed=1)


def test_several_completions_an_item_are_averaged(served: Project) -> None:
    served.write("preds.jsonl", predictions() + "\n" + predictions(wrong=20))
    marked(
        served,
        '@pytest.mark.tunix_evalset("sums.jsonl")\n@pytest.mark.tunix_repeat(2)\ndef test_card(tunix_scorecard):\n'
        '    card = tunix_scorecard["exact"]\n    assert (card.mean, card.repeats, card.n_items) == (0.5, 2, 20)\n'
        "    assert card.pass_at_k == {1: 0.5, 2: 1.0}\n    assert card.right_of_n[1] == 20\n"
        + CASES.replace("== 1", "== 0.5").replace("@pytest", "@pytest.mark.tunix_repeat(2)\n@pytest"),
    )
    served.run("test_served.py").assert_outcomes(passed=21)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def test_run(tunix_run):\n    pass\n", "*'preds' judges predictions*"),
        ("def test_data(tunix_sequences):\n    pass\n", "*'preds' judges predictions and has no training data*"),
    ],
)
def test_what_needs_a_run_says_that_predictions_have_none(served: Project, body: str, message: str) -> None:
    marked(served, body)
    result = served.run("test_served.py")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_scorer_that_needs_log_probabilities_is_refused_for_predictions(served: Project) -> None:
    served.write("served.toml", PREDICTIONS.replace('"numeric"', '"answer_nll"'))
    result = served.run("served.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*scorer 'answer_nll' needs log-probabilities, which a predictions file does not have*"]
    )


def test_a_run_file_with_two_sources_is_refused(served: Project) -> None:
    served.write("served.toml", PREDICTIONS + 'dataset = "word-ending-v1"\n')
    result = served.run("served.toml")
    result.stdout.fnmatch_lines(["*served.toml: has both predictions and dataset*"])


# --------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture
def trained(project: Project) -> Project:
    """A project with a run of its own under artifacts/, and a copy of it under elsewhere/run."""
    project.test('@pytest.mark.tunix_evalset("word-ending-heldout")\ndef test_card(tunix_scorecard):\n    pass\n')
    project.run("--tunix-train").assert_outcomes(passed=1)
    shutil.copytree(project.manifests()[0].parent, project.path / "elsewhere" / "run")
    return project


def checkpoint(**keys: str) -> str:
    more = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    return f"""
name = "shipped"
checkpoint = "elsewhere/run"
evalsets = ["word-ending-heldout"]
{more}
[generation]
max_new_tokens = 16
"""


def test_a_checkpoint_gives_the_completions_of_its_run(trained: Project, workers: tuple[str, ...]) -> None:
    run = trained.manifests()[0].parent
    before = (run / "eval_after.word-ending-heldout.jsonl").read_bytes()
    trained.write("shipped.toml", checkpoint() + '[[gates]]\nrule = "at_least"\nmetric = "exact"\nvalue = 0.9\n')
    result = trained.run("shipped.toml", "--tunix-artifacts=other", *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*shipped *checkpoint*"])
    other = trained.path / "other" / "runs" / run.name / "as" / "shipped"
    lines = [json.loads(line) for line in (other / "eval_after.word-ending-heldout.jsonl").read_text().splitlines()]
    known = [json.loads(line) for line in before.decode().splitlines()]
    assert [line["generated_response"] for line in lines] == [line["generated_response"] for line in known]
    assert not list((trained.path / "other").rglob("run_manifest.json"))


def test_a_checkpoint_is_named_by_its_id_too(trained: Project) -> None:
    text = checkpoint().replace("elsewhere/run", trained.manifests()[0].parent.name)
    trained.write("shipped.toml", text)
    trained.run("shipped.toml").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"renderer": "plain"}, "*checkpoint *: was trained with renderer 'qa', 'shipped' asks for 'plain'*"),
        ({"tokenizer": "bytes"}, "*was trained with tokenizer 'pieces', 'shipped' asks for 'bytes'*"),
        ({"style": "tagged"}, "*was trained with style '*', 'shipped' asks for 'tagged'*"),
    ],
)
def test_a_checkpoint_under_another_format_is_refused_by_name(
    trained: Project, keys: dict[str, str], message: str
) -> None:
    trained.write("shipped.toml", checkpoint(**keys))
    result = trained.run("shipped.toml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_missing_or_damaged_checkpoint_is_one_line(trained: Project) -> None:
    trained.write("shipped.toml", checkpoint().replace("elsewhere/run", "elsewhere/none"))
    trained.run("shipped.toml").stdout.fnmatch_lines(["*elsewhere/none: holds no finished run*"])
    (trained.path / "elsewhere/run/run_manifest.json").write_text("{")
    trained.write("shipped.toml", checkpoint())
    trained.run("shipped.toml").stdout.fnmatch_lines(["*run_manifest.json: damaged*"])


def test_changed_weights_are_refused(trained: Project) -> None:
    weights = trained.path / "elsewhere/run/checkpoint-final/counts.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    trained.write("shipped.toml", checkpoint())
    result = trained.run("shipped.toml", "--tunix-artifacts=other")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*counts.npz: digest mismatch*"])


# --------------------------------------------------------------------------------------------- draws and log-probs


SAMPLED = RUN_FILE.replace("max_new_tokens = 16", "max_new_tokens = 16\ntemperature = 1.5")
REPEATS = """
@pytest.mark.tunix_evalset("word-ending-heldout")
@pytest.mark.tunix_repeat(4)
def test_card(tunix_scorecard):
    card = tunix_scorecard["exact"]
    assert (card.repeats, card.n_items) == (4, 70)
    assert card.pass_at_k[1] == pytest.approx(card.mean)
    assert card.pass_at_k[4] >= card.pass_at_k[1]
    assert sum(card.right_of_n.values()) == 70

@pytest.mark.tunix_evalset("word-ending-heldout")
@pytest.mark.tunix_repeat(4)
def test_case(tunix_case):
    assert len(tunix_case.repeats) == 4
    assert tunix_case.score("exact") == sum(one.scores["exact"].value for one in tunix_case.repeats) / 4
"""


def test_repeats_are_drawn_apart_and_scored_together(project: Project) -> None:
    project.write("words.toml", SAMPLED)
    project.test(REPEATS)
    project.run("--tunix-train").assert_outcomes(passed=71)
    (path,) = project.path.glob("artifacts/runs/*/eval_after.word-ending-heldout.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 280
    texts = {line["example_id"]: set() for line in lines}
    for line in lines:
        texts[line["example_id"]].add(line["generated_response"])
    assert max(map(len, texts.values())) > 1


def test_greedy_repeats_are_refused(project: Project) -> None:
    project.test(REPEATS)
    result = project.run("--tunix-train")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*4 repeats at temperature 0 write the same text each time and measure nothing*"])
    assert not project.manifests()


def test_answer_nll_judges_the_expected_answer(project: Project) -> None:
    project.write("words.toml", RUN_FILE.replace('"prefix"', '"answer_nll"'))
    project.test(
        '@pytest.mark.tunix_evalset("word-ending-heldout")\ndef test_card(tunix_scorecard, tunix_completions):\n'
        '    nll = tunix_scorecard["answer_nll"]\n    assert nll.lower_is_better and 0 < nll.mean < 5\n'
        "    assert all(one.answer_logprobs and max(one.answer_logprobs) <= 0 for one in tunix_completions)\n"
    )
    project.run("--tunix-train").assert_outcomes(passed=1)


def test_a_file_that_is_judged_in_two_ways_needs_two_names(served: Project, workers: tuple[str, ...]) -> None:
    card = '@pytest.mark.tunix_evalset("sums.jsonl")\n'
    mark = '@pytest.mark.tunix_predictions("preds.jsonl", answer="text"{})\n'
    body = f"{card}def test_one(tunix_scorecard):\n    pass\n{card}{{}}def test_two(tunix_scorecard):\n    pass\n"
    marked(served, body.format(mark.format("")))
    result = served.run("test_served.py", *workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["preds.jsonl: is judged in two ways under the name 'preds' (answer differ)*"])
    marked(served, body.format(mark.format(', name="whole"')))
    served.run("test_served.py").assert_outcomes(passed=2)
    assert {path.parent.name for path in served.path.glob("artifacts/runs/*/as/*/scorecard.sums.json")} == {
        "preds",
        "whole",
    }


def test_another_answer_rule_makes_a_baseline_foreign(served: Project) -> None:
    served.write("served.toml", PREDICTIONS + NO_WORSE)
    served.run("--tunix-update-baselines", "served.toml").assert_outcomes(passed=2)
    served.write("served.toml", PREDICTIONS.replace('answer = "answer"', 'answer = "last_number"') + NO_WORSE)
    result = served.run("served.toml")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*baselines/served/sums.json: made with another version of scorer 'exact'*answer rule*"]
    )


def test_a_case_that_failed_shows_what_was_asked_and_written(served: Project, workers: tuple[str, ...]) -> None:
    served.write("preds.jsonl", predictions(wrong=1))
    marked(served, CASES)
    result = served.run("test_served.py", *workers)
    result.assert_outcomes(passed=19, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*tunix-eval: q0*",
            "prompt    0+0=",
            "expected  0",
            "wrote     Let me see.",
            "          Answer: 1",
            "answer    1 (ok); exact 0.0",
        ]
    )
    result.stdout.fnmatch_lines(["*  exact *20 *0.950*"])


def test_a_case_whose_completions_cannot_be_had_fails_in_one_line(trained: Project) -> None:
    weights = trained.path / "elsewhere/run/checkpoint-final/counts.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    trained.write("shipped.toml", checkpoint())
    trained.write(
        "test_shipped.py",
        'import pytest\n@pytest.mark.tunix_train("shipped.toml")\n@pytest.mark.tunix_evalset("word-ending-heldout")\n'
        "def test_case(tunix_case):\n    assert tunix_case.score('exact') == 1\n",
    )
    result = trained.run("test_shipped.py", "--tunix-artifacts=other", "-k", "bab")
    result.assert_outcomes(failed=1, deselected=69)
    result.stdout.fnmatch_lines(["*counts.npz: digest mismatch*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
