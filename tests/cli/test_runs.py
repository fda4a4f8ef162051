"""`tunix-eval runs`: what is recorded, what refers to it, and making room."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import filelock
import pytest
from records import Records

from tunix_eval.cli.shown_runs import age_text
from tunix_eval.digest import sha256_text
from tunix_eval.figures import bytes_text
from tunix_eval.run_inputs import record_traces
from tunix_eval.store import RunManifest, StartedRun, Store, write_atomic


class Trained:
    """A project's trained runs, with checkpoints of a known size."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.store = Store(records.root / "artifacts")

    def run(self, name: str = "addition", *, day: int = 1, init_from: str | None = None, **changed: Any) -> str:
        """Record a run of a day of January 2025 with 1,000 bytes of weights, and return its id."""
        run_id = sha256_text(f"{name} {day}")[:16]
        write_atomic(self.store.run_directory(run_id) / "checkpoint-final" / "weights", "w" * 1000)
        manifest = RunManifest(
            run_id=run_id,
            inputs={"seed": day, "training": {"learning_rate": day / 1000}},
            created_at=f"2025-01-{day:02}T12:00:00+00:00",
            dataset_key="addition-v1",
            dataset_sha256="0" * 64,
            sequences_sha256="0" * 64,
            recipe={"name": name},
            initial=init_from and {"run_id": init_from},
            training_config={},
            model_config={},
            trainer={"name": "flax", "version": "1", "source_sha256": "0" * 64},
            renderer={"name": "plain", "version": "1"},
            tokenizer={"name": "bytes", "version": "1"},
            seed=day,
            git_sha=None,
            git_dirty=None,
            packages={},
            device={"platform": "cpu", "kind": "cpu", "count": 1, "cpu_features": []},
            xla_flags="",
            steps=600,
            total_steps=600,
            parameter_count=527_000,
            tokens=1000,
            wall_seconds=12.5,
            resumed_from=None,
            status="complete",
            weights_sha256="ab" * 32,
            artifacts={},
        ).model_copy(update=changed)
        self.store.record_run(manifest)
        return run_id

    def judged(self, run_id: str, *, wrong: Iterable[int] = ()) -> None:
        """Record what a run was worth by its exact answers."""
        made = self.records.run(name="addition", seed=99, wrong=list(wrong), run_id=run_id)
        source, folder = self.records.directory(made), self.store.run_directory(run_id)
        for path in source.iterdir():
            path.rename(folder / path.name)
        source.rmdir()

    def unfinished(self, run_id: str = "5" * 16, *, steps: int = 800, checkpoint: int = 300) -> str:
        """Leave what a training leaves that was killed after a checkpoint, and while it wrote another."""
        folder = self.store.run_directory(run_id)
        self.store.record_start(run_id, StartedRun(name="long", seed=3, steps=steps, init_from=None))
        write_atomic(folder / "metrics.jsonl", "{}\n")
        write_atomic(folder / "checkpoints" / str(checkpoint) / "digests.json", "{}")
        write_atomic(folder / "checkpoints" / str(checkpoint + 100) / "arrays", "half")
        return run_id

    def completions(self, *run_ids: str, key: str = "ab", day: int | None = None) -> Path:
        """Cache completions that note these runs, last written on a day of January 2025."""
        path = self.store.root / "completions" / f"{key * 32}.jsonl"
        write_atomic(path, " ".join(["0" * 64, *run_ids]) + "\n[]\n")
        return path if day is None else on(path, day)

    def session(self, number: int, *names: str) -> Path:
        """Leave the verdicts of a session that was about runs of these names."""
        folder = self.store.root / "sessions" / f"20250101T0000{number:02}Z-{number:08}"
        write_atomic(folder / "verdicts.json", json.dumps({"runs": [{"name": name} for name in names]}))
        return folder

    def ids(self) -> set[str]:
        return {path.name for path in (self.store.root / "runs").iterdir()}


