"""The tokenizer that needs no file: UTF-8 bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tunix_eval.data.tokenizers.vocabulary import as_utf8
from tunix_eval.errors import RenderError, suggestion
from tunix_eval.records import TokenArray


class ByteTokenizer:
    """One id a UTF-8 byte, then padding, then the control tokens.

        id       0 .. 255   256    257            258 ..
        meaning  the byte   <pad>  first control  further controls

    >>> tokenizer = ByteTokenizer(("<bos>", "<eos>"))
    >>> tokenizer.encode("é<bos>")
    [195, 169, 60, 98, 111, 115, 62]
    >>> tokenizer.decode([257, 195, 169, 258])
    '<bos>é<eos>'
    """

    name = "bytes"
    version = "1"
    pad_id = 256
    lossless = True
    """Every text decodes to itself, so that nobody needs to look."""
    additive = True
    """The ids of a text are those of its parts, one after the other."""

    def __init__(self, control_tokens: tuple[str, ...]) -> None:
        if len(set(control_tokens)) != len(control_tokens):
            raise RenderError(f"control tokens {', '.join(control_tokens)}: one is named twice; names are unique")
        self.vocab_size = 257 + len(control_tokens)
        self._ids = {token: 257 + k for k, token in enumerate(control_tokens)}
        self._names = ("<pad>", *control_tokens)

    def encode(self, text: str) -> list[int]:
        """Return the text's UTF-8 bytes as ids.

        Raises:
            RenderError: the text holds half of a surrogate pair.
        """
        return list(as_utf8(text))

    def encode_batch(self, texts: Sequence[str]) -> tuple[TokenArray, npt.NDArray[np.int64]]:
        """Return the ids of all texts, one after the other, and how many each has.

        Raises:
            RenderError: a text holds half of a surrogate pair.
        """
        encoded = list(map(as_utf8, texts))
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return np.frombuffer(b"".join(encoded), np.uint8).astype(np.int32), lengths

    def control_id(self, token: str) -> int:
        """Return the id of a control token.

        Raises:
            RenderError: the tokenizer was made without it.
        """
        if token not in self._ids:
            known = ", ".join(self._ids) or "none"
            hint = suggestion(token, self._ids)
            raise RenderError(f"tokenizer 'bytes' has no control token '{token}'; known: {known}.{hint}")
        return self._ids[token]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text, control tokens by name; bytes that are no UTF-8 become U+FFFD.

        Raises:
            RenderError: an id outside the vocabulary.
        """
        data = bytearray()
        for id_ in ids:
            if 0 <= id_ < 256:
                data.append(id_)
            elif 256 <= id_ < self.vocab_size:
                data += self._names[id_ - 256].encode("utf-8")
            else:
                raise RenderError(f"id {id_} is outside the vocabulary of {self.vocab_size}")
        return data.decode("utf-8", "replace")
