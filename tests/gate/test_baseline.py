"""Baselines: making, comparing and describing them, and the committed file."""

import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunix_eval.errors import BaselineError
from tunix_eval.gate import (
    Baseline,
    RunOrigin,
    baseline_runs,
    baseline_text,
    check_answered,
    check_comparable,
    check_equal_scores,
    completions_sha256,
    describe_change,
    make_baseline,
    read_baseline,
    run_scores,
    same_content,
)
from tunix_eval.records import Completion, EvalItem, Score, ScoredItem

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCORERS = {"exact": ("e" * 64, False), "answer_nll": ("n" * 64, True)}


def provenance(seed):
    return RunOrigin(
        run_id=f"run{seed}",
        seed=seed,
        weights_sha256=f"{seed}" * 64,
        packages={"jax": "0.10.2", "flax": "0.12.8"},
        device={"platform": "cpu", "kind": "cpu", "count": 1, "cpu_features": ["avx2"]},
    )


def scored_item(item_id, scores, answer="a", repeat=0):
    return ScoredItem(
        item=EvalItem(id=item_id, prompt="p", expected_answer="a"),
        completion=Completion(
            item_id=item_id, text="a", answer=answer, status="ok", stop_reason="stop", tokens=1, repeat=repeat
        ),
        scores=scores,
    )


def scored(values):
    """Scored items i0, i1, ... with (exact, answer_nll) each."""
    return [
        scored_item(f"i{index}", {"exact": Score(exact), "answer_nll": Score(nll)})
        for index, (exact, nll) in enumerate(values)
    ]


def made(runs, **changed):
    """A baseline of runs with their scored items."""
    known = {
        "run_name": "addition",
        "evalset": "heldout",
        "evalset_sha256": "s" * 64,
        "prompts_sha256": "p" * 64,
        "scorers": SCORERS,
        "created_at": NOON,
    }
    return make_baseline(runs=runs, **(known | changed))


def baseline(*columns, created_at=NOON, scorers=SCORERS, prompts="p" * 64):
    columns = columns or ([(1.0, 0.25), (0.0, 3.5)], [(1.0, 0.125), (1.0, 2.0)])
    runs = [(provenance(seed), scored(values)) for seed, values in enumerate(columns)]
    return made(runs, created_at=created_at, scorers=scorers, prompts_sha256=prompts)


def refusal(held, **changed):
    """Why a result may not be compared with a baseline, or None."""
    arguments = {
        "run_name": "addition",
        "evalset_sha256": "s" * 64,
        "prompts_sha256": "p" * 64,
        "scorer_sha256": "e" * 64,
        "metric": "exact",
        "item_ids": ["i0", "i1"],
        "path": "baselines/addition/heldout.json",
    }
    try:
        check_comparable(held, **(arguments | changed))
    except BaselineError as error:
        return str(error)
    return None


def test_a_baseline_of_another_run_is_refused():
    reason = refusal(baseline(), run_name="addition-large")
    assert reason.startswith(
        "baselines/addition/heldout.json: is the baseline of run 'addition', not of 'addition-large'; restore it"
    )
    assert reason.endswith("to replace it; it keeps its 2 runs")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "heldout.json"


def test_the_text_has_sorted_keys_and_one_item_a_line(snapshot):
    assert baseline_text(baseline()) == snapshot


def test_a_baseline_reads_back_as_it_was_written(path):
    path.write_text(baseline_text(baseline()))
    assert read_baseline(path) == baseline()


values = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.tuples(values, values), min_size=1, max_size=5), st.text())
def test_any_ids_scores_and_names_survive_the_file(tmp_path_factory, scores, name):
    columns = [
        [scored_item(item_id, {"m": Score(row[index])}) for item_id, row in scores.items()] for index in range(2)
    ]
    one = made(
        [(provenance(seed), items) for seed, items in enumerate(columns)],
        run_name=name,
        scorers={"m": ("m" * 64, False)},
    )
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    path.write_text(baseline_text(one), encoding="utf-8")
    assert read_baseline(path) == one


