"""Every door where a library reads what a user wrote: whatever stands there, it is read or refused in our own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunix_eval.data import open_tokenizer, read_dataset, read_evalset, read_predictions, read_traces
from tunix_eval.errors import TunixEvalError
from tunix_eval.gate import read_baseline
from tunix_eval.run_files import read_run_file
from tunix_eval.scoring import read_eval
from tunix_eval.settings import read_settings
from tunix_eval.store import read_eval_manifest, read_manifest, read_started, users_of

DOORS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "run file": ("run.toml", read_run_file),
    "settings": ("pyproject.toml", lambda path: read_settings(path.parent)),
    "baseline": ("held.json", read_baseline),
    "predictions": ("predictions.jsonl", read_predictions),
    "traces": ("traces.jsonl", read_traces),
    "evalset": ("items.jsonl", read_evalset),
    "dataset": ("manifest.json", lambda path: read_dataset(path.parent)),
    "evaluation": ("eval_after.jsonl", lambda path: list(read_eval(path))),
    "run manifest": ("run_manifest.json", read_manifest),
    "evaluation's manifest": ("eval_manifest.json", read_eval_manifest),
    "started": ("started.json", read_started),
    "completions": ("cached.jsonl", users_of),
    "tokenizer.json": ("tokenizer.json", lambda path: open_tokenizer(path, ())),
    "tokenizer.model": ("tokenizer.model", lambda path: open_tokenizer(path, ())),
}

KEYS = st.sampled_from(
    ["id", "prompt", "final_answer", "prediction", "model", "vocab", "added_tokens", "type", "decoder", "name", "steps"]
) | st.text(max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
TEXTS = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)

HOSTILE: list[bytes] = [
    b"[" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"a = " + b"[" * 10_000 + b"]" * 10_000,
    b".".join([b"a"] * 10_000) + b" = 1",
    b"a = " + b"7" * 5000,
    b'{"id": ' + b"7" * 5000 + b"}",
    b'dataset = "\\u0000/x"',
    b'{"id": "\\ud800", "prompt": "\\ud800", "prediction": "\\ud800"}',
    b'{"a": 1e999, "b": NaN, "c": -Infinity}',
    b'{"id":"a","prompt":"\xc7a"}',
    b"\xff\xfe{\x00}\x00",
    b"\x00\x00\xfe\xff\x00\x00\x00{",
    b"\xef\xbb\xbf{}",
    b"[]",
    b'"text"',
    b"null",
    b"",
    b"tool = 1",
    b"[tool]\ntunix_eval = []",
    b"[tool.tunix_eval]\nartifacts = '\xc2\x80/" + b"a" * 5000 + b"'",
    b'{"model": {"vocab": [], "type": []}, "added_tokens": {"a": 1}, "decoder": [1]}',
    b'{"model": {}, "added_tokens": [{"content": []}], "pre_tokenizer": {"type": "Sequence", "pretokenizers": [1]}}',
    b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
]


def with_hostile_seeds(test: Any) -> Any:
    for content in HOSTILE:
        test = example(content=content)(test)
    return test


@pytest.mark.parametrize("door", DOORS)
def test_whatever_stands_at_a_door_is_read_or_refused(door: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    name, read = DOORS[door]
    path = tmp_path_factory.mktemp("door") / name
    (path.parent / "traces.jsonl").write_bytes(b"")

    @with_hostile_seeds
    @given(content=TEXTS)
    def knock(content: bytes) -> None:
        path.write_bytes(content)
        said = ""
        try:
            read(path)
        except TunixEvalError as error:
            said = str(error)
        assert all(line.isprintable() and len(line) < 1500 for line in said.split("\n")), said

    knock()
