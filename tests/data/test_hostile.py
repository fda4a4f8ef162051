"""Files that do harm to careless readers: each is refused by its name, its line and its field."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hostile import FILES, LINES, SAID, SOUND, TRACE, line, meta, write_corpus
from hypothesis import example, given, settings
from hypothesis import strategies as st
from memory import peak_bytes

from tunix_eval.data import (
    parse_traces,
    read_evalset,
    read_predictions,
    read_traces,
    read_traces_leniently,
    scan_traces,
    trace_line,
    validate_traces,
)
from tunix_eval.data.reading.lines import Chunk
from tunix_eval.data.reading.traces import TRACE_FORMAT
from tunix_eval.errors import DataError
from tunix_eval.records import Trace
from tunix_eval.testing import traces

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True, database=None)
READERS: dict[str, Callable[[Path], Any]] = {
    "read": read_traces,
    "scan": lambda path: list(scan_traces(path)),
    "validate": validate_traces,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    write_corpus(folder)
    return folder


def outcome(read: Callable[[Any], Any], given: Any) -> tuple[Any, str | None]:
    """Return what a reader gives, or the text of its DataError."""
    try:
        return read(given), None
    except DataError as error:
        return None, str(error)


def refusal(read: Callable[[Path], Any], path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize("name", SAID)
def test_every_reader_refuses_a_hostile_file_in_the_same_words(corpus: Path, name: str) -> None:
    path = corpus / name
    messages = {refusal(read, path) for read in READERS.values()}
    assert len(messages) == 1
    (message,) = messages
    assert message.startswith(f"{path}{SAID[name]}")
    for shown in message.splitlines():
        assert shown.startswith(str(path))
        assert len(shown) < 400 + len(str(path))
        assert shown.isprintable()


@pytest.mark.parametrize("name", LINES)
def test_bad_lines_are_named_wherever_they_stand(tmp_path: Path, name: str) -> None:
    """The first line, the last, one in the middle, and the only one, with and without its end."""
    bad, said = LINES[name]
    path = tmp_path / "a.jsonl"
    others = (SOUND, line(id="other"))
    for place in range(3):
        lines = [*others[:place], bad, *others[place:]]
        for content in (b"".join(lines), b"".join(lines)[:-1]):
            path.write_bytes(content)
            assert {refusal(read, path)[: len(f"{path}:1{said}")] for read in READERS.values()} == {
                f"{path}:{place + 1}{said}"
            }
            rejected = [each.line for each in read_traces_leniently(path).rejected]
            assert rejected == ([] if "unknown key" in said else [place + 1])
    for content in (bad, bad[:-1]):
        path.write_bytes(content)
        assert {refusal(read, path)[: len(f"{path}:1{said}")] for read in READERS.values()} == {f"{path}:1{said}"}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("read", [read_evalset, read_predictions], ids=["evalset", "predictions"])
def test_readers_of_other_records_raise_nothing_but_data_errors(
    corpus: Path, read: Callable[[Path], Any], name: str
) -> None:
    _, error = outcome(read, corpus / name)
    assert error is None or error.startswith(f"{corpus / name}")


@pytest.mark.parametrize("name", SAID)
def test_a_lenient_reader_gives_the_sound_lines_or_refuses_the_file(corpus: Path, name: str) -> None:
    found, error = outcome(read_traces_leniently, corpus / name)
    if error is not None:
        assert error.startswith(f"{corpus / name}")
        return
    lines = [rejected.line for rejected in found.rejected]
    assert SAID[name].startswith(f":{lines[0]}: " if lines else ":2: ")
    assert bool(lines) == ("unknown key" not in SAID[name])
    content, _ = FILES.get(name, (SOUND, ""))
    assert content.startswith(SOUND) == ("sound" in {trace.id for trace in found.traces})


@pytest.mark.parametrize("name", ["long_line.jsonl", "long_line_packed.jsonl.gz"])
def test_a_line_that_is_too_long_is_passed_over_and_never_held(corpus: Path, name: str) -> None:
    found = read_traces_leniently(corpus / name)
    assert [trace.id for trace in found.traces] == ["sound", "last"]
    ((number, length),) = [(rejected.line, len(rejected.text)) for rejected in found.rejected]
    assert number == 2
    assert length <= 4_000
    peaks = [reading_peak(corpus, f"read_traces_leniently(Path({other!r}))") for other in ("bad_utf8.jsonl", name)]
    assert peaks[1] - peaks[0] < 80 << 20


def reading_peak(folder: Path, call: str) -> int:
    """Return the most memory that a process has held which imports us and does one call."""
    script = (
        "from pathlib import Path\nfrom tunix_eval.data import *\nfrom tunix_eval.errors import DataError\n"
        f"try:\n    {call}\nexcept DataError:\n    pass"
    )
    return peak_bytes(script, folder=folder)[1]


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.jsonl"
    path.write_bytes(SOUND)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    for read in READERS.values():
        assert refusal(read, path) == f"{path}: cannot be read: Permission denied"


def test_a_path_that_no_system_has_is_named() -> None:
    assert "is no path: embedded null" in refusal(read_traces, Path("a\0b.jsonl"))


def test_the_limits_of_nesting_and_digits_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "most.jsonl"
    path.write_bytes(meta(b"[" * 98 + b"]" * 98) + meta(b"7" * 308) + line(id=10**307))
    assert len(read_traces(path)) == 3
    assert validate_traces(path).traces == 3


# ---------------------------------------------------------------------------------------------------- any bytes at all


def expected(text: bytes) -> Trace | None:
    """Return the trace of a line as the json module and the schema have it, or None."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        return msgspec.convert(value, Trace)
    except (ValueError, RecursionError):
        return None


