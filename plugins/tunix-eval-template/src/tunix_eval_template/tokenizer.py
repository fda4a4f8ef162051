"""A tokenizer: bytes, and a few longer pieces that are taken first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunix_eval.errors import RenderError

PIECES = ("ending of ", "#### ", "\nA: ", "Q: ")


class PieceTokenizer:
    """Encodes bytes as ids 0 to 255, then one id each for padding, the pieces and the control tokens.

    >>> tokenizer = PieceTokenizer(("<eos>",))
    >>> tokenizer.encode("Q: é"), tokenizer.control_id("<eos>")
    ([260, 195, 169], 261)
    >>> tokenizer.decode([260, 195, 169, 261])
    'Q: é<eos>'
    """

    name = "pieces"
    version = "1"
    pad_id = 256

    def __init__(self, control_tokens: tuple[str, ...]) -> None:
        pieces = [piece.encode() for piece in PIECES]
        self._ids = {piece: self.pad_id + 1 + i for i, piece in enumerate(pieces)}
        self._control = {token: self.pad_id + 1 + len(pieces) + i for i, token in enumerate(control_tokens)}
        self._bytes = {i: bytes([i]) for i in range(256)} | {self.pad_id: b""}
        self._bytes |= {number: piece for piece, number in self._ids.items()}
        self._bytes |= {number: token.encode() for token, number in self._control.items()}
        longest_first = sorted(pieces, key=len, reverse=True)
        self._pattern = re.compile(b"|".join([*map(re.escape, longest_first), b"."]), re.DOTALL)
        self.vocab_size = self.pad_id + 1 + len(pieces) + len(control_tokens)

    def encode(self, text: str) -> list[int]:
        """Encode plain text, longest piece first; never gives a control id.

        Raises:
            RenderError: the text holds half of a surrogate pair.
        """
        try:
            found = self._pattern.findall(text.encode("utf-8"))
        except UnicodeEncodeError as error:
            raise RenderError(f"character {error.start + 1} is half of a surrogate pair; remove it") from None
        return [self._ids[part] if len(part) > 1 else part[0] for part in found]

    def control_id(self, token: str) -> int:
        """Return the id of a control token by name.

        Raises:
            RenderError: there is no such control token.
        """
        if token not in self._control:
            raise RenderError(f"tokenizer 'pieces': no control token '{token}'; it has {', '.join(self._control)}")
        return self._control[token]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text; control tokens by name, padding as nothing, bytes that are no UTF-8 as U+FFFD.

        Raises:
            RenderError: an id outside the vocabulary.
        """
        if outside := [number for number in ids if not 0 <= number < self.vocab_size]:
            raise RenderError(f"tokenizer 'pieces': id {outside[0]} is outside the vocabulary of {self.vocab_size}")
        return b"".join(self._bytes[number] for number in ids).decode("utf-8", "replace")
