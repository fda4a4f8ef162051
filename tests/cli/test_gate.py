"""`tunix-eval gate`: verdicts from records alone."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
from records import EVALSET, Records, addition

from tunix_eval.gate import baseline_runs, decide, read_baseline, run_scores
from tunix_eval.records import RunScores
from tunix_eval.scoring import read_eval
from tunix_eval.specs import GateSpec
from tunix_eval.store import StartedRun, Store, write_atomic


def scores(records: Records, run_id: str, seed: int, weights: str = "") -> RunScores:
    scored = read_eval(records.directory(run_id) / f"eval_after.{EVALSET}.jsonl")
    return run_scores(scored, "exact", run_id=run_id, seed=seed, weights_sha256=weights or run_id)


def with_baseline(records: Records) -> None:
    """Five runs with 0 to 4 of 100 items wrong: mean 0.98, sd sqrt(2.5) / 100."""
    records.baseline(*(records.run(seed=seed, wrong=range(seed)) for seed in range(5)))


def test_a_run_like_its_baseline_passes(records: Records) -> None:
    with_baseline(records)
    code, out, err = records.call("gate", records.run(seed=9, wrong=range(2)))
    assert (code, err) == (0, "")
    assert out.splitlines()[1:3] == [
        "addition on addition-heldout",
        "  passed  no_worse exact  0.980 -> 0.980  +0.000  -0.031 to 0.031  0.50",
    ]


def test_a_worse_run_fails_and_says_why(records: Records) -> None:
    with_baseline(records)
    code, out, _ = records.call("gate", records.run(seed=9, wrong=range(8))[:8])
    assert code == 1
    assert "  failed  no_worse exact  0.980 -> 0.920  -0.060  " in out
    assert "\nno_worse: addition/exact: 0.980 -> 0.920 over 100 items, 1 run against 5 (drop\n0.060" in out


def test_the_verdict_is_that_of_a_session(records: Records) -> None:
    with_baseline(records)
    run_id = records.run(seed=9, wrong=range(8))
    code, out, _ = records.call("gate", run_id, "--margin", "0.05", "--confirm", "0", "--json")
    held = read_baseline(records.root / "baselines" / "addition" / f"{EVALSET}.json")
    expected = decide(
        GateSpec(rule="no_worse", metric="exact", margin=0.05, confirm=0),
        run_name="addition",
        evalset=EVALSET,
        current=[scores(records, run_id, 9)],
        reference=baseline_runs(held, "exact"),
        lower_is_better=False,
        bounds=(0.0, 1.0),
    )
    assert code == 0
    assert json.loads(out)["verdicts"] == [json.loads(msgspec.json.encode(expected))]


def test_a_near_drop_is_decided_with_the_fresh_seeds_that_are_recorded(records: Records) -> None:
    with_baseline(records)
    run_id = records.run(seed=5, wrong=range(8))
    records.run(seed=6, wrong=range(2))
    assert "1 run against 5" in records.call("gate", run_id)[1]  # seed 7 is missing
    records.run(seed=7, wrong=range(2), prompts_sha256="other prompts")
    assert "1 run against 5" in records.call("gate", run_id)[1]
    records.run(seed=7, wrong=range(2))
    code, out, _ = records.call("gate", run_id, "--json")
    # (0.92 + 0.98 + 0.98) / 3; pooled over 5 + 3 runs the drop of 0.02 has t 0.02 / (0.02380 / sqrt(15 / 8)) = 1.15,
    # p 0.147; item noise is known beside it, and the spread more likely small than large.
    assert (code, json.loads(out)["verdicts"][0]["current"]) == (0, 0.96)
    assert json.loads(out)["verdicts"][0]["p_value"] == pytest.approx(0.147, abs=0.03)


def test_a_verdict_of_a_gpu_is_of_its_run_alone(records: Records) -> None:
    note = "gpu without --xla_gpu_deterministic_ops: a run trained or evaluated again may differ; this verdict is of "
    with_baseline(records)
    gpu = {"platform": "gpu", "xla_flags": ""}
    code, out, _ = records.call("gate", records.run(seed=9, environment=gpu), "--json")
    assert (code, json.loads(out)["verdicts"][0]["notes"]) == (0, [f"{note}this run alone"])
    fixed = gpu | {"xla_flags": "--xla_gpu_deterministic_ops=true"}
    assert (
        json.loads(records.call("gate", records.run(seed=9, environment=fixed), "--json")[1])["verdicts"][0]["notes"]
        == []
    )


def test_several_runs_are_one_current_side(records: Records) -> None:
    with_baseline(records)
    runs = [records.run(seed=seed, wrong=range(8)) for seed in (10, 11, 12)]
    code, out, _ = records.call("gate", *runs)
    assert code == 1
    assert "3 runs against 5" in " ".join(out.split())


def test_every_evalset_is_gated_and_one_that_fails_is_enough(records: Records) -> None:
    other = addition(name="second")
    for evalset in (addition(), other):
        records.baseline(
            *(records.run(seed=s, wrong=range(s), evalset=evalset) for s in range(5)), evalset=evalset.name
        )
    run_id = records.run(seed=9)
    records.run(seed=9, wrong=range(20), evalset=other)
    code, out, _ = records.call("gate", run_id)
    assert code == 1
    assert [line.split()[0] for line in out.splitlines() if " no_worse " in line] == ["passed", "failed"]
    assert records.call("gate", run_id, "--evalset", EVALSET)[0] == 0


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        (["--rule", "at_least", "--value", "0.92"], "passed"),
        (["--rule", "at_least", "--value", "0.93"], "failed"),
        (["--rule", "at_most", "--metric", "answer_nll", "--value", "2"], "passed"),
        (["--rule", "max_drop", "--drop", "2%"], "failed"),
        (["--rule", "max_drop", "--drop", "0.06"], "passed"),
        (["--rule", "non_inferior", "--margin", "0.2"], "passed"),
        (["--rule", "non_inferior", "--margin", "0.06"], "failed"),
        (["--rule", "non_inferior", "--margin", "0.06", "--unproven", "skip"], "skipped"),
        (["--alpha", "0.001"], "passed"),
    ],
)
def test_every_rule_decides_from_records(records: Records, options: list[str], outcome: str) -> None:
    with_baseline(records)
    code, out, _ = records.call("gate", records.run(seed=9, wrong=range(8), nll=[1.5] * 100), *options)
    assert out.splitlines()[2].split()[0] == outcome
    assert code == (outcome == "failed")


def test_better_compares_with_another_run(records: Records) -> None:
    ours = records.run(seed=0)
    theirs = records.run(name="answers", recipe="other", wrong=range(10))
    code, out, _ = records.call("gate", ours, "--rule", "better", "--than", "answers", "--test", "exact")
    assert code == 0
    assert "  passed  better exact  0.900 -> 1.000  +0.100" in out
    assert "0.0010" in out  # 1 / 1024: ten of ten
    assert records.call("gate", theirs, "--rule", "better", "--than", "addition")[0] == 1


def test_only_what_has_a_name_of_its_own_is_found_by_name(records: Records) -> None:
    first, second = records.run(seed=0), records.run(seed=3)
    code, message = records.refused("gate", "addition")
    assert code == 2
    assert message.startswith("'addition' is 2 runs; name one by its id: ")
    for run_id, seed, day in ((first, 0, 1), (second, 3, 4)):
        assert f"{run_id} (addition, seed {seed}, evaluated 2025-01-0{day}T00:00:00+00:00)" in message
    assert records.refused("gate", "")[0] == 2
    code, message = records.refused("gate", "adition")
    assert (code, message) == (
        2,
        "no evaluated run in artifacts named 'adition'; known: addition. Did you mean 'addition'?",
    )


def test_a_run_is_found_by_its_directory(records: Records) -> None:
    run_id = records.run(artifacts="elsewhere")
    rule = ("--rule", "at_least", "--value", "1")
    assert records.call("gate", f"elsewhere/runs/{run_id}", *rule)[0] == 0
    assert records.call("gate", run_id[:4], *rule, "--artifacts", "elsewhere")[0] == 0
    assert records.refused("gate", "nowhere/at/all", *rule) == (
        1,
        "nowhere/at/all: holds no evaluation; evaluate the run again",
    )


def test_the_directories_are_those_of_the_settings(records: Records) -> None:
    (records.root / "pyproject.toml").write_text('[tool.tunix_eval]\nartifacts = "made"\nbaselines = "kept"\n')
    base = records.run()
    records.baseline(base, folder="kept")
    run_id = records.run(seed=1, artifacts="made")
    assert records.call("gate", run_id, "--margin", "0.05")[0] == 0
    assert (
        "baselines/addition/addition-heldout.json: no such baseline"
        in records.refused("gate", run_id, "--baselines", "baselines")[1]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rule", "better"], "gate: better needs than"),
        (["--rule", "at_least"], "gate: at_least needs value"),
        (["--value", "1"], "gate: no_worse takes no value; it takes evalset, alpha, margin, confirm, confirm_below"),
        (["--alpha", "0.7"], "gate: alpha: Input should be less than 0.5, found 0.7"),
        (["--margin", "nan"], "gate: margin: Input should be a finite number, found nan"),
        (["--rule", "max_drop", "--drop", "2 percent"], "gate: drop: found '2 percent', expected a share such as"),
        (["--rule", "no_wors"], "gate: rule: found 'no_wors', expected no_worse, non_inferior"),
        (["--metric", "exakt"], "no metric measured for run "),
        (["--evalset", "addition"], "no evalset that run "),
        (["--rule", "at_least", "--value", "92"], "addition/exact: value 92 is on the wrong scale"),
        (["--alpha", "small"], "argument --alpha: invalid float value: 'small'; see `tunix-eval gate --help`"),
        (["--gates", "missing.toml"], "missing.toml: no such run file"),
        (["--gates", "x.toml", "--rule", "better"], "--gates decides the gates as the run file has them; leave out"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(records: Records, options: list[str], message: str) -> None:
    code, found = records.refused("gate", records.run(), *options)
    assert code == 2
    assert found.startswith(message)


def test_a_missing_baseline_fails(records: Records) -> None:
    code, message = records.refused("gate", records.run())
    assert code == 1
    assert message.startswith("baselines/addition/addition-heldout.json: no such baseline; run `pytest --tunix-train")


@pytest.mark.parametrize(
    ("changed", "what"),
    [({"prompts_sha256": "x"}, "other prompts"), ({"evalset": addition(50)}, "another evalset")],
)
def test_a_foreign_baseline_fails(records: Records, changed: dict[str, object], what: str) -> None:
    records.baseline(records.run())
    code, message = records.refused("gate", records.run(seed=1, **changed))  # type: ignore[arg-type]
    assert code == 1
    assert f"made with {what} (" in message


def test_a_truncated_run_is_not_gated(records: Records) -> None:
    run_id = records.run(status="truncated")
    code, message = records.refused("gate", run_id)
    assert (code, message) == (
        1,
        f"run {run_id} (addition) on addition-heldout: was stopped before its last step; a truncated run is not gated",
    )


def test_a_stopped_run_is_not_decided_and_does_not_pass(records: Records) -> None:
    run_id = "0123456789abcdef"
    Store(records.root / "artifacts").record_start(
        run_id, StartedRun(name="addition", seed=0, steps=800, init_from=None)
    )
    write_atomic(records.directory(run_id) / "checkpoints" / "300" / "digests.json", "{}")
    reason = f"run 'addition' ({run_id}) stopped at 300 of 800 steps; run pytest --tunix-train again to go on"
    for reference in ("addition", run_id[:6], f"artifacts/runs/{run_id}"):
        code, out, _ = records.call("gate", reference, "--metric", "exact", "--json")
        (found,) = json.loads(out)["verdicts"]
        assert (code, found["outcome"], found["rule"], found["reason"]) == (1, "stopped", "no_worse", reason)
        assert {found[name] for name in ("reference", "current", "delta", "interval", "p_value")} == {None}
    lines = records.call("gate", "addition")[1].splitlines()
    assert "addition" in lines
    assert not any(line.endswith(" on ") for line in lines)


def test_a_name_that_a_stopped_run_shares_is_never_that_of_the_older_one(records: Records) -> None:
    older = records.run()
    threshold = ("--rule", "at_least", "--value", "0.5")
    assert records.call("gate", "addition", *threshold)[0] == 0
    store = Store(records.root / "artifacts")
    for run_id in ("0123456789abcdef", "1123456789abcdef"):
        store.record_start(run_id, StartedRun(name="addition", seed=1, steps=800, init_from=None))
    code, message = records.refused("gate", "addition", *threshold)
    begun = "0123456789abcdef (addition, seed 1, stopped at 0 of 800), 1123456789abcdef (addition, seed 1, stopped"
    assert code == 2
    assert message.startswith(
        f"'addition' is 3 runs; name one by its id: {begun} at 0 of 800), {older} (addition, seed"
    )
    assert records.call("gate", older, *threshold)[0] == 0
    assert records.refused("compare", older, "0123")[0] == 1
    # Two that were stopped, and nothing that was evaluated.
    shutil.rmtree(records.directory(older))
    assert "'addition' is 2 runs" in records.refused("gate", "addition", *threshold)[1]


def test_a_run_that_is_being_trained_is_not_gated(records: Records) -> None:
    store, run_id = Store(records.root / "artifacts"), "0123456789abcdef"
    store.record_start(run_id, StartedRun(name="addition", seed=1, steps=800, init_from=None))
    with store.lock(f"run-{run_id}"):
        code, message = records.refused("gate", "addition")
    assert code == 1
    assert message == f"run {run_id} (addition, seed 1, training) was not evaluated; train it to its end"


def test_runs_that_are_no_retrainings_are_not_gated_together(records: Records) -> None:
    first, same_seed = records.run(), records.run(name="copy")
    other, reworded = records.run(seed=1, recipe="other"), records.run(seed=2, prompts_sha256="x")
    file = records.run(name="file", seed=3, recipe=None)
    assert records.refused("gate", first, first)[1] == f"run {first} is named twice; name it once"
    for run_id, message in (
        (same_seed, "two runs have the seed 0; each run that is gated together needs a seed of its own"),
        (other, f"runs {first} and {other} are not of one recipe, so that they are no retrainings"),
        (file, f"runs {first} and {file} are not of one recipe, so that they are no retrainings"),
        (reworded, f"runs {first} and {reworded} were not evaluated in one way: prompts differ"),
    ):
        code, found = records.refused("gate", first, run_id)
        assert code == 2
        assert found.startswith(message)


def test_damaged_records_are_named(records: Records) -> None:
    run_id = records.run()
    folder = records.directory(run_id)
    rule = ("--rule", "at_least", "--value", "0.5")
    lines = folder / f"eval_after.{EVALSET}.jsonl"
    whole = lines.read_text()
    for text, message in (
        ("".join(whole.splitlines(keepends=True)[:50]), "its 50 items are not the evalset that the manifest"),
        (whole[:-20], f"{EVALSET}.jsonl:100: "),
        (whole.replace('"exact":1.0', '"exact":0.0', 1), "is not what the manifest beside it recorded; evaluate"),
        ("", "holds no items; evaluate the run again"),
    ):
        lines.write_text(text)
        code, found = records.refused("gate", run_id, *rule)
        assert code == 1
        assert message in found
    lines.write_text(whole)
    (folder / f"scorecard.{EVALSET}.json").unlink()
    assert "missing or damaged; evaluate the run again, or name a metric" in records.refused("gate", run_id, *rule)[1]
    assert records.call("gate", run_id, *rule, "--metric", "exact")[0] == 0


def test_a_record_of_an_older_format_is_said(records: Records) -> None:
    run_id = records.run()
    (records.directory(run_id) / f"eval_manifest.{EVALSET}.json").write_text('{"format_version": 0}')
    path = f"artifacts/runs/{run_id}/eval_manifest.{EVALSET}.json"
    assert records.refused("gate", run_id) == (1, f"{path}: damaged, or of an older format; evaluate the run again")
    assert records.refused("gate", "addition") == (
        2,
        "no evaluated run in artifacts named 'addition'; known: none. 1 runs have records that are damaged or of an "
        "older format: evaluate them again",
    )


def test_a_missing_value_fails_and_is_counted(records: Records) -> None:
    code, out, _ = records.call("gate", records.run(), "--rule", "at_most", "--metric", "answer_nll", "--value", "1")
    assert code == 1
    assert "100 items (i000, i001, i002, ..) of 100 without a value" in " ".join(out.split())


RUN_FILE = """
name = "addition"
seed = {seed}
dataset = "addition-v1"
renderer = "plain"
scorers = ["exact"]
evalsets = ["{evalset}"]
{more}
[model]
preset = "tiny"
[training]
steps = 10
"""


def write_run_file(records: Records, gates: str, name: str = "addition", more: str = "", seed: int = 0) -> str:
    text = RUN_FILE.format(seed=seed, evalset=f"sets/{EVALSET}.jsonl", more=more) + gates
    (records.root / f"{name}.toml").write_text(text.replace('"addition"', f'"{name}"', 1))
    return f"{name}.toml"


def test_a_run_file_says_which_gates(records: Records) -> None:
    with_baseline(records)
    gates = '[[gates]]\nrule = "no_worse"\nmetric = "exact"\n'
    gates += '[[gates]]\nrule = "at_least"\nmetric = "exact"\nvalue = 0.9\n'
    run_id = records.run(seed=9, wrong=range(8))
    code, out, _ = records.call("gate", run_id, "--gates", write_run_file(records, gates))
    assert code == 1
    decided = [line.split()[:2] for line in out.splitlines() if line.startswith(("  failed", "  passed"))]
    assert decided == [["failed", "no_worse"], ["passed", "at_least"]]
    assert records.refused("gate", run_id, "--gates", write_run_file(records, ""))[1].endswith(
        "addition.toml: has no [[gates]]; name a rule with --rule in place of --gates"
    )


def test_the_correction_of_a_run_file_covers_all_its_gates(records: Records) -> None:
    with_baseline(records)
    gate = '[[gates]]\nrule = "no_worse"\nmetric = "exact"\n'
    run_id = records.run(seed=9, wrong=range(7))
    for correction, code in (("", 1), ('correction = "holm"', 0)):
        name = write_run_file(records, gate * 5, more=correction)
        assert records.call("gate", run_id, "--gates", name)[0] == code
    verdicts = json.loads(records.call("gate", run_id, "--gates", name, "--json")[1])["verdicts"]
    assert [one["adjusted_p"] for one in verdicts] == pytest.approx([5 * verdicts[0]["p_value"]] * 5)


def test_a_run_file_takes_the_seeds_that_its_gates_ask_for(records: Records) -> None:
    gates = '[[gates]]\nrule = "better"\nmetric = "exact"\nthan = "answers"\nruns = 3\n'
    name = write_run_file(records, gates)
    write_run_file(records, "", "answers", seed=4)
    ours = [records.run(seed=seed, wrong=range(seed)) for seed in (0, 1)]
    theirs = {"name": "answers", "recipe": "other"}
    for seed in (4, 5, 6):
        records.run(seed=seed, wrong=range(20 + seed), **theirs)  # type: ignore[arg-type]
    code, message = records.refused("gate", ours[0], "--gates", name)
    assert code == 1
    assert "asks for 3 runs, and seeds 1 to 2 of its recipe are not all recorded" in message
    records.run(seed=2, wrong=range(2))
    code, out, _ = records.call("gate", ours[0], "--gates", name, "--json")
    verdict = json.loads(out)["verdicts"][0]
    assert (code, verdict["n_runs"], verdict["unit"]) == (0, 3, "runs")
    assert verdict["delta"] == pytest.approx(0.99 - 0.75)
    records.run(seed=5, name="answers", recipe="an earlier one")
    code, message = records.refused("gate", ours[0], "--gates", name)
    assert code == 1
    assert "compares with one run of 'answers' a seed, seeds 4, 5, 6; evaluated on addition-heldout: " in message
