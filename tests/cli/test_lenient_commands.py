"""What commands say of the keys that a lenient reader moves into meta."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import Records
from traces import line, write

MOVED = "unknown keys go into meta: url (2 traces), steps[].score (1 trace)"


@pytest.fixture
def odd(records: Records) -> str:
    scored = line(2, url="u")
    scored["steps"] = [{**step, "score": 0.5} for step in scored["steps"]]
    write("odd.jsonl", [line(0), line(1, url="v"), scored])
    return "odd.jsonl"


def test_ingest_says_once_which_keys_it_moved_and_in_how_many_traces(records: Records, odd: str) -> None:
    code, out, _ = records.call("ingest", odd, "--lenient", "--out", "t.jsonl")
    assert (code, out.splitlines()) == (0, ["read odd.jsonl: 3 traces", f"  {MOVED}", "wrote t.jsonl: 3 traces"])


def test_validate_says_the_same_and_passes_the_file(records: Records, odd: str) -> None:
    assert records.call("validate", odd)[0] == 1
    assert records.call("validate", odd, "--lenient") == (0, f"odd.jsonl: 3 traces, {MOVED}, ok\n", "")
    assert records.call("ingest", odd, "--lenient", "--out", "t.jsonl")[0] == 0
    assert records.call("validate", "t.jsonl", "--lenient") == (0, "t.jsonl: 3 traces, ok\n", "")


def test_other_mistakes_are_named_though_keys_are_not(records: Records) -> None:
    write("bad.jsonl", [line(0, url="u"), *(line(k, prompt="", url="u") for k in range(1, 23))])
    code, out, err = records.call("validate", "bad.jsonl", "--lenient")
    assert (code, out) == (1, "")
    numbers = ", ".join(map(str, range(2, 22)))
    assert err.splitlines() == [
        f"tunix-eval: bad.jsonl: lines {numbers}: prompt: is empty",
        "tunix-eval: and 2 more bad lines",
    ]


def test_lenient_is_for_traces(records: Records) -> None:
    Path("e.jsonl").write_text('{"id": "a", "prompt": "1+1=", "expected_answer": "2"}\n')
    said = "e.jsonl: is of kind evalset; --lenient is for trace files, so leave it out here"
    assert records.refused("validate", "e.jsonl", "--lenient") == (1, said)
