"""Trace files read piece by piece: equal to the whole, and never held."""

from __future__ import annotations

import gzip
import json
from itertools import chain
from pathlib import Path

import pytest
from memory import peak_bytes

from tunix_eval.data import (
    TraceCount,
    checked_traces,
    read_dataset,
    read_predictions,
    read_traces,
    read_traces_leniently,
    scan_traces,
    traces_text,
    validate_traces,
    write_traces,
)
from tunix_eval.data.reading import lines
from tunix_eval.data.reading.lines import BLOCK_BYTES
from tunix_eval.errors import ArtifactError, DataError
from tunix_eval.records import Step, Trace

STEPS = [{"i": 0, "type": "sum", "content": "1+1=2"}]


def line(number: int, **changes: object) -> str:
    trace = {"trace_version": "1.0", "prompt": f"{number}+1=", "final_answer": str(number + 1), "steps": STEPS}
    return json.dumps(trace | {"id": f"t{number}"} | changes)


def write(path: Path, *lines: str) -> Path:
    text = "".join(f"{one}\n" for one in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


MANY = 3 * BLOCK_BYTES // len(line(1000))


@pytest.mark.parametrize("name", ["many.jsonl", "many.jsonl.gz"])
def test_pieces_add_up_to_the_whole(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, *map(line, range(MANY)))
    pieces = list(scan_traces(path))
    assert len(pieces) > 2
    assert [trace for piece in pieces for trace in piece] == read_traces(path)
    assert [trace.id for trace in read_traces(path)] == [f"t{number}" for number in range(MANY)]


PIECES = [
    line(1),
    line(2, prompt="é", meta={"a": [{"b": '":'}]}),
    line(3, id=None),
    line(4, prompt=" "),
    "",
    "{}",
    "\r",
]


@pytest.mark.parametrize("name", ["some.jsonl", "some.jsonl.gz"])
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 100, 131])
def test_where_a_block_ends_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block_bytes: int
) -> None:
    def outcomes(path: Path) -> list[object]:
        found: list[object] = []
        for read in (read_traces, read_traces_leniently, validate_traces, lambda path: list(chain(*scan_traces(path)))):
            try:
                found.append(read(path))
            except DataError as error:
                found.append(str(error))
        return found

    for count in range(1, len(PIECES) + 1):
        for end in ("", "\n", "\r\n"):
            text = "\n".join(PIECES[:count]) + end
            path = tmp_path / name
            halves = (text[: len(text) // 3].encode(), text[len(text) // 3 :].encode())
            path.write_bytes(b"".join(map(gzip.compress, halves)) if path.suffix == ".gz" else b"".join(halves))
            whole = outcomes(path)
            with monkeypatch.context() as patched:
                patched.setattr(lines, "BLOCK_BYTES", block_bytes)
                assert outcomes(path) == whole


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sound line with megabytes of white space behind it, which every reader would pass over to the end."""
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(line(1).encode() + b"\n" + b" \n" * (4 << 20)))
    assert validate_traces(path).traces == 1
    monkeypatch.setattr(lines, "UNPACKED_BYTES", 1 << 20)
    for read in (read_traces, read_traces_leniently, validate_traces, read_predictions, read_dataset):
        with pytest.raises(
            DataError, match=r"bomb.jsonl.gz: unpacks to \d MiB and more from [\d,]+ bytes, over 250 tim"
        ):
            read(path)


def test_a_bad_line_ends_the_pieces_and_every_other_bad_line_is_still_found(tmp_path: Path) -> None:
    lines = [line(number, **({"prompt": ""} if number in (MANY // 2, MANY - 1) else {})) for number in range(MANY)]
    path = write(tmp_path / "many.jsonl", *lines)
    pieces = scan_traces(path)
    given = []
    with pytest.raises(DataError) as caught:
        given.extend(pieces)
    assert 0 < sum(map(len, given)) <= MANY // 2
    assert str(caught.value).splitlines() == [f"{path}:{n}: prompt: is empty" for n in (MANY // 2 + 1, MANY)]


def test_repeated_ids_far_apart_are_found_and_listed_among_the_other_bad_lines(tmp_path: Path) -> None:
    lines = list(map(line, range(MANY)))
    lines[10] = line(10, prompt=" ")
    path = write(tmp_path / "many.jsonl", *lines, line(3, id="t5"), line(1, prompt=""), line(4, id="t5"))
    with pytest.raises(DataError) as caught:
        validate_traces(path)
    used = "id: 't5' is already used by line 6; ids are unique"
    assert str(caught.value).splitlines() == [
        f"{path}:11: prompt: holds only white space",
        f"{path}:{MANY + 1}: {used}",
        f"{path}:{MANY + 2}: prompt: is empty",
        f"{path}:{MANY + 3}: {used}",
    ]


def test_more_bad_lines_than_are_listed_are_counted_over_all_pieces(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl", *(line(0, prompt="") for _ in range(MANY)), line(1), line(2, id="t1"))
    with pytest.raises(DataError) as caught:
        validate_traces(path)
    shown = str(caught.value).splitlines()
    assert shown[0].startswith(f"{path}:1: ")
    assert shown[20:] == [f"and {MANY + 1 - 20} more bad lines"]


def test_made_ids_are_the_same_in_pieces_also_where_the_file_gives_some_itself(tmp_path: Path) -> None:
    bare = [line(number % 50, id=None) for number in range(MANY)]
    made = [trace.id for trace in read_traces(write(tmp_path / "bare.jsonl", *bare))]
    assert len(set(made)) == MANY
    path = write(tmp_path / "mixed.jsonl", *bare, line(0, id=made[0]), line(1, id=made[70]), line(1, id="own"))
    assert [trace for piece in scan_traces(path) for trace in piece] == read_traces(path)
    assert len({trace.id for trace in read_traces(path)}) == MANY + 3


def test_validation_counts_and_says_how_far_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl", *map(line, range(MANY)), line(0, id=None))
    size = path.stat().st_size
    said: list[tuple[int, int]] = []
    count = validate_traces(path, on_progress=lambda done, total: said.append((done, total)))
    assert count == TraceCount(traces=MANY + 1, bytes=size, without_id=1)
    assert len(said) > 2
    assert said == sorted(said)
    assert said[-1] == (size, size)


def test_a_packed_file_counts_its_bytes_unpacked_and_its_progress_packed(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl.gz", *map(line, range(MANY)))
    said: list[tuple[int, int]] = []
    count = validate_traces(path, on_progress=lambda done, total: said.append((done, total)))
    assert count.bytes == len(gzip.decompress(path.read_bytes()))
    assert said[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize(
    "read", [read_traces, validate_traces, lambda path, source: list(scan_traces(path, source=source))]
)
def test_errors_call_a_file_as_they_are_told(tmp_path: Path, read: object) -> None:
    path = write(tmp_path / "spooled.jsonl", line(1, prompt=""))
    with pytest.raises(DataError) as caught:
        read(path, source="<stdin>")  # type: ignore[operator]
    assert str(caught.value) == "<stdin>:1: prompt: is empty"


MEASURE = """
import sys
from pathlib import Path
from tunix_eval.data import validate_traces
steps = '[{"i":0,"type":"t","content":"c"}]'
path = Path(sys.argv[1])
with path.open("w") as file:
    for number in range(int(sys.argv[2])):
        name = '' if sys.argv[3] == "none" else f',"id":"trace-{number}"'
        print(f'{{"trace_version":"1","prompt":"{number}","final_answer":"a","steps":{steps}{name}}}', file=file)
count = validate_traces(path)
print(count.traces)
"""


def validation_peak(path: Path, count: int, ids: str) -> int:
    said, peak = peak_bytes(MEASURE, path, count, ids)
    assert said == [str(count)]
    return peak


@pytest.mark.parametrize("ids", ["own", "none"])
def test_validation_grows_by_less_than_100_bytes_a_trace(tmp_path: Path, ids: str) -> None:
    few, many = 5_000, 200_000
    grown = validation_peak(tmp_path / "many.jsonl", many, ids) - validation_peak(tmp_path / "few.jsonl", few, ids)
    assert grown / (many - few) < 100


@pytest.mark.parametrize(("text", "sound"), [("x\n", 0), ("{}\n", 0), (line(1) + "\n", 1)])
def test_a_file_of_bad_lines_alone_takes_no_more_memory_than_a_sound_one_may(
    tmp_path: Path, text: str, sound: int
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text * 300_000)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tunix_eval.data import validate_traces\n"
        "from tunix_eval.errors import DataError\n"
        "try:\n    validate_traces(Path(sys.argv[1]))\nexcept DataError as error:\n"
        "    print(str(error).splitlines()[-1])\n"
    )
    said, peak = peak_bytes(script, path)
    assert said == [f"and {300_000 - 20 - sound} more bad lines"]
    assert peak < 300 << 20


# ------------------------------------------------------------------------------------------------- made in Python

TRACE = Trace(trace_version="1.0", prompt="1+1=", final_answer="2", steps=(Step(0, "sum", "1+1=2"),))


def test_dicts_and_traces_are_checked_alike() -> None:
    as_dict = {"trace_version": "1.0", "prompt": "1+1=", "final_answer": "2", "steps": STEPS}
    first, second = checked_traces([as_dict, TRACE], "batch")
    assert first.id != second.id
    assert [first.steps, first.prompt] == [second.steps, second.prompt]
    assert checked_traces([TRACE, as_dict], "batch") == [first, second]
    assert checked_traces([], "batch") == []


def test_a_batch_is_taken_whole_or_not_at_all() -> None:
    batch = [TRACE, {"prompt": "x"}, {"trace_version": "1", "prompt": "p", "final_answer": "a", "steps": STEPS, "x": 1}]
    many = [*batch, {"meta": float("nan")}, {"meta": {1, 2j}}, 7] + [{"prompt": ""}] * 1000
    with pytest.raises(DataError) as caught:
        checked_traces(many, "batch")
    shown = str(caught.value).splitlines()
    assert shown[0] == "batch, trace 2: trace_version: is missing"
    assert shown[1].startswith("batch, trace 3: x: unknown key; known: ")
    assert shown[2].startswith("batch, trace 4: cannot be written as JSON: Out of range float values")
    assert shown[3].startswith("batch, trace 5: cannot be written as JSON: ")
    assert shown[4] == "batch, trace 6: expected object, got int"
    assert shown[20] == "and 985 more bad traces"


def test_keys_that_json_would_write_alike_are_an_error() -> None:
    with pytest.raises(DataError, match="batch, trace 1: cannot be written as JSON: Only dicts with str keys"):
        checked_traces([{**json.loads(line(0)), "meta": {1: "a", "1": "b"}}], "batch")


# ------------------------------------------------------------------------------------------------------------ written


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_is_written_reads_back_the_same_and_is_the_same_bytes_again(tmp_path: Path, name: str) -> None:
    written = read_traces(write(tmp_path / "in.jsonl", *(line(n, meta={"é": [n, None]}) for n in range(700))))
    path = tmp_path / name
    write_traces(written, path)
    first = path.read_bytes()
    assert (gzip.decompress(first) if path.suffix == ".gz" else first).decode() == traces_text(written)
    assert read_traces(path) == written
    write_traces(iter(written), path)
    assert path.read_bytes() == first


def test_a_trace_that_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1))
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_traces([TRACE, Trace(**{**_fields(TRACE), "prompt": "\ud800"})], path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.jsonl"]


def _fields(trace: Trace) -> dict[str, object]:
    return {name: getattr(trace, name) for name in Trace.__struct_fields__}


def test_a_file_has_the_mode_of_any_new_one_and_a_name_too_long_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_traces([TRACE], tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode
    with pytest.raises(ArtifactError, match="cannot be written: File name too long"):
        write_traces([TRACE], tmp_path / f"{'x' * 250}.jsonl")


def test_an_unknown_suffix_and_a_folder_that_is_a_file_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv: traces cannot be written under this suffix; known: \.jsonl, "):
        write_traces([TRACE], tmp_path / "a.csv")
    path = write(tmp_path / "a.jsonl", line(1))
    with pytest.raises(ArtifactError, match="cannot be written"):
        write_traces([TRACE], path / "b.jsonl")
