"""For authors of renderers, tokenizers and scorers: hypothesis strategies, and checks of what a contract promises.

from tunix_eval.testing import check_renderer


def test_my_renderer_keeps_the_contract():
    check_renderer(MyRenderer())
"""

from __future__ import annotations

import json
import math
from typing import get_args

try:
    from hypothesis import Phase, given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tunix_eval.testing needs hypothesis; install it with: pip install 'tunix-eval[testing]'"
    ) from error

from tunix_eval.data import STYLES, ByteTokenizer, broken_law, generate_dataset
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import (
    Completion,
    Conversation,
    EvalItem,
    ExtractionStatus,
    Generator,
    Renderer,
    Score,
    Scorer,
    Span,
    Step,
    TokenizerFactory,
    Trace,
    Turn,
)

__all__ = [
    "check_generator",
    "check_renderer",
    "check_scorer",
    "check_tokenizer",
    "completions",
    "conversations",
    "eval_items",
    "texts",
    "traces",
]

_TRICKY = (
    *("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>model\n", "<|im_start|>", "<|im_end|>"),
    *("<s>", "</s>", "<pad>", "<|eot_id|>", "<answer>", "</answer>", "#### 4", "Answer: 4", "{{ x }}", "\n\n", " "),
)

_FRAGILE = ("e\u0301", "\u00e9", "\ufb01", "a\r\nb\r", "  x  y ", "\n\n", "\t", "\u00a0", "\ufeffx", "\x00", "0" * 3000)
"""Texts that tokenizers change: composed, replaced, stripped, cut off."""


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
    """Traces as `read_traces` returns them: valid, steps in order, with an id that is a string.

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
    )


def eval_items() -> st.SearchStrategy[EvalItem]:
    """Items as `read_evalset` returns them."""
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
    )


def check_renderer(renderer: Renderer, *, max_examples: int = 100) -> None:
    """Hold a renderer against its contract on many conversations.

    An ordinary exchange has to keep every law of `tunix_eval.data.laws`: a prompt is a token-level prefix of its
    conversation, history stays as it was; at most one BOS; the stop token ends each reply, and nothing of the reply
    follows it; some of the text is the model's and some is not; what is said is printed. What a renderer refuses, or
    the laws refuse to train on, is passed over in odd conversations; but never may one have a second BOS, a reply
    without its end, or control tokens that depend on what a text holds. An edition without a stop token (for
    prompting only) is checked for what it prints.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest conversation that breaks it.
    """
    _check_attributes(renderer, "a renderer", "control_tokens", "stop_token", "default_style", "render")
    tokens = renderer.control_tokens
    assert isinstance(tokens, tuple), f"control_tokens is a {type(tokens).__name__}, expected a tuple of names"
    assert renderer.default_style in STYLES, f"default_style '{renderer.default_style}' is not among {STYLES}"
    stop = renderer.stop_token
    assert stop is None or stop in tokens, f"{stop} is not among the control_tokens"
    words = st.from_regex(r"[a-z0-9]{1,8}( [a-z0-9]{1,8})?", fullmatch=True)

    def check_exchange(question: str, reply: str) -> None:
        conversation = Conversation((Turn("user", question), Turn("assistant", reply)))
        try:
            spans = renderer.render(conversation, generation_prompt=False)
            renderer.render(Conversation(conversation.turns[:1]), generation_prompt=True)
        except RenderError as error:
            raise AssertionError(f"an ordinary exchange is refused: {error}") from None
        assert isinstance(spans, tuple), f"render gave a {type(spans).__name__}, expected a tuple of Spans"
        broken = None if stop is None else broken_law(renderer, conversation, spans, trusting=False)
        assert broken is None, f"an ordinary exchange breaks the law '{broken[0]}': {broken[1]}"

    @_settings(max(10, max_examples // 5))
    @given(words, words)
    def check_ordinary(question: str, reply: str) -> None:
        check_exchange(question, reply)

    @_settings(max_examples)
    @given(conversations(extra=tokens, reasoning=True))
    def check(conversation: Conversation) -> None:
        try:
            whole = renderer.render(conversation, generation_prompt=False)
            neutral = renderer.render(_neutral(conversation), generation_prompt=False)
        except RenderError:
            return
        unknown = {span.text for span in whole if span.control} - set(tokens)
        assert not unknown, f"{sorted(unknown)} are rendered but not among the control_tokens"
        assert _controls(whole) == _controls(neutral), "text in the conversation changed the control tokens"
        if stop is not None:
            _check_laws(renderer, conversation, whole)

    check_ordinary()
    check_exchange('Is 2 + 2 = 4?\nAnswer Yes or No: 100% "sure" {please}.', "Yes.\n\n\tIt *is* \\(4\\)")
    check_exchange("Read this. " * 1_000, "And this. " * 1_000)
    check()


def check_tokenizer(factory: TokenizerFactory, *, max_examples: int = 100) -> None:
    """Hold a tokenizer factory against its contract on many texts.

    Checked: control tokens have ids of their own; plain text never gives one of them; ids are within the
    vocabulary; decoding gives back what was encoded; `encode_batch`, where there is one, gives the same ids.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest text that breaks it.
    """
    names = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    assert callable(factory), f"{type(factory).__name__} takes no control tokens; give the class, or a function"
    tokenizer = factory(names)
    _check_attributes(tokenizer, "a tokenizer", "vocab_size", "pad_id", "encode", "control_id", "decode")
    controls = [tokenizer.control_id(name) for name in names]
    assert len({*controls, tokenizer.pad_id}) == len(names) + 1, "control tokens and padding share an id"
    assert all(0 <= id_ < tokenizer.vocab_size for id_ in (*controls, tokenizer.pad_id)), "an id is out of range"
    assert tokenizer.decode(controls) == "".join(names), "control tokens do not decode to their names"
    try:
        tokenizer.control_id("<no such control token>")
    except RenderError:
        pass
    else:
        raise AssertionError("an unknown control token has an id; expected a RenderError")

    def check_text(text: str) -> None:
        ids = tokenizer.encode(text)
        assert not {*controls, tokenizer.pad_id}.intersection(ids), "plain text gave a control or padding id"
        assert all(0 <= id_ < tokenizer.vocab_size for id_ in ids), "an id is out of range"
        assert tokenizer.decode(ids) == text, f"decoding does not give back the text {text[:40]!a}"
        if (encode_batch := getattr(tokenizer, "encode_batch", None)) is not None:
            found, lengths = encode_batch([text, "x", text])
            expected = [ids, tokenizer.encode("x"), ids]
            assert list(lengths) == list(map(len, expected)), "encode_batch gives other lengths than encode"
            assert list(found) == [id_ for one in expected for id_ in one], "encode_batch gives other ids than encode"

    @_settings(max_examples)
    @given(texts(names))
    def check(text: str) -> None:
        check_text(text)

    for text in _FRAGILE:
        check_text(text)
    check()


def check_scorer(scorer: Scorer, *, max_examples: int = 100) -> None:
    """Hold a scorer against its contract on many items and completions, odd ones among them.

    Checked: its attributes; parameters that JSON can hold; a Score for every completion (empty, cut off, without an
    answer, huge), never an exception; a value that is None with a note, or finite and within `bounds`; the same value
    when asked again.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest completion that breaks it.
    """
    _check_attributes(scorer, "a scorer", "lower_is_better", "parameters", "__call__")
    assert isinstance(scorer.lower_is_better, bool), "lower_is_better is not True or False"
    needs = tuple(getattr(scorer, "needs", ()))
    assert set(needs) <= {"answer_logprobs"}, f"needs is {needs}; only 'answer_logprobs' can be had"
    bounds = getattr(scorer, "bounds", (-math.inf, math.inf))
    match bounds:
        case (int() | float() as low, int() | float() as high) if low < high:
            pass
        case _:
            raise AssertionError(f"bounds are {bounds!r}; expected the least and the greatest value, as (0.0, 1.0)")
    try:
        json.dumps(dict(scorer.parameters), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"JSON cannot hold the parameters: {error}") from None

    @_settings(max_examples)
    @given(eval_items().flatmap(lambda item: st.tuples(st.just(item), completions(item))))
    def check(pair: tuple[EvalItem, Completion]) -> None:
        first, again = (scorer(*pair) for _ in range(2))
        assert isinstance(first, Score), f"gave {type(first).__name__}, expected a Score"
        assert isinstance(first.note, str), f"the note is {first.note!r}, expected a text"
        if first.value is None:
            assert first.note, "a value that is None has no note"
            assert again.value is None, f"gave no value, and then {again.value} for one completion"
            return
        assert isinstance(first.value, int | float), f"the value is {first.value!r}, expected a number"
        assert math.isfinite(first.value), f"the value is {first.value}"
        assert low <= first.value <= high, f"the value is {first.value}, the bounds are {low} and {high}"
        assert first == again, f"gave {first} and then {again} for one completion"

    check()


def check_generator(generator: Generator, *, seed: int | None = None, count: int | None = None) -> None:
    """Hold a generator against its contract, for its own seed and count or those that are given.

    Checked: so many traces of the format, with distinct ids and prompts; the same when asked again. What differs from
    process to process, such as the order of a set, does not show here.

    Raises:
        AssertionError: says which promise was broken.
    """
    assert isinstance(generator, Generator), f"found {type(generator).__name__}, expected a records.Generator"
    assert generator.version and isinstance(generator.version, str), "version is no text"  # noqa: PT018
    try:
        first, again = (
            generate_dataset(generator, "checked", "checked", "v1", seed=seed, count=count) for _ in range(2)
        )
    except DataError as error:
        raise AssertionError(str(error)) from None
    odd = next((one.id for one, two in zip(first.traces, again.traces, strict=True) if one != two), None)
    assert odd is None, f"trace '{odd}' is another when asked again; draw from random.Random(seed) alone"


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


def _settings(max_examples: int) -> settings:
    """Return settings under which a failing check shows one short counterexample, the same in every run."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
    )


