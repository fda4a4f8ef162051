"""The process that renders chat templates: reads requests, prints texts, and is ended by the system at its limits.

Run by path, never imported: it must start fast, and needs jinja2 alone. Templates are compiled as transformers compiles
them, in Jinja's immutable sandbox, which bounds neither time nor memory. Nor does anything else inside one process: one
call of a filter may take all the memory there is, and no signal handler runs before it returns.

A message is its length (4 bytes, little-endian) and JSON. A request has `template`, `date`, `variables` and `asked`, a
list of messages and whether a generation prompt follows. The reply has `variables`, the names that the template reads,
and `texts`, each `{"text": ...}` or `{"refused": ...}` or `{"failed": ...}`; or `invalid`, where it cannot be compiled.

Source: `_compile_jinja_template` of transformers (utils/chat_template_utils.py): the environment, the tag
`{% generation %}`, the filter `tojson`, the functions `raise_exception` and `strftime_now`.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import signal
import struct
import sys
from typing import Any, BinaryIO, NoReturn

from jinja2 import Environment, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

try:
    import resource
except ModuleNotFoundError:  # Windows has no such limits.
    resource = None  # type: ignore[assignment]

FAILURES = (
    *(TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(RecursionError, SyntaxError),
)
"""What a template's own mistakes raise."""


class RefusedError(TemplateError):
    """The template called `raise_exception`."""


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks what the model writes; it prints its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the body of the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def serve(requests: BinaryIO, replies: BinaryIO, *, seconds: float, memory: int, characters: int) -> None:
    """Answer requests until there are no more.

    Args:
        requests: what is asked.
        replies: what is answered.
        seconds: of processor time that one text may take; then the system ends the process by SIGPROF.
        memory: bytes that the process may have.
        characters: how long one text may be.
    """
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    while len(header := requests.read(4)) == 4:
        request = json.loads(requests.read(struct.unpack("<I", header)[0]))
        try:
            reply = json.dumps(answer(request, seconds, characters)).encode()
        except MemoryError:
            reply = b'{"limit": "memory"}'
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(struct.pack("<I", len(reply)) + reply)
        replies.flush()


def answer(request: dict[str, Any], seconds: float, characters: int) -> dict[str, Any]:
    """Return the reply to a request."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        template, variables = compiled(request["template"], request["date"])
    except TemplateSyntaxError as error:
        return {"invalid": f"{error.lineno}: {error.message}; mend the template"}
    except FAILURES as error:  # RecursionError and Python's SyntaxError: nested too deeply
        return {"invalid": f" the template cannot be compiled: {type(error).__name__}: {_line(error)}; mend it"}
    texts = []
    for messages, generation_prompt in request["asked"]:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        found = rendered(template, messages, {**request["variables"], "add_generation_prompt": generation_prompt})
        if len(found.get("text", "")) > characters:
            return {"limit": "characters"}
        texts.append(found)
    return {"variables": variables, "texts": texts}


def rendered(template: Template, messages: list[dict[str, str]], variables: dict[str, Any]) -> dict[str, str]:
    """Print messages; `tools` and `documents` are none unless they are among the variables."""
    try:
        return {"text": str(template.render({"tools": None, "documents": None, **variables}, messages=messages))}
    except RefusedError as error:
        return {"refused": _line(error)}
    except FAILURES as error:
        return {"failed": f"{type(error).__name__}: {_line(error)}"}


@functools.lru_cache(16)
def compiled(text: str, date: str) -> tuple[Template, list[str]]:
    """Return a template and the names of the variables that it reads; `strftime_now` sees the date, never the clock."""
    environment: Environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    # What draws at random would print another text each time.
    del environment.filters["random"], environment.globals["lipsum"]
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = dt.date.fromisoformat(date).strftime
    return environment.from_string(text), sorted(meta.find_undeclared_variables(environment.parse(text)))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _raise_exception(message: object) -> NoReturn:
    raise RefusedError(str(message))


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


if __name__ == "__main__":
    serve(
        sys.stdin.buffer,
        sys.stdout.buffer,
        seconds=float(sys.argv[1]),
        memory=int(sys.argv[2]),
        characters=int(sys.argv[3]),
    )
