"""The contract of a renderer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunix_eval.data import STYLES, ByteTokenizer, broken_law, trained_spans
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Renderer, Span, Turn
from tunix_eval.testing.checks import check_attributes, of_examples
from tunix_eval.testing.strategies import conversations

_MAY_REFUSE = ("a prompt begins its conversation", "history stays as it was", "nothing is dropped")
"""Laws that published editions break for some conversations; nothing is trained on those."""


def check_renderer(renderer: Renderer, *, max_examples: int = 100) -> None:
    """Hold a renderer against its contract on many conversations.

    An ordinary exchange has to keep every law of `tunix_eval.data.renderers.laws`: a prompt is a token-level prefix of
    its conversation, history stays as it was; at most one BOS; the stop token ends each reply, and nothing of the reply
    follows it; some of the text is the model's and some is not; what is said is printed. What a renderer refuses, or
    the laws refuse to train on, is passed over in odd conversations; but never may one have a second BOS, a reply
    without its end, or control tokens that depend on what a text holds. An edition without a stop token (for
    prompting only) is checked for what it prints.

    Raises:
        AssertionError: says which promise was broken; hypothesis adds the smallest conversation that breaks it.
    """
    check_attributes(renderer, "a renderer", "control_tokens", "stop_token", "default_style", "render")
    tokens = renderer.control_tokens
    assert isinstance(tokens, tuple), f"control_tokens is a {type(tokens).__name__}, expected a tuple of names"
    assert renderer.default_style in STYLES, f"default_style '{renderer.default_style}' is not among {STYLES}"
    stop = renderer.stop_token
    assert stop is None or stop in tokens, f"{stop} is not among the control_tokens"
    words = st.from_regex(r"[a-z0-9]{1,8}( [a-z0-9]{1,8})?", fullmatch=True)

    def check_exchange(question: str, reply: str) -> None:
        thought = "so" if getattr(renderer, "thinking_section", None) == "always" else None
        conversation = Conversation((Turn("user", question), Turn("assistant", reply, thought)))
        try:
            spans = trained_spans(renderer, conversation)
            renderer.render(Conversation(conversation.turns[:1]), generation_prompt=True)
        except RenderError as error:
            raise AssertionError(f"an ordinary exchange is refused: {error}") from None
        assert isinstance(spans, tuple), f"render gave a {type(spans).__name__}, expected a tuple of Spans"
        broken = None if stop is None else broken_law(renderer, conversation, spans, trusting=False)
        assert broken is None, f"an ordinary exchange breaks the law '{broken[0]}': {broken[1]}"

    @of_examples(max(10, max_examples // 5))
    @given(words, words)
    def check_ordinary(question: str, reply: str) -> None:
        check_exchange(question, reply)

    @of_examples(max_examples)
    @given(conversations(extra=tokens, reasoning=True))
    def check(conversation: Conversation) -> None:
        try:
            whole = trained_spans(renderer, conversation)
            neutral = trained_spans(renderer, _neutral(conversation))
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


def _neutral(conversation: Conversation) -> Conversation:
    """Return the conversation without the names of control tokens, or anything else that is odd in a text."""
    turns = tuple(Turn(turn.role, "x", turn.reasoning_content and "x") for turn in conversation.turns)
    return Conversation(turns, None if conversation.system is None else "x")


def _controls(spans: tuple[Span, ...]) -> list[str]:
    return [span.text for span in spans if span.control]
