"""Commands that see what pytest sees: conftest files, plugins, entry points, and odd settings of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from records import Records

SCRIPT = Path(sys.executable).with_name("tunix-eval")
ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
print("noise")


def pytest_tunix_scorers():
    print("more noise")
    return {"mine": object()}
"""


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the command in a process of its own, in the current folder."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | environment
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, env=env)


def test_list_names_what_conftest_offers_and_prints_nothing_else(records: Records) -> None:
    (records.root / "conftest.py").write_text(CONFTEST)
    found = command("list", "scorer")
    assert found.returncode == 0
    lines = found.stdout.splitlines()
    assert lines[0] == f"scorers ({len(lines) - 1})"
    assert lines[-2].split() == ["mine", "conftest.py"]
    assert ["exact", "tunix-eval"] in [line.split() for line in lines]
    assert "noise" not in found.stdout


def test_list_names_plugins_with_their_version(records: Records) -> None:
    """A distribution as pip leaves it: a module, and metadata with an entry point."""
    folder = records.root / "site"
    (folder / "acme_eval-1.2.dist-info").mkdir(parents=True)
    (folder / "acme.py").write_text("def pytest_tunix_scorers(): return {'acme': object()}\n")
    (folder / "acme_bad.py").write_text("1 / 0\n")
    info = folder / "acme_eval-1.2.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-eval\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[tunix_eval]\nacme = acme\nbad = acme_bad\n")
    found = command("list", "scorers", PYTHONPATH=str(folder))
    assert found.returncode == 1
    assert "acme        acme (acme-eval 1.2)" in found.stdout
    assert found.stdout.endswith("broken\n  plugin bad (acme-eval 1.2) failed: ZeroDivisionError: division by zero\n")


def test_a_plugin_that_pytest_loads_itself_has_its_version_too(records: Records) -> None:
    info = records.root / "site" / "acme_eval-1.2.dist-info"
    info.mkdir(parents=True)
    (info.parent / "acme.py").write_text("def pytest_tunix_scorers(): return {'acme': object(), 'exact': object()}\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-eval\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[pytest11]\nacme = acme\n")
    found = command("list", "scorer", PYTHONPATH=str(info.parent))
    assert "acme (acme-eval 1.2)" in found.stdout
    assert found.stdout.endswith("broken\n  two scorers are named 'exact'; rename one\n")
    assert found.returncode == 1


@pytest.mark.parametrize(
    "addopts",
    [
        "-n 2 --dist worksteal",
        "--tunix-train --tunix-device gpu --tunix-update-baselines",
        "-q --cov=nowhere --no-such-option",
        "--collect-only -k nothing -m slow --fixtures --help",
        "--lf --sw -x -rA --tb=long -s",
    ],
)
def test_what_addopts_asks_of_a_session_is_not_done(records: Records, addopts: str) -> None:
    (records.root / "pytest.ini").write_text(f"[pytest]\naddopts = {addopts}\n")
    (records.root / "conftest.py").write_text(CONFTEST)
    (records.root / "test_never.py").write_text("raise SystemExit('collected')\n")
    found = command("list", "scorer")
    assert (found.returncode, found.stderr.replace("more noise\n", "").replace("noise\n", "")) == (0, "")
    assert "conftest.py" in found.stdout
    assert sorted(path.name for path in records.root.iterdir()) == ["conftest.py", "pytest.ini", "test_never.py"]


