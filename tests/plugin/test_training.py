"""What a training is made from beside its dataset, what it records of that, and what is refused before it begins."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from projects import RUN_FILE, Project

from tunix_eval.data import ByteTokenizer, build_dataset, split
from tunix_eval.digest import sha256_file
from tunix_eval.errors import DataError, SpecError
from tunix_eval.plugin.device import Device
from tunix_eval.plugin.prepare import Prepared, make_format
from tunix_eval.plugin.registry import Registry
from tunix_eval.plugin.sources import Run
from tunix_eval.plugin.training import InitialRun, identify, job_of, notes_of
from tunix_eval.records import Dataset, EvalItem, Evalset, Step, Trace, Turn
from tunix_eval.specs import RunSpec
from tunix_eval.store import RunManifest, Store

RUN_TEST = "def test_run(tunix_run):\n    assert tunix_run.metrics\n"
CPU = Device("cpu", 1)


def sums(start: int, stop: int, **more: Any) -> list[Trace]:
    return [
        Trace(
            trace_version="1.0",
            prompt=f"{n}+1=",
            final_answer=str(n + 1),
            steps=(Step(0, "sum", f"{n}+1={n + 1}"),),
            id=f"sum{n}",
            **more,
        )
        for n in range(start, stop)
    ]


SUMS = build_dataset("sums", "v1", sums(0, 60))


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(request.config)


@pytest.fixture
def prepare(registry: Registry) -> Callable[..., Prepared]:
    def prepared(named_holdout: Dataset | None = None, **changes: Any) -> Prepared:
        table = {
            "name": "sums",
            "dataset": "sums-v1",
            "renderer": "plain",
            "model": {"preset": "tiny"},
            "training": {"steps": 4, "rows": 2, "row_tokens": 64},
        }
        spec = RunSpec.model_validate(table | changes)
        form = make_format(registry, renderer="plain", tokenizer="bytes", style=spec.style)
        return Prepared(spec, SUMS, form, named_holdout)

    return prepared


@pytest.fixture
def run_id(prepare: Callable[..., Prepared], registry: Registry) -> Callable[..., str]:
    def identity(mesh: Any = None, initial: Any = None, **changes: Any) -> str:
        prepared = prepare(**changes)
        return identify(prepared, registry=registry, device=CPU, max_steps=None, mesh=mesh, initial=initial).run_id

    return identity


def manifest(**changes: Any) -> RunManifest:
    values: dict[str, Any] = {"run_id": "0" * 16, "created_at": "2025-01-02T03:04:05+00:00", "dataset_key": "sums-v1"}
    values |= {
        "inputs": {},
        "dataset_sha256": "d",
        "sequences_sha256": "s",
        "recipe": {},
        "training_config": {},
        "model_config": {},
    }
    values |= {part: {"name": "plain", "version": "1"} for part in ("trainer", "renderer", "tokenizer")}
    values |= {"seed": 0, "git_sha": None, "git_dirty": None, "packages": {}, "device": {}, "xla_flags": ""}
    values |= {"steps": 4, "total_steps": 4, "parameter_count": 1, "tokens": 1, "wall_seconds": 0.0}
    values |= {"resumed_from": None, "status": "complete", "weights_sha256": "w", "artifacts": {}}
    return RunManifest(**values | changes)


# --------------------------------------------------------------------------------------------------------- holdout


def test_a_share_of_the_prompts_is_held_out_by_their_digest(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare(holdout=0.25)
    held_out = {one.trace_id for one in prepared.truncated_holdout.sequences}
    assert 5 <= len(held_out) <= 25
    assert {one.trace_id for one in prepared.sequences} == {one.id for one in SUMS.traces} - held_out
    packed = {name for row in prepared.holdout_rows.trace_ids for name in row}
    assert packed == held_out
    # A larger share holds out these too, and a prompt that differs in white space and case alone keeps its side.
    assert held_out < {one.trace_id for one in prepare(holdout=0.6).truncated_holdout.sequences}
    spaced = [msgspec.structs.replace(one, prompt=f" {one.prompt} ", id=f"{one.id}b") for one in SUMS.traces]
    twice = build_dataset("sums", "v1", [*SUMS.traces, *spaced])
    sides = replace(prepared, dataset=twice).truncated_holdout.sequences
    assert {one.trace_id for one in sides} == held_out | {f"{name}b" for name in held_out}


def test_a_dataset_that_is_one_side_of_a_split_is_divided_all_the_same(prepare: Callable[..., Prepared]) -> None:
    for side in split(sums(0, 400), holdout=0.5):
        prepared = replace(prepare(holdout=0.25), dataset=build_dataset("side", "v1", side))
        assert 0.15 < len(prepared.truncated_holdout.sequences) / len(side) < 0.35


def test_a_dataset_is_held_out_and_none_of_its_prompts_may_be_trained_on(prepare: Callable[..., Prepared]) -> None:
    other = build_dataset("other", "v1", sums(60, 70))
    prepared = prepare(other, holdout="other-v1")
    assert len(prepared.truncated_holdout.sequences) == 10
    assert len(prepared.sequences) == 60
    leaked = build_dataset("leaked", "v1", [*sums(60, 70), *sums(3, 5, meta={"again": True})])
    with pytest.raises(
        DataError, match=r"holdout of 'sums': 2 of 12 prompts of leaked-v1 are trained on too \(first: "
    ):
        prepare(leaked, holdout="leaked-v1").holdout_rows  # noqa: B018


def test_a_prompt_that_is_an_earlier_turn_of_what_is_trained_on_is_refused_too(
    prepare: Callable[..., Prepared], registry: Registry
) -> None:
    turns = (Turn("user", "99+1="), Turn("assistant", "100"))
    form = make_format(registry, renderer="chatml", tokenizer="bytes", style=None)
    trained = build_dataset("long", "v1", sums(0, 3, messages=turns))
    spec = prepare(holdout="other-v1").spec
    prepared = Prepared(spec, trained, form, build_dataset("other", "v1", sums(98, 101)))
    with pytest.raises(DataError, match=r"1 of 3 prompts of other-v1 are trained on too \(first: sum99\)"):
        prepared.holdout_sha256  # noqa: B018


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_leaves_a_side_empty_is_refused(prepare: Callable[..., Prepared], share: float) -> None:
    count = 60 if share else 0
    with pytest.raises(DataError, match=rf"'sums': holdout = {share:g} holds out {count} of the 60 traces of sums-v1"):
        prepare(holdout=share).sequences  # noqa: B018


def test_an_evalset_is_contaminated_by_what_is_trained_on_and_not_by_what_is_held_out(
    prepare: Callable[..., Prepared],
) -> None:
    prepared = prepare(holdout=0.25)
    held_out = {one.trace_id for one in prepared.truncated_holdout.sequences}

    def evalset(wanted: bool) -> Evalset:
        items = [
            EvalItem(id=str(one.id), prompt=one.prompt, expected_answer=one.final_answer)
            for one in SUMS.traces
            if (one.id in held_out) == wanted
        ]
        return Evalset("sums", tuple(items), "0")

    prepared.check_contamination(evalset(wanted=True))
    with pytest.raises(DataError, match="prompts are in the training set"):
        prepared.check_contamination(evalset(wanted=False))


# ------------------------------------------------------------------------------------------------- identity and job


def test_a_holdout_a_mesh_and_initial_weights_are_part_of_a_run(run_id: Callable[..., str]) -> None:
    other, more = (build_dataset("other", "v1", sums(60, stop)) for stop in (70, 71))
    first, second = (InitialRun(Path("a"), manifest(weights_sha256=digest)) for digest in "ab")
    found = [
        run_id(),
        run_id(holdout=0.25),
        run_id(holdout=0.5),
        run_id(named_holdout=other, holdout="other-v1"),
        run_id(named_holdout=more, holdout="other-v1"),
        run_id(mesh={"data": 2}),
        run_id(mesh={"data": 4}),
        run_id(initial=first),
        run_id(initial=second),
    ]
    assert len(set(found)) == len(found)


def test_where_things_stand_and_what_changes_no_weight_are_not(run_id: Callable[..., str]) -> None:
    model = {"preset": "tiny"}
    one, other = (InitialRun(Path(place), manifest()) for place in ("a", "b"))
    assert run_id(mesh={"data": 1}) == run_id()
    assert run_id(initial=one, model=model | {"init_from": "a/"}) == run_id(
        initial=other, model=model | {"init_from": "0123456789abcdef"}
    )
    training = {"steps": 4, "rows": 2, "row_tokens": 64}
    assert run_id(training=training | {"keep_checkpoints": 7}) == run_id()
    set_apart = [build_dataset(name, "v1", sums(60, 70)) for name in ("one", "two")]
    ids = {run_id(named_holdout=one, holdout=f"{one.manifest['dataset_name']}-v1") for one in set_apart}
    assert len(ids) == 1


def test_the_trainer_is_told(prepare: Callable[..., Prepared], registry: Registry, tmp_path: Path) -> None:
    prepared = prepare(holdout=0.25)
    initial = InitialRun(tmp_path / "first", manifest())
    identity = identify(prepared, registry=registry, device=CPU, max_steps=None, mesh={"data": 2}, initial=initial)
    job = job_of(prepared, identity, Store(tmp_path))
    assert job.initial == tmp_path / "first" / "checkpoint-final"
    assert job.mesh == {"data": 2}
    assert job.holdout is prepared.holdout_rows
    assert job.vocab_size == ByteTokenizer(prepared.format.renderer.control_tokens).vocab_size


# -------------------------------------------------------------------------------------------------- before training

MISTAKES: list[tuple[str, str, str]] = [
    ("rows = 8", "rows = 8\nearly_stopping = 3", r"'words': training\.early_stopping goes by the loss of a holdout"),
    ("rows = 8", 'rows = 8\nkeep = "best"', r"'words': training\.keep = \"best\" goes by the loss of a holdout, and"),
    ("rows = 8", "rows = 4000", r"training\.rows: a step takes 4000 rows, but the dataset is packed in \d+ rows of 64"),
    ("rows = 8", "rows = 8\nwarmup_steps = 999", r"training: a schedule of 999 warm-up and 0 decay steps is longer "),
    (
        "[model]",
        "holdout = 1.5\n[model]",
        r"'words': holdout = 1\.5 holds out (\d+) of the \1 traces of word-ending-v1",
    ),
    ("[model]", 'holdout = "word-ending-v1"\n[model]', r"holdout of 'words': (\d+) of \1 prompts of word-ending-v1"),
    ("[model]", 'holdout = "word-endings"\n[model]', r"no dataset named 'word-endings'"),
    (
        "[model]",
        '[model]\ninit_from = "0123"',
        r"'words': model\.init_from: run '0123': no such run is recorded in .*; recorded: none",
    ),
    ("[model]", '[model]\ninit_from = "no/run"', r"'words': model\.init_from: .*no/run holds no finished run; name a"),
]


@pytest.mark.parametrize(("found", "written", "message"), MISTAKES)
def test_a_mistake_is_one_line_in_the_plan(project: Project, found: str, written: str, message: str) -> None:
    project.write("words.toml", RUN_FILE.replace(found, written))
    project.test(RUN_TEST)
    result = project.run("--tunix-train", "--tunix-plan")
    (line,) = [line for line in result.outlines if line.startswith("  error ")]
    assert re.search(message, line), line


def test_rows_that_a_mesh_does_not_divide_are_one_line_in_the_plan(project: Project) -> None:
    project.test(RUN_TEST)
    result = project.run_apart("--tunix-train", "--tunix-host-devices=4", "--tunix-mesh=data=3")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret != 0
    assert "data=3" in text
    assert "Traceback" not in text
    assert not project.manifests()


# ------------------------------------------------------------------------------------------------------ with JAX

SUMS_FILE = """
name = "sums"
dataset = "addition-v1"
renderer = "plain"
trainer = "flax"
holdout = 0.1

