"""Where a template's replies think, told from what it prints for a prompt and for replies with and without a thought.

| what the template does | opening | closing | section |
|---|---|---|---|
| prompts with `<think>`, prints the thought behind it (Qwen 3.5, Nemotron 3) | `<think>` | as printed | always |
| prompts with `<think>`, prints thoughts only as content (QwQ) or not at all (R1) | `<think>` | by the tag | always |
| prompts without, prints no thought of any reply (Nemotron Super 1.5) | of the reply | by the tag | tagged |
| prompts without, prints an empty section for any reply that it knows (Kimi K2) | of the reply | as printed | always |
| prints an empty section where there is no thought (Qwen 3) | | | always |
| prints a section only where there is a thought (gpt-oss, Seed-OSS) | | | tagged |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tunix_eval.data.renderers.styles import Section
from tunix_eval.records import Span, Turn

# `<think>`, `<seed:think>`, `[THINK]`, `<|START_THINKING|>`: at the end of a prompt, such a tag opens a thought.
_OPENING = re.compile(r"(?P<before><\|?|\[)(?P<name>(?!END)[^<>\[\]|/]*think[^<>\[\]|/]*)(?P<after>\|?>|\])\s*\Z", re.I)
# Gemma 4 closes a channel: `<|channel>thought\n<channel|>`.
_CLOSED = re.compile(r"(?:(?:</|\[/|<\|END_)[^<>\[\]/]*think[^<>\[\]/]*(?:>|\])|<channel\|>)\s*\Z", re.I)
_EMPTY = re.compile(r"(?P<opening><(?P<name>[^<>/|]*think[^<>/|]*)>\n?)(?P<closing>\s*</(?P=name)>\s*)\Z", re.I)
TAGGED = "<think>\n{}\n</think>\n\n{}"
"""A reply with its thought in the content, as templates that read one there expect it."""


class Thinking(NamedTuple):
    """What a template does with thoughts."""

    section: Section | None
    """Whose reasoning goes into the section."""
    prompted: str = ""
    """What the prompt ends with where it opens a thought."""
    written: str = ""
    """What a reply opens its thought with, where the template does not print it and the prompt does not either."""
    closing: str = ""
    """What stands between thought and content, where the prompt or `written` opens a thought."""
    closed: bool = False
    """The prompt closes a section in which nothing stands: thinking is turned off."""


class Said(NamedTuple):
    """A reply as a model writes it after its prompt, in pieces."""

    opening: str
    thought: str
    closing: str
    content: str


NO_THINKING = Thinking(None)


def found_thinking(prompt: str, bare: str, thoughtful: str, tagged: str, *, reply: str, thought: str) -> Thinking:
    """Return what a template does.

    Args:
        prompt: what it prints before a reply.
        bare: what it prints for a question and the reply.
        thoughtful: the same of a reply with a thought apart.
        tagged: the same of a reply with the thought in its content, laid out by `TAGGED`.
        reply: the reply.
        thought: the thought.
    """
    tag = _OPENING.search(prompt)
    start = bare.removeprefix(prompt).partition(reply)[0] if bare.startswith(prompt) else ""
    before, printed, rest = thoughtful.partition(thought)
    between, found, _ = rest.partition(reply)
    if printed and found:
        if before.rstrip() == prompt.rstrip():
            return Thinking("always", tag.group() if tag else prompt.splitlines(keepends=True)[-1], "", between)
        empty = bool(_squeezed(between)) and _squeezed(start).endswith(_squeezed(between))
        return Thinking("always" if empty else "tagged", closed=_CLOSED.search(prompt) is not None)
    if tag is not None:
        return Thinking("always", tag.group(), "", _closing(tag))
    if _CLOSED.search(prompt):
        return Thinking(None, closed=True)
    if empty_section := _EMPTY.search(start):
        return Thinking("always", "", empty_section["opening"], empty_section["closing"])
    if thought in tagged or reply not in tagged:
        return NO_THINKING
    opening, closing = TAGGED.format(thought, reply).split(thought)
    return Thinking("tagged", "", opening, closing.removesuffix(reply))


def said_after(turn: Turn, thinking: Thinking) -> Said | None:
    r"""Return a reply as a model writes it; None where the template prints it so, or the reply has no thought.

    >>> said_after(
    ...     Turn("assistant", "<think>\nt\n</think>\n\n2"), Thinking("always", "<think>\n", "", "\n</think>\n\n")
    ... )
    Said(opening='', thought='t', closing='\n</think>\n\n', content='2')
    """
    opening, closing = thinking.prompted or thinking.written, thinking.closing
    if thinking.closed and not has_thought(turn):
        return Said("", "", "", turn.content)
    if not opening:
        return None
    if turn.reasoning_content:
        return Said(thinking.written, turn.reasoning_content.strip("\n"), closing, turn.content)
    tag, end = opening.strip(), closing.strip()
    thought, closed, content = turn.content.lstrip().removeprefix(tag).partition(end)
    if not (end and closed and turn.content.lstrip().startswith(tag)):
        return None
    # White space around the tags as the reply has it, but for what the prompt has printed.
    if opening.endswith("\n"):
        thought = thought.lstrip("\n")
    bare, after = thought.rstrip("\n"), content.lstrip("\n")
    return Said(thinking.written, bare, f"{thought[len(bare) :]}{end}{content[: len(content) - len(after)]}", after)


def has_thought(turn: Turn) -> bool:
    """Tell whether a reply thinks: apart from its content, or in tags."""
    return bool(turn.reasoning_content) or "</think>" in turn.content


def begins_with_thought(spans: Iterable[Span], said: Said) -> bool:
    """Tell whether a reply as printed begins as the model writes it, white space apart."""
    printed = _squeezed("".join([span.text for span in spans]))
    return printed.startswith(_squeezed(said.opening + said.thought + said.closing))


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans with neighbouring texts joined and empty ones left out: a text is encoded in one piece."""
    whole: list[Span] = []
    for span in spans:
        if whole and not (span.control or whole[-1].control):
            whole[-1] = Span(whole[-1].text + span.text)
        elif span.text:
            whole.append(span)
    return whole


def _closing(tag: re.Match[str]) -> str:
    r"""Return what closes a tag, on lines of its own where the tag stands on one: `\n</think>\n\n`, `</think>`."""
    before, name, after = tag["before"], tag["name"], tag["after"]
    named = name.replace("START", "END") if "START" in name else f"/{name}"
    closing = f"{before}{named}{after}"
    return f"\n{closing}\n\n" if tag.group().endswith("\n") else closing


def _squeezed(text: str) -> str:
    return "".join(text.split())
