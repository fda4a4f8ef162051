"""What bad input gets: one clear line, exit 1, 2 or 4, no traceback; one of each kind under xdist too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from projects import RUN_FILE, WORKERS, Project

RUN_TEST = "def test_run(tunix_run):\n    assert tunix_run.metrics\n"
CARD_TEST = "def test_card(tunix_scorecard):\n    assert tunix_scorecard['exact'].mean > 0.9\n"
NO_WORSE = "@pytest.mark.tunix_gate('no_worse', metric='exact')\ndef test_gate(tunix_gate):\n    tunix_gate.check()\n"


def check_line(result: pytest.RunResult, line: str, code: int = pytest.ExitCode.TESTS_FAILED) -> None:
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == code, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert re.search(line, text), text


TRACE = {
    "trace_version": "1.0",
    "prompt": "1+1=",
    "final_answer": "2",
    "steps": [{"i": 0, "type": "sum", "content": "1+1=2"}],
}


TRACE_LINES: list[tuple[str, ...]] = [
    ("{", r"traces\.jsonl:2: "),
    (json.dumps(TRACE | {"prompt": ""}), r"traces\.jsonl:2: .*prompt"),
    (json.dumps(TRACE | {"promt": "x"}), r"traces\.jsonl:2: .*promt.*Did you mean 'prompt'\?"),
    (
        json.dumps(TRACE | {"steps": TRACE["steps"] * 2}),
        r"traces\.jsonl:2: steps\[1\]\.i is 0, already used by steps\[0\]",
    ),
]

RUN_FILE_MISTAKES: list[tuple[str, ...]] = [
    (
        "word-ending-v1",
        "word-ending-v2",
        r"no dataset named 'word-ending-v2'; known: .*Did you mean 'word-ending-v1'\?",
    ),
    ('"qa"', '"gema"', r"no renderer named 'gema'; known: .*Did you mean 'gemma'\?"),
    ('"pieces"', '"piece"', r"no tokenizer named 'piece'; known: .*Did you mean 'pieces'\?"),
    ('"ngram"', '"ngrm"', r"no trainer named 'ngrm'; known: .*Did you mean 'ngram'\?"),
    ('"prefix"]', '"prefx"]', r"no scorer named 'prefx'; known: .*Did you mean 'prefix'\?"),
    (
        "word-ending-heldout",
        "word-ending-heldot",
        r"no evalset named 'word-ending-heldot'.*'word-ending-heldout'\?",
    ),
    ("epochs", "epoch", r"unknown key 'training\.epoch'\. Did you mean 'epochs'\?"),
    ('"qa"', "qa", r"words\.toml: Invalid value \(at line 4, column 12\)"),
    ('"word-ending-v1"', '"no/such.jsonl"', r"no/such\.jsonl: no such file"),
]

MARKER_MISTAKES: list[tuple[str, ...]] = [
    (
        "def test(tunix_run):\n    pass\n"
        "test = pytest.MarkDecorator(pytest.Mark('tunix_evalst', (), {}, _ispytest=True), _ispytest=True)(test)",
        r"no marker 'tunix_evalst'; .*Did you mean 'tunix_evalset'\?",
    ),
    ("def test(tunix_scorcard):\n    pass", r"no fixture 'tunix_scorcard'; .*Did you mean 'tunix_scorecard'\?"),
    (
        "@pytest.mark.tunix_gate('no_wors', 'exact')\ndef test(tunix_gate):\n    pass",
        r"marker tunix_gate: rule: .*'no_wors'",
    ),
    (
        "@pytest.mark.tunix_gate('at_least', 'exat', value=1)\ndef test(tunix_gate):\n    pass",
        r"no metric measured by run 'words' named 'exat'.*'exact'\?",
    ),
    (
        "@pytest.mark.tunix_gate('at_most', 'numeric', value=1)\ndef test(tunix_gate):\n    pass",
        r"no metric measured by run 'words' named 'numeric'; known: exact, prefix; add it to scorers in the run file",
    ),
    (
        "@pytest.mark.tunix_gate('no_worse', 'exact', alpa=1)\ndef test(tunix_gate):\n    pass",
        r"unknown key 'alpa'\. Did you mean 'alpha'\?",
    ),
    (
        "@pytest.mark.tunix_evalset('word-ending-heldot')\ndef test(tunix_scorecard):\n    pass",
        r"no evalset named.*'word-ending-heldout'\?",
    ),
    (
        "@pytest.mark.tunix_evalset('word-ending-heldout')\ndef test():\n    pass",
        r"is marked tunix_evalset and takes none of",
    ),
    ("@pytest.mark.tunix_train('other.toml')\ndef test(tunix_run):\n    pass", r"other\.toml: no such run file"),
    (
        "@pytest.mark.tunix_train('words.toml', sed=1)\ndef test(tunix_run):\n    pass",
        r"unknown key 'sed'\. Did you mean 'seed'\?",
    ),
    (
        "@pytest.mark.tunix_device('gpux')\ndef test(tunix_run):\n    pass",
        r"marker tunix_device takes cpu, gpu or tpu",
    ),
]

BASELINE_DAMAGE: list[tuple[str, ...]] = [
    (r'"evalset_sha256": "\w+"', '"evalset_sha256": "00"', "another evalset"),
    (r'"prompts_sha256": "\w+"', '"prompts_sha256": "00"', "other prompts"),
    (r'"scorer_sha256": "\w+"', '"scorer_sha256": "00"', "another version of scorer 'exact'"),
    (r'"format_version": 1', '"format_version": 2', "format_version"),
    (r"^\{", "<<<<<<< ours\n{", "merge conflict"),
    (r"\}\s*$", "", r"word-ending-heldout\.json:\d+:\d+: "),
]


@pytest.mark.parametrize(("line", "message"), TRACE_LINES)
def test_a_broken_trace_line_is_named(project: Project, line: str, message: str) -> None:
    project.write("traces.jsonl", f"{json.dumps(TRACE)}\n{line}\n")
    project.write("words.toml", RUN_FILE.replace("word-ending-v1", "traces.jsonl"))
    project.test(RUN_TEST)
    check_line(project.run("--tunix-train"), message)
    assert not project.manifests()


def test_a_trace_longer_than_a_row_is_named_with_both_lengths(project: Project) -> None:
    project.write("words.toml", RUN_FILE.replace("row_tokens = 64", "row_tokens = 8"))
    project.test(RUN_TEST)
    check_line(
        project.run("--tunix-train"),
        r"word-ending-v1: \d+ of \d+ traces are longer than row_tokens = 8 \(first: 'bad' with \d+; longest \d+\); "
        r'raise it, or set truncation = "drop", "left" or "right"',
    )


def test_a_file_of_long_traces_is_named_by_its_path(project: Project) -> None:
    project.write("parts/traces.jsonl", json.dumps(TRACE) + "\n")
    text = RUN_FILE.replace("row_tokens = 64", "row_tokens = 8").replace("word-ending-v1", "parts/traces.jsonl")
    project.write("words.toml", text)
    project.test(RUN_TEST)
    check_line(
        project.run("--tunix-train"), r"traces \(parts/traces\.jsonl\): 1 of 1 traces is longer than row_tokens = 8"
    )


@pytest.mark.parametrize(("old", "new", "message"), RUN_FILE_MISTAKES)
def test_a_mistake_in_a_run_file_is_one_line_with_a_suggestion(
    project: Project, old: str, new: str, message: str
) -> None:
    project.write("words.toml", RUN_FILE.replace(old, new, 1))
    project.test(RUN_TEST)
    check_line(project.run("--tunix-train"), message)
    assert not project.manifests()
    named = project.run("--tunix-train", "words.toml")
    check_line(named, message, int(named.ret) if named.ret in {1, 2} else 1)


@pytest.mark.parametrize(
    ("folder", "run_file", "written"),
    [("datasets", "words.toml", "datasets/rt-v1"), (".", "words.toml", "./rt-v1")],
)
def test_a_name_that_is_a_folder_beside_the_run_file_is_told_as_a_path(
    project: Project, folder: str, run_file: str, written: str
) -> None:
    project.write(f"{folder}/rt-v1/manifest.json", "{}")
    project.write(run_file, RUN_FILE.replace("word-ending-v1", "rt-v1"))
    project.test(RUN_TEST)
    line = f"no dataset is registered as 'rt-v1'; for the path, write {re.escape(written)}$"
    assert re.search(line, project.run().stdout.str(), re.M)


def test_a_path_that_a_marker_means_is_told_from_the_folder_of_the_test(project: Project) -> None:
    project.write("datasets/rt-v1/manifest.json", "{}")
    project.write(
        "tests/test_data.py",
        "import pytest\n@pytest.mark.tunix_dataset('rt-v1')\ndef test_rows(tunix_dataset):\n    pass\n",
    )
    check_line(project.run("tests"), r"no dataset is registered as 'rt-v1'; for the path, write \.\./datasets/rt-v1")


@pytest.mark.parametrize(("body", "message"), MARKER_MISTAKES)
def test_a_mistake_in_a_marker_or_fixture_is_one_line(project: Project, body: str, message: str) -> None:
    project.test(body)
    result = project.run("--tunix-train", "-o", "addopts=")
    check_line(result, message)
    assert not project.manifests()


@pytest.mark.parametrize(
    ("strict", "workers"),
    [(("-o", "addopts="), ()), (("--strict-markers",), ()), (("--strict-markers",), WORKERS)],
    ids=["warnings as errors", "strict", "strict-xdist"],
)
def test_a_misspelt_marker_gets_a_suggestion_where_pytest_refuses_it(
    project: Project, strict: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    project.test("@pytest.mark.tunix_gat('no_worse', 'exact')\ndef test(tunix_run):\n    pass")
    result = project.run(*strict, *workers)
    text = result.stdout.str()
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED}
    assert "no marker 'tunix_gat'; known: tunix_dataset" in text
    assert "Did you mean 'tunix_gate'?" in text


def test_a_test_that_names_no_run_file_is_told_how(project: Project) -> None:
    project.write("test_bare.py", "def test_bare(tunix_run):\n    pass\n")
    check_line(
        project.run(),
        r'takes tunix_run and names no run file: mark it with @pytest\.mark\.tunix_train\("name\.toml"\)',
    )


def test_a_call_in_a_test_body_is_checked_at_the_call(project: Project) -> None:
    project.test("def test_body(tunix_train):\n    tunix_train('words.toml', training={'epoch': 2})\n")
    check_line(project.run("--tunix-train"), r"unknown key 'training\.epoch'\. Did you mean 'epochs'\?")


def test_two_run_files_of_one_name_are_an_error_that_names_both(project: Project) -> None:
    project.write("more/words.toml", RUN_FILE)
    project.test(RUN_TEST)
    project.write(
        "test_more.py",
        "def test_more(tunix_train):\n    tunix_train('words.toml')\n    tunix_train('more/words.toml')\n",
    )
    check_line(
        project.run("--tunix-train", "test_more.py"), r"more/words\.toml: the name 'words' is taken by words\.toml"
    )


def test_a_damaged_checkpoint_is_named_and_only_retrain_trains_again(project: Project) -> None:
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = project.manifests()
    (manifest.parent / "checkpoint-final" / "counts.npz").write_bytes(b"damage")
    project.test(CARD_TEST)
    message = r"checkpoint-final/counts\.npz: digest mismatch: found \w{16}, the manifest has \w{16}; .*--tunix-retrain"
    check_line(project.run("--tunix-train"), message)
    project.run("--tunix-retrain").assert_outcomes(passed=1)
    project.run("--tunix-train").assert_outcomes(passed=1)


def test_a_damaged_manifest_is_named(project: Project) -> None:
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    (manifest,) = project.manifests()
    manifest.write_text("{")
    check_line(project.run("--tunix-train"), r"run_manifest\.json: damaged; train the run again with --tunix-retrain")
    project.run("--tunix-retrain").assert_outcomes(passed=1)


def test_an_artifacts_directory_that_cannot_be_written_is_named(project: Project, workers: tuple[str, ...]) -> None:
    project.test(RUN_TEST)
    project.write("taken", "a file")
    check_line(
        project.run("--tunix-train", "--tunix-artifacts=taken", *workers),
        r"taken: cannot be written: .*; name another with --tunix-artifacts=DIR",
    )


def test_a_model_that_cannot_fit_is_refused_before_training(project: Project) -> None:
    huge = 'preset = "tiny"\nlayers = 1000\nwidth = 65536\nmlp_width = 262144'
    text = RUN_FILE.replace('"ngram"', '"flax"').replace("options = { order = 8 }", "")
    project.write("words.toml", text.replace('preset = "tiny"', huge))
    project.test(RUN_TEST)
    message = (
        r"run 'words' \(\w{16}\) needs about 2.75e\+03 TB for checkpoints, .* are free; free space or name another"
    )
    check_line(project.run("--tunix-train"), message)
    assert not (project.path / "artifacts").exists()


FULL_DISK = """
import resource
def pytest_runtest_setup(item):
    # The kernel refuses to let any file grow beyond this: what a full disk looks like from inside.
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
def pytest_runtest_teardown(item):
    # What measures coverage writes its file when the process ends.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
