"""What became of the baselines that a session was asked to write, said at its end. Light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tunix_eval.plugin.state import ROWS_KEY

NO_GATE = "no gate that compares with one (no_worse, non_inferior, max_drop) was decided"


def say_what_was_written(session: pytest.Session, failed: Sequence[str]) -> None:
    """Note what was written, what stays as it was, and what failed beside it; nothing at all is no success.

    Args:
        session: in the process that prints, at its end.
        failed: the tests that failed.
    """
    option = session.config.option
    if not option.tunix_update_baselines or option.collectonly or option.tunix_plan:
        return
    rows = session.config.stash[ROWS_KEY]
    asked: dict[str, str] = {}
    for row in rows:
        # A second gate of a baseline finds it as the first one wrote it.
        if row["row"] == "BaselineRow" and asked.get(row["path"]) != "written":
            asked[row["path"]] = row["action"]
    rows += [_note(f"{path}: unchanged") for path, action in sorted(asked.items()) if action == "unchanged"]
    if not asked:
        why = "what failed says why" if failed else NO_GATE
        rows.append(_note(f"--tunix-update-baselines: no baseline was written: {why}"))
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    elif failed and "written" in asked.values():
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        rows.append(
            _note(f"baselines were written in a session in which {failed[0]}{more} failed; look before you commit")
        )


def _note(text: str) -> dict[str, Any]:
    return {"row": "Note", "text": text}
