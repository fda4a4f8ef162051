"""For authors of renderers and tokenizers: hypothesis strategies, and checks of what a contract promises.

from tunix_eval.testing import check_renderer


def test_my_renderer_keeps_the_contract():
    check_renderer(MyRenderer())
"""

from __future__ import annotations

try:
    from hypothesis import Phase, assume, given, settings
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tunix_eval.testing needs hypothesis; install it with: pip install 'tunix-eval[testing]'"
    ) from error

from tunix_eval.data import STYLES, ByteTokenizer
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, EvalItem, Renderer, Span, Step, TokenizerFactory, Trace, Turn

__all__ = ["check_renderer", "check_tokenizer", "conversations", "eval_items", "texts", "traces"]

_BOS_NAMES = frozenset({"<bos>", "<s>", "<|begin_of_text|>", "<BOS>", "[BOS]"})
_TRICKY = (
    *("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_turn>model\n", "<|im_start|>", "<|im_end|>"),
    *("<s>", "</s>", "<pad>", "<|eot_id|>", "<answer>", "</answer>", "#### 4", "Answer: 4", "{{ x }}", "\n\n", " "),
)


def texts(extra: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Texts that are not blank, with names of control tokens (also those in `extra`) strewn in."""
    plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    pieces = st.lists(st.one_of(plain, st.sampled_from((*_TRICKY, *extra))), min_size=1, max_size=4)
    return pieces.map("".join).filter(lambda text: bool(text) and not text.isspace())


def conversations(*, last: str = "assistant", extra: tuple[str, ...] = ()) -> st.SearchStrategy[Conversation]:
    """Conversations of one to three exchanges that alternate and end with the `last` role's turn."""

    def build(contents: list[str], system: str | None) -> Conversation:
        count = len(contents) // 2 * 2 - (last == "user")
        turns = tuple(Turn("assistant" if k % 2 else "user", contents[k]) for k in range(count))
        return Conversation(turns, system)

    contents = st.lists(texts(extra), min_size=2, max_size=6)
    return st.builds(build, contents, st.none() | texts(extra))


def traces() -> st.SearchStrategy[Trace]:
    """Traces as `read_traces` returns them: valid, steps in order, with an id that is a string."""
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
        messages=_messages(),
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
        messages=_messages(),
    )


def check_renderer(renderer: Renderer, *, max_examples: int = 100) -> None:
    """Hold a renderer against its contract on many conversations; what it refuses is passed over.

    Checked: a prompt is a token-level prefix of its rendered trace; at most one BOS; the stop token is
    supervised and nothing after it; only the last reply is supervised, and never everything; no text in a
    conversation changes which control tokens there are.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest conversation that breaks it.
    """
    assert renderer.default_style in STYLES, f"default_style '{renderer.default_style}' is not among {STYLES}"
    assert renderer.stop_token in renderer.control_tokens, f"{renderer.stop_token} is not among the control_tokens"

    @_settings(max_examples)
    @given(conversations(extra=renderer.control_tokens))
    def check(conversation: Conversation) -> None:
        try:
            whole = renderer.render(conversation, generation_prompt=False)
            prompt = renderer.render(Conversation(conversation.turns[:-1], conversation.system), generation_prompt=True)
            neutral = renderer.render(_neutral(conversation), generation_prompt=False)
        except RenderError:
            assume(False)
        _check_spans(renderer, whole, prompt, conversation.turns[-1].content)
        assert _controls(whole) == _controls(neutral), "text in the conversation changed the control tokens"

    check()


def check_tokenizer(factory: TokenizerFactory, *, max_examples: int = 100) -> None:
    """Hold a tokenizer factory against its contract on many texts.

    Checked: control tokens have ids of their own; plain text never gives one of them; ids are within the
    vocabulary; decoding gives back what was encoded.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest text that breaks it.
    """
    names = ("<bos>", "<start_of_turn>", "<end_of_turn>")
    tokenizer = factory(names)
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

    @_settings(max_examples)
    @given(texts(names))
    def check(text: str) -> None:
        ids = tokenizer.encode(text)
        assert not {*controls, tokenizer.pad_id}.intersection(ids), "plain text gave a control or padding id"
        assert all(0 <= id_ < tokenizer.vocab_size for id_ in ids), "an id is out of range"
        assert tokenizer.decode(ids) == text, "decoding does not give back the text"

    check()


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


def _messages() -> st.SearchStrategy[tuple[Turn, ...]]:
    exchange = st.tuples(st.builds(Turn, st.just("user"), texts()), st.builds(Turn, st.just("assistant"), texts()))
    return st.just(()) | exchange


def _neutral(conversation: Conversation) -> Conversation:
    turns = tuple(Turn(turn.role, "x") for turn in conversation.turns)
    return Conversation(turns, None if conversation.system is None else "x")


def _controls(spans: tuple[Span, ...]) -> list[tuple[str, int | None]]:
    return [(span.text, span.reply) for span in spans if span.control]


def _check_spans(renderer: Renderer, whole: tuple[Span, ...], prompt: tuple[Span, ...], reply: str) -> None:
    unknown = {span.text for span in whole if span.control} - set(renderer.control_tokens)
    assert not unknown, f"{sorted(unknown)} are rendered but not among the control_tokens"
    tokens, prompt_tokens = (_tokens(spans, renderer) for spans in (whole, prompt))
    assert tokens[: len(prompt_tokens)] == prompt_tokens, "the prompt is no token-level prefix of its trace"
    begins = [span.text for span in whole if span.control and span.text in _BOS_NAMES]
    assert len(begins) <= 1, f"{len(begins)} BOS tokens, expected at most one"
    turn = max((span.reply for span in whole if span.reply is not None), default=-1)
    assert not any(span.reply == turn for span in prompt), "a prompt has a span of the reply"
    where = [k for k, span in enumerate(whole) if span.reply is not None and span.reply == turn]
    assert where, "nothing is supervised"
    assert len(where) < len(whole), "everything is supervised"
    last = whole[where[-1]]
    assert last.control and last.text == renderer.stop_token, "the last supervised span is not the stop token"  # noqa: PT018
    written = "".join(whole[k].text for k in where[:-1])
    assert reply.strip() in written, "the supervised text does not hold the reply"


def _tokens(spans: tuple[Span, ...], renderer: Renderer) -> list[int]:
    tokenizer = ByteTokenizer(renderer.control_tokens)
    ids: list[int] = []
    for span in spans:
        ids += [tokenizer.control_id(span.text)] if span.control else tokenizer.encode(span.text)
    return ids
