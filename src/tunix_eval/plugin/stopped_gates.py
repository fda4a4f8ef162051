"""The gates that a stopped run does not decide: what verdicts.json says of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from tunix_eval.errors import TunixEvalError
from tunix_eval.gate import not_decided
from tunix_eval.plugin.gating import gate_evalset, run_id_of
from tunix_eval.plugin.session import Session
from tunix_eval.plugin.state import PLAN_KEY
from tunix_eval.records import Verdict


def report_gates(item: pytest.Item, reason: str) -> None:
    """Report the gates of an item that was stopped, but for what the body of a test has reported itself."""
    session = Session.open(item.config)
    told = any(isinstance(row, Verdict) and row.outcome == "stopped" for row in session.rows)
    session.rows += [one for one in _verdicts(session, item, reason) if not told or one.rule]


def gates_of(items: Iterable[pytest.Item], reason: str) -> dict[str, list[dict[str, Any]]]:
    """Return item -> the rows of its gates, as they are reported where the item is not come to."""
    session = None
    found = {}
    for item in items:
        session = session or Session.open(item.config)
        rows = [{"row": "Verdict", **msgspec.to_builtins(one)} for one in _verdicts(session, item, reason)]
        if rows:
            found[item.nodeid] = rows
    return found


def _verdicts(session: Session, item: pytest.Item, reason: str) -> list[Verdict]:
    """Return a verdict for each gate that an item's markers or run file name; for a body's, one without a rule."""
    plan = item.config.stash.get(PLAN_KEY, None)
    need = plan.needs.get(item.nodeid) if plan else None
    if need is None or not need.gated or need.spec is None or need.error or need.skip:
        return []
    try:
        about: dict[str, Any] = {"run_name": need.spec.name, "run_id": run_id_of(session, need.spec)}
        if need.gates:
            return [
                not_decided(
                    "stopped",
                    reason,
                    rule=gate.rule,
                    metric=gate.metric,
                    evalset=gate_evalset(session, need.spec, gate, need.evalset).name,
                    **about,
                )
                for gate in need.gates
            ]
        evalset = session.library.evalset(need.evalset).name if need.evalset else ""
        return [not_decided("stopped", f"{item.nodeid}: {reason}", rule="", metric="", evalset=evalset, **about)]
    except TunixEvalError:
        # What the item is about is gone since the plan; its own error says so in the next session.
        return []
