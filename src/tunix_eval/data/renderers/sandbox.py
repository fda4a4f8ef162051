"""A chat template, compiled as transformers compiles it: in Jinja's immutable sandbox. Needs jinja2.

Source: `_compile_jinja_template` of transformers (utils/chat_template_utils.py): the environment, the tag
`{% generation %}`, the filter `tojson`, the functions `raise_exception` and `strftime_now`.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NoReturn

from jinja2 import Environment, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunix_eval.errors import RenderError

FAILURES = (
    *(TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
    *(MemoryError, RecursionError, SyntaxError),
)
"""What a template's own mistakes raise. The sandbox bounds neither time nor memory: loops in loops just take long."""


class RefusedError(TemplateError):
    """The template called `raise_exception`."""


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks what the model writes; it prints its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the body of the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class CompiledTemplate:
    """One template, ready to print conversations. The date that it sees is given, never the clock."""

    def __init__(self, text: str, where: str, date: dt.date) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        # What draws at random would print another text each time.
        del environment.filters["random"], environment.globals["lipsum"]
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = date.strftime
        self.where = where
        self._template = self._compiled(environment, text).render
        self.variables = frozenset(meta.find_undeclared_variables(environment.parse(text)))

    def _compiled(self, environment: Environment, text: str) -> Any:
        try:
            return environment.from_string(text)
        except TemplateSyntaxError as error:
            raise RenderError(f"{self.where}:{error.lineno}: {error.message}; mend the template") from None
        except FAILURES as error:  # RecursionError and Python's SyntaxError: nested too deeply
            raise RenderError(
                f"{self.where}: the template cannot be compiled: {type(error).__name__}: {_line(error)}; mend it"
            ) from None

    def render(self, messages: list[dict[str, str]], **variables: Any) -> str:
        """Print messages; `tools` and `documents` are none unless they are among the variables.

        Raises:
            RenderError: the template refuses them, or fails.
        """
        try:
            return str(self._template({"tools": None, "documents": None, **variables}, messages=messages))
        except RefusedError as error:
            raise RenderError(f"{self.where} refuses the conversation: {_line(error)}") from None
        except FAILURES as error:
            raise RenderError(f"{self.where} fails: {type(error).__name__}: {_line(error)}") from None


def compile_template(text: str, where: str, date: dt.date) -> CompiledTemplate:
    """Compile a template; `where` names it in errors."""
    return CompiledTemplate(text, where, date)


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
