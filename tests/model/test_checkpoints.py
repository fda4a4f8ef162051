import resource

import jax.numpy as jnp
import numpy as np
import pytest

from tunix_eval.errors import ArtifactError
from tunix_eval.model import checkpoints


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


def test_the_newest_two_are_kept_and_nothing_half_written(tmp_path):
    for step in (5, 20, 100):
        (tmp_path / str(step)).mkdir()
    (tmp_path / "200.orbax-checkpoint-tmp").mkdir()
    checkpoints.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100", "20"]


def test_a_disk_without_room_is_one_error_with_the_path(tmp_path, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).random((500, 500))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ArtifactError, match=r"/1: cannot be written: File too large; free space"):
            checkpoints.save(tmp_path / "1", {"params": {"w": jnp.asarray(noise, jnp.float32)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text == ""
    assert checkpoints.newest(tmp_path, arrays(), at_most=9) is None


def test_a_disk_that_refuses_is_one_error_with_the_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match=r"file/1: cannot be written: "):
        checkpoints.save(tmp_path / "file" / "1", arrays())
