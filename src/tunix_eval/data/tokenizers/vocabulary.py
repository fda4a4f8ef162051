"""What tokenizers of files have in common: control tokens by name, and text cut up where it names one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby

import numpy as np
import numpy.typing as npt

from tunix_eval.errors import RenderError, suggestion
from tunix_eval.records import TokenArray

_LISTED = 12


class FileTokenizer(ABC):
    """A tokenizer of a file, whose library knows plain text; special and control tokens are known here, by name.

    Args:
        control_tokens: the renderer's.
        special: special token -> id, in the order in which errors list them.
        find: returns the id of any token, or None.
        size: of the vocabulary.

    Raises:
        RenderError: the vocabulary lacks one of the control tokens.
    """

    name: str

    def __init__(
        self,
        control_tokens: Iterable[str],
        special: Mapping[str, int],
        find: Callable[[str], int | None],
        size: int,
    ) -> None:
        self._known = list(special)
        self._control = {token: self._there(token, find(token)) for token in control_tokens}
        self.pad_id = free_pad_id(special, self._control.values(), size)
        self.vocab_size = max(size, self.pad_id + 1)
        self._names = {id_: token for token, id_ in {**special, **self._control}.items()}
        self._names.setdefault(self.pad_id, "<pad>")
        self._never = frozenset(self._names)

    @abstractmethod
    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Return the ids that the library gives for texts without names."""

    @abstractmethod
    def _text(self, ids: list[int]) -> str:
        """Return the text of ids that have no name."""

    def encode(self, text: str) -> list[int]:
        """Encode plain text; never gives the id of a special or control token that the text names.

        Raises:
            RenderError: the text holds half of a surrogate pair, or what the vocabulary has no id for.
        """
        return self._encoded([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> tuple[TokenArray, npt.NDArray[np.int64]]:
        """Return the ids of all texts, one after the other, and how many each has.

        Raises:
            RenderError: as `encode`.
        """
        pieces = self._encoded(list(texts))
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        return np.fromiter(chain.from_iterable(pieces), np.int32, int(lengths.sum())), lengths

    def control_id(self, token: str) -> int:
        """Return the id of a control token.

        Raises:
            RenderError: the vocabulary has no such token.
        """
        by_name = (id_ for id_, name in self._names.items() if name == token)
        return self._there(token, self._control.get(token, next(by_name, None)))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text, each run of ids that have no name decoded as one; special and control tokens by name.

        Raises:
            RenderError: an id outside the vocabulary.
        """
        for id_ in ids:
            if not 0 <= id_ < self.vocab_size:
                raise RenderError(f"id {id_} is outside the vocabulary of {self.vocab_size}")
        pieces = []
        for named, group in groupby(ids, key=self._names.__contains__):
            run = list(group)
            pieces.append("".join(self._names[id_] for id_ in run) if named else self._text(run))
        return "".join(pieces)

    def _there(self, token: str, id_: int | None) -> int:
        if id_ is not None:
            return id_
        listed = ", ".join(self._known[:_LISTED]) or "none"
        more = f" and {len(self._known) - _LISTED} more" if len(self._known) > _LISTED else ""
        raise RenderError(
            f"tokenizer '{self.name}' has no control token '{token}'; it has {listed}{more}."
            f"{suggestion(token, self._known)} Name the renderer that this tokenizer was made for"
        )

    def _encoded(self, texts: list[str]) -> list[list[int]]:
        try:
            encoded = self._ids(texts)
        except (TypeError, UnicodeEncodeError):
            # One library says of half a surrogate pair no more than that it takes only texts.
            for text in texts:
                as_utf8(text)
            raise
        return [
            ids if self._never.isdisjoint(ids) else self._mended(text, ids)
            for text, ids in zip(texts, encoded, strict=True)
        ]

    def _mended(self, text: str, ids: list[int]) -> list[int]:
        """Return the ids, anew where the model itself took a name in the text for the token: from pieces without it."""
        # <unk> is special too, and rightly given for what has no other id.
        names = [name for name in map(self._names.__getitem__, self._never.intersection(ids)) if name in text]
        if not names:
            return ids
        pieces = [piece for piece in cut_names(text, names) if piece]
        return list(chain.from_iterable(self._ids(pieces)))


def as_utf8(text: str) -> bytes:
    """Return a text's UTF-8 bytes.

    Raises:
        RenderError: the text holds half of a surrogate pair.
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RenderError(f"character {error.start + 1} is half of a surrogate pair; remove it") from None


def free_pad_id(special: Mapping[str, int], controls: Iterable[int], size: int) -> int:
    """Return an id for padding: a special token with pad in its name, else one that is no control, else a new id."""
    taken = set(controls)
    free = {token: id_ for token, id_ in special.items() if id_ not in taken}
    named = [id_ for token, id_ in free.items() if "pad" in token.lower()]
    return min(named) if named else min(free.values(), default=size)


def cut_names(text: str, names: Iterable[str]) -> list[str]:
    """Return the text in pieces none of which holds a name: each is cut after its first character.

    >>> cut_names("a <eos><eos>", ["<eos>"])
    ['a <', 'eos><', 'eos>']
    """
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    ends = [match.start() + 1 for match in pattern.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
