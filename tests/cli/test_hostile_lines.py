"""Every bad line, in every place, through every command that reads lines: one line of ours, never a traceback."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from records import Records
from traces import line, write

_SPEC = importlib.util.spec_from_file_location("hostile", Path(__file__).parents[1] / "data" / "hostile.py")
assert _SPEC is not None
assert _SPEC.loader is not None
hostile = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostile)

MAPPED = ("ingest", "X", "--map", "prompt=prompt", "--map", "final_answer=prompt")
COMMANDS = [
    ("validate", "X"),
    ("validate", "X", "--lenient"),
    ("validate", "X", "--kind", "evalset"),
    ("validate", "X", "--kind", "predictions"),
    ("contamination", "X", "e.jsonl"),
    ("contamination", "a.jsonl", "X"),
    ("ingest", "X", "--dry-run", "--out", "t.jsonl"),
    ("ingest", "X", "--lenient", "--dry-run", "--out", "t.jsonl"),
    (*MAPPED, "--split", "last_number", "--dry-run", "--out", "t.jsonl"),
    (*MAPPED, "--split", "boxed", "--lenient", "--dry-run", "--out", "t.jsonl"),
    ("build", "x-v1", "X", "--dry-run"),
    ("dedupe", "X", "--dry-run"),
    ("diff", "a.jsonl", "X"),
    ("split", "X", "--holdout", "0.5", "--dry-run", "--out", "parts"),
    ("export", "X", "--format", "messages", "--dry-run", "--out", "m.jsonl"),
    ("show", "X"),
]
WHOLE = {
    "array.jsonl": b"[" + hostile.line(prompt="@a").replace(b"@", b"\xc7") + b"]",
    "spread.jsonl": hostile.line(prompt="@a").replace(b"@", b"\xc7").replace(b", ", b",\n"),
    "torn_array.jsonl": b'[{"prompt": "\xc7a"},\n{"prompt": "b"}',
    "text.jsonl": b"caf\xe9\nna\xefve\n",
    **{name: content for name, (content, _) in hostile.FILES.items() if name.startswith(("utf", "byte"))},
}
"""Files that are wrong as a whole."""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_bad_line_is_a_traceback(records: Records, words: tuple[str, ...]) -> None:
    write("a.jsonl", [line(0)])
    write("e.jsonl", [{"id": "e", "prompt": "q", "expected_answer": "2"}])
    alone = {f"{name}_alone.jsonl": bad for name, (bad, _) in hostile.LINES.items()}
    first = {f"{name}_first.jsonl": bad + hostile.SOUND for name, (bad, _) in hostile.LINES.items()}
    for name, content in (alone | first | WHOLE).items():
        Path(name).write_bytes(content)
        code, _, err = records.call(*(name if word == "X" else word for word in words))
        assert code in {0, 1}, (name, err)
        assert all(text.startswith("tunix-eval: ") for text in err.splitlines()), (name, err)
        assert code == 0 or name in err, (name, err)


@pytest.mark.parametrize("text", ['{"id":"a","prompt":"p","expec', '{"id":1,"prompt":"p","final_answer":"2",}'])
def test_a_damaged_only_line_is_no_foreign_format(records: Records, text: str) -> None:
    Path("a.jsonl").write_text(text)
    code, said = records.refused("validate", "a.jsonl")
    assert (code, said[:27]) == (1, "a.jsonl:1: is not JSON at c")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("array.jsonl", "array.jsonl:1: is not UTF-8 at byte 38; save the file as UTF-8"),
        ("utf16.jsonl", "utf16.jsonl:1: is UTF-16, by its byte order mark; save the file as UTF-8: iconv -f UTF-16 -t"),
        ("utf32_big_without_mark.jsonl", "utf32_big_without_mark.jsonl:1: is UTF-32BE without a byte order mark; save"),
    ],
)
def test_a_file_in_another_encoding_is_named_by_every_command(records: Records, name: str, said: str) -> None:
    write("a.jsonl", [line(0)])
    write("e.jsonl", [{"id": "e", "prompt": "q", "expected_answer": "2"}])
    Path(name).write_bytes(WHOLE[name])
    for words in COMMANDS:
        code, message = records.refused(*(name if word == "X" else word for word in words))
        assert (code, message[: len(said)]) == (1, said), words
