"""Predictions files: what another program wrote for the items of an evalset."""

from __future__ import annotations

import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from tunix_eval.data.reading.jsonl import LISTED, Problem, Problems, line_flaw, nothing
from tunix_eval.data.reading.lines import Source
from tunix_eval.data.reading.parquet import record_source
from tunix_eval.errors import DataError
from tunix_eval.figures import cut
from tunix_eval.records import Evalset

ID_KEYS = ("id", "trace_id", "example_id", "meta.eval_id")
TEXT_KEYS = ("prediction", "predicted_answer", "generated_answer", "generated_response", "final_answer")
Lines = Sequence[tuple[int, bytes]]
"""Their numbers from 1, and the lines without their ends."""
_CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""What servers say of a reply that was cut off, in lower case.

Source: the response formats of OpenAI and vLLM (length), Anthropic and Gemini (max_tokens), Mistral (model_length).
"""
_NO_TEXT = (
    'a reply without a text is "", one that was cut before its first word has "finish_reason": "length" beside it'
)
_NAMED = 3
"""Items that an error names; the rest is counted."""


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One completion that something else wrote."""

    item_id: str
    text: str
    stop_reason: Literal["stop", "length"]
    repeat: int = 0
    """Which of the item's completions this is, in the order of the lines."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A predictions file: its lines in order, and the keys that were read."""

    rows: tuple[Prediction, ...]
    id_key: str
    text_key: str
    sha256: str
    """Digest of the file's bytes; of a packed file, of what it holds; of Parquet, of its rows as lines of JSON."""


class _Line(msgspec.Struct, gc=False):
    """The keys that may be read; only those that are chosen have to hold anything sensible."""

    id: Any = msgspec.UNSET
    trace_id: Any = msgspec.UNSET
    example_id: Any = msgspec.UNSET
    meta: Any = None
    prediction: Any = msgspec.UNSET
    predicted_answer: Any = msgspec.UNSET
    generated_answer: Any = msgspec.UNSET
    generated_response: Any = msgspec.UNSET
    final_answer: Any = msgspec.UNSET
    stop_reason: Any = None
    finish_reason: Any = None
    metadata: Any = None


