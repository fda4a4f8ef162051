"""What others offer by name, and the mistakes in it: one line each, and other tests go on."""

from __future__ import annotations

import json

import pytest
from projects import RUN_FILE, Project
from test_bad_input import CARD_TEST, RUN_TEST, check_line

CONFTEST = """
from tunix_eval_template.hooks import *
from tunix_eval_template import hooks
from tunix_eval.data import make_evalset
from tunix_eval.records import EvalItem
"""
ITEM = {"id": "a", "prompt": "ending of zzab", "expected_answer": "ab"}

RAISING_DATASET = """
def broken():
    raise KeyError("licence")
def pytest_tunix_datasets():
    return {**hooks.pytest_tunix_datasets(), "broken": broken}
"""
TEXT_EVALSET = """
def pytest_tunix_evalsets():
    return {**hooks.pytest_tunix_evalsets(), "broken": "sets/broken.jsonl"}
"""
CLASS_RENDERER = """
def pytest_tunix_renderers():
    return {**hooks.pytest_tunix_renderers(), "broken": hooks.QaRenderer}
"""
RAISING_RENDERER = """
class Broken(hooks.QaRenderer):
    def render(self, conversation, *, generation_prompt):
        raise RuntimeError("no ink")
def pytest_tunix_renderers():
    return {**hooks.pytest_tunix_renderers(), "broken": Broken()}
"""
EVIL_EVALSET = """
def pytest_tunix_evalsets():
    evil = make_evalset("../../evil", [EvalItem(id="a", prompt="ending of zzab", expected_answer="ab")])
    return {**hooks.pytest_tunix_evalsets(), "evil": lambda: evil}
"""

MISTAKES = {
    "a dataset that raises": (
        RAISING_DATASET,
        "word-ending-v1",
        "broken",
        r"dataset 'broken' failed: KeyError: 'licence'",
    ),
    "an evalset that is text": (
        TEXT_EVALSET,
        "word-ending-heldout",
        "broken",
        r"evalset 'broken' of conftest\.py is the str 'sets/broken\.jsonl', expected a pathlib\.Path, or a function",
    ),
    "a renderer class": (
        CLASS_RENDERER,
        '"qa"',
        '"broken"',
        r"renderer 'broken' is the class QaRenderer, expected an instance",
    ),
    "a renderer that raises": (RAISING_RENDERER, '"qa"', '"broken"', r"renderer 'qa' .*failed: RuntimeError: no ink"),
    "a name that is a path": (EVIL_EVALSET, "word-ending-heldout", "evil", r"its name '\.\./\.\./evil' is no key"),
    "an infinite rate": ("", "rows = 8", "rows = 8\nlearning_rate = inf", r"training\.learning_rate: .*finite.*inf"),
    "infinite epochs": ("", "epochs = 1", "epochs = inf", r"training\.epochs: .*finite.*inf"),
    "an option that is no number": (
        "",
        "rows = 8",
        "rows = 8\noptimizer_options = { b2 = nan }",
        r"training\.optimizer_options: \{'b2': nan\} holds more than finite numbers",
    ),
}


@pytest.mark.parametrize(("offers", "old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_what_is_offered_or_asked_for_is_one_line_and_other_tests_pass(
    project: Project, offers: str, old: str, new: str, message: str
) -> None:
    project.write("conftest.py", CONFTEST + offers)
    project.write("bad.toml", RUN_FILE.replace('"words"', '"bad"').replace(old, new))
    project.test(
        RUN_TEST + "@pytest.mark.tunix_train('bad.toml')\ndef test_bad(tunix_scorecard):\n    pass\n"
        "def test_other():\n    pass\n"
    )
    result = project.run("--tunix-train")
    check_line(result, message)
    result.assert_outcomes(passed=2, errors=1)
    assert len(project.manifests()) == 1
    assert not list(project.path.parent.rglob("*evil*"))


def test_an_override_that_is_no_plain_value_is_one_line(project: Project) -> None:
    project.test(
        "from pathlib import Path\n" + RUN_TEST + "@pytest.mark.tunix_train('words.toml', dataset=Path('a.jsonl'))\n"
        "def test_bad(tunix_run):\n    pass\n"
        "def test_body(tunix_train):\n    tunix_train('words.toml', dataset=Path('a.jsonl'))\n"
    )
    result = project.run("--tunix-train")
    check_line(result, r"overrides of words\.toml: .*Path.*; expected finite numbers, texts, lists and tables")
    result.assert_outcomes(passed=1, errors=1, failed=1)


@pytest.mark.parametrize("device", [(), ("--tunix-device", "cpu")], ids=["by itself", "asked for"])
def test_a_thread_count_that_is_no_number_is_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, device: tuple[str, ...]
) -> None:
    monkeypatch.setenv("NPROC", "abc")
    project.test(RUN_TEST + "def test_other():\n    pass\n")
    result = project.run_apart("--tunix-train", *device)
    code = pytest.ExitCode.USAGE_ERROR if device else pytest.ExitCode.TESTS_FAILED
    check_line(result, r"NPROC is 'abc', expected a number of threads", code)
    if not device:
        result.assert_outcomes(passed=1, errors=1)


