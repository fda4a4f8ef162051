"""What a terminal takes for a command is escaped in whatever a command prints."""

import io
import json

from tunix_eval.cli.terminal import DIM, PLAIN, complain, json_lines, write_lines
from tunix_eval.figures import printable_json, printable_lines

COMMANDS = "\x00\x07\r\x1b[31m\x7f\x85\x9b2J\u200b\u202e\u2028\u2066\ufeff\U000e0041"


def test_lines_keep_our_colours_and_escape_everything_else():
    stream = io.StringIO()
    write_lines(stream, [f"{DIM}a{COMMANDS}b{PLAIN}"])
    text = stream.getvalue().removesuffix("\n")
    assert (text[: len(DIM)], text[-len(PLAIN) :]) == (DIM, PLAIN)
    assert text[len(DIM) : -len(PLAIN)].isprintable()


def test_an_error_is_printable_line_by_line(capsys):
    complain(f"a{COMMANDS}\nb")
    first, second, rest = capsys.readouterr().err.split("\n")
    assert first.startswith("tunix-eval: a\\x00\\x07\\r\\x1b[31m\\x7f")
    assert (second, rest) == ("tunix-eval: b", "")
    assert first.isprintable()


def test_json_stays_the_same_json_and_is_printable():
    value = {"text": COMMANDS, "more": ["é", "\u00a0"]}
    raw = json.dumps(value, ensure_ascii=False, indent=2)
    lines = json_lines(raw)
    assert json.loads("\n".join(lines)) == value
    assert all(line.isprintable() for line in lines)
    assert "é" in printable_json(raw)


def test_line_ends_of_a_text_stay():
    assert printable_lines(f"a{COMMANDS}\nb").split("\n")[1] == "b"
