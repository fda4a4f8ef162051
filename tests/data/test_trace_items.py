import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import checked_traces, evalset_of, evalset_text, read_evalset
from tunix_eval.errors import DataError
from tunix_eval.records import Step, Trace, Turn
from tunix_eval.testing import traces

pytestmark = pytest.mark.filterwarnings("ignore::tunix_eval.data.DataWarning")


def trace(i=0, **fields):
    return Trace(
        **{
            "trace_version": "1.0",
            "id": f"t{i}",
            "prompt": f"{i}+1=",
            "steps": (Step(0, "sum", "add"),),
            "final_answer": str(i + 1),
        }
        | fields
    )


def test_an_item_asks_the_prompt_and_expects_the_final_answer():
    turns = (Turn("user", "2+2="), Turn("assistant", "4"))
    meta = {"category": "sums", "difficulty": "easy", "section": "core", "cluster": "c1", "source": "school"}
    (item,) = evalset_of([trace(3, meta=meta, system="Be brief.", messages=turns)], "sums").items
    assert (item.id, item.prompt, item.expected_answer) == ("t3", "3+1=", "4")
    assert (item.category, item.difficulty, item.section, item.cluster) == ("sums", "easy", "core", "c1")
    assert (item.system, item.messages) == ("Be brief.", turns)


def test_what_is_no_text_in_meta_stays_behind():
    meta = {"category": 3, "difficulty": None, "section": ["core"], "cluster": " "}
    (item,) = evalset_of([trace(meta=meta)], "sums").items
    assert (item.category, item.difficulty, item.section, item.cluster) == (None, None, None, None)


def test_of_equal_questions_the_first_stays():
    asked = [
        trace(0, prompt="What is it?"),
        trace(1, prompt=" what IS it?"),
        trace(2, prompt="What is it?", system="Be brief."),
        trace(3, prompt="What is it?", messages=(Turn("user", "x"), Turn("assistant", "y"))),
    ]
    assert [item.id for item in evalset_of(asked, "sums").items] == ["t0", "t2", "t3"]


def test_no_trace_makes_no_evalset():
    with pytest.raises(DataError, match="evalset 'sums': holds no item"):
        evalset_of([], "sums")


@given(st.lists(traces(), min_size=1, max_size=6))
@settings(derandomize=True, max_examples=40)
def test_an_evalset_of_any_traces_reads_again(tmp_path_factory, found):
    named = checked_traces(
        [Trace(**{key: getattr(one, key) for key in one.__struct_fields__} | {"id": None}) for one in found], "made"
    )
    evalset = evalset_of(named, "made")
    path = tmp_path_factory.mktemp("evalset") / "made.jsonl"
    path.write_text(evalset_text(evalset), encoding="utf-8", newline="\n")
    assert read_evalset(path) == evalset