def test_a_data_warning_is_a_note_even_where_warnings_are_errors(project: Project) -> None:
    project.write("mine.jsonl", json.dumps(ITEM | {"section": "odd"}) + "\n")
    project.write("words.toml", RUN_FILE.replace("word-ending-heldout", "mine.jsonl"))
    project.test(CARD_TEST.replace("> 0.9", ">= 0"))
    result = project.run_apart("--tunix-train", "-W", "error")
    result.assert_outcomes(passed=1)
    # A long line is wrapped.
    assert "note: mine.jsonl: line 1 ('a'): section odd: not among core, trace_sensitive" in " ".join(
        result.stdout.str().split()
    )


# ------------------------------------------------------------------------------------------------------------ names


def two_sets(project: Project) -> None:
    project.write("a/dev.jsonl", json.dumps(ITEM) + "\n")
    project.write("b/dev.jsonl", json.dumps(ITEM | {"id": "b", "prompt": "ending of qqab"}) + "\n")


def test_two_files_of_one_stem_under_two_names_have_records_of_their_own(project: Project) -> None:
    two_sets(project)
    project.write(
        "conftest.py",
        CONFTEST + "HERE = Path(__file__).parent\n"
        "def pytest_tunix_evalsets():\n    return {'one': HERE / 'a/dev.jsonl', 'two': HERE / 'b/dev.jsonl'}\n",
    )
    project.write("words.toml", RUN_FILE.replace('"word-ending-heldout"', '"one", "two"'))
    project.run("--tunix-train", "words.toml").assert_outcomes(passed=5)
    (manifest,) = project.manifests()
    ids = {
        name: [json.loads(line)["example_id"] for line in (manifest.parent / name).read_text().splitlines()]
        for name in ("eval_after.one.jsonl", "eval_after.two.jsonl")
    }
    assert ids == {"eval_after.one.jsonl": ["a"], "eval_after.two.jsonl": ["b"]}


WRONG_TYPES = """
def pytest_tunix_datasets():
    return {**hooks.pytest_tunix_datasets(), "listed": [1, 2], "empty": None, "built": lambda: [1]}
def pytest_tunix_tokenizers():
    return {**hooks.pytest_tunix_tokenizers(), "listed": [1], "counted": lambda controls: 5}
def pytest_tunix_trainers():
    return {**hooks.pytest_tunix_trainers(), "counted": 5, 3: "a:b"}
"""


def test_offers_of_the_wrong_type_are_named_with_what_was_expected(project: Project) -> None:
    asked = [
        (
            "word-ending-v1",
            "listed",
            r"dataset 'listed' of conftest\.py is the list \[1, 2\], expected a pathlib\.Path, or",
        ),
        (
            "word-ending-v1",
            "empty",
            r"dataset 'empty' of conftest\.py is the NoneType None, expected a pathlib\.Path, or",
        ),
        ("word-ending-v1", "built", "dataset 'built' gave list, expected Dataset"),
        (
            '"pieces"',
            '"listed"',
            r"tokenizer 'listed' of conftest\.py is the list \[1\], expected a function that takes",
        ),
        ('"pieces"', '"counted"', "tokenizer 'counted' gave int: it is without name, version, vocab_size"),
        ('"ngram"', '"counted"', r"trainer 'counted' of conftest\.py is the int 5, expected 'module:a"),
        ('"ngram"', '"unknown"', "no trainer named 'unknown'.*offers something under 3, expected a"),
    ]
    project.write("conftest.py", CONFTEST + WRONG_TYPES)
    for number, (old, new, _) in enumerate(asked):
        text = RUN_FILE.replace(old, new).replace('"words"', f'"words{number}"')
        project.write(f"words{number}.toml", text)
    result = project.run("--tunix-plan", *(f"words{number}.toml" for number in range(len(asked))))
    for _, _, message in asked:
        check_line(result, message)


