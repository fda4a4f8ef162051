"""Run files: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tunix_eval.errors import SpecError
from tunix_eval.run_files import read_run_file
from tunix_eval.specs import GateSpec, ModelSpec, RunSpec, TrainingSpec
from tunix_eval.tables import is_path, validated

TEXT = """
name = "addition"
dataset = "addition-v1"
renderer = "plain"
evalsets = ["addition-heldout", "mine.jsonl"]

[model]
preset = "tiny"

[training]
steps = 10

[[gates]]
rule = "at_least"
metric = "exact"
value = 0.9
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "addition.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_defaults_are_filled_in_and_paths_start_from_the_run_file(run_file: Path) -> None:
    spec = read_run_file(run_file)
    assert (spec.tokenizer, spec.trainer, spec.seed, spec.scorers) == ("bytes", "flax", 0, ("exact",))
    assert spec.evalsets == ("addition-heldout", str(run_file.parent / "mine.jsonl"))
    assert spec.gates == (GateSpec(rule="at_least", metric="exact", value=0.9),)


def test_overrides_nest_and_rename(run_file: Path) -> None:
    spec = read_run_file(run_file, {"training": {"steps": 100}, "style": "none"})
    assert (spec.training.steps, spec.style, spec.dataset) == (100, "none", "addition-v1")
    assert spec.name == "addition[style=none,training.steps=100]"


def test_paths_of_overrides_start_from_the_folder_that_says_them(run_file: Path, tmp_path: Path) -> None:
    overrides: dict[str, Any] = {
        "dataset": "train.jsonl",
        "evalsets": ["addition-heldout", "sub/dev.jsonl"],
        "gates": [{"rule": "better", "metric": "exact", "than": "other.toml", "evalset": "sub/dev.jsonl"}],
    }
    here = tmp_path / "elsewhere"
    spec = read_run_file(run_file, overrides, overrides_folder=here)
    assert (spec.dataset, spec.evalsets) == (
        str(here / "train.jsonl"),
        ("addition-heldout", str(here / "sub" / "dev.jsonl")),
    )
    assert (spec.gates[0].than, spec.gates[0].evalset) == (str(here / "other.toml"), str(here / "sub" / "dev.jsonl"))


def test_a_long_override_makes_a_name_that_is_a_folder_and_its_own(run_file: Path) -> None:
    names = {
        read_run_file(run_file, {"training": {"optimizer_options": {"x" * 400: value, "steps": 1}}}).name
        for value in (1, 2)
    }
    assert len(names) == 2
    assert max(map(len, names)) < 255


