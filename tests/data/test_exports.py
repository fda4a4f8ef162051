import gzip
import hashlib
import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunix_eval.data import (
    EXPORT_FORMATS,
    STYLES,
    GemmaRenderer,
    build_dataset,
    export_lines,
    model_text,
    read_dataset,
    read_traces,
    write_dataset,
    write_export,
)
from tunix_eval.errors import ArtifactError, DataError, UnknownNameError
from tunix_eval.records import Conversation, Step, Trace, Turn
from tunix_eval.testing import traces

CREATED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STEPS = (Step(0, "s", "1+1 is 2"), Step(3, "s", "so 2"))
ADDED = Trace(
    trace_version="1.0",
    prompt="1+1=",
    final_answer="2",
    steps=STEPS,
    id="a",
    meta={"category": "sum", "format": "mine", "created_at": "then", "trace_version": "9", "source_trace_id": "z"},
)
SPOKEN = Trace(
    trace_version="1.0",
    prompt="And 2+2?",
    final_answer="4",
    steps=STEPS[:1],
    id="b",
    system="Be brief.",
    messages=(Turn("user", "1+1?"), Turn("assistant", "2")),
)
SINGLE = msgspec.structs.replace(SPOKEN, messages=())


def dataset(*listed):
    return build_dataset("sums", "v1", listed or [ADDED], created_at=CREATED)


def records(kind, *listed, **options):
    return [json.loads(line) for line in b"".join(export_lines(dataset(*listed), kind, **options)).splitlines()]


class TestRecords:
    def test_trace_is_the_dataset_file_itself(self, tmp_path):
        built = dataset(ADDED, SPOKEN)
        content = (write_dataset(built, tmp_path) / "traces.jsonl").read_bytes()
        assert b"".join(export_lines(built, "trace")) == content

    def test_tunix_sft(self):
        assert records("tunix_sft") == [
            {
                "id": "a",
                "prompts": "<start_of_turn>user\n1+1=<end_of_turn>\n<start_of_turn>model\n"
                "Reasoning:\n1. 1+1 is 2\n2. so 2\nAnswer: 2<end_of_turn>",
                "final_answer": "2",
                "metadata": {
                    "category": "sum",
                    "created_at": "2026-03-04T05:06:07+00:00",
                    "trace_version": "1.0",
                    "format": "tunix_sft",
                    "source_trace_id": "z",
                },
            }
        ]

    def test_training_example(self):
        (one,) = records("training_example")
        assert uuid.UUID(one.pop("id")).version == 5
        assert one == {
            "prompt": "1+1=\n\nPlease show your reasoning steps.",
            "response": "Reasoning:\n1. 1+1 is 2\n2. so 2\nAnswer: 2",
            "metadata": {
                "category": "sum",
                "created_at": "2026-03-04T05:06:07+00:00",
                "trace_version": "1.0",
                "source_trace_id": "a",
                "format": "mine",
            },
        }

    def test_messages_keep_system_and_earlier_turns(self):
        assert records("messages", SPOKEN) == [
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "1+1?"},
                    {"role": "assistant", "content": "2"},
                    {"role": "user", "content": "And 2+2?"},
                    {"role": "assistant", "content": "Reasoning:\n1. 1+1 is 2\nAnswer: 4"},
                ]
            }
        ]

    def test_prompt_completion_puts_the_system_text_before_the_prompt(self):
        assert records("prompt_completion", ADDED, SINGLE, style="plain") == [
            {"prompt": "1+1=", "completion": "1+1 is 2\nso 2\n#### 2"},
            {"prompt": "Be brief.\n\nAnd 2+2?", "completion": "1+1 is 2\n#### 4"},
        ]

    @pytest.mark.parametrize("style", STYLES)
    def test_the_steps_take_the_style_that_is_asked_for(self, style):
        (spoken,), (completed,) = (records(kind, style=style) for kind in ("messages", "prompt_completion"))
        assert spoken["messages"][-1]["content"] == completed["completion"] == model_text(ADDED, style)

    @given(st.lists(traces(), min_size=1, max_size=5, unique_by=lambda one: one.id))
    @settings(max_examples=40, derandomize=True)
    def test_the_text_of_tunix_sft_is_gemmas_without_bos_and_final_newline(self, listed):
        for trace, record in zip(listed, records("tunix_sft", *listed), strict=True):
            turns = (*trace.messages, Turn("user", trace.prompt), Turn("assistant", model_text(trace, "numbered")))
            spans = GemmaRenderer().render(Conversation(turns, trace.system), generation_prompt=False)
            assert "<bos>" + record["prompts"] + "\n" == "".join(span.text for span in spans)

    @given(listed=st.lists(traces(), min_size=1, max_size=5, unique_by=lambda one: one.id))
    @settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_exported_traces_read_back_equal(self, tmp_path, listed):
        built = dataset(*listed)
        write_export(built, "trace", tmp_path / "out.jsonl")
        assert tuple(read_traces(tmp_path / "out.jsonl")) == built.traces
        assert read_dataset(tmp_path / "out.jsonl").content_sha256 == built.content_sha256


