import contextlib
import functools
import gc
import os
import resource
import shutil
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tunix_eval.errors import ArtifactError
from tunix_eval.model import checkpoints
from tunix_eval.model.files import write_atomically
from tunix_eval.records import unheard


def arrays(value=1.0):
    return {"params": {"blocks.0.w": jnp.full((2, 3), value, jnp.float32), "b": jnp.arange(3)}, "step": jnp.int32(7)}


@pytest.fixture
def saved(tmp_path):
    checkpoints.save(tmp_path / "1", arrays())
    return tmp_path / "1"


def payload(directory):
    """The largest file that Orbax wrote."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != checkpoints.DIGESTS]
    return max(files, key=lambda path: path.stat().st_size)


def test_arrays_come_back_as_they_were_saved(saved):
    restored = checkpoints.restore(saved, arrays(0.0))
    assert restored.keys() == arrays().keys()
    assert restored["params"].keys() == arrays()["params"].keys()
    for name, expected in arrays()["params"].items():
        assert restored["params"][name].dtype == expected.dtype
        np.testing.assert_array_equal(restored["params"][name], expected)
    assert int(restored["step"]) == 7


def test_a_checkpoint_can_be_moved(saved, tmp_path):
    saved.rename(tmp_path / "elsewhere")
    assert int(checkpoints.restore(tmp_path / "elsewhere", arrays())["step"]) == 7


def test_no_file_of_a_checkpoint_says_where_it_stood(saved):
    """Orbax writes an absolute path into its mark of success."""
    for path in saved.rglob("*"):
        assert not path.is_file() or os.fsencode(saved.parent) not in path.read_bytes(), path


def test_a_folder_that_is_deleted_meanwhile_is_one_line(tmp_path, monkeypatch, caplog):
    """Orbax tells what its threads ran into in many lines, some of them long after."""
    folder = tmp_path / "artifacts" / "checkpoints"
    many = {"params": {f"w{n}": jnp.ones((50, 50)) for n in range(20)}}
    find_room = checkpoints.find_room

    def deleting(*arguments):
        find_room(*arguments)
        shutil.rmtree(tmp_path / "artifacts")
        (tmp_path / "artifacts").write_text("in the way")

    monkeypatch.setattr(checkpoints, "find_room", deleting)
    with pytest.raises(ArtifactError) as failed:
        checkpoints.save(folder / "1", many)
    gc.collect()
    said = str(failed.value)
    assert said.startswith(f"{folder / '1'}: cannot be written: ")
    assert said.endswith("another artifacts directory")
    assert "\n" not in said
    assert len(said) < 400
    assert caplog.text == ""


def test_saving_again_replaces_what_was_there(saved):
    (saved.parent / "1.orbax-checkpoint-tmp").mkdir()
    (saved.parent / "10").mkdir()
    checkpoints.save(saved, arrays(5.0))
    assert sorted(path.name for path in saved.parent.iterdir()) == ["1", "10"]
    assert float(checkpoints.restore(saved, arrays())["params"]["blocks.0.w"][0, 0]) == 5.0


def test_every_damaged_file_is_found_and_named(saved):
    names = [path for path in saved.rglob("*") if path.is_file()]
    assert len(names) > 5
    for path in names:
        sound = path.read_bytes()
        path.write_bytes(sound[: len(sound) // 2] + b"\x00" + sound[len(sound) // 2 + 1 :] if sound else b"x")
        with pytest.raises(ArtifactError, match=path.name):
            checkpoints.restore(saved, arrays())
        path.write_bytes(sound)
    checkpoints.restore(saved, arrays())


def test_every_missing_file_is_named(saved):
    for path in [path for path in saved.rglob("*") if path.is_file()]:
        sound = path.read_bytes()
        path.unlink()
        with pytest.raises(ArtifactError, match=path.name):
            checkpoints.restore(saved, arrays())
        path.write_bytes(sound)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere/digests\.json: missing"):
        checkpoints.restore(tmp_path / "nowhere", arrays())


def test_arrays_of_another_model_are_refused(saved):
    other = arrays() | {"params": {"blocks.0.w": jnp.zeros((2, 4)), "b": jnp.arange(3)}}
    with pytest.raises(ArtifactError, match=r"holds float32\[2,3\] as params\.blocks\.0\.w, .* wants float32\[2,4\]"):
        checkpoints.restore(saved, other)


def test_the_newest_sound_checkpoint_is_taken(tmp_path):
    for step in (4, 8, 12):
        checkpoints.save(tmp_path / str(step), arrays(step))
    assert checkpoints.newest(tmp_path, arrays(), at_most=99)[0] == 12
    assert checkpoints.newest(tmp_path, arrays(), at_most=11)[0] == 8
    payload(tmp_path / "12").write_bytes(b"")
    (tmp_path / "8" / checkpoints.DIGESTS).unlink()
    step, found = checkpoints.newest(tmp_path, arrays(), at_most=99)
    assert step == 4
    assert float(found["params"]["blocks.0.w"][0, 0]) == 4.0
    assert checkpoints.newest(tmp_path, arrays(), at_most=3) is None
    assert checkpoints.newest(tmp_path / "nowhere", arrays(), at_most=3) is None


def finished(folder, step):
    (folder / str(step)).mkdir()
    (folder / str(step) / checkpoints.DIGESTS).write_text("{}")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_finished_ones_are_kept_and_nothing_half_written(tmp_path):
    for step in (5, 20, 100, 120):
        finished(tmp_path, step)
    (tmp_path / "200").mkdir()
    (tmp_path / "200.orbax-checkpoint-tmp").mkdir()
    checkpoints.prune(tmp_path, keep=3, upto=200)
    assert names(tmp_path) == ["100", "120", "20"]
    checkpoints.prune(tmp_path, keep=1, upto=200)
    assert names(tmp_path) == ["120"]


def test_whoever_goes_back_to_a_step_keeps_it_and_drops_what_came_later(tmp_path):
    for step in (5, 10, 15, 20):
        finished(tmp_path, step)
    checkpoints.prune(tmp_path, keep=2, upto=10)
    assert names(tmp_path) == ["10", "5"]


def test_a_step_can_be_asked_for_and_one_that_is_not_there_lists_those_that_are(tmp_path):
    for step in (4, 8, 12):
        checkpoints.save(tmp_path / str(step), arrays(step))
    step, found = checkpoints.of_step(tmp_path, arrays(), 8, at_most=99)
    assert (step, float(found["params"]["blocks.0.w"][0, 0])) == (8, 8.0)
    with pytest.raises(ArtifactError, match=r"no checkpoint of step 5 to go on from; there are: 4, 8, 12$"):
        checkpoints.of_step(tmp_path, arrays(), 5, at_most=99)
    with pytest.raises(ArtifactError, match=r"no checkpoint of step 12 to go on from; there are: 4, 8$"):
        checkpoints.of_step(tmp_path, arrays(), 12, at_most=11)
    with pytest.raises(ArtifactError, match=r"nowhere: no checkpoint of step 4 to go on from; there is none$"):
        checkpoints.of_step(tmp_path / "nowhere", arrays(), 4, at_most=99)
    payload(tmp_path / "8").write_bytes(b"")
    with pytest.raises(ArtifactError, match="damaged"):
        checkpoints.of_step(tmp_path, arrays(), 8, at_most=99)


def test_a_checkpoint_of_another_shape_is_never_passed_over(tmp_path):
    for step in (4, 8):
        checkpoints.save(tmp_path / str(step), arrays(step))
    other = arrays() | {"params": {"blocks.0.w": jnp.zeros((2, 4)), "b": jnp.arange(3)}}
    with pytest.raises(ArtifactError, match=r"/8: a checkpoint of another shape: it holds float32\[2,3\] as params\."):
        checkpoints.newest(tmp_path, other, at_most=99)


def test_the_best_weights_of_each_checkpoint_and_the_newest_are_kept(tmp_path):
    best, resumed = tmp_path / "best", tmp_path / "checkpoints"
    checkpoints.prune_best(best, checkpoints=resumed, upto=9)
    for folder, steps in ((best, (4, 8, 12, 16, 20)), (resumed, (10, 12, 30))):
        folder.mkdir()
        for step in steps:
            finished(folder, step)
    (best / "24.orbax-checkpoint-tmp").mkdir()
    checkpoints.prune_best(best, checkpoints=resumed, upto=16)
    assert names(best) == ["12", "16", "8"]
    checkpoints.prune_best(best, checkpoints=resumed, upto=3)
    assert names(best) == []


def test_all_of_a_checkpoint_is_on_disk_before_it_counts_and_before_older_ones_go(tmp_path, monkeypatch):
    synced = []

    def noting(handle, fsync=os.fsync):
        fsync(handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        synced.append((path, sorted(one.name for one in tmp_path.iterdir()), (tmp_path / "2/digests.json").exists()))

    with writer(tmp_path, keep=1) as saving:
        saving.save(1, arrays())
        saving.wait()
        monkeypatch.setattr(os, "fsync", noting)
        saving.save(2, arrays())
    assert names(tmp_path) == ["2"]
    before = {path for path, _, counts in synced if not counts}
    held = {path for path in (tmp_path / "2").rglob("*") if path.name != checkpoints.DIGESTS}
    assert len(held) > 5
    assert before >= held | {tmp_path, tmp_path / "2"}
    last, there, counts = synced[-1]
    assert (last, there, counts) == (tmp_path / "2", ["1", "2"], True)


def writer(folder, *, keep=2, took=None):
    return checkpoints.Writer(folder, keep=keep, on_saved=(took if took is not None else []).append)


def test_what_is_saved_is_the_step_although_its_arrays_are_donated_at_once(tmp_path):
    @functools.partial(jax.jit, donate_argnums=0)
    def next_step(tree):
        return jax.tree.map(lambda leaf: leaf + 1, tree)

    tree = {"params": {"w": jnp.zeros((500, 500)), "b": jnp.arange(3)}, "step": jnp.int32(0)}
    took = []
    with writer(tmp_path, keep=9, took=took) as saving:
        for step in range(1, 41):
            given, tree = tree, next_step(tree)
            assert given["params"]["w"].is_deleted()
            if step % 10 == 0:
                saving.save(step, tree)
    assert checkpoints.finished_steps(tmp_path) == [10, 20, 30, 40]
    for step in (10, 20, 30, 40):
        found = checkpoints.restore(tmp_path / str(step), tree)
        assert int(found["step"]) == step
        np.testing.assert_array_equal(found["params"]["w"], np.full((500, 500), step))
    assert len(took) == 4
    assert min(took) > 0


def test_a_training_goes_on_while_its_checkpoint_is_written(tmp_path):
    saving = writer(tmp_path)
    begun, go_on = threading.Event(), threading.Event()

    def slow(step):
        begun.set()
        assert go_on.wait(60)

    # Whatever comes first on the writer's thread keeps it busy, as a slow disk would.
    saving._thread.submit(slow, 0)
    with saving:
        saving.save(1, arrays(1.0))
        assert begun.wait(60)
        saving.check()
        assert checkpoints.finished_steps(tmp_path) == []
        go_on.set()
        saving.wait()
        assert checkpoints.finished_steps(tmp_path) == [1]


def test_a_writer_keeps_as_many_as_it_is_told(tmp_path):
    with writer(tmp_path, keep=3) as saving:
        for step in range(1, 7):
            saving.save(step, arrays(step))
    assert checkpoints.finished_steps(tmp_path) == [4, 5, 6]
    assert names(tmp_path) == ["4", "5", "6"]


@contextlib.contextmanager
def files_up_to(size):
    """Let no file grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def noise():
    return {"params": {"w": jnp.asarray(np.random.default_rng(0).random((500, 500)), jnp.float32)}}