"""


def test_a_full_disk_while_training_is_one_line_and_records_no_run(project: Project) -> None:
    project.test(RUN_TEST)
    project.write("conftest.py", "from tunix_eval_template.hooks import *\n" + FULL_DISK)
    result = project.run_apart("--tunix-train")
    check_line(result, r"cannot be written: .*; free space or name another directory with --tunix-artifacts=DIR")
    assert not project.manifests()
    project.write("conftest.py", "from tunix_eval_template.hooks import *\n")
    project.run("--tunix-train").assert_outcomes(passed=1)


def test_two_plugins_that_offer_one_name_are_both_named(project: Project) -> None:
    project.write(
        "conftest.py",
        "from tunix_eval_template.hooks import *\nfrom tunix_eval.data import PlainRenderer\n"
        "def pytest_tunix_renderers():\n    return {'gemma': PlainRenderer()}\n",
    )
    project.write("words.toml", RUN_FILE.replace('"qa"', '"gemma"'))
    project.test(RUN_TEST)
    message = r"two renderers are named 'gemma': one from tunix-eval, one from conftest\.py; rename one"
    check_line(project.run("--tunix-train"), message)


def test_a_broken_offer_breaks_only_what_it_offers_and_is_named(project: Project) -> None:
    project.write(
        "conftest.py",
        "from tunix_eval_template.hooks import *\ndef pytest_tunix_scorers():\n    raise RuntimeError('no licence')\n",
    )
    project.test(RUN_TEST)
    message = r"no scorer named 'prefix'; known: .*, numeric\.; conftest\.py failed: RuntimeError: no licence"
    check_line(project.run("--tunix-train"), message)
    project.write("words.toml", RUN_FILE.replace(', "prefix"', ""))
    project.run("--tunix-train").assert_outcomes(passed=1)


def offering_package(project: Project, name: str, body: str) -> None:
    """Install a distribution that registers a module under the entry-point group."""
    project.write(f"site/{name}.py", body)
    project.write(f"site/{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    project.write(f"site/{name}-1.0.dist-info/entry_points.txt", f"[tunix_eval]\n{name} = {name}\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import sys\nsys.exit('no GPU')", "SystemExit: no GPU"),
        ("import pytest\npytest.importorskip('no_such_module')", "Skipped: could not import 'no_such_module'"),
        ("import pytest\npytest.fail('not here')", "Failed: not here"),
        ("raise RecursionError('too deep')", "RecursionError: too deep"),
    ],
)
def test_a_package_whose_import_ends_the_process_breaks_only_its_offers(
    project: Project, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    offering_package(project, "ending", body)
    monkeypatch.syspath_prepend(project.path / "site")
    project.test(RUN_TEST)
    project.run("--tunix-train").assert_outcomes(passed=1)
    project.write("words.toml", RUN_FILE.replace('"prefix"]', '"its-own"]'))
    check_line(
        project.run("--tunix-train"), rf"no scorer named 'its-own'.*plugin ending \(ending 1\.0\) failed: {reason}"
    )


def test_an_offer_that_exits_is_named_with_what_it_offers(project: Project) -> None:
    offers = "def pytest_tunix_datasets():\n    return {'words': lambda: exit('no licence')}\n"
    project.write(
        "conftest.py", f"from tunix_eval_template.hooks import pytest_tunix_tokenizers, pytest_tunix_trainers\n{offers}"
    )
    project.write(
        "sums.toml", RUN_FILE.replace("word-ending-v1", "words").replace('"qa"', '"plain"').replace(', "prefix"', "")
    )
    check_line(project.run("--tunix-plan", "sums.toml"), r"dataset 'words' failed: SystemExit: no licence")


def test_a_missing_baseline_fails_before_anything_is_trained_for_it(project: Project) -> None:
    project.test(NO_WORSE)
    message = r"baselines/words/word-ending-heldout\.json: no such baseline; .*--tunix-update-baselines"
    check_line(project.run("--tunix-train"), message)
    assert not project.manifests()


def with_baseline(project: Project) -> Path:
    project.test(NO_WORSE)
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1").assert_outcomes(passed=1)
    return project.path / "baselines" / "words" / "word-ending-heldout.json"


@pytest.mark.parametrize(("old", "new", "message"), BASELINE_DAMAGE)
def test_a_foreign_or_damaged_baseline_never_passes(project: Project, old: str, new: str, message: str) -> None:
    path = with_baseline(project)
    text, count = re.subn(old, new, path.read_text())
    assert count
    path.write_text(text)
    check_line(project.run("--tunix-train"), message)


def test_an_evaluated_prompt_that_was_trained_on_is_refused(project: Project) -> None:
    item = {"id": "a", "prompt": "Ending of  BAD", "expected_answer": "ad"}
    project.write("mine.jsonl", json.dumps(item) + "\n")
    project.write("words.toml", RUN_FILE.replace("word-ending-heldout", "mine.jsonl"))
    project.test(CARD_TEST)
    check_line(project.run("--tunix-train"), r"evalset 'mine': 1 of 1 prompts are in the training set word-ending-v1")
    assert not project.manifests()


@pytest.mark.parametrize(
    ("table", "message", "workers"),
    [
        ('artifact = "x"', r"unknown key 'artifact'\. Did you mean 'artifacts'\?", ()),
        ('device = "gpus"', r"--tunix-device 'gpus': expected auto, cpu, gpu or tpu", ()),
        ("artifacts = 3", r"artifacts: .*found 3", ()),
        ("artifacts = 3", r"artifacts: .*found 3", WORKERS),
    ],
)
def test_a_wrong_setting_is_a_usage_error(project: Project, table: str, message: str, workers: tuple[str, ...]) -> None:
    text = (project.path / "pyproject.toml").read_text()
    project.write("pyproject.toml", f"{text}\n[tool.tunix_eval]\n{table}\n")
    project.test(RUN_TEST)
    check_line(project.run("--tunix-train", *workers), message, pytest.ExitCode.USAGE_ERROR)


@pytest.mark.parametrize(
    ("request_", "message", "workers"),
    [
        ("gpux", r"--tunix-device 'gpux': expected auto, cpu, gpu or tpu", ()),
        ("cpu:1", r"--tunix-device 'cpu:1': expected", ()),
        ("tpu", r"--tunix-device tpu: not there; available: cpu \(.*\)\.", ()),
        ("tpu", r"--tunix-device tpu: not there; available: cpu \(.*\)\.", WORKERS),
    ],
)
def test_a_device_that_is_not_there_is_a_usage_error_that_lists_what_is(
    project: Project, request_: str, message: str, workers: tuple[str, ...]
) -> None:
    project.test(RUN_TEST)
    check_line(project.run("--tunix-device", request_, *workers), message, pytest.ExitCode.USAGE_ERROR)


def test_many_mistakes_in_one_session_are_each_one_line_under_xdist(project: Project) -> None:
    """All of the lists above at once: a mistake stays with the tests that it concerns."""
    messages: list[str] = []
    tests = ""

    def run_file(name: str, text: str) -> str:
        project.write(f"{name}.toml", text.replace('name = "words"', f'name = "{name}"'))
        return f"\n@pytest.mark.tunix_train('{name}.toml')\n"

    for number, (*_, message) in enumerate(BASELINE_DAMAGE):
        tests += run_file(f"damaged{number}", RUN_FILE) + NO_WORSE.replace("test_gate", f"test_damaged_{number}")
        messages.append(message)
    project.write("test_all.py", f"import pytest\n{tests}")
    project.run("--tunix-train", "--tunix-update-baselines", "--tunix-baseline-runs", "1").assert_outcomes(
        passed=len(BASELINE_DAMAGE)
    )
    for number, (old, new, _) in enumerate(BASELINE_DAMAGE):
        path = project.path / "baselines" / f"damaged{number}" / "word-ending-heldout.json"
        path.write_text(re.sub(old, new, path.read_text()))
    for number, (line, message) in enumerate(TRACE_LINES):
        project.write(f"traces{number}.jsonl", f"{json.dumps(TRACE)}\n{line}\n")
        tests += run_file(f"broken{number}", RUN_FILE.replace("word-ending-v1", f"traces{number}.jsonl"))
        tests += RUN_TEST.replace("test_run", f"test_broken_{number}")
        messages.append(message.replace("traces", f"traces{number}"))
    for number, (old, new, message) in enumerate(RUN_FILE_MISTAKES):
        tests += run_file(f"mistake{number}", RUN_FILE.replace(old, new, 1))
        tests += RUN_TEST.replace("test_run", f"test_mistake_{number}")
        messages.append(message.replace("words", f"mistake{number}"))
    for number, (body, message) in enumerate(MARKER_MISTAKES):
        tests += f"\n{body}\n".replace("def test(", f"def test_marker_{number}(").replace(
            "(test)", f"(test_marker_{number})"
        )
        tests = tests.replace("test = pytest.MarkDecorator", f"test_marker_{number} = pytest.MarkDecorator")
        messages.append(message)
    project.test(tests, "test_all.py")
    result = project.run("--tunix-train", "-n", "2", "-o", "addopts=")
    for message in messages:
        check_line(result, message)
    result.assert_outcomes(errors=len(messages))