def _refuse(name: str) -> Any:
    raise ValueError(name)


class Reading(NamedTuple):
    """What a reader makes of bytes: its records and bad lines, by number; and of all of it, how many traces."""

    records: list[tuple[int, Trace]]
    bad: list[int]
    whole: int | str
    """Or what the error begins with."""


def closely(data: bytes) -> Reading:
    """Look at every line by itself."""
    records, bad = [], []
    for number, text in Chunk(data, 1).lines():
        found = TRACE_FORMAT.examine(text)
        if isinstance(found, Trace):
            records.append((number, found))
        else:
            bad.append(number)
    ids = [str(record.id) for _, record in records if record.id is not None]
    refused = bad or not records or len(set(ids)) < len(ids)
    return Reading(records, bad, "fuzz:" if refused else len(records))


def quickly(data: bytes) -> Reading:
    """Read as the readers do, all lines at once where they are sound."""
    sifted = TRACE_FORMAT.sift(Chunk(data, 1))
    records = list(zip(sifted.numbers, sifted.records, strict=True))
    whole, error = outcome(lambda given: parse_traces(given, "fuzz"), data)
    bad = [problem.number for problem in sifted.problems]
    return Reading(records, bad, len(whole) if error is None else error[:5])


def by_json(data: bytes, numbers: Iterable[int]) -> list[tuple[int, Trace | None]]:
    """Return the traces of some lines as the json module and the schema have them, steps in order."""
    lines = dict(Chunk(data, 1).lines())
    found = [(number, expected(lines[number])) for number in numbers]
    return [(number, trace and TRACE_FORMAT.tidy(trace)) for number, trace in found]


def sound_lines(reading: Reading) -> list[int]:
    return [number for number, _ in reading.records]


PIECES = (
    *(
        b'"prompt": "q"',
        b'"prompt" : "q"',
        b'"a": 1, "a": 2',
        b'"\\u0022:"',
        b'"\\"\\u003a"',
        b'"\\"a\\": b"',
        b"\\u0061",
    ),
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"}\n{", b"}{", b"\r\n", b" ", b"\t", b"\x0b", b"\\", b"null"),
    *(b"1e999", b"9" * 400, b"-0", b'" "', b'"\\n"', b'"\xc2\xa0"', b"\xff", b"\0", b"[" * 120 + b"]" * 120),
    *(b'"meta": {"k": [{}]}', b'{"i": 0, "type": "t", "content": "c"}', b'"id": 7', b'"id": ""', b'"system": null'),
    *(b'"messages": [{"role": "system", "content": "s"}]', b'"messages": [{"role": "user", "content": "\\t"}]'),
)
ODD = st.sampled_from(PIECES) | st.binary(max_size=4)
DAMAGES = st.tuples(st.floats(0, 1), st.integers(0, 12), ODD)


