"""What the documents say about the code, and what no committed file may say."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    if name and (ROOT / name).is_file()
]
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SOURCE = re.compile(r"Source: (docs/[\w./-]+\.md)(?:,\s+\"([^\"]+)\")?")
# Absolute paths of somebody's machine; a leading word character, dot or dollar makes it part of something longer.
MACHINE_PATH = re.compile(r"(?<![\w.$}~/-])/(?:home|root|Users|work|mnt|srv|scratch|tmp)/[\w.]")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def hooks() -> list[ast.FunctionDef]:
    tree = ast.parse((ROOT / "src/tunix_eval/plugin/hookspecs.py").read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("pytest_tunix_")]


def signature(hook: ast.FunctionDef) -> str:
    """Write a hook's signature on one line.

    >>> signature(ast.parse("def f(a: int,\\n  b: str) -> None: ...").body[0])
    'f(a: int, b: str) -> None'
    """
    returns = f" -> {ast.unparse(hook.returns)}" if hook.returns else ""
    return f"{hook.name}({ast.unparse(hook.args)}){returns}"


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook.name)
def test_the_hooks_page_has_the_exact_signature_of_every_hook(hook: ast.FunctionDef) -> None:
    assert f"    {signature(hook)}\n" in (ROOT / "docs/hooks.md").read_text(encoding="utf-8")


def test_the_hooks_page_names_no_hook_that_is_not_there() -> None:
    named = set(re.findall(r"pytest_tunix_\w+", (ROOT / "docs/hooks.md").read_text(encoding="utf-8")))
    assert named == {hook.name for hook in hooks()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    local = [target.partition("#")[0] for target in targets if not target.startswith(("http://", "https://", "#"))]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_a_source_that_a_docstring_cites_has_that_heading() -> None:
    missing = []
    for path in (path for path in FILES if path.suffix == ".py" and path.is_relative_to(ROOT / "src")):
        for document, heading in SOURCE.findall(path.read_text(encoding="utf-8")):
            text = (ROOT / document).read_text(encoding="utf-8") if (ROOT / document).is_file() else ""
            if not text or (heading and not re.search(rf"^#+ {re.escape(heading)}\b", text, re.MULTILINE)):
                missing.append(f"{path.name}: {document}, {heading!r}")
    assert missing == []


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        places = (f"{path.relative_to(ROOT)}:{number}" for number, line in enumerate(lines, 1) if pattern.search(line))
        found.extend(places)
    return found


def test_no_committed_file_names_a_path_of_a_machine() -> None:
    assert lines_with(MACHINE_PATH, FILES) == []


def test_nothing_shipped_is_marked_as_unfinished() -> None:
    shipped = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in {"src", "plugins"}]
    assert lines_with(UNFINISHED, shipped) == []


@pytest.mark.parametrize("home", ["home/me", "Users/me", "work/main", "tmp/x"])
def test_a_path_of_a_machine_is_recognised(home: str) -> None:
    assert MACHINE_PATH.search(f'path = "/{home}/file"')
    assert not MACHINE_PATH.search(f"https://example.org/{home}/file")
    assert not MACHINE_PATH.search(f"$HOME/{home}")
