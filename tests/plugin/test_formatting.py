"""Run files that choose what is trained on: tokenizers by path, supervision, weights, truncation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from projects import ROOT, RUN_FILE, Project

from tunix_eval.plugin.prepare import Prepared, format_of_spec
from tunix_eval.plugin.registry import Registry
from tunix_eval.specs import RunSpec

sys.path.append(str(ROOT / "tests" / "data"))
import tiny_tokenizers

TEST = "def test_loss(tunix_run):\n    assert tunix_run.metrics\n"


def run_file(project: Project, *changes: str, name: str = "words.toml", **replaced: str) -> None:
    text = RUN_FILE.replace('renderer = "qa"', "\n".join([f'renderer = "{replaced.pop("renderer", "qa")}"', *changes]))
    for key, value in replaced.items():
        line = next(line for line in RUN_FILE.split("\n") if line.startswith(f"{key} ="))
        text = text.replace(line, f"{key} = {value}")
    project.write(name, text)


def recorded(project: Project) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in project.manifests()]


@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
def test_a_tokenizer_by_path_trains_and_its_manifest_says_which_file_it_was(project: Project, kind: str) -> None:
    name = "tokenizer.json" if kind == "byte_level" else "tokenizer.model"
    (project.path / "model").mkdir()
    getattr(tiny_tokenizers, kind)(project.path / "model" / name)
    run_file(project, tokenizer='"model"' if kind == "byte_level" else f'"model/{name}"', row_tokens="256")
    if kind == "byte_level":
        run_file(project, tokenizer='"./model"', row_tokens="256")
    project.test(TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = recorded(project)
    tokenizer = manifest["tokenizer"]
    assert isinstance(tokenizer, dict)
    assert tokenizer["name"] == ("hf" if kind == "byte_level" else "sentencepiece")
    assert tokenizer["path"] == ("model" if kind == "byte_level" else f"model/{name}")
    assert len(tokenizer["version"]) == 12


def test_a_checkpoint_is_judged_with_the_tokenizer_file_it_was_trained_with(project: Project) -> None:
    (project.path / "model").mkdir()
    file = tiny_tokenizers.byte_level(project.path / "model" / "tokenizer.json")
    run_file(project, tokenizer='"model/tokenizer.json"', row_tokens="256")
    project.test(TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = recorded(project)
    judged = f'name = "judged"\ncheckpoint = "{manifest["run_id"]}"\nevalsets = ["word-ending-heldout"]\n'
    project.write("judged.toml", judged)
    project.write(
        "test_judged.py",
        'import pytest\n@pytest.mark.tunix_train("judged.toml")\n'
        "def test_mean(tunix_scorecard):\n    assert tunix_scorecard['exact'].mean is not None\n",
    )
    project.run("test_judged.py").assert_outcomes(passed=1)
    file.rename(project.path / "moved.json")
    result = project.run("test_judged.py")
    result.assert_outcomes(errors=1)
    assert "trained with tokenizer model/tokenizer.json, which is not here" in " ".join(result.stdout.str().split())
    project.write("judged.toml", f'tokenizer = "moved.json"\n{judged}')
    project.run("test_judged.py").assert_outcomes(passed=1)
    (project.path / "moved.json").write_text((project.path / "moved.json").read_text() + "\n")
    result = project.run("test_judged.py")
    result.assert_outcomes(errors=1)
    assert "was trained with version" in result.stdout.str()


def test_mistakes_are_one_line_each(project: Project) -> None:
    mistakes = {
        'tokenizer = "hf"': 'is opened by path: write tokenizer = "path/to/tokenizer.json"',
        'tokenizer = "none.json"': "none.json: no such tokenizer file",
        'renderer_options = { date = "today" }': "renderer 'qa' has no options, found date; take them out",
        "step_weight = { sumn = 0.5 }": "has a step of type 'sumn'",
        'supervise = "answer"\nstep_weight = 0.5': "no step carries loss then",
        'supervise = "anser"': "supervise: found 'anser', expected last, all, answer. Did you mean 'answer'?",
        'truncation = "drop"\n#': "would be dropped; raise row_tokens",
    }
    project.test(TEST)
    for line, message in mistakes.items():
        rows = "5" if "drop" in line else "64"
        text = RUN_FILE.replace("row_tokens = 64", f"row_tokens = {rows}")
        if line.startswith("tokenizer"):
            text = text.replace('tokenizer = "pieces"', line)
        else:
            text = text.replace('renderer = "qa"', f'renderer = "qa"\n{line}')
        project.write("words.toml", text)
        result = project.run("--tunix-train")
        result.assert_outcomes(errors=1)
        assert message in " ".join(result.stdout.str().split()), line
        assert "Traceback" not in result.stdout.str()
    assert not project.manifests()


def test_traces_that_are_dropped_are_counted_in_the_manifest_and_said_once(project: Project) -> None:
    text = RUN_FILE.replace("row_tokens = 64", "row_tokens = 46").replace('"qa"', '"plain"\ntruncation = "drop"')
    text = text.replace("word-ending-v1", "addition-v1").replace('"pieces"', '"bytes"')
    project.write("words.toml", text.replace("word-ending-heldout", "addition-heldout"))
    project.test(TEST + "def test_again(tunix_run):\n    pass\n")
    result = project.run("--tunix-train")
    result.assert_outcomes(passed=2)
    (manifest,) = recorded(project)
    truncation = manifest["truncation"]
    assert isinstance(truncation, dict)
    assert (truncation["mode"], truncation["cut"]) == ("drop", 0)
    assert truncation["dropped"] == 1236
    text = " ".join(result.stdout.str().split())
    assert text.count("words: 1236 of 2000 traces of addition-v1") == 1
    assert "are longer than 46 tokens and were dropped: " in text
    result = project.run("--tunix-train", "--tunix-plan", "--tunix-retrain")
    assert "were dropped" in result.stdout.str()


def test_an_override_of_what_is_supervised_trains_anew(project: Project) -> None:
    project.test(
        "def test_both(tunix_run, tunix_train):\n"
        '    other = tunix_train("words.toml", supervise="answer")\n'
        "    assert other.run_id != tunix_run.run_id\n"
        '    assert other.spec.name == "words[supervise=answer]"\n'
    )
    project.run("--tunix-train").assert_outcomes(passed=1)
    assert {str(manifest["recipe"]["supervise"]) for manifest in recorded(project)} == {"last", "answer"}  # type: ignore[index]


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(request.config)


def prepared(registry: Registry, **changes: object) -> Prepared:
    spec = RunSpec.model_validate(
        {
            "name": "addition",
            "dataset": "addition-v1",
            "renderer": "plain",
            "model": {"preset": "tiny"},
            "training": {"steps": 1, "row_tokens": 48},
        }
        | changes
    )
    return Prepared(spec, registry.dataset("addition-v1"), format_of_spec(registry, spec))


def test_whatever_changes_what_is_learned_changes_the_digest_of_the_sequences(registry: Registry) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"supervise": "answer"},
        {"step_weight": 0.5},
        {"step_weight": 0.25},
        {"truncation": "left", "training": {"steps": 1, "row_tokens": 40}},
        {"truncation": "right", "training": {"steps": 1, "row_tokens": 40}},
        {"truncation": "drop", "training": {"steps": 1, "row_tokens": 46}},
    ]
    assert len({prepared(registry, **change).sequences_sha256 for change in changes}) == len(changes)
    assert (
        prepared(registry).sequences_sha256 == prepared(registry, step_weight=1.0, truncation="left").sequences_sha256
    )


def test_rows_have_weights_only_where_some_token_weighs_neither_nothing_nor_one(registry: Registry) -> None:
    assert prepared(registry).rows.loss_weights is None
    assert prepared(registry, supervise="answer").rows.loss_weights is None
    weights = prepared(registry, step_weight=0.5).rows.loss_weights
    assert weights is not None
    assert set(weights.ravel().tolist()) == {0.0, 0.5, 1.0}


def test_options_choose_among_what_an_edition_leaves_open(registry: Registry) -> None:
    llama: dict[str, object] = {"renderer": "llama3_2", "training": {"steps": 1, "row_tokens": 200}}
    changed = prepared(registry, renderer_options={"date": "03 Mar 2024"}, **llama)
    assert "03 Mar 2024" in changed.sequences[0].text
    assert changed.sequences_sha256 != prepared(registry, **llama).sequences_sha256


def test_a_model_directory_renders_with_its_own_template(registry: Registry, tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message.role }}\n"
        "{{ message.content }}<end_of_turn>{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
    )
    (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
    tiny_tokenizers.byte_level(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<bos>", "eos_token": "<eos>"}', encoding="utf-8")
    directory = f"{tmp_path}/"
    found = prepared(registry, renderer=directory, tokenizer=directory, training={"steps": 1, "row_tokens": 200})
    sequence = found.sequences[0]
    assert sequence.text.startswith("<bos><start_of_turn>user\n")
    assert found.format.tokenizer.decode(sequence.ids.tolist()) == sequence.text
    assert sequence.ids.tolist().count(found.format.tokenizer.control_id("<bos>")) == 1
