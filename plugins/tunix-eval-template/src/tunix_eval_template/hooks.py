"""What this package offers to tunix-eval, by name. The entry point in pyproject.toml leads here.

`optionalhook=True` keeps pytest from refusing the module where tunix-eval is switched off (`-p no:tunix_eval`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tunix_eval.records import Dataset, Evalset, Generator, Renderer, Scorer, TokenizerFactory
from tunix_eval_template.dataset import word_endings
from tunix_eval_template.generator import DRAWN_ENDINGS
from tunix_eval_template.renderer import QaRenderer
from tunix_eval_template.scorer import PrefixScorer
from tunix_eval_template.tokenizer import PieceTokenizer

HERE = Path(__file__).parent


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_datasets() -> Mapping[str, Path | Callable[[], Dataset]]:
    """Offer a dataset that a function builds."""
    return {"word-ending-v1": word_endings}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_evalsets() -> Mapping[str, Path | Callable[[], Evalset]]:
    """Offer an evalset that lies in a file of this package."""
    return {"word-ending-heldout": HERE / "word-ending-heldout.jsonl"}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_generators() -> Mapping[str, Generator]:
    """Offer a generator, which makes as many traces as somebody asks for."""
    return {"word-ending": DRAWN_ENDINGS}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_renderers() -> Mapping[str, Renderer]:
    """Offer the question-and-answer layout."""
    return {"qa": QaRenderer()}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_tokenizers() -> Mapping[str, TokenizerFactory]:
    """Offer bytes with a few longer pieces; the class takes the control tokens, so it is its own factory."""
    return {"pieces": PieceTokenizer}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_trainers() -> Mapping[str, str]:
    """Offer the n-gram trainer by import string, so that it is imported only when something trains."""
    return {"ngram": "tunix_eval_template.ngram:NgramTrainer"}


@pytest.hookimpl(optionalhook=True)
def pytest_tunix_scorers() -> Mapping[str, Scorer]:
    """Offer a graded scorer."""
    return {"prefix": PrefixScorer()}