def test_a_disk_without_room_is_one_error_with_the_path_and_leaves_nothing(tmp_path, caplog):
    found = r"/1: cannot be written: File too large \(about 1 MB are needed, .* are free\); free space"
    with files_up_to(100_000), pytest.raises(ArtifactError, match=found):
        checkpoints.save(tmp_path / "1", noise())
    assert caplog.text == ""
    assert names(tmp_path) == []


@pytest.mark.parametrize("limit", [100, 3_000, 100_000])
def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint_and_says_so(tmp_path, limit):
    with writer(tmp_path, keep=1) as saving:
        saving.save(10, noise())
        saving.wait()
        with files_up_to(limit):
            saving.save(20, noise())
            with pytest.raises(
                ArtifactError, match="the checkpoint of step 10 is kept, and the same command"
            ) as caught:
                saving.wait()
        assert str(caught.value).startswith(f"{tmp_path}/20")
        assert "\n" not in str(caught.value)
        assert names(tmp_path) == ["10"]
        checkpoints.restore(tmp_path / "10", noise())
        saving.save(30, noise())
    assert names(tmp_path) == ["30"]


def test_a_writer_says_at_the_next_step_that_the_disk_is_full(tmp_path):
    with writer(tmp_path) as saving, files_up_to(100_000):
        saving.save(10, noise())
        with pytest.raises(ArtifactError, match="there is no earlier checkpoint"):  # noqa: PT012
            for _ in range(6000):
                saving.check()
                time.sleep(0.01)