def test_two_paths_of_one_stem_in_one_session_are_one_line(project: Project) -> None:
    two_sets(project)
    project.write("words.toml", RUN_FILE.replace('"word-ending-heldout"', '"a/dev.jsonl"'))
    project.write("more.toml", RUN_FILE.replace('"words"', '"more"').replace('"word-ending-heldout"', '"b/dev.jsonl"'))
    project.test(
        CARD_TEST.replace("> 0.9", ">= 0")
        + "@pytest.mark.tunix_train('more.toml')\ndef test_more(tunix_scorecard):\n    pass\n"
    )
    result = project.run("--tunix-train")
    check_line(result, r"two evalsets are named 'dev': a/dev\.jsonl and b/dev\.jsonl; rename one")
    result.assert_outcomes(passed=1, errors=1)


def test_two_evalsets_of_one_stem_are_two_items_of_a_run_file(project: Project) -> None:
    two_sets(project)
    project.write("words.toml", RUN_FILE.replace('"word-ending-heldout"', '"a/dev.jsonl", "b/dev.jsonl"'))
    result = project.run("words.toml", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["words.toml::eval[[]dev[]]", "words.toml::eval[[]dev-2[]]"])


LATE = """
from tunix_eval.data import make_evalset
from tunix_eval.records import EvalItem
def pytest_tunix_evalsets():
    return {"late": lambda: make_evalset("late", [EvalItem(id="l", prompt="ending of zzab", expected_answer="ab")])}
"""


@pytest.mark.parametrize("fixture", ["tunix_scorecard", "tunix_case"])
def test_a_folder_may_offer_names_after_another_folder_has_used_cases(project: Project, fixture: str) -> None:
    mark = "import pytest\npytestmark = pytest.mark.tunix_train('../words.toml')\n"
    project.write("a/test_a.py", f"{mark}def test_case(tunix_case):\n    assert tunix_case.score() == 1\n")
    project.write("b/conftest.py", LATE)
    project.write("b/test_b.py", f"{mark}@pytest.mark.tunix_evalset('late')\ndef test_late({fixture}):\n    pass\n")
    project.run("--tunix-train").assert_outcomes(passed=71)


# ---------------------------------------------------------------------------------------------------------- devices


def test_a_device_of_the_module_skips_tests_that_take_nothing_of_ours(project: Project) -> None:
    project.write(
        "test_gpu.py",
        "import pytest\npytestmark = pytest.mark.tunix_device('gpu')\ndef test_plain():\n    raise SystemError\n",
    )
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs 1 of gpu; the session has 1 of cpu"])


def test_an_unknown_keyword_of_a_device_is_one_line(project: Project) -> None:
    project.write(
        "test_cpu.py",
        "import pytest\npytestmark = pytest.mark.tunix_device('cpu', cuont=2)\ndef test_plain():\n    pass\n",
    )
    check_line(project.run(), r"marker tunix_device takes kind and min_count, found cuont")


# --------------------------------------------------------------------------------------------------------- terminal

LOUD_SCORER = """
class Loud:
    name, version, lower_is_better, parameters = "loud", "1", False, {}
    def __call__(self, item, completion):
        raise ValueError(f"cannot read \\x1b[31m{completion.text}")
def pytest_tunix_scorers():
    return {**hooks.pytest_tunix_scorers(), "loud": Loud()}
"""


def test_control_characters_of_a_trace_reach_the_terminal_escaped(project: Project) -> None:
    trace = {"trace_version": "1.0", "id": "evil\x1b[2J", "prompt": "p" * 90, "final_answer": "2"}
    trace |= {"steps": [{"i": 0, "type": "sum", "content": "1+1=2"}]}
    project.write("mine.jsonl", json.dumps(trace) + "\n")
    project.write("words.toml", RUN_FILE.replace("word-ending-v1", "mine.jsonl"))
    project.test(RUN_TEST)
    for arguments in (("--tunix-train",), ("--tunix-train", "--tunix-plan")):
        result = project.run(*arguments)
        check_line(result, r"longer than row_tokens = 64 \(first: 'evil\\x1b\[2J")
        assert "\x1b" not in result.stdout.str()


def test_control_characters_of_a_model_reach_the_terminal_escaped(project: Project) -> None:
    project.write("conftest.py", CONFTEST + LOUD_SCORER)
    item = json.dumps(ITEM | {"id": "evil\x1b[2J", "expected_answer": "\x1b[2J"})
    project.write("mine.jsonl", item + "\n")
    text = RUN_FILE.replace("word-ending-heldout", "mine.jsonl").replace('"prefix"', '"loud"')
    project.write("words.toml", text + '\n[[gates]]\nrule = "at_least"\nmetric = "loud"\nvalue = 0.5\n')
    result = project.run("--tunix-train", "words.toml", "-rA")
    result.assert_outcomes(passed=4, failed=1)
    assert "Traceback" not in result.stdout.str()
    assert "\x1b" not in result.stdout.str()
