"""Trace files in Parquet: rows under the same rules as lines."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import peak_bytes

from tunix_eval.data import (
    addition_dataset,
    read_dataset,
    read_evalset,
    read_predictions,
    read_traces,
    read_traces_leniently,
    scan_traces,
    validate_traces,
    write_traces,
)
from tunix_eval.errors import DataError
from tunix_eval.records import Step, Trace, Turn
from tunix_eval.testing import traces

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

STEPS = [{"i": 0, "type": "sum", "content": "1+1=2"}]
ROW: dict[str, Any] = {"trace_version": "1.0", "prompt": "1+1=", "final_answer": "2", "steps": STEPS}


def write(path: Path, *rows: dict[str, Any], **types: Any) -> Path:
    table = pa.Table.from_pylist(list(rows))
    for name, kind in types.items():
        column = pa.array([row.get(name) for row in rows], kind)
        table = table.drop_columns([name]).append_column(name, column)
    pq.write_table(table, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_traces(path)
    assert {str(error) for error in (caught.value, _error(path))} == {str(caught.value)}
    return str(caught.value).removeprefix(str(path))


def _error(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        validate_traces(path)
    return caught.value


def test_a_row_becomes_a_trace_and_nulls_are_absent(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi", "reasoning_content": None}]
    full = {**ROW, "id": "a", "meta": {"x": 1, "y": None}, "system": "Be brief.", "messages": turns}
    bare = {**ROW, "id": None, "meta": None, "system": None, "messages": None}
    first, second = read_traces(write(tmp_path / "a.parquet", full, bare))
    assert first == Trace(
        trace_version="1.0",
        prompt="1+1=",
        final_answer="2",
        steps=(Step(0, "sum", "1+1=2"),),
        meta={"x": 1},
        id="a",
        system="Be brief.",
        messages=(Turn("user", "Hi"),),
    )
    assert (second.meta, second.system, second.messages) == (None, None, ())


def test_meta_may_be_a_struct_a_map_or_json_text(tmp_path: Path) -> None:
    meta = {"x": 1, "y": 2}
    texts = write(tmp_path / "text.parquet", {**ROW, "meta": json.dumps(meta, indent=2)})
    struct = write(tmp_path / "struct.parquet", {**ROW, "meta": meta})
    table = pa.Table.from_pylist([ROW]).append_column(
        "meta", pa.array([list(meta.items())], pa.map_("string", "int64"))
    )
    pq.write_table(table, tmp_path / "map.parquet")
    read = [read_traces(path) for path in (texts, struct, tmp_path / "map.parquet")]
    assert read[0] == read[1] == read[2]
    assert read[0][0].meta == meta


def test_values_that_only_columns_have_become_text(tmp_path: Path) -> None:
    meta = {"day": dt.date(2026, 1, 2), "price": Decimal("1.50"), "at": dt.datetime(2026, 1, 2, 3, tzinfo=dt.UTC)}
    (trace,) = read_traces(write(tmp_path / "a.parquet", {**ROW, "meta": meta}))
    assert trace.meta == {"day": "2026-01-02", "price": "1.50", "at": "2026-01-02T03:00:00+00:00"}


def test_an_id_that_is_a_number_reads_as_text(tmp_path: Path) -> None:
    assert [t.id for t in read_traces(write(tmp_path / "a.parquet", {**ROW, "id": 17}, {**ROW, "id": 18}))] == [
        "17",
        "18",
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": " "}, "prompt: holds only white space"),
        ({"prompt": None}, "prompt: is missing"),
        ({"prompt": b"bytes"}, "prompt: found a value of type bytes, which JSON does not have; expected text"),
        ({"final_answer": 5}, "final_answer: expected str, got int"),
        ({"steps": []}, "steps: expected array of length >= 1"),
        ({"steps": [{"i": 0, "type": "t", "content": None}]}, "steps[0].content: is missing"),
        (
            {"steps": [{"i": 0, "type": "t", "content": "c", "x": 1}]},
            "steps[0].x: unknown key; known: i, type, content",
        ),
        ({"steps": [*STEPS, *STEPS]}, "steps[1].i is 0, already used by steps[0]; step indices must be unique"),
        ({"question": "q"}, "question: unknown key; known: trace_version"),
        ({"id": 1.5}, "id: expected int | str | null, got float"),
        ({"meta": {"x": float("nan")}}, "meta.x: found nan, which JSON does not have; expected text, a finite number"),
        ({"meta": "{"}, "meta: the text is not JSON at column "),
        ({"meta": "[1]"}, "meta: expected object | null, got array"),
        ({"meta": '{"a": 1,\n"a": 2}'}, "a: occurs more than once in one object"),
        ({"meta": '{"a": ' + "[" * 200 + "]" * 200 + "}"}, "meta: the text is nested deeper than 100 levels"),
        ({"meta": '{"a": ' + "[" * 9000 + "]" * 9000 + "}"}, "meta: the text is nested deeper than 100 levels"),
    ],
)
def test_a_bad_row_is_named_by_its_number_and_field(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    # One row alone decides the types of the columns.
    message = refusal(write(tmp_path / "a.parquet", {**ROW, **row}))
    assert message.startswith(f": row 1: {said}")
    assert "\n" not in message


def test_rows_are_counted_over_batches_and_ids_are_unique(tmp_path: Path) -> None:
    rows = [{**ROW, "id": f"t{k}", "prompt": "" if k == 1700 else "p"} for k in range(2000)]
    path = write(tmp_path / "a.parquet", *rows, {**ROW, "id": "t7"})
    assert refusal(path).splitlines() == [
        ": row 1701: prompt: is empty",
        f"{path}: row 2001: id: 't7' is already used by row 8; ids are unique",
    ]
    found = read_traces_leniently(path)
    assert [(each.line, json.loads(each.text)["id"]) for each in found.rejected] == [(1701, "t1700"), (2001, "t7")]
    assert len(found.traces) == 1999


def test_a_map_with_a_key_twice_is_an_error(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([ROW, ROW])
    maps = pa.array([[("a", 1)], [("a", 1), ("a", 2)]], pa.map_("string", "int64"))
    pq.write_table(table.append_column("meta", maps), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet") == ": row 2: meta: a map holds one key twice; keys of an object are unique"


def undecodable() -> Any:
    held = pa.array([b"ok", b"\xff"])
    return pa.Array.from_buffers(pa.string(), 2, held.buffers())


@pytest.mark.parametrize(
    ("field", "column", "said"),
    [
        ("prompt", undecodable, ": row 2: prompt: holds a text that is not UTF-8"),
        ("meta", lambda: _in_struct([0, 10**14], pa.timestamp("s")), ": row 2: meta: holds a value that cannot be re"),
        ("meta", lambda: _in_struct([0, 2**31 - 1], pa.date32()), ": row 2: meta: holds a value that cannot be read"),
        (
            "meta",
            lambda: pa.array([[], [({"a": 1}, 1)]], pa.map_(pa.struct([("a", "int64")]), "int64")),
            ": row 2: meta: holds a value that cannot be read: unhashable",
        ),
        (
            "meta",
            lambda: pa.array([[], [(7, 1)]], pa.map_("int64", "int64")),
            ": row 2: meta: found the key 7; expected keys that are text",
        ),
    ],
)
def test_a_value_that_python_or_json_lacks_is_named_with_its_row(
    tmp_path: Path, field: str, column: Any, said: str
) -> None:
    table = pa.Table.from_pylist([ROW, ROW])
    if field in table.column_names:
        table = table.drop_columns([field])
    path = tmp_path / "a.parquet"
    pq.write_table(table.append_column(field, column()), path)
    message = refusal(path)
    assert message.startswith(said)
    assert "\n" not in message
    found = read_traces_leniently(path)
    assert ([each.line for each in found.rejected], len(found.traces)) == ([2], 1)


def _in_struct(values: list[int], kind: Any) -> Any:
    return pa.StructArray.from_arrays([pa.array(values, kind)], ["k"])


@pytest.mark.parametrize("kind", ["large_string", "string_view", "dictionary"])
def test_every_kind_of_text_column_is_text(tmp_path: Path, kind: str) -> None:
    texts = pa.array(["1+1="])
    column = texts.dictionary_encode() if kind == "dictionary" else texts.cast(getattr(pa, kind)())
    table = pa.Table.from_pylist([ROW]).drop_columns(["prompt"]).append_column("prompt", column)
    pq.write_table(table, tmp_path / "a.parquet")
    assert [trace.prompt for trace in read_traces(tmp_path / "a.parquet")] == ["1+1="]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([ROW]).append_column("prompt", pa.array(["another"]))
    pq.write_table(table, tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet") == ": has two columns 'prompt'; rename one of them"


@pytest.mark.parametrize(
    "changes", [{"prompt": "\ud800"}, {"steps": (Step(2**63, "t", "c"),)}, {"meta": {"a": object()}}]
)
def test_what_no_column_can_hold_is_an_error_and_nothing_is_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    trace = msgspec.structs.replace(addition_dataset().traces[0], **changes)
    with pytest.raises(DataError, match=r"cannot be written as (JSON|Parquet): "):
        write_traces([trace], tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_row_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([ROW]).slice(0, 0), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet") == ": holds no trace; expected one JSON object a line"


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", *({**ROW, "id": str(k) * 50} for k in range(500)))
    data = bytearray(path.read_bytes())
    data[40:400] = b"\xff" * 360
    path.write_bytes(data)
    assert refusal(path).startswith(": cannot be read as Parquet: ")


@settings(max_examples=25, deadline=None)
@given(st.lists(traces(), min_size=1, max_size=4, unique_by=lambda trace: trace.id))
def test_what_is_written_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, written: list[Trace]) -> None:
    path = tmp_path_factory.mktemp("round") / "traces.parquet"
    write_traces(written, path)
    assert read_traces(path) == written
    assert [trace for piece in scan_traces(path) for trace in piece] == written
    first = path.read_bytes()
    write_traces(written, path)
    assert path.read_bytes() == first


def test_many_traces_are_written_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    lines = read_traces(write(tmp_path / "in.parquet", *({**ROW, "prompt": f"{k}+1="} for k in range(6000))))
    write_traces(lines, path)
    said: list[tuple[int, int]] = []
    assert validate_traces(path, on_progress=lambda done, total: said.append((done, total))).traces == 6000
    assert said == sorted(said)
    assert said[-1] == (path.stat().st_size, path.stat().st_size)


def test_evalsets_and_predictions_are_read_too(tmp_path: Path) -> None:
    items = [{"id": f"q{k}", "prompt": "1+1=", "expected_answer": "2", "category": None} for k in range(3)]
    evalset = read_evalset(write(tmp_path / "sums.parquet", *items))
    assert (evalset.name, [item.id for item in evalset.items]) == ("sums", ["q0", "q1", "q2"])
    rows = [{"id": f"q{k}", "prediction": str(k), "finish_reason": "length"} for k in range(3)]
    predictions = read_predictions(write(tmp_path / "p.parquet", *rows))
    assert [(row.item_id, row.text, row.stop_reason) for row in predictions.rows] == [
        (f"q{k}", str(k), "length") for k in range(3)
    ]


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", ROW)
    script = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom pathlib import Path\n"
        "from tunix_eval.data import read_traces, write_traces\nfrom tunix_eval.errors import DataError\n"
        f"for call in (lambda: read_traces(Path({str(path)!r})), lambda: write_traces([], Path({str(path)!r}))):\n"
        "    try:\n        call()\n    except DataError as error:\n        print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    said = "Parquet: needs the library pyarrow; install it with: pip install 'tunix-eval[parquet]'"
    assert found.stdout.splitlines() == [said, said]


def test_reading_lines_never_loads_pyarrow(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW))
    script = (
        "import sys\nfrom pathlib import Path\nfrom tunix_eval.data import read_traces\n"
        f"read_traces(Path({str(tmp_path / 'a.jsonl')!r}))\nprint('pyarrow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_parquet_file_is_a_dataset_under_its_stem(tmp_path):
    traces = addition_dataset().traces[:5]
    write_traces(traces, tmp_path / "sums.parquet")
    dataset = read_dataset(tmp_path / "sums.parquet")
    assert (dataset.key, dataset.traces) == ("sums", traces)
    assert dataset.content_sha256 == hashlib.sha256((tmp_path / "sums.parquet").read_bytes()).hexdigest()


BOMBS = """
import sys
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from tunix_eval.data import validate_traces
from tunix_eval.errors import DataError
def write(name, column, **options):
    row = {"trace_version": "1.0", "final_answer": "2", "steps": [{"i": 0, "type": "t", "content": "c"}]}
    table = pa.Table.from_pylist([row] * len(column)).append_column("prompt", column)
    pq.write_table(table, name, **options)
