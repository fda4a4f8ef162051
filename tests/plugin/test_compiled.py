"""Compiled programs are kept from process to process, and shared whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import pytest
from projects import Project

from tunix_eval.plugin import compiled
from tunix_eval.plugin.compiled import CompiledPrograms, machine_digest
from tunix_eval.plugin.device import Device

CPU = Device("cpu", 1)
COUNT = """
import jax
compiled = []
jax.monitoring.register_event_listener(
    lambda event, **_: compiled.append(event) if event.endswith(("cache_hits", "requests_use_cache")) else None
)
"""


@pytest.fixture
def programs(tmp_path: Path) -> CompiledPrograms:
    """The cache of this process."""
    return CompiledPrograms(tmp_path, CPU)


def shared(folder: Path) -> list[str]:
    """Return the names of the programs that all processes may load."""
    return sorted(path.name.partition("-")[2].rsplit("-", 2)[0] for path in folder.glob("[!.]*/*-cache"))


def own(folder: Path) -> list[Path]:
    """Return the folders of processes."""
    return list(folder.glob("*/.*"))


def compile_one(factor: float) -> None:
    jax.jit(lambda x: x * factor)(1.0)


def test_what_is_compiled_is_shared_and_jax_left_as_it_was(tmp_path: Path, programs: CompiledPrograms) -> None:
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", *compiled._SETTINGS)}
    programs.open()
    compile_one(2.0)
    assert shared(tmp_path) == []
    programs.publish()
    assert shared(tmp_path) == ["jit__lambda"]
    compile_one(3.0)
    programs.close()
    assert shared(tmp_path) == ["jit__lambda"] * 2
    assert own(tmp_path) == []
    assert {name: getattr(jax.config, name) for name in before} == before
    compile_one(4.0)
    assert len(shared(tmp_path)) == 2


def test_a_cache_that_the_user_has_set_up_is_left_alone(tmp_path: Path, programs: CompiledPrograms) -> None:
    theirs = tmp_path / "theirs"
    jax.config.update("jax_compilation_cache_dir", str(theirs))
    try:
        programs.open()
        assert jax.config.jax_compilation_cache_dir == str(theirs)
        programs.close()
        assert jax.config.jax_compilation_cache_dir == str(theirs)
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_the_user_has_switched_off_stays_off(tmp_path: Path, programs: CompiledPrograms) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        programs.open()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not list(tmp_path.iterdir())


def test_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch, programs: CompiledPrograms) -> None:
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "5")
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    programs.open()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
    programs.close()


def test_another_pool_or_count_of_devices_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {machine_digest(CPU), machine_digest(Device("cpu", 4)), machine_digest(Device("gpu", 1))}
    monkeypatch.setenv("NPROC", "77")
    assert len(digests | {machine_digest(CPU)}) == 4


def test_a_folder_that_cannot_be_written_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    programs = CompiledPrograms(tmp_path / "file" / "compiled", CPU)
    programs.open()
    programs.publish()
    programs.close()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_killed_process_leaves_nothing_half_written_and_its_folder_goes(tmp_path: Path) -> None:
    program = (
        f"import jax, time, pathlib\nfrom tunix_eval.plugin.compiled import CompiledPrograms\n"
        f"from tunix_eval.plugin.device import Device\n"
        f"programs = CompiledPrograms(pathlib.Path({str(tmp_path)!r}), Device('cpu', 1))\n"
        "programs.open()\njax.jit(lambda x: x * 2.0)(1.0)\nprint('compiled', flush=True)\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "compiled\n"
    (left,) = own(tmp_path)
    programs = CompiledPrograms(tmp_path, CPU)
    programs.open()
    assert left.exists(), "its owner lives"
    programs.close()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    programs.open()
    assert not left.exists()
    assert shared(tmp_path) == []
    programs.close()


def test_what_was_read_least_recently_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: CompiledPrograms
) -> None:
    for age, name in enumerate(("new", "old", "older")):
        path = tmp_path / "another-machine" / f"00000000-{name}-0-cache"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
        moment = time.time() - 3600 * (age + 1)
        os.utime(path, (moment, moment))
    programs.open()
    compile_one(5.0)
    (made,) = own(tmp_path)
    size = sum(path.stat().st_size for path in made.glob("*-cache"))
    monkeypatch.setattr(compiled, "MOST_BYTES", size + 2000)
    programs.close()
    assert shared(tmp_path) == ["jit__lambda", "new", "old"]


def emptied(whole: bytes) -> bytes:
    return b""


def cut(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def changed(whole: bytes) -> bytes:
    return whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]


@pytest.mark.parametrize("damage", [emptied, cut, changed])
def test_a_damaged_entry_is_dropped_and_made_once_more(
    tmp_path: Path, programs: CompiledPrograms, damage: Callable[[bytes], bytes]
) -> None:
    """Else JAX warns of it in every session, and compiles for nothing."""
    programs.open()
    compile_one(6.0)
    programs.close()
    (entry,) = tmp_path.glob("[!.]*/*-cache")
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    jax.clear_caches()
    programs.open()
    (folder,) = own(tmp_path)
    assert not list(folder.glob("*-cache"))
    assert not entry.exists()
    compile_one(6.0)
    programs.close()
    assert shared(tmp_path) == ["jit__lambda"]
    programs.open()
    (folder,) = own(tmp_path)
    assert [path.name for path in folder.glob("*-cache")] == [entry.name.partition("-")[2]]
    programs.close()


def test_a_program_says_no_absolute_path(tmp_path: Path, programs: CompiledPrograms) -> None:
    programs.open()
    compile_one(9.0)
    programs.close()
    (entry,) = tmp_path.glob("[!.]*/*-cache")
    text = sys.modules["jax._src.compilation_cache"].decompress_executable(entry.read_bytes())
    assert Path(__file__).name.encode() in text
    assert os.fsencode(Path(__file__).parent) not in text


def test_what_stands_there_under_another_name_is_no_entry(tmp_path: Path, programs: CompiledPrograms) -> None:
    folder = tmp_path / machine_digest(CPU)
    folder.mkdir()
    (folder / "jit_f-1-cache").write_bytes(b"as JAX itself names one")
    programs.open()
    assert shared(tmp_path) == []
    programs.close()


def test_an_entry_that_a_full_disk_cut_short_is_not_shared(tmp_path: Path, programs: CompiledPrograms) -> None:
    programs.open()
    compile_one(7.0)
    (folder,) = own(tmp_path)
    (entry,) = folder.glob("*-cache")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    programs.publish()
    assert shared(tmp_path) == []
    entry.write_bytes(whole)
    os.utime(folder)
    programs.close()
    assert shared(tmp_path) == ["jit__lambda"]


def test_what_was_written_aside_by_a_killed_process_goes_in_time(tmp_path: Path, programs: CompiledPrograms) -> None:
    folder = tmp_path / machine_digest(CPU)
    fresh, old, unlocked = (folder / name for name in (".a-cache.1", ".b-cache.1", ".1-x"))
    unlocked.mkdir(parents=True)
    for path in (fresh, old):
        path.write_text("half")
    hours_ago = time.time() - 7200
    for path in (old, unlocked):
        os.utime(path, (hours_ago, hours_ago))
    programs.open()
    assert [path.exists() for path in (fresh, old, unlocked)] == [True, False, False]
    programs.close()


def test_two_processes_may_make_room_at_once(tmp_path: Path, programs: CompiledPrograms) -> None:
    gone = tmp_path / machine_digest(CPU) / "00000000-gone-0-cache"
    gone.parent.mkdir()
    # As another process has it that deletes an entry between our two looks: a name, and nothing behind it.
    gone.symlink_to(tmp_path / "nothing")
    programs.open()
    compile_one(8.0)
    programs.close()
    assert shared(tmp_path) == ["gone", "jit__lambda"]


RUN_FILE = """
name = "sums"
dataset = "addition-v1"
renderer = "plain"
trainer = "flax"

