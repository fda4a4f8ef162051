import hashlib
import json
import math
import random
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_datasets import build, trace

from tunix_eval.aside import held_aside
from tunix_eval.data import DataWarning, build_dataset, read_dataset, traces_text, write_dataset
from tunix_eval.errors import ArtifactError, DataError


def test_what_is_written_reads_back_the_same(tmp_path):
    dataset = build(trace(), trace(), seed=1)
    path = write_dataset(dataset, tmp_path / "new")
    assert path == tmp_path / "new" / "sums-v1"
    assert read_dataset(path) == dataset


def test_nothing_else_is_left_in_the_folder(tmp_path):
    path = write_dataset(build(), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sums-v1"]
    assert sorted(entry.name for entry in path.iterdir()) == ["manifest.json", "traces.jsonl"]


def test_equal_arguments_give_equal_bytes(tmp_path):
    paths = [write_dataset(build(), tmp_path / folder) for folder in "ab"]
    for name in ("manifest.json", "traces.jsonl"):
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()


def test_the_same_content_again_leaves_the_files_alone(tmp_path):
    path = write_dataset(build(), tmp_path)
    before = (path / "manifest.json").read_bytes(), (path / "manifest.json").stat().st_mtime_ns
    write_dataset(build_dataset("sums", "v1", [trace(id="a")], seed=8), tmp_path)
    assert ((path / "manifest.json").read_bytes(), (path / "manifest.json").stat().st_mtime_ns) == before


def test_other_content_under_the_same_key_is_refused(tmp_path):
    path = write_dataset(build(), tmp_path)
    with pytest.raises(DataError, match=r"is there with other content .* give the new content a new version"):
        write_dataset(build(trace(id="b")), tmp_path)
    assert read_dataset(path) == build()


@pytest.mark.parametrize("name", ["manifest.json", "traces.jsonl"])
def test_a_folder_that_is_no_whole_dataset_is_named_and_left(tmp_path, name):
    path = write_dataset(build(), tmp_path)
    (path / name).unlink()
    with pytest.raises(DataError, match=f"sums-v1: is there without {name}; move it away"):
        write_dataset(build(), tmp_path)


def test_a_key_that_is_too_long_for_the_disk_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="v1: cannot be written: File name too long"):
        write_dataset(build_dataset("x" * 300, "v1", [trace()]), tmp_path)


def test_a_disk_that_is_full_leaves_nothing(tmp_path):
    code = (
        "import pathlib, resource, sys\n"
        "from tunix_eval.data import addition_dataset, write_dataset\n"
        "from tunix_eval.errors import ArtifactError\n"
        "dataset = addition_dataset()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_dataset(dataset, pathlib.Path(sys.argv[1]))\n"
        "except ArtifactError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert found.stdout == f"{tmp_path / 'addition-v1'}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_two_processes_with_one_key_and_two_contents_leave_one_of_them(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from tunix_eval.data import build_dataset, write_dataset\n"
        "from tunix_eval.errors import DataError\n"
        "from tunix_eval.records import Step, Trace\n"
        "steps = (Step(0, 's', sys.argv[2]),)\n"
        "for k in range(40):\n"
        "    made = [Trace(trace_version='1', prompt='p', final_answer='a', steps=steps)]\n"
        "    try:\n        write_dataset(build_dataset(f's{k}', 'v1', made), pathlib.Path(sys.argv[1]))\n"
        "        print(k)\n"
        "    except DataError as error:\n        assert 'is there with other content' in str(error)\n"
    )
    pipes = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, text], stdout=subprocess.PIPE, text=True)
        for text in ("one", "two")
    ]
    written = [pipe.communicate()[0].split() for pipe in pipes]
    assert [pipe.returncode for pipe in pipes] == [0, 0]
    assert sorted(written[0] + written[1], key=int) == [str(k) for k in range(40)]
    for k in range(40):
        content = read_dataset(tmp_path / f"s{k}-v1").traces[0].steps[0].content
        assert (str(k) in written[0]) == (content == "one")


