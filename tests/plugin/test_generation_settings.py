"""What a run file says of generation, with a model of another package: it neither stops early nor reports progress."""

import json

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
