"""Which traces a dataset takes, and in which order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tunix_eval.data.building.manifests import STRATEGIES
from tunix_eval.data.reading.dotted import value_at
from tunix_eval.digest import canonical_json, sha256_text
from tunix_eval.errors import DataError, suggestion
from tunix_eval.figures import printable
from tunix_eval.records import Trace

Order = Callable[[Trace], float | None] | Mapping[str, float | None]
"""Gives a trace its value, or trace id -> value."""

LISTED = 10
"""Keys, values or traces that an error lists; the rest is counted."""


def select(
    traces: Iterable[Trace],
    *,
    filters: Mapping[str, Any] | None = None,
    strategy: str = "all",
    limit: int | None = None,
    seed: int | None = None,
    by: str | None = None,
    order: Order | None = None,
    lower_is_better: bool = False,
) -> list[Trace]:
    """Return the traces that pass every filter, in the strategy's order, at most `limit` of them.

    Args:
        traces: each with an id, as `read_traces` gives them.
        filters: key of meta -> the value that it must have, or a list of such values. `a.b` is the key b of the table
            a, where no key is spelt so. Numbers compare by value (1 is 1.0); true is no number, "1" neither; null
            also stands for an absent key.
        strategy: `all` keeps the order. `latest` puts the newest first: by meta's created_at, else its timestamp (ISO
            8601, or seconds since 1970); traces without either are older, and among equals the later one is newer.
            `random` goes by a digest of seed and id: a smaller limit draws a part of what a larger one does, and a
            trace that is added moves no other. `stratified` draws likewise, each value of `by` by its share.
            `quality` puts the best first, equals in their order.
        limit: at least 1; taken after filters and order.
        seed: for `random` and `stratified`, which cannot do without.
        by: a key of meta, as in filters: for `stratified`; for `quality` without `order`.
        order: the values for `quality`; every trace must have one.
        lower_is_better: of those values.

    Raises:
        DataError: arguments that the strategy lacks or does not take, a filter that leaves nothing, a trace without
            the time or value that it is ordered by.
    """
    _check(strategy, limit=limit, seed=seed, by=by, order=order)
    found = _filtered(list(traces), filters or {})
    if strategy == "latest":
        places = sorted(range(len(found)), key=lambda k: (_seconds(found[k]), k), reverse=True)
        found = [found[k] for k in places]
    elif strategy == "random":
        found = _drawn(found, seed)
    elif strategy == "stratified" and by is not None:
        found = _in_shares(_drawn(found, seed), by, limit)
    elif strategy == "quality":
        found = _best_first(found, order if order is not None else str(by), lower_is_better=lower_is_better)
    return found[:limit]


def _check(strategy: str, *, limit: int | None, seed: int | None, by: str | None, order: Order | None) -> None:
    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise DataError(f"no selection strategy '{strategy}'; known: {known}.{suggestion(strategy, STRATEGIES)}")
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit}: expected at least 1")
    if strategy in {"random", "stratified"} and seed is None:
        raise DataError(f"strategy '{strategy}' draws, and needs a seed")
    if strategy == "stratified" and by is None:
        raise DataError("strategy 'stratified' needs by, a key of meta such as category")
    if strategy == "quality" and (by is None) == (order is None):
        raise DataError("strategy 'quality' needs the values to go by: either order, or by, a key of meta")
    if strategy != "quality" and order is not None:
        raise DataError(f"strategy '{strategy}' takes no order; 'quality' does")
    if strategy not in {"stratified", "quality"} and by is not None:
        raise DataError(f"strategy '{strategy}' takes no by ('{by}'); 'stratified' and 'quality' do")


def _filtered(traces: list[Trace], filters: Mapping[str, Any]) -> list[Trace]:
    found = traces
    for key, value in filters.items():
        _check_key(traces, key)
        wanted = _wanted(key, value)
        kept = [trace for trace in found if _label(_value(trace, key)) in wanted]
        if not kept:
            counts = Counter(_label(_value(trace, key)) for trace in found)
            there = [f"{_shown(label)} ({count})" for label, count in counts.most_common(LISTED)]
            rest = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
            raise DataError(
                f"filter {key} = {' or '.join(map(_shown, wanted)) or '[]'}: none of {len(found)} traces passes it; "
                f"there meta.{key} is {', '.join(there)}{rest}"
            )
        found = kept
    return found


def _wanted(key: str, value: Any) -> tuple[str, ...]:
    try:
        return tuple(map(_label, value if isinstance(value, list | tuple) else [value]))
    except (TypeError, ValueError):
        raise DataError(f"filter {key}: {value!r} is no JSON value, which meta holds") from None


def _shown(label: str) -> str:
    return printable(label if len(label) <= 40 else f"{label[:38]}..")


def _check_key(traces: Sequence[Trace], key: str) -> None:
    """Refuse a key that no trace has: a slip of the pen, which null would let pass."""
    if any(_value(trace, key) is not msgspec.UNSET for trace in traces):
        return
    keys = sorted({name for trace in traces for name in _keys(trace.meta or {})})
    there = f"{', '.join(keys[:LISTED])}{f' and {len(keys) - LISTED} more' if len(keys) > LISTED else ''}"
    raise DataError(f"no trace has meta.{key}; keys of meta: {printable(there) or 'none'}.{suggestion(key, keys)}")


def _keys(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key, value in table.items():
        inner = _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else []
        names += inner or [f"{prefix}{key}"]
    return names


def _value(trace: Trace, key: str) -> Any:
    return value_at(trace.meta or {}, key)


def _label(value: Any) -> str:
    """Return a text that two values share exactly where they count as equal."""
    return "null" if value is msgspec.UNSET else canonical_json(_by_value(value))


def _by_value(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _by_value(inner) for key, inner in value.items()}
    return [_by_value(inner) for inner in value] if isinstance(value, list | tuple) else value


def _seconds(trace: Trace) -> float:
    meta = trace.meta or {}
    key = next((key for key in ("created_at", "timestamp") if meta.get(key) is not None), None)
    if key is None:
        return -math.inf
    value = meta[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        found = f"meta.{key} is {canonical_json(value)}"
        raise DataError(f"trace '{trace.id}': {found}; expected a time in ISO 8601, or seconds since 1970") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _drawn(traces: Sequence[Trace], seed: int | None) -> list[Trace]:
    for number, trace in enumerate(traces, 1):
        if trace.id is None:
            raise DataError(f"trace {number} has no id, by which a draw goes; read the traces with read_traces")
    return sorted(traces, key=lambda trace: sha256_text(f"{seed}\n{trace.id}"))


def _in_shares(drawn: Sequence[Trace], by: str, limit: int | None) -> list[Trace]:
    """Take each stratum's share of the limit, whole by largest remainder: of equal ones the larger stratum's."""
    _check_key(drawn, by)
    labels = [_label(_value(trace, by)) for trace in drawn]
    sizes = Counter(labels)
    total = len(drawn)
    wanted = min(limit or total, total)
    left = {label: wanted * size // total for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (-(wanted * sizes[label] % total), -sizes[label], label))
    for label in by_remainder[: wanted - sum(left.values())]:
        left[label] += 1
    taken = []
    for trace, label in zip(drawn, labels, strict=True):
        if left[label]:
            left[label] -= 1
            taken.append(trace)
    return taken


def _best_first(traces: Sequence[Trace], order: Order | str, *, lower_is_better: bool) -> list[Trace]:
    if isinstance(order, str):
        _check_key(traces, order)
    values = [_number(trace, order) for trace in traces]
    lacking = [str(trace.id) for trace, value in zip(traces, values, strict=True) if value is None]
    if lacking:
        raise DataError(
            f"strategy 'quality': {len(lacking)} of {len(traces)} traces have no value "
            f"(first: {', '.join(lacking[:3])}); give them one, or filter them out"
        )
    numbers = [value for value in values if value is not None]
    places = sorted(range(len(traces)), key=lambda k: numbers[k] if lower_is_better else -numbers[k])
    return [traces[k] for k in places]


def _number(trace: Trace, order: Order | str) -> float | None:
    if isinstance(order, str):
        value = _value(trace, order)
    else:
        value = order.get(str(trace.id)) if isinstance(order, Mapping) else order(trace)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value) else None
