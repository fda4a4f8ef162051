import os
import re
import subprocess
import sys
from itertools import count as counting
from pathlib import Path

import pytest

from tunix_eval.data import (
    BUILTIN_DATASETS,
    BUILTIN_EVALSETS,
    BUILTIN_GENERATORS,
    contaminated,
    evalset_text,
    generate_dataset,
    manifest_text,
    read_dataset,
    read_evalset,
    traces_text,
)
from tunix_eval.data.generators.mixture import Category, worked_traces
from tunix_eval.data.generators.patterns import text_repeat, uppercase
from tunix_eval.digest import normalised_prompt
from tunix_eval.errors import DataError
from tunix_eval.records import Generator, Step, Trace

ROOT = Path(__file__).parents[2]
WRITE = """
import sys
from pathlib import Path
from tunix_eval.data import BUILTIN_DATASETS, BUILTIN_EVALSETS, evalset_text, write_dataset
for offer in BUILTIN_DATASETS.values():
    write_dataset(offer(), Path("fixtures"))
Path("evalsets").mkdir()
for name, offer in BUILTIN_EVALSETS.items():
    Path("evalsets", f"{name}.jsonl").write_bytes(evalset_text(offer()).encode("utf-8"))
"""


def numbered(index, prompt=None):
    return Trace(
        trace_version="1.0",
        prompt=prompt or f"question {index}",
        final_answer=str(index),
        steps=(Step(0, "work", "think"),),
        id=str(index),
    )


def test_every_fixture_and_evalset_is_committed_and_nothing_else_is():
    assert sorted(path.name for path in (ROOT / "fixtures").iterdir()) == sorted(BUILTIN_DATASETS)
    assert sorted(path.name for path in (ROOT / "evalsets").iterdir()) == sorted(
        f"{name}.jsonl" for name in BUILTIN_EVALSETS
    )


@pytest.mark.parametrize("name", BUILTIN_DATASETS)
def test_a_committed_dataset_is_what_its_generator_gives(name):
    dataset, folder = BUILTIN_DATASETS[name](), ROOT / "fixtures" / name
    assert dataset.key == name
    assert (folder / "traces.jsonl").read_bytes().decode("utf-8") == traces_text(dataset.traces)
    assert (folder / "manifest.json").read_bytes().decode("utf-8") == manifest_text(dataset.manifest)
    assert read_dataset(folder) == dataset


