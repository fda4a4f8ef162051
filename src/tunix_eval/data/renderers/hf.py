"""The renderer `hf`: a model directory's own Jinja template."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tunix_eval.data.renderers.model_files import chat_template, special_tokens
from tunix_eval.data.renderers.sandbox import Asked, TemplateLimitError, compile_template
from tunix_eval.data.renderers.styles import Section
from tunix_eval.data.renderers.thinking import (
    NO_THINKING,
    TAGGED,
    Thinking,
    begins_with_thought,
    found_thinking,
    joined,
    said_after,
)
from tunix_eval.errors import RenderError, SpecError, suggestion
from tunix_eval.records import Conversation, Span, Turn

DEFAULT_DATE = "2025-01-02"
_PRIVATE = range(0xE000, 0xF900)
_ASKED, _PROBE, _THOUGHT = "\ue000asked\ue000", "\ue000probe\ue000", "\ue000thought\ue000"


class HfRenderer:
    """Prints what the template prints, in spans: the template's own control tokens, and plain text.

    Contents are plain text even where they name control tokens: such names are replaced by a private-use character
    each before the template sees them, and put back in the plain text around it. Replies are found by rendering the
    prompt before each of them; where that is no beginning of the whole, no reply is marked, and the laws refuse the
    conversation for training, unless the prompt opens a thought (`trained_spans`).
    """

    name = "hf"
    default_style = "numbered"
    append_only = False
    advice = "train with another renderer or leave the conversation out"

    def __init__(
        self, template: str, tokens: Mapping[str, str], control_tokens: tuple[str, ...], where: str, **variables: Any
    ) -> None:
        self.version = hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self.control_tokens = control_tokens
        self._source = (template, tokens, control_tokens, where)
        self._given = variables
        given = dict(variables)
        date = _date(given.pop("date", DEFAULT_DATE))
        self._template = compile_template(template, where, date)
        self._variables = {**tokens, **given}
        names = sorted(control_tokens, key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, names))})") if names else None

    @classmethod
    def open(cls, directory: Path, **template_kwargs: Any) -> Self:
        """Open a model directory.

        Takes `chat_template.jinja`, or the `chat_template` of `tokenizer_config.json`, and the special tokens of
        `tokenizer_config.json`, `special_tokens_map.json` and `tokenizer.json`. `template_kwargs` are what the template
        reads besides (`enable_thinking=False`), and `date` (`"2025-01-02"`), which is what `strftime_now` sees.

        Raises:
            RenderError: there is no template, it cannot be compiled, or jinja2 is not installed.
            SpecError: the template reads no such variable.
        """
        template, where = chat_template(directory)
        tokens, control = special_tokens(directory)
        opened = cls(template, tokens, control, where)
        return opened.with_options(**template_kwargs) if template_kwargs else opened

    def with_options(self, **options: Any) -> Self:
        """Return this renderer with other variables for its template.

        Raises:
            SpecError: the template reads no such variable, or the date is none.
        """
        known = {*self._template.variables, "date"} - {"messages", "add_generation_prompt"}
        for name in options:
            if name not in known:
                listed = ", ".join(sorted(known))
                hint = suggestion(name, known)
                raise SpecError(f"renderer 'hf' has no option '{name}'; the template reads: {listed}.{hint}")
        return type(self)(*self._source, **{**self._given, **options})

    @functools.cached_property
    def stop_token(self) -> str | None:
        """The first control token after a reply, found by rendering one; None where there is none."""
        _, found, after = self._probe.partition(_PROBE)
        match = self._control.search(after) if found and self._control else None
        return match.group() if match else None

    @functools.cached_property
    def bos_token(self) -> str | None:
        """The tokenizer's BOS where the template prints it before the first question, None where it does not.

        None too where the token stands before the reply as well: it opens turns then, as SmolLM's `<|im_start|>` does.
        """
        bos = self._variables.get("bos_token")
        opening, _, rest = self._probe.partition(_ASKED)
        return bos if bos and bos in opening and bos not in rest.partition(_PROBE)[0] else None

    @functools.cached_property
    def text_markers(self) -> tuple[str, ...]:
        """Plain text that ends a question, and what opens one, where no control token does; no text may hold them."""
        opening, found, rest = self._probe.partition(_ASKED)
        closing = rest.partition(_PROBE)[0]
        if not found or (self._control and self._control.search(closing)):
            return ()
        begins = self._control.split(opening)[-1] if self._control else opening
        return (*begins.strip().splitlines()[-1:], *closing.strip().splitlines()[:1])

    @property
    def thinking_section(self) -> Section | None:
        """Whose reasoning goes into the thinking section of replies, found by rendering some; None: there is none."""
        return self._thinking.section

    @property
    def opened_thought(self) -> str:
        """What the generation prompt ends with where it opens a thought; empty where it opens none."""
        return self._thinking.prompted

    @property
    def closes_thinking(self) -> bool:
        """Whether the generation prompt closes a thinking section, so that no reply has a thought."""
        return self._thinking.closed

    @functools.cached_property
    def _thinking(self) -> Thinking:
        asked = self._asked
        if not asked:
            return NO_THINKING
        try:
            prompt = self._text(asked, generation_prompt=True)
            thoughtful, tagged = (
                self._text((*asked, reply), generation_prompt=False)
                for reply in (
                    Turn("assistant", _PROBE, _THOUGHT),
                    Turn("assistant", TAGGED.format(_THOUGHT, _PROBE)),
                )
            )
        except RenderError:
            return NO_THINKING
        return found_thinking(prompt, self._probe, thoughtful, tagged, reply=_PROBE, thought=_THOUGHT)

    @property
    def _probe(self) -> str:
        """A question and a reply as text, empty where the template refuses both ways to ask."""
        return self._probed[1]

    @property
    def _asked(self) -> tuple[Turn, ...]:
        """The question of the probe."""
        return self._probed[0]

    @functools.cached_property
    def _probed(self) -> tuple[tuple[Turn, ...], str]:
        turns = (Turn("system", "x"), Turn("user", _ASKED), Turn("assistant", _PROBE))
        for asked in (turns[1:], turns):
            try:
                return asked[:-1], self._text(asked, generation_prompt=False)
            except TemplateLimitError:
                raise
            except RenderError:
                continue
        return (), ""

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans.

        Raises:
            RenderError: the template refuses the conversation, fails, or looks at control tokens inside a text.
        """
        messages = conversation.messages
        if not messages:
            raise RenderError("hf: the conversation has no turn; expected at least a user turn")
        safe, names = self._defused(messages)
        # At once: each time that the process is asked takes as long as a short text.
        prompts = _prompts(safe)
        whole, *before = self._texts([(safe, generation_prompt), *prompts.values()])
        if isinstance(whole, RenderError):
            raise whole
        if names and _restored(whole, names) != self._text(messages, generation_prompt=generation_prompt):
            found = ", ".join(sorted(set(names.values())))
            raise RenderError(f"hf: {self._template.where} looks at {found} inside a text; leave the conversation out")
        offset = len(messages) - len(conversation.turns)
        starts = self._starts(dict(zip(prompts, before, strict=True)), whole, offset, len(safe) - 1, generation_prompt)
        return tuple(self._cut(whole, starts, names))

    def prepare(self, conversations: Iterable[Conversation]) -> None:
        """Print conversations that are about to be rendered, a few dozen at once, which is faster than one by one."""
        asked: list[Asked] = []
        for conversation in conversations:
            with contextlib.suppress(RenderError):
                safe, _ = self._defused(conversation.messages)
                asked += [(safe, False), *_prompts(safe).values()]
        self._template.prepare(asked, self._variables)

    def trained_spans(self, conversation: Conversation) -> tuple[Span, ...]:
        """Return what is trained on: the conversation, its last reply as the model writes it after its prompt.

        Some reasoning editions print a reply in another way than it was written: they drop its thought as that of an
        earlier turn (DeepSeek R1), or begin no section for a thought that stands apart (QwQ). Then this is the prompt,
        the thought, what closes it, the content, and what the template prints after one.

        Raises:
            RenderError: as for `render`.
        """
        spans = self.render(conversation, generation_prompt=False)
        k = len(conversation.turns) - 1
        if k < 1 or conversation.turns[k].role != "assistant" or self.stop_token is None:
            return spans
        said, closing = said_after(conversation.turns[k], self._thinking), self._thinking.closing.strip()
        printed = tuple(span for span in spans if span.reply == k)
        if said is None and self.opened_thought and closing not in "".join([span.text for span in printed]):
            # The prompt opens a thought that never ends: no reply to learn, which the laws say.
            return tuple(Span(span.text, span.control, None if span.reply == k else span.reply) for span in spans)
        if said is None or (printed and begins_with_thought(printed, said)):
            return spans
        prompt = self.render(Conversation(conversation.turns[:k], conversation.system), generation_prompt=True)
        ended, stop, rest = self._probe.partition(_PROBE)[2].partition(self.stop_token)
        reply = joined(
            [
                *self._spans(said.opening),
                Span(said.thought),
                *self._spans(said.closing),
                Span(said.content),
                *self._spans(ended + stop),
            ]
        )
        return (*prompt, *(Span(span.text, span.control, k) for span in reply), *self._spans(rest))

    def _spans(self, text: str) -> list[Span]:
        """Return text of the template's own in spans."""
        pieces = self._control.split(text) if self._control else [text]
        return [Span(piece, piece in self.control_tokens) for piece in pieces if piece]

    def _starts(
        self, prompts: Mapping[int, str | RenderError], whole: str, offset: int, last: int, generation_prompt: bool
    ) -> dict[int, int]:
        """Return where each reply begins in the text, by position: the index of its turn.

        Where no control token ends a reply, none is marked. Nor is a reply that ends otherwise because more follows
        (gpt-oss closes earlier ones with `<|end|>`, and only the last with `<|return|>`).
        """
        if self.stop_token is None:
            return {}
        found = ((k, prompt) for k, prompt in prompts.items() if isinstance(prompt, str))
        starts = {len(prompt): k for k, prompt in found if whole.startswith(prompt)}
        ends = [*starts, len(whole)][1:]
        return {
            start: k - offset
            for (start, k), end in zip(starts.items(), ends, strict=True)
            if self.stop_token in whole[start:end] or (k == last and not generation_prompt)
        }

    def _cut(self, whole: str, starts: dict[int, int], names: Mapping[str, str]) -> Iterator[Span]:
        stop, reply = self.stop_token, None
        for at, piece, control in self._pieces(whole, starts):
            reply = starts.get(at, reply)
            if not control:
                yield Span(_restored(piece, names), False, reply)
            elif piece == stop:
                yield Span(piece, True, reply)
                reply = None
            else:
                # A control token that is no stop is still the model's, as long as its reply lasts.
                yield Span(piece, True, reply)

    def _pieces(self, whole: str, starts: dict[int, int]) -> Iterator[tuple[int, str, bool]]:
        """Return position, text and kind of what lies between control tokens and beginnings of replies."""
        at = 0
        for piece in self._control.split(whole) if self._control else [whole]:
            end = at + len(piece)
            if piece in self.control_tokens:
                yield at, piece, True
            else:
                cuts = [at, *(start for start in starts if at < start < end), end]
                yield from ((a, whole[a:b], False) for a, b in itertools.pairwise(cuts) if a < b)
            at = end

    def _text(self, messages: tuple[Turn, ...], *, generation_prompt: bool) -> str:
        (found,) = self._texts([(messages, generation_prompt)])
        if isinstance(found, RenderError):
            raise found
        return found

    def _texts(self, asked: Sequence[Asked]) -> list[str | RenderError]:
        return self._template.render(asked, self._variables)

    def _defused(self, messages: tuple[Turn, ...]) -> tuple[tuple[Turn, ...], dict[str, str]]:
        """Return the messages without names of control tokens, and what stands for each name."""
        texts = [text for turn in messages for text in (turn.content, turn.reasoning_content) if text]
        everything = "\x00".join(texts)
        found = sorted(set(self._control.findall(everything))) if self._control else []
        if not found:
            return messages, {}
        taken = {*everything, *self._source[0]}
        free = (chr(code) for code in _PRIVATE if chr(code) not in taken)
        stands_for = dict(zip(found, free, strict=False))
        if len(stands_for) < len(found):
            raise RenderError(
                f"hf: too few private-use characters are left to stand for {found[-1]}; leave the conversation out"
            )
        assert self._control is not None
        control = self._control

        def defuse(text: str) -> str:
            return control.sub(lambda match: stands_for[match.group()], text)

        safe = tuple(
            Turn(turn.role, defuse(turn.content), turn.reasoning_content and defuse(turn.reasoning_content))
            for turn in messages
        )
        return safe, {sign: name for name, sign in stands_for.items()}


def _prompts(messages: tuple[Turn, ...]) -> dict[int, Asked]:
    """Return the prompts before each reply that has one."""
    return {k: (messages[:k], True) for k in range(1, len(messages)) if messages[k].role == "assistant"}


def _restored(text: str, names: Mapping[str, str]) -> str:
    for sign, name in names.items():
        text = text.replace(sign, name)
    return text


def _date(value: object) -> dt.date:
    try:
        return dt.date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise SpecError(f"renderer 'hf': option 'date' is {value!r}, expected a date like '{DEFAULT_DATE}'") from None