if sys.argv[1] == "write":
    text = "a" * (70 << 20)
    write("dictionary.parquet", pa.array([text]), compression="zstd")
    write("plain.parquet", pa.array([text]), compression="zstd", use_dictionary=False)
    write("second.parquet", pa.array([text]), compression="gzip", use_dictionary=False, data_page_version="2.0")
    write("nested.parquet", pa.array([[text]]), compression="zstd")
    write("values.parquet", pa.ListArray.from_arrays(pa.array([0, 17_000_000], pa.int32()), pa.nulls(17_000_000)))
    write("repeated.parquet", pa.array(["a" * (4 << 20)]).dictionary_encode().take(pa.array([0] * 60)))
for name in sys.argv[2:]:
    try:
        print(validate_traces(Path(name)).traces)
    except DataError as error:
        print(str(error).splitlines()[0])
"""


def test_a_small_file_never_takes_much_memory(tmp_path: Path) -> None:
    """Each of a few kilobytes: one value of 70 MiB, 17 million values, one value of 4 MiB in 60 rows."""
    peak_bytes(BOMBS, "write", folder=tmp_path)
    plain = write(tmp_path / "sound.parquet", ROW)
    _, usual = peak_bytes(BOMBS, "read", plain, folder=tmp_path)
    said = {
        "dictionary": ": column 'prompt' has a page that unpacks to 73 MB (limit 64 MiB); write the file with smaller",
        "plain": ": column 'prompt' has a page that unpacks to 73 MB",
        "second": ": column 'prompt' has a page that unpacks to 73 MB",
        "nested": ": column 'prompt.list.element' has a page that unpacks to 73 MB",
        "values": ": column 'prompt.list.element' has a page that unpacks to 17,000,000 values (limit 16,000,000)",
        "repeated": ": row 1: prompt: has 4194304 characters, limit 1000000",
    }
    names = [f"{name}.parquet" for name in said]
    assert max((tmp_path / name).stat().st_size for name in names) < 250_000
    lines, peak = peak_bytes(BOMBS, "read", *names, folder=tmp_path)
    assert [line.startswith(f"{name}{said[name[:-8]]}") for name, line in zip(names, lines, strict=True)] == [True] * 6
    assert peak - usual < 400 << 20


INNER = st.fixed_dictionaries({"k": st.none() | st.integers(-9, 9), "s": st.none() | st.sampled_from(["", "a", "é"])})
METAS = st.fixed_dictionaries(
    {
        "n": st.none() | st.sampled_from([0.5, -1.0, float("nan"), float("inf")]),
        "flag": st.none() | st.booleans(),
        "inner": st.none() | INNER,
        "list": st.none() | st.lists(st.none() | INNER, max_size=3),
    }
)
META_TYPE = pa.struct(
    [
        ("n", pa.float64()),
        ("flag", pa.bool_()),
        ("inner", inner := pa.struct([("k", pa.int32()), ("s", pa.large_string())])),
        ("list", pa.large_list(inner)),
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "prompt": st.sampled_from(["1+1=", "", "2+2=", "\u2003"]) | st.none(),
        "steps": st.sampled_from([STEPS, [*STEPS, {**STEPS[0], "i": None}], [], None, [{**STEPS[0], "i": 2}, *STEPS]]),
        "meta": st.none() | METAS,
        "id": st.none() | st.sampled_from(["a", "b"]),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(ROWS, min_size=1, max_size=5), st.booleans())
def test_columns_are_read_as_their_rows_are(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], meta_is_text: bool
) -> None:
    """A column of a type that JSON does not have, here a dictionary, makes every row be looked at by itself."""
    folder = tmp_path_factory.mktemp("columns")
    whole = [{**ROW, **row} for row in rows]
    if meta_is_text:
        whole = [{**row, "meta": json.dumps(row["meta"])} for row in whole]
    types = {"meta": pa.string() if meta_is_text else META_TYPE, "id": pa.string(), "prompt": pa.string()}
    outcomes = []
    for text in (pa.string(), pa.dictionary(pa.int8(), pa.string())):
        path = write(folder / "rows.parquet", *whole, **types, trace_version=text)
        outcomes.append(read_traces_leniently(path))
    assert outcomes[0] == outcomes[1]
