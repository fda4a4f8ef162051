import re

import pytest

from tunix_eval.data import (
    addition_dataset,
    addition_heldout,
    contaminated,
    on_holdout_side,
)


def carries(a, b):
    """Count the columns whose digits without carry in are fewer than the sum shows: the classic digit-sum identity."""
    return (sum(map(int, f"{a}{b}")) - sum(map(int, str(a + b)))) // 9


def operands(prompt):
    match = re.fullmatch(r"([1-9]\d\d)\+([1-9]\d\d)=", prompt)
    return int(match[1]), int(match[2])


@pytest.fixture(scope="module")
def dataset():
    return addition_dataset()


@pytest.fixture(scope="module")
def heldout():
    return addition_heldout()


def test_every_answer_is_the_sum_of_the_prompt(dataset, heldout):
    assert len(dataset.traces) == 2000
    assert len(heldout.items) == 200
    for trace in dataset.traces:
        assert trace.final_answer == str(sum(operands(trace.prompt)))
    for item in heldout.items:
        assert item.expected_answer == str(sum(operands(item.prompt)))


def test_every_scratchpad_adds_digits_with_the_carry_and_spells_the_answer(dataset):
    for trace in dataset.traces:
        a, b = operands(trace.prompt)
        carry, digits = 0, ""
        for x, y, step in zip(reversed(str(a)), reversed(str(b)), trace.steps, strict=True):
            left, right = step.content.split("=")
            assert left == f"{x}+{y}+{carry}"
            assert int(right) == eval(left)
            assert len(right) == 2
            carry, digits = int(right[0]), right[1] + digits
        assert f"{carry or ''}{digits}" == trace.final_answer


def test_every_prompt_is_new_and_on_its_own_side(dataset, heldout):
    prompts = [trace.prompt for trace in dataset.traces]
    assert len({*prompts, *(item.prompt for item in heldout.items)}) == 2200
    assert not any(on_holdout_side(prompt, 0.1) for prompt in prompts)
    assert all(on_holdout_side(item.prompt, 0.1) for item in heldout.items)
    assert contaminated(dataset.traces, heldout.items) == []


def test_the_category_is_the_number_of_carries(heldout):
    names = ("0 carries", "1 carry", "2 carries", "3 carries")
    assert {item.category for item in heldout.items} == set(names)
    for item in heldout.items:
        assert item.category == names[carries(*operands(item.prompt))]
