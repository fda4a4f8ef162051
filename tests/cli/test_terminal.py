"""What people read while a command runs."""

from __future__ import annotations

import io

import pytest

from tunix_eval.cli.terminal import Progress, coloured, cut
from tunix_eval.errors import SpecError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_long_work_on_a_terminal_says_how_far_it_is() -> None:
    stream, clock = Terminal(), Clock()
    with Progress("reading a.jsonl", stream=stream, clock=clock) as progress:
        clock.seconds = 2.0
        progress(50_000_000, 100_000_000)
        assert stream.getvalue() == "\rreading a.jsonl: 50% of 100.0 MB, 25.0 MB/s\x1b[K"
        clock.seconds = 2.01
        progress(60_000_000, 100_000_000)
    assert stream.getvalue().endswith("25.0 MB/s\x1b[K\r\x1b[K"), "drawn again too soon, or left on the screen"


def test_a_count_without_an_end_has_a_rate() -> None:
    stream, clock = Terminal(), Clock()
    with Progress("reading\x1b[31m", "traces", stream=stream, clock=clock) as progress:
        clock.seconds = 4.0
        progress(8_000)
    assert stream.getvalue().startswith("\rreading\\x1b[31m: 8,000 traces, 2,000 traces/s\x1b[K")


@pytest.mark.parametrize(("stream", "seconds"), [(io.StringIO(), 9.0), (Terminal(), 0.1)])
def test_a_pipe_and_short_work_show_nothing(stream: io.StringIO, seconds: float) -> None:
    clock = Clock()
    with Progress("reading", stream=stream, clock=clock) as progress:
        clock.seconds = seconds
        progress(1, 2)
    assert stream.getvalue() == ""


def test_a_line_of_progress_fits_the_terminal() -> None:
    stream, clock = Terminal(), Clock()
    with Progress(f"reading {'x' * 200}", stream=stream, clock=clock) as progress:
        clock.seconds = 1.0
        progress(1, 2)
    assert len(stream.getvalue().split("\x1b")[0]) <= 80


def test_colour_is_for_terminals_and_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert coloured("always")
    assert not coloured("never")
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("auto")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured("auto")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.delenv("NO_COLOR")
    assert not coloured("auto")
    with pytest.raises(SpecError, match="expected auto, always or never"):
        coloured("on")


def test_a_long_list_is_cut_with_a_count() -> None:
    assert cut(["a", "b"], 2) == ["a", "b"]
    assert cut([str(i) for i in range(1_500)], 1) == ["0", "  and 1,499 more"]
