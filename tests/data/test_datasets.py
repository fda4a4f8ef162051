import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data import DataWarning, build_dataset, on_holdout_side, read_dataset, traces_text, write_dataset
from tunix_eval.errors import ArtifactError, DataError
from tunix_eval.records import Step, Trace
from tunix_eval.testing import texts

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def trace(prompt="1+1=", **changes):
    steps = changes.pop("steps", (Step(0, "sum", "1+1=2"),))
    return Trace(trace_version="1.0", prompt=prompt, final_answer="2", steps=steps, **changes)


def build(*traces, **options):
    return build_dataset("sums", "v1", traces or [trace(id="a")], created_at=CREATED, **options)


class TestBuild:
    def test_the_manifest_has_every_field_of_the_format(self):
        two = (Step(0, "s", "abc"), Step(1, "s", "de"))
        dataset = build(
            trace(id="a"), trace(" 1+1= ", id="b", steps=two), seed=5, provenance={"source": "me", "seed": 9}
        )
        content = traces_text(dataset.traces).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        assert dataset.key == "sums-v1"
        assert dataset.content_sha256 == sha256
        build_id = dataset.manifest["build_id"]
        assert uuid.UUID(build_id).version == 5
        assert dataset.manifest == {
            "dataset_key": "sums-v1",
            "build_id": build_id,
            "dataset_name": "sums",
            "dataset_version": "v1",
            "dataset_schema_version": "1.0",
            "created_at": "2026-03-04T05:06:07+00:00",
            "filters": {},
            "selection_strategy": "all",
            "seed": 5,
            "trace_ids": ["a", "b"],
            "trace_count": 2,
            "stats": {
                "trace_count": 2,
                "avg_step_count": 1.5,
                "min_step_count": 1,
                "max_step_count": 2,
                "avg_total_chars": (4 + 1 + 5 + 6 + 1 + 5) / 2,
            },
            "session_id": None,
            "parent_dataset_id": None,
            "training_run_id": None,
            "provenance": {
                "source": "me",
                "seed": 5,
                "schema_version": "1.0",
                "build_timestamp": "2026-03-04T05:06:07+00:00",
                "trace_count": 2,
                "selection_strategy": "all",
            },
            "content_sha256": sha256,
            "duplicates": 1,
        }

    def test_the_build_id_follows_from_key_and_content(self):
        same = build_dataset("sums", "v1", [trace(id="a")], seed=3)
        assert same.manifest["build_id"] == build().manifest["build_id"]
        others = [build(trace(id="b")), build_dataset("sums", "v2", [trace(id="a")])]
        assert len({build().manifest["build_id"], *(other.manifest["build_id"] for other in others)}) == 3

    def test_times_are_written_in_utc(self):
        local = datetime(2026, 3, 4, 7, 6, 7, tzinfo=timezone(timedelta(hours=2)))
        dataset = build_dataset("sums", "v1", [trace()], created_at=local)
        assert dataset.manifest["created_at"] == "2026-03-04T05:06:07+00:00"

    def test_a_time_without_a_zone_is_refused(self):
        with pytest.raises(DataError, match="has no time zone"):
            build_dataset("sums", "v1", [trace()], created_at=datetime(2026, 1, 1))

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "a\n"])
    def test_a_name_that_is_no_key_is_refused(self, name):
        with pytest.raises(DataError, match="is no key"):
            build_dataset(name, "v1", [trace()])
        with pytest.raises(DataError, match="is no key"):
            build_dataset("sums", name, [trace()])

    def test_a_version_holds_no_hyphen(self):
        with pytest.raises(DataError, match="version 'v-1' holds '-'; a key is split at its last one"):
            build_dataset("sums", "v-1", [trace()])

    def test_a_bad_trace_is_named(self):
        with pytest.raises(DataError, match=r"^dataset sums-v1, trace 2: prompt: is empty$"):
            build(trace(), trace(""))

    @pytest.mark.parametrize("value", [math.nan, math.inf, object(), "\ud800"])
    def test_a_value_that_json_cannot_hold_is_refused(self, value):
        with pytest.raises(DataError, match=r"^dataset sums-v1, trace 1: cannot be written as JSON"):
            build(trace(meta={"x": value}))

    def test_null_in_meta_is_a_value(self):
        assert build(trace(meta={"x": None})).traces[0].meta == {"x": None}

    def test_the_manifest_records_what_was_selected_and_from_what(self):
        listed = [trace(f"{n}+1=", id=f"t{n}", meta={"kind": "ab"[n % 2]}) for n in range(10)]
        chosen = build(
            *listed, filters={"kind": ["a"]}, selection_strategy="random", seed=3, limit=2, provenance={"limit": 9}
        )
        source = hashlib.sha256(traces_text(listed).encode()).hexdigest()
        manifest = chosen.manifest
        assert len(chosen.traces) == manifest["trace_count"] == manifest["stats"]["trace_count"] == 2
        assert manifest["trace_ids"] == [one.id for one in chosen.traces]
        assert (manifest["filters"], manifest["selection_strategy"], manifest["seed"]) == ({"kind": ["a"]}, "random", 3)
        recorded = {"limit": 2, "source_trace_count": 10, "source_sha256": source, "selection_strategy": "random"}
        assert recorded.items() <= manifest["provenance"].items()

    def test_the_manifest_says_by_what_strata_and_quality_went(self):
        listed = [trace(f"{n}+1=", id=f"t{n}", meta={"n": n}) for n in range(4)]
        strata = build(*listed, selection_strategy="stratified", by="n", seed=1).manifest["provenance"]
        assert (strata["by"], "limit" in strata, "lower_is_better" in strata) == ("n", False, False)
        best = build(*listed, selection_strategy="quality", by="n", limit=2, lower_is_better=True)
        assert [one.id for one in best.traces] == ["t0", "t1"]
        assert best.manifest["provenance"]["lower_is_better"] is True

    def test_parents_are_recorded(self):
        first = build()
        second = build_dataset(
            "sums", "v2", first.traces, parent=first, session_id="20260304-0a1b", training_run_id="0123456789abcdef"
        )
        parents = ("parent_dataset_id", "session_id", "training_run_id")
        assert [second.manifest[key] for key in parents] == [
            first.manifest["build_id"],
            "20260304-0a1b",
            "0123456789abcdef",
        ]

    def test_a_plain_file_is_no_parent(self, tmp_path):
        (tmp_path / "old.jsonl").write_text(traces_text([trace()]))
        with pytest.raises(DataError, match="dataset sums-v1: its parent old has no build_id; build a dataset of it"):
            build(trace(), parent=read_dataset(tmp_path / "old.jsonl"))

    def test_what_was_selected_reads_back_the_same(self, tmp_path):
        listed = [trace(f"{n}+1=", id=f"t{n}", meta={"n": n}) for n in range(4)]
        dataset = build(*listed, filters={"n": (1, 3)}, selection_strategy="latest", parent=build())
        assert read_dataset(write_dataset(dataset, tmp_path)) == dataset

    def test_no_trace_and_an_unknown_strategy_are_refused(self):
        with pytest.raises(DataError, match="holds no trace"):
            build_dataset("sums", "v1", [])
        with pytest.raises(DataError, match="no selection strategy 'best'; known: latest, random, all"):
            build(selection_strategy="best")


