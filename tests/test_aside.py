"""What is written aside: whole, synced, swept when its writer was killed, and never while the writer lives."""

from __future__ import annotations

import fcntl
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunix_eval.aside import held_aside, left_in
from tunix_eval.cli import main
from tunix_eval.store import Store, write_atomic
from writers import WRITERS

CALLS = ("fsync", "replace")
each_writer = pytest.mark.parametrize("writer", WRITERS)

KILLS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from writers import WRITERS
for line in sys.stdin:
    writer, call, path = line.split()
    child = os.fork()
    if child == 0:
        setattr(os, call, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        WRITERS[writer](Path(path), "half")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def kill_writer() -> Iterator[Callable[[str, Path, str], None]]:
    """Write in a process of its own, which SIGKILL ends at its first call of an os function."""
    program = KILLS.format(tests=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, heard = process.stdin, process.stdout

        def kill(writer: str, path: Path, call: str) -> None:
            told.write(f"{writer} {call} {path}\n")
            told.flush()
            assert heard.readline() == f"{-signal.SIGKILL}\n"

        yield kill


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


@each_writer
@pytest.mark.parametrize("call", CALLS)
def test_what_a_killed_writer_left_goes_with_the_next(
    tmp_path: Path, kill_writer: Callable[[str, Path, str], None], writer: str, call: str
) -> None:
    path = tmp_path / "baselines" / "held.json"
    WRITERS[writer](path, "old")
    kill_writer(writer, path, call)
    kill_writer(writer, path.with_name("other.json"), call)
    assert path.read_text() == "old"
    assert len(hidden(tmp_path)) == 2
    WRITERS[writer](path, "new")
    assert path.read_text() == "new"
    (left,) = hidden(tmp_path)
    assert left.startswith(".other.json."), "it is another file's, whose next writer deletes it"


def test_what_a_living_writer_holds_is_swept_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "baselines" / "held.json"
    with held_aside(path) as first, held_aside(path) as second:
        assert first != second
        assert left_in(path.parent) == []
        write_atomic(path, "third")
        assert first.exists()
        assert second.exists()
    assert [one.name for one in path.parent.iterdir()] == ["held.json"]


@each_writer
def test_bytes_are_on_disk_before_the_name_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, writer: str) -> None:
    """Seen where Python calls the operating system: else a loss of power leaves the new name on an empty file."""
    calls: list[tuple[str, object]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        calls.append(("fsync", os.fstat(handle).st_ino))
        fsync(handle)

    def noted_replace(made: Path, path: Path) -> None:
        calls.append(("replace", made.stat().st_ino))
        replace(made, path)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    path = tmp_path / "baselines" / "held.json"
    WRITERS[writer](path, "text")
    inode = path.stat().st_ino
    assert calls == [("fsync", inode), ("replace", inode), ("fsync", path.parent.stat().st_ino)]


def test_packed_bytes_are_whole_before_they_are_synced(tmp_path: Path) -> None:
    WRITERS["traces"](tmp_path / "a.jsonl.gz", "text")
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == b"text"


def test_nothing_of_a_killed_baseline_is_for_git(tmp_path: Path, kill_writer: Callable[[str, Path, str], None]) -> None:
    """What stands beside a baseline is committed with it."""
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    store, path = Store(tmp_path / "artifacts"), tmp_path / "baselines" / "held.json"
    with store.lock("x"):
        WRITERS["baseline"](path, "old")
    kill_writer("baseline", path, "fsync")
    subprocess.run([*git, "add", "."], check=True)
    added = subprocess.run([*git, "diff", "--cached", "--name-only"], check=True, capture_output=True, text=True)
    assert added.stdout.split() == ["baselines/held.json"]
    assert [one.parent for one in store.left_behind()] == [store.root]


def test_gc_removes_what_killed_writers_left_everywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kill_writer: Callable[[str, Path, str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = [
        "artifacts/runs/0123456789abcdef/scorecard.json",
        "artifacts/runs/0123456789abcdef/as/other/eval.json",
        "artifacts/completions/a.jsonl",
        "artifacts/sessions/one/verdicts.json",
        "baselines/addition/held.json",
    ]
    for place in places:
        kill_writer("record", tmp_path / place, "fsync")
    theirs = tmp_path / "baselines" / "addition" / ".note.0123abcd"
    theirs.write_text("it has such a name, and a process holds it")
    assert len(hidden(tmp_path)) == len(places) + 1
    with held_aside(tmp_path / "artifacts" / "completions" / "b.jsonl") as living, theirs.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert main(["runs", "gc", "--keep", "1"]) == 0
        assert living.exists()
    assert hidden(tmp_path) == [theirs.name]
    assert f"removed {len(places)} leftovers of killed processes" in capsys.readouterr().out


def test_gc_deletes_nothing_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    kept = [outside / name for name in ("mine.jsonl", ".mine.jsonl.0123abcd", "one/.hidden/lock", "verdicts.json")]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    (tmp_path / "artifacts" / "runs").mkdir(parents=True)
    for name in ("completions", "compiled", "sessions", "removed"):
        (tmp_path / "artifacts" / name).symlink_to(outside)
    (tmp_path / "artifacts" / "runs" / "linked").symlink_to(outside)
    assert main(["runs", "gc", "--keep", "1"]) == 0
    assert [path.exists() for path in kept] == [True] * len(kept)