@pytest.mark.parametrize("name", BUILTIN_EVALSETS)
def test_a_committed_evalset_is_what_the_package_offers(name):
    evalset, path = BUILTIN_EVALSETS[name](), ROOT / "evalsets" / f"{name}.jsonl"
    assert evalset.name == name
    assert path.read_bytes().decode("utf-8") == evalset_text(evalset)
    assert read_evalset(path) == evalset


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_another_process_writes_the_same_bytes_under_any_hash_seed(tmp_path, hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", WRITE], cwd=tmp_path, env=environment, check=True)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) == 2 * len(BUILTIN_DATASETS) + len(BUILTIN_EVALSETS)
    for path in written:
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes(), path


@pytest.mark.parametrize("evalset", BUILTIN_EVALSETS)
@pytest.mark.parametrize("dataset", BUILTIN_DATASETS)
def test_no_shipped_dataset_has_a_prompt_of_a_shipped_evalset(dataset, evalset):
    assert contaminated(BUILTIN_DATASETS[dataset]().traces, BUILTIN_EVALSETS[evalset]().items) == []


@pytest.mark.parametrize("name", BUILTIN_GENERATORS)
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_equal_seeds_give_equal_traces_with_distinct_prompts_that_no_evalset_has(name, seed):
    generator = BUILTIN_GENERATORS[name]
    traces = list(generator.traces(seed, 120))
    assert traces == list(generator.traces(seed, 120))
    assert len({normalised_prompt(trace.prompt) for trace in traces}) == len({trace.id for trace in traces}) == 120
    for offer in BUILTIN_EVALSETS.values():
        assert contaminated(traces, offer().items) == []


@pytest.mark.parametrize("name", BUILTIN_GENERATORS)
def test_another_seed_gives_other_traces(name):
    traces = BUILTIN_GENERATORS[name].traces
    assert [trace.prompt for trace in traces(1, 50)] != [trace.prompt for trace in traces(2, 50)]


@pytest.mark.parametrize("name", BUILTIN_GENERATORS)
def test_a_generator_says_how_many_it_gives_by_itself(name):
    dataset = generate_dataset(BUILTIN_GENERATORS[name], name, "mine", "v1")
    assert len(dataset.traces) == BUILTIN_GENERATORS[name].count
    assert dataset.manifest["seed"] == BUILTIN_GENERATORS[name].seed


WRONG_GRAMMAR = re.compile(
    r"\b[Aa] (?!and|or)[aeiou]|\b[Aa]n (?!hour)[^aeiou]|(?<![\d+*/-] )\b1 (?:dollar|box|week|trip|day|hour)e?s\b|[{}]"
)


@pytest.mark.parametrize("name", sorted(set(BUILTIN_GENERATORS) - {"addition"}))
def test_prompts_and_steps_keep_to_grammar(name):
    traces = [trace for seed in (1, 2, 3) for trace in BUILTIN_GENERATORS[name].traces(seed, 400)]
    plain = [trace for trace in traces if trace.meta["task_type"] != "markup_length"]
    texts = [text for trace in plain for text in (trace.prompt, *(step.content for step in trace.steps))]
    assert [text for text in texts if WRONG_GRAMMAR.search(text)] == []


@pytest.mark.parametrize("count", [1, 3, 7, 551])
def test_a_mixture_has_any_count_of_traces(count):
    assert len(list(BUILTIN_GENERATORS["dev-reasoning"].traces(5, count))) == count


def test_a_generated_dataset_says_what_made_it():
    dataset = generate_dataset(BUILTIN_GENERATORS["golden"], "golden", "mine", "v3", seed=9, count=12)
    assert dataset.key == "mine-v3"
    assert dataset.manifest["seed"] == 9
    provenance = dataset.manifest["provenance"]
    assert {key: provenance[key] for key in ("source", "generator_version", "seed", "count")} == {
        "source": "generator:golden",
        "generator_version": BUILTIN_GENERATORS["golden"].version,
        "seed": 9,
        "count": 12,
    }


def test_no_more_is_taken_than_was_asked_for():
    endless = Generator(lambda seed, count: map(numbered, counting(seed)), version="1", count=5)
    dataset = generate_dataset(endless, "endless", "mine", "v1", seed=3)
    assert [trace.id for trace in dataset.traces] == ["3", "4", "5", "6", "7"]


def test_a_generator_that_runs_out_says_how_far_it_came():
    small = Generator(lambda seed, count: map(numbered, range(min(count, 4))), version="1", count=3)
    assert len(generate_dataset(small, "small", "mine", "v1", count=4).traces) == 4
    with pytest.raises(
        DataError, match=r"^generator 'small': reached 4 of 5 distinct prompts with seed 8; lower the count, or"
    ):
        generate_dataset(small, "small", "mine", "v1", seed=8, count=5)


def test_repeated_prompts_do_not_count():
    same = Generator(lambda seed, count: (numbered(k, " Same\nPROMPT"[k % 2 :]) for k in range(count)), "1", 6)
    with pytest.raises(DataError, match="generator 'same': reached 1 of 6 distinct prompts with seed 0;"):
        generate_dataset(same, "same", "mine", "v1")


def test_the_shipped_task_types_run_out_without_hanging():
    few = Generator(
        lambda seed, count: worked_traces("few", [Category("few", (text_repeat, uppercase))], seed, count), "1", 5
    )
    with pytest.raises(DataError, match=r"generator 'few': reached 1[45]\d of 500 distinct prompts"):
        generate_dataset(few, "few", "mine", "v1", count=500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "generator 'golden': count is 0; expected 1 or more"),
        ({"count": -3}, "generator 'golden': count is -3; expected 1 or more"),
        ({"seed": -1}, "generator 'golden': seed is -1; expected 0 or more"),
    ],
)
def test_a_count_or_seed_out_of_range_is_refused(options, message):
    with pytest.raises(DataError) as error:
        generate_dataset(BUILTIN_GENERATORS["golden"], "golden", "mine", "v1", **options)
    assert str(error.value) == message
