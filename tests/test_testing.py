"""The contract checks must catch a renderer or tokenizer that breaks its promises."""

import subprocess
import sys

import pytest

from tunix_eval.data import ByteTokenizer, GemmaRenderer, PlainRenderer
from tunix_eval.errors import RenderError
from tunix_eval.records import Span
from tunix_eval.testing import check_renderer, check_tokenizer


class Changed(PlainRenderer):
    """The plain renderer with one promise broken by `change`, which takes the spans and the conversation."""

    def __init__(self, change):
        self.change = change

    def render(self, conversation, *, generation_prompt):
        spans = list(super().render(conversation, generation_prompt=generation_prompt))
        return tuple(self.change(spans, conversation, generation_prompt))


def all_plain(spans, *_):
    return [Span(span.text, span.control) for span in spans]


def all_supervised(spans, _, generation_prompt):
    return [Span(span.text, span.control, not generation_prompt) for span in spans]


def stop_unsupervised(spans, *_):
    return [Span(span.text, span.control, span.supervised and not span.control) for span in spans]


def supervised_after_stop(spans, _, generation_prompt):
    return spans if generation_prompt else [*spans, Span("\n", supervised=True)]


def two_bos(spans, *_):
    return [Span("<bos>", control=True), *spans]


def prompt_with_space(spans, _, generation_prompt):
    return [*spans, Span(" ")] if generation_prompt else spans


def supervised_prompt(spans, _, generation_prompt):
    return [Span(span.text, span.control, generation_prompt or span.supervised) for span in spans]


def forged(spans, conversation, _):
    found = any("<eos>" in turn.content for turn in conversation.turns if turn.role == "user")
    return [spans[0], Span("<eos>", control=True), *spans[1:]] if found else spans


def undeclared(spans, *_):
    return [Span("<extra>", control=True), *spans]


def reply_dropped(spans, *_):
    return [
        Span("" if span.supervised and not span.control else span.text, span.control, span.supervised) for span in spans
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (all_plain, "nothing is supervised"),
        (all_supervised, "everything is supervised"),
        (stop_unsupervised, "the last supervised span is not the stop token"),
        (supervised_after_stop, "the last supervised span is not the stop token"),
        (two_bos, "2 BOS tokens"),
        (prompt_with_space, "no token-level prefix"),
        (supervised_prompt, "a prompt has a supervised span"),
        (forged, "changed the control tokens"),
        (undeclared, "not among the control_tokens"),
        (reply_dropped, "does not hold the reply"),
    ],
)
def test_a_renderer_that_breaks_a_promise_is_caught(change, reason):
    with pytest.raises(AssertionError, match=reason):
        check_renderer(Changed(change))


@pytest.mark.parametrize(("field", "value"), [("default_style", "fancy"), ("stop_token", "<end>")])
def test_a_renderer_that_names_what_is_not_there_is_caught(field, value):
    renderer = PlainRenderer()
    setattr(renderer, field, value)
    with pytest.raises(AssertionError, match="is not among"):
        check_renderer(renderer)


class NoSystem(GemmaRenderer):
    def render(self, conversation, *, generation_prompt):
        if conversation.system is not None:
            raise RenderError("no system text")
        return super().render(conversation, generation_prompt=generation_prompt)


def test_what_a_renderer_refuses_is_passed_over():
    check_renderer(NoSystem())


class Forging(ByteTokenizer):
    def encode(self, text):
        return [257] if text == "<bos>" else super().encode(text)


class Lossy(ByteTokenizer):
    def encode(self, text):
        return super().encode(text.lower())


class Crowded(ByteTokenizer):
    def __init__(self, control_tokens):
        super().__init__(control_tokens)
        self.vocab_size = 258


class Padded(ByteTokenizer):
    pad_id = 257


class Lenient(ByteTokenizer):
    def control_id(self, token):
        return self._ids.get(token, 0)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (Forging, "plain text gave a control or padding id"),
        (Lossy, "decoding does not give back the text"),
        (Crowded, "an id is out of range"),
        (Padded, "share an id"),
        (Lenient, "an unknown control token has an id"),
    ],
)
def test_a_tokenizer_that_breaks_a_promise_is_caught(factory, reason):
    with pytest.raises(AssertionError, match=reason):
        check_tokenizer(factory)


def test_without_hypothesis_the_install_command_is_named():
    code = "import sys; sys.modules['hypothesis'] = None; import tunix_eval.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install it with: pip install 'tunix-eval[testing]'" in done.stderr


def test_importing_the_data_stage_imports_neither_jax_nor_pydantic():
    code = "import sys, tunix_eval.data; print(sorted({'jax', 'pydantic', 'hypothesis', 'flax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