def on(path: Path, day: int) -> Path:
    """Make a file one of a day of January 2025."""
    moment = datetime(2025, 1, day, 12, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def trained(records: Records) -> Trained:
    """A project without runs."""
    return Trained(records)


def listed(trained: Trained) -> dict[str, dict[str, Any]]:
    code, out, err = trained.records.call("runs", "list", "--json")
    assert (code, err) == (0, "")
    return {one["run_id"]: one for one in json.loads(out)}


def test_nothing_recorded_is_said(trained: Trained) -> None:
    assert trained.records.call("runs", "list") == (0, "no runs in artifacts\n", "")
    assert not trained.store.root.exists()


def test_runs_are_listed_newest_first_with_state_size_and_age(trained: Trained) -> None:
    old, new, stopped = trained.run(day=1), trained.run(day=2), trained.unfinished()
    cut = trained.run("short", day=3, status="truncated", steps=5)
    code, out, _ = trained.records.call("runs", "list")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["run", stopped, cut, new, old, "4"]
    assert re.fullmatch(rf"{stopped}  long      stopped at 300 of 800  3     \d+ B +now", lines[1].rstrip())
    assert re.fullmatch(rf"{cut}  short     cut at 5 of 600 {{8}}3     2\.\d+ kB  \d+ days", lines[2].rstrip())
    assert re.fullmatch(r"4 runs, [\d.]+ kB in artifacts", lines[-1])


def test_json_says_the_same(trained: Trained) -> None:
    run_id = trained.run(day=2)
    one = listed(trained)[run_id]
    directory = trained.store.run_directory(run_id)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert one == {
        "run_id": run_id,
        "name": "addition",
        "status": "complete",
        "seed": 2,
        "steps": 600,
        "total_steps": 600,
        "created_at": "2025-01-02T12:00:00+00:00",
        "bytes": size,
        "directory": f"artifacts/runs/{run_id}",
        "referred_by": [],
    }


def test_what_refers_to_a_run_is_found(trained: Trained) -> None:
    base, other = trained.run(day=1), trained.run(day=2)
    child = trained.run("child", day=3, init_from=base)
    write_atomic(trained.records.root / "baselines" / "addition" / "heldout.json", f'{{"damaged {base}')
    (trained.store.run_directory(other) / "as" / "addition-temperature").mkdir(parents=True)
    found = {run_id: one["referred_by"] for run_id, one in listed(trained).items()}
    assert found == {
        base: ["baseline addition/heldout", f"run {child} began from it"],
        other: ["evaluated as addition-temperature"],
        child: [],
    }


def test_evaluations_without_a_training_are_told_from_runs(trained: Trained) -> None:
    run_id = trained.records.run(name="served", recipe=None)
    folder = trained.records.directory(run_id)
    (folder / "as").mkdir()
    evaluated = folder / "as" / "served"
    evaluated.mkdir()
    for path in folder.glob("*.json*"):
        path.rename(evaluated / path.name)
    one = listed(trained)[run_id]
    assert (one["status"], one["name"], one["referred_by"]) == ("predictions", "served", [])
    code, out, _ = trained.records.call("runs", "show", run_id[:6])
    assert code == 0
    assert "evaluated  addition-heldout as served" in out


def test_a_damaged_manifest_is_listed_and_can_be_removed(trained: Trained) -> None:
    run_id = trained.run()
    (trained.store.run_directory(run_id) / "run_manifest.json").write_text("{")
    assert listed(trained)[run_id]["status"] == "damaged"
    assert trained.records.call("runs", "rm", run_id)[0] == 0
    assert trained.ids() == set()


def test_a_folder_that_is_no_run_is_left_alone(trained: Trained) -> None:
    run_id = trained.run()
    write_atomic(trained.store.root / "runs" / "backup" / "notes.txt", "mine")
    assert set(listed(trained)) == {run_id}
    assert trained.records.call("runs", "gc", "--keep", "0")[0] == 0
    assert trained.ids() == {"backup"}


def test_a_date_that_is_none_is_read_off_the_files(trained: Trained) -> None:
    run_id = trained.run(created_at="yesterday")
    assert datetime.now(UTC) - datetime.fromisoformat(listed(trained)[run_id]["created_at"]) < timedelta(minutes=5)


def test_a_run_in_training_is_listed_so_and_stays(trained: Trained) -> None:
    run_id = trained.unfinished()
    with trained.store.lock(f"run-{run_id}"):
        assert listed(trained)[run_id]["status"] == "training"
        for words in (("rm", run_id, "--force"), ("gc", "--keep", "0", "--force")):
            trained.records.call("runs", *words)
            assert trained.ids() == {run_id}
        code, message = trained.records.refused("runs", "rm", run_id, "--force")
        assert (code, message) == (1, f"run {run_id} (long) is being trained; stop that first")
    assert listed(trained)[run_id]["status"] == "unfinished"


def test_one_run_is_shown_whole(trained: Trained) -> None:
    base = trained.run(day=1)
    run_id = trained.run(day=2, init_from=base)
    code, out, _ = trained.records.call("runs", "show", run_id[:5])
    assert code == 0
    for text in (
        f"run         {run_id}",
        "steps       600 of 600, 12.5 s",
        "model       527,000 parameters by flax",
        "device      1 cpu (cpu)",
        f"began from  {base}",
    ):
        assert text in out.splitlines()
    shown = json.loads(trained.records.call("runs", "show", run_id, "--json")[1])
    assert shown["manifest"]["run_id"] == run_id
    assert shown["sizes"]["checkpoint-final"] == 1000


def test_shown_run_has_recipe_data_and_scores(trained: Trained) -> None:
    run_id = trained.run(
        model={"layers": 2, "width": 128},
        training_config={"steps": 600, "learning_rate": 2e-3, "rows": 16, "clip_norm": None, "loss_chunk": None},
        recipe={"name": "addition", "style": "numbered", "supervise": "last"},
        truncation={"mode": "error"},
    )
    trained.judged(run_id, wrong=range(10))
    record_traces(trained.store.run_directory(run_id), {"a": "0", "b": "1"})
    code, out, _ = trained.records.call("runs", "show", run_id)
    assert code == 0
    shown = " ".join(out.split())
    for text in (
        "dataset addition-v1, 2 traces, sha256 0000000000000000",
        "format renderer plain, tokenizer bytes, style numbered, supervise last, truncation error",
        "training learning_rate 0.002, rows 16, clip_norm unset",
        "527,000 parameters by flax layers 2, width 128",
        "evaluated addition-heldout as addition: exact 0.900 (0.826 to 0.945) over 100 items",
    ):
        assert text in shown
    assert max(map(len, out.splitlines())) <= 80
    (evaluation,) = json.loads(trained.records.call("runs", "show", run_id, "--json")[1])["evaluations"]
    assert evaluation["metrics"]["exact"] == {
        "mean": 0.9,
        "ci95": pytest.approx([0.826, 0.945], abs=1e-3),
        "n_items": 100,
    }


def test_two_runs_differ_in_inputs_and_scores(trained: Trained) -> None:
    before, after = trained.run(day=1), trained.run(day=2)
    trained.judged(before, wrong=range(10))
    trained.judged(after, wrong=range(60))
    code, out, _ = trained.records.call("runs", "diff", before[:6], after)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith(f"before {before} addition, seed 1")
    assert lines[2:] == [
        "learning_rate 0.001 -> 0.002",
        "seed 1 -> 2",
        "addition-heldout exact 0.900 -> 0.400 over 100 items",
    ]
    said = json.loads(trained.records.call("runs", "diff", before, after, "--json")[1])
    assert [one["what"] for one in said["differences"]] == ["learning_rate", "seed"]
    assert said["scores"] == [{"evalset": "addition-heldout", "metric": "exact", "before": 0.9, "after": 0.4}]


def test_a_run_without_record_of_its_inputs_is_not_compared(trained: Trained) -> None:
    run_id, stopped = trained.run(), trained.unfinished()
    code, message = trained.records.refused("runs", "diff", run_id, stopped)
    assert (code, message.partition(":")[0]) == (1, f"run {stopped} (long, stopped at 300 of 800)")
    assert trained.records.refused("runs", "diff", run_id, run_id)[0] == 2


def test_a_run_is_shown_by_its_name_where_no_other_has_it(trained: Trained) -> None:
    trained.run(day=1)
    long = trained.unfinished()
    assert long in trained.records.call("runs", "show", "long")[1]
    holdout = trained.run(day=2, holdout_loss=0.5, best_step=400)
    shown = trained.records.call("runs", "show", holdout)[1]
    assert re.search(r"^holdout +0\.5000 nats a token, of the weights of step 400, the best$", shown, re.MULTILINE)
    assert trained.records.refused("runs", "show", "addition")[0] == 2


def test_a_gate_on_a_run_that_was_not_evaluated_says_that_it_is_there(trained: Trained) -> None:
    run_id = trained.run(day=1)
    code, message = trained.records.refused("gate", "addition")
    said = f"'addition' was trained, but not evaluated: {run_id} (addition, seed 1); run a test that needs its scores"
    assert (code, message) == (1, said)


@pytest.mark.parametrize(("reference", "what"), [("zzzz", "no such run"), ("", "no such run")])
def test_an_unknown_run_is_refused_with_those_that_there_are(trained: Trained, reference: str, what: str) -> None:
    run_id = trained.run()
    code, message = trained.records.refused("runs", "show", reference)
    assert (code, message) == (2, f"run '{reference}': {what} in artifacts; there are: {run_id} (addition)")


def test_first_digits_of_several_runs_name_none(trained: Trained) -> None:
    trained.unfinished("5" * 16)
    trained.unfinished("5" * 15 + "6")
    code, message = trained.records.refused("runs", "rm", "555")
    assert code == 2
    assert "2 runs have such an id or name" in message
    assert len(trained.ids()) == 2


def test_removing_leaves_nothing_of_a_run_and_the_others_whole(trained: Trained) -> None:
    gone, stays = trained.run(day=1), trained.run(day=2)
    code, out, _ = trained.records.call("runs", "rm", gone, "--dry-run")
    assert code == 0
    assert out.splitlines()[0].startswith(f"would remove {gone} (addition, complete, 2.")
    assert trained.ids() == {gone, stays}
    code, out, _ = trained.records.call("runs", "rm", gone)
    assert out.splitlines()[-1].startswith("removed 1 run, 2.")
    assert trained.ids() == {stays}
    assert trained.store.find_run(gone) is None
    assert trained.store.find_run(stays) is not None
    assert not (trained.store.root / "removed").exists()


def test_a_run_that_something_refers_to_is_refused_and_nothing_goes(trained: Trained) -> None:
    base, other = trained.run(day=1), trained.run(day=2)
    write_atomic(trained.records.root / "baselines" / "addition" / "heldout.json", f'"{base}"')
    expected = f"run {base} (addition) is referred to: baseline addition/heldout; --force removes it all the same"
    assert trained.records.refused("runs", "rm", other, base) == (1, expected)
    assert trained.records.refused("runs", "rm", base, "--dry-run") == (1, f"would refuse: {expected}")
    assert trained.ids() == {base, other}
    assert trained.records.call("runs", "rm", other, base, "--force")[0] == 0
    assert trained.ids() == set()


def test_a_run_goes_with_the_one_that_began_from_it(trained: Trained) -> None:
    base = trained.run(day=1)
    child = trained.run("child", day=2, init_from=base)
    assert trained.records.refused("runs", "rm", base)[0] == 1
    assert trained.records.call("runs", "rm", base, child)[0] == 0


def test_naming_a_run_twice_is_refused(trained: Trained) -> None:
    run_id = trained.run()
    assert trained.records.refused("runs", "rm", run_id, run_id[:4])[0] == 2
    assert trained.ids() == {run_id}


def test_gc_keeps_the_newest_of_each_name_and_what_is_referred_to(trained: Trained) -> None:
    days = [trained.run(day=day) for day in range(1, 6)]
    other = trained.run("other", day=1)
    write_atomic(trained.records.root / "baselines" / "addition" / "heldout.json", f'"{days[0]}"')
    code, out, _ = trained.records.call("runs", "gc", "--keep", "2", "--dry-run")
    assert code == 0
    lines = out.splitlines()
    assert re.fullmatch(rf"kept {days[0]} \(addition, complete, [\d.]+ kB\): baseline addition/heldout", lines[0])
    assert [line.split()[2] for line in lines[1:-1]] == [days[2], days[1]]
    assert lines[-1].startswith("would remove 2 runs, 4.")
    assert len(trained.ids()) == 6
    trained.records.call("runs", "gc", "--keep", "2")
    assert trained.ids() == {days[0], days[3], days[4], other}
    trained.records.call("runs", "gc", "--keep", "0", "--force")
    assert trained.ids() == set()


def test_gc_removes_what_was_replaced_and_not_what_replaced_it(trained: Trained) -> None:
    run_id = trained.run()
    trained.store.set_aside(run_id)
    trained.run()
    code, out, _ = trained.records.call("runs", "gc", "--keep", "1")
    assert (code, out.splitlines()[-1].split(",")[0]) == (0, "removed 1 run")
    assert trained.ids() == {run_id}
    assert not list((trained.store.root / "replaced").iterdir())


def test_gc_keeps_what_was_replaced_until_the_training_that_replaces_it_is_finished(trained: Trained) -> None:
    run_id = trained.run()
    trained.store.set_aside(run_id)
    trained.unfinished(run_id)
    trained.records.call("runs", "gc", "--keep", "0")
    assert [path.name for path in (trained.store.root / "replaced").iterdir()] == [run_id]


def test_gc_lets_no_unfinished_or_short_run_take_the_place_of_a_finished_one(trained: Trained) -> None:
    finished, short = trained.run("long", day=1), trained.run("long", day=2, status="truncated", steps=5)
    stopped = trained.unfinished()
    trained.records.call("runs", "gc", "--keep", "1")
    assert trained.ids() == {finished, stopped}
    assert short not in trained.ids()


def test_gc_lets_a_chain_of_runs_go_together(trained: Trained) -> None:
    base = trained.run(day=1)
    middle = trained.run(day=2, init_from=base)
    newest = trained.run(day=3)
    trained.records.call("runs", "gc", "--keep", "1")
    assert trained.ids() == {newest}
    assert base != middle


def test_gc_removes_completions_whose_runs_are_gone(trained: Trained) -> None:
    old, new = trained.run(day=1), trained.run(day=2)
    olds, shared = trained.completions(old, key="aa"), trained.completions(old, new, key="bb")
    gone, news = trained.completions("f" * 16, key="cc"), trained.completions(new, key="dd")
    size = bytes_text(olds.stat().st_size + gone.stat().st_size)
    code, out, _ = trained.records.call("runs", "gc", "--keep", "1", "--dry-run")
    assert (code, out.splitlines()[1]) == (0, f"would remove 2 files of completions, {size}")
    assert out.splitlines()[2].startswith("would remove 1 run and what is named above, 2.")
    assert olds.exists()
    assert trained.ids() == {old, new}
    trained.records.call("runs", "gc", "--keep", "1")
    assert [path.exists() for path in (olds, shared, gone, news)] == [False, True, False, True]


def test_completions_that_note_no_run_go_where_they_are_older_than_every_run(trained: Trained) -> None:
    trained.run(day=3)
    older, newer = trained.completions(key="aa", day=2), trained.completions(key="bb", day=4)
    trained.records.call("runs", "gc", "--keep", "1")
    assert [older.exists(), newer.exists()] == [False, True]
    trained.records.call("runs", "gc", "--keep", "0")
    assert not newer.exists()


def test_completions_that_note_no_run_stay_beside_a_checkpoint_from_elsewhere(trained: Trained) -> None:
    run_id = trained.records.run(name="served", source="checkpoint")
    folder = trained.records.directory(run_id)
    (folder / "as" / "served").mkdir(parents=True)
    for path in folder.glob("*.json*"):
        path.rename(folder / "as" / "served" / path.name)
    kept = trained.completions(day=1)
    trained.records.call("runs", "gc", "--keep", "1")
    assert kept.exists()


def test_gc_keeps_the_newest_sessions_of_each_name(trained: Trained) -> None:
    trained.run()
    sums = [trained.session(number, "sums") for number in range(4)]
    # The only one about another name, too.
    trained.session(0, "sums", "rare")
    bare, damaged = trained.session(9), trained.session(8)
    (damaged / "verdicts.json").write_text("{")
    trained.records.call("runs", "gc", "--keep", "1")
    assert [path.exists() for path in (*sums, bare, damaged)] == [True, False, False, True, True, False]


def test_gc_removes_what_a_session_left_that_was_killed_and_not_what_one_needs_that_runs(trained: Trained) -> None:
    killed, running = (trained.store.root / "sessions" / name for name in ("20250101T000000Z-a", "20250102T000000Z-b"))
    for folder in (killed, running):
        write_atomic(folder / "retrained" / ("0" * 16), "")
    for path in (killed / "retrained" / ("0" * 16), killed / "retrained", killed):
        on(path, 1)
    trained.records.call("runs", "gc", "--keep", "0")
    assert [killed.exists(), running.exists()] == [False, True]


def test_gc_leaves_completions_and_sessions_while_a_session_works(trained: Trained) -> None:
    old, _ = trained.run(day=1), trained.run(day=2)
    completions, session = trained.completions(old), trained.session(1, "addition")
    with trained.store.lock("completions-abababababababab"):
        code, out, _ = trained.records.call("runs", "gc", "--keep", "1")
        assert code == 0
        assert re.match(r"kept 1 file of completions, \d+ B: a session works in artifacts\n", out)
        trained.records.call("runs", "gc", "--keep", "0")
        assert completions.exists()
        assert session.exists()
    assert trained.ids() == set()
    trained.records.call("runs", "gc", "--keep", "0")
    assert not completions.exists()
    assert not session.exists()


def test_the_folder_of_a_killed_process_is_counted_and_goes_and_that_of_a_living_one_stays(trained: Trained) -> None:
    machine = trained.store.root / "compiled" / "0123456789abcdef"
    write_atomic(machine / "jit_f-1-cache", "p" * 1000)
    dead, alive = machine / ".11-dead", machine / ".12-alive"
    for folder in (dead, alive):
        write_atomic(folder / "lock", "")
        (folder / "jit_f-1-cache").hardlink_to(machine / "jit_f-1-cache")
    write_atomic(dead / "jit_g-2-cache", "p" * 500)
    with filelock.FileLock(alive / "lock"):
        _, out, _ = trained.records.call("runs", "list")
        # A program with three names is counted once.
        assert out.splitlines()[1] == "besides: 1 compiled program, 1 kB; 1 leftover of killed processes, 500 B"
        code, out, _ = trained.records.call("runs", "gc", "--keep", "1")
        assert (code, out.splitlines()[0]) == (0, "removed 1 leftover of killed processes, 500 B")
        assert [dead.exists(), alive.exists()] == [False, True]
    assert (machine / "jit_f-1-cache").exists()


def test_what_is_there_beside_runs_is_counted(trained: Trained) -> None:
    run_id = trained.run()
    size = bytes_text(trained.completions(run_id).stat().st_size)
    trained.session(1, "addition")
    _, out, _ = trained.records.call("runs", "list")
    assert out.splitlines()[-1] == f"besides: 1 file of completions, {size}; 1 session, 32 B"
    _, out, _ = trained.records.call("runs", "show", run_id)
    assert f"cached     1 file of completions, {size}" in out.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        'checkpoint = "{run_id:.6}"',
        'checkpoint = "../artifacts/runs/{run_id}"',
        '[model]\ninit_from = "{run_id}"',
    ],
)
def test_a_run_that_a_run_file_names_is_kept(trained: Trained, text: str) -> None:
    run_id, other = trained.run(day=1), trained.run(day=2)
    write_atomic(trained.records.root / "evals" / "judge.toml", text.format(run_id=run_id))
    write_atomic(trained.records.root / "evals" / "damaged.toml", f'checkpoint = "{other}')
    write_atomic(trained.records.root / ".hidden" / "judge.toml", f'checkpoint = "{other}"')
    assert listed(trained)[run_id]["referred_by"] == ["run file evals/judge.toml"]
    _, out, _ = trained.records.call("runs", "gc", "--keep", "0")
    assert out.splitlines()[0].endswith(": run file evals/judge.toml")
    assert trained.ids() == {run_id}