def test_one_changed_score_changes_its_line_and_its_runs_digest():
    changed = baseline([(1.0, 0.25), (0.0, 3.5)], [(1.0, 0.125), (0.0, 2.0)])
    old, new = baseline_text(baseline()).splitlines(), baseline_text(changed).splitlines()
    differing = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert differing[0] == ('        "i1": [0, 1]', '        "i1": [0, 0]')
    digests = {one.runs[1].scores_sha256["exact"] for one in (baseline(), changed)}
    assert len(digests) == 2
    assert {line.split('"')[3] for line in differing[1]} == digests
    assert len(differing) == 2


def test_the_runs_of_a_baseline_carry_their_own_scores():
    first, second = baseline_runs(baseline(), "answer_nll")
    assert (first.run_id, first.seed, first.weights_sha256) == ("run0", 0, "0" * 64)
    assert first.values == {"i0": 0.25, "i1": 3.5}
    assert second.values == {"i0": 0.125, "i1": 2.0}
    direct = run_scores(scored([(1.0, 0.25), (0.0, 3.5)]), "answer_nll", run_id="run0", seed=0, weights_sha256="0" * 64)
    assert direct == first


def test_a_metric_that_is_not_there_is_named_with_a_suggestion():
    with pytest.raises(BaselineError, match=r"no metric 'exat', it holds answer_nll, exact\. Did you mean 'exact'\?"):
        baseline_runs(baseline(), "exat")


# ------------------------------------------------------------------------------------------------------------ making


def test_runs_on_different_items_make_no_baseline():
    with pytest.raises(BaselineError, match="addition on heldout: 2 runs do not have the same items"):
        baseline([(1.0, 1.0), (1.0, 1.0)], [(1.0, 1.0)])


def test_no_runs_no_items_and_unscored_metrics_make_no_baseline():
    with pytest.raises(BaselineError, match="do not have the same items"):
        baseline([])
    with pytest.raises(BaselineError, match="no scores for f1"):
        baseline(scorers={"f1": ("f" * 64, False)})
    with pytest.raises(BaselineError, match="no scores for any metric"):
        baseline(scorers={})


# ------------------------------------------------------------------------------------------------------- comparability


def test_a_baseline_of_the_same_making_is_comparable():
    assert refusal(baseline()) is None
    assert refusal(baseline(), lower_is_better=False) is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"evalset_sha256": "t" * 64}, "another evalset (ssssssssssss, now tttttttttttt)"),
        ({"prompts_sha256": "q" * 64}, "other prompts (pppppppppppp, now qqqqqqqqqqqq)"),
        (
            {"scorer_sha256": "f" * 64},
            "another version of scorer 'exact', or another answer rule (eeeeeeeeeeee, now ffffffffffff)",
        ),
        ({"item_ids": ["i0", "i2"]}, "other items (2 differ, such as 'i1')"),
        ({"lower_is_better": True}, "'exact' declared as higher is better"),
    ],
)
def test_a_baseline_made_with_something_else_never_passes(changed, named):
    assert refusal(baseline(), **changed) == (
        f"baselines/addition/heldout.json: made with {named}; "
        "run `pytest --tunix-train --tunix-update-baselines` to replace it; it keeps its 2 runs"
    )
    assert "run `pytest --tunix-update-baselines` to replace it" in refusal(baseline(), **changed, trains=False)


# --------------------------------------------------------------------------------------------------------------- files


def broken(path, text):
    path.write_text(text)
    with pytest.raises(BaselineError) as caught:
        read_baseline(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)[len(str(path)) :]


def test_a_missing_baseline_says_how_to_make_it(path):
    with pytest.raises(BaselineError) as trained:
        read_baseline(path)
    advice = "run `pytest --tunix-train --tunix-update-baselines` to make one of 5 training seeds"
    assert str(trained.value) == f"{path}: no such baseline; {advice}"
    with pytest.raises(BaselineError) as judged:
        read_baseline(path, trains=False)
    assert str(judged.value) == f"{path}: no such baseline; run `pytest --tunix-update-baselines` to make one"


