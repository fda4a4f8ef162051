"""Each part by itself: the laws that every renderer and tokenizer keeps, and values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import tunix_eval_template
from tunix_eval.data import contaminated, encode_trace, evalset_text, read_evalset
from tunix_eval.errors import RenderError
from tunix_eval.records import Completion, Conversation, EvalItem, Turn
from tunix_eval.specs import GenerationSpec
from tunix_eval.testing import check_renderer, check_tokenizer
from tunix_eval_template.dataset import held_out_endings, trace, word_endings, words
from tunix_eval_template.ngram import NgramModel
from tunix_eval_template.renderer import QaRenderer
from tunix_eval_template.scorer import PrefixScorer
from tunix_eval_template.tokenizer import PieceTokenizer

EVALSET = Path(tunix_eval_template.__file__).parent / "word-ending-heldout.jsonl"


def test_the_renderer_keeps_the_laws() -> None:
    check_renderer(QaRenderer())


def test_the_tokenizer_keeps_the_laws() -> None:
    check_tokenizer(PieceTokenizer)


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
