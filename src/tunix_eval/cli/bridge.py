"""The registry that pytest has in this folder: conftest files, plugins and entry points included.

The one module of the command that imports pytest; commands import it where a name has to be looked up.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator
from collections.abc import Generator as Yields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import pytest

from tunix_eval.errors import SpecError
from tunix_eval.plugin.library import Library
from tunix_eval.plugin.registry import Kind, Registry, offered

__all__ = ["KINDS", "Catalogue", "Library", "library_of", "offered", "with_registry"]

KINDS: tuple[Kind, ...] = get_args(Kind)
_Result = TypeVar("_Result")
_KEPT = ("file_or_dir", "confcutdir", "noconftest", "importmode", "pyargs", "plugins", "rootdir", "inifilename")
"""Of the options in addopts and PYTEST_ADDOPTS, those that say which conftest files there are."""


class Catalogue(Registry):
    """A registry that names the distributions of plugins."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self.root = config.rootpath
        manager = config.pluginmanager
        self._distributions = {
            manager.get_name(plugin): f"{manager.get_name(plugin)} ({dist.project_name} {dist.version})"
            for plugin, dist in manager.list_plugin_distinfo()
        }

    def offers(self, kind: Kind) -> list[tuple[str, str]]:
        """Return every name of a kind with who offers it, a plugin with its distribution."""
        return [(name, self._distributions.get(source, source)) for name, source in super().offers(kind)]


def library_of(registry: Catalogue, root: Path) -> Library:
    """Return what looks up datasets and evalsets as a session does, and says how a path is written."""
    return Library(root, registry, None, lambda row: None)


def with_registry(use: Callable[[Catalogue], _Result]) -> _Result:
    """Return what `use` makes of the registry, called while pytest's import paths stand.

    Nothing is collected. What conftest files print goes to stderr, where pytest reports those that it cannot load.

    Raises:
        SpecError: pytest cannot start here; it has said why on stderr.
    """
    with _stdout_as_stderr(), contextlib.ExitStack() as starting:
        starting.enter_context(offered("starting pytest for its conftest files and plugins"))
        visit = _Visit(use, starting)
        try:
            # By name, because an environment without autoloading has no registry otherwise. Without rewriting, which
            # warns of every module that was imported before.
            pytest.main(["-p", "tunix_eval", "--assert=plain"], plugins=[visit])
        except SystemExit as stop:
            raise SpecError(f"a conftest file or plugin exited with {stop.code} while pytest loaded it") from None
    if not visit.results:
        raise SpecError("pytest cannot load what this folder registers; its message stands above")
    return visit.results[0]


@contextlib.contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """Send to stderr what is printed, also by processes that conftest files start: stdout may be somebody's data."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


class _Visit(Generic[_Result]):
    """A plugin that takes pytest's configuration before anything is collected."""

    def __init__(self, use: Callable[[Catalogue], _Result], starting: contextlib.ExitStack) -> None:
        self.results: list[_Result] = []
        self._use = use
        self._starting = starting

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Yields[None, Any, Any]:
        """Drop what addopts asks of a session: workers, coverage, a device, options of plugins that are not here."""
        asked = early_config.known_args_namespace
        plain: argparse.Namespace = parser.parse_known_args([], namespace=copy.copy(early_config.option))
        for name in _KEPT:
            setattr(plain, name, getattr(asked, name))
        # What is captured here would be printed to stdout at the end.
        plain.capture = "no"
        early_config.known_args_namespace = plain
        args.clear()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        """Call what was to be done, in place of a session."""
        catalogue = Catalogue(config)
        # From here on a failure is not one of pytest's start.
        self._starting.pop_all()
        self.results.append(self._use(catalogue))
        return 0
