"""The contract checks must catch a renderer, tokenizer or scorer that breaks its promises."""

import itertools
import subprocess
import sys
import unicodedata

import pytest
from msgspec.structs import replace

from tunix_eval.data import BUILTIN_GENERATORS, ByteTokenizer, GemmaRenderer, PlainRenderer
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Generator, Score, Span, Step, Trace
from tunix_eval.scoring import BUILTIN_SCORERS
from tunix_eval.testing import check_generator, check_renderer, check_scorer, check_tokenizer

COUNTER = itertools.count()


class Changed(PlainRenderer):
    """The plain renderer with one promise broken by `change`, which takes the spans and the conversation."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def render(self, conversation, *, generation_prompt):
        spans = list(super().render(conversation, generation_prompt=generation_prompt))
        return tuple(self.change(spans, conversation, generation_prompt))


def all_plain(spans, *_):
    return [Span(span.text, span.control) for span in spans]


def all_the_models(spans, conversation, generation_prompt):
    return [Span(span.text, span.control, len(conversation.turns) - 1) for span in spans]


def stop_given(spans, *_):
    return [Span(span.text, span.control, None if span.control else span.reply) for span in spans]


def reply_after_stop(spans, _, generation_prompt):
    return spans if generation_prompt else [*spans, Span("\n", reply=spans[-1].reply)]


def two_bos(spans, *_):
    return [Span("<bos>", control=True), *spans]


def no_bos(spans, *_):
    return spans[1:]


def prompt_with_space(spans, _, generation_prompt):
    return [*spans, Span(" ")] if generation_prompt else spans


def models_prompt(spans, _, generation_prompt):
    return [Span(span.text, span.control, 1) for span in spans] if generation_prompt else spans


def forged(spans, conversation, _):
    found = any("<eos>" in turn.content for turn in conversation.turns if turn.role == "user")
    return [spans[0], Span("<eos>", control=True), *spans[1:]] if found else spans


def undeclared(spans, *_):
    return [Span("<extra>", control=True), *spans]


def reply_dropped(spans, *_):
    return [
        Span("" if span.reply is not None and not span.control else span.text, span.control, span.reply)
        for span in spans
    ]


def lowered(spans, *_):
    return [Span(span.text if span.control else span.text.lower(), span.control, span.reply) for span in spans]


def cut_off(spans, *_):
    return [Span(span.text[:100], span.control, span.reply) for span in spans]


def system_dropped(spans, conversation, _):
    dropped = f"{conversation.system}\n\n"
    return [Span(span.text.removeprefix(dropped), span.control, span.reply) for span in spans]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (all_plain, "the prompt before turn 2 is no beginning of the whole, or its reply is not marked"),
        (all_the_models, "everything is; expected a prompt"),
        (stop_given, "turn 2 ends without <eos>"),
        (reply_after_stop, "turn 2 goes on after <eos>"),
        (two_bos, "found 2 BOS tokens, expected 1"),
        (no_bos, "found 0 BOS tokens, expected 1"),
        (prompt_with_space, "the prompt before turn 2 is no beginning of the whole"),
        (models_prompt, "the prompt before turn 2 is no beginning of the whole"),
        (forged, "changed the control tokens"),
        (undeclared, "not among the control_tokens"),
        (reply_dropped, "the edition drops part of what the assistant says in turn 2"),
        (lowered, "the edition drops part of what the user says in turn 1"),
        (cut_off, "the edition drops part of what the user says in turn 1"),
        (system_dropped, "the edition drops the system text"),
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


class Listing(PlainRenderer):
    def render(self, conversation, *, generation_prompt):
        return list(super().render(conversation, generation_prompt=generation_prompt))


class Unlisted(PlainRenderer):
    control_tokens = ["<bos>", "<eos>"]  # noqa: RUF012


class Nameless:
    version = "1"


@pytest.mark.parametrize(
    ("renderer", "reason"),
    [
        (Listing(), "render gave a list, expected a tuple of Spans"),
        (Unlisted(), "control_tokens is a list, expected a tuple"),
        (Nameless(), "Nameless has no name, control_tokens, stop_token, default_style, render; a renderer has name, "),
    ],
)
def test_a_renderer_of_another_shape_is_caught(renderer, reason):
    with pytest.raises(AssertionError, match=reason):
        check_renderer(renderer)


class NoSystem(GemmaRenderer):
    def render(self, conversation, *, generation_prompt):
        if conversation.system is not None:
            raise RenderError("no system text")
        return super().render(conversation, generation_prompt=generation_prompt)


def test_what_a_renderer_refuses_is_passed_over():
    check_renderer(NoSystem())


class RefusesAll(GemmaRenderer):
    def render(self, conversation, *, generation_prompt):
        raise RenderError("not today")


def test_a_renderer_that_refuses_an_ordinary_exchange_is_caught():
    with pytest.raises(AssertionError, match="an ordinary exchange is refused: not today"):
        check_renderer(RefusesAll())


class SystemDropped(PlainRenderer):
    append_only = False

    def render(self, conversation, *, generation_prompt):
        return super().render(Conversation(conversation.turns), generation_prompt=generation_prompt)


def test_what_the_laws_refuse_to_train_on_is_passed_over():
    check_renderer(SystemDropped())


class Scorer:
    name, version, lower_is_better, bounds = "half", "1", False, (0.0, 1.0)

    def __init__(self, change=lambda item, completion: Score(0.5), parameters=()):
        self.change, self.parameters = change, dict(parameters)

    def __call__(self, item, completion):
        return self.change(item, completion)


@pytest.mark.parametrize("name", sorted(BUILTIN_SCORERS))
def test_the_scorers_that_are_built_in_keep_the_contract(name):
    check_scorer(BUILTIN_SCORERS[name])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda item, completion: Score(None), "a value that is None has no note"),
        (lambda item, completion: Score(2.0), "the value is 2.0, the bounds are 0.0 and 1.0"),
        (lambda item, completion: Score(float("nan")), "the value is nan"),
        (lambda item, completion: 1.0, "gave float, expected a Score"),
        (lambda item, completion: Score(float(next(COUNTER) % 2)), "for one completion"),
    ],
)
def test_a_scorer_that_breaks_a_promise_is_caught(change, reason):
    with pytest.raises(AssertionError, match=reason):
        check_scorer(Scorer(change))


def test_a_scorer_that_raises_on_a_missing_answer_is_caught():
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'strip'"):
        check_scorer(Scorer(lambda item, completion: Score(float(completion.answer.strip() == item.expected_answer))))


def test_parameters_that_json_cannot_hold_are_caught():
    with pytest.raises(AssertionError, match="JSON cannot hold the parameters"):
        check_scorer(Scorer(parameters={"x": object()}))


@pytest.mark.parametrize("bounds", [5, None, (1.0, 0.0), ("a", "b")])
def test_bounds_that_are_none_are_caught(bounds):
    scorer = Scorer()
    scorer.bounds = bounds
    with pytest.raises(AssertionError, match="expected the least and the greatest value"):
        check_scorer(scorer)


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


class Composing(ByteTokenizer):
    def encode(self, text):
        return super().encode(unicodedata.normalize("NFC", text))


class Unix(ByteTokenizer):
    def encode(self, text):
        return super().encode(text.replace("\r\n", "\n"))


class Backwards(ByteTokenizer):
    def encode_batch(self, texts):
        ids, lengths = super().encode_batch(texts)
        return ids[::-1], lengths


class Unversioned(ByteTokenizer):
    version = None


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
        (Composing, "decoding does not give back the text"),
        (Unix, "decoding does not give back the text"),
        (Backwards, "encode_batch gives other ids than encode"),
        (Unversioned, "version is None, expected a text"),
        (ByteTokenizer(()), "ByteTokenizer takes no control tokens; give the class"),
    ],
)
def test_a_tokenizer_that_breaks_a_promise_is_caught(factory, reason):
    with pytest.raises(AssertionError, match=reason):
        check_tokenizer(factory)


def numbered(index):
    steps = (Step(0, "work", "think"),)
    return Trace(trace_version="1.0", prompt=f"q{index}", final_answer="a", steps=steps, id=str(index))


@pytest.mark.parametrize("name", sorted(BUILTIN_GENERATORS))
def test_the_generators_that_are_built_in_keep_the_contract(name):
    check_generator(BUILTIN_GENERATORS[name], seed=7, count=40)


@pytest.mark.parametrize(
    ("traces", "reason"),
    [
        (lambda seed, count: [numbered(next(COUNTER)) for _ in range(count)], "is another when asked again"),
        (lambda seed, count: [numbered(k // 2) for k in range(count)], "reached 3 of 5 distinct prompts"),
        (lambda seed, count: [numbered(k) for k in range(count - 1)], "reached 4 of 5 distinct prompts"),
        (lambda seed, count: [replace(numbered(k), id="x") for k in range(count)], "'x'"),
        (lambda seed, count: [replace(numbered(k), steps=()) for k in range(count)], "steps"),
    ],
)
def test_a_generator_that_breaks_a_promise_is_caught(traces, reason):
    with pytest.raises(AssertionError, match=reason):
        check_generator(Generator(traces, version="1", count=5))


def test_without_hypothesis_the_install_command_is_named():
    code = "import sys; sys.modules['hypothesis'] = None; import tunix_eval.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install it with: pip install 'tunix-eval[testing]'" in done.stderr


def test_importing_the_data_stage_imports_neither_jax_nor_pydantic():
    code = "import sys, tunix_eval.data; print(sorted({'jax', 'pydantic', 'hypothesis', 'flax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
