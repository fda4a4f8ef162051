import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import answer_mark, model_text, traces_of_run
from tunix_eval.errors import DataError, SpecError
from tunix_eval.records import AnswerRule, EvalItem, Step, Trace, Turn

ITEMS = (
    EvalItem(id="one", prompt="1+1=", expected_answer="2", category="sum", difficulty="easy"),
    EvalItem(
        id="two",
        prompt="And 2+2?",
        expected_answer="4",
        system="Be brief.",
        messages=(Turn("user", "1+1?"), Turn("assistant", "2")),
    ),
)
ANSWER = AnswerRule("Answer:")


def line(id_, text, answer, score=1.0, status="ok", **scores):
    return {
        "example_id": id_,
        "generated_response": text,
        "extracted_answer": answer,
        "extraction_status": status,
        "scores": {"exact": score, **scores},
        "metadata": {"tokens": 3, "stop_reason": "stop"},
    }


def back(*lines, items=ITEMS, **options):
    given_ = {"run_id": "0123456789abcdef", "evalset": "sums", "scorer": "exact", "answer": ANSWER} | options
    return traces_of_run(lines, items, **given_)


def steps(text, answer, rule=ANSWER):
    ((trace,), _) = back(line("one", text, answer), answer=rule)
    return [step.content for step in trace.steps]


def test_a_right_completion_becomes_a_trace_with_the_items_prompt():
    (first, second), left_out = back(
        line("one", "Reasoning:\n1. one and one\n2. is two\nAnswer: 2", "2"), line("two", "it is\nAnswer: 4", "4")
    )
    assert left_out == []
    assert (first.prompt, first.final_answer, first.system, first.messages) == ("1+1=", "2", None, ())
    assert first.steps == (Step(0, "completion", "one and one"), Step(1, "completion", "is two"))
    assert first.meta == {
        "source": "0123456789abcdef",
        "evalset": "sums",
        "example_id": "one",
        "scorer": "exact",
        "score": 1.0,
        "category": "sum",
        "difficulty": "easy",
    }
    assert (second.system, second.messages) == (ITEMS[1].system, ITEMS[1].messages)


def test_only_correct_leaves_the_others_out_by_name():
    lines = [
        line("one", "Answer: 2", "2"),
        line("one", "Answer: 3", "3", 0.0),
        line("two", "Answer: 4", "4", None),
        line("two", "no", None, 1.0, "none"),
    ]
    traces, left_out = back(*lines)
    assert len(traces) == 1
    assert left_out == [("one", "exact is 0"), ("two", "exact has no score"), ("two", "no answer (none)")]
    traces, left_out = back(*lines, only="all")
    assert [trace.meta["score"] for trace in traces] == [1.0, 0.0, None]
    assert left_out == [("two", "no answer (none)")]


def test_another_scorer_may_decide():
    traces, left_out = back(line("one", "Answer: 2", "2", 1.0, near=0.5), scorer="near")
    assert (traces, left_out) == ([], [("one", "near is 0.5")])


def test_two_imports_agree_and_equal_completions_have_ids_of_their_own():
    lines = [line("one", "Answer: 2", "2")] * 3
    first, second = back(*lines)[0], back(*lines)[0]
    assert first == second
    assert len({trace.id for trace in first}) == 3


@given(
    st.sampled_from(("numbered", "plain", "tagged")),
    st.lists(
        st.text("ab1. =", min_size=1, max_size=9).filter(lambda text: text.strip() == text), min_size=1, max_size=4
    ),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_our_styles_write_comes_back(style, contents):
    made = Trace(
        trace_version="1.0",
        prompt="1+1=",
        final_answer="2",
        steps=tuple(Step(i, "completion", content) for i, content in enumerate(contents)),
    )
    assert steps(model_text(made, style), "2", answer_mark(style)) == contents


@pytest.mark.parametrize(
    ("text", "answer", "rule", "expected"),
    [
        ("Reasoning:\n1. a\nstill a\n2. b\nAnswer: 2", "2", ANSWER, ["a\nstill a", "b"]),
        ("Reasoning:\nfirst\n1. a\nAnswer: 2", "2", ANSWER, ["first\n1. a"]),
        ("a\nAnswer: 1\nno\nAnswer: 2", "2", ANSWER, ["a", "Answer: 1", "no"]),
        ("a\n\n \nb\n#### 2", "2", AnswerRule("####"), ["a", "b"]),
        ("so 1+1 is\n\\boxed{2}", "2", AnswerRule(kind="boxed"), ["so 1+1 is"]),
        ("a\nso it is \\boxed{2}.", "2", AnswerRule(kind="boxed"), ["a", "so it is \\boxed{2}."]),
        ("1+1 is 2", "2", AnswerRule(kind="last_number"), ["1+1 is 2"]),
        ("1+1 is\n2", "2", AnswerRule(kind="last_number"), ["1+1 is"]),
        ("2", "2", AnswerRule(), ["2"]),
        ("Answer: 2", "2", ANSWER, ["Answer: 2"]),
    ],
)
def test_the_steps_are_the_lines_before_the_answer(text, answer, rule, expected):
    assert steps(text, answer, rule) == expected


def test_items_and_scorers_that_are_not_there_are_named():
    with pytest.raises(
        DataError, match=r"^run 0123456789abcdef: item 'three' is not in evalset 'sums'; name the evalset"
    ):
        back(line("three", "Answer: 2", "2"))
    with pytest.raises(SpecError, match=r"no scorer named 'exacd'; known: exact. Did you mean 'exact'"):
        back(line("one", "Answer: 2", "2"), scorer="exacd")
    with pytest.raises(DataError, match="completions 'best': expected all or correct"):
        back(only="best")


def test_a_completion_that_no_trace_can_hold_is_named():
    with pytest.raises(DataError, match=r"^run 0123456789abcdef, sums, trace 2: steps\[0\].content: has 1500000 char"):
        back(line("one", "Answer: 2", "2"), line("one", "x" * 1_500_000 + "\nAnswer: 2", "2"))