class TestRefused:
    @pytest.mark.parametrize("kind", ["training_example", "prompt_completion"])
    def test_earlier_turns_where_there_is_no_place_for_them(self, kind):
        with pytest.raises(DataError, match=rf"^trace 'b': has 2 earlier turns, the format {kind} has place for none"):
            records(kind, SPOKEN)

    @pytest.mark.parametrize(
        ("messages", "reason"),
        [
            ((Turn("assistant", "2"),), r"messages\[0\] is the assistant's"),
            ((Turn("user", "2"), Turn("user", "3")), r"messages\[1\] is the user's"),
            ((Turn("user", "2"),), "the last of messages is the user's, and so is the prompt"),
        ],
    )
    def test_turns_that_gemma_cannot_print(self, messages, reason):
        with pytest.raises(DataError, match=f"^trace 'b': {reason}"):
            records("tunix_sft", msgspec.structs.replace(SPOKEN, messages=messages))

    @pytest.mark.parametrize("kind", ["tunix_sft", "messages"])
    def test_thoughts_of_earlier_turns_are_never_dropped_in_silence(self, kind):
        thought = (Turn("user", "1+1?"), Turn("assistant", "2", "one and one"))
        with pytest.raises(DataError, match=rf"^trace 'b': messages\[1\].reasoning_content has no place in .* {kind};"):
            records(kind, msgspec.structs.replace(SPOKEN, messages=thought))

    def test_unknown_names_before_anything_is_read(self):
        with pytest.raises(UnknownNameError, match=r"no export format named 'tunix'; known: .*tunix_sft"):
            export_lines([], "tunix")
        with pytest.raises(UnknownNameError, match="no style named 'numberd'"):
            export_lines([], "messages", style="numberd")
        with pytest.raises(DataError, match="format tunix_sft takes no style 'plain': its layout is fixed"):
            export_lines([], "tunix_sft", style="plain")

    @pytest.mark.parametrize("kind", EXPORT_FORMATS)
    def test_half_a_surrogate_pair(self, kind):
        broken = msgspec.structs.replace(ADDED, final_answer="\ud800", meta=None)
        with pytest.raises(DataError, match=r"^traces 'a' to 'a': cannot be written as JSON"):
            list(export_lines([broken], kind))


