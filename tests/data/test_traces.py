import gzip
import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import read_traces, trace_line, traces_text
from tunix_eval.data.reading.traces import TRACE_NAMESPACE
from tunix_eval.errors import DataError
from tunix_eval.records import Step, Trace, Turn
from tunix_eval.testing import traces

GOOD = {
    "trace_version": "1.0",
    "prompt": "1+1=",
    "final_answer": "2",
    "steps": [{"i": 0, "type": "sum", "content": "1+1=2"}],
}


def write(folder, *lines, name="traces.jsonl"):
    path = folder / name
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_traces(path)
    return str(caught.value)


def test_a_line_becomes_a_trace(tmp_path):
    line = {**GOOD, "id": "a", "meta": {"category": "sums"}, "system": "Be brief."}
    line["messages"] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert read_traces(write(tmp_path, line)) == [
        Trace(
            trace_version="1.0",
            prompt="1+1=",
            final_answer="2",
            steps=(Step(0, "sum", "1+1=2"),),
            meta={"category": "sums"},
            id="a",
            system="Be brief.",
            messages=(Turn("user", "Hi"), Turn("assistant", "Hello")),
        )
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(traces(), min_size=1, max_size=4, unique_by=lambda trace: trace.id))
def test_what_is_written_reads_back_the_same(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("round") / "traces.jsonl"
    path.write_text(traces_text(written), encoding="utf-8", newline="\n")
    again = read_traces(path)
    assert again == written
    assert traces_text(again) == traces_text(written)


def test_the_text_does_not_depend_on_the_order_of_keys_that_were_read(tmp_path):
    one = {**GOOD, "id": "a", "meta": {"x": 1, "b": {"d": 1, "c": 2}}}
    other = json.loads(json.dumps(one), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    texts = [traces_text(read_traces(write(tmp_path, line))) for line in (one, other)]
    assert texts[0] == texts[1]
    assert texts[0].endswith('"meta":{"b":{"c":2,"d":1},"x":1},"id":"a"}\n')


def test_steps_come_in_the_order_of_i(tmp_path):
    steps = [{"i": 7, "type": "t", "content": "last"}, {"i": 2, "type": "t", "content": "first"}]
    (trace,) = read_traces(write(tmp_path, {**GOOD, "steps": steps}))
    assert [step.content for step in trace.steps] == ["first", "last"]


def test_a_gzip_file_reads_as_the_plain_file(tmp_path):
    plain = write(tmp_path, GOOD)
    packed = tmp_path / "traces.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_traces(packed) == read_traces(plain)
    packed.write_bytes(gzip.compress(plain.read_bytes())[:-9])
    assert "cannot be read" in refusal(packed)


def test_an_integer_id_becomes_a_string(tmp_path):
    assert [trace.id for trace in read_traces(write(tmp_path, {**GOOD, "id": 17}, {**GOOD, "id": 10**25}))] == [
        "17",
        str(10**25),
    ]


class TestMadeIds:
    def test_two_reads_agree_and_no_two_lines_share_one(self, tmp_path):
        path = write(tmp_path, GOOD, GOOD, {**GOOD, "meta": {"a": 1}}, {**GOOD, "prompt": "2+2="})
        first, second = read_traces(path), read_traces(path)
        assert first == second
        assert len({trace.id for trace in first}) == 4

    def test_they_are_name_based_uuids_of_content_and_occurrence(self, tmp_path):
        ids = [trace.id for trace in read_traces(write(tmp_path, GOOD, GOOD))]
        content = json.dumps(GOOD, separators=(",", ":"))
        assert ids == [str(uuid.uuid5(TRACE_NAMESPACE, f"{content}\n{n}")) for n in (1, 2)]

    def test_they_do_not_depend_on_spacing_or_key_order_or_step_order(self, tmp_path):
        steps = [{"i": 0, "type": "t", "content": "a"}, {"i": 1, "type": "t", "content": "b"}]
        line = {**GOOD, "steps": steps}
        other = json.dumps(
            {**dict(reversed(line.items())), "steps": steps[::-1]}, indent=None, separators=(" ,", " : ")
        )
        ids = [read_traces(write(tmp_path, text))[0].id for text in (line, other.encode())]
        assert ids[0] == ids[1]

    def test_they_change_with_meta(self, tmp_path):
        ids = {read_traces(write(tmp_path, {**GOOD, "meta": {"a": value}}))[0].id for value in (1, 2, None)}
        assert len(ids) == 3

    def test_they_avoid_ids_that_the_file_gives_itself(self, tmp_path):
        (made,) = read_traces(write(tmp_path, GOOD))
        ids = [trace.id for trace in read_traces(write(tmp_path, GOOD, {**GOOD, "id": made.id}))]
        assert ids[1] == made.id
        assert ids[0] != made.id


def step(**changes):
    return {**GOOD["steps"][0], **changes}


DEEP = (
    b'{"trace_version":"1","prompt":"p","final_answer":"a","steps":[{"i":0,"type":"t","content":"c"}],"meta":{"a":%s}}'
)
IN_META = DEEP.index(b"%s")
LONG = json.dumps({**GOOD, "prompt": "x" * 1_000_001})[:-1].encode()
BAD_LINES = {
    "blank prompt": ({**GOOD, "prompt": " \n\t"}, "prompt: holds only white space"),
    "empty prompt": ({**GOOD, "prompt": ""}, "prompt: is empty"),
    "long prompt": ({**GOOD, "prompt": "é" * 1_000_001}, "prompt: has 1000001 characters, limit 1000000"),
    "blank answer": ({**GOOD, "final_answer": " "}, "final_answer: holds only white space"),
    "long answer": ({**GOOD, "final_answer": "x" * 1_000_001}, "final_answer: has 1000001 characters, limit 1000000"),
    "long version": ({**GOOD, "trace_version": "x" * 65}, "trace_version: has 65 characters, limit 64"),
    "blank version": ({**GOOD, "trace_version": " "}, "trace_version: holds only white space"),
    "no steps": ({**GOOD, "steps": []}, "steps: expected array of length >= 1"),
    "too many steps": (
        {**GOOD, "steps": [step(i=i) for i in range(100_001)]},
        "steps: has 100001 entries, limit 100000",
    ),
    "negative index": ({**GOOD, "steps": [step(), step(i=-1)]}, "steps[1].i: expected int >= 0"),
    "index as text": ({**GOOD, "steps": [step(i="0")]}, "steps[0].i: expected int, got str"),
    "index as float": ({**GOOD, "steps": [step(i=0.5)]}, "steps[0].i: expected int, got float"),
    "repeated index": (
        {**GOOD, "steps": [step(), step(i=1), step(i=1)]},
        "steps[2].i is 1, already used by steps[1]; step indices must be unique",
    ),
    "blank step": ({**GOOD, "steps": [step(), step(i=1, content=" ")]}, "steps[1].content: holds only white space"),
    "long step": (
        {**GOOD, "steps": [step(content="x" * 1_000_001)]},
        "steps[0].content: has 1000001 characters, limit 1000000",
    ),
    "long type": ({**GOOD, "steps": [step(type="x" * 65)]}, "steps[0].type: has 65 characters, limit 64"),
    "missing field": ({key: GOOD[key] for key in GOOD if key != "final_answer"}, "final_answer: is missing"),
    "missing step field": ({**GOOD, "steps": [{"i": 0, "content": "c"}]}, "steps[0].type: is missing"),
    "unknown key": (
        {**GOOD, "promt": "x"},
        "promt: unknown key; known: trace_version, prompt, final_answer, steps, meta, id, system, messages. "
        "Did you mean 'prompt'?",
    ),
    "unknown step key": (
        {**GOOD, "steps": [step(contents="x")]},
        "steps[0].contents: unknown key; known: i, type, content. Did you mean 'content'?",
    ),
    "number as prompt": ({**GOOD, "prompt": 5}, "prompt: expected str, got int"),
    "null prompt": ({**GOOD, "prompt": None}, "prompt: expected str, got null"),
    "boolean id": ({**GOOD, "id": True}, "id: expected int | str | null, got bool"),
    "empty id": ({**GOOD, "id": ""}, "id: is empty; leave it out to have one made"),
    "meta of another type": ({**GOOD, "meta": []}, "meta: expected object | null, got array"),
    "system role": (
        {**GOOD, "messages": [{"role": "system", "content": "x"}]},
        "messages[0].role: is system; expected user or assistant",
    ),
    "blank message": (
        {**GOOD, "messages": [{"role": "user", "content": " "}]},
        "messages[0].content: holds only white space",
    ),
    "blank thought": (
        {**GOOD, "messages": [{"role": "assistant", "content": "x", "reasoning_content": "\u2003"}]},
        "messages[0].reasoning_content: holds only white space",
    ),
    "unknown key that looks like a place": ({**GOOD, "a` - at `$.meta[0]": 1}, "meta[0].a: unknown key; known: "),
    "unknown key that hides in a place": (
        {**GOOD, "a` - at `$\x1b[2J": 1},
        r"a` - at `$\x1b[2J: unknown key; known: ",
    ),
    "long prompt before what is no JSON": (LONG + b" oops", "prompt: has too many characters, limit 1000000"),
    "long prompt before another": (LONG + b',"prompt":5}', "prompt: has too many characters, limit 1000000"),
    "long prompt before deep nesting": (
        LONG + b',"meta":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        "prompt: has too many characters, limit 1000000",
    ),
    "array": ([1], "expected object, got array"),
    "bare text": (b"hello", "is not JSON at column 1: Expecting value"),
    "cut off": (json.dumps(GOOD).encode()[:-3], "is not JSON at column"),
    "two objects": (json.dumps(GOOD).encode() * 2, f"is not JSON at column {len(json.dumps(GOOD)) + 1}: Extra data"),
    "NaN": (DEEP % b"NaN", "is not JSON: NaN is no JSON number; use null"),
    "infinity": (DEEP % b"-Infinity", "is not JSON: -Infinity is no JSON number; use null"),
    "overflow": (DEEP % b"1e999", "meta[...]: number out of range"),
    "lone surrogate": (DEEP % b'"\\ud800"', "is not JSON: holds half of a surrogate pair, which is no character"),
    "control character": (DEEP % b'"a\tb"', f"is not JSON at column {IN_META + 3}: Invalid control character"),
    "not UTF-8": (DEEP % b'"\xff"', f"is not UTF-8 at byte {IN_META + 2}; save the file as UTF-8"),
    "encoded surrogate": (DEEP % b'"\xed\xa0\x80"', f"is not UTF-8 at byte {IN_META + 2}; save the file as UTF-8"),
    "repeated key": (DEEP % b'1},"prompt":"q","meta":{"b":2', "prompt: occurs more than once in one object"),
    "repeated key with a line end": (DEEP % b'{"\\n":1,"\\n":2}', r"\n: occurs more than once in one object"),
    "one key of very many twice": (
        DEEP % (b'1,"k7":1,' + b",".join(b'"k%d":1' % k for k in range(100_000))),
        "k7: occurs more than once in one object",
    ),
    "repeated spaced key": (DEEP % b'1,"k" : 1,"k": 2', "k: occurs more than once in one object"),
    "repeated key behind an escaped quote": (
        DEEP % b'"\\u0022:","k":1,"k":2',
        "k: occurs more than once in one object",
    ),
    "nested past the interpreter": (DEEP % (b"[" * 5000 + b"]" * 5000), "is nested deeper than 100 levels"),
    "nested": (DEEP % (b"[" * 120 + b"]" * 120), "is nested deeper than 100 levels"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_with_its_reason(tmp_path, name):
    line, reason = BAD_LINES[name]
    path = write(tmp_path, {**GOOD, "id": "sound"}, line)
    message = refusal(path)
    assert message.startswith(f"{path}:2: {reason}")
    assert "\n" not in message


def test_the_limits_themselves_are_allowed(tmp_path):
    line = {
        "trace_version": "v" * 64,
        "prompt": "é" * 1_000_000,
        "final_answer": "a" * 1_000_000,
        "steps": [step(i=i, type="t" * 64, content="c" * (1_000_000 if i == 0 else 1)) for i in range(100_000)],
        "meta": None,
    }
    (trace,) = read_traces(write(tmp_path, line))
    assert len(trace.steps) == 100_000


@pytest.mark.parametrize("value", ['a \\": b', "{[{[" * 60, '":"', "\\"])
def test_text_that_looks_like_structure_is_text(tmp_path, value):
    (trace,) = read_traces(write(tmp_path, {**GOOD, "prompt": value}))
    assert trace.prompt == value


def test_the_first_twenty_bad_lines_are_listed_and_the_rest_counted(tmp_path):
    path = write(tmp_path, GOOD, *[{**GOOD, "prompt": ""}] * 23)
    lines = refusal(path).splitlines()
    assert lines[:20] == [f"{path}:{number}: prompt: is empty" for number in range(2, 22)]
    assert lines[20:] == ["and 3 more bad lines"]


def test_repeated_ids_are_an_error_also_as_number_and_text(tmp_path):
    path = write(tmp_path, {**GOOD, "id": "17"}, GOOD, {**GOOD, "id": 17})
    assert refusal(path) == f"{path}:3: id: '17' is already used by line 1; ids are unique"


def test_blank_lines_and_windows_line_ends_keep_the_line_numbers(tmp_path):
    sound = json.dumps(GOOD).encode()
    assert len(read_traces(write(tmp_path, sound + b"\r", b"", b"  ", sound))) == 2
    path = write(tmp_path, sound + b"\r", b"", b"{}")
    assert refusal(path).startswith(f"{path}:3: ")


def test_a_last_line_without_an_end_is_read(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_bytes(json.dumps(GOOD).encode())
    assert len(read_traces(path)) == 1


@pytest.mark.parametrize(
    ("mark", "named"),
    [
        (b"\xef\xbb\xbf", "starts with a byte order mark; save the file as UTF-8 without one"),
        (b"\xff\xfe", "is UTF-16, by its byte order mark; save the file as UTF-8: iconv -f UTF-16 -t UTF-8"),
        (b"\xfe\xff", "is UTF-16, by its byte order mark; save the file as UTF-8: iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_a_byte_order_mark_is_named(tmp_path, mark, named):
    path = write(tmp_path, mark + json.dumps(GOOD).encode())
    assert refusal(path) == f"{path}:1: {named}"


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_a_trace_is_an_error(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: holds no trace; expected one JSON object a line"


def test_what_is_no_file_is_named(tmp_path):
    assert refusal(tmp_path) == f"{tmp_path}: is a directory; expected a .jsonl file"
    assert refusal(tmp_path / "none.jsonl") == f"{tmp_path / 'none.jsonl'}: no such file"


def test_a_line_holds_no_line_end(tmp_path):
    (trace,) = read_traces(write(tmp_path, {**GOOD, "prompt": "a\nb\u2028c\u0085d"}))
    assert "\n" not in trace_line(trace)
