"""Chat templates, rendered by a process of their own (`template_process.py`) that has limits.

A template is a program from somewhere else: it may loop for ever or fill the memory. One process serves all templates
of this one, and is started anew after a template that broke a limit.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime as dt
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunix_eval.errors import RenderError
from tunix_eval.records import Turn

SECONDS = 5
"""Of processor time that a template may take for one conversation."""
MEBIBYTES = 512
"""Memory that it may take, Python and Jinja included."""
CHARACTERS = 50_000_000
"""How much it may print for one conversation."""
_KEPT = 256
"""Texts kept: the laws ask for those once more with which a reply was found, and some are rendered before they are
asked for."""
Asked = tuple[tuple[Turn, ...], bool]
"""Messages, and whether a generation prompt follows."""
_LIMITS = {
    "seconds": f"takes more than {SECONDS} s of processor time for one conversation",
    "memory": f"takes more than {MEBIBYTES} MiB of memory for one conversation",
    "characters": f"prints more than {CHARACTERS:,} characters for one conversation",
}
_ENDED = "ended the process that renders it (status {})"


class TemplateLimitError(RenderError):
    """A template took more time or memory than it may, or printed more."""


class CompiledTemplate:
    """One template, ready to print conversations. The date that it sees is given, never the clock.

    Raises:
        RenderError: it cannot be compiled.
        TemplateLimitError: to compile it breaks a limit.
    """

    def __init__(self, text: str, where: str, date: dt.date) -> None:
        self.where = where
        self._template = {"template": text, "date": date.isoformat()}
        self._kept: OrderedDict[Asked, str | RenderError] = OrderedDict()
        self.variables = frozenset[str](self._reply((), {})["variables"])

    def render(self, asked: Sequence[Asked], variables: Mapping[str, Any]) -> list[str | RenderError]:
        """Print conversations; `tools` and `documents` are none unless they are among the variables.

        Returns the text of each, or why there is none: the template refuses the messages, fails, or breaks a limit.
        """
        missing = [one for one in dict.fromkeys(asked) if one not in self._kept]
        if missing:
            self._kept.update(zip(missing, self._rendered(missing, variables), strict=True))
        found = [self._kept[one] for one in asked]
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def prepare(self, asked: Sequence[Asked], variables: Mapping[str, Any]) -> None:
        """Print conversations that will be asked for, so that the process is asked once for many.

        Where one breaks a limit, none is kept, so that each is asked for by itself.
        """
        some = [one for one in dict.fromkeys(asked[:_KEPT]) if one not in self._kept]
        with contextlib.suppress(TemplateLimitError):
            self._kept.update(zip(some, map(self._text, self._reply(some, variables)["texts"]), strict=True))

    def _rendered(self, asked: Sequence[Asked], variables: Mapping[str, Any]) -> list[str | RenderError]:
        try:
            texts = self._reply(asked, variables)["texts"]
        except TemplateLimitError as error:
            return [error] * len(asked)
        return [self._text(found) for found in texts]

    def _text(self, found: Mapping[str, str]) -> str | RenderError:
        if "text" in found:
            return found["text"]
        if "refused" in found:
            return RenderError(f"{self.where} refuses the conversation: {found['refused']}")
        return RenderError(f"{self.where} fails: {found['failed']}")

    def _reply(self, asked: Sequence[Asked], variables: Mapping[str, Any]) -> dict[str, Any]:
        messages = [([_message(turn) for turn in turns], prompt) for turns, prompt in asked]
        reply = _PROCESS.ask({**self._template, "variables": variables, "asked": messages})
        if "invalid" in reply:
            raise RenderError(f"{self.where}:{reply['invalid']}")
        if "limit" in reply:
            raise TemplateLimitError(
                f"{self.where} {_LIMITS.get(reply['limit'], _ENDED.format(reply['limit']))}; a template that loops "
                "without end or multiplies texts is not rendered: mend it, or take another renderer"
            )
        return reply


class _Process:
    """The process that renders, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply; `{"limit": ...}` where a limit ended the process, or anything else did."""
        data = json.dumps(request, default=str).encode()
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            body = b""
            try:
                process.stdin.write(struct.pack("<I", len(data)) + data)
                process.stdin.flush()
                header = process.stdout.read(4)
                body = process.stdout.read(struct.unpack("<I", header)[0]) if len(header) == 4 else b""
            except BrokenPipeError:
                pass
            if body:
                reply: dict[str, Any] = json.loads(body)
                return reply
            self._end()
            status = process.returncode
            return {"limit": "seconds" if status == -signal.SIGPROF else str(status)}

    def close(self) -> None:
        """End the process, if there is one of this one's."""
        if self._owner == os.getpid():
            self._end()

    def _started(self) -> subprocess.Popen[bytes]:
        # After a fork two processes would read one pipe.
        if self._running is None or self._owner != os.getpid():
            specs = [importlib.util.find_spec(name) for name in ("jinja2", "markupsafe")]
            paths = [str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin]
            paths += filter(None, [os.environ.get("PYTHONPATH")])
            worker = Path(__file__).with_name("template_process.py")
            limits = [str(SECONDS), str(MEBIBYTES * 2**20), str(CHARACTERS)]
            self._running = subprocess.Popen(  # noqa: S603
                # -P: the modules beside the worker are not to be taken for libraries.
                [sys.executable, "-P", str(worker), *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))},
            )
            self._owner = os.getpid()
        return self._running

    def _end(self) -> None:
        process, self._running = self._running, None
        if process is not None:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


_PROCESS = _Process()
atexit.register(_PROCESS.close)


def compile_template(text: str, where: str, date: dt.date) -> CompiledTemplate:
    """Compile a template; `where` names it in errors.

    Raises:
        RenderError: it cannot be compiled, or jinja2 is not installed.
        TemplateLimitError: to compile it breaks a limit.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise RenderError("renderer 'hf' needs jinja2; install it with: pip install 'tunix-eval[hf]'")
    return CompiledTemplate(text, where, date)


def _message(turn: Turn) -> dict[str, str]:
    """Return a message as transformers hands it over: a thought under `thinking` too, which gpt-oss reads.

    Source: `_alias_reasoning_fields` of transformers 5.24 (utils/chat_template_utils.py).
    """
    message = {"role": turn.role, "content": turn.content}
    if turn.reasoning_content is not None:
        message |= {"reasoning_content": turn.reasoning_content, "thinking": turn.reasoning_content}
    return message