class TestWriteAndRead:
    def test_what_is_written_reads_back_the_same(self, tmp_path):
        dataset = build(trace(), trace(), seed=1)
        path = write_dataset(dataset, tmp_path / "new")
        assert path == tmp_path / "new" / "sums-v1"
        assert read_dataset(path) == dataset

    def test_nothing_else_is_left_in_the_folder(self, tmp_path):
        path = write_dataset(build(), tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["sums-v1"]
        assert sorted(entry.name for entry in path.iterdir()) == ["manifest.json", "traces.jsonl"]

    def test_equal_arguments_give_equal_bytes(self, tmp_path):
        paths = [write_dataset(build(), tmp_path / folder) for folder in "ab"]
        for name in ("manifest.json", "traces.jsonl"):
            assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()

    def test_the_same_content_again_leaves_the_files_alone(self, tmp_path):
        path = write_dataset(build(), tmp_path)
        before = (path / "manifest.json").read_bytes(), (path / "manifest.json").stat().st_mtime_ns
        write_dataset(build_dataset("sums", "v1", [trace(id="a")], seed=8), tmp_path)
        assert ((path / "manifest.json").read_bytes(), (path / "manifest.json").stat().st_mtime_ns) == before

    def test_other_content_under_the_same_key_is_refused(self, tmp_path):
        path = write_dataset(build(), tmp_path)
        with pytest.raises(DataError, match=r"is there with other content .* give the new content a new version"):
            write_dataset(build(trace(id="b")), tmp_path)
        assert read_dataset(path) == build()

    @pytest.mark.parametrize("name", ["manifest.json", "traces.jsonl"])
    def test_a_folder_that_is_no_whole_dataset_is_named_and_left(self, tmp_path, name):
        path = write_dataset(build(), tmp_path)
        (path / name).unlink()
        with pytest.raises(DataError, match=f"sums-v1: is there without {name}; move it away"):
            write_dataset(build(), tmp_path)

    def test_a_key_that_is_too_long_for_the_disk_is_named(self, tmp_path):
        with pytest.raises(ArtifactError, match="v1: cannot be written: File name too long"):
            write_dataset(build_dataset("x" * 300, "v1", [trace()]), tmp_path)

    def test_a_disk_that_is_full_leaves_nothing(self, tmp_path):
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

    def test_two_processes_with_one_key_and_two_contents_leave_one_of_them(self, tmp_path):
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

    def test_many_writers_at_once_leave_one_whole_dataset(self, tmp_path):
        dataset = build(*(trace(f"{n}+1=") for n in range(200)))
        with ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(lambda _: write_dataset(dataset, tmp_path), range(16)))
        assert set(paths) == {tmp_path / "sums-v1"}
        assert [entry.name for entry in tmp_path.iterdir()] == ["sums-v1"]
        assert read_dataset(paths[0]) == dataset

    def test_a_writer_that_is_killed_leaves_nothing_or_a_whole_dataset(self, tmp_path):
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

    def test_what_a_killed_writer_has_left_is_removed_when_it_is_old_and_ours(self, tmp_path):
        ours, young = tmp_path / ".sums-v1.abcd0123", tmp_path / ".sums-v1.abcd0124"
        others = [tmp_path / ".sums-v1.1.abcd0123", tmp_path / ".sums-v1.note", tmp_path / "sums-v0"]
        for path in (ours, young, *others):
            path.mkdir()
            (path / "traces.jsonl").write_text("")
            old = time.time() - 3700 * (path != young)
            os.utime(path, (old, old))
        write_dataset(build(), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"sums-v1", young.name, *(path.name for path in others)}

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ArtifactError, match="sums-v1: cannot be written: "):
            write_dataset(build(), tmp_path / "file")

    @pytest.mark.parametrize("value", [math.nan, object()])
    def test_provenance_that_json_cannot_hold_is_named_and_nothing_is_written(self, tmp_path, value):
        with pytest.raises(DataError, match="manifest of sums-v1: "):
            write_dataset(build(provenance={"x": value}), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_changed_trace_file_is_found_by_its_digest(self, tmp_path):
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
        ],
    )
    def test_a_manifest_that_contradicts_the_format_or_the_traces_is_refused(self, tmp_path, change, reason):
        path = write_dataset(build(), tmp_path)
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(DataError, match=reason):
            read_dataset(path)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("[]", "is of type list"), (None, "no such file")],
    )
    def test_a_missing_or_broken_manifest_is_named(self, tmp_path, text, reason):
        path = write_dataset(build(), tmp_path)
        (path / "manifest.json").unlink()
        if text is not None:
            (path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match=f"manifest.json: {reason}"):
            read_dataset(path)

    def test_another_systems_layout_is_read_with_a_warning_that_names_what_it_lacks(self, tmp_path):
        manifest = {
            "dataset_key": "dev-v2",
            "build_id": "dev-v2-static",
            "selection_strategy": "static",
            "trace_ids": [],
            "trace_count": 1,
            "stats": {"trace_count": 1},
        }
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / "dataset.jsonl").write_text(traces_text([trace()]))
        with pytest.warns(DataWarning) as caught:
            dataset = read_dataset(tmp_path)
        assert dataset.key == "dev-v2"
        assert len(dataset.traces) == 1
        (message,) = (str(warning.message) for warning in caught)
        for lack in (
            "no content_sha256",
            "no stats.avg_step_count",
            "build_id 'dev-v2-static' is no UUID",
            "selection_strategy 'static' is not among latest, random, all, stratified, quality",
            "trace_ids are not the ids of the traces",
            "the traces are in dataset.jsonl, not traces.jsonl",
        ):
            assert lack in message

    def test_a_plain_file_is_a_dataset_under_its_stem(self, tmp_path):
        path = tmp_path / "my-set-v3.jsonl"
        path.write_text(traces_text([trace(), trace()]))
        dataset = read_dataset(path)
        assert dataset.key == "my-set-v3"
        assert dataset.manifest["duplicates"] == 1
        assert dataset.content_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(tmp_path / "my set.jsonl")
        with pytest.raises(DataError, match="'my set' is no key; rename the file"):
            read_dataset(tmp_path / "my set.jsonl")