def test_many_writers_at_once_leave_one_whole_dataset(tmp_path):
    dataset = build(*(trace(f"{n}+1=") for n in range(200)))
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: write_dataset(dataset, tmp_path), range(16)))
    assert set(paths) == {tmp_path / "sums-v1"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["sums-v1"]
    assert read_dataset(paths[0]) == dataset


def test_a_writer_that_is_killed_leaves_nothing_or_a_whole_dataset(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from tunix_eval.data import build_dataset, write_dataset\n"
        "from tunix_eval.records import Step, Trace\n"
        "traces = [Trace(trace_version='1.0', prompt=f'{n}+1=', final_answer='2', steps=(Step(0, 's', 'x' * 200),),"
        " id=str(n)) for n in range(2000)]\n"
        "print('ready', flush=True)\n"
        "for version in range(10**6):\n"
        "    write_dataset(build_dataset(sys.argv[2], f'v{version}', traces), pathlib.Path(sys.argv[1]))\n"
    )
    delays = random.Random(7)
    for turn in range(5):
        with subprocess.Popen([sys.executable, "-c", code, tmp_path, f"k{turn}"], stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(delays.uniform(0, 0.15))
            child.kill()
    for path in tmp_path.iterdir():
        if path.name.startswith("."):
            assert re.fullmatch(r"\.k\d-v\d+\.[a-z0-9_]{8}", path.name)
        else:
            assert len(read_dataset(path).traces) == 2000


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    left = tmp_path / ".sums-v1.abcd0123"
    others = [tmp_path / ".sums-v1.1.abcd0123", tmp_path / ".sums-v1.note", tmp_path / "sums-v0"]
    for path in (left, *others):
        path.mkdir()
        (path / "traces.jsonl").write_text("")
    with held_aside(tmp_path / "sums-v1", is_folder=True) as living:
        write_dataset(build(), tmp_path)
        held = {living, tmp_path / "sums-v1", *others}
        assert set(tmp_path.iterdir()) == held


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="sums-v1: cannot be written: "):
        write_dataset(build(), tmp_path / "file")


@pytest.mark.parametrize("value", [math.nan, object()])
def test_provenance_that_json_cannot_hold_is_named_and_nothing_is_written(tmp_path, value):
    with pytest.raises(DataError, match="manifest of sums-v1: "):
        write_dataset(build(provenance={"x": value}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_trace_file_is_found_by_its_digest(tmp_path):
    path = write_dataset(build(), tmp_path)
    content = path / "traces.jsonl"
    content.write_text(content.read_text().replace("1+1=2", "1+1=3"))
    with pytest.raises(DataError, match=r"traces.jsonl: its SHA-256 is [0-9a-f]{64}, manifest.json says [0-9a-f]"):
        read_dataset(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"trace_count": 3}, "holds 1 traces, manifest.json says 3"),
        ({"trace_ids": ["b"]}, "trace_ids are not the ids of the traces"),
        ({"build_id": "static"}, "build_id 'static' is no UUID"),
        ({"seed": "x"}, "seed is of type str"),
        ({"seed": True}, "seed is of type bool"),
        ({"dataset_key": "../x"}, "dataset_key is '../x'"),
        ({"dataset_key": ".sums-v1"}, "dataset_key is '.sums-v1'"),
        ({"dataset_key": None}, "dataset_key is None"),
        (
            {"dataset_schema_version": "2.0"},
            "dataset_schema_version is 2.0, this tunix-eval reads 1.0; use the version",
        ),
        ({"dataset_schema_version": 7}, "dataset_schema_version is 7, this tunix-eval reads 1.0"),
        ({"dataset_key": ".."}, r"dataset_key is '\.\.'; expected `<name>-<version>` of letters"),
        ({"dataset_name": ".."}, r"dataset_name is '\.\.'; expected letters, digits"),
        ({"dataset_version": "../v1"}, r"dataset_version is '\.\./v1'; expected letters, digits"),
        ({"dataset_version": "v9"}, "dataset_key is 'sums-v1', its name and version say '[a-z]+-v9'; mend one of them"),
        ({"duplicates": 5}, "duplicates is 5, counted were 0"),
    ],
)
def test_a_manifest_that_contradicts_the_format_or_the_traces_is_refused(tmp_path, change, reason):
    path = write_dataset(build(), tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(DataError, match=reason):
        read_dataset(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("[]", "is of type list"), (None, "no such file")],
)
def test_a_missing_or_broken_manifest_is_named(tmp_path, text, reason):
    path = write_dataset(build(), tmp_path)
    (path / "manifest.json").unlink()
    if text is not None:
        (path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=f"manifest.json: {reason}"):
        read_dataset(path)


def test_another_systems_layout_is_read_with_a_warning_that_names_what_it_lacks(tmp_path):
    manifest = {
        "dataset_key": "dev-v2",
        "build_id": "dev-v2-static",
        "selection_strategy": "static",
        "trace_ids": [],
        "trace_count": 3,
        "stats": {"trace_count": 3},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "dataset.jsonl").write_text(traces_text([trace(), trace(id="b"), trace(id="c")]))
    with pytest.warns(DataWarning) as caught:
        dataset = read_dataset(tmp_path)
    assert dataset.key == "dev-v2"
    assert len(dataset.traces) == 3
    (message,) = (str(warning.message) for warning in caught)
    for lack in (
        "lacks the keys dataset_name, dataset_version, dataset_schema_version, created_at, filters, seed, session_id, ",
        "provenance, content_sha256, duplicates; ",
        "stats lacks the keys avg_step_count, min_step_count, max_step_count, avg_total_chars; ",
        "counted were 2 repeated prompts; ",
        "build_id 'dev-v2-static' is no UUID",
        "selection_strategy 'static' is not among latest, random, all, stratified, quality",
        "trace_ids are not the ids of the traces",
        "the traces are in dataset.jsonl, not traces.jsonl",
    ):
        assert lack in message


def test_a_plain_file_is_a_dataset_under_its_stem(tmp_path):
    path = tmp_path / "my-set-v3.jsonl"
    path.write_text(traces_text([trace(), trace()]))
    dataset = read_dataset(path)
    assert dataset.key == "my-set-v3"
    assert dataset.manifest["duplicates"] == 1
    assert dataset.content_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(tmp_path / "my set.jsonl")
    with pytest.raises(DataError, match="'my set' is no key; rename the file"):
        read_dataset(tmp_path / "my set.jsonl")
