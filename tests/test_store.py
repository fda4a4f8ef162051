"""The artifacts directory: atomic, locked, checked."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tunix_eval.errors import ArtifactError
from tunix_eval.records import Generation
from tunix_eval.store import (
    RunManifest,
    Store,
    artifact_digests,
    files_below,
    manifest_text,
    pretty_json,
    read_manifest,
    users_of,
    verify_run,
    write_atomic,
)

RUN_ID, KEY = "0123456789abcdef", "ab" * 32


def manifest(**changes: Any) -> RunManifest:
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "inputs": {"seed": 0},
        "created_at": "2026-01-01T00:00:00+00:00",
        "dataset_key": "addition-v1",
        "dataset_sha256": "a",
        "sequences_sha256": "b",
        "recipe": {"name": "addition"},
        "training_config": {"steps": 3},
        "model": {"layers": 2},
        "trainer": {"name": "flax"},
        "renderer": {"name": "plain"},
        "tokenizer": {"name": "bytes"},
        "seed": 0,
        "git_sha": None,
        "git_dirty": None,
        "packages": {},
        "device": {"platform": "cpu"},
        "xla_flags": "",
        "steps": 3,
        "total_steps": 3,
        "parameter_count": 10,
        "tokens": 30,
        "wall_seconds": 0.1,
        "resumed_from": None,
        "status": "complete",
        "weights_sha256": "c",
        "artifacts": {},
    }
    return RunManifest(**(values | changes))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def test_a_recorded_run_is_found_again_and_another_is_not(store: Store) -> None:
    store.record_run(manifest())
    assert store.find_run(RUN_ID) == manifest()
    assert store.find_run("f" * 16) is None
    text = (store.run_directory(RUN_ID) / "run_manifest.json").read_text()
    assert '"model_config": {' in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run_id": "x"}'])
def test_a_damaged_manifest_is_named_and_says_how_to_go_on(store: Store, text: str) -> None:
    write_atomic(store.run_directory(RUN_ID) / "run_manifest.json", text)
    with pytest.raises(ArtifactError, match=r"run_manifest\.json: damaged; train the run again with --tunix-retrain"):
        store.find_run(RUN_ID)


def test_one_changed_digit_of_a_manifest_is_noticed(store: Store) -> None:
    store.record_run(manifest(wall_seconds=0.125, holdout_loss=None, skipped_steps=(2, 3)))
    path = store.run_directory(RUN_ID) / "run_manifest.json"
    text = path.read_text()
    assert store.find_run(RUN_ID) is not None
    for old, new in (('"seed": 0', '"seed": 1'), ("0.125", "0.126"), ('"cpu"', '"gpu"'), ('"steps": 3', '"steps": 2')):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ArtifactError, match=r"run_manifest\.json: changed since it was written: its manifest_sha"):
            store.find_run(RUN_ID)
    path.write_text(pretty_json(manifest().model_dump(mode="json")))
    with pytest.raises(ArtifactError, match="changed since it was written"):
        store.find_run(RUN_ID)


def test_what_a_foreign_trainer_says_of_its_model_is_read_again(store: Store) -> None:
    store.record_run(manifest(model={"scale": math.nan, "sizes": (2, 1e-05), "10": 1, "9": 2, "name": "\u2028\x1b"}))
    found = store.find_run(RUN_ID)
    assert found is not None
    assert found.model == {"scale": None, "sizes": [2, 1e-05], "10": 1, "9": 2, "name": "\u2028\x1b"}


def test_a_manifest_of_another_run_is_refused(store: Store) -> None:
    write_atomic(
        store.run_directory(RUN_ID) / "run_manifest.json",
        manifest_text(manifest(run_id="f" * 16)),
    )
    with pytest.raises(ArtifactError, match=r"is of run f{16}, expected 0123456789abcdef"):
        store.find_run(RUN_ID)


@pytest.mark.parametrize("key", ["..", "a/b", "", "/etc/passwd", "0123456789ABCDEF"])
def test_a_key_is_no_path(store: Store, key: str) -> None:
    with pytest.raises(ArtifactError, match="is no run id"):
        store.find_run(key)


def test_a_changed_or_missing_file_of_a_run_is_named_with_both_digests(store: Store) -> None:
    weights = store.run_directory(RUN_ID) / "checkpoint-final" / "params"
    write_atomic(weights, "weights")
    write_atomic(store.run_directory(RUN_ID) / "metrics.jsonl", "{}\n")
    recorded = manifest(artifacts=artifact_digests(store.run_directory(RUN_ID)))
    assert list(recorded.artifacts) == ["metrics.jsonl", "checkpoint-final/params"]
    verify_run(store.run_directory(RUN_ID), recorded)
    weights.write_text("Weights")
    with pytest.raises(
        ArtifactError, match=r"checkpoint-final/params: digest mismatch: found \w{16}, the manifest has"
    ):
        verify_run(store.run_directory(RUN_ID), recorded)
    weights.unlink()
    with pytest.raises(ArtifactError, match="found no file"):
        verify_run(store.run_directory(RUN_ID), recorded)


def test_setting_a_run_aside_keeps_the_last_one(store: Store) -> None:
    store.set_aside(RUN_ID)
    store.record_run(manifest(seed=1))
    store.set_aside(RUN_ID)
    assert store.find_run(RUN_ID) is None
    store.record_run(manifest(seed=2))
    store.set_aside(RUN_ID)
    aside = store.root / "replaced" / RUN_ID / "run_manifest.json"
    held = read_manifest(aside)
    assert held is not None
    assert held.seed == 2


def test_setting_aside_what_cannot_be_deleted_is_no_silent_matter(store: Store, tmp_path: Path) -> None:
    # A run that was moved to a larger disk: what the link leads to stays, the run is out of the way.
    elsewhere = tmp_path / "elsewhere"
    write_atomic(elsewhere / "checkpoints" / "8" / "digests.json", "{}")
    store.run_directory(RUN_ID).parent.mkdir(parents=True)
    store.run_directory(RUN_ID).symlink_to(elsewhere)
    store.set_aside(RUN_ID)
    assert not store.run_directory(RUN_ID).exists()
    assert elsewhere.exists()
    (store.root / "replaced").write_text("in the way")
    store.record_run(manifest())
    with pytest.raises(ArtifactError, match=r"replaced/0123456789abcdef: cannot be written"):
        store.set_aside(RUN_ID)
    assert store.find_run(RUN_ID) == manifest()


def test_what_is_cached_comes_back_as_it_was_and_is_made_again_where_it_is_damaged(store: Store) -> None:
    made = [Generation((1, 2), "stop"), Generation((), "length")]
    calls: list[int] = []

    def make() -> list[Generation]:
        calls.append(1)
        return made

    def cached() -> list[Generation]:
        return store.cached(KEY, Generation, len(made), make)

    assert [cached(), cached(), len(calls)] == [made, made, 1]
    path = store.root / "completions" / f"{KEY}.jsonl"
    whole = path.read_text()
    for damage in ('{"ids": [1', whole[:-5], whole.replace("stop", "length")):
        path.write_text(damage)
        before = len(calls)
        assert [cached(), len(calls) - before] == [made, 1]
    assert path.read_text() == whole


def test_lines_of_another_count_are_not_taken_for_these(store: Store) -> None:
    assert store.cached(KEY, int, 1, lambda: [1]) == [1]
    assert store.cached(KEY, int, 2, lambda: [1, 2]) == [1, 2]


def test_cached_lines_note_every_run_that_uses_them(store: Store) -> None:
    path = store.root / "completions" / f"{KEY}.jsonl"
    assert store.cached(KEY, int, 1, lambda: [1]) == [1]
    assert users_of(path) == ()
    for run_id in ("b" * 16, "a" * 16, "b" * 16):
        assert store.cached(KEY, int, 1, lambda: [2], run_id=run_id) == [1]
    assert users_of(path) == ("a" * 16, "b" * 16)
    path.write_text("damaged")
    assert store.cached(KEY, int, 1, lambda: [3], run_id="c" * 16) == [3]
    assert users_of(path) == ("c" * 16,)
    assert store.cached(KEY, int, 1, lambda: [4]) == [3]


def test_what_is_cached_is_read_where_nothing_can_be_written(store: Store) -> None:
    store.cached(KEY, int, 1, lambda: [1], run_id="a" * 16)
    (store.root / "locks").rename(store.root / "other")
    (store.root / "locks").write_text("no folder")
    assert store.cached(KEY, int, 1, lambda: [2], run_id="b" * 16) == [1]
    with pytest.raises(ArtifactError, match="cannot be written"):
        store.cached("cd" * 32, int, 1, lambda: [2], run_id="b" * 16)


def test_a_lock_that_cannot_be_looked_at_is_not_taken_for_held(store: Store) -> None:
    (store.root / "locks" / "run-x.lock").mkdir(parents=True)
    assert not store.is_held("run-x")
    with store.lock("run-y"):
        assert store.is_held("run-y")
        assert store.is_busy()
    assert not store.is_busy()


def test_a_run_is_named_by_the_first_digits_of_its_id(store: Store) -> None:
    other = f"01{RUN_ID[2:-1]}0"
    store.record_run(manifest())
    store.record_run(manifest(run_id=other))
    assert store.named_run(RUN_ID).run_id == RUN_ID
    assert store.named_run(other).run_id == other
    for reference, reason in (("01", "2 runs begin with it"), ("ff", "no such run is recorded"), ("", "no such run")):
        with pytest.raises(ArtifactError, match=f"run '{reference}': {reason}.*{RUN_ID}"):
            store.named_run(reference)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \udcff")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]


def test_a_written_file_has_the_permissions_that_the_user_asked_for(tmp_path: Path) -> None:
    write_atomic(tmp_path / "x", "")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_place_that_cannot_be_written_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"file/x: cannot be written: .*--tunix-artifacts=DIR"):
        write_atomic(tmp_path / "file" / "x", "")
    with pytest.raises(ArtifactError, match="cannot be written"), Store(tmp_path / "file").lock("a"):
        pass


def test_the_lock_of_a_killed_process_is_free(store: Store) -> None:
    program = textwrap.dedent(f"""
        import pathlib, time
        from tunix_eval.store import Store
        with Store(pathlib.Path({str(store.root)!r})).lock("run-x"):
            print("held", flush=True)
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    with store.lock("run-x"):
        pass


def test_a_lock_that_is_held_is_waited_for(store: Store) -> None:
    program = textwrap.dedent(f"""
        import pathlib
        from tunix_eval.store import Store
        print("waiting", flush=True)
        with Store(pathlib.Path({str(store.root)!r})).lock("run-x"):
            print("held", flush=True)
    """)
    with store.lock("run-x"):
        waiting = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        assert waiting.poll() is None
    assert waiting.stdout.readline() == "held\n"
    waiting.stdout.close()
    assert waiting.wait() == 0


def test_the_files_of_a_run_are_counted_while_its_training_deletes_some(tmp_path: Path) -> None:
    for step in ("10", "20", "30"):
        for name in ("one", "two"):
            (tmp_path / step / "deep").mkdir(parents=True, exist_ok=True)
            (tmp_path / step / "deep" / name).write_text("12345")
    found = []
    for path, size in files_below(tmp_path):
        found.append(size)
        shutil.rmtree(path.parents[1], ignore_errors=True)
    assert found == [5, 5, 5]