class TestHoldoutSide:
    @given(texts(), st.floats(0, 1), st.floats(0, 1))
    def test_a_larger_fraction_holds_out_everything_that_a_smaller_one_does(self, prompt, one, other):
        small, large = sorted((one, other))
        assert on_holdout_side(prompt, small) <= on_holdout_side(prompt, large)

    @given(texts(), st.floats(0, 1))
    def test_spacing_and_case_do_not_change_the_side(self, prompt, fraction):
        assert on_holdout_side(f"  {prompt}\n ", fraction) == on_holdout_side(prompt, fraction)

    def test_it_goes_by_the_digest_of_the_prompt(self):
        digest = hashlib.sha256(b"what is 2+2?").hexdigest()
        share = int(digest, 16) / 2**256
        assert not on_holdout_side("What is  2+2?", share - 1e-9)
        assert on_holdout_side("What is  2+2?", share + 1e-9)

    def test_about_the_fraction_is_held_out(self):
        held_out = sum(on_holdout_side(f"{n}", 0.2) for n in range(5000))
        assert 900 < held_out < 1100

    @pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
    def test_a_fraction_outside_0_to_1_is_refused(self, fraction):
        with pytest.raises(DataError, match="is outside 0 to 1"):
            on_holdout_side("x", fraction)