def test_a_directory_is_no_baseline(path):
    path.mkdir()
    with pytest.raises(BaselineError, match="cannot be read"):
        read_baseline(path)


def test_a_baseline_in_another_encoding_is_named(path):
    path.write_text(baseline_text(baseline()), encoding="utf-16")
    with pytest.raises(BaselineError, match="is UTF-16, by its byte order mark"):
        read_baseline(path)
    path.write_bytes(baseline_text(baseline()).replace("\n", "\r\n").encode())
    assert read_baseline(path) == baseline()


def test_a_cut_file_is_named_with_line_and_column(path):
    text = baseline_text(baseline())
    assert broken(path, text[: len(text) // 2]).startswith(":")
    assert "restore it from git" in broken(path, text[: len(text) // 2])
    assert ":1:1: Expecting value" in broken(path, "")


def test_a_merge_conflict_that_git_left_is_named_with_its_line(tmp_path):
    def git(*arguments, check=True):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", *arguments],
            cwd=tmp_path,
            check=check,
            capture_output=True,
        )

    path = tmp_path / "b.json"
    git("init", "-q", "-b", "main")
    for branch, nll in (("main", 0.5), ("one", 0.6), ("two", 0.7)):
        git("checkout", "-q", "-B", branch, *([] if branch == "main" else ["main"]), check=branch != "main")
        path.write_text(baseline_text(baseline([(1.0, nll)])))
        git("add", "b.json")
        git("commit", "-q", "-m", branch)
    git("merge", "one", check=False)
    with pytest.raises(BaselineError, match=r"b\.json:\d+: merge conflict; restore one side"):
        read_baseline(path)


def test_a_newer_format_asks_for_an_upgrade(path):
    text = baseline_text(baseline()).replace('"format_version": 1', '"format_version": 2')
    assert broken(path, text) == ": format_version 2 is newer, this tunix-eval reads 1; upgrade tunix-eval"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"i1": [0, 1]', '"i1": [0]', "exact: item 'i1' has 1 values for 2 runs"),
        ('"i1": [0, 1]', '"i9": [0, 1]', "exact: its items are not those of the other metrics"),
        ('"i1": [0, 1]', '"i0": [0, 1]', "key 'i0' stands twice"),
        ('"i1": [0, 1]', '"i1": [0, NaN]', "metrics.exact.scores.i1.1"),
        ('"i1": [0, 1]', '"i1": [0, "1"]', "metrics.exact.scores.i1.1"),
        ('"run_id": "run1"', '"run_id": "run0"', "run run0 is listed twice"),
        ('"run_name": "addition"', '"run_title": "addition"', "run_name: Field required (and 1 more)"),
        ('"created_at": "2026-03-01T12:00:00Z"', '"created_at": "2026-03-01T12:00:00"', "created_at"),
    ],
)
def test_an_inconsistent_baseline_names_what_is_wrong(path, old, new, said):
    text = baseline_text(baseline())
    assert old in text
    message = broken(path, text.replace(old, new, 1))
    assert said in message
    assert "--tunix-update-baselines --tunix-baseline-runs 2` to replace it" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "lists or tables nested too deep"),
        ('{"format_version": ' + "1" * 5000 + "}", "an integer has too many digits"),
    ],
    ids=["deep", "long"],
)
def test_json_that_python_cannot_hold_is_one_line(path, text, said):
    command = "run `pytest --tunix-train --tunix-update-baselines --tunix-baseline-runs 5`"
    assert broken(path, text) == f": {said}; {command} to replace it"


