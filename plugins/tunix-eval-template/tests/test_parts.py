"""Each part by itself: the laws that every renderer and tokenizer keeps, and values computed by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

import tunix_eval_template
from tunix_eval.data import contaminated, encode_trace, evalset_text, generate_dataset, read_evalset
from tunix_eval.errors import DataError, RenderError, SpecError, TrainingError
from tunix_eval.records import Batch, Completion, Conversation, EvalItem, TrainingJob, Turn
from tunix_eval.specs import GenerationSpec, ModelSpec, TrainingSpec
from tunix_eval.testing import check_generator, check_renderer, check_scorer, check_tokenizer
from tunix_eval_template.dataset import held_out_endings, trace, word_endings, words
from tunix_eval_template.generator import DRAWN_ENDINGS
from tunix_eval_template.ngram import NgramModel, NgramTrainer
from tunix_eval_template.renderer import QaRenderer
from tunix_eval_template.scorer import PrefixScorer
from tunix_eval_template.tokenizer import PieceTokenizer

EVALSET = Path(tunix_eval_template.__file__).parent / "word-ending-heldout.jsonl"


def test_the_renderer_keeps_the_laws() -> None:
    check_renderer(QaRenderer())


def test_the_tokenizer_keeps_the_laws() -> None:
    check_tokenizer(PieceTokenizer)


def test_the_scorer_keeps_the_contract() -> None:
    check_scorer(PrefixScorer())


def test_a_trace_reads_as_question_and_answer() -> None:
    renderer = QaRenderer()
    tokenizer = PieceTokenizer(renderer.control_tokens)
    sequence = encode_trace(trace("kab"), renderer=renderer, tokenizer=tokenizer, style="plain")
    assert sequence.text == "Q: ending of kab\nA: b\na\n#### ab<eos>"
    assert tokenizer.decode(sequence.ids[sequence.loss_mask].tolist()) == "b\na\n#### ab<eos>"


@pytest.mark.parametrize("roles", [(), ("assistant",), ("user", "user"), ("user", "assistant")])
def test_a_prompt_that_does_not_end_with_the_user_is_refused(roles: tuple[str, ...]) -> None:
    conversation = Conversation(tuple(Turn(role=role, content="x") for role in roles))  # type: ignore[arg-type]
    with pytest.raises(RenderError, match="expected user and assistant in turn, user last"):
        QaRenderer().render(conversation, generation_prompt=True)


def test_pieces_are_taken_before_bytes_and_never_from_control_text() -> None:
    tokenizer = PieceTokenizer(("<eos>",))
    assert tokenizer.encode("ending of ab") == [257, ord("a"), ord("b")]
    assert tokenizer.control_id("<eos>") not in tokenizer.encode("<eos>")
    with pytest.raises(RenderError, match="no control token '<bos>'; it has <eos>"):
        tokenizer.control_id("<bos>")


def test_no_held_out_word_is_trained_on_and_every_ending_is() -> None:
    dataset, evalset = word_endings(), held_out_endings()
    assert (len(dataset.traces), len(evalset.items)) == (700, 70)
    assert contaminated(dataset.traces, evalset.items) == []
    assert {word[1:] for word in words(held_out=True)} <= {word[1:] for word in words(held_out=False)}


def test_the_committed_evalset_is_the_generated_one() -> None:
    assert EVALSET.read_text(encoding="utf-8") == evalset_text(held_out_endings())
    assert read_evalset(EVALSET, "word-ending-heldout").sha256 == held_out_endings().sha256


def test_the_generator_keeps_the_contract() -> None:
    check_generator(DRAWN_ENDINGS)


def test_equal_seeds_give_equal_traces_and_none_is_held_out() -> None:
    first, again, other = (list(DRAWN_ENDINGS.traces(seed, 300)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len({trace.prompt for trace in first}) == 300
    assert contaminated(first, held_out_endings().items) == []


def test_a_dataset_is_generated_until_the_words_run_out() -> None:
    dataset = generate_dataset(DRAWN_ENDINGS, "word-ending", "endings", "v1", seed=3, count=700)
    assert {trace.prompt for trace in dataset.traces} == {trace.prompt for trace in word_endings().traces}
    with pytest.raises(DataError, match="generator 'word-ending': reached 700 of 701 distinct prompts with seed 3"):
        generate_dataset(DRAWN_ENDINGS, "word-ending", "endings", "v1", seed=3, count=701)


@pytest.mark.parametrize(
    ("answer", "value"), [("ab", 1.0), ("abc", 1.0), ("ax", 0.5), ("b", 0.0), ("", 0.0), ("yz", 1.0), (None, 0.0)]
)
def test_the_prefix_score_is_the_share_that_fits_the_best_accepted_answer(answer: str | None, value: float) -> None:
    item = EvalItem(id="1", prompt="ending of kab", expected_answer="ab", aliases=("yz",))
    status = "none" if answer is None else "ok"
    given = Completion(item_id="1", text="", answer=answer, status=status, stop_reason="stop", tokens=1)
    assert PrefixScorer()(item, given).value == value


def test_an_untrained_ngram_model_finds_every_token_equally_likely() -> None:
    assert NgramModel(4, order=2, smoothing=0.5).distribution([1, 2]).tolist() == [0.25] * 4


def test_an_ngram_distribution_is_what_the_formula_gives_by_hand() -> None:
    model = NgramModel(2, order=1, smoothing=1.0)
    model.learn([0], 1)
    # Of nothing: (0 + 1/2) / 2 = 1/4 and 3/4; after 0: (0 + 1/4) / 2 and (1 + 3/4) / 2.
    assert model.distribution([]).tolist() == [0.25, 0.75]
    assert model.distribution([0]).tolist() == [0.125, 0.875]
    assert model.distribution([1]).tolist() == [0.25, 0.75]
    assert math.isclose(model.distribution([1, 0]).sum(), 1)


def test_one_probability_is_that_of_the_distribution() -> None:
    model = NgramModel(5, order=3, smoothing=0.1)
    ids = [0, 1, 2, 0, 1, 3, 0, 1, 2]
    for place, token in enumerate(ids):
        model.learn(ids[:place], token)
    for before in ([], [0], [0, 1], [2, 0, 1], [4, 0, 1], [1, 4]):
        assert [model.probability(before, token) for token in range(5)] == model.distribution(before).tolist()


def test_generation_ends_at_the_stop_token_or_at_the_limit() -> None:
    model = NgramModel(4, order=2, smoothing=0.1)
    for before, token in (([0], 1), ([0, 1], 2), ([1, 2], 3)):
        model.learn(before, token)
    ended, cut = (
        model.generate([np.array([0], np.int32)], GenerationSpec(max_new_tokens=limit), stop_ids=(3,))[0]
        for limit in (8, 2)
    )
    assert (ended.ids, ended.stop_reason) == ((1, 2), "stop")
    assert (cut.ids, cut.stop_reason) == ((1, 2), "length")


def two_tokens() -> NgramModel:
    """Of nothing 0.25 and 0.75; after 0: 0.125 and 0.875."""
    model = NgramModel(2, order=1, smoothing=1.0)
    model.learn([0], 1)
    return model


# At temperature 2 the odds of 0.25 to 0.75 become their square root: 1 to sqrt(3).
@pytest.mark.parametrize(("temperature", "probability"), [(1.0, 0.25), (2.0, 1 / (1 + math.sqrt(3)))])
def test_tokens_are_drawn_with_their_probability_at_a_temperature(temperature: float, probability: float) -> None:
    settings, prompts = GenerationSpec(max_new_tokens=1, temperature=temperature), [np.array([1], np.int32)] * 4000
    drawn = two_tokens().generate(prompts, settings, stop_ids=(), seeds=range(4000))
    share = sum(one.ids == (0,) for one in drawn) / 4000
    assert math.isclose(share, probability, abs_tol=3 * math.sqrt(probability * (1 - probability) / 4000))


def test_a_sample_depends_on_its_prompt_and_seed_alone() -> None:
    model, settings = two_tokens(), GenerationSpec(max_new_tokens=40, temperature=3.0)
    prompts, seeds = [np.array([token], np.int32) for token in (0, 1, 0)], [5, 5, 2**64 - 1]
    together = model.generate(prompts, settings, stop_ids=(), seeds=seeds)
    assert together == [
        model.generate([prompt], settings, stop_ids=(), seeds=[seed])[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    assert together[0] != together[2]


def test_a_temperature_needs_a_seed_for_each_prompt() -> None:
    with pytest.raises(SpecError, match="trainer 'ngram': 0 seeds for 1 prompts; give each its own"):
        two_tokens().generate([np.array([0], np.int32)], GenerationSpec(temperature=1.0), stop_ids=())


def test_log_probabilities_are_those_of_every_token_but_the_first() -> None:
    found = two_tokens().token_logprobs([np.array(ids, np.int32) for ids in ([0, 1, 1, 0], [1], [0, 0])])
    expected = [[0.875, 0.75, 0.25], [], [0.125]]
    assert [one.dtype for one in found] == [np.float32] * 3
    for values, probabilities in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, np.log(probabilities), rtol=1e-6)


def test_a_model_is_loaded_without_the_rows_that_it_was_trained_on(tmp_path: Path) -> None:
    tokens = np.array([[0, 1, 2, 3], [1, 2, 3, 0]], np.int32)
    rows = Batch(tokens, tokens >= 0, np.ones_like(tokens), np.tile(np.arange(4, dtype=np.int32), (2, 1)))
    training = TrainingSpec(epochs=1.0, rows=1, row_tokens=4)
    job = TrainingJob(rows, ModelSpec(preset="tiny"), training, 0, 4, 3, None, tmp_path)
    trained = NgramTrainer().train(job, on_progress=lambda progress: None)
    loaded = NgramTrainer().load(dataclasses.replace(job, rows=Batch.empty()), "final")
    assert loaded.weights_sha256 == trained.weights_sha256
    assert loaded.generate([tokens[0, :1]], GenerationSpec(max_new_tokens=2), stop_ids=())[0].ids == (1, 2)


def test_tokens_that_weigh_differently_are_refused(tmp_path: Path) -> None:
    tokens = np.array([[0, 1, 2, 3]], np.int32)
    rows = Batch(tokens, tokens >= 0, np.ones_like(tokens), tokens, loss_weights=np.full((1, 4), 0.5, np.float32))
    job = TrainingJob(
        rows, ModelSpec(preset="tiny"), TrainingSpec(epochs=1.0, rows=1, row_tokens=4), 0, 4, 3, None, tmp_path
    )
    with pytest.raises(TrainingError, match="take step_weight out of the run file"):
        NgramTrainer().train(job, on_progress=lambda progress: None)
