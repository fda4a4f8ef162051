"""Tokenizers of the `tokenizers` library, from a model's tokenizer.json."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tunix_eval.data.optional import optional_library
from tunix_eval.data.reading.explain import MAX_DEPTH, depth
from tunix_eval.data.tokenizers.vocabulary import FileTokenizer
from tunix_eval.errors import DataError, RenderError
from tunix_eval.figures import printable
from tunix_eval.nearby import near_file

MAX_FILE_BYTES = 256 << 20
"""Of a tokenizer.json."""
_PLACE = re.compile(r" at line 1 column \d+$")
"""In what we give to the library, which is not the file."""


class HfTokenizer(FileTokenizer):
    """A tokenizer.json, with three differences from how its library runs it.

    - Names of special tokens in a text are text; so are those of the renderer's control tokens, special or not.
    - No space is put before a text, as some files ask for: a text here stands in the middle of a conversation.
    - No BOS or other token is added: the renderer says where they stand.
    """

    name = "hf"

    def __init__(self, document: dict[str, Any], control_tokens: tuple[str, ...], *, version: str, source: str) -> None:
        self.version = version
        self._source = source
        content = msgspec.json.encode(_as_spans_need_it(document, control_tokens)).decode()
        tokenizers = optional_library("tokenizers", extra="hf", needed_by=source)
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(content)
        except Exception as error:
            # The library raises no class of its own, but `Exception` itself.
            if type(error) is not Exception:
                raise
            reason = _PLACE.sub("", printable(str(error)))
            raise DataError(
                f"{source}: tokenizers {tokenizers.__version__} cannot read it: {reason}; restore the file, or update "
                "tokenizers where a later version wrote it"
            ) from None
        self._tokenizer.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder()
        special = {token.content: id_ for id_, token in added.items() if token.special}
        size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        super().__init__(control_tokens, dict(sorted(special.items())), self._tokenizer.token_to_id, size)
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
            if (size := file.stat().st_size) > MAX_FILE_BYTES:
                raise DataError(
                    f"{file}: has {size / 1e6:,.0f} MB, limit {MAX_FILE_BYTES >> 20} MiB; expected a tokenizer.json"
                )
            data = file.read_bytes()
            document = msgspec.json.decode(data)
        except FileNotFoundError:
            raise DataError(f"{file}: no such tokenizer file.{near_file(file)}".removesuffix(".")) from None
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{file}: is no JSON: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
            raise DataError(f"{file}: has no table 'model'; expected a tokenizer.json of the tokenizers library")
        if depth(document) > MAX_DEPTH:
            raise DataError(f"{file}: is nested deeper than {MAX_DEPTH} levels; expected a tokenizer.json")
        version = hashlib.sha256(data).hexdigest()[:12]
        return cls(document, control_tokens, version=version, source=str(file))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        try:
            return [one.ids for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except Exception as error:
            if type(error) is not Exception:
                raise
            reason = printable(str(error))
            raise RenderError(
                f"{self._source}: tokenizers cannot encode a text: {reason}; mend the file, or take another tokenizer"
            ) from None

    def _text(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text


def _as_spans_need_it(document: dict[str, Any], controls: tuple[str, ...]) -> dict[str, Any]:
    """Return a tokenizer.json under which control tokens are special and nothing is put before or around a text.

    What is not as in such files stays as it is, for the library to refuse.
    """
    changed = dict(document, truncation=None, padding=None, post_processor=None)
    changed["added_tokens"] = _special_where(document.get("added_tokens") or [], controls)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        changed[part] = _without_prefix(document.get(part))
    return changed


def _special_where(added: Any, controls: tuple[str, ...]) -> Any:
    if not isinstance(added, list):
        return added
    return [
        dict(token, special=token.get("special") or token.get("content") in controls)
        if isinstance(token, dict)
        else token
        for token in added
    ]


def _without_prefix(part: Any) -> Any:
    """Return a normalizer, pre-tokenizer or decoder that neither puts a space before a text nor takes one away."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Prepend" or (kind == "Strip" and part.get("content") == " " and not part.get("stop")):
        return None
    if kind == "Sequence":
        lists = {key: map(_without_prefix, inner) for key, inner in part.items() if isinstance(inner, list)}
        return part | {key: [one for one in inner if one is not None] for key, inner in lists.items()}
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
