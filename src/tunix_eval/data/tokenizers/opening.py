"""Tokenizers by path."""

from __future__ import annotations

from pathlib import Path

from tunix_eval.data.tokenizers.hf import HfTokenizer
from tunix_eval.data.tokenizers.sentencepiece import SentencePieceTokenizer
from tunix_eval.errors import DataError
from tunix_eval.records import Tokenizer


def open_tokenizer(path: Path, control_tokens: tuple[str, ...]) -> Tokenizer:
    """Open a tokenizer.json, a sentencepiece model, or a model directory; tokenizer.json is taken where it has both.

    Raises:
        DataError: there is no such file, its library is missing, or it cannot be read.
        RenderError: the vocabulary lacks one of the control tokens.
    """
    if path.is_dir():
        found = next((path / name for name in ("tokenizer.json", "tokenizer.model") if (path / name).is_file()), None)
        if found is None:
            raise DataError(f"{path}: holds neither tokenizer.json nor tokenizer.model; name the file itself")
        path = found
    kind = SentencePieceTokenizer if path.suffix == ".model" else HfTokenizer
    return kind.open(path, control_tokens)