def test_an_override_that_is_unknown_is_refused_by_name(run_file: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown key 'training\.step'\. Did you mean 'steps'\?"):
        read_run_file(run_file, {"training": {"step": 100}})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('dataset = "', 'datset = "', "'dataset' is missing"),
        ('dataset = "', 'datset = "', "unknown key 'datset'. Did you mean 'dataset'?"),
        ('dataset = "', 'scorer_options = {}\ndataset = "', "scorer_options: unknown key; the keys of a scorer stand"),
        ('dataset = "', 'scorers = []\ndataset = "', "scorers: found [], expected at least 1 of them"),
        ("steps = 10", "steps = 0", "training.steps: Input should be greater than or equal to 1, found 0"),
        ("steps = 10", "", "training: neither steps nor epochs is given; take one"),
        ("steps = 10", "steps = 10\nepochs = 2", "training: both steps and epochs are given; take one"),
        (
            'preset = "tiny"',
            "width = 8",
            "model: no layers, heads, mlp_width; name a preset (tiny, small, base, medium) or give every size",
        ),
        ('preset = "tiny"', 'preset = "tiny"\nheads = 3', "model: width 128 over 3 heads is no even whole number"),
        (
            'preset = "tiny"',
            'preset = "tiny"\nkv_heads = 3',
            "model: 4 heads are no multiple of 3 kv_heads",
        ),
        (
            'preset = "tiny"',
            'preset = "tiny"\nhead_width = 5',
            "model: a head is 5 wide, expected an even number: RoPE turns pairs",
        ),
        ("steps = 10", "steps = 10\naccumulate = 5", "training: 32 rows are no multiple of accumulate = 5"),
        (
            "steps = 10",
            'steps = 10\nwarmup_steps = 8\ndecay_steps = 3\nschedule = "wsd"',
            "training: a schedule of 8 warm-up and 3 decay steps is longer than the run of 10 steps",
        ),
        ("[model]", "[generation]\ntop_k = 4\n[model]", "generation: top_k changes nothing at temperature 0; give a "),
        (
            "[model]",
            "[generation]\ntemperature = 1e-50\n[model]",
            "generation.temperature: 1e-50 is too near to 0 to divide by; take 0, or 1e-6 or more",
        ),
        (
            "[model]",
            "[generation]\ntop_p = 1e-50\n[model]",
            "generation.top_p: Input should be greater than or equal to",
        ),
        ("value = 0.9", "", "gates, number 1: at_least needs value"),
        ("value = 0.9", "value = 0.9\nmargin = 0.1", "gates, number 1: at_least takes no margin"),
        ("value = 0.9", 'value = 0.9\nthan = "b"', "gates, number 1: at_least takes no than"),
        ("value = 0.9", "value = 0.9\nalpa = 0.1", "gates, number 1: unknown key 'alpa'. Did you mean 'alpha'?"),
        ("steps = 10", "steps = 10\nlearning_rate = inf", "training.learning_rate: Input should be a finite number"),
        ("steps = 10", "epochs = inf", "training.epochs: Input should be a finite number"),
        (
            "steps = 10",
            "steps = 10\noptimizer_options = { b2 = nan }",
            "training.optimizer_options: {'b2': nan} holds more than finite numbers",
        ),
        ("steps = 10", "steps = 10\noptions = { at = 2020-01-01 }", "training.options: "),
        ('name = "addition"', 'name = ".."', "name: '..' is no key"),
        (
            '"at_least"',
            '"at_leest"',
            "gates, number 1: rule: found 'at_leest', expected no_worse, non_inferior, better, at_least, at_most, "
            "max_drop. Did you mean 'at_",
        ),
        (
            'preset = "tiny"',
            'preset = "tinny"',
            "model.preset: found 'tinny', expected tiny, small, base, medium. Did you mean 'tiny'?",
        ),
        ("[training]", "[trainng]", "unknown key 'trainng'. Did you mean 'training'?"),
        ('name = "addition"', 'name = "../up"', "name: '../up' is no key"),
        (
            "[model]",
            "[generation]\nrepeats = 4\n[model]",
            "generation: 4 repeats at temperature 0 write the same text each time and measure nothing",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key(run_file: Path, old: str, new: str, message: str) -> None:
    run_file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_run_file(run_file)
    assert f"{run_file}: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "non_inferior"}, "non_inferior needs margin"),
        ({"rule": "non_inferior", "margin": 0.0}, "non_inferior needs a margin above 0"),
        ({"rule": "non_inferior", "margin": 0.1, "confirm": 1}, "non_inferior takes no confirm; it takes evalset, "),
        ({"rule": "at_most"}, "at_most needs value"),
        ({"rule": "max_drop"}, "max_drop needs drop"),
        ({"rule": "max_drop", "drop": "two"}, "found 'two', expected a share such as \"2%\", or a number"),
        ({"rule": "max_drop", "drop": -0.1}, 'found -0.1, expected a share such as "2%", or a number from 0 on'),
        ({"rule": "max_drop", "drop": "2%", "alpha": 0.1}, "max_drop takes no alpha; it takes evalset, drop"),
        (
            {"rule": "no_worse", "runs": 3},
            "no_worse takes no runs; it takes evalset, alpha, margin, confirm, confirm_below, seed_noise, test",
        ),
        ({"rule": "no_worse", "unproven": "skip"}, "no_worse takes no unproven"),
        ({"rule": "no_worse", "test": "mid-p"}, "found 'mid-p', expected mid_p, exact. Did you mean 'mid_p'?"),
        ({"rule": "no_worse", "confirm": -1}, "confirm: Input should be greater than or equal to 0, found -1"),
        ({"rule": "no_worse", "alpha": 0.5}, "alpha: Input should be less than 0.5, found 0.5"),
    ],
)
def test_an_argument_that_does_not_fit_its_rule_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        validated(GateSpec, {"metric": "exact", **arguments}, where="gate")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("drop", "reference", "allowed"),
    [("2%", 0.95, 0.019), ("2.5 %", -4.0, 0.1), (0.05, 0.95, 0.05), (3, 100.0, 3.0), ("0%", 0.9, 0.0)],
)
def test_what_max_drop_allows_is_a_share_of_the_reference_or_a_number(
    drop: Any, reference: float, allowed: float
) -> None:
    assert GateSpec(rule="max_drop", metric="exact", drop=drop).allowed_drop(reference) == pytest.approx(allowed)