def test_no_room_for_the_checkpoints_is_said_before_training(tmp_path):
    large = {"params": {"w": jax.ShapeDtypeStruct((2**40, 2**10), jnp.float32)}}
    with pytest.raises(ArtifactError, match=r"3 checkpoints and the final weights need about 1.8e\+04 TB, .* are free"):
        checkpoints.check_room(tmp_path / "checkpoints", large, keep=2)
    with pytest.raises(ArtifactError, match=r"the final and the best weights need about 3.6e\+04 TB, "):
        checkpoints.check_room(tmp_path / "checkpoints", large, keep=2, best=tmp_path / "best")
    checkpoints.check_room(tmp_path / "checkpoints", noise(), keep=2)


def test_best_weights_that_cannot_be_written_name_the_checkpoint_that_training_goes_on_from(tmp_path):
    with writer(tmp_path / "checkpoints") as saving:
        saving.save(10, noise())
    (tmp_path / "best").write_text("in the way")
    resumed = tmp_path / "checkpoints"
    with checkpoints.Writer(tmp_path / "best", keep=1, on_saved=unheard, best_of=resumed) as best:
        best.save(20, noise())
        with pytest.raises(ArtifactError, match=r"best.*the checkpoint of step 10 is kept, and the same command"):
            best.wait()


def test_a_file_that_cannot_be_replaced_leaves_nothing_beside_it(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: cannot be written: "):
        write_atomically(tmp_path / "metrics.jsonl", b"line")
    assert names(tmp_path) == ["metrics.jsonl"]


def test_a_disk_that_refuses_is_one_error_with_the_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"file/1: cannot be written: "):
        checkpoints.save(tmp_path / "file" / "1", arrays())