@SETTINGS
@given(st.lists(ODD, max_size=12).map(b"".join))
@example(b"")
@example(SOUND[:-1] + b"\x0b")
@example(b'{"a": "\xef\xbb\xbf"}')
def test_random_bytes_are_traces_or_a_data_error(data: bytes) -> None:
    reading = closely(data)
    assert quickly(data) == reading
    assert by_json(data, sound_lines(reading)) == reading.records


@SETTINGS
@given(st.lists(traces(), min_size=1, max_size=3), st.lists(DAMAGES, max_size=3))
def test_sound_lines_that_were_damaged_are_traces_or_a_data_error(
    written: list[Trace], damages: list[tuple[float, int, bytes]]
) -> None:
    data = b"".join(trace_line(trace).encode() + b"\n" for trace in written)
    for place, cut, piece in damages:
        at = int(place * len(data))
        data = data[:at] + piece + data[at + cut :]
    reading = closely(data)
    assert quickly(data) == reading
    assert by_json(data, sound_lines(reading)) == reading.records


SCALARS = [
    "1",
    "null",
    '" a"',
    '"\\u0022:"',
    '"\\":"',
    '"\\u003A 1"',
    '"\\"\\u0020:"',
    '"\\n"',
    "9" * 400,
    '"é"',
    "1.5",
]
KEYS = ["a", "\\u0061", "b", 'k\\"', "x\\\\", ""]


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of objects in which a key may stand twice, and a space before a colon."""
    entries = st.tuples(st.sampled_from(KEYS), st.sampled_from([":", ": ", " :", "\t: "]), values)
    return st.lists(entries.map(lambda entry: f'"{entry[0]}"{entry[1]}{entry[2]}'), max_size=4).map(
        lambda found: "{" + ", ".join(found) + "}"
    )


VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3).map(lambda found: f"[{','.join(found)}]") | objects(inner),
    max_leaves=8,
)


@SETTINGS
@given(st.lists(objects(VALUES), min_size=1, max_size=3), st.sampled_from(["\n", "\r\n", "\n\n", " \n"]))
@example(['{"a":1, "a":[], "b":"\\u003A 1"}'], "\n")
@example(['{"a":1, "a":[], "b":"\\u0022: 1"}'], "\n")
@example(['{"a":1, "a":[], "b":"\\":"}'], "\n")
@example(['{"a":1, "a":[], "b":":", ":":":"}'], "\n")
def test_quick_tests_pass_no_line_that_a_close_look_refuses(metas: list[str], end: str) -> None:
    lines = [line().decode().strip()[:-1] + f', "meta": {text}}}' for text in metas]
    data = end.join(lines).encode()
    reading = closely(data)
    assert quickly(data) == reading
    assert by_json(data, sound_lines(reading)) == reading.records


@pytest.mark.parametrize(
    "data",
    [
        SOUND,
        line(meta={"a": [1, {"b": 2}], "c": "x"}, id=17) + SOUND,
        line(system="s", messages=[{"role": "user", "content": "u"}]),
        line(prompt=" begins with a space", final_answer='"quoted"', meta={"k": "\nline"}),
        line(prompt="é", meta={"é": "ü"}),
        line(meta=None, system=None, messages=[], id=None),
        line().replace(b'": ', b'" : '),
        line(steps=[{"i": i, "type": "t", "content": "c"} for i in (1, 2, 9)]),
        json.dumps(TRACE, separators=(",", ":")).encode(),
    ],
)
def test_sound_chunks_pass_the_quick_tests(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRACE_FORMAT, "_line_by_line", None)
    assert not TRACE_FORMAT.sift(Chunk(data, 1)).problems
