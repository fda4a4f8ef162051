"""Run files that do harm to careless readers: each is refused in one line that names what is wrong, or is planned."""

from __future__ import annotations

import re

import pytest
from projects import RUN_FILE, Project

LONG = "a" * 5000
NOT_READ: dict[str, tuple[str, str]] = {
    "arrays": ("a = " + "[" * 10_000 + "]" * 10_000, "nested deeper than 32 levels"),
    "tables": ("a = " + "{b=" * 10_000 + "1" + "}" * 10_000, "nested deeper than 32 levels"),
    "parts": (".".join(["a"] * 10_000) + " = 1", "nested deeper than 32 levels"),
    "header": (f"[{'.'.join(['a'] * 10_000)}]", "nested deeper than 32 levels"),
    "some": (f"{RUN_FILE}\nx = {'[' * 50}{']' * 50}", r"generation: lists or tables are nested deeper than 32 levels"),
    "digits": (f"seed = {'7' * 5000}", "an integer has more than 4,300 digits; integers have 64 bits"),
    "hex": (f"seed = 0x{'f' * 4000}", "seed: an integer of about 4817 digits; integers have 64 bits"),
    "wide": (f"seed = {2**63}", "seed: an integer of about 20 digits; integers have 64 bits"),
    "nul": ('dataset = "a\\u0000/b.jsonl"', r"dataset: 'a\\x00/b.jsonl' is no path that this system can have"),
    "nuls": ('evalsets = ["a/\\u0000"]', r"evalsets: 'a/\\x00' is no path"),
    "told": (
        '[[gates]]\nrule = "better"\nmetric = "exact"\nthan = "\\u0000.toml"',
        r"gates, than: '\\x00.toml' is no path",
    ),
    "named": (f'dataset = "{LONG}/b"', r"dataset: 'a{70,80}\.\.\. is no path.*: File name too long"),
    "tokenizer": ('tokenizer = "loop.json"', r"tokenizer: 'loop.json' is no path.*([Ss]ymlink loop|symbolic links)"),
    "written": (f'{RUN_FILE}"\\u001b[31mred" = 1', r"unknown key 'generation\.\\x1b\[31mred'"),
    "lengthy": (f"{RUN_FILE}{LONG} = 1", r"unknown key 'generation\.a{70,80}\.\.\.'"),
    "number": (RUN_FILE.replace("epochs = 1", "steps = 3000000000"), "training.steps: .*2147483647, found 3000000000"),
    "rate": (RUN_FILE.replace("epochs = 1", "epochs = 1\nlearning_rate = 1e300"), "training.learning_rate: .*1e\\+30"),
    "infinite": (RUN_FILE.replace("epochs = 1", "epochs = inf"), "training.epochs: .*finite number, found inf"),
    "marked": ("\ufeff" + RUN_FILE, "starts with a byte order mark; save the file as UTF-8 without one"),
    "large": ("# " + "x" * 2**20, "is longer than 1.05 MB; a run file is shorter"),
    "bytes": ('name = "\udcff"', "cannot be read: 'utf-8' codec can't decode byte 0xff"),
}
"""Name -> text, and what is said of it."""


def test_what_no_parser_reads_is_one_line_each(project: Project) -> None:
    (project.path / "utf16.toml").write_text(RUN_FILE, encoding="utf-16")
    (project.path / "loop.json").symlink_to("loop.json")
    for name, (text, _) in NOT_READ.items():
        (project.path / f"{name}.toml").write_text(text, encoding="utf-8", errors="surrogateescape")
    (project.path / "folder.toml").mkdir()
    result = project.run("--tunix-plan", "utf16.toml", *(f"{name}.toml" for name in NOT_READ))
    said = result.stdout.str()
    assert "utf16.toml: is UTF-16, by its byte order mark; save the file as UTF-8: iconv -f UTF-16 -t UTF-8" in said
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert max(map(len, said.splitlines())) < 400
    for name, (_, message) in NOT_READ.items():
        assert re.search(rf"^{name}\.toml: .*{message}", said, re.MULTILINE), name


NOT_PLANNED: dict[str, tuple[str, str, str]] = {
    "passes": ("epochs = 1", "epochs = 1e300", "training.epochs: 1e+300 epochs of .* more than 2147483647 steps"),
    "rows": ("rows = 8", "rows = 16777216", "training.rows: a step takes 16777216 rows, but the dataset is packed in"),
}


def test_values_that_no_training_can_have_fail_in_the_plan(project: Project) -> None:
    for name, (old, new, _) in NOT_PLANNED.items():
        project.write(f"{name}.toml", RUN_FILE.replace(old, new).replace('"words"', f'"{name}"'))
    result = project.run("--tunix-train", *(f"{name}.toml" for name in NOT_PLANNED))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = result.stdout.str()
    assert "Traceback" not in said
    for _, _, message in NOT_PLANNED.values():
        assert re.search(message.replace("+", r"\+"), said), said
