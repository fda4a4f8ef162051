import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.data import select
from tunix_eval.errors import DataError
from tunix_eval.records import Step, Trace


def trace(id_, **meta):
    return Trace(
        trace_version="1.0",
        prompt=f"prompt of {id_}",
        final_answer="2",
        steps=(Step(0, "s", "1"),),
        id=id_,
        meta=meta or None,
    )


def ids(traces):
    return [one.id for one in traces]


MIXED = [
    trace("a", category="reasoning", difficulty="easy", origin={"kind": "human"}),
    trace("b", category="reasoning", difficulty="hard", origin={"kind": "model", "run": 1}),
    trace("c", category="synthetic", difficulty="easy"),
    trace("d", category="reasoning", difficulty="medium", origin={"kind": "human"}),
    trace("e"),
]
DRAWN = ["t48", "t16", "t59", "t58", "t43", "t10"]
"""The first by SHA-256 of "7\n" and the id, computed apart."""
NUMBERED = [trace(f"t{n}", n=n, parity="odd" if n % 2 else "even") for n in range(60)]


class TestFilters:
    @pytest.mark.parametrize("meta", [{"a.b": {"c": 1}}, {"a": {"b.c": 1}}, {"a": {"b": {"c": 1}}}, {"a.b.c": 1}])
    def test_a_key_leads_through_keys_that_hold_dots_themselves(self, meta):
        held = [trace("a", **meta), trace("b", **{"a": 1, "a.b": 2})]
        assert ids(select(held, filters={"a.b.c": 1})) == ["a"]

    def test_equality_lists_and_dotted_keys_hold_together(self):
        filters = {"category": "reasoning", "difficulty": ["easy", "medium"], "origin.kind": "human"}
        assert ids(select(MIXED, filters=filters)) == ["a", "d"]

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            (1, ["int", "float"]),
            (1.0, ["int", "float"]),
            (True, ["true"]),
            ("1", ["text"]),
            (None, ["null", "absent"]),
            ([1, True], ["int", "float", "true"]),
            ([[1, 2.0]], ["list"]),
            ({"k": 1}, ["table"]),
            (-0.0, ["zero"]),
        ],
    )
    def test_numbers_compare_by_value_and_kinds_never_mix(self, wanted, found):
        values = {
            "int": 1,
            "float": 1.0,
            "true": True,
            "text": "1",
            "null": None,
            "list": [1.0, 2],
            "table": {"k": 1.0},
        }
        traces = [*(trace(name, x=value) for name, value in values.items()), trace("zero", x=0), trace("absent", y=1)]
        assert ids(select(traces, filters={"x": wanted})) == found

    def test_a_key_that_is_spelt_with_a_dot_comes_before_the_path(self):
        traces = [trace("a", **{"x.y": 1, "x": {"y": 2}}), trace("b", x={"y": 1})]
        assert ids(select(traces, filters={"x.y": 1})) == ["a", "b"]

    def test_a_filter_sees_every_trace_before_the_limit(self):
        assert ids(select(NUMBERED, filters={"n": [58, 59]}, limit=1)) == ["t58"]

    def test_a_filter_that_leaves_nothing_is_named_with_what_there_is(self):
        with pytest.raises(DataError) as caught:
            select(MIXED, filters={"category": "reasoning", "difficulty": "eazy"})
        assert str(caught.value) == (
            'filter difficulty = "eazy": none of 3 traces passes it; '
            'there meta.difficulty is "easy" (1), "hard" (1), "medium" (1)'
        )

    @pytest.mark.parametrize("value", ["reasoning", None])
    def test_a_key_that_no_trace_has_is_named_with_the_keys_there_are(self, value):
        with pytest.raises(DataError) as caught:
            select(MIXED, filters={"catgory": value})
        assert str(caught.value) == (
            "no trace has meta.catgory; keys of meta: category, difficulty, origin.kind, origin.run. "
            "Did you mean 'category'?"
        )

    def test_an_empty_list_passes_nothing(self):
        with pytest.raises(DataError, match=r"^filter category = \[\]: none of 5"):
            select(MIXED, filters={"category": []})

    @pytest.mark.parametrize("value", [math.nan, object(), {1, 2}])
    def test_a_value_that_meta_cannot_hold_is_refused(self, value):
        with pytest.raises(DataError, match=r"^filter category: .* is no JSON value"):
            select(MIXED, filters={"category": value})

    def test_what_data_says_is_escaped_and_cut(self):
        with pytest.raises(DataError) as caught:
            select([trace("a", x="\x1b[31m" + "y" * 90)], filters={"x": "z"})
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 160


