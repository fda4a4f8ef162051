"""What tokenizers of files have in common: control tokens by name, and text cut up where it names one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from tunix_eval.errors import RenderError, suggestion

_LISTED = 12


def control_ids(
    name: str, controls: Iterable[str], find: Callable[[str], int | None], known: Sequence[str]
) -> dict[str, int]:
    """Return the id of each control token.

    Raises:
        RenderError: the vocabulary has no such token; the message names near ones of the `known`.
    """
    found: dict[str, int] = {}
    for token in controls:
        id_ = find(token)
        if id_ is None:
            raise missing_control(name, token, known)
        found[token] = id_
    return found


def missing_control(name: str, token: str, known: Sequence[str]) -> RenderError:
    """Build the error for a control token that a vocabulary does not have."""
    listed = ", ".join(known[:_LISTED]) or "none"
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return RenderError(
        f"tokenizer '{name}' has no control token '{token}'; it has {listed}{more}.{suggestion(token, known)} "
        "Name the renderer that this tokenizer was made for"
    )


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


def decode_around(ids: Sequence[int], names: Mapping[int, str], size: int, decode: Callable[[list[int]], str]) -> str:
    """Return the text, each run of ids that have no name decoded as one.

    Raises:
        RenderError: an id outside the vocabulary.
    """
    for id_ in ids:
        if not 0 <= id_ < size:
            raise RenderError(f"id {id_} is outside the vocabulary of {size}")

    pieces = []
    for named, group in groupby(ids, key=names.__contains__):
        run = list(group)
        pieces.append("".join(names[id_] for id_ in run) if named else decode(run))
    return "".join(pieces)