def test_plugins_that_addopts_loads_are_seen(records: Records) -> None:
    (records.root / "pytest.ini").write_text("[pytest]\naddopts = -p acme --cov=x\npythonpath = parts\n")
    (records.root / "parts").mkdir()
    (records.root / "parts" / "acme.py").write_text("def pytest_tunix_scorers(): return {'acme': object()}\n")
    for environment in ({}, {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, {"PYTEST_ADDOPTS": "-p no:tunix_eval"}):
        found = command("list", "scorer", **environment)
        assert (found.returncode, found.stderr) == (0, "")
        assert "acme" in found.stdout


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("1 / 0\n", ["ImportError while loading conftest", "ZeroDivisionError", "its message stands above"]),
        ("def broken(:\n", ["SyntaxError", "its message stands above"]),
        ("import pytest\npytest.exit('not today')\n", ["not today", "its message stands above"]),
        ("raise SystemExit(3)\n", ["exited with 3 while pytest loaded it"]),
        ("def pytest_addoption(parser): raise KeyError('x')\n", ["starting pytest for its conftest", "KeyError: 'x'"]),
        ("import pytest\ndef pytest_addoption(parser): raise pytest.UsageError('no')\n", ["ERROR: no"]),
    ],
)
def test_a_conftest_that_cannot_be_loaded_is_said_as_pytest_says_it(
    records: Records, text: str, messages: list[str]
) -> None:
    (records.root / "conftest.py").write_text(text)
    found = command("list")
    assert (found.returncode, found.stdout) == (2, "")
    assert all(message in found.stderr for message in messages), found.stderr
    assert "Traceback" not in found.stderr
    assert found.stderr.splitlines()[-1].startswith("tunix-eval: ")


def test_a_family_of_renderers_is_listed_with_its_edition(records: Records) -> None:
    found = [row.split()[:3] for row in command("list", "renderer").stdout.splitlines()]
    assert ["gemma", "=", "gemma3"] in found
    assert ["gemma3", "tunix-eval"] in found


def test_an_unknown_kind_is_one_line(records: Records) -> None:
    code, message = records.refused("list", "rendererz")
    assert code == 2
    assert message.startswith("no kind of thing named 'rendererz'; known: dataset, evalset, generator")


def test_doctor_says_what_is_there_and_what_is_broken(records: Records) -> None:
    (records.root / "conftest.py").write_text("def pytest_tunix_scorers(): return 3\n")
    (records.root / "artifacts").write_text("a file\n")
    found = command("doctor", COLUMNS="80")
    text = " ".join(found.stdout.split())
    assert found.returncode == 1
    assert "ok devices" in text
    assert "cpu" in text
    assert "conftest.py gave int, expected a mapping" in text
    assert "bad artifacts" in text
    assert "2 things to mend" in text
    assert found.stderr == ""


def test_doctor_goes_on_where_conftest_is_broken(records: Records) -> None:
    (records.root / "conftest.py").write_text("1 / 0\n")
    found = command("doctor")
    assert found.returncode == 1
    assert "its message stands above" in " ".join(found.stdout.split())
    assert "ok   artifacts" in found.stdout


def test_doctor_is_content_with_an_empty_folder_and_writes_nothing(records: Records) -> None:
    found = command("doctor")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == "all is well"
    assert list(records.root.iterdir()) == []


def test_a_wrong_settings_file_is_a_finding(records: Records) -> None:
    (records.root / "pyproject.toml").write_text('[tool.tunix_eval]\nartifact = "x"\n')
    found = command("doctor")
    assert found.returncode == 1
    assert "Did you mean 'artifacts'?" in " ".join(found.stdout.split())


def test_what_init_writes_passes_as_it_stands(records: Records) -> None:
    code, out, err = records.call("init", "first")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["wrote first/addition.toml", "wrote first/test_addition.py"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tunix-train", "--tunix-max-steps", "2", "first"],
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
    )
    assert found.returncode == 0, found.stdout
    assert "2 passed, 1 skipped" in found.stdout


def test_init_refuses_to_write_over_anything(records: Records) -> None:
    (records.root / "test_addition.py").write_text("mine\n")
    code, message = records.refused("init")
    assert (code, message) == (2, "test_addition.py: is there already; name another, or write over it with --force")
    assert not (records.root / "addition.toml").exists()
    assert records.call("init", "--force", "--dry-run")[1].splitlines() == [
        "would write addition.toml",
        "would write test_addition.py, over what is there",
    ]
    assert (records.root / "test_addition.py").read_text() == "mine\n"
    assert records.call("init", "--force")[0] == 0
    assert "tunix_train" in (records.root / "test_addition.py").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "../x"], "--name '../x': it names files; use letters"),
        (["--name", "1st"], "--name '1st': it names files"),
        (["file"], "file: is no folder; name another"),
        (["file/below"], "cannot be written: Not a directory"),
    ],
)
def test_init_says_what_is_wrong(records: Records, words: list[str], message: str) -> None:
    (records.root / "file").write_text("")
    assert message in records.refused("init", *words)[1]
