"""Tokenizers of the `sentencepiece` library, from a model's tokenizer.model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunix_eval.data.optional import optional_library
from tunix_eval.data.tokenizers.vocabulary import FileTokenizer
from tunix_eval.errors import DataError
from tunix_eval.nearby import near_file

_CONTROL, _USER_DEFINED = 3, 4
_NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"
"""`normalizer_spec { add_dummy_prefix: false }`; a message given twice is merged, the last value counts."""


class SentencePieceTokenizer(FileTokenizer):
    """A sentencepiece model, with two differences from how its library runs it.

    - The renderer's control tokens are never found in a text, also where the model has them as user-defined symbols.
    - No space is put before a text (`add_dummy_prefix`): a text here stands in the middle of a conversation.

    Source: the file is a ModelProto of sentencepiece_model.proto.
    """

    name = "sentencepiece"
    lossless = False
    """A normaliser may change text, and `▁` always reads as a space."""

    def __init__(self, model: bytes, control_tokens: tuple[str, ...], *, version: str, source: str) -> None:
        self.version = version
        sentencepiece = optional_library("sentencepiece", extra="sentencepiece", needed_by=source)
        try:
            changed = _with_controls(model, frozenset(control_tokens)) + _NO_DUMMY_PREFIX
            self._model: Any = sentencepiece.SentencePieceProcessor(model_proto=changed)
        except (ValueError, IndexError, RuntimeError, OSError) as error:
            raise DataError(f"{source}: is no sentencepiece model: {str(error).splitlines()[0]}") from None
        size = self._model.get_piece_size()
        pieces = [self._model.id_to_piece(id_) for id_ in range(size)]
        special = {piece: id_ for id_, piece in enumerate(pieces) if self._model.is_control(id_)}
        ids = {piece: id_ for id_, piece in enumerate(pieces)}
        super().__init__(control_tokens, special, ids.get, size)

    @classmethod
    def open(cls, path: Path, control_tokens: tuple[str, ...] = ()) -> SentencePieceTokenizer:
        """Open a sentencepiece model, or a directory with tokenizer.model.

        Raises:
            DataError: the library is missing, or the file cannot be read.
            RenderError: the vocabulary lacks one of the control tokens.
        """
        file = path / "tokenizer.model" if path.is_dir() else path
        try:
            data = file.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{file}: no such tokenizer file.{near_file(file)}".removesuffix(".")) from None
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        return cls(data, control_tokens, version=hashlib.sha256(data).hexdigest()[:12], source=str(file))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        encoded: list[list[int]] = self._model.encode(texts, out_type=int)
        return encoded

    def _text(self, ids: list[int]) -> str:
        text: str = self._model.decode(ids)
        return text


def _with_controls(model: bytes, controls: frozenset[str]) -> bytes:
    """Return a model in which user-defined symbols that are control tokens are control symbols.

    Both are one byte in the file, so that it is changed in place.
    """
    changed = bytearray(model)
    for number, start, stop in _fields(model, 0, len(model)):
        if number != 1:
            continue
        inside = {field: (first, last) for field, first, last in _fields(model, start, stop)}
        piece, kind = inside.get(1), inside.get(3)
        if piece and kind and model[kind[0]] == _USER_DEFINED and model[slice(*piece)].decode() in controls:
            changed[kind[0]] = _CONTROL
    return bytes(changed)


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield each field's number and where its content lies.

    Source: protobuf's wire format (varint 0, 64 bit 1, length-delimited 2, 32 bit 5).
    """
    while start < stop:
        tag, start = _varint(data, start)
        kind = tag & 7
        if kind == 2:
            size, start = _varint(data, start)
        elif kind == 0:
            size = _varint(data, start)[1] - start
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"byte {start} begins no field")
        if start + size > stop:
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, start, start + size
        start += size


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, start
