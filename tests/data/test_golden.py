import re
from collections import Counter
from fractions import Fraction

import pytest
from solvers import SOLVERS, solve, value

from tunix_eval.data import BUILTIN_DATASETS, on_holdout_side
from tunix_eval.digest import normalised_prompt

WORKED = ("dev-reasoning-v1", "dev-reasoning-v2", "golden-v2")


@pytest.fixture(scope="module")
def dataset():
    return BUILTIN_DATASETS["golden-v2"]()


def test_every_answer_is_right(dataset):
    wrong = {trace.prompt: trace.final_answer for trace in dataset.traces if solve(trace.prompt) != trace.final_answer}
    assert wrong == {}


def test_a_hundred_prompts_are_distinct_and_none_is_on_the_holdout_side(dataset):
    prompts = [trace.prompt for trace in dataset.traces]
    assert len({normalised_prompt(prompt) for prompt in prompts}) == len(prompts) == 100
    assert not any(on_holdout_side(prompt, 0.1) for prompt in prompts)


def test_every_task_type_is_there_five_times(dataset):
    types = Counter(trace.meta["task_type"] for trace in dataset.traces)
    assert len(types) == 20
    assert set(types.values()) == {5}


def test_answers_are_one_short_line(dataset):
    for trace in dataset.traces:
        assert re.fullmatch(r"\S.{0,60}", trace.final_answer), trace.prompt
        assert trace.final_answer == trace.final_answer.strip()


def test_every_equation_in_a_step_holds(dataset):
    steps = [step.content for trace in dataset.traces for step in trace.steps]
    found = [found for step in steps for found in re.findall(r"(\d+(?: [+*/-] \d+)+) = (\d+)", step)]
    assert len(found) >= 15
    assert [(left, right) for left, right in found if value(left) != Fraction(right)] == []


def test_every_solver_is_needed():
    prompts = [trace.prompt for name in WORKED for trace in BUILTIN_DATASETS[name]().traces]
    used = {pattern for pattern in SOLVERS for prompt in prompts if pattern.fullmatch(prompt)}
    assert used == set(SOLVERS)
