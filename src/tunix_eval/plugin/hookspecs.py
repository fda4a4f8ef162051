"""The hooks by which other packages add to tunix-eval.

A hook takes nothing and returns a mapping from name to object. Two objects of one kind under one name are an error
that names both sides. docs/hooks.md shows each with an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tunix_eval.records import Dataset, Evalset, Generator, Renderer, Scorer, TokenizerFactory


def pytest_tunix_datasets() -> Mapping[str, Path | Callable[[], Dataset]]:  # type: ignore[empty-body]
    """Offer datasets: a dataset folder or trace file, or a function that builds one."""


def pytest_tunix_evalsets() -> Mapping[str, Path | Callable[[], Evalset]]:  # type: ignore[empty-body]
    """Offer evalsets: an evalset file, or a function that builds one."""


def pytest_tunix_renderers() -> Mapping[str, Renderer]:  # type: ignore[empty-body]
    """Offer renderers."""


def pytest_tunix_tokenizers() -> Mapping[str, TokenizerFactory]:  # type: ignore[empty-body]
    """Offer tokenizers: functions that take the renderer's control tokens and give a tokenizer."""


def pytest_tunix_trainers() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Offer trainers by import string, "package.module:attribute", so that planning a session imports no JAX."""


def pytest_tunix_generators() -> Mapping[str, Generator]:  # type: ignore[empty-body]
    """Offer generators, which make traces from a seed."""


def pytest_tunix_scorers() -> Mapping[str, Scorer]:  # type: ignore[empty-body]
    """Offer scorers."""
