"""What the editions of chat templates have in common: an edition is a class of constants, laid out here.

The text and the stop token of an assistant turn are what the model writes (`Span.reply`). Text spans break between
control tokens and before each reply, so that a prompt is a span-for-span prefix of the conversation that it begins.
Texts of a conversation are only ever put into plain spans; none of them can become a control token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from tunix_eval.data.renderers.styles import Section
from tunix_eval.errors import RenderError, SpecError, suggestion
from tunix_eval.records import Conversation, Span, Turn


class Layout(NamedTuple):
    """One turn: spans, then one text (`lead`, content, `trail`), then spans."""

    before: tuple[Span, ...]
    lead: str
    trail: str
    after: tuple[Span, ...]


class Edition:
    """An edition of a chat template, laid out from its constants.

    Turn templates hold `{}` once, where the content stands, and name control tokens as they are printed. The
    assistant's begins with `opening`: that much is given, the rest up to the stop token is what the model writes.
    """

    name: str
    version: str = "1"
    control_tokens: tuple[str, ...]
    bos_token: str | None = None
    stop_token: str | None = None
    default_style: str = "numbered"
    thinking_section: ClassVar[Section | None] = None
    """Whose reasoning is printed in a thinking section; None where replies have no such section."""

    user: ClassVar[str]
    assistant: ClassVar[str]
    opening: ClassVar[str] = ""
    prefill: ClassVar[str] = ""
    """Printed after `opening` in a generation prompt, and given wherever a reply begins with it."""
    system: ClassVar[str | None] = None
    """A system turn; None where there is no such turn."""
    skips_empty_system: ClassVar[bool] = False
    """A system turn without text is not printed."""
    end: ClassVar[str] = ""
    """Printed last, unless there is a generation prompt."""
    strips: ClassVar[bool] = False
    """White space around the content of every turn goes (Python's `str.strip`, as Jinja's `trim`)."""
    alternates: ClassVar[bool] = False
    """Refuses all but user and assistant in turn, after the first system text."""
    text_markers: ClassVar[tuple[str, ...]] = ()
    """What opens or ends a turn and is plain text in the edition's own tokenizer: no training text may hold it."""
    append_only: ClassVar[bool] = True
    """Prints all that a turn says, the same whatever follows. The laws that look at other renders then hold by
    construction and are not looked at; tests hold every edition to what it declares here."""
    advice: ClassVar[str] = "train with another renderer or leave the conversation out"
    """What to do about a conversation for which a law fails."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options by name, with their defaults."""

    def __init__(self, **options: Any) -> None:
        self.chosen = {**self.options, **options}
        self._turns = {role: self._layout(text) for role, text in self._templates().items()}
        self._start = self._spans(self.bos_token or "")
        self._end = self._spans(self.end)
        self._opening, self._prompt = (
            (*control, *([Span(text)] if text else []))
            for control, text in map(self._head, (self.opening, self.opening + self.prefill))
        )
        replies = range(32)
        self._stops = [Span(self.stop_token, True, k) for k in replies] if self.stop_token else []

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.chosen == getattr(other, "chosen", None)

    def __hash__(self) -> int:
        return hash((type(self), tuple(self.chosen.items())))

    def with_options(self, **options: Any) -> Edition:
        """Return this edition with other options.

        Raises:
            SpecError: the edition has no such option, or its value is of another type.
        """
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                hint = suggestion(name, self.options)
                raise SpecError(f"renderer '{self.name}' has no option '{name}'; known: {known}.{hint}")
            wanted = type(self.options[name])
            if type(value) is not wanted:
                expected = f"expected a value like {self.options[name]!r}"
                raise SpecError(f"renderer '{self.name}': option '{name}' is {value!r}, {expected}")
        return type(self)(**{**self.chosen, **options}) if options else self

    def render(self, conversation: Conversation, *, generation_prompt: bool) -> tuple[Span, ...]:
        """Return the spans.

        Raises:
            RenderError: the template refuses the conversation, or there is no turn.
        """
        system, turns, first = conversation.system, conversation.turns, 0
        if system is None:
            if not turns:
                raise RenderError(f"{self.name}: the conversation has no turn; expected at least a user turn")
            if turns[0].role == "system":
                system, first = turns[0].content, 1
        return tuple(self._render(system, turns, first, generation_prompt))

    def _render(self, system: str | None, turns: Sequence[Turn], first: int, generation_prompt: bool) -> list[Span]:
        preamble, inset = self._begin(system)
        spans = [*self._start, *preamble]
        for k in range(first, len(turns)):
            turn = turns[k]
            role = turn.role
            if self.alternates and (role == "user") is bool((k - first) & 1):
                raise self._not_alternating(k, role, first)
            layout = self._turns.get(role)
            if layout is None:
                self._add_unknown(k, role)
                continue
            text = turn.content.strip() if self.strips else turn.content
            if role == "assistant":
                self._add_reply(spans, layout, text, k)
                continue
            if self.skips_empty_system and role == "system" and not text:
                continue
            spans += layout.before
            text = f"{layout.lead}{inset}{text}{layout.trail}"
            inset = ""
            if text:
                spans.append(Span(text))
            spans += layout.after
        spans += self._prompt if generation_prompt else self._end
        return spans

    def _add_reply(self, spans: list[Span], layout: Layout, text: str, k: int) -> None:
        if self.prefill and text.startswith(self.prefill):
            spans += self._prompt
            text = text[len(self.prefill) :]
        else:
            spans += self._opening
        text = f"{layout.lead}{text}{layout.trail}"
        if text:
            spans.append(Span(text, False, k))
        if layout.after:
            spans.append(self._stops[k] if k < len(self._stops) else Span(layout.after[0].text, True, k))
            spans += layout.after[1:]

    def _begin(self, system: str | None) -> tuple[Sequence[Span], str]:
        """Return the spans of the system text before every turn, and what stands inside the first user turn."""
        if system is None or self.system is None or (self.skips_empty_system and not system):
            return (), ""
        return self.turn("system", system), ""

    def beginning(self, system: str | None) -> tuple[Span, ...]:
        """Return what is printed before the first turn; a system text that goes into that turn comes as plain text."""
        preamble, inset = self._begin(system)
        return (*self._start, *preamble, *([Span(inset)] if inset else []))

    def turn(self, role: str, content: str, reply: int = 0) -> list[Span]:
        """Return one turn by itself; an assistant's is the reply with the index `reply`."""
        spans: list[Span] = []
        layout = self._turns[role]
        text = content.strip() if self.strips else content
        if role == "assistant":
            self._add_reply(spans, layout, text, reply)
            return spans
        spans += layout.before
        if text := f"{layout.lead}{text}{layout.trail}":
            spans.append(Span(text))
        spans += layout.after
        return spans

    def _add_unknown(self, k: int, role: str) -> None:
        """Refuse a turn of a role that the edition has no layout for."""
        raise RenderError(f"{self.name}: turn {k + 1} is the {role}'s; only user and assistant turns are printed")

    def _not_alternating(self, k: int, role: str, first: int) -> RenderError:
        expected = ("user", "assistant")[(k - first) % 2]
        return RenderError(
            f"{self.name}: turn {k + 1} is the {role}'s, expected the {expected}'s; turns must alternate "
            "user/assistant/user/assistant"
        )

    def _templates(self) -> dict[str, str]:
        templates = {"user": self.user, "assistant": self.assistant.removeprefix(self.opening)}
        return templates if self.system is None else {**templates, "system": self.system}

    def _layout(self, template: str) -> Layout:
        head, tail = template.split("{}")
        before, lead = self._head(head)
        pieces = self._pieces(tail)
        trail = "" if not pieces or pieces[0].control else pieces.pop(0).text
        return Layout(before, lead, trail, tuple(pieces))

    def _head(self, text: str) -> tuple[tuple[Span, ...], str]:
        """Return the spans, and the plain text after the last control token."""
        pieces = self._pieces(text)
        lead = "" if not pieces or pieces[-1].control else pieces.pop().text
        return tuple(pieces), lead

    def _spans(self, text: str) -> tuple[Span, ...]:
        return tuple(self._pieces(text))

    def _pieces(self, text: str) -> list[Span]:
        names = "|".join(map(re.escape, self.control_tokens))
        return [Span(piece, piece in self.control_tokens) for piece in re.split(f"({names})", text) if piece]


class InsetSystem(Edition):
    r"""An edition that has no system turn: a system text and `\n\n` stand inside the first user turn."""

    alternates = True

    def _begin(self, system: str | None) -> tuple[Sequence[Span], str]:
        return (), "" if system is None else f"{system}\n\n"


class NoSystem(Edition):
    """An edition that refuses a system text."""

    alternates = True

    def _begin(self, system: str | None) -> tuple[Sequence[Span], str]:
        if system is not None:
            raise RenderError(f"{self.name}: the edition has no place for a system text; leave it out")
        return (), ""
