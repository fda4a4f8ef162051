"""Tokenizers of the `tokenizers` library, from a model's tokenizer.json."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tunix_eval.data.optional import optional_library
from tunix_eval.data.tokenizers.vocabulary import (
    control_ids,
    cut_names,
    decode_around,
    free_pad_id,
    missing_control,
)
from tunix_eval.errors import DataError, RenderError
from tunix_eval.records import TokenArray


class HfTokenizer:
    """A tokenizer.json, with three differences from how its library runs it.

    - Names of special tokens in a text are text; so are those of the renderer's control tokens, special or not.
    - No space is put before a text, as some files ask for: a text here stands in the middle of a conversation.
    - No BOS or other token is added: the renderer says where they stand.
    """

    name = "hf"

    def __init__(self, document: dict[str, Any], control_tokens: tuple[str, ...], *, version: str, source: str) -> None:
        self.version = version
        content = msgspec.json.encode(_as_spans_need_it(document, frozenset(control_tokens))).decode()
        tokenizers = optional_library("tokenizers", extra="hf", needed_by=source)
        self._tokenizer = tokenizers.Tokenizer.from_str(content)
        self._tokenizer.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder()
        special = {token.content: id_ for id_, token in added.items() if token.special}
        self._known = sorted(special)
        self._control = control_ids(self.name, control_tokens, self._tokenizer.token_to_id, self._known)
        size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.pad_id = free_pad_id(special, self._control.values(), size)
        self.vocab_size = max(size, self.pad_id + 1)
        self._names = {id_: token.content for id_, token in added.items() if token.special}
        self._names |= {id_: token for token, id_ in self._control.items()}
        self._names.setdefault(self.pad_id, "<pad>")
        self._never = frozenset(self._names)
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        self.lossless = _is_lossless(document, alphabet)
        """Whether every text decodes to itself for certain."""

    @classmethod
    def open(cls, path: Path, control_tokens: tuple[str, ...] = ()) -> HfTokenizer:
        """Open a tokenizer.json, or a directory that holds one.

        Raises:
            DataError: the library is missing, or the file cannot be read.
            RenderError: the vocabulary lacks one of the control tokens.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            data = file.read_bytes()
            document = msgspec.json.decode(data)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{file}: is no JSON: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
            raise DataError(f"{file}: has no table 'model'; expected a tokenizer.json of the tokenizers library")
        version = hashlib.sha256(data).hexdigest()[:12]
        return cls(document, control_tokens, version=version, source=str(file))

    def encode(self, text: str) -> list[int]:
        """Encode plain text; never gives the id of a special or control token."""
        return self._mended(text, self._encoded([text])[0].ids)

    def encode_batch(self, texts: Sequence[str]) -> tuple[TokenArray, npt.NDArray[np.int64]]:
        """Return the ids of all texts, one after the other, and how many each has."""
        encoded = self._encoded(texts)
        pieces = [self._mended(text, one.ids) for text, one in zip(texts, encoded, strict=True)]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        return np.fromiter(chain.from_iterable(pieces), np.int32, int(lengths.sum())), lengths

    def control_id(self, token: str) -> int:
        """Return the id of a control token.

        Raises:
            RenderError: the vocabulary has no such token.
        """
        id_ = self._control.get(token)
        if id_ is None:
            id_ = next((id_ for id_, name in self._names.items() if name == token), None)
        if id_ is None:
            raise missing_control(self.name, token, self._known)
        return id_

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text, special and control tokens by name.

        Raises:
            RenderError: an id outside the vocabulary.
        """
        return decode_around(ids, self._names, self.vocab_size, self._text)

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        try:
            encoded: list[Any] = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except UnicodeEncodeError as error:
            raise RenderError(f"character {error.start + 1} is half of a surrogate pair; remove it") from None
        return encoded

    def _text(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def _mended(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids, anew where the model itself took a name in the text for the token: from pieces without it."""
        if self._never.isdisjoint(ids):
            return ids
        # <unk> is special too, and rightly given for what has no other id.
        names = [name for name in map(self._names.__getitem__, self._never.intersection(ids)) if name in text]
        if not names:
            return ids
        pieces = [piece for piece in cut_names(text, names) if piece]
        return list(chain.from_iterable(one.ids for one in self._encoded(pieces)))


def _as_spans_need_it(document: dict[str, Any], controls: frozenset[str]) -> dict[str, Any]:
    """Return a tokenizer.json under which control tokens are special and nothing is put before or around a text."""
    changed = dict(document, truncation=None, padding=None, post_processor=None)
    changed["added_tokens"] = [
        dict(token, special=token.get("special") or token.get("content") in controls)
        for token in document.get("added_tokens") or []
    ]
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        changed[part] = _without_prefix(document.get(part))
    return changed


def _without_prefix(part: Any) -> Any:
    """Return a normalizer, pre-tokenizer or decoder that neither puts a space before a text nor takes one away."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Prepend" or (kind == "Strip" and part.get("content") == " " and not part.get("stop")):
        return None
    if kind == "Sequence":
        key = next((key for key in ("normalizers", "pretokenizers", "decoders") if key in part), "")
        inner = [_without_prefix(one) for one in part.get(key, ())]
        return dict(part, **{key: [one for one in inner if one is not None]})
    if kind == "Metaspace":
        return dict({key: value for key, value in part.items() if key != "add_prefix_space"}, prepend_scheme="never")
    return dict(part, add_prefix_space=False) if "add_prefix_space" in part else part


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    """Yield a pre-tokenizer or decoder, or those in a sequence."""
    if isinstance(part, dict):
        inner = part.get("pretokenizers") or part.get("decoders")
        for one in inner or [part]:
            yield from _parts(one) if inner else [one]


def _is_lossless(document: dict[str, Any], alphabet: list[str]) -> bool:
    """Tell whether a tokenizer works on bytes, has all of them, and has no part that changes or drops text."""
    model = document["model"]
    vocabulary = model.get("vocab")
    pre_tokenizers = list(_parts(document.get("pre_tokenizer")))
    keeps = all(
        one.get("type") in {"ByteLevel", "Digits"} or (one.get("type") == "Split" and one.get("behavior") != "Removed")
        for one in pre_tokenizers
    )
    byte_level = [one.get("type") for one in _parts(document.get("decoder"))] == ["ByteLevel"]
    bare = not any(
        token.get("lstrip") or token.get("rstrip") or (token.get("normalized") and document.get("normalizer"))
        for token in document.get("added_tokens") or []
        if not token.get("special")
    )
    return (
        document.get("normalizer") is None
        and keeps
        and byte_level
        and any(one.get("type") == "ByteLevel" for one in pre_tokenizers)
        and bare
        and isinstance(vocabulary, dict)
        and all(character in vocabulary for character in alphabet)
    )
