"""Lenient reading: what is good, and every bad line with its reason and its text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import Rejected, read_traces, read_traces_leniently, rejected_text, trace_line
from tunix_eval.errors import DataError
from tunix_eval.records import Trace
from tunix_eval.testing import traces

STEPS = [{"i": 0, "type": "sum", "content": "1+1=2"}]
GOOD: dict[str, Any] = {"trace_version": "1.0", "prompt": "1+1=", "final_answer": "2", "steps": STEPS}


def write(folder: Path, *lines: dict[str, Any] | bytes) -> Path:
    path = folder / "traces.jsonl"
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))
    return path


def test_good_lines_are_kept_and_bad_ones_named_with_their_text(tmp_path: Path) -> None:
    bad = {**GOOD, "prompt": ""}
    found = read_traces_leniently(write(tmp_path, {**GOOD, "id": "a"}, bad, b"oops \xff\r", b"", {**GOOD, "id": "b"}))
    assert [trace.id for trace in found.traces] == ["a", "b"]
    assert found.rejected == [
        Rejected(2, "prompt: is empty", json.dumps(bad)),
        Rejected(3, "is not UTF-8 at byte 6; save the file as UTF-8", "oops \\xff"),
    ]
    assert [json.loads(line) for line in rejected_text(found.rejected).splitlines()] == [
        {"line": each.line, "reason": each.reason, "text": each.text} for each in found.rejected
    ]


def test_of_two_lines_with_one_id_the_second_is_rejected(tmp_path: Path) -> None:
    found = read_traces_leniently(
        write(tmp_path, {**GOOD, "id": 7}, {**GOOD, "id": "x", "prompt": " "}, {**GOOD, "id": "7"})
    )
    assert [trace.id for trace in found.traces] == ["7"]
    assert [each.reason for each in found.rejected] == [
        "prompt: holds only white space",
        "id: '7' is already used by line 1; ids are unique",
    ]


def test_unknown_keys_are_kept_below_meta_by_their_paths(tmp_path: Path) -> None:
    steps = [{**STEPS[0], "score": 0.5}, {**STEPS[0], "i": 1, "by": {"k": [1]}}]
    turns = [{"role": "user", "content": "u", "name": "ann"}]
    line = {**GOOD, "steps": steps, "messages": turns, "url": "u", "meta": {"a": 1}, "extra": None}
    (trace,) = read_traces_leniently(write(tmp_path, line)).traces
    assert trace.meta == {
        "a": 1,
        "url": "u",
        "extra": None,
        "steps[0].score": 0.5,
        "steps[1].by": {"k": [1]},
        "messages[0].name": "ann",
    }


def test_every_key_that_was_moved_is_counted_in_the_traces_that_have_it(tmp_path: Path) -> None:
    scored = {**GOOD, "steps": [{**STEPS[0], "score": 1}, {**STEPS[0], "i": 1, "score": 2}], "url": "u", "a[0]": 1}
    rejected = {**GOOD, "prompt": "", "lost": 1}
    repeated = {**GOOD, "id": "a", "late": 1}
    lines = [{**GOOD, "id": "a"}, {**GOOD, "url": "v", "why": "w"}, scored, rejected, repeated, GOOD]
    found = read_traces_leniently(write(tmp_path, *lines))
    assert list(found.moved.items()) == [("url", 2), ("why", 1), ("a[0]", 1), ("steps[].score", 1)]
    assert [each.line for each in found.rejected] == [4, 5]
    assert read_traces_leniently(write(tmp_path, GOOD)).moved == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({**GOOD, "a": 1, "meta": {"a": 2}}, "a: unknown key, and meta has it with another value; rename one of them"),
        ({**GOOD, "a": 1, "meta": {"a": True}}, "a: unknown key, and meta has it with another value"),
        (
            {**GOOD, "steps": [{**STEPS[0], "a": 1}], "steps[0].a": 2},
            "steps[0].a: unknown key, and meta has it with another value",
        ),
        ({**GOOD, "a": 1, "meta": 5}, "a: unknown key; known: trace_version"),
        ({**GOOD, "a": 1, "prompt": ""}, "prompt: is empty"),
        ({**GOOD, "promt": "p", "steps": []}, "steps: expected array of length >= 1"),
        ({"a": 1}, "trace_version: is missing"),
        (b'{"a": 1, "a": 2}', "a: occurs more than once in one object"),
        (b'{"a": [' + b"[" * 200 + b"]" * 201 + b"}", "is nested deeper than 100 levels"),
    ],
)
def test_unknown_keys_excuse_nothing_else(tmp_path: Path, line: dict[str, Any] | bytes, said: str) -> None:
    found = read_traces_leniently(write(tmp_path, line))
    assert found.traces == []
    assert found.rejected[0].reason.startswith(said)


def test_an_unknown_key_that_meta_has_with_the_same_value_is_no_conflict(tmp_path: Path) -> None:
    (trace,) = read_traces_leniently(write(tmp_path, {**GOOD, "a": [1], "meta": {"a": [1]}})).traces
    assert trace.meta == {"a": [1]}


def test_a_file_that_is_no_text_or_empty_is_refused_as_a_whole(tmp_path: Path) -> None:
    for content, said in ((b"\n", "holds no trace"), (b"\xef\xbb\xbf{}", "starts with a byte order mark")):
        (tmp_path / "a.jsonl").write_bytes(content)
        with pytest.raises(DataError, match=said):
            read_traces_leniently(tmp_path / "a.jsonl", source="stdin")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(traces(), min_size=1, max_size=4, unique_by=lambda trace: trace.id),
    st.lists(st.binary(min_size=1), max_size=3),
)
def test_sound_files_read_as_strictly_and_no_line_is_lost(
    tmp_path_factory: pytest.TempPathFactory, written: list[Trace], others: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("lenient")
    sound: list[dict[str, Any] | bytes] = [trace_line(trace).encode() for trace in written]
    path = write(folder, *sound)
    assert read_traces_leniently(path).traces == read_traces(path) == written
    bad = [other.replace(b"\n", b"") + b"?" for other in others]
    found = read_traces_leniently(write(folder, *sound, *bad))
    assert found.traces == written
    assert [each.line for each in found.rejected] == [len(written) + 1 + k for k in range(len(bad))]
