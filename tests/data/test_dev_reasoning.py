import re
from collections import Counter
from fractions import Fraction

import pytest
from solvers import solve, value

from tunix_eval.data import (
    BUILTIN_DATASETS,
    contaminated,
    dev_reasoning_dataset,
    dev_reasoning_heldout,
    on_holdout_side,
)
from tunix_eval.digest import normalised_prompt


@pytest.fixture(scope="module")
def dataset():
    return dev_reasoning_dataset()


@pytest.fixture(scope="module")
def heldout():
    return dev_reasoning_heldout()


@pytest.fixture(scope="module")
def basic():
    return BUILTIN_DATASETS["dev-reasoning-v1"]()


def test_every_answer_of_the_datasets_is_right(dataset, basic):
    traces = (*dataset.traces, *basic.traces)
    assert {trace.prompt: trace.final_answer for trace in traces if solve(trace.prompt) != trace.final_answer} == {}


def test_every_expected_answer_of_the_evalset_is_right(heldout):
    wrong = {item.prompt: item.expected_answer for item in heldout.items if solve(item.prompt) != item.expected_answer}
    assert wrong == {}


def test_every_equation_in_a_step_holds(dataset, basic):
    equation = re.compile(r"(?<![\w.])((?:-?[\d.]+|\()[\d.+*/() -]*) = (-?\d+(?:\.\d+)?)")
    found = [
        (left, right)
        for trace in (*dataset.traces, *basic.traces)
        for step in trace.steps
        for left, right in equation.findall(step.content)
    ]
    assert len(found) > 1600
    assert [(left, right) for left, right in found if value(left) != Fraction(right)] == []


def test_a_step_with_an_equals_sign_is_a_calculation_that_was_checked(dataset, basic):
    for trace in (*dataset.traces, *basic.traces):
        for step in trace.steps:
            assert (step.type == "calculation") == bool(re.search(r"\d\)? = -?\d", step.content)), step


def test_word_problems_take_several_steps_and_reach_the_answer(dataset, basic):
    for trace in (*dataset.traces, *basic.traces):
        if trace.meta["category"] == "reasoning":
            assert len(trace.steps) >= 3
            assert trace.final_answer in re.findall(r"-?\d[\d:]*", " ".join(step.content for step in trace.steps[-2:]))


def test_the_kinds_are_there_in_their_numbers(dataset, heldout):
    kinds = Counter(trace.meta["category"] for trace in dataset.traces)
    assert kinds == {"reasoning": 385, "synthetic": 110, "golden_style": 35, "edge_case": 20}
    assert Counter(item.category for item in heldout.items) == {
        "reasoning": 35,
        "synthetic": 10,
        "golden_style": 3,
        "edge_case": 2,
    }
    types = Counter(trace.meta["task_type"] for trace in dataset.traces if trace.meta["category"] == "reasoning")
    assert len(types) == 26
    assert min(types.values()) >= 10


def test_the_basic_set_has_fewer_kinds_and_the_same_word_problems(dataset, basic):
    assert len(basic.traces) == 200
    assert Counter(trace.meta["category"] for trace in basic.traces) == {"reasoning": 140, "synthetic": 60}
    prompts = {trace.prompt for trace in dataset.traces}
    assert all(trace.prompt in prompts for trace in basic.traces if trace.meta["category"] == "reasoning")


def test_meta_says_where_a_trace_comes_from(dataset):
    for index, trace in enumerate(dataset.traces):
        rest = {key: trace.meta[key] for key in trace.meta if key not in ("category", "task_type")}
        assert rest == {"dataset": "dev-reasoning-v2", "generator": "dev_reasoning", "index": index, "seed": 42}


def test_every_prompt_is_new_and_on_its_own_side(dataset, basic, heldout):
    prompts = [trace.prompt for trace in dataset.traces]
    assert len({normalised_prompt(prompt) for prompt in (*prompts, *(item.prompt for item in heldout.items))}) == 600
    assert len({normalised_prompt(trace.prompt) for trace in basic.traces}) == 200
    assert not any(on_holdout_side(prompt, 0.1) for prompt in (*prompts, *(trace.prompt for trace in basic.traces)))
    assert all(on_holdout_side(item.prompt, 0.1) for item in heldout.items)
    assert contaminated(dataset.traces, heldout.items) == []
    assert dataset.manifest["duplicates"] == 0


def test_a_number_of_one_is_never_followed_by_a_plural(dataset, heldout):
    texts = [text for trace in dataset.traces for text in (trace.prompt, *(step.content for step in trace.steps))]
    texts += [item.prompt for item in heldout.items]
    plural = re.compile(r"(?<![\d:.=*/+-] )(?<![\d:.-])1 (?:more )?[a-z]+s\b")
    assert [text for text in texts if plural.search(text)] == []