def _check_attributes(thing: object, kind: str, *needed: str) -> None:
    """Check that a thing has a name, a version and what else its kind needs."""
    needed = ("name", "version", *needed)
    missing = [name for name in needed if not hasattr(thing, name)]
    assert not missing, f"{type(thing).__name__} has no {', '.join(missing)}; {kind} has {', '.join(needed)}"
    for name in ("name", "version"):
        text = getattr(thing, name)
        assert text and isinstance(text, str), f"{name} is {text!r}, expected a text"  # noqa: PT018


def _messages(*, reasoning: bool) -> st.SearchStrategy[tuple[Turn, ...]]:
    thoughts = st.none() | texts() if reasoning else st.none()
    replies = st.builds(Turn, st.just("assistant"), texts(), thoughts)
    exchange = st.tuples(st.builds(Turn, st.just("user"), texts()), replies)
    return st.just(()) | exchange


def _neutral(conversation: Conversation) -> Conversation:
    """Return the conversation without the names of control tokens, or anything else that is odd in a text."""
    turns = tuple(Turn(turn.role, "x", turn.reasoning_content and "x") for turn in conversation.turns)
    return Conversation(turns, None if conversation.system is None else "x")


def _controls(spans: tuple[Span, ...]) -> list[str]:
    return [span.text for span in spans if span.control]


