import uuid

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import build_dataset, diff_datasets, difference_text
from tunix_eval.data.building.differences import FIELDS
from tunix_eval.records import Step, Trace
from tunix_eval.testing import traces


def trace(id_, prompt, **changes):
    fields = {"final_answer": "2", "steps": (Step(0, "s", "1"),)} | changes
    return Trace(trace_version="1.0", prompt=prompt, id=id_, **fields)


def dataset(version, *listed):
    return build_dataset("sums", version, listed)


def ids(found):
    return [one.id for one in found]


OLD = dataset("v1", trace("a", "1+1="), trace("b", "2+2="), trace("c", "3+3="))


class TestDiff:
    def test_traces_match_by_id_and_a_change_names_its_fields(self):
        new = dataset("v2", trace("a", "1+1="), trace("c", "3+3=", final_answer="6", meta={"x": 1}), trace("d", "4+4="))
        found = diff_datasets(OLD, new)
        assert (ids(found.added), ids(found.removed), ids(found.unchanged)) == (["d"], ["b"], ["a"])
        assert [(one.old.id, one.new.id, one.fields) for one in found.changed] == [("c", "c", ("final_answer", "meta"))]
        assert not found.reordered
        assert not found.is_empty

    def test_ids_made_from_content_match_by_prompt_where_the_content_changed(self):
        old = dataset("v1", trace(None, "1+1="), trace(None, "2+2="), trace(None, "2+2=", final_answer="5"))
        new = dataset("v2", trace(None, " 1+1= "), trace(None, "2+2=", final_answer="4"), trace(None, "3+3="))
        found = diff_datasets(old, new)
        assert [one.fields for one in found.changed] == [("prompt",), ("final_answer",)]
        assert found.changed[1].old == old.traces[1]
        assert (list(found.added), list(found.removed)) == ([new.traces[2]], [old.traces[2]])

    def test_ids_of_the_users_own_never_match_by_prompt(self):
        new = dataset("v2", trace("x", "1+1="), trace(str(uuid.UUID(int=1, version=4)), "2+2="), trace("c", "3+3="))
        found = diff_datasets(OLD, new)
        assert (len(found.added), ids(found.removed), ids(found.unchanged)) == (2, ["a", "b"], ["c"])

    def test_values_of_meta_that_python_takes_for_equal_are_changes(self):
        old, new = (dataset(f"v{k}", trace("a", "1+1=", meta={"x": [x]})) for k, x in enumerate((1, True)))
        assert [one.fields for one in diff_datasets(old, new).changed] == [("meta",)]

    def test_another_order_is_told(self):
        found = diff_datasets(OLD, dataset("v2", *reversed(OLD.traces)))
        assert found.reordered
        assert not found.is_empty
        assert len(found.unchanged) == 3

    @pytest.mark.parametrize("field", FIELDS)
    def test_every_field_but_the_id_counts(self, field):
        other = {
            "trace_version": "1.1",
            "prompt": "5",
            "final_answer": "5",
            "steps": (Step(1, "s", "1"),),
            "meta": {},
            "system": "be brief",
            "messages": ({"role": "user", "content": "x"},),
        }[field]
        changed = msgspec.convert(msgspec.to_builtins(OLD.traces[0]) | {field: msgspec.to_builtins(other)}, Trace)
        found = diff_datasets(OLD, dataset("v2", changed, *OLD.traces[1:]))
        assert [one.fields for one in found.changed] == [(field,)]
        assert {field_.name for field_ in msgspec.structs.fields(Trace)} == {*FIELDS, "id"}

    @given(st.lists(traces(), min_size=1, max_size=5, unique_by=lambda one: one.id), st.data())
    @settings(max_examples=25, derandomize=True, deadline=None)
    def test_every_trace_of_both_is_told_once_and_backwards_what_was_added_was_removed(self, listed, data):
        sides = [
            dataset(version, *data.draw(st.lists(st.sampled_from(listed), min_size=1, unique_by=lambda one: one.id)))
            for version in ("v1", "v2")
        ]
        there, back = diff_datasets(*sides), diff_datasets(*reversed(sides))
        common = len(there.unchanged) + len(there.changed)
        assert len(there.added) + common == len(sides[1].traces)
        assert len(there.removed) + common == len(sides[0].traces)
        assert (there.added, there.removed) == (back.removed, back.added)
        assert diff_datasets(sides[0], sides[0]).is_empty


class TestText:
    def test_counts_come_first_then_a_line_a_trace(self):
        new = dataset("v2", trace("a", "1+1="), trace("c", "3+3=", final_answer="6"), trace("d", "4+4=\nor so"))
        assert difference_text(diff_datasets(OLD, new)) == [
            "sums-v1 -> sums-v2: 1 added, 1 removed, 1 changed, 1 unchanged",
            "+ d  4+4=\\nor so",
            "- b  2+2=",
            "~ c  final_answer",
        ]

    def test_no_difference_is_one_line(self):
        assert difference_text(diff_datasets(OLD, dataset("v2", *OLD.traces))) == ["sums-v1 -> sums-v2: 3 unchanged"]
        turned = dataset("v2", *reversed(OLD.traces))
        assert difference_text(diff_datasets(OLD, turned)) == ["sums-v1 -> sums-v2: 3 unchanged, in another order"]

    def test_long_lists_are_cut_with_a_count(self):
        new = dataset("v2", *(trace(f"n{n}", f"{n}") for n in range(1300)))
        lines = difference_text(diff_datasets(OLD, new), listed=2)
        assert lines[0] == "sums-v1 -> sums-v2: 1,300 added, 3 removed, 0 unchanged"
        assert lines[1:4] == ["+ n0  0", "+ n1  1", "+ and 1,298 more"]

    @given(st.lists(traces(), min_size=1, max_size=3, unique_by=lambda one: one.id))
    @settings(max_examples=25, derandomize=True, deadline=None)
    def test_no_line_is_wider_than_a_terminal_or_steers_it(self, listed):
        for line in difference_text(diff_datasets(OLD, dataset("v2", *listed))):
            assert len(line) <= 80
            assert line.isprintable()

    def test_wide_characters_count_twice(self):
        new = dataset("v2", *OLD.traces, trace("w", "漢" * 60))
        assert difference_text(diff_datasets(OLD, new))[1] == "+ w  " + "漢" * 36 + ".."
