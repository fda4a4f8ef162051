"""The laws that a rendered conversation keeps before anything is trained on it.

| law | what it forbids |
|---|---|
| an edition has a stop token | replies that end nowhere |
| something is the model's | a mask of all zeros or all ones |
| one BOS at most | a second BOS, or one missing |
| the stop token follows the reply | replies without their end, and anything after it |
| a prompt begins its conversation | prompts at inference that training never showed |
| history stays as it was | replies that change once something follows them |
| nothing is dropped | texts that the edition does not print |
| text cannot open a turn | names of control tokens that take effect, markers that are plain text |

They are judged on a prompt and the reply to it (`trained_spans`). What the prompt has printed of the reply, as
`<think>` of current reasoning editions, counts as said.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from tunix_eval.data.renderers.thinking import has_thought
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Renderer, Span, Turn

BOS_NAMES = frozenset({"<bos>", "<s>", "<|begin_of_text|>", "<BOS>", "[BOS]", "<|startoftext|>"})
"""Control tokens that begin a text, for renderers that do not say which theirs is (`bos_token`)."""
_ADVICE = "train with another renderer or leave the conversation out"
_SIGN = "\uf8ff"
Broken = tuple[str, str]
"""The name of a law, and what breaks it."""


def trained_spans(renderer: Renderer, conversation: Conversation) -> tuple[Span, ...]:
    """Return what is trained on: the whole conversation; by a renderer's own `trained_spans` where it has one.

    A renderer has one where it prints a reply in another way than a model writes it after the prompt.

    Raises:
        RenderError: the edition refuses the conversation.
    """
    own: Callable[[Conversation], tuple[Span, ...]] | None = getattr(renderer, "trained_spans", None)
    return renderer.render(conversation, generation_prompt=False) if own is None else own(conversation)


def check_conversation(
    renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...], *, replies: Collection[int] | None = None
) -> None:
    """Refuse to train on a conversation for which a law fails.

    `spans` are the `trained_spans` of the conversation; `replies` are the turns whose replies carry loss, all of them
    where it is None.

    Raises:
        RenderError: names the renderer and the law.
    """
    broken = broken_law(renderer, conversation, spans, replies=replies)
    if broken is not None:
        law, reason = broken
        advice = getattr(renderer, "advice", _ADVICE)
        raise RenderError(
            f"renderer '{renderer.name}' breaks the law '{law}' for this conversation: {reason}; {advice}"
        )


def broken_law(
    renderer: Renderer,
    conversation: Conversation,
    spans: tuple[Span, ...],
    *,
    replies: Collection[int] | None = None,
    trusting: bool = True,
) -> Broken | None:
    """Return the first law that fails and what breaks it, or None.

    A renderer that declares `append_only` is not asked for other renders, unless `trusting` is off.
    """
    stop = renderer.stop_token
    if stop is None:
        return "an edition has a stop token", "it prints none after a reply and is for prompting only"
    trusts = trusting and getattr(renderer, "append_only", False)
    turns = conversation.turns
    supervised = [k for k, turn in enumerate(turns) if turn.role == "assistant" and (replies is None or k in replies)]
    return (
        _broken_spans(renderer, conversation, spans, supervised)
        or _broken_texts(renderer, conversation, spans)
        or _broken_start(conversation, supervised)
        or (None if trusts else _broken_renders(renderer, conversation, spans, supervised))
    )


def _broken_spans(
    renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...], supervised: list[int]
) -> Broken | None:
    """Laws that one look at the spans decides."""
    stop = renderer.stop_token
    bos: str | None = getattr(renderer, "bos_token", "")
    begins, given, ended, reply = 0, False, set(), None
    for span in spans:
        if span.reply is None:
            given = True
            begins += span.control and (span.text == bos or (bos == "" and span.text in BOS_NAMES))
        elif span.reply in ended:
            return "the stop token follows the reply", f"turn {span.reply + 1} goes on after {stop}"
        elif span.control and span.text == stop:
            ended.add(span.reply)
        if reply is not None and span.reply != reply and reply not in ended:
            return "the stop token follows the reply", f"turn {reply + 1} ends without {stop}"
        reply = span.reply
    if reply is not None and reply not in ended:
        return "the stop token follows the reply", f"turn {reply + 1} ends without {stop}"
    if not supervised:
        return "something is the model's", "it has no reply to learn"
    if not given:
        return "something is the model's", "everything is; expected a prompt"
    if begins > 1 or (bos and begins != 1):
        return "one BOS at most", f"found {begins} BOS tokens, expected {1 if bos else 'at most 1'}"
    unmarked = [k for k in supervised if k not in ended]
    return _unmarked(renderer, conversation, unmarked[0]) if unmarked else None


def _unmarked(renderer: Renderer, conversation: Conversation, k: int) -> Broken:
    """Say why the reply of turn k is not found behind its prompt."""
    turn = conversation.turns[k]
    if k < len(conversation.turns) - 1:
        alone = Conversation(conversation.turns[: k + 1], conversation.system)
        try:
            marked = any(span.reply == k for span in trained_spans(renderer, alone))
        except RenderError as error:
            return "history stays as it was", f"the conversation up to turn {k + 1} is refused ({error})"
        if marked:
            return _printed_otherwise(k)
    law, reason = _no_beginning(k)
    opened: str = getattr(renderer, "opened_thought", "")
    if opened and not has_thought(turn):
        return law, (
            f"the prompt before turn {k + 1} opens a thought ({opened.strip()}) that its reply does not have; give it "
            "steps and a style that writes them, or turn thinking off where the template has an option for that"
        )
    if getattr(renderer, "closes_thinking", False) and has_thought(turn):
        return law, (
            f"{reason}: it closes the thinking section, and the reply has a thought; choose style numbered or plain, "
            "or turn thinking on"
        )
    return law, f"{reason}, or its reply is not marked"


def _broken_texts(renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...]) -> Broken | None:
    """Laws about what the texts hold, that cost nothing where they hold nothing odd."""
    markers: tuple[str, ...] = getattr(renderer, "text_markers", ())
    last = len(conversation.turns) - 1
    for k, turn in enumerate(conversation.turns):
        if turn.reasoning_content and not _says(spans, k, turn):
            earlier = ", a reply that is not the last: take earlier thoughts out" if k < last else ""
            return "nothing is dropped", f"the edition drops the reasoning_content of turn {k + 1}{earlier}"
    for marker in markers:
        for turn in conversation.messages:
            if marker in turn.content or marker in (turn.reasoning_content or ""):
                return "text cannot open a turn", f"the {turn.role}'s text holds {marker}, plain text in this edition"
    return None


def _broken_start(conversation: Conversation, supervised: list[int]) -> Broken | None:
    if supervised and supervised[0] == 0 and conversation.system is None:
        return "a prompt begins its conversation", "nothing stands before the reply of turn 1"
    return None


def _broken_renders(
    renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...], supervised: list[int]
) -> Broken | None:
    """Laws that only other renders decide."""
    return (
        _forged(renderer, conversation, spans)
        or _dropped(renderer, conversation, spans)
        or next(filter(None, (_broken_prompt(renderer, conversation, spans, k) for k in supervised)), None)
        or next(filter(None, (_rewritten(renderer, conversation, spans, k) for k in supervised)), None)
    )


def _dropped(renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...]) -> Broken | None:
    if not _prints_system(renderer, conversation):
        return "nothing is dropped", "the edition drops the system text"
    given, at = _squeezed(spans), 0
    last = max(k for k, turn in enumerate(conversation.turns) if turn.role == "assistant")
    marked = {span.reply for span in spans}
    first = len(conversation.turns) - len(conversation.messages)
    for k, turn in enumerate(conversation.messages, first):
        said = "".join(turn.content.split())
        found = given.find(said, at)
        if found < 0 or (k in marked and not _says(spans, k, turn)):
            law = "history stays as it was" if turn.role == "assistant" and k < last else "nothing is dropped"
            whose = "the system text" if k < 0 else f"part of what the {turn.role} says in turn {k + 1}"
            return law, f"the edition drops {whose}"
        at = found + len(said)
    return None


def _prints_system(renderer: Renderer, conversation: Conversation) -> bool:
    """Whether a sign at the end of each system text is printed; a short text may stand in others by chance."""
    systems = [turn for turn in conversation.turns if turn.role == "system"]
    system = conversation.system
    if system is None and not systems:
        return True
    signed = tuple(
        Turn("system", turn.content + _SIGN) if turn.role == "system" else turn for turn in conversation.turns
    )
    try:
        printed = renderer.render(
            Conversation(signed, None if system is None else system + _SIGN), generation_prompt=False
        )
    except RenderError:
        return True
    wanted = len(systems) + (system is not None)
    return sum(span.text.count(_SIGN) for span in printed) >= wanted + "".join(_texts(conversation)).count(_SIGN)


def _broken_prompt(renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...], k: int) -> Broken | None:
    before = Conversation(conversation.turns[:k], conversation.system)
    try:
        prompt = renderer.render(before, generation_prompt=True)
    except RenderError as error:
        return "a prompt begins its conversation", f"the prompt before turn {k + 1} is refused ({error})"
    if spans[: len(prompt)] == prompt and len(spans) > len(prompt) and spans[len(prompt)].reply == k:
        return None
    return _no_beginning(k)


def _no_beginning(k: int) -> Broken:
    return "a prompt begins its conversation", f"the prompt before turn {k + 1} is no beginning of the whole"


def _rewritten(renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...], k: int) -> Broken | None:
    if k == len(conversation.turns) - 1:
        return None
    try:
        until = trained_spans(renderer, Conversation(conversation.turns[: k + 1], conversation.system))
    except RenderError as error:
        return "history stays as it was", f"the conversation up to turn {k + 1} is refused ({error})"
    end = 1 + max((n for n, span in enumerate(until) if span.reply == k), default=-1)
    if spans[:end] == until[:end]:
        return None
    return _printed_otherwise(k)


def _printed_otherwise(k: int) -> Broken:
    return "history stays as it was", f"turn {k + 1} is printed otherwise once more follows; supervise the last reply"


def _forged(renderer: Renderer, conversation: Conversation, spans: tuple[Span, ...]) -> Broken | None:
    """Hold the control tokens against those of the same conversation with their names made harmless."""
    texts = _texts(conversation)
    names = [name for name in renderer.control_tokens if any(name in text for text in texts)]
    if not names:
        return None

    def harmless(text: str) -> str:
        for name in names:
            text = text.replace(name, "x" * len(name))
        return text

    turns = tuple(
        Turn(turn.role, harmless(turn.content), turn.reasoning_content and harmless(turn.reasoning_content))
        for turn in conversation.turns
    )
    system = None if conversation.system is None else harmless(conversation.system)
    try:
        expected = trained_spans(renderer, Conversation(turns, system))
    except RenderError as error:
        return "text cannot open a turn", f"{names[0]} in a text decides whether it is refused ({error})"
    if _controls(spans) == _controls(expected):
        return None
    return "text cannot open a turn", f"{names[0]} in a text changes which control tokens there are"


def _controls(spans: tuple[Span, ...]) -> list[Span]:
    return [span for span in spans if span.control]


def _texts(conversation: Conversation) -> list[str]:
    return [text for turn in conversation.messages for text in (turn.content, turn.reasoning_content) if text]


def _says(spans: tuple[Span, ...], k: int, turn: Turn) -> bool:
    """Whether the reply of turn k holds its thought and then its content, white space apart.

    A mark at their beginning may stand at the end of the prompt.
    """
    numbers = [n for n, span in enumerate(spans) if span.reply == k]
    printed, at = _squeezed(tuple(spans[n] for n in numbers)), 0
    for text in filter(None, (turn.reasoning_content, turn.content)):
        said = "".join(text.split())
        found = printed.find(said, at)
        if found < 0:
            given = 0 if at else _given(_squeezed(spans[numbers[0] - 1 : numbers[0]]), said, printed) if numbers else 0
            if not given:
                return False
            found = -given
        at = found + len(said)
    return True


def _given(prompt: str, said: str, printed: str) -> int:
    """Return how many characters of what is said the prompt ends with, the reply beginning with the rest.

    A reply that begins with a word is no mark that the prompt has printed.
    """
    if said[0].isalnum():
        return 0
    lengths = range(len(said) - 1, 0, -1)
    return next((n for n in lengths if prompt.endswith(said[:n]) and printed.startswith(said[n:])), 0)


def _squeezed(spans: tuple[Span, ...]) -> str:
    """Return the plain text of spans without white space; control tokens stand apart."""
    return "".join("\x00" if span.control else "".join(span.text.split()) for span in spans)
