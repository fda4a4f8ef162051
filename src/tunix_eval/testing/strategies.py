"""What the checks draw from: hypothesis strategies for the records."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from tunix_eval.data import history_remark
from tunix_eval.records import Completion, Conversation, EvalItem, ExtractionStatus, Step, Trace, Turn

_TRICKY = (
    *("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>model\n", "<|im_start|>", "<|im_end|>"),
    *("<s>", "</s>", "<pad>", "<|eot_id|>", "<answer>", "</answer>", "#### 4", "Answer: 4", "{{ x }}", "\n\n", " "),
)


def texts(extra: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Texts that are not blank, with names of control tokens (also those in `extra`) strewn in."""
    plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    pieces = st.lists(st.one_of(plain, st.sampled_from((*_TRICKY, *extra))), min_size=1, max_size=4)
    return pieces.map("".join).filter(lambda text: bool(text) and not text.isspace())


def conversations(
    *, last: str = "assistant", extra: tuple[str, ...] = (), reasoning: bool = False
) -> st.SearchStrategy[Conversation]:
    """Conversations of one to three exchanges that alternate and end with the `last` role's turn.

    With `reasoning` some replies have a `reasoning_content`, and some contents a thinking section.
    """
    pieces = (*extra, "<think>", "</think>", "<think>\nx\n</think>\n\n") if reasoning else extra
    thoughts = st.none() | texts(pieces) if reasoning else st.none()

    def build(contents: list[tuple[str, str | None]], system: str | None) -> Conversation:
        count = len(contents) // 2 * 2 - (last == "user")
        turns = (
            Turn("assistant", text, thought) if k % 2 else Turn("user", text)
            for k, (text, thought) in enumerate(contents[:count])
        )
        return Conversation(tuple(turns), system)

    contents = st.lists(st.tuples(texts(pieces), thoughts), min_size=2, max_size=6)
    return st.builds(build, contents, st.none() | texts(pieces))


def traces(*, reasoning: bool = False) -> st.SearchStrategy[Trace]:
    """Traces as `read_traces` returns them without a warning: valid, steps in order, with an id that is a string.

    With `reasoning` some earlier replies have a `reasoning_content`.
    """
    values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    json_values = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(texts(), inner), max_leaves=4)
    indices = st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=4).map(sorted)
    steps = indices.flatmap(
        lambda numbers: st.tuples(*(st.builds(Step, st.just(i), st.just("work"), texts()) for i in numbers))
    )
    return st.builds(
        Trace,
        trace_version=st.just("1.0"),
        prompt=texts(),
        final_answer=texts(),
        steps=steps,
        meta=st.none() | st.dictionaries(texts(), json_values, max_size=3),
        id=texts(),
        system=st.none() | texts(),
        messages=_messages(reasoning=reasoning),
    ).filter(lambda trace: not history_remark(trace.prompt, trace.final_answer, trace.messages))


def eval_items() -> st.SearchStrategy[EvalItem]:
    """Items as `read_evalset` returns them without a warning."""
    return st.builds(
        EvalItem,
        id=texts(),
        prompt=texts(),
        expected_answer=texts(),
        aliases=st.lists(texts(), max_size=2).map(tuple),
        category=st.none() | texts(),
        difficulty=st.none() | st.sampled_from(("easy", "medium", "hard")),
        section=st.none() | st.sampled_from(("core", "trace_sensitive", "edge_case")),
        cluster=st.none() | texts(),
        system=st.none() | texts(),
        messages=_messages(reasoning=False),
    ).filter(lambda item: not history_remark(item.prompt, item.expected_answer, item.messages))


def completions(item: EvalItem) -> st.SearchStrategy[Completion]:
    """Completions of an item: right, wrong, empty, cut off, without an answer, huge."""
    answers = st.sampled_from((item.expected_answer, *item.aliases, "", "0", "nan", "1e999", "9" * 5000)) | texts()
    logprobs = st.none() | st.lists(st.floats(-1e6, 0.0), min_size=1, max_size=4).map(tuple)

    def build(
        text: str, answer: str, status: ExtractionStatus, values: tuple[float, ...] | None, copies: int
    ) -> Completion:
        missing = status in ("none", "truncated", "unclosed")
        return Completion(
            item_id=str(item.id),
            text=f"{text}{answer}" * copies,
            answer=None if missing else answer,
            status=status,
            stop_reason="length" if status == "truncated" else "stop",
            tokens=len(text),
            answer_logprobs=values,
        )

    statuses: st.SearchStrategy[ExtractionStatus] = st.sampled_from(get_args(ExtractionStatus))
    return st.builds(build, st.just("") | texts(), answers, statuses, logprobs, st.sampled_from((0, 1, 2000)))


def _messages(*, reasoning: bool) -> st.SearchStrategy[tuple[Turn, ...]]:
    thoughts = st.none() | texts() if reasoning else st.none()
    replies = st.builds(Turn, st.just("assistant"), texts(), thoughts)
    exchange = st.tuples(st.builds(Turn, st.just("user"), texts()), replies)
    return st.just(()) | exchange