@pytest.mark.parametrize(("count", "last"), [(21, "and 1 more mistake"), (5_000, "and 4,980 more mistakes")])
def test_many_mistakes_are_counted(run_file: Path, count: int, last: str) -> None:
    odd = "".join(f"odd{number} = 1\n" for number in range(count))
    run_file.write_text(odd + TEXT, encoding="utf-8")
    with pytest.raises(SpecError) as refused:
        read_run_file(run_file)
    lines = str(refused.value).splitlines()
    assert (len(lines), lines[-1]) == (21, f"{run_file}: {last}")


def test_a_name_fits_a_folder_with_its_overrides(run_file: Path, tmp_path: Path) -> None:
    run_file.write_text(TEXT.replace('"addition"', f'"{"a" * 101}"', 1), encoding="utf-8")
    with pytest.raises(SpecError, match=r"name: 'a{70,80}\.\.\.' has 101 characters; .* folder: at most 100"):
        read_run_file(run_file)
    run_file.write_text(TEXT.replace('"addition"', f'"{"a" * 100}"', 1), encoding="utf-8")
    long = read_run_file(run_file, {"training": {"optimizer_options": {"x" * 400: 1}}})
    (tmp_path / long.name).mkdir()


def test_a_toml_error_carries_line_and_column(run_file: Path) -> None:
    run_file.write_text(TEXT.replace('"plain"', "plain"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"addition\.toml: Invalid value \(at line 4, column 12\)"):
        read_run_file(run_file)


def test_a_missing_run_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.toml: no such run file"):
        read_run_file(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xff")
    with pytest.raises(SpecError, match=r"binary\.toml: cannot be read"):
        read_run_file(tmp_path / "binary.toml")


def test_a_size_beside_a_preset_overrides_it() -> None:
    sizes = {"layers": 3, "width": 128, "heads": 4, "kv_heads": 4, "head_width": 32, "mlp_width": 512}
    assert ModelSpec(preset="tiny", layers=3).sizes() == sizes
    assert ModelSpec(preset="tiny", kv_heads=2, head_width=64).sizes() == sizes | {
        "layers": 2,
        "kv_heads": 2,
        "head_width": 64,
    }


def test_a_schedule_longer_than_the_epochs_is_found_once_the_rows_are_known() -> None:
    training = TrainingSpec(epochs=2, rows=4, warmup_steps=6)
    assert training.total_steps(11) == 6
    with pytest.raises(SpecError, match=r"^training: a schedule of 6 warm-up and 0 decay steps is longer than the run"):
        training.total_steps(10)


def test_a_step_of_more_rows_than_there_are_is_refused() -> None:
    TrainingSpec(steps=1, rows=4, row_tokens=8).check_rows(4)
    with pytest.raises(
        SpecError, match=r"^training\.rows: a step takes 4 rows, but the dataset is packed in 3 rows of 8 "
    ):
        TrainingSpec(steps=1, rows=4, row_tokens=8).check_rows(3)


@pytest.mark.parametrize("reference", ["a/b", "set.jsonl", "./x", "run.toml", "x.jsonl.gz"])
def test_a_slash_or_a_file_suffix_makes_a_path(reference: str) -> None:
    assert is_path(reference)


@pytest.mark.parametrize("reference", ["addition-v1", "golden-v1.2", "my.set"])
def test_other_references_are_names(reference: str) -> None:
    assert not is_path(reference)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 10", "steps = true", "training.steps: found true, expected a whole number"),
        ("steps = 10", 'steps = "600"', "training.steps: found '600', expected a whole number"),
        ("steps = 10", "steps = 1e3", "training.steps: found 1000.0, expected a whole number"),
        ("steps = 10", 'steps = 10\nlearning_rate = "1"', "training.learning_rate: found '1', expected a number"),
        ('preset = "tiny"', 'preset = "tiny"\nqk_norm = 1', "model.qk_norm: found 1, expected true or false"),
        ('"plain"', "3", "renderer: found 3, expected a text"),
        ('["addition-heldout", "mine.jsonl"]', '"mine"', "evalsets: found 'mine', expected a list"),
        ('"mine.jsonl"', "7", "evalsets, number 2: found 7, expected a text"),
        ("[[gates]]", "[gates]", "gates: found {'rule': 'at_least', 'metric': 'exact', 'value': 0.9}, expected a list"),
        ("value = 0.9", "value = true", "gates, number 1: value: found true, expected a number"),
        ("evalsets", "supervise = 1\nevalsets", "supervise: found 1, expected last, all, answer"),
    ],
)
def test_no_value_is_taken_for_one_of_another_type(run_file: Path, old: str, new: str, message: str) -> None:
    run_file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_run_file(run_file)
    assert str(caught.value) == f"{run_file}: {message}"


