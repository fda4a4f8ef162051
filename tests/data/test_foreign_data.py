"""Data that others made, read where it is there: beside the repository, and never copied into it."""

import json
import shutil
from pathlib import Path

import pytest

from tunix_eval.data import (
    ByteTokenizer,
    DataWarning,
    GemmaRenderer,
    encode_trace,
    fill,
    map_records,
    pack,
    read_dataset,
    read_traces,
)
from tunix_eval.errors import DataError

FOLDER = Path(__file__).parents[2].parent / "shared" / "data"


def foreign(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    return path


def test_another_systems_550_traces_have_476_prompts_and_ids_of_their_own():
    path = foreign("tunix_rt_dev_reasoning_v2.jsonl")
    traces = read_traces(path)
    assert len({trace.id for trace in traces}) == 550
    assert read_dataset(path).manifest["duplicates"] == 550 - 476
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [trace.prompt for trace in traces] == [json.loads(line)["prompt"] for line in lines]


def test_another_systems_dataset_folder_is_read_with_a_warning(tmp_path):
    shutil.copy(foreign("tunix_rt_dev_reasoning_v2.jsonl"), tmp_path / "dataset.jsonl")
    shutil.copy(foreign("tunix_rt_dev_reasoning_v2.manifest.json"), tmp_path / "manifest.json")
    with pytest.warns(DataWarning, match=r"duplicates; build_id .* is no UUID.*counted were 74 repeated prompts.*in d"):
        dataset = read_dataset(tmp_path)
    assert dataset.key == "dev-reasoning-v2"
    assert len(dataset.traces) == 550


def test_another_systems_traces_pack_as_well():
    renderer = GemmaRenderer()
    tokenizer = ByteTokenizer(renderer.control_tokens)
    traces = read_traces(foreign("tunix_rt_dev_reasoning_v2.jsonl"))
    sequences = [encode_trace(t, renderer=renderer, tokenizer=tokenizer, style="numbered") for t in traces]
    row_tokens = max(len(sequence.ids) for sequence in sequences)
    batch = pack(sequences, row_tokens=row_tokens, pad_id=tokenizer.pad_id)
    assert fill(batch) >= 0.9


def test_lines_of_another_format_become_traces_by_their_keys():
    found = map_records(
        foreign("gsm8k_200.jsonl"),
        fields={"prompt": "question", "final_answer": "answer"},
        split="hashes",
        source="gsm8k",
    )
    assert (len(found.traces), len({trace.id for trace in found.traces}), found.rejected) == (200, 200, [])
    assert [trace.final_answer for trace in found.traces[:3]] == ["18", "3", "70000"]
    assert [len(trace.steps) for trace in found.traces[:3]] == [2, 2, 4]
    assert {len(trace.meta) for trace in found.traces} == {1}


def test_lines_of_another_format_are_refused_by_their_keys():
    path = foreign("gsm8k_200.jsonl")
    with pytest.raises(DataError) as caught:
        read_traces(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{path}:1: question: unknown key; known: trace_version, prompt")
    assert lines[20:] == ["and 180 more bad lines"]