[model]
layers = 1
width = 16
heads = 2
mlp_width = 32

[training]
steps = 3
rows = 2
row_tokens = 48
"""


def test_a_second_process_compiles_nothing_unless_the_cache_is_torn(project: Project) -> None:
    project.write("sums.toml", RUN_FILE)
    project.write(
        "test_sums.py",
        f"import pytest\n{COUNT}\n@pytest.mark.tunix_train('sums.toml')\ndef test_run(tunix_run):\n"
        "    hits = sum(event.endswith('cache_hits') for event in compiled)\n"
        "    print(f'LOADED {hits} of {len(compiled) - hits} {tunix_run.manifest.weights_sha256}')\n",
    )

    def trained(*settings: str) -> tuple[int, int, str]:
        project.write("pyproject.toml", (project.path / "pyproject.toml").read_text().partition("[tool.tunix_eval]")[0])
        with (project.path / "pyproject.toml").open("a") as file:
            file.write("\n".join(["[tool.tunix_eval]", *settings, ""]))
        result = project.run_apart("--tunix-retrain", "-rP", "-W", "error")
        result.assert_outcomes(passed=1)
        assert result.stderr.lines == []
        (line,) = [line for line in result.outlines if line.startswith("LOADED")]
        _, loaded, _, asked, weights = line.split()
        return int(loaded), int(asked), weights

    off = trained("compilation_cache = false")
    assert not (project.path / "artifacts" / "compiled").exists()
    first, second = trained(), trained()
    for path in (project.path / "artifacts" / "compiled").glob("*/*-cache"):
        path.write_bytes(path.read_bytes()[:-20])
    third = trained()
    assert first[1] == second[1] > 0
    assert (off[0], first[0], second[0], third[0]) == (0, 0, second[1], 0)
    assert off[2] == first[2] == second[2] == third[2]