def test_a_format_version_that_is_true_is_no_version(path):
    text = baseline_text(baseline()).replace('"format_version": 1', '"format_version": true')
    assert broken(path, text).startswith(": format_version is true, no number; ")


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"format_version": "2"}'])
def test_other_json_is_no_baseline(path, text):
    assert "to replace it" in broken(path, text)


@pytest.mark.parametrize(
    ("old", "new", "run", "metric"),
    [
        ('"i1": [0, 1]', '"i1": [1, 1]', "run0", "exact"),
        ('"i1": [0, 1]', '"i1": [0, 0]', "run1", "exact"),
        ('"i1": [3.5, 2]', '"i1": [3.5, 2.1]', "run1", "answer_nll"),
        ('"i1": [3.5, 2]', '"i1": [null, 2]', "run0", "answer_nll"),
        ('"run_id": "run1"', '"run_id": "run7"', "run7", "answer_nll"),
        ('"seed": 1', '"seed": 7', "run1", "answer_nll"),
        (f'"weights_sha256": "{"1" * 64}"', f'"weights_sha256": "{"2" * 64}"', "run1", "answer_nll"),
        ('"answered": 2', '"answered": 1', "run0", "answer_nll"),
        ('"made_with_sha256": "', '"made_with_sha256": "0', "run0", "answer_nll"),
        (', "exact": "', ', "exakt": "', "run0", "exact"),
    ],
)
def test_a_changed_line_names_run_and_metric(path, old, new, run, metric):
    """Whatever is taken from another baseline: a score, a run, or what the scores were made with."""
    text = baseline_text(baseline())
    text = text.replace('",\n        "exact": "', '", "exact": "')
    assert old in text
    message = broken(path, text.replace(old, new, 1))
    assert f": the scores of run {run} under {metric} are not what was written with it: a line was changed" in message
    assert (
        "restore it from git, or run `pytest --tunix-train --tunix-update-baselines --tunix-baseline-runs 2`" in message
    )


def test_scores_of_another_evalset_or_scorer_do_not_pass_by_their_digests(path):
    """One branch's digests beside the other branch's runs and scores."""
    for old in (f'"prompts_sha256": "{"p" * 64}"', f'"scorer_sha256": "{"n" * 64}"'):
        path.write_text(baseline_text(baseline()).replace(old, old[:-3] + '00"', 1))
        held = read_baseline(path)
        assert "run run0 was not made with the evalset, prompts and scorers that the file names" in refusal(
            held, prompts_sha256=held.prompts_sha256
        )


def test_equal_completions_have_equal_scores():
    """Under equal weights too: a scorer that changed without its version, or a baseline made by hand."""
    held = baseline()
    written = held.runs[0].completions_sha256
    assert written == completions_sha256(scored([(0.0, 0.0), (0.0, 0.0)]))
    items = scored([(1.0, 0.25), (1.0, 3.5)])
    current = run_scores(items, "exact", run_id="mine", seed=0, weights_sha256="0" * 64)
    with pytest.raises(
        BaselineError, match=r"^b\.json: run run0 has .* for 1 of 2 items \(i1: 0\.0, now 1\.0\); restore"
    ):
        check_equal_scores(held, "exact", current, written, path="b.json")
    # Other generation settings let the same weights write something else: that is compared.
    check_equal_scores(held, "exact", current, "another", path="b.json")
    other = msgspec.structs.replace(current, weights_sha256="9" * 64)
    check_equal_scores(held, "exact", other, written, path="b.json")


# ----------------------------------------------------------------------------------------------------------- answers


def unanswered(values, answered=0):
    items = [
        scored_item(f"i{index}", {"m": Score(value)}, answer="a" if index < answered else None)
        for index, value in enumerate(values)
    ]
    return made([(provenance(0), items)], scorers={"m": ("m" * 64, False)})


