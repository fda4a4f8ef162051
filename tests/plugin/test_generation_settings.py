"""What a run file says of generation, with a model of another package: it neither stops early nor reports progress."""

import json

import pytest

RUN = ("--tunix-train", "words.toml")


def completions(project):
    (path,) = project.path.glob("artifacts/runs/*/eval_after.word-ending-heldout.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_stop_text_cuts_completions_and_makes_new_ones_of_the_same_run(project):
    project.run(*RUN).assert_outcomes(passed=4)
    whole = completions(project)
    text = (project.path / "words.toml").read_text(encoding="utf-8")
    project.write("words.toml", text.replace("[generation]", '[generation]\nstop = ["a", "is"]'))
    project.run(*RUN).assert_outcomes(passed=4)
    cut = completions(project)
    assert any("a" in one["generated_response"] for one in whole)
    assert not any("a" in one["generated_response"] or "is" in one["generated_response"] for one in cut)
    for one, before in zip(cut, whole, strict=True):
        assert before["generated_response"].startswith(one["generated_response"])


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("[generation]", "[generation]\ntemperature = 0.7\ntop_k = 3", "takes no generation.top_k: 'filters'"),
        ('renderer = "qa"', 'renderer = "qa"\nholdout = 0.2', "takes no holdout: 'holdout'"),
    ],
)
def test_what_a_trainer_does_not_say_that_it_supports_is_refused_before_training(project, old, new, found):
    text = (project.path / "words.toml").read_text(encoding="utf-8")
    assert old in text
    project.write("words.toml", text.replace(old, new))
    result = project.run(*RUN)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines([f"*trainer 'ngram' {found} is not in its `supports`; take it out, or*"])
    assert not project.manifests()