_decode = msgspec.json.Decoder(_Line).decode


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file (`.jsonl`, `.jsonl.gz`, `.parquet`), all of it or nothing.

    One key gives the ids and one the texts, for the whole file: the first of each list that any line has, null or
    not. Lines may hold other keys. "length" under `stop_reason` or `finish_reason`, of the line or of its `metadata`,
    marks a text that was cut off, whatever the others say; where it is null beside that, nothing was written before
    the end.

    Raises:
        DataError: no line has a key of each list, or `file:line: field: reason` for the first 20 bad lines and a
            count of the rest.

    Source: docs/formats.md, "Predictions".
    """
    source = record_source(path)
    lines, sha256 = _read_lines(source)
    try:
        found = [_decode(line) for _, line in lines]
        sound = not any(line_flaw(line) for _, line in lines)
    except (ValueError, RecursionError):
        sound = False
    if not sound:
        raise _refused(source, _unsound(lines))
    id_key = _chosen(ID_KEYS, found, lines, source, "an id")
    text_key = _chosen(TEXT_KEYS, found, lines, source, "a text")
    ids, texts = list(map(_getter(id_key), found)), _texts(found, text_key)
    if not set(map(type, ids)) <= {str, int} or set(map(type, texts)) != {str} or "" in ids:
        raise _refused(source, _flaws(lines, (id_key, ids), (text_key, texts)))
    counts: dict[str, int] = {}
    rows = []
    for line, id_, text in zip(found, ids, texts, strict=True):
        item_id = id_ if type(id_) is str else str(id_)
        repeat = counts.get(item_id, 0)
        counts[item_id] = repeat + 1
        rows.append(Prediction(item_id, text, _stop_reason(line), repeat))
    return Predictions(tuple(rows), id_key, text_key, sha256)


def _texts(found: Sequence[_Line], key: str) -> list[Any]:
    """Return what stands under the key; of a reply that was cut before its first word, an empty text."""
    texts = list(map(_getter(key), found))
    for k, (one, text) in enumerate(zip(found, texts, strict=True)):
        if text is None or text is msgspec.UNSET:
            # A null of Parquet is a key that is not there. With a text under another key the line is a mistake.
            other = any(isinstance(getattr(one, name), str) for name in TEXT_KEYS if name != key)
            if _stop_reason(one) == "length" and not (text is msgspec.UNSET and other):
                texts[k] = ""
    return texts


def match_predictions(
    predictions: Predictions, evalset: Evalset, *, repeats: int = 1, source: str
) -> tuple[Prediction, ...]:
    """Return the predictions in the order of the items, and of an item's repeats; `source` names them in errors.

    Raises:
        DataError: ids that are not in the evalset, items without a prediction, or with more or fewer than `repeats`.
    """
    items = [str(item.id) for item in evalset.items]
    first = {item_id: place * repeats for place, item_id in enumerate(items)}
    placed: dict[int, Prediction] = {}
    for row in predictions.rows:
        if row.item_id in first and row.repeat < repeats:
            placed[first[row.item_id] + row.repeat] = row
    if not len(predictions.rows) == len(placed) == len(items) * repeats:
        raise DataError(f"{source}: {_mismatch(predictions, items, evalset.name, repeats)}")
    return tuple(map(placed.__getitem__, range(len(placed))))


def _mismatch(predictions: Predictions, items: Sequence[str], evalset: str, repeats: int) -> str:
    counts = Counter(row.item_id for row in predictions.rows)
    known = set(items)
    if unknown := [item_id for item_id in counts if item_id not in known]:
        return (
            f"{len(unknown)} of {len(counts)} ids are not in evalset '{evalset}': {_named(unknown)}; its own ids are "
            f"{_named(items)}"
        )
    if missing := [item_id for item_id in items if item_id not in counts]:
        return f"{len(missing)} of {len(items)} items of evalset '{evalset}' have no prediction: {_named(missing)}"
    if len(set(counts.values())) == 1:
        (count,) = set(counts.values())
        return f"every item has {count} predictions, expected {repeats}; set repeats = {count}"
    odd = [item_id for item_id in items if counts[item_id] != repeats]
    return (
        f"{len(odd)} of {len(items)} items have more or fewer than {repeats} predictions: {_named(odd)}; "
        "set repeats = k if there are k completions an item"
    )


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (", .." if len(ids) > _NAMED else "")


def _getter(key: str) -> Callable[[_Line], Any]:
    if key != "meta.eval_id":
        return operator.attrgetter(key)
    return lambda line: line.meta.get("eval_id", msgspec.UNSET) if isinstance(line.meta, dict) else msgspec.UNSET


def _stop_reason(line: _Line) -> Literal["stop", "length"]:
    if not (line.stop_reason or line.finish_reason or line.metadata):
        return "stop"
    more = line.metadata if isinstance(line.metadata, dict) else {}
    said = (line.stop_reason, line.finish_reason, more.get("stop_reason"), more.get("finish_reason"))
    return "length" if any(isinstance(one, str) and one.casefold() in _CUT for one in said) else "stop"


def _chosen(keys: Sequence[str], found: Sequence[_Line], lines: Lines, source: Source, what: str) -> str:
    """Return the first key that any line has."""
    # Lines that lack it are errors: a later key, such as that of the gold answer, would hold another text.
    for key in keys:
        if any(value is not msgspec.UNSET for value in map(_getter(key), found)):
            return key
    there = list(dict.fromkeys(key for _, line in lines for key in msgspec.json.decode(line)))
    listing = ", ".join(map(cut, there[:LISTED])) + (", .." if len(there) > LISTED else "") or "no key"
    raise DataError(f"{source.name}: no {source.unit} has {what} under {', '.join(keys)}; found: {listing}")


def _read_lines(source: Source) -> tuple[Lines, str]:
    """Return the lines that are not blank, and the digest of all."""
    digest, lines, refused = hashlib.sha256(), list[tuple[int, bytes]](), list[Problem]()
    for chunk in source.chunks():
        digest.update(chunk.data)
        lines.extend(chunk.lines())
        refused.extend(Problem(*line) for line in chunk.refused)
    if refused:
        raise _refused(source, [*refused, *_unsound(lines)])
    if not lines:
        raise nothing(source, "prediction")
    return lines, digest.hexdigest()


def _refused(source: Source, found: Iterable[Problem]) -> DataError:
    problems = Problems(_Line)
    problems.extend(found)
    return problems.error(source)


def _unsound(lines: Lines) -> Iterator[Problem]:
    for number, line in lines:
        try:
            _decode(line)
            if flaw := line_flaw(line):
                yield Problem(number, line, flaw)
        except (ValueError, RecursionError) as error:
            yield Problem(number, line, error)


def _flaws(lines: Lines, ids: tuple[str, Sequence[Any]], texts: tuple[str, Sequence[Any]]) -> Iterator[Problem]:
    for (number, line), id_, text in zip(lines, ids[1], texts[1], strict=True):
        if id_ == "":
            yield Problem(number, line, f"{ids[0]}: is empty")
        elif type(id_) not in (str, int):
            yield Problem(number, line, f"{ids[0]}: {_misfit(id_, 'a string or an integer')}")
        elif type(text) is not str:
            advice = f"; {_NO_TEXT}" if text is None else "; put it in quotes" if type(text) in (int, float) else ""
            yield Problem(number, line, f"{texts[0]}: {_misfit(text, 'a string')}{advice}")


def _misfit(value: Any, expected: str) -> str:
    if value is msgspec.UNSET:
        return "is missing; other lines have it"
    if value is None:
        return f"is null, expected {expected}"
    names = {bool: "a boolean", float: "a number with decimals", int: "an integer", list: "a list", dict: "an object"}
    return f"found {names.get(type(value), f'a {type(value).__name__}')}, expected {expected}"