@pytest.mark.parametrize(
    ("values", "answered", "bounds", "refused"),
    [
        ([0.0] * 100, 0, (0.0, 1.0), True),
        ([0.0] * 96 + [1.0] * 4, 4, (0.0, 1.0), True),
        ([0.0] * 95 + [1.0] * 5, 5, (0.0, 1.0), False),
        ([0.0] * 100, 5, (0.0, 1.0), False),
        ([0.0] * 100, 0, None, True),
        # contains, which takes the whole reply.
        ([1.0] * 100, 0, (0.0, 1.0), False),
        ([1.0, 0.0] * 50, 0, (0.0, 1.0), False),
    ],
)
def test_a_baseline_without_answers_is_refused(values, answered, bounds, refused):
    held = unanswered(values, answered)
    if not refused:
        return check_answered(held, "m", bounds=bounds, where="b.json", advice="do this")
    with pytest.raises(BaselineError) as caught:
        check_answered(held, "m", bounds=bounds, where="b.json", advice="do this")
    said = f"b.json: {answered} of 100 replies have an answer, so that a gate on m could not fail; do this"
    assert str(caught.value) == said
    return None


# ------------------------------------------------------------------------------------------------------------- changes


def test_only_the_time_of_making_does_not_count_as_a_change():
    later = baseline(created_at=NOON + timedelta(days=9))
    assert same_content(baseline(), later)
    assert describe_change(baseline(), later) == []
    assert not same_content(None, later)
    assert not same_content(baseline(prompts="q" * 64), baseline())


def test_a_new_baseline_is_described():
    assert describe_change(None, baseline()) == [
        "addition/heldout: new, 2 runs",
        "  answer_nll: new, 2 items, mean 1.469",
        "  exact: new, 2 items, mean 0.750",
    ]


def test_a_replaced_baseline_is_described_by_what_differs():
    new = baseline([(1.0, 0.25), (None, 3.5)], scorers={"exact": ("f" * 64, False)}, prompts="q" * 64)
    assert describe_change(baseline(), new) == [
        "addition/heldout: 2 runs -> 1 run",
        "  prompts changed",
        "  answer_nll: removed",
        "  exact: 2 items, mean 0.750 -> 2 items, mean 1.000, scorer changed, "
        "1 item without a value: its gates will fail",
    ]


def test_other_scores_and_packages_of_as_many_runs_are_described():
    old = baseline()
    runs = tuple(run.model_copy(update={"packages": {"jax": "0.10.3"}}) for run in old.runs)
    new = baseline([(1.0, 0.25), (0.0, 3.5)], [(0.0, 0.125), (1.0, 2.0)]).model_copy(update={"runs": runs})
    assert describe_change(old, new) == [
        "addition/heldout: 2 runs -> 2 runs",
        "  packages changed",
        "  answer_nll: 2 items, mean 1.469 -> 2 items, mean 1.469",
        "  exact: 2 items, mean 0.750 -> 2 items, mean 0.500, 1 item with other scores",
    ]


def test_a_baseline_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        baseline().run_name = "other"
    assert isinstance(baseline(), Baseline)


def test_an_item_with_several_completions_has_their_mean():
    items = [
        ScoredItem(
            item=one.item,
            completion=msgspec.structs.replace(one.completion, repeat=repeat),
            scores=one.scores,
        )
        for repeat, column in enumerate(([(1.0, 0.5), (0.0, 1.0)], [(0.0, 1.0), (0.0, None)], [(0.0, 3.0), (1.0, 2.0)]))
        for one in scored(column)
    ]
    found = run_scores(items, "exact", run_id="r", seed=0, weights_sha256="w")
    assert found.values == {"i0": pytest.approx(1 / 3), "i1": pytest.approx(1 / 3)}
    made = make_baseline(
        run_name="addition",
        evalset="heldout",
        evalset_sha256="s",
        prompts_sha256="p",
        scorers=SCORERS,
        runs=[(provenance(0), items)],
        created_at=NOON,
    )
    assert made.metrics["exact"].scores["i0"] == (pytest.approx(1 / 3),)
    assert made.metrics["answer_nll"].scores == {"i0": (1.5,), "i1": (None,)}
