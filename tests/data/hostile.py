"""Trace files that do harm to careless readers: `python tests/data/hostile.py FOLDER` writes them.

Each stands under the name of what is wrong with it. `SAID` has what a strict reader says of it, behind the path.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

TRACE = {
    "trace_version": "1.0",
    "prompt": "1+1=",
    "final_answer": "2",
    "steps": [{"i": 0, "type": "sum", "content": "1+1=2"}],
}
MIB = 1 << 20


def line(**changes: object) -> bytes:
    """Return a sound line, or one with changes."""
    return json.dumps(TRACE | changes).encode() + b"\n"


def meta(raw: bytes) -> bytes:
    """Return a line whose meta.x is the raw text."""
    return line(meta={"x": "HERE"}).replace(b'"HERE"', raw)


SOUND = line(id="sound")

FILES: dict[str, tuple[bytes, str]] = {
    "truncated_json.jsonl": (SOUND + line()[:-20], ":2: is not JSON at column"),
    "bad_utf8.jsonl": (SOUND + meta(b'"\xff\xfe"'), ":2: is not UTF-8 at byte"),
    "bad_utf8_in_prompt.jsonl": (SOUND + line(prompt="@a").replace(b"@", b"\xc7"), ":2: is not UTF-8 at byte"),
    "bad_utf8_in_key.jsonl": (SOUND + line(**{"@": 1}).replace(b"@", b"\xc7"), ":2: is not UTF-8 at byte"),
    "bad_utf8_alone.jsonl": (SOUND + b"\xc7\n", ":2: is not UTF-8 at byte 1"),
    "utf8_surrogate.jsonl": (SOUND + meta(b'"\xed\xa0\x80"'), ":2: is not UTF-8 at byte"),
    "byte_order_mark.jsonl": (b"\xef\xbb\xbf" + SOUND, ":1: starts with a byte order mark"),
    "utf16.jsonl": (SOUND.decode().encode("utf-16"), ":1: is UTF-16, by its byte order mark; save the file as UTF-8"),
    "utf16_big.jsonl": (b"\xfe\xff" + SOUND.decode().encode("utf-16-be"), ":1: is UTF-16, by its byte order mark"),
    "utf32.jsonl": (SOUND.decode().encode("utf-32"), ":1: is UTF-32, by its byte order mark; save the file as UTF-8"),
    "utf16_without_mark.jsonl": (SOUND.decode().encode("utf-16-le"), ":1: is UTF-16LE without a byte order mark; save"),
    "utf16_big_without_mark.jsonl": (SOUND.decode().encode("utf-16-be"), ":1: is UTF-16BE without a byte order mark"),
    "utf32_without_mark.jsonl": (SOUND.decode().encode("utf-32-le"), ":1: is UTF-32LE without a byte order mark"),
    "utf32_big_without_mark.jsonl": (SOUND.decode().encode("utf-32-be"), ":1: is UTF-32BE without a byte order mark"),
    "utf16_packed.jsonl.gz": (gzip.compress(SOUND.decode().encode("utf-16-le")), ":1: is UTF-16LE without a byte ord"),
    "nul_bytes.jsonl": (SOUND + b"\0" * 4096 + b"\n", ":2: holds a NUL byte at column 1"),
    "nul_in_text.jsonl": (SOUND + line(prompt="@@").replace(b"@@", b"\0"), ":2: holds a NUL byte at column"),
    "not_a_number.jsonl": (SOUND + meta(b"NaN"), ":2: is not JSON: NaN is no JSON number; use null"),
    "infinity.jsonl": (SOUND + meta(b"Infinity"), ":2: is not JSON: Infinity is no JSON number; use null"),
    "huge_float.jsonl": (SOUND + meta(b"1e999"), ":2: meta[...]: number out of range"),
    "integer_of_400_digits.jsonl": (SOUND + meta(b"7" * 400), ":2: meta.x: has 400 digits, limit 308"),
    "integer_of_400_digits_deep.jsonl": (
        SOUND + meta(b'[{"y": %s}]' % (b"7" * 400)),
        ":2: meta.x[0].y: has 400 digits",
    ),
    "integer_of_9000_digits.jsonl": (SOUND + meta(b"-" + b"7" * 9000), ":2: meta[...]: integer value out of range"),
    "id_of_400_digits.jsonl": (
        SOUND + line(id=1).replace(b'"id": 1', b'"id": ' + b"7" * 400),
        ":2: id: has 400 digits",
    ),
    "index_of_400_digits.jsonl": (SOUND + line().replace(b'"i": 0', b'"i": ' + b"7" * 400), ":2: steps[0].i: "),
    "index_past_64_bits.jsonl": (
        SOUND + line().replace(b'"i": 0', b'"i": %d' % 2**63),
        ":2: steps[0].i: expected int <=",
    ),
    "nested_10000_deep.jsonl": (SOUND + meta(b"[" * 10_000 + b"]" * 10_000), ":2: is nested deeper than 100 levels"),
    "nested_objects.jsonl": (
        SOUND + meta(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        ":2: is nested deeper than 100 lev",
    ),
    "nested_unclosed.jsonl": (SOUND + meta(b"[" * 10_000), ":2: "),
    "nested_101_deep.jsonl": (SOUND + meta(b"[" * 99 + b"]" * 99), ":2: is nested deeper than 100 levels"),
    "duplicate_ids.jsonl": (
        SOUND + line() + line(id="sound"),
        ":3: id: 'sound' is already used by line 1; ids are unique",
    ),
    "duplicate_keys.jsonl": (
        SOUND + line()[:-2] + b', "prompt": "q"}\n',
        ":2: prompt: occurs more than once in one obj",
    ),
    "duplicate_keys_in_meta.jsonl": (SOUND + meta(b'{"a": 1, "a": 2}'), ":2: a: occurs more than once in one object"),
    "duplicate_spaced_keys.jsonl": (SOUND + meta(b'{"a": 1, "a" : 2}'), ":2: a: occurs more than once in one object"),
    "duplicate_escaped_keys.jsonl": (
        SOUND + meta(b'{"a": 1, "\\u0061": 2}'),
        ":2: a: occurs more than once in one obj",
    ),
    "duplicate_keys_hidden.jsonl": (
        SOUND + meta(b'{"t": "\\"\\u003a", "a": 1, "a": 2}'),
        ":2: a: occurs more than once in one object",
    ),
    "duplicate_keys_hidden_by_a_colon.jsonl": (
        SOUND + meta(b'{"t": ["\\u003a"], "a": 1, "a": 2}'),
        ":2: a: occurs more than once in one object",
    ),
    "duplicate_keys_hidden_by_quotes.jsonl": (
        SOUND + meta(b'{"t": "\\u0022:", "a": 1, "a": 2}'),
        ":2: a: occurs more than once in one object",
    ),
    "empty.jsonl": (b"", ": holds no trace; expected one JSON object a line"),
    "blank.jsonl": (b"\n \r\n\t\n", ": holds no trace; expected one JSON object a line"),
    "two_on_a_line.jsonl": (SOUND[:-1] + line() + b"\n", ":1: is not JSON at column"),
    "two_on_a_line_one_on_two.jsonl": (
        SOUND[:-1] + line()[:-1].replace(b', "steps"', b',\n"steps"') + b"\n",
        ":1: is no",
    ),
    "one_on_two_lines.jsonl": (SOUND + line().replace(b"[{", b"[\n{"), ":2: is not JSON at column"),
    "an_array.jsonl": (b"[" + SOUND[:-1] + b"]\n", ":1: expected object, got array"),
    "terminal_escapes.jsonl": (SOUND + line(**{"\x1b[2J\nprompt": "x"}), r":2: \x1b[2J\nprompt: unknown key"),
    "long_key.jsonl": (SOUND + line(**{"k" * 5000: "x"}), ":2: " + "k" * 100 + "..: unknown key"),
    "id_with_line_end.jsonl": (line(id="a\nb") * 2, r":2: id: 'a\nb' is already used by line 1"),
    "truncated.jsonl.gz": (gzip.compress(SOUND * 50)[:-12], ": cannot be read: Compressed file ended before"),
    "truncated_late.jsonl.gz": (
        gzip.compress(line() * 5_000)[:-12],
        ": cannot be read behind line 4",
    ),
    "damaged.jsonl.gz": (gzip.compress(SOUND)[:20] + b"\xff" * 40, ": cannot be read: "),
    "wrong_checksum.jsonl.gz": (gzip.compress(SOUND)[:-8] + b"\0" * 8, ": cannot be read: CRC check failed"),
    "no_gzip.jsonl.gz": (SOUND, ": cannot be read: Not a gzipped file"),
    "gzip_by_another_name.jsonl": (
        gzip.compress(SOUND),
        ":1: is packed with gzip; give the file a name that ends in .gz",
    ),
    "empty.jsonl.gz": (b"", ": holds no trace"),
    "no_parquet.parquet": (SOUND, ": cannot be read as Parquet: "),
    "empty.parquet": (b"", ": cannot be read as Parquet: "),
}
"""Name -> content, and how the message goes on behind the path."""

ELSE: dict[str, str] = {
    "folder.jsonl": ": is a directory; expected a .jsonl file",
    "loop.jsonl": ": cannot be read: Too many levels of symbolic links",
    "nothing.jsonl": ": no such file",
    "pipe.jsonl": ": is no regular file but a pipe or a device; copy what it gives into a file",
    "device.jsonl": ": is no regular file but a pipe or a device; copy what it gives into a file",
    "device.parquet": ": is no regular file but a pipe or a device; copy what it gives into a file",
    "long_line.jsonl": ":2: is longer than 64 MiB; expected one JSON object a line",
    "long_line_packed.jsonl.gz": ":2: is longer than 64 MiB; expected one JSON object a line",
}
"""What is no plain content."""

LINES = {
    name.removesuffix(".jsonl"): (content.removeprefix(SOUND), said.removeprefix(":2"))
    for name, (content, said) in FILES.items()
    if content.startswith(SOUND) and content.count(b"\n") == 2 and said.startswith(":2: ")
}
"""Bad lines, each behind a sound one in its file, and how the message goes on behind the line's number."""

SAID = {name: said for name, (_, said) in FILES.items()} | ELSE


def write_corpus(folder: Path) -> list[Path]:
    """Write every hostile file into a folder, and return their paths."""
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jsonl").mkdir()
    (folder / "loop.jsonl").symlink_to("loop.jsonl")
    (folder / "nothing.jsonl").symlink_to("gone.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    for name in ("device.jsonl", "device.parquet"):
        (folder / name).symlink_to("/dev/zero")
    with (folder / "long_line.jsonl").open("wb") as file:
        # 200 MB that take no room on the disk.
        file.write(SOUND)
        file.seek(200 * MIB, os.SEEK_CUR)
        file.write(b"\n" + SOUND.replace(b"sound", b"last"))
    with gzip.open(folder / "long_line_packed.jsonl.gz", "wb", compresslevel=1) as packed:
        packed.write(SOUND)
        for _ in range(80):
            packed.write(b" " * MIB)
        packed.write(b"\n" + SOUND.replace(b"sound", b"last"))
    return [folder / name for name in SAID]


if __name__ == "__main__":
    write_corpus(Path(sys.argv[1]))