class TestOrder:
    def test_all_keeps_the_order(self):
        assert ids(select(NUMBERED, limit=3)) == ["t0", "t1", "t2"]

    def test_the_latest_come_first_and_traces_without_a_time_last(self):
        traces = [
            trace("none-1"),
            trace("june", created_at="2026-06-01T00:00:00Z"),
            trace("unix", timestamp=1_780_000_000),
            trace("local", created_at="2026-06-01T01:00:00+02:00", timestamp=0),
            trace("naive", created_at="2026-06-01"),
            trace("null", created_at=None, timestamp="2027-01-01T00:00:00"),
            trace("none-2"),
        ]
        assert ids(select(traces, strategy="latest")) == ["null", "naive", "june", "local", "unix", "none-2", "none-1"]
        assert ids(select(traces[:1] + traces[-1:], strategy="latest", limit=1)) == ["none-2"]

    @pytest.mark.parametrize("time", ["yesterday", True, ["2026"], {}])
    def test_a_time_that_is_none_is_named(self, time):
        with pytest.raises(DataError, match=r"^trace 'b': meta.created_at is .*; expected a time in ISO 8601"):
            select([trace("a", created_at=3), trace("b", created_at=time)], strategy="latest")

    def test_a_draw_is_the_same_on_every_machine(self):
        assert ids(select(NUMBERED, strategy="random", seed=7, limit=6)) == DRAWN
        assert ids(select(reversed(NUMBERED), strategy="random", seed=7, limit=6)) == DRAWN
        assert ids(select(NUMBERED, strategy="random", seed=8, limit=6)) != DRAWN

    @given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 60))
    @settings(max_examples=25, derandomize=True, deadline=None)
    def test_a_smaller_draw_is_part_of_a_larger_and_new_traces_move_no_other(self, seed, one, other):
        small, large = sorted((one, other))
        drawn = ids(select(NUMBERED, strategy="random", seed=seed))
        assert ids(select(NUMBERED, strategy="random", seed=seed, limit=small)) == drawn[:small]
        fewer = ids(select(NUMBERED[:large], strategy="random", seed=seed))
        assert fewer == [id_ for id_ in drawn if id_ in set(fewer)]

    @given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 30), st.integers(0, 99))
    @settings(max_examples=50, derandomize=True, deadline=None)
    def test_each_stratum_is_within_one_of_its_share(self, kinds, limit, seed):
        traces = [trace(f"t{n}", kind=kind) for n, kind in enumerate(kinds)]
        taken = select(traces, strategy="stratified", by="kind", seed=seed, limit=limit)
        count = min(limit, len(traces))
        assert len({one.id for one in taken}) == len(taken) == count
        for kind in set(kinds):
            share = count * kinds.count(kind) / len(kinds)
            assert abs(sum(one.meta["kind"] == kind for one in taken) - share) < 1

    def test_strata_are_drawn_as_random_draws_and_an_absent_key_is_one(self):
        taken = select([*NUMBERED, trace("x"), trace("y")], strategy="stratified", by="parity", seed=1, limit=31)
        assert [sum((one.meta or {}).get("parity") == kind for one in taken) for kind in ("even", "odd", None)] == [
            15,
            15,
            1,
        ]
        drawn = ids(select([*NUMBERED, trace("x"), trace("y")], strategy="random", seed=1))
        assert ids(taken) == [id_ for id_ in drawn if id_ in set(ids(taken))]

    def test_of_equal_remainders_the_larger_stratum_has_the_last_place(self):
        traces = [trace(f"t{n}", kind=kind) for n, kind in enumerate("aabbbb")]
        taken = select(traces, strategy="stratified", by="kind", seed=0, limit=1)
        assert [one.meta["kind"] for one in taken] == ["b"]

    def test_quality_puts_the_best_first_and_equals_in_their_order(self):
        values = {"a": 0.5, "b": 1, "c": 0.5, "d": 0.9, "e": 0.0}
        assert ids(select(MIXED, strategy="quality", order=values)) == ["b", "d", "a", "c", "e"]
        assert ids(select(MIXED, strategy="quality", order=values, lower_is_better=True)) == ["e", "a", "c", "d", "b"]
        assert ids(select(MIXED, strategy="quality", order=lambda one: ord(one.id), limit=2)) == ["e", "d"]
        assert ids(select(NUMBERED, strategy="quality", by="n", limit=2)) == ["t59", "t58"]

    @pytest.mark.parametrize("value", [None, math.nan, True])
    def test_a_trace_without_a_value_is_refused_and_never_last(self, value):
        with pytest.raises(DataError, match=r"^strategy 'quality': 2 of 5 traces have no value \(first: b, e\)"):
            select(MIXED, strategy="quality", order={"a": 1, "b": value, "c": 2, "d": 0})

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"strategy": "rando"}, "no selection strategy 'rando'; known: .* Did you mean 'random'"),
            ({"strategy": "random"}, "strategy 'random' draws, and needs a seed"),
            ({"strategy": "stratified", "seed": 1}, "'stratified' needs by, a key of meta"),
            ({"strategy": "stratified", "by": "category"}, "needs a seed"),
            ({"strategy": "stratified", "by": "categor", "seed": 1}, "no trace has meta.categor;"),
            ({"strategy": "quality"}, "'quality' needs the values to go by"),
            ({"strategy": "quality", "by": "n", "order": {}}, "either order, or by"),
            ({"strategy": "latest", "by": "n"}, "'latest' takes no by"),
            ({"order": {}}, "'all' takes no order"),
            ({"limit": 0}, "limit 0: expected at least 1"),
        ],
    )
    def test_arguments_that_do_not_fit_the_strategy_are_refused(self, options, reason):
        with pytest.raises(DataError, match=reason):
            select(MIXED, **options)

    def test_a_draw_needs_ids(self):
        with pytest.raises(DataError, match=r"^trace 2 has no id, by which a draw goes"):
            select([trace("a"), trace(None)], strategy="random", seed=0)