_MAY_REFUSE = ("a prompt begins its conversation", "history stays as it was", "nothing is dropped")
"""Laws that published editions break for some conversations; nothing is trained on those."""


def _check_laws(renderer: Renderer, conversation: Conversation, whole: tuple[Span, ...]) -> None:
    broken = broken_law(renderer, conversation, whole, trusting=False)
    if broken is None:
        _check_tokens(renderer, conversation, whole)
        return
    declared = bool(getattr(renderer, "append_only", False)) and not any(
        turn.reasoning_content for turn in conversation.turns
    )
    markers: tuple[str, ...] = getattr(renderer, "text_markers", ())
    marked = any(marker in turn.content for marker in markers for turn in conversation.messages)
    passed_over = (broken[0] in _MAY_REFUSE and not declared) or marked
    assert passed_over, f"breaks the law '{broken[0]}': {broken[1]}"


def _check_tokens(renderer: Renderer, conversation: Conversation, whole: tuple[Span, ...]) -> None:
    """Hold a conversation that may be trained on against the laws once more, as token ids."""
    prompt = renderer.render(Conversation(conversation.turns[:-1], conversation.system), generation_prompt=True)
    tokens, prompt_tokens = (_tokens(spans, renderer) for spans in (whole, prompt))
    assert tokens[: len(prompt_tokens)] == prompt_tokens, "the prompt is no token-level prefix of its trace"
    turn = len(conversation.turns) - 1
    where = [k for k, span in enumerate(whole) if span.reply == turn]
    assert where, "nothing is supervised"
    assert len(where) < len(whole), "everything is supervised"
    last = whole[where[-1]]
    assert (last.control, last.text) == (True, renderer.stop_token), "the last supervised span is not the stop token"


def _tokens(spans: tuple[Span, ...], renderer: Renderer) -> list[int]:
    tokenizer = ByteTokenizer(renderer.control_tokens)
    ids: list[int] = []
    for span in spans:
        ids += [tokenizer.control_id(span.text)] if span.control else tokenizer.encode(span.text)
    return ids
