"""Commands on trace files: what they write, what they say, and what they refuse."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import traces
from records import EVALSET, Records
from traces import line, write

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


def sums(count: int = 20, path: str = "a.jsonl", first: int = 0) -> str:
    return write(path, [line(i) for i in range(first, first + count)])


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# -------------------------------------------------------------------------------------------------------- validate


def test_every_kind_of_file_is_known_by_its_content(records: Records) -> None:
    sums(1_200)
    write("e.txt", [{"id": "e", "prompt": "1+1=", "expected_answer": "2"}])
    write("p.jsonl", [{"id": "e", "prediction": "2"}])
    Path("z").write_bytes(gzip.compress(Path("a.jsonl").read_bytes()))
    records.call("build", "sums-v1", "a.jsonl")
    records.call("ingest", "a.jsonl", "--out", "a.parquet")
    records.call("init")
    code, out, err = records.call(
        "validate", "a.jsonl", "a.parquet", "e.txt", "p.jsonl", "datasets/sums-v1", "addition.toml"
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "a.jsonl: 1,200 traces, ok",
        "a.parquet: 1,200 traces, ok",
        "e.txt: 1 item, ok",
        "p.jsonl: 1 prediction (ids from 'id', texts from 'prediction'), ok",
        "datasets/sums-v1: dataset sums-v1, 1,200 traces, ok",
        "addition.toml: run file 'addition', ok",
    ]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"id": "e", "prompt": "q", "expected_answer": "2", "prediction": "3"},
            "1 prediction (ids from 'id', texts from",
        ),
        (
            {"example_id": "e", "expected_response": "2", "generated_response": "3"},
            "1 prediction (ids from 'example_id'",
        ),
        ({"id": "e", "final_answer": "2"}, "1 prediction (ids from 'id', texts from 'final_answer'), ok"),
        (
            {"id": "e", "prompt": "q", "final_answer": "2"},
            "has prompt and final_answer without steps: say what it holds",
        ),
        ({"prompt": "q", "final_answer": "2"}, "trace_version: is missing"),
        (line(0, prediction="3"), "prediction: unknown key; known: trace_version"),
    ],
)
def test_predictions_are_told_from_evalsets_and_traces(records: Records, record: dict[str, str], said: str) -> None:
    write("x.jsonl", [record])
    code, out, err = records.call("validate", "x.jsonl")
    assert code == (0 if ", ok" in out else 1)
    assert said in out + err


def test_a_file_of_another_kind_is_refused_in_one_line(records: Records) -> None:
    sums(3)
    write("e.jsonl", [{"id": k, "prompt": "q", "expected_answer": "2"} for k in range(30)])
    write("p.jsonl", [{"id": k, "prediction": "2"} for k in range(30)])
    assert records.refused("show", "e.jsonl") == (1, "e.jsonl: holds evalset items, expected traces")
    assert records.refused("contamination", "p.jsonl", "e.jsonl") == (1, "p.jsonl: holds predictions, expected traces")
    said = "p.jsonl: holds predictions, expected evalset items"
    assert records.refused("contamination", "a.jsonl", "p.jsonl") == (1, said)


def test_warnings_name_line_and_id(records: Records) -> None:
    items = [{"id": f"q{k}", "prompt": "q", "expected_answer": "2", "difficulty": "brutal"} for k in range(5)]
    write("e.jsonl", items)
    where = "line 1 ('q0'), line 2 ('q1'), line 3 ('q2') and 2 more"
    said = (
        f"tunix-eval: warning: e.jsonl: {where}: difficulty brutal: not among easy, medium, hard; read as it stands\n"
    )
    assert records.call("validate", "e.jsonl") == (0, "e.jsonl: 5 items, ok\n", said)


def test_a_run_file_is_held_against_what_is_registered(records: Records) -> None:
    """As the plan does: every name that nothing is registered under, with the near one."""
    records.call("init")
    text = Path("addition.toml").read_text()
    assert records.call("validate", "addition.toml")[0] == 0
    wrong = {
        '"addition-v1"': '"adition-v1"',
        '"addition-heldout"': '"addition-heldot"',
        '"plain"': '"plan"',
        '"exact"': '"exat"',
    }
    for old, new in wrong.items():
        text = text.replace(old, new)
    Path("addition.toml").write_text(text)
    code, out, err = records.call("validate", "addition.toml")
    assert (code, out) == (1, "")
    said = [one.removeprefix("tunix-eval: addition.toml: ").partition(";")[0] for one in err.splitlines()]
    names = {"no dataset named 'adition-v1'", "no evalset named 'addition-heldot'", "no scorer named 'exat'"}
    assert set(said) == names | {"no renderer named 'plan'"}


def test_items_that_a_gate_cannot_measure_are_named(records: Records) -> None:
    records.call("init")
    write("hard.jsonl", [{"id": f"q{k}", "prompt": "q", "expected_answer": ["2", "5!"][k]} for k in range(2)])
    scored = Path("addition.toml").read_text().replace('"addition-heldout"', '"hard.jsonl"')
    scored = scored.replace('scorers = ["exact"]\n', "") + '\n[[gates]]\nrule = "no_worse"\nmetric = "numeric"\n'
    for scorers, said in (
        ('["exact", "numeric"]', "gates, number 1: 'numeric' cannot measure 1 of 2 items of hard (item 'q1': "),
        ('["exact", { name = "numeric", relativ = 1e-3 }]', "relativ"),
        ('["exact"]', "no metric measured by run 'addition' named 'numeric'"),
    ):
        Path("addition.toml").write_text(f"scorers = {scorers}\n{scored}")
        code, _, err = records.call("validate", "addition.toml")
        assert code == 1
        assert said in err
    exact = scored.replace('metric = "numeric"', 'metric = "exact"')
    Path("addition.toml").write_text(f'scorers = ["exact", "numeric"]\n{exact}')
    assert records.call("validate", "addition.toml")[0] == 0


def test_every_bad_line_of_every_file_is_said_and_the_sound_files_too(records: Records) -> None:
    sums()
    write("b.jsonl", [line(0), line(1, prompt=" "), line(2, colour="red"), line(0)])
    code, out, err = records.call("validate", "b.jsonl", "a.jsonl", "none.jsonl", "addition.toml")
    assert code == 1
    assert out == "a.jsonl: 20 traces, ok\n"
    found = [text.removeprefix("tunix-eval: ") for text in err.splitlines()]
    assert found[0].startswith("b.jsonl:2: prompt")
    assert found[1].startswith("b.jsonl:3: colour: unknown key")
    assert "addition.toml: no such run file" in found
    assert any(text.startswith("none.jsonl: no such file") for text in found)


def test_lines_that_are_bad_for_one_reason_are_one_line(records: Records) -> None:
    write("a.jsonl", [line(i, prompt=" ") if i % 2 else line(i, colour="red") for i in range(5)])
    found = [text.removeprefix("tunix-eval: ") for text in records.call("validate", "a.jsonl")[2].splitlines()]
    assert [text.split(": ")[1:3] for text in found] == [["lines 1, 3, 5", "colour"], ["lines 2, 4", "prompt"]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stdin_is_named_so(records: Records, monkeypatch: pytest.MonkeyPatch, pack: type[bytes]) -> None:
    sums(3)
    data = Path("a.jsonl").read_bytes()
    stdin(monkeypatch, pack(data))
    assert records.call("validate", "-") == (0, "<stdin>: 3 traces, ok\n", "")
    stdin(monkeypatch, pack(data + data))
    code, out, err = records.call("validate", "-")
    assert (code, out) == (1, "")
    assert err.startswith("tunix-eval: <stdin>:4: id")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["foreign.jsonl"], 1, "foreign.jsonl: no format of ours has the keys answer, question; say which one with"),
        (["foreign.jsonl", "--kind", "trace"], 2, "no kind of file named 'trace'; known: dataset, evalset,"),
        (["-", "-"], 2, "- is named twice; stdin can be read once"),
        (["."], 1, "manifest.json: no such file"),
    ],
)
def test_validate_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    write("foreign.jsonl", [{"question": "1+1=", "answer": "2"}])
    found = records.refused("validate", *words)
    assert found[0] == code
    assert message in found[1]


def test_a_folder_of_datasets_is_validated_one_by_one(records: Records) -> None:
    sums()
    records.call("build", "sums-v1", "a.jsonl")
    records.call("build", "sums-v2", "a.jsonl", "--limit", "3")
    sound = ["datasets/sums-v1: dataset sums-v1, 20 traces, ok", "datasets/sums-v2: dataset sums-v2, 3 traces, ok"]
    code, out, err = records.call("validate", "datasets/")
    assert (code, out.splitlines(), err) == (0, sound, "")
    Path("datasets/sums-v1/traces.jsonl").write_text(json.dumps(line(0)))
    code, out, err = records.call("validate", "datasets")
    assert (code, out.splitlines(), err.count("\n")) == (1, sound[1:], 1)


def test_a_folder_with_another_name_than_its_dataset_is_said(records: Records) -> None:
    sums()
    records.call("build", "sums-v1", "a.jsonl")
    Path("datasets/sums-v1").rename("datasets/other")
    code, out, err = records.call("validate", "datasets/other")
    assert (code, out) == (0, "datasets/other: dataset sums-v1, 20 traces, ok\n")
    assert err == (
        "tunix-eval: warning: datasets/other: the folder is 'other', its manifest says sums-v1; rename one of them\n"
    )


@pytest.mark.parametrize(
    "words", [["validate"], ["show"], ["ingest", "--out", "t.jsonl"], ["contamination", "a.jsonl"]]
)
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "[]", "holds one JSON array, expected one object a line: jq -c '.[]' turns it into lines"),
        ("x.json", '[{"prompt": "a"},\n{"prompt": "b"}]', "holds one JSON array, expected one object a line: jq -c"),
        ("x.json", "[" + '{"prompt": "a"},\n' * 80_000, "holds one JSON array, expected one object a line: jq -c"),
        ("x.json", '{\n"prompt": "a"\n}\n', "holds one JSON object on several lines, expected one object a line: jq"),
        ("x.txt", "# Title\n\nText.\nMore.\n", "none of its first 3 lines is an object"),
    ],
)
def test_a_file_of_no_lines_is_one_line_that_says_what_it_is(
    records: Records, words: list[str], name: str, text: str, message: str
) -> None:
    sums()
    Path(name).write_text(text)
    code, found = records.refused(words[0], *words[1:], f"./{name}")
    assert (code, found[: len(name) + 4]) == (1, f"./{name}: ")
    assert message in found


def test_a_run_file_in_place_of_traces_is_known(records: Records) -> None:
    records.call("init")
    message = "addition.toml: is a run file, expected traces; `tunix-eval validate addition.toml` checks it"
    assert records.refused("show", "addition.toml") == (1, message)


def test_good_lines_below_bad_ones_are_found_all_the_same(records: Records) -> None:
    Path("a.jsonl").write_text("oops\n" * 30 + f"{json.dumps(line(0))}\n")
    assert "none of its first 20 lines is an object" in records.refused("ingest", "a.jsonl", "--out", "t.jsonl")[1]
    assert records.call("ingest", "a.jsonl", "--lenient", "--out", "t.jsonl")[0] == 0
    assert [one["id"] for one in traces.read("t.jsonl")] == ["t0"]


# ---------------------------------------------------------------------------------------------------------- ingest


def test_other_keys_are_mapped_and_the_source_is_kept(records: Records) -> None:
    write("f.jsonl", [{"data": {"q": "1+1="}, "why": "one and one", "a": "2", "n": 3}])
    words = ("--map", "prompt=data.q", "--map", "steps=why", "--map", "final_answer=a", "--source", "elsewhere")
    kept = "  kept in meta, as no --map names them: n (1 line)\n"
    assert records.call("ingest", "f.jsonl", *words, "--out", "t.jsonl") == (
        0,
        f"read f.jsonl: 1 trace\n{kept}wrote t.jsonl: 1 trace\n",
        "",
    )
    (found,) = traces.read("t.jsonl")
    assert (found["prompt"], found["final_answer"]) == ("1+1=", "2")
    assert found["steps"][0]["content"] == "one and one"
    assert (found["meta"]["source"], found["meta"]["n"]) == ("elsewhere", 3)
    assert records.call("validate", "t.jsonl")[0] == 0


def test_traces_on_stdout_are_all_that_is_there(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    write("f.jsonl", [{"q": "1+1=", "why": "one and one", "final_answer": "2"}] * 2)
    words = ("ingest", "f.jsonl", "--map", "prompt=q", "--map", "steps=why", "--map", "final_answer=final_answer")
    assert records.call(*words, "--out", "t.jsonl")[0] == 0
    code, out, err = records.call(*words, "--out", "-")
    assert (code, out, err) == (0, Path("t.jsonl").read_text(), "read f.jsonl: 2 traces\n")
    stdin(monkeypatch, out.encode())
    code, once, err = records.call("dedupe", "-", "--by", "prompt", "--out", "-")
    assert (code, once.count("\n"), err.splitlines()[0]) == (0, 1, "read 2 traces of <stdin>: 1 duplicate")
    stdin(monkeypatch, once.encode())
    assert records.call("validate", "-") == (0, "<stdin>: 1 trace, ok\n", "")
    assert records.call(*words, "--out", "-", "--dry-run")[1].splitlines()[-1] == "would write to stdout: 2 traces"


def test_a_conversation_beside_the_mapped_keys_is_no_history(records: Records) -> None:
    """Every line of such sets holds its own question and solution once more, as a conversation."""
    solution = "Six and six are twelve.\n\n  So \\boxed{12}."
    turns = [{"role": "user", "content": "6+6="}, {"role": "assistant", "content": solution}]
    write("f.jsonl", [{"problem": "6+6=", "solution": solution, "messages": turns}])
    words = ("--map", "prompt=problem", "--map", "final_answer=solution", "--split", "boxed", "--out", "t.jsonl")
    said = [
        "read f.jsonl: 1 trace",
        "  kept in meta, as no --map names them: messages (1 line)",
        "  1 blank line between steps left out",
        "wrote t.jsonl: 1 trace",
    ]
    assert records.call("ingest", "f.jsonl", *words)[1].splitlines() == said
    shown = records.call("show", "t.jsonl", "--renderer", "chatml")[1]
    assert (shown.count("6+6="), shown.count("twelve")) == (1, 1)
    code, message = records.refused("ingest", "f.jsonl", "--map", "messages=messages", *words, "--force")
    assert (code, message.partition(" asks")[0]) == (1, "f.jsonl:1: messages: turn 1")


def test_questions_with_answers_become_an_evalset(records: Records) -> None:
    rows = [
        '{"id": 7, "question": "1+1=", "answer": 2.50, "level": 3}',
        '{"question": "2+2=", "answer": "No.\\n#### 4"}',
    ]
    Path("q.jsonl").write_text(f"{rows[0]}\n")
    words = ("ingest", "q.jsonl", "--kind", "evalset", "--map", "prompt=question", "--map", "expected_answer=answer")
    code, out, err = records.call(*words, "--out", "e.jsonl")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "read q.jsonl: 1 item",
        "  left out, as no --map names them and an item has no meta: level (1 line)",
        "wrote e.jsonl: 1 item",
    ]
    assert traces.read("e.jsonl") == [{"id": "7", "prompt": "1+1=", "expected_answer": "2.50"}]
    write("q.jsonl", [{"question": "2+2=", "answer": "No.\n#### 4"}] * 2)
    code, out, err = records.call(*words, "--split", "hashes", "--out", "-")
    assert [one["expected_answer"] for one in map(json.loads, out.splitlines())] == ["4", "4"]
    assert len({one["id"] for one in map(json.loads, out.splitlines())}) == 2
    assert err.splitlines()[1:] == [
        "  left out: the reasoning before the answer of 2 items",
        "  ids made from the content of 2 items: no line has one under 'id'",
    ]
    assert records.refused(*words[:6], "--out", "-")[1].startswith(
        "no key is mapped to expected_answer, and a field is"
    )
    assert (
        records.refused(*words, "--lenient", "--out", "-")[1]
        == "--lenient is for traces, and --kind asks for an evalset"
    )
    assert records.refused(*words, "--out", "e.parquet")[1].endswith("an evalset is written as .jsonl or .jsonl.gz")


CHAT: dict[str, Any] = {
    "id": "c",
    "conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "It is 2.\nAnswer: 2"}],
    "gold": 2,
}
TO_ITEMS = ("ingest", "chat.jsonl", "--kind", "evalset", "--map", "conversation=conversations")


@pytest.mark.parametrize(
    ("turns", "words"),
    [(2, ("--split", "answer")), (2, ("--map", "expected_answer=gold")), (1, ("--map", "expected_answer=gold"))],
)
def test_a_conversation_becomes_an_item(records: Records, turns: int, words: tuple[str, ...]) -> None:
    line = CHAT | {"conversations": CHAT["conversations"][:turns]}
    Path("chat.jsonl").write_text(json.dumps(line) + "\n")
    code, out, err = records.call(*TO_ITEMS, *words, "--out", "e.jsonl")
    assert (code, err) == (0, "")
    assert ("  left out: the reasoning before the answer of 1 item" in out.splitlines()) == (turns == 2)
    assert traces.read("e.jsonl") == [{"id": "c", "prompt": "1+1?", "expected_answer": "2"}]


@pytest.mark.parametrize("kind", ["traces", "evalset"])
def test_text_behind_an_answer_is_said(records: Records, kind: str) -> None:
    replies = ["It is 2.<answer>2</answer>", "It is 2.<answer>2</answer >\nAs you see."]
    rows = [{"question": f"1+1, {k}?", "answer": text} for k, text in enumerate(replies)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    field = "final_answer" if kind == "traces" else "expected_answer"
    words = ("--kind", kind, "--map", "prompt=question", "--map", f"{field}=answer", "--split", "tags")
    code, out, _ = records.call("ingest", "q.jsonl", *words, "--out", f"{kind}.jsonl")
    assert code == 0
    assert "  left out: the text behind </answer> in 1 line" in out.splitlines()
    assert [one[field] for one in traces.read(f"{kind}.jsonl")] == ["2", "2"]


def test_an_item_without_an_answer_is_named(records: Records) -> None:
    line = CHAT | {"conversations": CHAT["conversations"][:1]}
    Path("chat.jsonl").write_text(json.dumps(line) + "\n")
    code, _, err = records.call(*TO_ITEMS, "--out", "e.jsonl")
    assert code == 1
    assert "chat.jsonl:1: conversations: the last turn is the user's; expected a reply, or a key mapped to" in err


def test_a_file_of_conversations_is_told_its_map(records: Records) -> None:
    Path("chat.jsonl").write_text(json.dumps(CHAT) + "\n")
    code, _, err = records.call("ingest", "chat.jsonl", "--out", "t.jsonl")
    assert code == 1
    assert "say which is which: --map conversation=conversations, and --split RULE for the answer in its reply" in err


def test_published_questions_become_traces(records: Records) -> None:
    path = SHARED / "gsm8k_200.jsonl"
    if not path.exists():
        pytest.skip("needs gsm8k_200.jsonl, which is not part of this project")
    words = ("--map", "prompt=question", "--map", "final_answer=answer", "--split", "hashes", "--out", "t.jsonl")
    assert records.call("ingest", str(path), *words)[0] == 0
    found = traces.read("t.jsonl")
    assert len(found) == 200
    assert [one["final_answer"] for one in found[:3]] == ["18", "3", "70000"]


def test_lenient_keeps_the_good_lines_and_says_where_the_others_are(records: Records) -> None:
    Path("a.jsonl").write_text(f"{json.dumps(line(0))}\nnot json\n{json.dumps(line(1))}\n")
    code, message = records.refused("ingest", "a.jsonl", "--out", "t.jsonl")
    assert code == 1
    assert message.startswith("a.jsonl:2: ")
    assert files(records.root) == ["a.jsonl"]
    code, out, _ = records.call("ingest", "a.jsonl", "--lenient", "--out", "parts/t.jsonl")
    assert code == 0
    assert out.splitlines()[0] == "read a.jsonl: 2 traces, 1 line rejected"
    assert out.splitlines()[-1] == "wrote parts/rejected.jsonl: 1 line"
    (rejected,) = traces.read("parts/rejected.jsonl")
    assert (rejected["line"], rejected["text"]) == (2, "not json")
    assert [one["id"] for one in traces.read("parts/t.jsonl")] == ["t0", "t1"]


def test_completions_of_a_run_come_back_as_traces(records: Records) -> None:
    run_id = records.run(wrong=range(10))
    code, out, _ = records.call("ingest", "--from-run", run_id, "--out", "t.jsonl")
    assert code == 0
    assert f"run {run_id} (addition) on {EVALSET}: 90 traces, 10 completions left out" in out
    found = traces.read("t.jsonl")
    assert (found[0]["prompt"], found[0]["final_answer"]) == ("10+1=", "11")
    assert (found[0]["meta"]["source"], found[0]["meta"]["example_id"]) == (run_id, "i010")
    code, out, _ = records.call("ingest", "--from-run", "addition", "--only", "all", "--out", "all.jsonl")
    assert (code, len(traces.read("all.jsonl"))) == (0, 100)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "ingest: name files, or a run with --from-run"),
        (["a.jsonl", "--from-run", "x"], 2, "ingest: name files, or a run with --from-run, not both"),
        (["a.jsonl", "--map", "prompt"], 2, "--map prompt: expected KEY=VALUE"),
        (["a.jsonl", "--map", "promt=q"], 2, "no field of a trace named 'promt'"),
        (["a.jsonl", "--map", "prompt=q", "--map", "prompt=r"], 2, "--map names a field twice"),
        (["a.jsonl", "--split", "hash"], 2, "no split rule named 'hash'; known: answer, boxed, hashes"),
        (["a.jsonl", "--only", "right"], 2, "no choice of completions named 'right'"),
        (["a.jsonl", "--metric", "exact"], 2, "--metric is for --from-run"),
        (["a.jsonl", "--rejected", "r.jsonl"], 2, "--rejected names where bad lines go; add --lenient"),
        (["a.jsonl", "a.jsonl", "--lenient"], 2, "--lenient takes one file at a time"),
        (["a.jsonl", "a.jsonl"], 1, "a.jsonl and a.jsonl both have a trace 't0'; where it is the same one"),
        (["foreign.jsonl"], 1, "foreign.jsonl: has the keys answer, question; say which is which: --map prompt=KEY"),
        (["--from-run", "nowhere"], 2, "no evaluated run in artifacts named 'nowhere'"),
        (["--from-run", "x", "--lenient"], 2, "--lenient is for files"),
    ],
)
def test_ingest_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    sums()
    write("foreign.jsonl", [{"question": "1+1=", "answer": "2"}])
    found = records.refused("ingest", *words, "--out", "t.jsonl")
    assert found[0] == code
    assert message in found[1]
    assert not Path("t.jsonl").exists()


# ------------------------------------------------------------------------------------------------------------ build


def test_a_version_is_built_of_what_passes_the_filters(records: Records) -> None:
    sums(60)
    words = ("--filter", "difficulty=easy,medium", "--filter", "level=1", "--strategy", "random", "--seed", "7")
    code, out, err = records.call("build", "sums-v1", "a.jsonl", *words, "--limit", "5", "--source", "school")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        "read 60 traces of a.jsonl",
        "20 of 60 traces pass the filters",
        "wrote datasets/sums-v1: 5 traces",
    ]
    manifest = json.loads(Path("datasets/sums-v1/manifest.json").read_text())
    assert manifest["filters"] == {"difficulty": ["easy", "medium"], "level": 1}
    assert (manifest["selection_strategy"], manifest["seed"]) == ("random", 7)
    assert (manifest["provenance"]["source"], manifest["provenance"]["limit"]) == ("school", 5)
    assert all(one["meta"]["level"] == 1 for one in traces.read("datasets/sums-v1/traces.jsonl"))


def test_build_says_what_became_of_strata_and_of_times(records: Records) -> None:
    write("a.jsonl", [*(line(i) for i in range(24)), *(line(i, meta={"level": True}) for i in range(24, 28))])
    words = ("build", "sums-v1", "a.jsonl", "--dry-run", "--limit", "7", "--strategy")
    drawn = ("stratified", "--seed", "1")
    assert records.call(*words, *drawn, "--by", "difficulty")[1].splitlines()[1:3] == [
        "by difficulty: easy (2 of 8), medium (2 of 8), hard (2 of 8), absent (1 of 4)",
        "would write datasets/sums-v1: 7 traces",
    ]
    found = records.call(*words, *drawn, "--by", "level", "--filter", "level=0,true")[1].splitlines()
    assert found[1:3] == ["16 of 28 traces pass the filters", "by level: 0 (5 of 12), true (2 of 4)"]
    assert records.call(*words, "latest")[1].splitlines()[1] == (
        "0 of 28 traces have a time in meta (created_at, timestamp); those without are older, and of them the last in "
        "the file is the newest"
    )
    write("b.jsonl", [line(0, meta={"timestamp": 3})])
    assert len(records.call("build", "x-v1", "b.jsonl", "--strategy", "latest", "--dry-run")[1].splitlines()) == 4


def test_a_version_is_never_changed_and_names_its_parent(records: Records) -> None:
    sums()
    assert records.call("build", "sums-v1", "a.jsonl")[0] == 0
    code, out, _ = records.call("build", "sums-v1", "a.jsonl")
    assert (code, out.splitlines()[1]) == (0, "unchanged datasets/sums-v1: 20 traces")
    code, message = records.refused("build", "sums-v1", "a.jsonl", "--limit", "3")
    assert code == 1
    assert "a dataset version is immutable" in message
    code, out, _ = records.call("build", "sums-v2", "a.jsonl", "--parent", "datasets/sums-v1", "--out", "new")
    first = json.loads(Path("datasets/sums-v1/manifest.json").read_text())
    assert json.loads(Path("new/sums-v2/manifest.json").read_text())["parent_dataset_id"] == first["build_id"]


def test_a_dry_run_builds_and_writes_nothing(records: Records) -> None:
    sums()
    code, out, _ = records.call("build", "sums-v1", "a.jsonl", "--limit", "3", "--dry-run")
    assert (code, out.splitlines()[1]) == (0, "would write datasets/sums-v1: 3 traces")
    assert files(records.root) == ["a.jsonl"]


def test_a_dry_run_says_what_would_be_refused(records: Records) -> None:
    sums()
    assert records.call("build", "sums-v1", "a.jsonl")[0] == 0
    assert records.call("build", "sums-v1", "a.jsonl", "--dry-run")[1].splitlines()[1].startswith("unchanged ")
    before = Path("datasets/sums-v1/manifest.json").read_bytes()
    code, message = records.refused("build", "sums-v1", "a.jsonl", "--limit", "3", "--dry-run")
    assert (code, "a dataset version is immutable" in message) == (1, True)
    assert Path("datasets/sums-v1/manifest.json").read_bytes() == before
    assert records.refused("dedupe", "a.jsonl", "--out", "a.jsonl", "--dry-run") == (
        2,
        "would refuse: a.jsonl: is there already; name another, or write over it with --force",
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["sums"], 2, "'sums' is no NAME-VERSION, such as sums-v1"),
        (["../x-v1"], 2, "dataset name '../x' is no key"),
        (["sums-v1", "--filter", "difficulty"], 2, "--filter difficulty: expected KEY=VALUE"),
        (["sums-v1", "--filter", "a=1", "--filter", "a=2"], 2, "--filter a is given twice"),
        (["sums-v1", "--filter", "colour=red"], 1, "no trace has meta.colour; keys of meta: difficulty, level"),
        (["sums-v1", "--strategy", "randon"], 2, "no strategy named 'randon'"),
        (["sums-v1", "--strategy", "random"], 2, "--seed is missing: name it for --strategy random or stratified"),
        (["sums-v1", "--by", "level"], 2, "--by goes with --strategy stratified or quality"),
        (["sums-v1", "--limit", "0"], 2, "argument --limit: 0, expected 1 or more"),
        (["sums-v1", "--limit", "many"], 2, "argument --limit: invalid whole number value: 'many'"),
        (["sums-v1", "--parent", "datasets/none"], 1, "datasets/none: no such file"),
    ],
)
def test_build_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    sums()
    found = records.refused("build", words[0], "a.jsonl", *words[1:])
    assert found[0] == code
    assert message in found[1]
    assert files(records.root) == ["a.jsonl"]


# ----------------------------------------------------------------------------- diff, dedupe, split, contamination


def test_diff_names_what_changed(records: Records) -> None:
    sums()
    write("b.jsonl", [line(1), line(2, final_answer="4"), *(line(i) for i in range(3, 21))])
    code, out, _ = records.call("diff", "a.jsonl", "b.jsonl", "--items", "1")
    lines = out.splitlines()
    assert code == 0
    assert "1 added, 1 removed, 1 changed, 18 unchanged" in lines[0]
    assert [text.split()[:2] for text in lines[1:]] == [["+", "t20"], ["-", "t0"], ["~", "t2"]]
    assert records.refused("diff", "a.jsonl", "b.jsonl", "--items", "-1")[0] == 2
    assert records.refused("diff", "a.jsonl", "none")[1].startswith("no dataset named 'none'; known: addition-v1")
    assert records.refused("diff", "-", "-")[1] == "- is named twice; stdin can be read once"


def test_dedupe_keeps_the_first_of_equal_traces(records: Records) -> None:
    write("a.jsonl", [line(0), line(0, id="again"), line(1), line(1, id="other", prompt=" 1+1= ")])
    code, out, _ = records.call("dedupe", "a.jsonl", "--out", "once.jsonl")
    assert (code, out.splitlines()) == (
        0,
        ["read 4 traces of a.jsonl: 1 duplicate", "  again repeats t0", "wrote once.jsonl: 3 traces"],
    )
    assert records.call("dedupe", "once.jsonl", "--by", "prompt", "--dry-run")[1].splitlines()[-2:] == [
        "  other repeats t1",
        "would keep 2 traces",
    ]
    assert records.refused("dedupe", "a.jsonl", "--out", "once.jsonl")[1].startswith("once.jsonl: is there already")
    assert records.refused("dedupe", "a.jsonl") == (
        2,
        "dedupe: name what to write with --out, or look first with --dry-run",
    )
    assert records.refused("dedupe", "a.jsonl", "--by", "id", "--dry-run")[0] == 2
    assert records.refused("dedupe", "a.jsonl", "--out", "once.csv")[1].startswith(
        "once.csv: expected a name that ends"
    )


def test_two_files_that_use_one_id_for_two_traces_are_refused(records: Records) -> None:
    sums(2)
    write("b.jsonl", [line(0), line(1, final_answer="3")])
    code, message = records.refused("dedupe", "a.jsonl", "b.jsonl", "--out", "once.jsonl")
    assert code == 1
    assert "t1" in message


def test_a_split_keeps_every_prompt_on_one_side_as_the_set_grows(records: Records) -> None:
    sums(60)
    code, out, _ = records.call("split", "a.jsonl", "--holdout", "0.3", "--out", "parts")
    assert (code, out.splitlines()[0]) == (0, "read 60 traces of a.jsonl")
    sides = [{one["prompt"] for one in traces.read(f"parts/{side}.jsonl")} for side in ("train", "holdout")]
    assert len(sides[0]) + len(sides[1]) == 60
    sums(90)
    assert records.refused("split", "a.jsonl", "--holdout", "0.3", "--out", "parts")[0] == 2
    dry = records.call("split", "a.jsonl", "--holdout", "0.3", "--out", "parts", "--force", "--dry-run")[1]
    assert "would write parts/train.jsonl, over what is there" in dry
    assert records.call("split", "a.jsonl", "--holdout", "0.3", "--out", "parts", "--force")[0] == 0
    grown = [{one["prompt"] for one in traces.read(f"parts/{side}.jsonl")} for side in ("train", "holdout")]
    assert sides[0] <= grown[0]
    assert sides[1] <= grown[1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--holdout", "1.5", "--out", "p"], 2, "--holdout 1.5: expected a share between 0 and 1"),
        (["--holdout", "nan", "--out", "p"], 2, "--holdout nan: expected a share between 0 and 1"),
        (["--holdout", "0.5"], 2, "the following arguments are required: --out"),
        (["--holdout", "0.5", "--out", "a.jsonl"], 2, "a.jsonl: is no folder"),
        (["--holdout", "1e-9", "--out", "p"], 1, "p/holdout.jsonl: none of 20 traces falls on this side"),
    ],
)
def test_split_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    sums()
    found = records.refused("split", "a.jsonl", *words)
    assert found[0] == code
    assert message in found[1]
    assert files(records.root) == ["a.jsonl"]


@pytest.mark.parametrize(
    ("words", "main", "other"),
    [
        (("split", "a.jsonl", "--holdout", "0.5", "--out", "p"), "p/train.jsonl", "p/holdout.jsonl"),
        (("ingest", "a.jsonl", "--lenient", "--out", "p/t.jsonl"), "p/t.jsonl", "p/rejected.jsonl"),
    ],
)
def test_the_main_file_is_renamed_last(
    records: Records, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], main: str, other: str
) -> None:
    """A command that dies between two renames leaves no file that looks as if all was there."""
    write("a.jsonl", [*(line(k) for k in range(20)), line(20, prompt="")])
    rename = Path.replace
    renamed: list[str] = []

    def failing(self: Path, target: Path) -> Path:
        if Path(target).parent.name != "p":
            return rename(self, target)
        if renamed:
            raise OSError(5, "Input/output error")
        renamed.append(Path(target).as_posix())
        return rename(self, target)

    if words[0] == "split":
        write("a.jsonl", [line(k) for k in range(20)])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", failing)
        code, message = records.refused(*words)
    assert (code, message) == (1, f"{main}: cannot be written: Input/output error")
    assert renamed == [other]
    assert files(records.root) == ["a.jsonl", other]
    assert records.call(*words, "--force")[0] == 0
    assert files(records.root) == sorted(["a.jsonl", main, other])


def test_contamination_is_counted_named_and_fails(records: Records) -> None:
    sums()
    items = [
        {"id": f"e{i}", "prompt": prompt, "expected_answer": "2"} for i, prompt in enumerate(["1+1=", " 2+1=", "x"])
    ]
    write("e.jsonl", items)
    code, out, _ = records.call("contamination", "a.jsonl", "e.jsonl")
    assert code == 1
    assert out.splitlines() == [
        "a.jsonl against e: 2 of 3 prompts in both",
        "exact: 1",
        "  e0: t1",
        "normalised: 1",
        "  e1: t2",
    ]
    assert records.call("contamination", "a.jsonl", "e.jsonl", "--allowed", "2")[0] == 0
    assert records.refused("contamination", "a.jsonl", "e.jsonl", "--allowed", "-1")[0] == 2
    assert records.refused("contamination", "a.jsonl", "e2.jsonl")[0] == 1
    assert records.refused("contamination", "a.jsonl", "e2")[1].startswith("no evalset named 'e2'; known: addition-")


# --------------------------------------------------------------------------------------------- generate, export, show


def test_generating_twice_gives_the_same_bytes(records: Records) -> None:
    for folder in ("one", "two"):
        words = ("generate", "addition", "--count", "30", "--seed", "3", "--as", "sums-v1", "--out", folder)
        assert records.call(*words)[0] == 0
    contents = [Path(folder, "sums-v1", "traces.jsonl").read_bytes() for folder in ("one", "two")]
    assert contents[0] == contents[1]
    assert contents[0].count(b"\n") == 30
    manifest = json.loads(Path("one/sums-v1/manifest.json").read_text())
    assert manifest["provenance"]["source"] == "generator:addition"
    assert records.call("generate", "golden", "--as", "texts-v1", "--dry-run")[1].startswith(
        "would write datasets/texts-v1"
    )
    assert not Path("datasets").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["adition", "--as", "a-v1"], 2, "no generator named 'adition'"),
        (["addition", "--as", "a"], 2, "'a' is no NAME-VERSION"),
        (["addition", "--as", "a-v1", "--count", "0"], 2, "argument --count: 0, expected 1 or more"),
    ],
)
def test_generate_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    found = records.refused("generate", *words)
    assert found[0] == code
    assert message in found[1]
    assert files(records.root) == []


def test_an_export_is_the_same_in_a_file_and_on_stdout(records: Records) -> None:
    sums(3)
    assert records.call("export", "a.jsonl", "--format", "messages", "--out", "m.jsonl") == (
        0,
        "wrote m.jsonl: 3 traces as messages\n",
        "",
    )
    code, out, _ = records.call("export", "a.jsonl", "--format", "messages", "--out", "-")
    assert (code, out) == (0, Path("m.jsonl").read_text())
    assert json.loads(out.splitlines()[0])["messages"][0] == {"role": "user", "content": "0+1="}


def test_traces_that_were_held_out_become_an_evalset(records: Records) -> None:
    write("a.jsonl", [line(0), line(1), line(2, prompt=" 1+1= ")])
    out = "wrote e.jsonl: 2 items, 1 repeated prompt left out\n"
    assert records.call("export", "a.jsonl", "--format", "evalset", "--out", "e.jsonl") == (0, out, "")
    items = traces.read("e.jsonl")
    assert items[0] == {"id": "t0", "prompt": "0+1=", "expected_answer": "1", "difficulty": "easy"}
    assert records.call("validate", "e.jsonl") == (0, "e.jsonl: 2 items, ok\n", "")
    assert records.call("contamination", "a.jsonl", "e.jsonl")[1].splitlines()[0].endswith("2 of 2 prompts in both")
    assert records.call("export", "a.jsonl", "--format", "evalset", "--out", "e.jsonl.gz")[0] == 0
    assert gzip.decompress(Path("e.jsonl.gz").read_bytes()) == Path("e.jsonl").read_bytes()
    code, out, err = records.call("export", "a.jsonl", "--format", "evalset", "--out", "-")
    assert (code, out, err) == (0, Path("e.jsonl").read_text(), "2 items, 1 repeated prompt left out\n")


def test_traces_in_place_of_an_evalset_are_told_how_to_become_one(records: Records) -> None:
    sums(3)
    records.call("build", "sums-v1", "a.jsonl")
    for reference in ("a.jsonl", "datasets/sums-v1"):
        message = (
            f"{reference}: holds traces, expected evalset items; make them with "
            f"`tunix-eval export {reference} --format evalset --out evalset.jsonl`"
        )
        assert records.refused("contamination", "a.jsonl", reference) == (1, message)


def test_an_export_of_traces_reads_again(records: Records) -> None:
    sums(3)
    records.call("export", "a.jsonl", "--format", "trace", "--out", "b.jsonl.gz")
    assert records.call("diff", "a.jsonl", "b.jsonl.gz")[1].strip().endswith("3 unchanged")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a.jsonl", "--format", "sft", "--out", "-"], 2, "no export format named 'sft'; known: "),
        (["a.jsonl", "--format", "trace", "--out", "a.jsonl"], 2, "a.jsonl: is there already"),
        (["a.jsonl", "--format", "trace", "--out", "a.csv"], 2, "a.csv: expected a name that ends in .jsonl"),
        (["a.jsonl", "--format", "evalset", "--style", "plain", "--out", "-"], 2, "format evalset takes no --style"),
        (["a.jsonl", "--format", "evalset", "--out", "e.parquet"], 2, "e.parquet: an evalset is written as .jsonl or"),
        (["a.jsonl", "--format", "messages", "--style", "x", "--out", "-"], 2, "no style named 'x'"),
        (["a.jsonl", "--format", "trace", "--out", "a.jsonl/b.jsonl"], 1, "a.jsonl/b.jsonl: cannot be written"),
        (["sums", "--format", "trace", "--out", "-"], 2, "no dataset named 'sums'"),
    ],
)
def test_export_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    sums(3)
    found = records.refused("export", *words)
    assert found[0] == code
    assert message in found[1]


def test_a_name_that_is_a_path_as_well_says_how_to_write_it(records: Records) -> None:
    sums()
    records.call("build", "sums-v1", "a.jsonl")
    assert records.refused("show", "sums-v1") == (
        2,
        "no dataset is registered as 'sums-v1'; for the path, write datasets/sums-v1",
    )


def test_show_marks_what_carries_loss_in_the_margin(records: Records) -> None:
    sums()
    code, out, err = records.call("show", "a.jsonl", "--number", "3", "--renderer", "gemma", "--style", "numbered")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "trace t2 (3 of 20): 54 tokens, 33 supervised; gemma, bytes, style numbered",
        "  <bos>",
        "  <start_of_turn>",
        "  user\\n",
        "  2+1=",
        "  <end_of_turn>",
        "  \\n",
        "  <start_of_turn>",
        "  model\\n",
        "+ Reasoning:\\n",
        "+ 1. 2+1 is 3\\n",
        "+ Answer: 3",
        "+ <end_of_turn>",
        "  \\n",
    ]


def test_show_gives_ids_and_colours_when_asked(records: Records) -> None:
    sums()
    plain = records.call("show", "a.jsonl", "--id", "t1", "--renderer", "plain", "--ids")[1].splitlines()
    assert plain[3:5] == ["  1+1=\\n", "     49 43 49 61 10"]
    coloured = records.call("show", "a.jsonl", "--id", "t1", "--renderer", "plain", "--color", "always")[1]
    assert "\x1b[2m  <bos>\x1b[0m" in coloured
    assert "\x1b[32m+ " in coloured
    assert "\x1b" not in records.call("show", "a.jsonl", "--id", "t1")[1]


def test_show_marks_what_a_run_file_would_supervise(records: Records) -> None:
    sums()
    words = ("show", "a.jsonl", "--renderer", "plain", "--style", "plain")
    answer = records.call(*words, "--supervise", "answer")[1].splitlines()
    assert [text for text in answer if text.startswith("+")] == ["+ 1", "+ <eos>"]
    weighted = records.call(*words, "--step-weight", "0.5")[1].splitlines()
    assert [text.split()[0] for text in weighted if text.startswith("+")] == ["+0.5", "+0.5", "+", "+"]


def test_show_gives_an_edition_its_options(records: Records) -> None:
    sums()
    words = ("show", "a.jsonl", "--renderer", "qwen3")
    thinking = records.call(*words)[1]
    assert "qwen3_nothink" in records.call(*words, "--renderer-option", "enable_thinking=false")[1] != thinking
    assert records.refused(*words, "--renderer-option", "thinking=false")[0] == 2


def test_a_trace_that_must_not_be_trained_on_is_refused_with_the_law(records: Records) -> None:
    sums()
    code, message = records.refused("show", "a.jsonl", "--renderer", "chatml_vllm")
    assert code == 1
    assert "breaks the law 'an edition has a stop token'" in message


def test_text_of_a_trace_cannot_steer_the_terminal_and_long_lines_are_folded(records: Records) -> None:
    write("a.jsonl", [line(0, prompt="\x1b[31mred\u202e\n" + "x" * 500)])
    code, out, _ = records.call("show", "a.jsonl")
    assert code == 0
    assert "\x1b" not in out
    assert "\\x1b[31mred\\u202e\\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_line_is_broken_at_spaces_and_never_in_an_escape(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    words = "sixteen eggs and three of them for breakfast every morning"
    content = f"{words}\n{'y' * 56}\x1b{'z' * 60}\x1b"
    write("a.jsonl", [line(0, steps=[{"i": 0, "type": "sum", "content": content}])])
    assert [text for text in records.call("show", "a.jsonl")[1].splitlines() if text.startswith("+")] == [
        "+ Reasoning:\\n",
        "+ 1. sixteen eggs and three of them for breakfast every ",
        "+   morning\\n",
        f"+ {'y' * 56}",
        f"+   \\x1b{'z' * 52}",
        f"+   {'z' * 8}\\x1b\\n",
        "+ Answer: 1",
        "+ <end_of_turn>",
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--id", "t99"], 2, "a.jsonl: no trace 't99' among 20: t0, t1, t2 and 17 more. Did you mean"),
        (["--number", "21"], 2, "a.jsonl: --number 21, expected 1 to 20"),
        (["--number", "0"], 2, "argument --number: 0, expected 1 or more"),
        (["--id", "t1", "--number", "1"], 2, "show: --id and --number both name a trace; give one"),
        (["--renderer", "gema"], 2, "no renderer named 'gema'"),
        (["--tokenizer", "byte"], 2, "no tokenizer named 'byte'"),
        (["--style", "x"], 2, "no style named 'x'; known: none, numbered, plain, tagged"),
        (["--supervise", "answer", "--step-weight", "0.5"], 2, "has both --supervise answer and --step-weight, but no"),
        (["--color", "on"], 2, "--color 'on': expected auto, always or never"),
    ],
)
def test_show_says_what_is_wrong(records: Records, words: list[str], code: int, message: str) -> None:
    sums()
    found = records.refused("show", "a.jsonl", *words)
    assert found[0] == code
    assert message in found[1]
