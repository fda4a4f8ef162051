"""A file that is not there, wherever one is named, comes with the name beside it that is closest."""

import re
from pathlib import Path

import pytest

from tunix_eval.data import open_tokenizer, read_dataset, read_evalset, read_predictions
from tunix_eval.data.renderers import HfRenderer
from tunix_eval.errors import TunixEvalError
from tunix_eval.nearby import below, near_file
from tunix_eval.run_files import read_run_file


@pytest.mark.parametrize(
    ("there", "asked", "meant", "read"),
    [
        ("addition.toml", "additoin.toml", "addition.toml", read_run_file),
        ("traces.jsonl", "trace.jsonl", "traces.jsonl", read_dataset),
        ("heldout.jsonl", "held_out.jsonl", "heldout.jsonl", read_evalset),
        ("replies.jsonl", "repiles.jsonl", "replies.jsonl", read_predictions),
        ("replies.parquet", "repiles.parquet", "replies.parquet", read_evalset),
        ("tokenizer.json", "tokeniser.json", "tokenizer.json", lambda path: open_tokenizer(path, ())),
        ("tokenizer.model", "tokeniser.model", "tokenizer.model", lambda path: open_tokenizer(path, ())),
        ("qwen3/tokenizer.json", "qwen33", "qwen3", HfRenderer.open),
        ("data/set.jsonl", "dtaa/set.jsonl", "data/set.jsonl", read_evalset),
    ],
)
def test_a_missing_file_is_named_with_the_near_one(tmp_path, there, asked, meant, read):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("", encoding="utf-8")
    with pytest.raises(TunixEvalError, match=rf"no such [a-z ]+\. Did you mean '{re.escape(meant)}'\?$"):
        read(tmp_path / asked)


def test_a_file_with_nothing_near_it_is_named_alone(tmp_path):
    (tmp_path / "other.jsonl").write_text("", encoding="utf-8")
    assert near_file(tmp_path / "abc.toml") == ""
    with pytest.raises(TunixEvalError, match=r"abc\.toml: no such run file$"):
        read_run_file(tmp_path / "abc.toml")


def test_odd_paths_have_nothing_near_them(tmp_path):
    for odd in (Path("/"), Path(), tmp_path / ("x" * 300), tmp_path / "a\x00b"):
        assert near_file(odd) == "" or near_file(odd).startswith(" Did you mean")


def test_paths_are_written_below_the_folder_of_the_user(tmp_path):
    link = tmp_path / "link"
    (tmp_path / "real").mkdir()
    link.symlink_to(tmp_path / "real")
    text = f"{tmp_path}/real/run.toml and {link}/run.toml and {tmp_path}/other.toml"
    assert below(text, link) == f"run.toml and run.toml and {tmp_path}/other.toml"
    others = f"/else{link}/a.toml, {link}er/a.toml, {link}.toml"
    assert below(others, link) == others
    assert below(f"{link}: is a directory, as {tmp_path}/real. '{link}'", link) == ".: is a directory, as .. '.'"
