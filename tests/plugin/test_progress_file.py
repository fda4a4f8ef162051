"""Progress from workers to the controller, through files."""

from __future__ import annotations

from pathlib import Path

from displays import Recorder

from tunix_eval.plugin.progress import Task
from tunix_eval.plugin.progress_file import Inbox, Outbox


def test_a_controller_shows_what_workers_send_and_waits_for_the_rest_of_a_line(
    tmp_path: Path,
) -> None:
    folder, recorder = tmp_path / "progress", Recorder()
    inbox = Inbox(folder, recorder)  # type: ignore[arg-type]
    inbox.show_new()
    outbox = Outbox(folder / "gw0.jsonl")
    outbox.line("training a")
    outbox.show(Task("training a", "step", 1, 9, ("loss 1",), 2.5))
    outbox.show(Task("training a", "step", 2, 9))  # Too soon after the other.
    with (folder / "gw1.jsonl").open("a") as file:
        file.write('{"line": "tor')
    inbox.show_new()
    assert (recorder.lines, recorder.tasks) == (["training a"], [Task("training a", "step", 1, 9, ("loss 1",), 2.5)])
    with (folder / "gw1.jsonl").open("a") as file:
        file.write('n"}\n')
    outbox.over("training a")
    inbox.open()
    inbox.close()
    assert (recorder.lines, recorder.ended) == (["training a", "torn"], ["training a"])
    assert not folder.exists()


def test_a_worker_that_cannot_write_goes_on(tmp_path: Path) -> None:
    Outbox(tmp_path.joinpath("x")).line("first")
    Outbox(tmp_path.joinpath("x", "below-a-file.jsonl")).line("second")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    written = tmp_path.joinpath("x").read_text(encoding="utf-8")
    assert "first" in written
    assert "second" not in written