[model]
layers = 1
width = 16
heads = 2
mlp_width = 32

[training]
steps = 40
rows = 8
row_tokens = 48
optimizer = "sgd"
learning_rate = 4.0
schedule = "constant"
steps_per_dispatch = 2
holdout_steps = 2
early_stopping = 2
keep = "best"
"""


def test_a_run_that_stopped_early_is_complete_and_another_begins_from_it(project: Project) -> None:
    project.write("sums.toml", SUMS_FILE)
    project.write(
        "test_sums.py",
        "import pytest\n@pytest.mark.tunix_train('sums.toml')\ndef test_run(tunix_run):\n"
        "    assert tunix_run.manifest.ended == 'early_stopping'\n",
    )
    result = project.run_apart("--tunix-train")
    result.assert_outcomes(passed=1)
    (path,) = project.manifests()
    first = json.loads(path.read_text())
    assert first["status"] == "complete"
    assert first["steps"] < first["total_steps"] == 40
    assert first["best_step"] == first["steps"] - 4
    assert (first["holdout"]["dataset_key"], first["holdout"]["share"]) == ("addition-v1", 0.1)
    course = f"    stopped early at step {first['steps']} of 40, best at step {first['best_step']}, by early_stopping"
    result.stdout.fnmatch_lines(["  sums *trained", course])
    # Reused, not gone on with.
    result = project.run("--tunix-train")
    result.stdout.fnmatch_lines(["*0 runs to train*", "  sums *reused", course])

    more = SUMS_FILE.replace('"sums"', '"more"').replace("early_stopping = 2\n", "").replace("steps = 40", "steps = 2")
    more = more.replace('"plain"', '"chatml"').replace("row_tokens = 48", "row_tokens = 96")
    more = more.replace("[training]", 'init_from = "INITIAL"\n\n[training]')
    project.write("more.toml", more.replace("INITIAL", first["run_id"]))
    project.write("test_sums.py", f"import pytest\npytestmark = pytest.mark.tunix_train('more.toml')\n{RUN_TEST}")
    result = project.run_apart("--tunix-train")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*more: has renderer chatml, and the run that it began from,"])
    (second,) = [json.loads(one.read_text()) for one in project.manifests() if one != path]
    assert second["initial"]["run_id"] == first["run_id"]
    assert second["initial"]["weights_sha256"] == first["weights_sha256"]
    assert second["recipe"]["model"]["init_from"] == first["run_id"]
    assert str(project.path) not in json.dumps(second)

    from_path = more.replace("INITIAL", str(path.parent.relative_to(project.path)))
    for other, said in (
        (from_path.replace("width = 16", "width = 32", 1), "width is 16 in run *, but 32 here; give *width = 16*"),
        (from_path.replace("[model]", "[model]\nrope_theta = 1e6"), "rope_theta is 10000.0 in run *, but 1000000.0 *"),
    ):
        project.write("more.toml", other)
        result = project.run("--tunix-train")
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([f"*model.init_from: {said}"])


def test_a_change_of_renderer_and_tokenizer_since_the_initial_run_is_noted() -> None:
    before = {"run_id": "a" * 16, "weights_sha256": "w", "renderer": {"name": "gemma", "version": "1"}}
    before |= {"tokenizer": {"name": "plain", "version": "2"}}
    assert notes_of(manifest(initial=before), "sums") == [
        "sums: has renderer plain, and the run that it began from, aaaaaaaaaaaaaaaa, had gemma",
        "sums: has tokenizer plain, and the run that it began from, aaaaaaaaaaaaaaaa, had plain in another version",
    ]
    assert notes_of(manifest(), "sums") == []


def test_steps_that_changed_nothing_are_noted() -> None:
    assert notes_of(manifest(skipped_steps=(2, 3)), "sums") == [
        "sums: 2 of 4 steps changed nothing, for their loss was not finite or a spike: 2, 3"
    ]


def test_the_losses_of_a_run_are_the_finite_ones(
    prepare: Callable[..., Prepared], registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": null, "skipped": true}\n{"step": 3, "loss": 1.5}\n')
    prepared = prepare()
    made = manifest(artifacts={"metrics.jsonl": sha256_file(path)}, skipped_steps=(2,))
    job = job_of(prepared, identify(prepared, registry=registry, device=CPU, max_steps=None), Store(tmp_path))
    run = Run("training", prepared.spec, made, tmp_path, tmp_path, prepared.format, job, "flax", prepared)
    assert run.loss.values == (2.5, 1.5)


def test_a_prepared_spec_without_a_holdout_has_none(prepare: Callable[..., Prepared]) -> None:
    prepared = prepare()
    assert prepared.holdout_rows is None
    assert prepared.holdout_sha256 is None
    assert prepared.trained is SUMS
    prepared.check_holdout()
    with pytest.raises(SpecError, match="goes by the loss of a holdout"):
        prepare(training={"steps": 4, "rows": 2, "row_tokens": 64, "keep": "best"}).check_holdout()


def test_a_training_that_fails_names_its_run_and_fails_once_for_all_tests(project: Project) -> None:
    project.write("sums.toml", SUMS_FILE.replace("mlp_width = 32", "mlp_width = 32\ninit_std = 1e20"))
    project.test(
        "import pytest\npytestmark = pytest.mark.tunix_train('sums.toml')\n"
        "def test_one(tunix_run): ...\ndef test_other(tunix_run): ...\n"
    )
    result = project.run_apart("--tunix-train")
    result.assert_outcomes(errors=2)
    failure = r"run 'sums' \(\w{16}\): step 1 of 40: loss .*, expected finite numbers; .*"
    result.stdout.re_match_lines([failure, failure])
    assert len(re.findall(r"^ *training sums \(\w+\): seed 0, 40 steps", result.stdout.str(), re.MULTILINE)) == 1
    assert "Traceback" not in result.stdout.str()
    assert not project.manifests()