class TestFiles:
    @pytest.mark.parametrize("kind", EXPORT_FORMATS)
    def test_two_exports_are_equal_to_the_byte_in_manifest_order(self, tmp_path, kind):
        built = dataset(*(msgspec.structs.replace(ADDED, id=f"t{n}") for n in range(450, 0, -1)))
        for name in ("one.jsonl", "two.jsonl", "one.jsonl.gz", "two.jsonl.gz"):
            write_export(built, kind, tmp_path / name)
        one = (tmp_path / "one.jsonl").read_bytes()
        assert one == (tmp_path / "two.jsonl").read_bytes() == b"".join(export_lines(built, kind))
        packed = (tmp_path / "one.jsonl.gz").read_bytes()
        assert packed == (tmp_path / "two.jsonl.gz").read_bytes()
        assert gzip.decompress(packed) == one
        assert one.count(b"\n") == 450
        if kind in {"trace", "tunix_sft"}:
            assert [json.loads(line)["id"] for line in one.splitlines()] == [trace.id for trace in built.traces]

    def test_other_processes_write_the_same_bytes(self, tmp_path):
        built = write_dataset(dataset(ADDED, SINGLE), tmp_path)
        code = (
            "import sys, pathlib, hashlib\n"
            "from tunix_eval.data import EXPORT_FORMATS, export_lines, read_dataset\n"
            "built = read_dataset(pathlib.Path(sys.argv[1]))\n"
            "print(hashlib.sha256(b''.join(b for k in EXPORT_FORMATS for b in export_lines(built, k))).hexdigest())"
        )
        here = b"".join(block for kind in EXPORT_FORMATS for block in export_lines(dataset(ADDED, SINGLE), kind))
        for seed in ("1", "2"):
            done = subprocess.run(
                [sys.executable, "-c", code, built], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
            )
            assert done.stdout.strip() == hashlib.sha256(here).hexdigest(), done.stderr

    def test_an_export_replaces_a_file_and_leaves_nothing_beside_it(self, tmp_path):
        path = tmp_path / "new" / "out.jsonl"
        write_export(dataset(), "trace", path)
        write_export(dataset(ADDED, SINGLE), "messages", path)
        assert path.read_bytes().count(b"\n") == 2
        assert [one.name for one in path.parent.iterdir()] == ["out.jsonl"]

    def test_a_trace_that_the_format_cannot_hold_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "out.jsonl"
        path.write_text("old")
        with pytest.raises(DataError):
            write_export(dataset(ADDED, SPOKEN), "prompt_completion", path)
        assert [one.name for one in tmp_path.iterdir()] == ["out.jsonl"]
        assert path.read_text() == "old"

    def test_traces_that_come_one_by_one_need_no_dataset(self):
        blocks = export_lines((trace for trace in [ADDED] * 500), "tunix_sft", created_at="now")
        first = next(blocks)
        assert 0 < first.count(b"\n") < 500
        assert json.loads(first.splitlines()[0])["metadata"]["created_at"] == "now"

    def test_parquet_has_a_row_a_training_example_with_its_metadata_as_json(self, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
        for path in paths:
            write_export(dataset(ADDED, SINGLE), "training_example", path)
        rows = parquet.read_table(paths[0]).to_pylist()
        assert [{**row, "metadata": json.loads(row["metadata"])} for row in rows] == records(
            "training_example", ADDED, SINGLE
        )
        assert paths[0].read_bytes() == paths[1].read_bytes()

    @pytest.mark.parametrize(
        ("kind", "name", "reason"),
        [
            ("messages", "x.parquet", "Parquet is for the format training_example; write messages to a .jsonl file"),
            ("messages", "x.json", "expected a name that ends in .jsonl, .jsonl.gz or .parquet"),
            ("training_example", "x.gz", "expected a name that ends in"),
        ],
    )
    def test_a_file_of_another_kind_is_refused(self, tmp_path, kind, name, reason):
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            write_export(dataset(), kind, tmp_path / name)
        assert list(tmp_path.iterdir()) == []

    def test_without_pyarrow_the_error_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(DataError, match=r"pip install 'tunix-eval\[parquet\]'"):
            write_export(dataset(), "training_example", tmp_path / "x.parquet")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ArtifactError, match=r"out.jsonl: cannot be written: "):
            write_export(dataset(), "trace", tmp_path / "file" / "out.jsonl")
        (tmp_path / "folder.jsonl").mkdir()
        with pytest.raises(ArtifactError, match=r"folder.jsonl: cannot be written: Is a directory"):
            write_export(dataset(), "trace", tmp_path / "folder.jsonl")
        assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder.jsonl"]


def test_a_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    write_export(dataset(), "trace", tmp_path / "out.jsonl")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "out.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def is_conversational(example):
    """Tell whether TRL takes an example for a conversation.

    One of the keys that it looks at holds a list, whose first entry is a table with role and content (newer editions
    look at every entry). A dataset for language modelling has, of those keys, `messages` alone.
    Source: huggingface/trl, trl/data_utils.py, `is_conversational` and the keys that `apply_chat_template` takes.
    """
    keys = {"prompt", "chosen", "rejected", "completion", "messages"} & set(example)
    lists = [example[key] for key in keys]
    entries = [one for listed in lists if isinstance(listed, list) for one in listed]
    return keys == {"messages"} and bool(entries) and all({"role", "content"} <= set(one) for one in entries)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
class TestElsewhere:
    """What Hugging Face's datasets loads, by the rules of TRL."""

    def load(self, tmp_path, kind, **options):
        datasets = pytest.importorskip("datasets", reason="datasets is not installed")
        # The first traces have no system text and short conversations: types must not be guessed from them.
        listed = [*(msgspec.structs.replace(ADDED, id=f"t{n}") for n in range(300)), SINGLE]
        listed += [msgspec.structs.replace(SPOKEN, id="c")] if kind == "messages" else []
        path = tmp_path / f"{kind}.jsonl"
        write_export(dataset(*listed), kind, path, **options)
        loaded = datasets.load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
        assert loaded.to_list() == [json.loads(line) for line in path.read_bytes().splitlines()]
        return loaded

    def test_messages_are_conversations(self, tmp_path):
        loaded = self.load(tmp_path, "messages")
        assert loaded.column_names == ["messages"]
        assert all(is_conversational(one) for one in loaded)
        assert [[turn["role"] for turn in one["messages"]] for one in loaded][-2:] == [
            ["system", "user", "assistant"],
            ["system", "user", "assistant", "user", "assistant"],
        ]

    def test_prompts_and_completions_are_texts(self, tmp_path):
        loaded = self.load(tmp_path, "prompt_completion", style="tagged")
        assert set(loaded.column_names) == {"prompt", "completion"}
        assert not any(is_conversational(one) for one in loaded)
        assert all(isinstance(text, str) for one in loaded for text in one.values())