def test_overrides_are_as_strict_and_a_whole_number_is_a_number(run_file: Path) -> None:
    spec = read_run_file(run_file, {"training": {"learning_rate": 1}, "evalsets": ("a",), "step_weight": {"sum": 0}})
    assert (spec.training.learning_rate, spec.evalsets, spec.step_weight) == (1.0, ("a",), {"sum": 0.0})
    assert isinstance(spec.training.learning_rate, float)
    with pytest.raises(SpecError, match=r"training\.steps: found true, expected a whole number"):
        read_run_file(run_file, {"training": {"steps": True}})


@pytest.mark.parametrize("value", [-1, True, "0.5", {"sum": -1}, {"sum": "1"}, [1]])
def test_a_value_of_several_types_is_refused_in_one_line(run_file: Path, value: Any) -> None:
    with pytest.raises(SpecError) as caught:
        read_run_file(run_file, {"step_weight": value})
    (line,) = str(caught.value).split("\n")
    assert re.search(r"step_weight: found .*, expected a number from 0 on, or a table of such numbers by step", line)


@pytest.mark.parametrize("table", [{"steps": "ten"}, {"steps": 1, "rows": None}, {"steps": 1, "learning_rate": -1}])
def test_values_of_the_wrong_kind_are_shown(table: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="found "):
        validated(TrainingSpec, table, where="here")


# ------------------------------------------------------------------------------------- keys that would have no effect

IDLE: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"training": {"spike_factor": 3.0}},
        {"training": {"spike": "skip"}},
        'training.spike_factor is 3.0 and changes nothing: training.spike is "ignore"; give spike = "stop" or "skip", '
        "or take spike_factor out",
    ),
    (
        {"training": {"final_learning_rate": 0.0, "schedule": "constant"}},
        {"training": {"schedule": "wsd"}},
        'training.final_learning_rate is 0.0 and changes nothing: training.schedule is "constant"; choose another',
    ),
    (
        {"training": {"decay_steps": 3}},
        {"training": {"schedule": "wsd"}},
        'training.decay_steps is 3 and changes nothing: it is of training.schedule = "wsd"; choose that schedule, or',
    ),
    (
        {"training": {"holdout_steps": 50}},
        {"holdout": 0.1},
        "training.holdout_steps is 50 and changes nothing: there is no holdout; give one, such as holdout = 0.05, or",
    ),
    (
        {"training": {"options": {"order": 8}}},
        {"trainer": "ngram"},
        "training.options is {'order': 8} and changes nothing: trainer flax takes none; choose the trainer that ",
    ),
    (
        {"model": {"init_std": 0.02, "init_from": "0123"}},
        {"model": {"init_from": None}},
        "model.init_std is 0.02 and changes nothing: the weights begin as those of model.init_from; take that out, or",
    ),
]


def overridden(run_file: Path, *overrides: dict[str, Any]) -> RunSpec:
    """The run file with the overrides, one table merged into the other."""
    merged: dict[str, Any] = {}
    for one in overrides:
        for key, value in one.items():
            merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    spec = read_run_file(run_file, merged)
    assert isinstance(spec, RunSpec)
    return spec


@pytest.mark.parametrize(("idle", "cure", "message"), IDLE)
def test_a_key_that_would_have_no_effect_is_refused_in_one_line(
    run_file: Path, idle: dict[str, Any], cure: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        overridden(run_file, idle)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{run_file}: {message}")
    spec = overridden(run_file, idle, cure)
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(("idle", "message"), [(idle, message) for idle, _, message in IDLE])
def test_an_override_takes_such_a_key_out_with_none(run_file: Path, idle: dict[str, Any], message: str) -> None:
    table, name = message.split(" ", 1)[0].split(".")
    found = getattr(overridden(run_file, idle, {table: {name: None}}), table)
    assert getattr(found, name) == type(found).model_fields[name].get_default(call_default_factory=True)


def test_a_spec_with_every_default_written_out_is_the_same_spec(run_file: Path) -> None:
    for overrides in ({}, {"training": {"schedule": "constant"}}, {"model": {"init_from": "0123"}}):
        spec = overridden(run_file, overrides)
        again = RunSpec.model_validate(spec.model_dump())
        assert again == spec
        assert again.model_dump_json() == spec.model_dump_json()


def test_a_record_of_a_training_is_read_whatever_had_no_effect_in_it() -> None:
    recorded = TrainingSpec(steps=1).model_dump() | {"spike_factor": 9.0, "decay_steps": 1}
    assert TrainingSpec.model_validate(recorded).spike_factor == 9.0


def test_a_spec_is_frozen(run_file: Path) -> None:
    spec: RunSpec = read_run_file(run_file)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]
