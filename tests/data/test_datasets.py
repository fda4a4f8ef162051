import hashlib
import math
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import build, trace

from tunix_eval.data import build_dataset, on_holdout_side, read_dataset, traces_text, write_dataset
from tunix_eval.errors import DataError
from tunix_eval.records import Step
from tunix_eval.testing import texts


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
