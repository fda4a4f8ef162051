import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import build_dataset, contaminated, contamination, dedupe, on_holdout_side, split
from tunix_eval.digest import normalised_prompt
from tunix_eval.errors import DataError
from tunix_eval.records import EvalItem, Step, Trace, Turn
from tunix_eval.testing import texts, traces


def trace(id_, prompt="What is 1+1?", **changes):
    fields = {"final_answer": "2", "steps": (Step(0, "s", "1"),)} | changes
    return Trace(trace_version="1.0", prompt=prompt, id=id_, **fields)


def item(id_, prompt):
    return EvalItem(id=id_, prompt=prompt, expected_answer="2")


def ids(found):
    return [one.id for one in found]


class TestDedupe:
    def test_exact_compares_everything_but_the_id(self):
        given_ = [
            trace("a"),
            trace("b", meta={"x": 1, "y": 2}),
            trace("c"),
            trace("d", meta={"y": 2, "x": 1}),
            trace("e", final_answer="two"),
            trace("f"),
        ]
        kept, dropped = dedupe(given_)
        assert ids(kept) == ["a", "b", "e"]
        assert dropped == [("c", "a"), ("d", "b"), ("f", "a")]

    def test_by_prompt_folds_case_and_spacing(self):
        kept, dropped = dedupe([trace("a"), trace("b", " what  is 1+1? "), trace("c", "What is 1+2?")], by="prompt")
        assert ids(kept) == ["a", "c"]
        assert dropped == [("b", "a")]

    @given(st.lists(texts(), min_size=1, max_size=8))
    @settings(max_examples=40, derandomize=True, deadline=None)
    def test_as_many_are_dropped_by_prompt_as_the_manifest_counts_and_a_second_time_none(self, prompts):
        listed = [trace(f"t{n}", prompt) for n, prompt in enumerate(prompts + prompts[:2])]
        kept, dropped = dedupe(listed, by="prompt")
        assert len(dropped) == build_dataset("x", "v1", listed).manifest["duplicates"]
        assert dedupe(kept, by="prompt") == (kept, [])

    def test_another_measure_is_refused(self):
        with pytest.raises(DataError, match=r"duplicates by 'id': expected exact or prompt"):
            dedupe([trace("a")], by="id")


class TestSplit:
    @given(st.lists(traces(), max_size=6), st.floats(0, 1))
    @settings(max_examples=25, derandomize=True, deadline=None)
    def test_every_trace_is_on_one_side_in_order_and_no_prompt_on_both(self, listed, holdout):
        train, held_out = split(listed, holdout=holdout)
        assert train == [one for one in listed if not on_holdout_side(one.prompt, holdout)]
        assert held_out == [one for one in listed if on_holdout_side(one.prompt, holdout)]
        prompts = [{normalised_prompt(one.prompt) for one in side} for side in (train, held_out)]
        assert not prompts[0] & prompts[1]

    def test_no_prompt_changes_side_as_the_set_grows(self):
        listed = [trace(f"t{n}", f"question {n}") for n in range(300)]
        before, after = split(listed[:100], holdout=0.2), split(listed, holdout=0.2)
        assert all(set(ids(old)) <= set(ids(new)) for old, new in zip(before, after, strict=True))
        assert 30 < len(after[1]) < 90

    def test_a_fraction_outside_0_to_1_is_refused(self):
        with pytest.raises(DataError, match="holdout fraction 10 is outside 0 to 1"):
            split([trace("a")], holdout=10)


class TestContamination:
    TRACES = (
        trace("a"),
        trace("b", "WHAT is 1+1?"),
        trace("c", "And 3+3?", messages=(Turn("user", "What is 2+2?"), Turn("assistant", "What is 5+5?"))),
    )
    ITEMS = (
        item("same", "What is 1+1?"),
        item("other", "What is 9+9?"),
        item("spaced", " and 3+3?"),
        item("earlier", "What is 2+2?"),
        item("reply", "What is 5+5?"),
    )

    def test_items_are_counted_by_how_they_are_found_and_named_with_their_traces(self):
        found = contamination(self.TRACES, self.ITEMS)
        assert [(one.item_id, one.trace_ids) for one in found.exact] == [("same", ("a", "b")), ("earlier", ("c",))]
        assert [(one.item_id, one.trace_ids) for one in found.normalised] == [("spaced", ("c",))]
        assert (len(found), found.n_items) == (3, 5)

    def test_more_than_allowed_is_refused_by_name(self):
        found = contamination(self.TRACES, self.ITEMS)
        found.check(allowed=3)
        with pytest.raises(DataError) as caught:
            found.check(allowed=2, source="evalset 'sums'")
        assert str(caught.value) == (
            "evalset 'sums': 3 of 5 prompts are in the training set too, allowed 2 (2 exact, 1 normalised; first: "
            "item 'same' is trace 'a', item 'earlier' is trace 'c', item 'spaced' is trace 'c'); "
            "take them out of one of the two"
        )

    def test_nothing_in_common_passes(self):
        found = contamination(self.TRACES, self.ITEMS[1:2])
        found.check()
        assert (found.exact, found.normalised) == ((), ())

    def test_the_ids_alone_come_in_item_order(self):
        assert contaminated(self.TRACES, self.ITEMS) == ["same", "spaced", "earlier"]