@pytest.mark.parametrize("words", [("runs",), ("runs", "lst"), ("runs", "gc"), ("runs", "gc", "--keep", "-1")])
def test_a_wrong_command_is_one_line(trained: Trained, words: tuple[str, ...]) -> None:
    assert trained.records.refused(*words)[0] == 2


def test_a_folder_that_is_not_there_is_refused(trained: Trained) -> None:
    code, message = trained.records.refused("runs", "list", "--artifacts", "nowhere")
    assert (code, message) == (2, "--artifacts nowhere: no such folder")
    code, message = trained.records.refused("runs", "list", "--baselines", "nowhere")
    assert (code, message) == (2, "--baselines nowhere: no such folder")


def test_where_baselines_of_runs_elsewhere_are_not_found_that_is_said(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = trained.run()
    write_atomic(trained.records.root / "baselines" / "addition" / "heldout.json", f'"{base}"')
    artifacts, baselines = trained.store.root, trained.records.root / "baselines"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    gc = ("runs", "gc", "--keep", "0", "--dry-run", "--artifacts", str(artifacts))
    _, out, _ = trained.records.call(*gc)
    assert out.splitlines()[0].startswith("note: no baselines in baselines")
    _, out, _ = trained.records.call(*gc, "--baselines", str(baselines))
    assert out.splitlines()[0].startswith(f"kept {base}")


@pytest.mark.parametrize(
    ("passed", "text"),
    [(timedelta(seconds=20), "now"), (timedelta(minutes=1), "1 minute"), (timedelta(hours=30), "1 day")],
)
def test_an_age_is_in_the_largest_unit(passed: timedelta, text: str) -> None:
    assert age_text(datetime.now(UTC) - passed) == text
