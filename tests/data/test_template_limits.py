"""Templates that never end or fill the memory, each in another way, and what is said of them."""

import json
import os

import pytest

from tunix_eval.data import HfRenderer
from tunix_eval.data.renderers import sandbox
from tunix_eval.errors import RenderError
from tunix_eval.records import Conversation, Turn

SIMPLE = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
ASKED = Conversation((Turn("user", "Q"),))
PAIR = Conversation((Turn("user", "Q"), Turn("assistant", "A")))
RANGE = "{% for i in range(99999) %}"
DOUBLED = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = "


@pytest.fixture
def opened(tmp_path):
    def open_(template):
        config = {"additional_special_tokens": ["<|end|>"], "chat_template": template}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return HfRenderer.open(tmp_path)

    return open_


MEMORY = {
    "text times a number": "{{ 'a' * 10**9 }}",
    "text times a number that is no constant": "{{ messages[0].content * 10**9 }}",
    "a filter's width": "{{ 'a' | center(10**9) }}",
    "a filter's indentation": "{{ 'a\\nb' | indent(10**9) }}",
    "a method's width": "{{ messages[0].content.ljust(10**9) }}",
    "a format": "{{ '%1000000000d' % 1 }}",
    "text doubled by ~": DOUBLED + "ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "text doubled by +": DOUBLED + "ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "text doubled in a block": DOUBLED.replace(
        "{% set ns.x = ", "{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x"
    )
    + " %}{% endfor %}{{ ns.x }}",
    "a list doubled": DOUBLED.replace("'ab'", "[1]") + "ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "lists in a list": DOUBLED + "[ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "printed without end": RANGE * 3 + "{{ messages[0].content * 1000 }}" + "{% endfor %}" * 3,
}
TIME = {
    "loops in loops": RANGE * 3 + "{% endfor %}" * 3,
    "a macro that calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(80) }}"
    ),
    "a power": DOUBLED.replace("'ab'", "3") + "ns.x * ns.x %}{% endfor %}{{ ns.x }}",
}


@pytest.mark.parametrize("kind", MEMORY)
def test_a_template_that_fills_the_memory_is_refused(opened, kind):
    with pytest.raises(RenderError, match=r"takes more than 512 MiB of memory|prints more than 50,000,000 characters"):
        opened(MEMORY[kind]).render(ASKED, generation_prompt=True)


@pytest.mark.parametrize("kind", TIME)
def test_a_template_that_never_ends_is_refused(opened, kind, monkeypatch):
    sandbox._PROCESS.close()
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    try:
        with pytest.raises(RenderError, match=r"tokenizer_config.json: chat_template takes more than 5 s of processor"):
            opened(TIME[kind]).render(ASKED, generation_prompt=True)
    finally:
        sandbox._PROCESS.close()


def test_the_refusal_names_template_limit_and_next_move(opened, tmp_path):
    with pytest.raises(RenderError) as caught:
        opened("{{ 'a' * 10**9 }}").render(ASKED, generation_prompt=True)
    assert str(caught.value) == (
        f"{tmp_path}/tokenizer_config.json: chat_template takes more than 512 MiB of memory for one conversation; a "
        "template that loops without end or multiplies texts is not rendered: mend it, or take another renderer"
    )


def test_the_next_template_is_rendered_after_one_that_broke_a_limit(opened):
    with pytest.raises(RenderError, match="of memory"):
        opened("{{ 'a' * 10**9 }}").render(ASKED, generation_prompt=True)
    assert opened(SIMPLE).render(PAIR, generation_prompt=False)[0].text == "Q"


def test_a_process_that_is_gone_is_started_again(opened):
    renderer = opened(SIMPLE)
    renderer.render(ASKED, generation_prompt=True)
    process = sandbox._PROCESS._running
    process.kill()
    process.wait()
    with pytest.raises(RenderError, match=r"ended the process that renders it \(status -9\)"):
        renderer.render(PAIR, generation_prompt=False)
    assert opened(SIMPLE).render(PAIR, generation_prompt=False)[-1].text == "<|end|>"


def test_long_conversations_stay_within_the_limits(opened):
    """300 turns of 10,000 characters, by a template that looks at all of them for each."""
    renderer = opened(
        "{% for m in messages %}{% for n in messages %}{% endfor %}{{ m.content | trim }}<|end|>{% endfor %}"
    )
    turns = tuple(Turn("user", "word " * 2_000) for _ in range(300))
    assert len(renderer.render(Conversation(turns), generation_prompt=False)) == 600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_renders_by_a_process_of_its_own(opened):
    renderer = opened(SIMPLE)
    renderer.render(ASKED, generation_prompt=True)
    running, owner = sandbox._PROCESS._running, sandbox._PROCESS._owner
    sandbox._PROCESS._owner = -1
    try:
        assert renderer.render(PAIR, generation_prompt=False)[0].text == "Q"
        assert sandbox._PROCESS._running is not running
    finally:
        sandbox._PROCESS.close()
        sandbox._PROCESS._running, sandbox._PROCESS._owner = running, owner
